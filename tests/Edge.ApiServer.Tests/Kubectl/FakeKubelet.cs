using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Stands for nodes' kubelets: pods of one namespace that are bound become Running and ready, those that never restart succeed, those that are
/// deleted go, and the nodes stay ready. Pods of the image <c>broken</c> never start.</summary>
internal sealed class FakeKubelet : IAsyncDisposable
{
    private readonly KubeClient _client;
    private readonly string _namespace;
    private readonly IReadOnlyList<string> _nodes;
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    private FakeKubelet(KubeClient client, string @namespace, IReadOnlyList<string> nodes)
    {
        _client = client;
        _namespace = @namespace;
        _nodes = nodes;
    }

    public static async Task<FakeKubelet> StartAsync(KubeClient client, string @namespace, params IReadOnlyList<string> nodes)
    {
        var kubelet = new FakeKubelet(client, @namespace, nodes);
        foreach (var node in nodes)
            await client.CreateAsync(ResourceKind.Node, null, new JsonObject { ["metadata"] = new JsonObject { ["name"] = node, ["labels"] = new JsonObject { ["pool"] = @namespace } } }, CancellationToken.None);
        kubelet._loop = kubelet.RunAsync(kubelet._stop.Token);
        return kubelet;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        foreach (var node in _nodes)
            await _client.DeleteAsync(ResourceKind.Node, null, node, null, CancellationToken.None);
        _stop.Dispose();
    }

    private async Task RunAsync(CancellationToken token)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        var beat = DateTimeOffset.MinValue;
        try
        {
            do
            {
                var now = DateTimeOffset.UtcNow;
                if (now - beat > TimeSpan.FromSeconds(5))
                {
                    beat = now;
                    foreach (var node in _nodes)
                    {
                        await PatchAsync(ResourceKind.Node, null, node, $$$$$$$$"""
                            {"status":{"allocatable":{"cpu":"8","memory":"16Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":"{{{{{{{{KubeObject.Time(now)}}}}}}}}"}]}}
                            """, token);
                    }
                }

                foreach (var pod in (await _client.ListAsync(ResourceKind.Pod, _namespace, new ListOptions(), token)).Items)
                    await StepAsync(pod, now, token);
            }
            while (await timer.WaitForNextTickAsync(token));
        }
        catch (OperationCanceledException) when (token.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    private async Task StepAsync(JsonObject pod, DateTimeOffset now, CancellationToken token)
    {
        if (pod.Text("spec", "nodeName").Length == 0 || pod.Text("status", "phase") is "Succeeded" or "Failed")
            return;
        try
        {
            if (pod.IsDeleting())
            {
                await _client.DeleteAsync(ResourceKind.Pod, _namespace, pod.Name(), new JsonObject { ["gracePeriodSeconds"] = 0 }, token);
            }
            else if (pod.Text("spec", "restartPolicy") != "Always")
            {
                await PatchAsync(ResourceKind.Pod, _namespace, pod.Name(), $$$$$$$$"""
                    {"status":{"phase":"Succeeded","containerStatuses":[{"name":"c","ready":false,"restartCount":0,"image":"i","imageID":"i","state":{"terminated":{"exitCode":0,"finishedAt":"{{{{{{{{KubeObject.Time(now)}}}}}}}}"}}}]}}
                    """, token);
            }
            else if (pod.Text("status", "phase") != "Running" && !pod.Items("spec", "containers").Any(container => container.Text("image") == "broken"))
            {
                var ip = string.Create(CultureInfo.InvariantCulture, $"10.9.{pod.Version() / 250 % 250}.{(pod.Version() % 250) + 1}");
                await PatchAsync(ResourceKind.Pod, _namespace, pod.Name(), $$$$$$$$"""
                    {"status":{"phase":"Running","podIP":"{{{{{{{{ip}}}}}}}}","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"{{{{{{{{KubeObject.Time(now)}}}}}}}}"}]}}
                    """, token);
            }
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            // gone, or changed: seen at the next look
        }
    }

    private Task<JsonObject> PatchAsync(ResourceKind kind, string? @namespace, string name, string patch, CancellationToken token)
        => _client.PatchAsync(kind, @namespace, name, PatchKind.Strategic, Encoding.UTF8.GetBytes(patch), "status", token);
}
