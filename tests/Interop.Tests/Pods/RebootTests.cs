using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Protocol.Cri.V1;
using Edge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Edge.Interop.Tests.Pods;

/// <summary>A node loses its power and comes back while there is no cloud.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class RebootTests(ITestOutputHelper output)
{
    private const string Volumes = """
        ,"volumes":[{"name":"config","configMap":{"name":"config"} },{"name":"secret","secret":{"secretName":"secret","defaultMode":256} },
          {"name":"disk","emptyDir":{} },{"name":"memory","emptyDir":{"medium":"Memory"} },
          {"name":"token","projected":{"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":3607} }]} }]
        """;

    private const string Mounts = """
        ,"volumeMounts":[{"name":"config","mountPath":"/config"},{"name":"secret","mountPath":"/secret"},{"name":"disk","mountPath":"/disk"},{"name":"memory","mountPath":"/memory"},
          {"name":"token","mountPath":"/token"}],
         "env":[{"name":"VALUE","valueFrom":{"configMapKeyRef":{"name":"config","key":"value"} } }]
        """;

    // Not containerd's default: a class that was forgotten would show.
    private const string OtherHandler = "runc-again";

    [SkippableFact]
    public async Task After_a_power_cut_without_the_cloud_all_pods_run_again_and_what_was_deleted_meanwhile_goes_when_the_cloud_returns()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true, RuntimeHandlers = [OtherHandler] });
        using var node = new PodNode(edge);
        var crashing = $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","test -f /disk/once || { touch /disk/once; exit 3; }; trap 'exit 0' TERM; sleep 100000 & wait"],"volumeMounts":[{"name":"disk","mountPath":"/disk"}]}""";
        await edge.ApplyAsync(
            """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"config"},"data":{"value":"from the cloud"} }""",
            """{"apiVersion":"v1","kind":"Secret","metadata":{"name":"secret"},"stringData":{"password":"open sesame"} }""",
            $$"""{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"again"},"handler":"{{OtherHandler}}"}""",
            PodSteps.Pod("classy", ""","runtimeClassName":"again" """),
            PodSteps.Pod("whole", Volumes, Mounts),
            PodSteps.Manifest("crashed", crashing, ""","volumes":[{"name":"disk","emptyDir":{} }]"""),
            PodSteps.Pod("init", $$""","initContainers":[{"name":"first","image":"{{LocalEdge.BusyboxImage}}","command":["true"]}]"""),
            PodSteps.Pod("host", ""","hostNetwork":true"""),
            PodSteps.Pod("deleted"),
            PodSteps.Pod("forced"),
            PodSteps.Manifest("job", $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","echo done"]}""", ""","restartPolicy":"OnFailure" """));
        string[] running = ["whole", "classy", "crashed", "init", "host", "deleted", "forced"];
        var before = new Dictionary<string, JsonObject>(StringComparer.Ordinal);
        foreach (var name in running)
            before[name] = await edge.PodWhenAsync(name, "is ready", pod => PodSteps.IsReady(pod) && PodSteps.Restarts(pod) == (name == "crashed" ? 1 : 0));
        before["job"] = await edge.PodWhenAsync("job", "has succeeded", pod => pod.Text("status", "phase") == "Succeeded");
        var uids = before.Values.Select(pod => pod.Uid()).ToHashSet(StringComparer.Ordinal);
        await edge.ExecAsync(PodSteps.ContainerId(before["whole"]), "sh", "-c", "echo kept >/disk/file; echo lost >/memory/file");
        var token = await File.ReadAllTextAsync(node.VolumeFile(before["whole"].Uid(), "projected", "token", "token"));

        await LocalEdge.CutPowerAsync(edge.Local.Nodes[0]);
        Assert.Empty(await ProcessesOfPodsAsync(uids));
        await edge.DeleteAsync("deleted");
        await edge.KubectlAsync("delete pod forced --grace-period=0 --force --wait=false");
        await edge.Local.KillCloudCoreAsync();
        await edge.Local.BootAsync(edge.Local.Nodes[0], CancellationToken.None);

        // The node knows of no deletion: all run again, each container once more than before.
        Dictionary<(string Uid, string Name), Container> now = [];
        await edge.WaitForAsync("all pods run again without the cloud", async () =>
        {
            now = await node.RunningAsync();
            return running.All(name => now.ContainsKey((before[name].Uid(), "c")));
        }, PodSteps.Long);
        foreach (var name in running)
        {
            var container = now[(before[name].Uid(), "c")];
            Assert.NotEqual(PodSteps.ContainerId(before[name]), container.Id);
            Assert.True(PodSteps.Restarts(before[name]) + 1 == container.Metadata.Attempt, $"{name}: attempt {container.Metadata.Attempt} after {PodSteps.Restarts(before[name])} restarts");
        }

        var whole = now[(before["whole"].Uid(), "c")].Id;
        Assert.Equal("from the cloud|from the cloud|open sesame|kept|", await edge.ExecAsync(whole, "sh", "-c", "printf '%s|' \"$VALUE\" \"$(cat /config/value)\" \"$(cat /secret/password)\" \"$(cat /disk/file)\""));
        Assert.Equal("absent tmpfs", (await edge.ExecAsync(whole, "sh", "-c", "test -e /memory/file && echo -n present || echo -n absent; grep -q ' /memory tmpfs' /proc/mounts && echo ' tmpfs'")).Trim());
        Assert.Equal(token, await edge.ExecAsync(whole, "cat", "/token/token"));
        Assert.DoesNotContain(now.Keys, key => key.Uid == before["job"].Uid());
        Assert.Equal(OtherHandler, (await node.SandboxesAsync()).Single(sandbox => sandbox.Metadata.Uid == before["classy"].Uid() && sandbox.State == PodSandboxState.SandboxReady).RuntimeHandler);
        Assert.True(edge.Local.CloudCore!.Exited.IsCompleted);
        output.WriteLine("all runs without the cloud");

        await edge.Local.RestartCloudCoreAsync(CancellationToken.None);
        string[] staying = ["whole", "classy", "crashed", "init", "host"];
        foreach (var name in staying)
        {
            var pod = await edge.PodWhenAsync(name, "says that it was restarted once and is ready", pod => PodSteps.IsReady(pod) && PodSteps.Restarts(pod) == PodSteps.Restarts(before[name]) + 1);
            Assert.Equal(before[name].Uid(), pod.Uid());
            Assert.Equal(now[(pod.Uid(), "c")].Id, PodSteps.ContainerId(pod));
            Assert.Equal(before[name].Text("status", "startTime"), pod.Text("status", "startTime"));
            var last = PodSteps.Container(pod).At("lastState", "terminated");
            Assert.Equal((PodSteps.ContainerId(before[name]), 255L, "Unknown"), (last.Text("containerID").Replace("containerd://", "", StringComparison.Ordinal), last.Number(-1, "exitCode"), last.Text("reason")));
        }

        Assert.Equal("Succeeded", (await edge.PodAsync("job")).Text("status", "phase"));
        await edge.WaitForAsync("the pods deleted meanwhile are gone", async () => (await edge.PodsAsync()).Select(pod => pod.Name()).Order().SequenceEqual(["classy", "crashed", "host", "init", "job", "whole"]), PodSteps.Long);
        await edge.WaitForAsync("they do not run", async () => !(await node.RunningAsync()).Keys.Any(key => key.Uid == before["deleted"].Uid() || key.Uid == before["forced"].Uid()), PodSteps.Long);

        // Nothing was started a second time for the cloud's return.
        var end = await node.RunningAsync();
        Assert.All(staying, name => Assert.Equal(now[(before[name].Uid(), "c")].Id, end[(before[name].Uid(), "c")].Id));
        await edge.WaitForAsync("the node is ready", () => edge.Local.IsNodeReadyAsync("edge-1", CancellationToken.None), PodSteps.Long);
    }

    // Processes in the cgroups of the pods.
    private static async Task<IReadOnlyList<string>> ProcessesOfPodsAsync(IEnumerable<string> uids)
    {
        var found = new List<string>();
        foreach (var file in uids.SelectMany(PodNode.Cgroups).SelectMany(path => Directory.EnumerateFiles(path, "cgroup.procs", SearchOption.AllDirectories)))
            found.AddRange((await File.ReadAllLinesAsync(file)).Where(line => int.Parse(line, CultureInfo.InvariantCulture) > 0));
        return found;
    }
}
