using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Containerd;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>The main job on real parts: kubectl, containerd, mbpoll.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class MainJobTests(SharedEdge shared)
{
    [SkippableFact]
    public async Task Pod_applied_with_kubectl_runs_and_shows_in_kubectl_get()
    {
        var edge = await shared.GetAsync();

        await using var pod = await PodAsync(edge, "runs");

        var line = (await edge.KubectlAsync("get pod runs -o wide --no-headers")).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["runs", "1/1", "Running", "0"], line[..4]);
        Assert.StartsWith("10.201.", line[5], StringComparison.Ordinal);
        Assert.Equal("edge-1", line[6]);
    }

    [SkippableFact]
    public async Task ConfigMap_and_Secret_are_seen_in_the_pod()
    {
        var edge = await shared.GetAsync();

        await using var pod = await PodAsync(edge, "sees");

        Assert.Equal("<h1>Hello from the edge</h1>\n", await pod.ExecAsync("cat", "/www/index.html"));
        Assert.Equal("open-sesame", await pod.ExecAsync("cat", "/etc/web/password"));
        Assert.Equal("Hello from the edge\n", await pod.ExecAsync("sh", "-c", "echo $GREETING"));
        Assert.Equal("open-sesame\n", await pod.ExecAsync("sh", "-c", "echo $PASSWORD"));
    }

    [SkippableFact]
    public async Task Deleted_pod_is_gone_from_the_API_and_from_containerd()
    {
        var edge = await shared.GetAsync();
        await using var pod = await PodAsync(edge, "goes");
        var container = pod.ContainerId;

        await edge.KubectlAsync("delete pod goes --timeout=30s");

        Assert.Null(await edge.Client.TryGetAsync(ResourceKind.Pod, "default", "goes", CancellationToken.None));
        await edge.WaitForAsync("the container is gone", async () => !(await edge.CtrAsync("containers", "ls", "-q")).Contains(container, StringComparison.Ordinal));
    }

    [SkippableFact]
    public async Task Reported_value_is_what_mbpoll_reads()
    {
        var edge = await shared.GetAsync();
        var name = await DeviceNameAsync(edge);

        // The temperature nears the setpoint and then stays there, so a new value needs a new setpoint.
        var first = await EqualAsync("");
        await PatchSetpointAsync(edge, name, double.Parse(first, CultureInfo.InvariantCulture) < 25 ? 31 : 16);
        var second = await EqualAsync(first);

        Assert.NotEqual(first, second);

        async Task<string> EqualAsync(string before)
        {
            var reported = "";
            await edge.WaitForAsync($"the reported temperature, '{before}' before, equals the register's", async () =>
            {
                var register = await MbpollAsync(edge, "temperature");
                reported = await ReportedAsync(edge, name, "temperature");
                return reported.Length > 0 && reported != before && Math.Abs(double.Parse(reported, CultureInfo.InvariantCulture) - register) < 0.06;
            });
            return reported;
        }
    }

    [SkippableFact]
    public async Task Desired_value_patched_with_kubectl_is_what_mbpoll_reads()
    {
        var edge = await shared.GetAsync();
        var name = await DeviceNameAsync(edge);

        foreach (var value in (double[])[24, 19.5])
        {
            await PatchSetpointAsync(edge, name, value);

            await edge.WaitForAsync($"the register holds {value}", async () => Math.Abs(await MbpollAsync(edge, "setpoint") - value) < 0.01);
            await edge.WaitForAsync(
                $"{value} is reported",
                async () => double.TryParse(await ReportedAsync(edge, name, "setpoint"), CultureInfo.InvariantCulture, out var reported) && Math.Abs(reported - value) < 0.01);
        }
    }

    [SkippableFact]
    public async Task Mapper_runs_in_a_container()
    {
        Requires.MapperImage();
        var edge = await shared.GetAsync();

        Assert.True(edge.Local.HasMapperPod);
        Assert.Equal("Running", await edge.KubectlAsync("get pod modbus-mapper -o jsonpath={.status.phase}"));
    }

    [SkippableFact]
    public async Task Pod_from_before_a_kill_of_edgecore_is_deleted_by_the_new_one()
    {
        var edge = await shared.GetAsync();
        await using var pod = await PodAsync(edge, "stays");
        var container = pod.ContainerId;

        await edge.Local.KillAndRestartEdgeCoreAsync(edge.Local.Nodes[0]);
        await edge.KubectlAsync("delete pod stays --timeout=30s");

        await edge.WaitForAsync("the container is gone", async () => !(await edge.CtrAsync("containers", "ls", "-q")).Contains(container, StringComparison.Ordinal));
    }

    [SkippableFact]
    public async Task Container_goes_on_through_a_kill_of_edgecore()
    {
        var edge = await shared.GetAsync();
        await using var pod = await PodAsync(edge, "lives");
        var (container, process) = (pod.ContainerId, await pod.ProcessIdAsync());
        await edge.WaitForAsync(
            "the node has a lease", async () => await edge.Client.TryGetAsync(ResourceKind.Lease, "kube-node-lease", "edge-1", CancellationToken.None) is not null);
        var before = await LeaseTimeAsync(edge);

        await edge.Local.KillAndRestartEdgeCoreAsync(edge.Local.Nodes[0]);
        await edge.WaitForAsync("the lease is renewed by the new edgecore", async () => await LeaseTimeAsync(edge) > before);

        // Another pod on the same node runs: the new edgecore works, and has left the first one alone.
        await using var second = await PodAsync(edge, "after");
        await pod.RefreshAsync();
        Assert.Equal(container, pod.ContainerId);
        Assert.Equal(process, await pod.ProcessIdAsync());
        Assert.Equal("0", await edge.KubectlAsync("get pod lives -o jsonpath={.status.containerStatuses[0].restartCount}"));
    }

    [SkippableFact]
    public async Task Cloudcore_killed_and_restarted_loses_nothing()
    {
        var edge = await shared.GetAsync();
        await using var pod = await PodAsync(edge, "kept");
        var container = pod.ContainerId;
        var name = await DeviceNameAsync(edge);
        await edge.KubectlAsync("create configmap written-last --from-literal=key=value");
        var before = await edge.KubectlAsync("get pods,configmaps,secrets,devices,devicemodels -A -o name");

        await edge.Local.KillAndRestartCloudCoreAsync(CancellationToken.None);

        Assert.Equal(before, await edge.KubectlAsync("get pods,configmaps,secrets,devices,devicemodels -A -o name"));
        Assert.Equal("value", await edge.KubectlAsync("get configmap written-last -o jsonpath={.data.key}"));

        // The node comes back by itself, and both ways work again: a desired value goes down, a report comes up, a new pod runs.
        await PatchSetpointAsync(edge, name, 27);
        await edge.WaitForAsync("the register holds 27", async () => Math.Abs(await MbpollAsync(edge, "setpoint") - 27) < 0.01, TimeSpan.FromMinutes(1));
        await using var second = await PodAsync(edge, "new");
        await pod.RefreshAsync();
        Assert.Equal(container, pod.ContainerId);
        await edge.KubectlAsync("delete configmap written-last");
    }

    private static async Task<TestPod> PodAsync(TestEdge edge, string name)
    {
        var pod = new TestPod(edge, name);
        await edge.KubectlAsync("apply -f -", Examples.Read("pods/web.yaml").Replace("name: web", $"name: {name}", StringComparison.Ordinal)
            .Replace("secretName: web", $"secretName: {name}", StringComparison.Ordinal));
        await edge.WaitForAsync($"pod {name} is ready", () => edge.Local.IsPodReadyAsync("default", name, CancellationToken.None), TimeSpan.FromMinutes(1));
        await pod.RefreshAsync();
        return pod;
    }

    private static async Task<string> DeviceNameAsync(TestEdge edge) => await edge.KubectlAsync("get devices -o jsonpath={.items[0].metadata.name}");

    private static Task<string> ReportedAsync(TestEdge edge, string device, string property)
        => edge.KubectlAsync(["get", "devicestatus", device, "-o", $"jsonpath={{.status.twins[?(@.propertyName==\"{property}\")].reported.value}}"]);

    private static async Task PatchSetpointAsync(TestEdge edge, string device, double value)
    {
        var properties = (await edge.Client.GetAsync(ResourceKind.Device, "default", device, CancellationToken.None)).Items("spec", "properties").ToList();
        var index = properties.FindIndex(property => property.Text("name") == "setpoint");
        var patch = new JsonArray(new JsonObject
        {
            ["op"] = "add",
            ["path"] = $"/spec/properties/{index}/desired",
            ["value"] = new JsonObject { ["value"] = value.ToString(CultureInfo.InvariantCulture) },
        });
        await edge.KubectlAsync(["patch", "device", device, "--type=json", "-p", patch.ToJsonString()]);
    }

    // Renewed every few seconds by whoever looks after the node.
    private static async Task<DateTimeOffset> LeaseTimeAsync(TestEdge edge)
        => DateTimeOffset.Parse(
            (await edge.Client.GetAsync(ResourceKind.Lease, "kube-node-lease", "edge-1", CancellationToken.None)).Text("spec", "renewTime"),
            CultureInfo.InvariantCulture);

    private static Task<double> MbpollAsync(TestEdge edge, string property) => Mbpoll.ReadAsync(edge.Local.ModbusPort, property);

    private sealed class TestPod(TestEdge edge, string name) : IAsyncDisposable
    {
        private JsonObject _pod = [];

        public string ContainerId => _pod.Items("status", "containerStatuses").First().Text("containerID").Replace("containerd://", "", StringComparison.Ordinal);

        public async Task RefreshAsync() => _pod = await edge.Client.GetAsync(ResourceKind.Pod, "default", name, CancellationToken.None);

        public Task<string> ExecAsync(params string[] command) => edge.ExecAsync(ContainerId, command);

        public async Task<int> ProcessIdAsync()
        {
            var line = (await edge.CtrAsync("tasks", "ls")).Split('\n').First(one => one.StartsWith(ContainerId, StringComparison.Ordinal));
            return int.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
        }

        public async ValueTask DisposeAsync()
            => await edge.KubectlAsync($"delete pod/{name} configmap/{name} secret/{name} --ignore-not-found --wait=false");
    }
}
