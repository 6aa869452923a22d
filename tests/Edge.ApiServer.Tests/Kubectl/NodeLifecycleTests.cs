using Edge.ApiServer.Controllers;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>A node's loss and return as kubectl shows them: the real API and controllers, whose clock the test moves.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeLifecycleTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Lease = """
        apiVersion: coordination.k8s.io/v1
        kind: Lease
        metadata: {name: edge-1}
        spec: {holderIdentity: edge-1, leaseDurationSeconds: 40, renewTime: "2026-01-01T00:00:00.000000Z"}
        """;

    [SkippableFact]
    [KubectlVerb("get", "events, nodes")]
    [KubectlVerb("patch", "--subresource=status")]
    public async Task A_lost_node_is_unknown_and_tainted_its_pods_are_not_ready_and_leave_but_for_autonomous_ones_and_a_heartbeat_mends_it()
    {
        Requires.Kubectl();
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddYears(56));
        using var client = KubeClient.FromKubeconfig(api.Server.KubeconfigPath, TimeProvider.System);
        await using var controllers = EmbeddedControllers.Start(client, time, new Random(3), NullLoggerFactory.Instance);
        var run = new KubectlRunner("kubectl", api.Server.KubeconfigPath, "default", api.Directory);
        var file = run.File("all.yaml", """
            apiVersion: v1
            kind: Node
            metadata: {name: edge-1}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: plain}
            spec: {nodeName: edge-1, containers: [{name: c, image: busybox}]}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: quick}
            spec:
              nodeName: edge-1
              containers: [{name: c, image: busybox}]
              tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 20}]
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: autonomous, labels: {app-offline.kubeedge.io: autonomy}}
            spec: {nodeName: edge-1, containers: [{name: c, image: busybox}]}
            """);
        await UntilAsync(time, "namespace kube-node-lease", async () => (await run.OkAsync("get ns -o name")).Contains("kube-node-lease", StringComparison.Ordinal));
        var leases = new KubectlRunner("kubectl", api.Server.KubeconfigPath, "kube-node-lease", api.Directory);
        await run.OkAsync($"apply -f {file}");
        await leases.OkAsync($"create -f {leases.File("lease.yaml", Lease)}");
        const string Ready = """{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady"}]}}""";
        await run.OkAsync($"patch node edge-1 --subresource=status -p {Ready}");
        await run.OkAsync($"patch pod plain --subresource=status -p {Ready}");
        Assert.Equal("300 300", await run.OkAsync("get pod plain -o jsonpath={.spec.tolerations[*].tolerationSeconds}"));
        await UntilAsync(time, "no taint at first", async () => await TaintsAsync(run) == "|", 0.02);

        await UntilAsync(time, "the node to be unknown", async () => (await run.OkAsync("get node edge-1 -o jsonpath={.status.conditions[0].status}/{.status.conditions[0].reason}")) == "Unknown/NodeStatusUnknown");
        await UntilAsync(time, "both taints", async () => await TaintsAsync(run) == "node.kubernetes.io/unreachable node.kubernetes.io/unreachable|NoSchedule NoExecute", 0.02);
        await UntilAsync(time, "the pod not to be ready", async () => await run.OkAsync("get pod plain -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}") == "False", 0.02);
        Assert.Contains("NotReady", await run.OkAsync("get node edge-1"), StringComparison.Ordinal);
        await UntilAsync(time, "the event", async () => (await run.OkAsync("get events")).Contains("Node is not ready", StringComparison.Ordinal), 0.02);

        await UntilAsync(time, "the quick pod to leave", async () => await DeletingAsync(run, "quick"));
        Assert.False(await DeletingAsync(run, "plain"), "the plain pod tolerates the loss for 300 s");
        await UntilAsync(time, "the plain pod to leave", async () => await DeletingAsync(run, "plain"), 30);
        time.Advance(TimeSpan.FromHours(10));
        Assert.False(await DeletingAsync(run, "autonomous"), "an autonomous pod stays");

        await leases.OkAsync("""patch lease edge-1 --type=merge -p {"spec":{"renewTime":"2026-01-02T00:00:00.000000Z"}}""");
        await run.OkAsync($"patch node edge-1 --subresource=status -p {Ready}");
        await UntilAsync(time, "the taints to go", async () => await TaintsAsync(run) == "|", 0.02);
        Assert.False(await DeletingAsync(run, "autonomous"), "an autonomous pod is kept when the node returns");
    }

    private static Task<string> TaintsAsync(KubectlRunner run) => run.OkAsync("get node edge-1 -o jsonpath={.spec.taints[*].key}|{.spec.taints[*].effect}");

    private static async Task<bool> DeletingAsync(KubectlRunner run, string pod)
    {
        var answer = await run.OkAsync($"get pod {pod} --ignore-not-found -o jsonpath={{.metadata.name}}/{{.metadata.deletionTimestamp}}");
        return answer.Length == 0 || !answer.EndsWith('/');
    }

    // step: seconds by which each look moves the controllers' clock on, so that their waits end.
    private static async Task UntilAsync(ManualTimeProvider time, string what, Func<Task<bool>> holds, double step = 5)
    {
        using var net = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!await holds())
        {
            time.Advance(TimeSpan.FromSeconds(step));
            try
            {
                await timer.WaitForNextTickAsync(net.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"waited for {what}");
            }
        }
    }
}
