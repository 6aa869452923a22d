using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>Workloads with the stock kubectl, from the command to the containers of two nodes.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class KubectlWorkloadTests
{
    [SkippableFact]
    [KubectlVerb("create", "deployment, job, pdb, on real nodes")]
    [KubectlVerb("set", "env")]
    [KubectlVerb("rollout", "status, on real nodes")]
    [KubectlVerb("scale", "on real nodes")]
    [KubectlVerb("drain", "with disruption budgets")]
    [KubectlVerb("uncordon", "nodes")]
    [KubectlVerb("logs", "of a job")]
    [KubectlVerb("exec", "deploy/NAME")]
    public async Task A_deployment_is_rolled_out_scaled_and_drained_and_a_job_completes()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Nodes = 2, Pods = true, PodsOnEveryNode = true });

        // Two replicas, one a node: pods of one set spread by themselves.
        await edge.KubectlAsync(["create", "deployment", "web", $"--image={LocalEdge.BusyboxImage}", "--replicas=2", "--", "sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]);
        await AvailableAsync(edge, 2);
        Assert.Equal(["edge-1", "edge-2"], (await PodsAsync(edge)).Select(pod => pod.Text("spec", "nodeName")).Order(StringComparer.Ordinal));

        // A changed environment makes all pods anew, and is in the containers.
        var before = (await PodsAsync(edge)).Select(pod => pod.Uid()).ToHashSet(StringComparer.Ordinal);
        await edge.KubectlAsync("set env deployment/web COLOUR=green");
        await AvailableAsync(edge, 2);
        await edge.WaitForAsync("the old pods are gone", async () => (await PodsAsync(edge)) is { Count: 2 } pods && pods.All(pod => !before.Contains(pod.Uid())), PodSteps.Long);
        Assert.Equal("green\n", await edge.KubectlAsync(["exec", "deploy/web", "--", "sh", "-c", "echo $COLOUR"]));
        Assert.Contains("successfully rolled out", await edge.KubectlAsync("rollout status deployment/web"), StringComparison.Ordinal);
        Assert.Equal(2, (await edge.KubectlAsync("get replicasets -l app=web --no-headers")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);

        // Both are needed: a drain is refused, and the pod stays.
        await edge.KubectlAsync("create poddisruptionbudget web --selector=app=web --min-available=2");
        await edge.WaitForAsync("the budget is counted", async () => (await edge.KubectlAsync("get pdb web -o jsonpath={.status.currentHealthy}/{.status.desiredHealthy}")).Trim() == "2/2", PodSteps.Long);
        var kept = (await PodsAsync(edge)).Single(pod => pod.Text("spec", "nodeName") == "edge-2").Uid();
        var refused = await edge.Local.Kubectl.TryRunAsync(["drain", "edge-2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=7s"], CancellationToken.None);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("Cannot evict pod as it would violate the pod's disruption budget.", refused.Error, StringComparison.Ordinal);
        Assert.Contains(await PodsAsync(edge), pod => pod.Uid() == kept && !pod.IsDeleting());

        // With a third one, which the cordoned node does not get, the drain ends.
        await edge.KubectlAsync("scale deployment/web --replicas=3");
        await AvailableAsync(edge, 3);
        await EndsWellAsync(edge, "drain edge-2 --ignore-daemonsets --delete-emptydir-data --timeout=45s");
        await AvailableAsync(edge, 3);
        Assert.All(await PodsAsync(edge), pod => Assert.Equal("edge-1", pod.Text("spec", "nodeName")));
        Assert.Contains("SchedulingDisabled", await edge.KubectlAsync("get node edge-2"), StringComparison.Ordinal);
        await edge.KubectlAsync("uncordon edge-2");

        await edge.KubectlAsync(["create", "job", "sum", $"--image={LocalEdge.BusyboxImage}", "--", "sh", "-c", "echo $((40 + 2))"]);
        await EndsWellAsync(edge, "wait --for=condition=complete job/sum --timeout=45s");
        Assert.Equal("42\n", await edge.KubectlAsync("logs job/sum"));

        await edge.KubectlAsync("scale deployment/web --replicas=0");
        await edge.WaitForAsync("all are gone", async () => (await PodsAsync(edge)).Count == 0, PodSteps.Long);
    }

    private static Task AvailableAsync(TestEdge edge, int replicas)
        => edge.WaitForAsync(
            $"web has {replicas} available replicas",
            async () => (await edge.KubectlAsync("get deployment web -o jsonpath={.status.updatedReplicas}/{.status.availableReplicas}/{.status.replicas}")).Trim() == $"{replicas}/{replicas}/{replicas}",
            PodSteps.Long);

    // A command that waits itself, on a machine that may be slow.
    private static Task EndsWellAsync(TestEdge edge, string command)
        => edge.WaitForAsync(command, async () => (await edge.Local.Kubectl.TryRunAsync(command.Split(' '), CancellationToken.None)).ExitCode == 0, PodSteps.Long);

    private static async Task<IReadOnlyList<System.Text.Json.Nodes.JsonObject>> PodsAsync(TestEdge edge)
        => [.. (await edge.PodsAsync()).Where(pod => pod.Label("app") == "web")];
}
