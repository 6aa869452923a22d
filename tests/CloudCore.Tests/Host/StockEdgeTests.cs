using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Tests;

/// <summary>Stock edges, which tell no inventory, and several CloudCores on one API, embedded or of EDGE_TEST_KUBECONFIG: nothing in between is replaced.</summary>
[Trait("Category", "Sync")]
public class StockEdgeTests : IAsyncLifetime
{
    private readonly TempDirectory _data = new();
    private readonly List<IDisposable> _clients = [];
    private TestCluster? _cluster;
    private WholeCloud _cloud = null!;

    private string Space => _cloud.Namespace;

    protected virtual Task<string?> KubeconfigAsync() => Task.FromResult(TestCluster.Given);

    // The API stays; the CloudCores that matter here come and go beside the one that belongs to it.
    public virtual async Task InitializeAsync()
    {
        _cluster = await KubeconfigAsync() is { } kubeconfig ? await TestCluster.EnterAsync(kubeconfig) : null;
        _cloud = await WholeCloud.StartAsync(_data.Path, cluster: _cluster);
    }

    public virtual async Task DisposeAsync()
    {
        foreach (var client in _clients)
            client.Dispose();
        await _cloud.DisposeAsync();
        if (_cluster is not null)
            await _cluster.DisposeAsync();
        _data.Dispose();
    }

    [Fact]
    public async Task Restarted_cloudcore_sends_a_stock_edge_only_what_changed_and_what_was_deleted_while_it_was_down()
    {
        await using (var core = await StartAsync("b"))
        {
            await using var edge = await JoinAsync(core, "edge-1");
            await CreateWorkAsync();
            await UntilAllAsync(edge);
            await RecordedAsync("edge-1", "ConfigMap", "Pod", "Pod", "DeviceModel", "Device");
        }

        await _cloud.MergeAsync(ResourceKind.ConfigMap, "app", """{"data":{"key":"2"}}""");
        await _cloud.MergeAsync(ResourceKind.Pod, "stays", """{"metadata":{"labels":{"touched":"1"}}}""");
        await _cloud.MergeAsync(ResourceKind.Pod, "stays", """{"metadata":{"labels":{"touched":null}}}""");
        var gone = await _cloud.GetAsync(ResourceKind.Pod, "goes");
        await DeletePodAsync("goes");
        await _cloud.Kube.DeleteAsync(ResourceKind.Device, Space, "thermo", null, CancellationToken.None);

        await using var again = await StartAsync("b");
        await using var back = await ConnectAsync(again, "edge-1");
        Assert.Equal("2", FakeEdge.Content(await back.UntilAsync(Operations.Update, $"{Space}/configmap/app")).Text("data", "key"));
        Assert.Equal(gone.Uid(), FakeEdge.Content(await back.UntilAsync(Operations.Delete, $"{Space}/pod/goes"))!.AsObject().Uid());
        await back.UntilAsync(Operations.Delete, $"{Space}/device/thermo");
        await back.UntilAsync(Operations.Delete, $"{Space}/devicemodel/m");
        await back.FlushAsync();
        // A higher version with the same content is no reason to send.
        Assert.DoesNotContain(back.Received, message => message.Resource == $"{Space}/pod/stays");
        await RecordsAsync(ResourceKind.ObjectSync, "edge-1", "ConfigMap", "Pod");
    }

    [Fact]
    public async Task Object_whose_ack_was_lost_is_deleted_at_the_edge_all_the_same()
    {
        await using (var core = await StartAsync("b"))
        {
            await using var edge = await JoinAsync(core, "edge-1");
            await edge.UntilAsync(Operations.Update, "null/node/edge-1");
            edge.Acks = false;
            await _cloud.CreateAsync(ResourceKind.Pod, PodOf("web", "edge-1"));
            await edge.UntilAsync(Operations.Insert, $"{Space}/pod/web");
        }

        await DeletePodAsync("web");
        await using var again = await StartAsync("b");
        await using var back = await ConnectAsync(again, "edge-1");
        await back.UntilAsync(Operations.Delete, $"{Space}/pod/web");
    }

    [Fact]
    public async Task Deleted_node_takes_its_session_and_its_records_along()
    {
        await using var core = await StartAsync("b");
        await using var edge = await JoinAsync(core, "edge-1");
        await using var other = await JoinAsync(core, "edge-2");
        await other.UntilAsync(Operations.Update, "null/node/edge-2");
        await other.FlushAsync();
        await _cloud.CreateAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await _cloud.CreateAsync(ResourceKind.Pod, PodOf("web", "edge-1", configMap: "app"));
        await edge.UntilAsync(Operations.Insert, $"{Space}/pod/web");
        await RecordedAsync("edge-1", "ConfigMap", "Pod");
        await RecordsAsync(ResourceKind.ClusterObjectSync, "edge-1", "Node");
        await _cloud.Kube.DeleteAsync(ResourceKind.Node, null, "edge-1", null, CancellationToken.None);
        Assert.Contains("deleted from the cluster", await edge.UntilClosedAsync(), StringComparison.Ordinal);
        await RecordsAsync(ResourceKind.ObjectSync, "edge-1");
        await RecordsAsync(ResourceKind.ClusterObjectSync, "edge-1");
        await RecordsAsync(ResourceKind.ClusterObjectSync, "edge-2", "Node");
    }

    [Fact]
    public async Task Node_that_moves_to_another_cloudcore_is_told_by_its_annotation_and_its_old_session_ends()
    {
        await using var first = await StartAsync("a");
        await using var second = await StartAsync("b");
        await using var edge = await JoinAsync(first, "edge-1");
        await _cloud.CreateAsync(ResourceKind.Pod, PodOf("web", "edge-1"));
        await edge.UntilAsync(Operations.Insert, $"{Space}/pod/web");
        await NamesAsync("edge-1", "a");
        await RecordedAsync("edge-1", "Pod");

        await using var moved = await ConnectAsync(second, "edge-1");
        Assert.Equal("the node connected to another cloudcore", await edge.UntilClosedAsync());
        await NamesAsync("edge-1", "b");
        await moved.FlushAsync();
        // What the first delivered is not sent again; what changes goes the new way, and once.
        Assert.DoesNotContain(moved.Received, message => message.Resource == $"{Space}/pod/web");
        await _cloud.MergeAsync(ResourceKind.Pod, "web", """{"metadata":{"labels":{"a":"b"}}}""");
        await moved.UntilAsync(Operations.Update, $"{Space}/pod/web");

        // And back: the claims follow the connections.
        await using var home = await ConnectAsync(first, "edge-1");
        Assert.Equal("the node connected to another cloudcore", await moved.UntilClosedAsync());
        await home.FlushAsync();
        await NamesAsync("edge-1", "a");
    }

    [Fact]
    public async Task Refused_object_shows_in_a_metric_and_an_event_and_others_go_on()
    {
        await using var core = await StartAsync("b");
        await using var edge = await JoinAsync(core, "edge-1");
        await edge.UntilAsync(Operations.Update, "null/node/edge-1");
        edge.Acks = false;
        await _cloud.CreateAsync(ResourceKind.Pod, PodOf("bad", "edge-1"));
        var bad = await edge.UntilAsync(Operations.Insert, $"{Space}/pod/bad");
        await edge.SendAsync(bad.Error(TimeProvider.System, "disk full") with { Source = Sources.MetaManager });
        var told = await _cloud.UntilAsync(ResourceKind.Event, "event EdgeRefused", one => one.Text("reason") == "EdgeRefused" && one.Text("involvedObject", "namespace") == Space);
        Assert.Equal(("Pod", "bad"), (told.Text("involvedObject", "kind"), told.Text("involvedObject", "name")));
        Assert.Contains("'edge-1'", told.Text("message"), StringComparison.Ordinal);
        Assert.Contains("disk full", told.Text("message"), StringComparison.Ordinal);
        Assert.Contains("edge_cloudhub_refusals_total 1\n", core.Metrics.Render(), StringComparison.Ordinal);
        await _cloud.CreateAsync(ResourceKind.Pod, PodOf("good", "edge-1"));
        await edge.UntilAsync(Operations.Insert, $"{Space}/pod/good");
    }

    private async Task<CloudCoreHost> StartAsync(string instance)
    {
        var kube = new KubeClient(Kubeconfig.Load(_cloud.Ports.Kubeconfig), TimeProvider.System, new Random(2));
        _clients.Add(kube);
        CloudCoreOptions options = Support.Cloud.Options with { InstanceId = instance };
        return await CloudCoreHost.StartAsync(options, kube, TimeProvider.System, new Random(3), new LoggerFactory(), CancellationToken.None);
    }

    private async Task<FakeEdge> ConnectAsync(CloudCoreHost core, string node)
    {
        using var certificate = await _cloud.EnrolAsync(node);
        return await FakeEdge.ConnectAsync(core.WebSocketPort, node, certificate);
    }

    private async Task<FakeEdge> JoinAsync(CloudCoreHost core, string node)
    {
        var edge = await ConnectAsync(core, node);
        await edge.AskAsync("insert", $"null/node/{node}", Support.Cloud.NodeOf(node));
        return edge;
    }

    private async Task CreateWorkAsync()
    {
        await _cloud.CreateAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await _cloud.CreateAsync(ResourceKind.Pod, PodOf("stays", "edge-1", configMap: "app"));
        await _cloud.CreateAsync(ResourceKind.Pod, PodOf("goes", "edge-1"));
        await _cloud.CreateAsync(ResourceKind.DeviceModel, """{"metadata": {"name": "m"}, "spec": {"properties": [{"name": "temperature", "type": "INT", "accessMode": "ReadWrite"}]}}""");
        await _cloud.CreateAsync(ResourceKind.Device, """{"metadata": {"name": "thermo"}, "spec": {"nodeName": "edge-1", "deviceModelRef": {"name": "m"}}}""");
    }

    private async Task UntilAllAsync(FakeEdge edge)
    {
        foreach (var resource in (string[])["pod/stays", "pod/goes", "devicemodel/m", "device/thermo"])
            await edge.UntilAsync(Operations.Insert, $"{Space}/{resource}");
        await edge.FlushAsync();
    }

    private static JsonObject PodOf(string name, string node, string configMap = "")
    {
        var spec = new JsonObject { ["automountServiceAccountToken"] = false, ["containers"] = new JsonArray(new JsonObject { ["name"] = "main", ["image"] = "busybox" }) };
        if (configMap.Length > 0)
            spec["volumes"] = new JsonArray(new JsonObject { ["name"] = "cfg", ["configMap"] = new JsonObject { ["name"] = configMap } });
        return Support.Cloud.PodOf(name, node, spec);
    }

    private Task DeletePodAsync(string name)
        => _cloud.Kube.DeleteAsync(ResourceKind.Pod, Space, name, new JsonObject { ["apiVersion"] = "v1", ["kind"] = "DeleteOptions", ["gracePeriodSeconds"] = 0 }, CancellationToken.None);

    private Task NamesAsync(string node, string instance)
        => _cloud.UntilAsync(ResourceKind.Node, $"node {node} names {instance}", one => one.Name() == node && one.Annotation("edge.kubeedge.io/cloudcore") == instance);

    // Waits until the node's records are of exactly these kinds and all acknowledged.
    private Task RecordedAsync(string node, params string[] kinds) => RecordsAsync(ResourceKind.ObjectSync, node, kinds);

    private async Task RecordsAsync(ResourceKind recordKind, string node, params string[] kinds)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var list = await _cloud.Kube.ListAsync(recordKind, null, new ListOptions(), limit.Token);
        var records = list.Items.ToDictionary(record => record.Name());
        bool AreThere()
        {
            var own = records.Values.Where(record => record.Name().StartsWith($"{node}.", StringComparison.Ordinal)).ToList();
            return own.Select(record => record.Text("spec", "objectKind")).Order().SequenceEqual(kinds.Order())
                && own.All(record => record.Text("status", "objectResourceVersion") is not ("" or "0"));
        }

        try
        {
            if (AreThere())
                return;
            await foreach (var change in _cloud.Kube.WatchAsync(recordKind, null, list.ResourceVersion, new ListOptions(), limit.Token))
            {
                if (change.Type == WatchEventType.Deleted)
                    records.Remove(change.Object.Name());
                else if (change.Type != WatchEventType.Bookmark)
                    records[change.Object.Name()] = change.Object;
                if (AreThere())
                    return;
            }
        }
        catch (OperationCanceledException)
        {
            // Said below.
        }

        Assert.Fail($"records of {node} should be of {string.Join(", ", kinds)}; there are {string.Join("; ", records.Values.Select(record => record.ToJsonString()))}");
    }
}

/// <summary>The same beside a cluster, for which a second embedded API stands here: reached by its kubeconfig, over HTTPS.</summary>
public sealed class StockEdgeBesideAClusterTests : StockEdgeTests
{
    private readonly StandInCluster _api = new();

    protected override async Task<string?> KubeconfigAsync() => await _api.StartAsync();

    public override async Task DisposeAsync()
    {
        await base.DisposeAsync();
        await _api.DisposeAsync();
    }
}
