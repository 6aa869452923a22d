using System.Net;
using System.Net.Sockets;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>The stock kubectl all the way to a container at the edge: the node only dials out.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class KubectlStreamTests
{
    private const string Talker = """["sh","-c","echo one; echo two; trap 'exit 0' TERM; sleep 100000 & wait"]""";

    [SkippableFact]
    [KubectlVerb("logs", "-c, --tail")]
    [KubectlVerb("exec", "output, stdin, exit codes")]
    [KubectlVerb("cp", "both ways")]
    public async Task Logs_exec_and_cp_reach_a_pod_at_the_edge()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        var kubectl = edge.Local.Kubectl;
        await edge.ApplyAsync(PodSteps.Manifest("talk", $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":{{Talker}} }"""));
        await edge.ApplyAsync(PodSteps.Manifest("two", $$"""
            {"name":"a","image":"{{LocalEdge.BusyboxImage}}","command":{{PodSteps.Sleep}} },{"name":"b","image":"{{LocalEdge.BusyboxImage}}","command":{{Talker}} }
            """));
        await edge.ReadyAsync("talk");
        await edge.ReadyAsync("two");

        Assert.Equal("one\ntwo\n", await edge.KubectlAsync("logs talk"));
        Assert.Equal("two\n", await edge.KubectlAsync("logs talk --tail=1"));
        Assert.Equal("one\ntwo\n", await edge.KubectlAsync("logs two -c b"));
        var unclear = await kubectl.TryRunAsync(["logs", "two", "-c", "none"], CancellationToken.None);
        Assert.Contains("container none is not valid for pod two", unclear.Error, StringComparison.Ordinal);

        Assert.Equal("hello\n", await edge.KubectlAsync(["exec", "talk", "--", "echo", "hello"]));
        var failed = await kubectl.TryRunAsync(["exec", "talk", "--", "sh", "-c", "echo out; echo wrong >&2; exit 7"], CancellationToken.None);
        Assert.Equal((7, "out\n"), (failed.ExitCode, failed.Output));
        Assert.Contains("wrong", failed.Error, StringComparison.Ordinal);
        Assert.Equal("FROM STDIN", (await edge.KubectlAsync(["exec", "-i", "talk", "--", "tr", "a-z", "A-Z"], "from stdin")).TrimEnd());

        using var directory = new TempDirectory();
        var big = new byte[3_000_000];
        new Random(1).NextBytes(big);
        var (there, back) = (Path.Combine(directory.Path, "there"), Path.Combine(directory.Path, "back"));
        await File.WriteAllBytesAsync(there, big);
        await edge.KubectlAsync(["cp", there, "talk:/tmp/file"]);
        await edge.KubectlAsync(["cp", "talk:/tmp/file", back]);
        Assert.Equal(big, await File.ReadAllBytesAsync(back));
    }

    [SkippableFact]
    [KubectlVerb("logs", "-f")]
    public async Task A_followed_log_goes_on_beside_other_streams_and_ends_with_its_reader()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        await edge.ApplyAsync(PodSteps.Manifest("count", $$"""
            {"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","trap 'exit 0' TERM; i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done"]}
            """));
        await edge.ReadyAsync("count");
        using var directory = new TempDirectory();
        await using var follower = new Killed(ChildProcess.Start("kubectl-logs", directory.Path, Kubectl.Executable!, [$"--kubeconfig={edge.Local.Kubeconfig}", "logs", "-f", "count"], TimeProvider.System));
        var log = follower.Process.LogPath;
        await edge.WaitForAsync("the log is followed", async () => (await ReadAsync(log)).Contains("line 3\n", StringComparison.Ordinal));
        Assert.Equal("hi\n", await edge.KubectlAsync(["exec", "count", "--", "echo", "hi"]));
        var seen = (await ReadAsync(log)).Split('\n').Length;
        await edge.WaitForAsync("it goes on", async () => (await ReadAsync(log)).Split('\n').Length > seen + 3);
        await edge.KubectlAsync(["delete", "pod", "count", "--wait=false"]);
        await follower.Process.Exited.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal(0, follower.Process.ExitCode);
    }

    [SkippableFact]
    [KubectlVerb("attach", "output")]
    [KubectlVerb("logs", "-p")]
    public async Task Attach_shows_what_a_container_says_and_logs_what_it_said_before_its_restart()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        await edge.ApplyAsync(PodSteps.Manifest("again", $$"""
            {"name":"c","image":"{{LocalEdge.BusyboxImage}}","volumeMounts":[{"name":"kept","mountPath":"/kept"}],
             "command":["sh","-c","[ -f /kept/ran ] || { touch /kept/ran; echo first life; exit 1; }; trap 'exit 0' TERM; while true; do echo second life; sleep 0.2; done"]}
            """, ""","volumes":[{"name":"kept","emptyDir":{} }]"""));
        await edge.PodWhenAsync("again", "runs again", pod => PodSteps.IsReady(pod) && PodSteps.Container(pod).Number(0, "restartCount") == 1);
        Assert.Equal("first life\n", await edge.KubectlAsync("logs again -p"));
        Assert.Equal("second life\n", await edge.KubectlAsync("logs again --tail=1"));

        using var directory = new TempDirectory();
        await using var attached = new Killed(ChildProcess.Start("kubectl-attach", directory.Path, Kubectl.Executable!, [$"--kubeconfig={edge.Local.Kubeconfig}", "attach", "again"], TimeProvider.System));
        await edge.WaitForAsync("kubectl shows the container's output", async () => (await ReadAsync(attached.Process.LogPath)).Contains("second life\n", StringComparison.Ordinal));
    }

    [SkippableFact]
    [KubectlVerb("top", "node, pod, --containers")]
    public async Task Top_shows_the_use_of_nodes_and_pods()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        await edge.ApplyAsync(PodSteps.Pod("sleepy"));
        await edge.ReadyAsync("sleepy");
        Assert.Matches(@"^edge-1\s+\d+m\s+\d+%\s+\d+Mi\s+\d+%\s*$", (await edge.KubectlAsync("top node --no-headers")).TrimEnd('\n'));
        Assert.Matches(@"^sleepy\s+\S+\s+\d+m\s+\d+Mi\s*$", (await edge.KubectlAsync("top pod --containers --no-headers")).TrimEnd('\n'));
    }

    [SkippableFact]
    [KubectlVerb("port-forward", "TCP")]
    public async Task A_port_of_a_pod_is_forwarded()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        await edge.ApplyAsync(PodSteps.Manifest("serve", $$"""
            {"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","trap 'exit 0' TERM; while true; do echo answer | nc -l -p 8080; done"]}
            """));
        await edge.ReadyAsync("serve");
        using var directory = new TempDirectory();
        await using var forward = new Killed(ChildProcess.Start("kubectl-port", directory.Path, Kubectl.Executable!, [$"--kubeconfig={edge.Local.Kubeconfig}", "port-forward", "pod/serve", ":8080"], TimeProvider.System));
        var port = 0;
        await edge.WaitForAsync("kubectl listens", async () =>
        {
            var line = (await ReadAsync(forward.Process.LogPath)).Split('\n').FirstOrDefault(one => one.StartsWith("Forwarding from 127.0.0.1:", StringComparison.Ordinal));
            return line is not null && int.TryParse(line["Forwarding from 127.0.0.1:".Length..].Split(' ')[0], out port);
        });
        await edge.WaitForAsync("the pod answers through the forwarded port", async () =>
        {
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, port);
            using var reader = new StreamReader(client.GetStream());
            return await reader.ReadLineAsync() == "answer";
        });
    }

    [SkippableFact]
    public async Task A_node_that_is_away_says_so()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        await edge.ApplyAsync(PodSteps.Pod("sleepy"));
        await edge.ReadyAsync("sleepy");
        await LocalEdge.KillEdgeCoreAsync(edge.Local.Nodes[0]);
        await edge.WaitForAsync(
            "kubectl is told that the node is away",
            async () =>
            {
                var answer = await edge.Local.Kubectl.TryRunAsync(["logs", "sleepy"], CancellationToken.None);
                return answer.ExitCode != 0 && answer.Error.Contains("node \"edge-1\" is not connected", StringComparison.Ordinal);
            },
            PodSteps.Long);
    }

    // The file is written by another process at the same time.
    private static async Task<string> ReadAsync(string path)
    {
        if (!File.Exists(path))
            return "";
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        return await reader.ReadToEndAsync();
    }

    /// <summary>A process that does not outlive its test.</summary>
    private sealed record Killed(ChildProcess Process) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await Process.KillAsync();
            Process.Dispose();
        }
    }
}
