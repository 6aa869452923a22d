using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>A pod takes the machine's own memory until the node is low on it; nothing about it is told by the test.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class NodePressureTests
{
    [SkippableFact]
    public async Task A_pod_that_eats_the_nodes_memory_is_evicted_and_the_others_go_on()
    {
        Requires.Containerd();
        Requires.Kubectl();
        var free = MemoryAvailable();
        Skip.If(free < 6L << 30, "needs 6 GiB of free memory");

        // Far enough below what is free now that other work on the machine does not get there, and half of what the pod takes. An odd number, so that it is told in Mi.
        var threshold = ((free - (free / 6)) >> 20) | 1;
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Pods = true,
            EdgeCoreSettings =
            [
                $"modules.edged.tailoredKubeletConfig.evictionHard={{memory.available: {threshold}Mi}}",
                "modules.edged.tailoredKubeletConfig.evictionPressureTransitionPeriod=1s",
            ],
        });
        const string Asks = ""","resources":{"requests":{"cpu":"10m","memory":"32Mi"},"limits":{"cpu":"100m","memory":"32Mi"} }""";
        await edge.ApplyAsync(PodSteps.Pod("steady", container: Asks), PodSteps.Pod("modest"));
        await edge.ReadyAsync("steady");
        await edge.ReadyAsync("modest");
        Assert.Equal("False", PodSteps.Condition(await NodeAsync(edge), "MemoryPressure"));

        var megabytes = free / 3 / (1 << 20);
        await edge.ApplyAsync(PodSteps.Manifest(
            "hungry", $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","echo begins to eat; dd if=/dev/zero of=/memory/file bs=1M count={{megabytes}}; sleep 100000"],"volumeMounts":[{"name":"memory","mountPath":"/memory"}]}""",
            ""","volumes":[{"name":"memory","emptyDir":{"medium":"Memory"} }]"""));
        await edge.WaitForAsync("the node tells its pressure", async () => PodSteps.Condition(await NodeAsync(edge), "MemoryPressure") == "True", PodSteps.Long);
        var evicted = await edge.PodWhenAsync("hungry", "is evicted", pod => pod.Text("status", "phase") == "Failed");
        Assert.Equal("Evicted", evicted.Text("status", "reason"));
        Assert.Matches(
            $@"^The node was low on resource: memory\. Threshold quantity: {threshold}Mi, available: \d+Ki\. Container c was using \d+[KM]i, request is 0, has larger consumption of memory\. $",
            evicted.Text("status", "message"));
        Assert.StartsWith("Warning Evicted: The node was low on resource: memory.", await edge.EventAsync("hungry", "Warning Evicted"), StringComparison.Ordinal);

        // What it held is the node's again, and the node takes pods that ask for nothing.
        await edge.WaitForAsync("the pressure ends", async () => PodSteps.Condition(await NodeAsync(edge), "MemoryPressure") == "False", PodSteps.Long);
        await edge.ApplyAsync(PodSteps.Pod("after"));
        await edge.ReadyAsync("after");
        foreach (var name in (string[])["steady", "modest"])
        {
            var pod = await edge.PodAsync(name);
            Assert.True(PodSteps.IsReady(pod), name);
            Assert.Equal(0, PodSteps.Restarts(pod));
        }

        Assert.Equal("Evicted", (await edge.PodAsync("hungry")).Text("status", "reason"));

        // What it said is there although its container is not.
        using var node = new PodNode(edge);
        Assert.DoesNotContain(await node.ContainersAsync(), container => PodNode.Uid(container) == evicted.Uid());
        Assert.StartsWith("begins to eat\n", await edge.KubectlAsync("logs -f hungry"), StringComparison.Ordinal);
    }

    private static async Task<JsonObject> NodeAsync(TestEdge edge) => await edge.Client.TryGetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None) ?? [];

    private static long MemoryAvailable()
        => long.Parse(File.ReadLines("/proc/meminfo").Single(line => line.StartsWith("MemAvailable:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
}
