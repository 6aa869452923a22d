using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>kubectl debug's ephemeral containers, and terminals, at the edge.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class KubectlDebugTests(PodsEdge pods) : IClassFixture<PodsEdge>
{
    private const string Script = "/usr/bin/script";

    [SkippableFact]
    [KubectlVerb("debug", "ephemeral containers, --target, -it")]
    [KubectlVerb("logs", "of ephemeral containers")]
    [KubectlVerb("exec", "in ephemeral containers")]
    [KubectlVerb("describe", "ephemeral containers")]
    public async Task An_ephemeral_container_joins_a_running_pod_and_sees_its_targets_processes()
    {
        var edge = await pods.GetAsync();
        await edge.ApplyAsync(PodSteps.Pod("looked-at"));
        var before = await edge.ReadyAsync("looked-at");
        await edge.KubectlAsync(["debug", "looked-at", $"--image={LocalEdge.BusyboxImage}", "--target=c", "-c", "look", "--", "sh", "-c", "echo hello from $HOSTNAME; trap 'exit 3' TERM; sleep 100000 & wait"]);
        var pod = await edge.PodWhenAsync("looked-at", "has the container running", found => Ephemeral(found, "look").At("state", "running") is not null);
        Assert.Equal("hello from looked-at\n", await edge.KubectlAsync("logs looked-at -c look"));

        // It is the same sandbox and, with the target's processes, the same process 1; the pod's own container knows nothing of it.
        Assert.Contains("sleep 100000", await edge.KubectlAsync(["exec", "looked-at", "-c", "look", "--", "cat", "/proc/1/cmdline"]), StringComparison.Ordinal);
        Assert.DoesNotContain("exit 3", await edge.KubectlAsync(["exec", "looked-at", "-c", "look", "--", "cat", "/proc/1/cmdline"]), StringComparison.Ordinal);
        Assert.Equal(
            await edge.KubectlAsync(["exec", "looked-at", "-c", "c", "--", "readlink", "/proc/1/ns/net"]),
            await edge.KubectlAsync(["exec", "looked-at", "-c", "look", "--", "readlink", "/proc/self/ns/net"]));
        Assert.Equal((PodSteps.ContainerId(before), 0L), (PodSteps.ContainerId(pod), PodSteps.Restarts(pod)));
        Assert.Contains("Started container look", string.Join('\n', await edge.EventsAsync("looked-at")), StringComparison.Ordinal);
        Assert.Contains("Ephemeral Containers", await edge.KubectlAsync("describe pod looked-at"), StringComparison.Ordinal);

        // One that is attached to, and that ends: it is not started again, and the pod goes on.
        Skip.IfNot(File.Exists(Script), "script (util-linux)");
        var asked = await OnTerminalAsync($"{Kubectl.Executable} --kubeconfig={edge.Local.Kubeconfig} debug -it looked-at --image={LocalEdge.BusyboxImage} -c ask -- sh", "/dev/null", "echo is $((6*7))\nexit 5\n");
        Assert.Contains("is 42", asked.Output, StringComparison.Ordinal);
        pod = await edge.PodWhenAsync("looked-at", "says how it ended", found => Ephemeral(found, "ask").At("state", "terminated") is not null);
        Assert.Equal(5, Ephemeral(pod, "ask").Number(-1, "state", "terminated", "exitCode"));
        Assert.True(PodSteps.IsReady(pod));

        // Refused: what Kubernetes refuses.
        var kubectl = edge.Local.Kubectl;
        var unknown = await kubectl.TryRunAsync(["debug", "looked-at", $"--image={LocalEdge.BusyboxImage}", "--target=nobody", "-c", "never"], CancellationToken.None);
        Assert.Contains("spec.ephemeralContainers[2].targetContainerName: Not found: \"nobody\"", unknown.Error, StringComparison.Ordinal);
        var changed = await Assert.ThrowsAsync<KubeException>(() => edge.Client.PatchAsync(
            ResourceKind.Pod, "default", "looked-at", PatchKind.Strategic, """{"spec":{"ephemeralContainers":[{"name":"look","image":"other"}]}}"""u8.ToArray(), "ephemeralcontainers", CancellationToken.None));
        Assert.Contains("spec.ephemeralContainers: Forbidden: existing ephemeral containers \"look\" may not be changed", changed.Message, StringComparison.Ordinal);
        await edge.DeleteAsync("looked-at");
        await edge.WaitForAsync("it is gone", async () => (await edge.PodAsync("looked-at")).Count == 0, PodSteps.Long);
    }

    [SkippableFact]
    [KubectlVerb("exec", "-it, the size of the terminal and its changes")]
    public async Task Exec_with_a_terminal_has_its_size_and_follows_it()
    {
        var edge = await pods.GetAsync();
        Skip.IfNot(File.Exists(Script), "script (util-linux)");
        await edge.ApplyAsync(PodSteps.Pod("screen"));
        await edge.ReadyAsync("screen");
        using var directory = new TempDirectory();
        var log = Path.Combine(directory.Path, "typescript");

        // A terminal of 77 columns, which gets 99 once the shell at the edge has seen the 77. script writes the command into its log too, so the
        // pattern must not match itself. One change only: of two at once kubectl may drop the second.
        var command = $"screen=$(tty); stty cols 77 rows 33; (until grep -q 'seen-[1]' {log}; do sleep 0.1; done; stty -F $screen cols 99) & {Kubectl.Executable} --kubeconfig={edge.Local.Kubeconfig} exec -it screen -- sh";
        const string typed = "until stty size | grep -q '^33 77'; do sleep 0.1; done; echo seen-$((2-1))\nuntil stty size | grep -q '^33 99'; do sleep 0.1; done; echo seen-$((1+1)); tty\nexit 6\n";
        var ended = await OnTerminalAsync(command, log, typed);
        Assert.True(ended.ExitCode == 6, ended.Output + ended.Error);
        Assert.Contains("seen-2", ended.Output, StringComparison.Ordinal);
        Assert.Contains("/dev/pts/", ended.Output, StringComparison.Ordinal);
        await edge.DeleteAsync("screen");
    }

    // The command has a pseudo-terminal for its own, on which the input is typed.
    private static Task<ToolResult> OnTerminalAsync(string command, string log, string typed)
        => Tool.TryRunAsync(Script, ["-qefc", command, log], new ToolOptions(TimeProvider.System) { Input = typed, Deadline = PodSteps.Long }, CancellationToken.None);

    private static System.Text.Json.Nodes.JsonObject? Ephemeral(System.Text.Json.Nodes.JsonObject pod, string name)
        => pod.Items("status", "ephemeralContainerStatuses").FirstOrDefault(status => status.Text("name") == name);
}
