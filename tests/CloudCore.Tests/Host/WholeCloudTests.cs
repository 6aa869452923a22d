using System.Text.Json.Nodes;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Cloud.Tests;

/// <summary>CloudCore over its own embedded API, or over the cluster of EDGE_TEST_KUBECONFIG: nothing in between is replaced.</summary>
[Trait("Category", "Sync")]
public class WholeCloudTests : IAsyncLifetime
{
    private const string Pod = """
        {
          "metadata": {"name": "web"},
          "spec": {
            "nodeName": "edge-1",
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "busybox", "envFrom": [{"secretRef": {"name": "cred"}}], "volumeMounts": [{"name": "cfg", "mountPath": "/etc/app"}]}],
            "volumes": [{"name": "cfg", "configMap": {"name": "app"}}]
          }
        }
        """;

    private const string Model = """
        {"metadata": {"name": "m"}, "spec": {"properties": [{"name": "temperature", "type": "INT", "accessMode": "ReadWrite", "minimum": "0", "maximum": "100"}]}}
        """;

    private const string Device = """
        {
          "metadata": {"name": "thermo"},
          "spec": {"nodeName": "edge-1", "deviceModelRef": {"name": "m"}, "properties": [{"name": "temperature", "desired": {"value": "30"}}]}
        }
        """;

    private readonly TempDirectory _data = new();
    private TestCluster? _cluster;

    protected virtual Task<string?> KubeconfigAsync() => Task.FromResult(TestCluster.Given);

    public virtual async Task InitializeAsync() => _cluster = await KubeconfigAsync() is { } kubeconfig ? await TestCluster.EnterAsync(kubeconfig) : null;

    public virtual async Task DisposeAsync()
    {
        if (_cluster is not null)
            await _cluster.DisposeAsync();
        _data.Dispose();
    }

    [Fact]
    public async Task Start_installs_the_crds_and_makes_a_token_and_an_administrators_kubeconfig()
    {
        await using var cloud = await WholeCloud.StartAsync(_data.Path, cluster: _cluster);
        var crds = await cloud.Kube.ListAsync(ResourceKind.CustomResourceDefinition, null, new ListOptions(), CancellationToken.None);
        Assert.Equal(
            [
                "clusterobjectsyncs.reliablesyncs.kubeedge.io", "configupdatejobs.operations.kubeedge.io", "devicemodels.devices.kubeedge.io", "devices.devices.kubeedge.io",
                "devicestatuses.devices.kubeedge.io", "edgeapplications.apps.kubeedge.io", "globalservices.gslb.edge.io", "imageprepulljobs.operations.kubeedge.io", "locationmaps.gslb.edge.io",
                "nodegroups.apps.kubeedge.io", "nodeupgradejobs.operations.kubeedge.io", "objectsyncs.reliablesyncs.kubeedge.io", "ruleendpoints.rules.kubeedge.io", "rules.rules.kubeedge.io", "zones.gslb.edge.io",
            ],
            crds.Items.Where(IsOurs).Select(crd => crd.Name()).Order(StringComparer.Ordinal));
        Assert.All(crds.Items.Where(IsOurs), crd => Assert.Contains(crd.Items("status", "conditions"), one => one.Text("type") == "Established" && one.Text("status") == "True"));
        Assert.Equal(4, (await cloud.TokenAsync()).Split('.').Length);
        Assert.Equal(_cluster?.Kubeconfig ?? _data.File("admin.kubeconfig"), cloud.Ports.Kubeconfig);
        if (_cluster is null)
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(cloud.Ports.Kubeconfig));
        using var http = new HttpClient();
        Assert.Equal("ok\n", await http.GetStringAsync($"http://127.0.0.1:{cloud.Ports.Metrics}/readyz"));

        // A cluster may have others'.
        static bool IsOurs(JsonObject crd) => crd.Text("spec", "group") is var group && (group.EndsWith(".kubeedge.io", StringComparison.Ordinal) || group == "gslb.edge.io");
    }

    [Fact]
    public async Task Node_that_joins_gets_its_pod_with_config_and_its_device_and_its_reports_are_stored()
    {
        await using var cloud = await WholeCloud.StartAsync(_data.Path, cluster: _cluster);
        await using var edge = await JoinAsync(cloud);
        await CreateWorkAsync(cloud);
        var pod = FakeEdge.Content(await edge.UntilAsync(Operations.Insert, $"{Space}/pod/web"))!.AsObject();
        Assert.Equal("1", FakeEdge.Content(await edge.UntilAsync(Operations.Update, $"{Space}/configmap/app")).Text("data", "key"));
        Assert.Equal("MQ==", FakeEdge.Content(await edge.UntilAsync(Operations.Update, $"{Space}/secret/cred")).Text("data", "key"));
        Assert.Equal("m", FakeEdge.Content(await edge.UntilAsync(Operations.Insert, $"{Space}/devicemodel/m"))!.AsObject().Name());
        var device = FakeEdge.Content(await edge.UntilAsync(Operations.Insert, $"{Space}/device/thermo"));
        Assert.Equal("30", device.Items("spec", "properties").Single().Text("desired", "value"));

        var answer = await edge.AskAsync("patch", $"{Space}/podpatch/web", RunningPatch(pod));
        Assert.Equal("Running", answer.Text("Object", "status", "phase"));
        var stored = await cloud.GetAsync(ResourceKind.Pod, "web");
        Assert.Equal(("Running", "True"), (stored.Text("status", "phase"), Condition(stored, "Ready")));

        await edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, $"device/{Space}/thermo/twin/edge_updated", JsonNode.Parse(
            """{"event_id":"1","timestamp":2,"twin":{"temperature":{"actual":{"value":"","metadata":{"timestamp":2,"error":"no answer"}},"metadata":{"type":"int"}}}}"""));
        var twin = (await cloud.UntilAsync(ResourceKind.DeviceStatus, "the report of thermo", one => one.Name() == "thermo" && one.Items("status", "twins").Any()))
            .Items("status", "twins").Single();
        Assert.Equal(("temperature", "no answer", "2"), (twin.Text("propertyName"), twin.Text("reported", "metadata", "error"), twin.Text("reported", "metadata", "timestamp")));
    }

    [Fact]
    public async Task Restart_on_the_same_data_keeps_everything_and_a_stock_edge_that_has_it_all_gets_nothing()
    {
        string token;
        string[] objects = [$"{Space}/configmap/app", $"{Space}/device/thermo", $"{Space}/devicemodel/m", $"{Space}/pod/web", $"{Space}/secret/cred"];
        await using (var cloud = await WholeCloud.StartAsync(_data.Path, cluster: _cluster))
        {
            token = await cloud.TokenAsync();
            await using var edge = await JoinAsync(cloud);
            await CreateWorkAsync(cloud);
            var pod = FakeEdge.Content(await edge.UntilAsync(Operations.Insert, $"{Space}/pod/web"))!.AsObject();
            foreach (var resource in objects)
                await edge.UntilAsync(message => message.Resource == resource && message.ParentId.Length == 0);
            // Its acks are in before the answer to this.
            await edge.AskAsync("patch", $"{Space}/podpatch/web", RunningPatch(pod));
        }

        await using var again = await WholeCloud.StartAsync(_data.Path, cluster: _cluster);
        Assert.Equal(token, await again.TokenAsync());
        Assert.Equal("Running", (await again.GetAsync(ResourceKind.Pod, "web")).Text("status", "phase"));
        Assert.Equal("30", (await again.GetAsync(ResourceKind.Device, "thermo")).Items("spec", "properties").Single().Text("desired", "value"));
        // The records were written on stopping: the node and the five objects.
        using var certificate = await again.EnrolAsync("edge-1");
        await using var back = await FakeEdge.ConnectAsync(again.Ports.WebSocket, "edge-1", certificate);
        Assert.Contains("stock edge: 6 records", await again.Log.UntilAsync("stock edge"), StringComparison.Ordinal);
        await back.FlushAsync();
        // The node is told on its own account: taints change by themselves.
        Assert.DoesNotContain(back.Received, message => objects.Contains(message.Resource));
    }

    private string Space => _cluster?.Namespace ?? "default";

    private static async Task<FakeEdge> JoinAsync(WholeCloud cloud)
    {
        using var certificate = await cloud.EnrolAsync("edge-1");
        var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate);
        var answer = await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
        Assert.Equal("edge-1", answer.Text("Object", "metadata", "name"));
        Assert.Equal("127.0.0.1", (await cloud.GetAsync(ResourceKind.Node, "edge-1")).Annotation("cloudcore"));
        return edge;
    }

    private static async Task CreateWorkAsync(WholeCloud cloud)
    {
        await cloud.CreateAsync(ResourceKind.ConfigMap, """{"metadata":{"name":"app"},"data":{"key":"1"}}""");
        await cloud.CreateAsync(ResourceKind.Secret, """{"metadata":{"name":"cred"},"stringData":{"key":"1"}}""");
        await cloud.CreateAsync(ResourceKind.Pod, Pod);
        await cloud.CreateAsync(ResourceKind.DeviceModel, Model);
        await cloud.CreateAsync(ResourceKind.Device, Device);
    }

    private static JsonNode RunningPatch(JsonObject pod) => JsonValue.Create(new JsonObject
    {
        ["metadata"] = new JsonObject { ["uid"] = pod.Uid() },
        ["status"] = new JsonObject
        {
            ["phase"] = "Running",
            ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = "True" }),
        },
    }.ToJsonString());

    private static string Condition(JsonObject obj, string type) => obj.Items("status", "conditions").Single(one => one.Text("type") == type).Text("status");
}

/// <summary>The same beside a cluster, for which a second embedded API stands here: reached by its kubeconfig, over HTTPS.</summary>
public sealed class WholeCloudBesideAClusterTests : WholeCloudTests
{
    private readonly StandInCluster _api = new();

    protected override async Task<string?> KubeconfigAsync() => await _api.StartAsync();

    public override async Task DisposeAsync()
    {
        await base.DisposeAsync();
        await _api.DisposeAsync();
    }
}
