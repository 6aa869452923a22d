using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Services;

/// <summary>Keeps EndpointSlices beside every Service that has a selector. Those of a deleted Service go by garbage collection: it owns them.</summary>
internal sealed partial class EndpointSliceController : IAsyncDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly IKubeClient _client;
    private readonly SharedInformer _services;
    private readonly SharedInformer _slices;
    private readonly SharedInformer _pods;
    private readonly SharedInformer _nodes;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;

    public EndpointSliceController(
        IKubeClient client, SharedInformer services, SharedInformer slices, SharedInformer pods, SharedInformer nodes, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _services = services;
        _slices = slices;
        _pods = pods;
        _nodes = nodes;
        _logger = logger;
        _loop = new ReconcileLoop("endpointslices", PassAsync, time, random, logger);
        services.Listen(_ => _loop.Wake());
        slices.Listen(_ => _loop.Wake());
        pods.Listen(_ => _loop.Wake());
        nodes.Listen(change =>
        {
            // Nodes report all the time; what counts here changes rarely.
            if (change.Old is null || change.Type == ChangeType.Deleted || Conditions.Status(change.Old, "Ready") != Conditions.Status(change.Object, "Ready")
                || !JsonNode.DeepEquals(change.Old.At("metadata", "labels"), change.Object.At("metadata", "labels")))
                _loop.Wake();
        });
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_services.Synced, _slices.Synced, _pods.Synced, _nodes.Synced).WaitAsync(token);
        var selecting = _services.List().Where(service => service.Map("spec", "selector").Any() && service.Text("spec", "type") != "ExternalName" && !service.IsDeleting()).ToList();
        var mine = _slices.List().Where(slice => slice.Label(EndpointSliceCore.ManagedBy) == EndpointSliceCore.Manager && !slice.IsDeleting())
            .ToLookup(slice => (slice.Namespace(), slice.Label(EndpointSliceCore.ServiceLabel) ?? ""));
        var retry = false;
        var pods = selecting.Count == 0 ? null : _pods.List().ToLookup(pod => pod.Namespace(), StringComparer.Ordinal);
        foreach (var service in selecting)
        {
            var (space, name) = (service.Namespace(), service.Name());
            // A slice of an earlier Service of that name is the garbage collector's.
            var own = mine[(space, name)].Where(slice => slice.Items("metadata", "ownerReferences").Any(owner => owner.Text("uid") == service.Uid()));
            var changes = EndpointSliceCore.Reconcile(service, pods![space], node => node.Length == 0 ? null : _nodes.Get(null, node), own);
            foreach (var slice in changes.Create)
                retry |= !await TryAsync(slice, () => _client.CreateAsync(ResourceKind.EndpointSlice, space, slice, token));
            foreach (var slice in changes.Update)
                retry |= !await TryAsync(slice, () => _client.UpdateAsync(ResourceKind.EndpointSlice, space, slice, null, token));
            foreach (var slice in changes.Delete)
                retry |= !await TryAsync(slice, () => _client.DeleteAsync(ResourceKind.EndpointSlice, space, slice.Name(), Preconditions.Uid(slice), token));
        }

        // Of a Service that lost its selector, or became an ExternalName.
        var kept = selecting.Select(service => (service.Namespace(), service.Name())).ToHashSet();
        foreach (var slice in mine.Where(group => !kept.Contains(group.Key) && _services.Get(group.Key.Item1, group.Key.Item2) is { } service && !service.IsDeleting()).SelectMany(group => group))
            retry |= !await TryAsync(slice, () => _client.DeleteAsync(ResourceKind.EndpointSlice, slice.Namespace(), slice.Name(), Preconditions.Uid(slice), token));
        return retry ? s_retry : null;
    }

    private Task<bool> TryAsync(JsonObject obj, Func<Task> act) => ServiceWrites.TryAsync(act, message => LogFailed(_logger, obj.Namespace(), obj.Name(), message));

    [LoggerMessage(3251, LogLevel.Warning, "endpointslice {Namespace}/{Name}: trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string @namespace, string name, string message);
}
