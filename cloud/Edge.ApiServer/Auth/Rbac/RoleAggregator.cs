using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>Keeps the rules of ClusterRoles with an <c>aggregationRule</c> (admin, edit and view among them) as <see cref="AggregationCore"/> says, after each change of a ClusterRole.</summary>
internal sealed partial class RoleAggregator(ObjectApi api, TimeProvider time, ILogger<RoleAggregator> log)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(5);

    // One mark is enough: each round looks at everything.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>Called under the store's lock.</summary>
    public void Notice(StoredEvent change)
    {
        if (change.Object.Resource == BuiltinResources.ClusterRoles.Id)
            _wake.Writer.TryWrite(true);
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (await _wake.Reader.WaitToReadAsync(cancellationToken))
            {
                _wake.Reader.TryRead(out _);
                try
                {
                    await GatherAsync(cancellationToken);
                }
                catch (Exception e) when (e is ApiException or Common.Storage.StoreException)
                {
                    Failed(log, e.Message);
                    await Task.Delay(s_retry, time, cancellationToken);
                    _wake.Writer.TryWrite(true);
                }
                catch (Exception e) when (!cancellationToken.IsCancellationRequested)
                {
                    RoundFailed(log, e);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // the server stops
        }
    }

    /// <summary>One round; done when every aggregating role has its rules.</summary>
    public async Task GatherAsync(CancellationToken cancellationToken)
    {
        // A role that gathers may be gathered itself (admin takes in edit): as many rounds as there are such roles settle every chain.
        for (var (round, isChanged) = (0, true); isChanged && round < 64; round++)
        {
            isChanged = false;
            var all = api.Store.Snapshot(BuiltinResources.ClusterRoles.Id).Items.Select(stored => stored.Parse()).ToList();
            foreach (var role in all)
            {
                if (AggregationCore.Rules(role, all) is not { } rules || JsonNode.DeepEquals(role["rules"] ?? new JsonArray(), rules))
                    continue;
                isChanged = true;
                try
                {
                    await api.ChangeAsServerAsync(
                        BuiltinResources.ClusterRoles, "", role.Name(),
                        tree =>
                        {
                            tree["rules"] = rules.DeepClone();
                            return tree;
                        },
                        dryRun: false, cancellationToken);
                }
                catch (ApiException e) when (e.Code == 404)
                {
                    // deleted in between: nothing is left to keep
                }
            }
        }
    }

    [LoggerMessage(EventId = 7102, Level = LogLevel.Warning, Message = "AggregationFailed: rules of aggregated ClusterRoles are as before, trying again: {Reason}")]
    private static partial void Failed(ILogger logger, string reason);

    [LoggerMessage(EventId = 7104, Level = LogLevel.Error, Message = "AggregationRoundFailed: rules of aggregated ClusterRoles are as before until a ClusterRole changes; please report it")]
    private static partial void RoundFailed(ILogger logger, Exception error);
}
