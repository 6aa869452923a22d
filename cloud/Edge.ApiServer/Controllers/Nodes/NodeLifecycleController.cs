using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Nodes;

/// <summary>Feeds <see cref="NodeLifecycleCore"/> and carries out what it decides.</summary>
internal sealed partial class NodeLifecycleController : IAsyncDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly NodeLifecycleCore _core = new();
    private readonly IKubeClient _client;
    private readonly SharedInformer _nodes;
    private readonly SharedInformer _leases;
    private readonly SharedInformer _pods;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly EventRecorder _events;
    private readonly ReconcileLoop _loop;
    private bool _suspended;

    /// <param name="leases">The leases of namespace kube-node-lease.</param>
    public NodeLifecycleController(
        IKubeClient client, SharedInformer nodes, SharedInformer leases, SharedInformer pods, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _nodes = nodes;
        _leases = leases;
        _pods = pods;
        _time = time;
        _logger = logger;
        _events = new EventRecorder(client, "node-controller", time, logger);
        _loop = new ReconcileLoop("node lifecycle", PassAsync, time, random, logger);
        nodes.Listen(_ => _loop.Wake());
        // Each node renews every 10 s: a pass over all nodes for each renewal would be most of what a large cluster costs.
        leases.Listen(change =>
        {
            if (change.Type != ChangeType.Deleted
                && change.Old.Text("spec", "renewTime") != change.Object.Text("spec", "renewTime")
                && _core.Renewed(change.Object.Name(), time.GetUtcNow()))
                _loop.Wake();
        });
        pods.Listen(change =>
        {
            // A pod that comes to a node, or is there at our start, may have to leave it; one that says it is ready may have said so too late.
            if (change.Type != ChangeType.Deleted
                && (change.Old.Text("spec", "nodeName") != change.Object.Text("spec", "nodeName")
                    || (Conditions.Status(change.Object, "Ready") == "True" && (change.Old is null || Conditions.Status(change.Old, "Ready") != "True"))))
                _loop.Wake();
        });
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_nodes.Synced, _leases.Synced, _pods.Synced).WaitAsync(token);
        var pods = _pods.List().ToLookup(pod => pod.Text("spec", "nodeName"), StringComparer.Ordinal);
        var plan = _core.Step(_nodes.List(), name => _leases.Get("kube-node-lease", name), pods, _time.GetUtcNow());
        if (_core.EvictionsSuspended != _suspended)
        {
            _suspended = _core.EvictionsSuspended;
            if (_suspended)
                LogSuspended(_logger);
            else
                LogResumed(_logger);
        }

        var failed = false;
        foreach (var action in plan.Actions)
        {
            try
            {
                await DoAsync(action, token);
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                // Changed under us: the informer will say, and the next pass decides anew.
            }
            catch (KubeException e)
            {
                failed = true;
                LogFailed(_logger, action.GetType().Name, action.Node.Name(), e.Message);
            }
        }

        if (failed)
            return s_retry;
        var wait = plan.Next - _time.GetUtcNow();
        return wait < TimeSpan.Zero ? TimeSpan.Zero : wait;
    }

    private async Task DoAsync(NodeAction action, CancellationToken token)
    {
        var node = action.Node;
        switch (action)
        {
            case NodeFault fault:
                LogFault(_logger, node.Name(), fault.Error);
                break;
            case MarkUnknown unknown:
                LogLost(_logger, node.Name());
                await PatchAsync(node, PatchKind.Strategic, new JsonObject { ["status"] = new JsonObject { ["conditions"] = unknown.Conditions } }, "status", token);
                await _events.RecordAsync(node, "Normal", "NodeNotReady", $"Node {node.Name()} status is now: NodeNotReady", token);
                break;
            case SetTaints taints:
                LogTaints(_logger, node.Name(), string.Join(", ", taints.Taints.Select(taint => $"{taint.Text("key")}:{taint.Text("effect")}")));

                // The status may have been written just before, so only taints written since then conflict: our list is made from the cached ones.
                await PatchAsync(
                    node,
                    PatchKind.Json,
                    TaintsPatch(node, taints.Taints),
                    null,
                    token);
                break;
            case MarkPodNotReady { Pod: var pod }:
                var condition = new JsonObject { ["type"] = "Ready", ["status"] = "False", ["lastTransitionTime"] = KubeObject.Time(_time.GetUtcNow()) };
                var patch = new JsonObject
                {
                    ["metadata"] = new JsonObject { ["uid"] = pod.Uid() },
                    ["status"] = new JsonObject { ["conditions"] = new JsonArray(condition) },
                };
                await _client.PatchAsync(ResourceKind.Pod, pod.Namespace(), pod.Name(), PatchKind.Strategic, Encoding.UTF8.GetBytes(patch.ToJsonString()), "status", token);
                await _events.RecordAsync(pod, "Warning", "NodeNotReady", "Node is not ready", token);
                break;
            case EvictPod { Pod: var pod }:
                LogEvicted(_logger, pod.Namespace(), pod.Name(), node.Name());
                await _events.RecordAsync(pod, "Normal", "TaintManagerEviction", $"Marking for deletion Pod {pod.Namespace()}/{pod.Name()}", token);
                await _client.DeleteAsync(ResourceKind.Pod, pod.Namespace(), pod.Name(), Preconditions.Uid(pod), token);
                break;
        }
    }

    // Guarded by a test of the taints we decided from: someone else's taint set in between is never lost.
    private static JsonArray TaintsPatch(JsonObject node, JsonArray taints)
        => node.At("spec", "taints") is { } old
            ? new JsonArray(
                new JsonObject { ["op"] = "test", ["path"] = "/spec/taints", ["value"] = old.DeepClone() },
                new JsonObject { ["op"] = "replace", ["path"] = "/spec/taints", ["value"] = taints })
            : new JsonArray(node["spec"] is JsonObject
                ? new JsonObject { ["op"] = "add", ["path"] = "/spec/taints", ["value"] = taints }
                : new JsonObject { ["op"] = "add", ["path"] = "/spec", ["value"] = new JsonObject { ["taints"] = taints } });

    private Task<JsonObject> PatchAsync(JsonObject node, PatchKind kind, JsonNode patch, string? subresource, CancellationToken token)
        => _client.PatchAsync(ResourceKind.Node, null, node.Name(), kind, Encoding.UTF8.GetBytes(patch.ToJsonString()), subresource, token);

    [LoggerMessage(3220, LogLevel.Warning, "node {Node} stopped posting status")]
    private static partial void LogLost(ILogger logger, string node);

    [LoggerMessage(3221, LogLevel.Information, "node {Node}: taints are now [{Taints}]")]
    private static partial void LogTaints(ILogger logger, string node, string taints);

    [LoggerMessage(3222, LogLevel.Warning, "pod {Namespace}/{Name} leaves node {Node}: it does not tolerate its taints any longer")]
    private static partial void LogEvicted(ILogger logger, string @namespace, string name, string node);

    [LoggerMessage(3223, LogLevel.Warning, "{Action} for node {Node} failed, trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string action, string node, string message);

    [LoggerMessage(3226, LogLevel.Error, "nothing could be decided about node {Node}, the others go on; please report it")]
    private static partial void LogFault(ILogger logger, string node, Exception error);

    [LoggerMessage(3224, LogLevel.Warning, "most of the nodes are lost at once: pods stay on them until fewer are")]
    private static partial void LogSuspended(ILogger logger);

    [LoggerMessage(3225, LogLevel.Information, "fewer nodes are lost: pods that do not tolerate it leave lost nodes again, each after its whole tolerationSeconds")]
    private static partial void LogResumed(ILogger logger);
}
