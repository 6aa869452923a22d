using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Housekeeping;

/// <summary>Force-deletes the pods that <see cref="PodGcCore"/> finds.</summary>
internal sealed partial class PodGcController : IAsyncDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly PodGcCore _core = new();
    private readonly IKubeClient _client;
    private readonly SharedInformer _pods;
    private readonly SharedInformer _nodes;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;

    public PodGcController(IKubeClient client, SharedInformer pods, SharedInformer nodes, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _pods = pods;
        _nodes = nodes;
        _time = time;
        _logger = logger;
        _loop = new ReconcileLoop("pod garbage collector", PassAsync, time, random, logger);
        nodes.Listen(change =>
        {
            if (change.Type != ChangeType.Updated)
                _loop.Wake();
        });
        pods.Listen(change =>
        {
            if (change.Type == ChangeType.Added || change.Object.IsDeleting() || change.Old.Text("spec", "nodeName") != change.Object.Text("spec", "nodeName"))
                _loop.Wake();
        });
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_pods.Synced, _nodes.Synced).WaitAsync(token);
        var (pods, next) = _core.Step(_pods.List(), node => _nodes.Get(null, node) is not null, _time.GetUtcNow());
        var failed = false;
        foreach (var pod in pods)
        {
            try
            {
                await DeleteAsync(pod, token);
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                // Gone, or another one under its name.
            }
            catch (KubeException e)
            {
                failed = true;
                LogFailed(_logger, pod.Namespace(), pod.Name(), e.Message);
            }
        }

        if (failed)
            return s_retry;
        var wait = next - _time.GetUtcNow();
        return wait < TimeSpan.Zero ? TimeSpan.Zero : wait;
    }

    private async Task DeleteAsync(JsonObject pod, CancellationToken token)
    {
        // The cache may lag: a forced delete must be certain that no node runs the pod.
        var node = pod.Text("spec", "nodeName");
        if (node.Length > 0 && await _client.TryGetAsync(ResourceKind.Node, null, node, token) is not null)
            return;
        if (node.Length == 0 && (await _client.TryGetAsync(ResourceKind.Pod, pod.Namespace(), pod.Name(), token)).Text("spec", "nodeName").Length > 0)
            return;
        await _client.DeleteAsync(ResourceKind.Pod, pod.Namespace(), pod.Name(), Preconditions.Uid(pod, graceSeconds: 0), token);
        LogDeleted(_logger, pod.Namespace(), pod.Name(), node.Length == 0 ? "it was deleted before it had a node" : $"its node {node} is gone");
    }

    [LoggerMessage(3260, LogLevel.Information, "pod {Namespace}/{Name} was deleted by force: {Why}")]
    private static partial void LogDeleted(ILogger logger, string @namespace, string name, string why);

    [LoggerMessage(3261, LogLevel.Warning, "pod {Namespace}/{Name} could not be deleted by force, trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string @namespace, string name, string message);
}
