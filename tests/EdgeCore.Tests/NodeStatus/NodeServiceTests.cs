using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.NodeStatus;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Kubernetes")]
public sealed class NodeServiceTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 21, 5, 0, 0, TimeSpan.Zero);

    private static bool IsNodeInsert(Message message) => message is { Operation: Operations.Insert, Resource: "null/node/edge-node" };

    [Fact]
    public async Task A_node_registers_reports_its_status_and_takes_its_lease_with_the_messages_of_a_stock_edge()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        var insert = await cloud.NextAsync(IsNodeInsert, "registration");
        Assert.Equal((Sources.Edged, Groups.Meta), (insert.Source, insert.Group));
        var node = JsonNode.Parse(insert.Content.Span)!;

        // Every field of the recorded stock registration, by path; values are this machine's own.
        string[] recorded =
        [
            "metadata.annotations.volumes.kubernetes.io/controller-managed-attach-detach", "metadata.creationTimestamp", "metadata.labels.beta.kubernetes.io/arch",
            "metadata.labels.beta.kubernetes.io/os", "metadata.labels.kubernetes.io/arch", "metadata.labels.kubernetes.io/hostname", "metadata.labels.kubernetes.io/os",
            "metadata.labels.node-role.kubernetes.io/agent", "metadata.labels.node-role.kubernetes.io/edge", "metadata.name", "spec", "status.addresses[].address", "status.addresses[].type",
            "status.allocatable.cpu", "status.allocatable.ephemeral-storage", "status.allocatable.hugepages-1Gi", "status.allocatable.hugepages-2Mi", "status.allocatable.memory", "status.allocatable.pods",
            "status.capacity.cpu", "status.capacity.ephemeral-storage", "status.capacity.hugepages-1Gi", "status.capacity.hugepages-2Mi", "status.capacity.memory", "status.capacity.pods",
            "status.conditions[].lastHeartbeatTime", "status.conditions[].lastTransitionTime", "status.conditions[].message", "status.conditions[].reason", "status.conditions[].status",
            "status.conditions[].type", "status.daemonEndpoints.kubeletEndpoint.Port", "status.nodeInfo.architecture", "status.nodeInfo.bootID", "status.nodeInfo.containerRuntimeVersion",
            "status.nodeInfo.kernelVersion", "status.nodeInfo.kubeProxyVersion", "status.nodeInfo.kubeletVersion", "status.nodeInfo.machineID", "status.nodeInfo.operatingSystem",
            "status.nodeInfo.osImage", "status.nodeInfo.systemUUID",
        ];
        Assert.Equal(recorded.Order(StringComparer.Ordinal), Paths(node, "").Distinct().Order(StringComparer.Ordinal));
        Assert.Equal(["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"], node.Items("status", "conditions").Select(condition => condition.Text("type")));
        Assert.Equal(["InternalIP", "Hostname"], node.Items("status", "addresses").Select(address => address.Text("type")));

        var patch = await cloud.NextAsync(message => message.Resource == "null/nodepatch/edge-node", "status patch");
        Assert.Equal((Operations.Patch, Sources.Edged, Groups.Meta), (patch.Operation, patch.Source, patch.Group));
        Assert.Equal((byte)'"', patch.Content.Span[0]);
        var status = JsonNode.Parse(MessageCodec.Unwrap(patch.Content).Span)!;
        var ready = status.Items("status", "conditions").Single(condition => condition.Text("type") == "Ready");
        Assert.Equal("True", ready.Text("status"));
        Assert.Contains("pods are off", ready.Text("message"), StringComparison.Ordinal);
        // KubeEdge's cloud writes the tunnel's port there when the tunnel comes, and never again.
        Assert.Null(status["status"]!["daemonEndpoints"]);

        await HubServiceTests.WaitUntilAsync(() => cloud.Objects.ContainsKey("kube-node-lease/lease/edge-node"));
        var lease = cloud.Seen().First(message => message is { Operation: Operations.Insert, Resource: "kube-node-lease/lease/edge-node" });
        Assert.Contains(cloud.Seen(), message => message is { Operation: Operations.Query, Resource: "kube-node-lease/lease/edge-node" });
        var body = JsonNode.Parse(lease.Content.Span)!;
        Assert.Equal(
            ["metadata.creationTimestamp", "metadata.name", "metadata.namespace", "metadata.ownerReferences[].apiVersion", "metadata.ownerReferences[].kind", "metadata.ownerReferences[].name",
                "metadata.ownerReferences[].uid", "spec.holderIdentity", "spec.leaseDurationSeconds", "spec.renewTime"],
            Paths(body, "").Order(StringComparer.Ordinal));
        Assert.Equal(cloud.Objects["null/node/edge-node"].Uid(), body.Items("metadata", "ownerReferences").Single().Text("uid"));
    }

    [Fact]
    public async Task Answers_to_registration_and_lease_are_acknowledged_and_answers_to_patches_are_not()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await cloud.NextAsync(message => message is { Operation: Operations.Response, Resource: "null/node/edge-node" }, "acknowledgement of the registration");
        await cloud.NextAsync(message => message is { Operation: Operations.Response, Resource: "kube-node-lease/lease/edge-node" }, "acknowledgement of the lease");
        Assert.DoesNotContain(cloud.Seen(), message => message is { Operation: Operations.Response, Resource: "null/nodepatch/edge-node" });
    }

    [Fact]
    public async Task A_node_that_exists_is_kept_and_gets_its_labels()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        cloud.Objects["null/node/edge-node"] = (JsonObject)JsonNode.Parse("""{"metadata":{"name":"edge-node","uid":"u-old","resourceVersion":"5","labels":{"zone":"a"}}}""")!;
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory, "modules.edged.nodeLabels={line: '2'}"));
        var update = await cloud.NextAsync(message => message is { Operation: Operations.Update, Resource: "null/node/edge-node" }, "label update");
        var labels = JsonNode.Parse(update.Content.Span)!["metadata"]!["labels"]!;
        Assert.Equal(("2", ""), (labels["line"]!.GetValue<string>(), labels["node-role.kubernetes.io/edge"]!.GetValue<string>()));
        await edge.Log.WaitForAsync("is registered in the cloud (uid u-old)");
    }

    [Fact]
    public async Task A_node_deleted_in_the_cloud_registers_again()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await edge.Log.WaitForAsync("is registered in the cloud");
        var node = cloud.Objects["null/node/edge-node"].ToJsonString();
        var update = FakeCloud.Down(Operations.Update, "null/node/edge-node", node, "2");
        await cloud.SendAsync(update);
        await cloud.NextAsync(message => message.ParentId == update.Id, "ack");
        cloud.Objects.Clear();
        await cloud.SendAsync(FakeCloud.Down(Operations.Delete, "null/node/edge-node", node, "3"));
        await edge.Log.WaitForAsync("is gone in the cloud");
        await cloud.NextAsync(IsNodeInsert, "registration again");
        await HubServiceTests.WaitUntilAsync(() => cloud.Objects.ContainsKey("kube-node-lease/lease/edge-node"));
    }

    [Fact]
    public async Task A_missing_runtime_socket_makes_the_node_not_ready_with_the_socket_and_key_named()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory, "modules.edged.enable=true", "modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=unix:///nowhere/c.sock"));
        var insert = await cloud.NextAsync(IsNodeInsert, "registration");
        var ready = JsonNode.Parse(insert.Content.Span).Items("status", "conditions").Single(condition => condition.Text("type") == "Ready");
        Assert.Equal(("False", "ContainerRuntimeNotReady"), (ready.Text("status"), ready.Text("reason")));
        Assert.Contains("/nowhere/c.sock", ready.Text("message"), StringComparison.Ordinal);
        Assert.Contains("containerRuntimeEndpoint", ready.Text("message"), StringComparison.Ordinal);
        await edge.Log.WaitForAsync("container runtime socket /nowhere/c.sock does not exist");
    }

    [Fact]
    public async Task Over_a_restart_conditions_keep_the_times_that_this_node_said_last_without_an_echo_from_the_cloud()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud { EdgeWire = true };
        await cloud.StartAsync();
        await using (var edge = new RunningEdge(RunningEdge.Options(cloud, directory)))
            await cloud.NextAsync(message => message.Resource == "null/nodepatch/edge-node", "status");
        await using (var database = EdgeDatabase.Open(directory.File("edgecore.db"), TimeProvider.System))
        {
            var rows = new Edge.Core.MetaManager.MetaTable(database).ListLocal("nodestatus");
            var longAgo = System.Text.RegularExpressions.Regex.Replace(Encoding.UTF8.GetString(rows["edge-node"].Span), "(\"lastTransitionTime\":\")[^\"]*", "${1}2020-01-02T03:04:05Z");
            Assert.Contains("2020-01-02", longAgo, StringComparison.Ordinal);
            await database.WriteAsync(connection => Edge.Core.MetaManager.MetaTable.PutLocal(connection, "nodestatus", "edge-node", Encoding.UTF8.GetBytes(longAgo)));
        }

        await using var again = new RunningEdge(RunningEdge.Options(cloud, directory));
        // The status of before the stop comes again where its answer was lost with the stop.
        var patch = await cloud.NextAsync(
            message => message.Resource == "null/nodepatch/edge-node" && Encoding.UTF8.GetString(MessageCodec.Unwrap(message.Content).Span).Contains("2020-01-02", StringComparison.Ordinal), "status after the restart");
        var conditions = JsonNode.Parse(MessageCodec.Unwrap(patch.Content).Span)!.Items("status", "conditions");
        Assert.Equal(4, conditions.Count());
        Assert.All(conditions, condition => Assert.Equal("2020-01-02T03:04:05Z", condition.Text("lastTransitionTime")));
    }

    [Fact]
    public async Task After_a_cut_that_outlasts_the_lease_pods_are_told_to_say_their_status_again()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        var pods = new SilentPods();
        await using var edge = new RunningEdge(
            RunningEdge.Options(cloud, directory, "modules.edged.tailoredKubeletConfig.nodeLeaseDurationSeconds=4"), host => host.AddPods(_ => pods));
        await HubServiceTests.WaitUntilAsync(() => cloud.Objects.ContainsKey("kube-node-lease/lease/edge-node"));
        Assert.False(pods.WasAsked.IsCompleted, "nothing was cut yet");
        await cloud.StopAsync();
        var cut = System.Diagnostics.Stopwatch.StartNew();
        await HubServiceTests.WaitUntilAsync(() => cut.Elapsed > TimeSpan.FromSeconds(5)); // until the lease has run out
        await cloud.StartAsync();
        await pods.WasAsked.WaitAsync(TimeSpan.FromSeconds(90));
    }

    private sealed class SilentPods : IPodModule
    {
        private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task WasAsked => _asked.Task;

        public string Name => "pods";

        public IRuntimeState Runtime { get; } = new RuntimeSocket(new EdgedOptions());

        public Task RunAsync(CancellationToken cancellationToken) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);

        public void ReportAll() => _asked.TrySetResult();
    }

    [Fact]
    public void A_condition_keeps_its_transition_time_until_its_status_changes()
    {
        var options = new EdgedOptions();
        var up = new RuntimeState(true, "", "containerd", "1.6.20", []);
        var first = NodeObject.Status("n", options, RunningEdge.Facts, up, [], s_now);
        var same = NodeObject.Status("n", options, RunningEdge.Facts, up, first.Items("conditions"), s_now.AddMinutes(1));
        Assert.True(NodeObject.Same(first, same));
        Assert.Equal("2026-11-21T05:00:00Z", same.Items("conditions").Last().Text("lastTransitionTime"));
        Assert.Equal("2026-11-21T05:01:00Z", same.Items("conditions").Last().Text("lastHeartbeatTime"));
        var down = NodeObject.Status("n", options, RunningEdge.Facts, up with { Ready = false, Message = "gone" }, same.Items("conditions"), s_now.AddMinutes(2));
        Assert.False(NodeObject.Same(same, down));
        Assert.Equal("2026-11-21T05:02:00Z", down.Items("conditions").Last().Text("lastTransitionTime"));
        Assert.Equal("containerd://1.6.20", first.Text("nodeInfo", "containerRuntimeVersion"));
        Assert.Equal(("4194304Ki", "4091904Ki", "110"), (first.Text("capacity", "memory"), first.Text("allocatable", "memory"), first.Text("capacity", "pods")));
    }

    [Fact]
    public void The_default_route_with_the_lowest_metric_names_the_interface()
    {
        string[] routes =
        [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
            "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
            "wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0",
            "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
        ];
        Assert.Equal("eth0", NodeFacts.DefaultRouteInterface(routes));
        Assert.Null(NodeFacts.DefaultRouteInterface(routes.Take(2)));
    }

    [Fact]
    public void Facts_of_this_machine_can_be_read()
    {
        var facts = NodeFacts.Read(new EdgedOptions());
        Assert.True(facts is { Cpus: > 0, MemoryBytes: > 0, MemoryAvailableBytes: > 0, DiskBytes: > 0, KernelVersion.Length: > 0, OsImage.Length: > 0, Architecture.Length: > 0 });
        Assert.True(System.Net.IPAddress.TryParse(facts.InternalIp, out _));
    }

    // Leaf paths; elements of arrays share one path.
    private static IEnumerable<string> Paths(JsonNode? node, string path) => node switch
    {
        JsonObject { Count: > 0 } obj => obj.SelectMany(pair => Paths(pair.Value, path.Length == 0 ? pair.Key : $"{path}.{pair.Key}")),
        JsonArray array => array.SelectMany(item => Paths(item, $"{path}[]")).Distinct(),
        _ => [path],
    };
}
