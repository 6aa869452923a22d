using System.Globalization;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>A node that is lost and returns, on real parts.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class NodeLossTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(3);

    [SkippableFact]
    public async Task A_node_that_was_frozen_is_unknown_meanwhile_and_its_pod_is_the_same_and_ready_again_afterwards()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        await edge.KubectlAsync("apply -f -", $$"""
            apiVersion: v1
            kind: Pod
            metadata: {name: stays}
            spec:
              nodeName: {{edge.Local.Nodes[0].Name}}
              terminationGracePeriodSeconds: 1
              containers: [{name: c, image: "{{LocalEdge.BusyboxImage}}", command: [sleep, "100000"]}]
            """);
        await edge.WaitForAsync("the pod is ready", async () => await PodAsync("True"), s_long);
        const string Identity = "get pod stays -o jsonpath={.metadata.uid}/{.status.containerStatuses[0].containerID}/{.status.containerStatuses[0].restartCount}";
        var before = await edge.KubectlAsync(Identity);
        var process = edge.Local.Nodes[0].Process!.Id.ToString(CultureInfo.InvariantCulture);

        await SignalAsync("-STOP");
        try
        {
            await edge.WaitForAsync("the node is unknown", async () => await NodeAsync() == "Unknown", s_long);
            await edge.WaitForAsync("the pod is not ready", async () => await PodAsync("False"), s_long);
            Assert.Contains("node.kubernetes.io/unreachable", await edge.KubectlAsync("get nodes -o jsonpath={.items[*].spec.taints[*].key}"), StringComparison.Ordinal);
        }
        finally
        {
            await SignalAsync("-CONT");
        }

        await edge.WaitForAsync("the node is ready", async () => await NodeAsync() == "True", s_long);
        await edge.WaitForAsync("the pod is ready again", async () => await PodAsync("True"), s_long);
        await edge.WaitForAsync("the taints are gone", async () => (await edge.KubectlAsync("get nodes -o jsonpath={.items[*].spec.taints[*].key}")).Trim().Length == 0, s_long);
        Assert.Equal(before, await edge.KubectlAsync(Identity));

        async Task<string> NodeAsync() => (await edge.KubectlAsync("get nodes -o jsonpath={.items[0].status.conditions[?(@.type==\"Ready\")].status}")).Trim();

        async Task<bool> PodAsync(string ready) => (await edge.KubectlAsync("get pod stays -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}")).Trim() == ready;

        Task<string> SignalAsync(string signal) => Tool.RunAsync("kill", [signal, process], new ToolOptions(TimeProvider.System), CancellationToken.None);
    }
}
