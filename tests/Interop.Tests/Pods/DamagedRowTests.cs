using Edge.Interop.Tests.Local;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>The disk gives rows of edgecore's database back as something else.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class DamagedRowTests
{
    [SkippableFact]
    public async Task Pods_whose_rows_are_damaged_run_on_without_the_cloud_and_are_whole_again_with_it()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        using var node = new PodNode(edge);
        await edge.ApplyAsync(
            """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"damaged"},"data":{"value":"one"} }""",
            PodSteps.Pod("damaged", ""","volumes":[{"name":"config","configMap":{"name":"damaged"} }]""", ""","volumeMounts":[{"name":"config","mountPath":"/config"}]"""),
            PodSteps.Pod("whole"));
        var (damaged, whole) = (await edge.ReadyAsync("damaged"), await edge.ReadyAsync("whole"));
        string[] ids = [PodSteps.ContainerId(damaged), PodSteps.ContainerId(whole)];
        var local = edge.Local.Nodes[0];

        await LocalEdge.KillEdgeCoreAsync(local);
        await edge.Local.KillCloudCoreAsync();
        Assert.All(["default/pod/damaged", "default/configmap/damaged"], key => Assert.True(EdgeRows.Overwrite(local, key, "{\"kind\":\"P"u8)));
        edge.Local.RestartEdgeCore(local);

        // The other pod, killed from outside, runs again: by then all have had their turn.
        await edge.CtrAsync("tasks", "kill", "-s", "KILL", ids[1]);
        await edge.WaitForAsync("the other pod runs again", async () => (await node.RunningAsync()).TryGetValue((whole.Uid(), "c"), out var again) && again.Id != ids[1], PodSteps.Long);
        Assert.Equal(ids[0], (await node.RunningAsync())[(damaged.Uid(), "c")].Id);
        Assert.Equal("one", (await edge.ExecAsync(ids[0], "cat", "/config/value")).Trim());

        await edge.Local.RestartCloudCoreAsync(CancellationToken.None);
        await edge.KubectlAsync(["patch", "configmap", "damaged", "-p", """{"data":{"value":"two"} }"""]);
        await edge.WaitForAsync("the change of the ConfigMap is in the pod", async () => (await edge.ExecAsync(ids[0], "cat", "/config/value")).Trim() == "two", PodSteps.Long);
        var after = await edge.ReadyAsync("damaged");
        Assert.Equal((ids[0], 0L), (PodSteps.ContainerId(after), PodSteps.Restarts(after)));
        await edge.DeleteAsync("damaged");
        await edge.WaitForAsync("it is gone from the node", async () => (await node.ContainersAsync()).All(container => container.Id != ids[0]), PodSteps.Long);
    }
}
