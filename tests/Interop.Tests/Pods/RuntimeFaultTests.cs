using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>What goes wrong with the runtime below the pods.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class RuntimeFaultTests(PodsEdge shared) : IClassFixture<PodsEdge>
{
    // Every second: one falls into whatever happens meanwhile.
    private const string Probes = ""","livenessProbe":{"exec":{"command":["true"]},"periodSeconds":1,"failureThreshold":1},"readinessProbe":{"exec":{"command":["true"]},"periodSeconds":1,"failureThreshold":1}""";

    [SkippableFact]
    public async Task While_containerd_is_stopped_pods_go_on_and_one_created_meanwhile_starts_afterwards()
    {
        var edge = await shared.GetAsync();
        using var node = new PodNode(edge);
        var containerd = edge.Local.Nodes[0].Containerd!;
        await edge.ApplyAsync(PodSteps.Pod("stays"), PodSteps.Pod("probed", container: Probes));
        var before = new[] { await edge.ReadyAsync("stays"), await edge.ReadyAsync("probed") };
        var processes = await node.ProcessesAsync();
        var entries = before.Select(pod => ProcessTable.Find(processes[PodSteps.ContainerId(pod)])!).ToList();

        await containerd.StopAsync();
        try
        {
            await edge.WaitForAsync("the node says that its runtime is away", async () => PodSteps.Condition(await NodeAsync(edge), "Ready") == "False", PodSteps.Long);
            Assert.Contains("containerd.sock", (await NodeAsync(edge)).Items("status", "conditions").Single(condition => condition.Text("type") == "Ready").Text("message"), StringComparison.Ordinal);
            await edge.ApplyAsync(PodSteps.Pod("meanwhile"));
            Assert.All(entries, entry => Assert.Equal(entry, ProcessTable.Find(entry.Id)));
        }
        finally
        {
            await containerd.StartAgainAsync(CancellationToken.None);
        }

        await edge.ReadyAsync("meanwhile");
        await edge.WaitForAsync("the node is ready", () => edge.Local.IsNodeReadyAsync("edge-1", CancellationToken.None), PodSteps.Long);
        foreach (var pod in before)
        {
            var after = await edge.ReadyAsync(pod.Name());
            Assert.Equal((PodSteps.ContainerId(pod), 0), (PodSteps.ContainerId(after), PodSteps.Restarts(after)));
            Assert.Equal(pod.Text("status", "podIP"), after.Text("status", "podIP"));
        }

        Assert.All(entries, entry => Assert.Equal(entry.StartTime, ProcessTable.Find(entry.Id)?.StartTime));
        await RemoveAsync(edge, node, "stays", "probed", "meanwhile");
    }

    [SkippableFact]
    public async Task A_pod_whose_sandbox_was_killed_from_outside_is_made_anew()
    {
        var edge = await shared.GetAsync();
        using var node = new PodNode(edge);
        await edge.ApplyAsync(PodSteps.Pod("struck"), PodSteps.Pod("beside"));
        var (before, beside) = (await edge.ReadyAsync("struck"), await edge.ReadyAsync("beside"));
        var sandbox = (await node.SandboxesAsync()).Single(one => one.Metadata.Uid == before.Uid());

        await edge.CtrAsync("tasks", "kill", "--signal", "SIGKILL", sandbox.Id);

        var after = await edge.PodWhenAsync("struck", "is ready in a new container", pod => PodSteps.IsReady(pod) && PodSteps.ContainerId(pod) != PodSteps.ContainerId(before));
        Assert.Equal((before.Uid(), 1), (after.Uid(), PodSteps.Restarts(after)));
        Assert.Contains((await node.SandboxesAsync()), one => one.Metadata.Uid == before.Uid() && one.Metadata.Attempt == 1 && one.Id != sandbox.Id);

        // What ran on in the dead sandbox was told to end, and did.
        Assert.Equal(PodSteps.ContainerId(before), PodSteps.Container(after).Text("lastState", "terminated", "containerID")["containerd://".Length..]);
        Assert.Equal(0, PodSteps.Container(after).Number(-1, "lastState", "terminated", "exitCode"));
        Assert.Equal("Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created.", await edge.EventAsync("struck", "Normal SandboxChanged"));
        var untouched = await edge.ReadyAsync("beside");
        Assert.Equal((PodSteps.ContainerId(beside), 0), (PodSteps.ContainerId(untouched), PodSteps.Restarts(untouched)));
        await RemoveAsync(edge, node, "struck", "beside");
    }

    [SkippableFact]
    public async Task A_CNI_that_fails_is_told_in_an_event_touches_no_other_pod_and_the_pod_starts_when_it_works()
    {
        var edge = await shared.GetAsync();
        using var node = new PodNode(edge);
        await edge.ApplyAsync(PodSteps.Pod("connected"));
        var before = await edge.ReadyAsync("connected");
        var config = Path.Combine(edge.Local.Nodes[0].Containerd!.CniDirectory, "10-edge.conflist");
        var working = await File.ReadAllTextAsync(config);

        await File.WriteAllTextAsync(config, working.Replace("\"type\": \"bridge\"", "\"type\": \"edge-broken\"", StringComparison.Ordinal));
        try
        {
            await edge.ApplyAsync(PodSteps.Pod("unconnected"), PodSteps.Pod("hosted", ""","hostNetwork":true"""));
            var told = await edge.EventAsync("unconnected", "Warning FailedCreatePodSandBox");
            Assert.StartsWith("Warning FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox", told, StringComparison.Ordinal);
            Assert.Contains("edge-broken", told, StringComparison.Ordinal);
            await edge.ReadyAsync("hosted"); // it needs no CNI
            var waiting = await edge.PodAsync("unconnected");
            Assert.Equal(("Pending", "ContainerCreating"), (waiting.Text("status", "phase"), PodSteps.Waiting(waiting).Reason));
            Assert.Equal("False", PodSteps.Condition(waiting, "PodReadyToStartContainers"));
        }
        finally
        {
            await File.WriteAllTextAsync(config, working);
        }

        await edge.ReadyAsync("unconnected");
        var after = await edge.ReadyAsync("connected");
        Assert.Equal((PodSteps.ContainerId(before), 0), (PodSteps.ContainerId(after), PodSteps.Restarts(after)));
        await RemoveAsync(edge, node, "connected", "unconnected", "hosted");
    }

    private static async Task<JsonObject> NodeAsync(TestEdge edge) => await edge.Client.GetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None);

    // Whatever went wrong, nothing of it stays.
    private static async Task RemoveAsync(TestEdge edge, PodNode node, params string[] names)
    {
        var uids = (await edge.PodsAsync()).Where(pod => names.Contains(pod.Name())).Select(pod => pod.Uid()).ToList();
        var others = (await edge.PodsAsync()).Where(pod => !names.Contains(pod.Name())).Select(pod => pod.Uid()).ToHashSet(StringComparer.Ordinal);
        await edge.DeleteAsync(names);
        await edge.WaitForAsync("the pods are gone", async () => !(await edge.PodsAsync()).Any(pod => names.Contains(pod.Name())), PodSteps.Long);
        IReadOnlyList<string> left = [];
        try
        {
            await edge.WaitForAsync("nothing of them is left", async () => (left = await node.UnexpectedAsync(others, uids)).Count == 0, PodSteps.Long);
        }
        catch (TimeoutException)
        {
            Assert.Fail("left over: " + string.Join("; ", left));
        }
    }
}
