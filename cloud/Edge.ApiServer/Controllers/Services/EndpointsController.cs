using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Services;

/// <summary>Keeps an Endpoints object beside every Service that has a selector.</summary>
internal sealed partial class EndpointsController : IAsyncDisposable
{
    // Set on what we write, so that what others put there is left alone.
    private const string ManagedBy = "endpoints.kubernetes.io/managed-by";
    private const string Manager = "endpoint-controller";
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly IKubeClient _client;
    private readonly SharedInformer _services;
    private readonly SharedInformer _endpoints;
    private readonly SharedInformer _pods;
    private readonly SharedInformer _nodes;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;

    public EndpointsController(
        IKubeClient client, SharedInformer services, SharedInformer endpoints, SharedInformer pods, SharedInformer nodes, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _services = services;
        _endpoints = endpoints;
        _pods = pods;
        _nodes = nodes;
        _logger = logger;
        _loop = new ReconcileLoop("endpoints", PassAsync, time, random, logger);
        services.Listen(_ => _loop.Wake());
        endpoints.Listen(_ => _loop.Wake());
        pods.Listen(_ => _loop.Wake());
        nodes.Listen(change =>
        {
            if (change.Old is null || change.Type == ChangeType.Deleted || Conditions.Status(change.Old, "Ready") != Conditions.Status(change.Object, "Ready"))
                _loop.Wake();
        });
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_services.Synced, _endpoints.Synced, _pods.Synced, _nodes.Synced).WaitAsync(token);
        var selecting = _services.List().Where(service => service.Map("spec", "selector").Any() && service.Text("spec", "type") != "ExternalName").ToList();
        var retry = false;
        var pods = selecting.Count == 0 ? null : _pods.List().ToLookup(pod => pod.Namespace(), StringComparer.Ordinal);
        foreach (var service in selecting.Where(service => !service.IsDeleting()))
            retry |= !await TryAsync(service, () => ReconcileAsync(service, pods![service.Namespace()], token));
        foreach (var endpoints in _endpoints.List().Where(endpoints => endpoints.Label(ManagedBy) == Manager && !endpoints.IsDeleting()))
        {
            if (_services.Get(endpoints.Namespace(), endpoints.Name()) is null)
                retry |= !await TryAsync(endpoints, () => _client.DeleteAsync(ResourceKind.Endpoints, endpoints.Namespace(), endpoints.Name(), Preconditions.Uid(endpoints), token));
        }

        return retry ? s_retry : null;
    }

    private async Task ReconcileAsync(JsonObject service, IEnumerable<JsonObject> pods, CancellationToken token)
    {
        var subsets = EndpointsCore.Subsets(service, pods, node => _nodes.Get(null, node) is { } known && Conditions.Status(known, "Ready") == "True");
        var current = _endpoints.Get(service.Namespace(), service.Name());
        if (current is not null && JsonNode.DeepEquals(current["subsets"] ?? new JsonArray(), subsets) && current.Label(ManagedBy) == Manager)
            return;
        var wanted = current?.DeepClone().AsObject() ?? new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Endpoints",
            ["metadata"] = new JsonObject { ["name"] = service.Name(), ["namespace"] = service.Namespace() },
        };
        var labels = wanted.Child("metadata").Child("labels");
        labels[ManagedBy] = Manager;
        if (service.Text("spec", "clusterIP") == "None")
            labels["service.kubernetes.io/headless"] = "";
        wanted["subsets"] = subsets;
        if (current is null)
            await _client.CreateAsync(ResourceKind.Endpoints, service.Namespace(), wanted, token);
        else
            await _client.UpdateAsync(ResourceKind.Endpoints, service.Namespace(), wanted, null, token);
    }

    private Task<bool> TryAsync(JsonObject obj, Func<Task> act) => ServiceWrites.TryAsync(act, message => LogFailed(_logger, obj.Namespace(), obj.Name(), message));

    [LoggerMessage(3250, LogLevel.Warning, "endpoints {Namespace}/{Name}: trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string @namespace, string name, string message);
}
