using System.Threading.Channels;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Crd;

/// <summary>Deletes the objects of definitions that are being deleted, then lets the definitions go; and removes old Events.</summary>
internal sealed class DefinitionCleaner(ObjectApi api, TimeProvider time, ILogger<DefinitionCleaner> log)
{
    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(1);

    /// <summary>As Kubernetes' --event-ttl.</summary>
    private static readonly TimeSpan s_eventLife = TimeSpan.FromHours(1);

    private static readonly ServedResource s_events = BuiltinResources.All.First(r => r.Kind == ResourceKind.Event);

    // One mark is enough: each round looks at everything.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>Says that a change may have made work; called under the store's lock.</summary>
    public void Notice(StoredEvent change)
    {
        var definitionGoes = change.Object.Resource == BuiltinResources.Definitions.Id && change.Type == WatchEventType.Modified;
        if (definitionGoes || (change.Type == WatchEventType.Deleted && change.Object.Resource.Group.Contains('.', StringComparison.Ordinal)))
            _wake.Writer.TryWrite(true);
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = time.CreateTimer(_ => _wake.Writer.TryWrite(true), null, TimeSpan.Zero, s_period);
        try
        {
            while (await _wake.Reader.WaitToReadAsync(cancellationToken))
            {
                _wake.Reader.TryRead(out _);
                foreach (var definition in api.Store.Snapshot(BuiltinResources.Definitions.Id).Items)
                    if (definition.Field("metadata.deletionTimestamp").Length > 0)
                        await TryAsync(definition.Name, () => CleanAsync(definition, cancellationToken), cancellationToken);
                var oldest = time.GetUtcNow() - s_eventLife;
                foreach (var stored in api.Store.Snapshot(s_events.Id).Items)
                    if (LastSeen(stored) < oldest)
                        await TryAsync(stored.Name, () => api.DeleteAsync(s_events, stored.Namespace, stored.Name, new DeleteOptions(), cancellationToken), cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // the server stops
        }
    }

    private async Task CleanAsync(StoredObject stored, CancellationToken cancellationToken)
    {
        var crd = stored.Parse();
        var kind = new ResourceKind(crd.Text("spec", "group"), "", crd.Text("spec", "names", "plural"), crd.Text("spec", "names", "kind"), crd.Text("spec", "scope") == "Namespaced");
        var resource = new ServedResource(kind, crd.Text("spec", "names", "singular"));
        foreach (var obj in api.Store.Snapshot(resource.Id).Items)
            if (obj.Field("metadata.deletionTimestamp").Length == 0)
                await TryAsync(obj.Name, () => api.DeleteAsync(resource, obj.Namespace, obj.Name, new DeleteOptions(), cancellationToken), cancellationToken);
        if (api.Store.Snapshot(resource.Id).Items.Count > 0)
            return; // finalizers hold some; their removal wakes us
        await api.ChangeAsServerAsync(
            BuiltinResources.Definitions, "", stored.Name,
            tree =>
            {
                var finalizers = ObjectStrategy.Finalizers(tree.Child("metadata"));
                for (var i = finalizers.Count - 1; i >= 0; i--)
                    if (finalizers[i]!.GetValue<string>() == CrdStatus.Finalizer)
                        finalizers.RemoveAt(i);
                return tree;
            },
            dryRun: false, cancellationToken);
        if (api.Store.Get(BuiltinResources.Definitions.Id, "", stored.Name) is null)
            api.Store.CloseWatchers(resource.Id);
    }

    private async Task TryAsync(string name, Func<Task> act, CancellationToken cancellationToken)
    {
        try
        {
            await act();
        }
        catch (ApiException e) when (e.Code is 404 or 409)
        {
            // another writer was faster; the next round sees the result
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            CrdLog.CleaningFailed(log, name, e); // one that cannot be cleaned holds up no other
        }
    }

    private static DateTimeOffset LastSeen(StoredObject stored)
    {
        foreach (var field in (string[])["lastTimestamp", "eventTime", "metadata.creationTimestamp"])
            if (DateTimeOffset.TryParse(stored.Field(field), System.Globalization.CultureInfo.InvariantCulture, out var seen))
                return seen;
        return DateTimeOffset.MaxValue;
    }
}

internal static partial class CrdLog
{
    [LoggerMessage(EventId = 7101, Level = LogLevel.Warning, Message = "CleaningFailed: {Name} stays; the next round tries again")]
    public static partial void CleaningFailed(ILogger logger, string name, Exception error);
}
