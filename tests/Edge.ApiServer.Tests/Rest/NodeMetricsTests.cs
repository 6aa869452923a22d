using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.ApiServer.Tests.Rest;

/// <summary>metrics.k8s.io, with nodes that answer over real sockets.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeMetricsTests : IAsyncLifetime
{
    private const string Summary = """
        {"node":{"nodeName":"near","cpu":{"time":"2026-01-01T00:00:10Z","usageNanoCores":250000000,"usageCoreNanoSeconds":7},"memory":{"workingSetBytes":1048576}},
         "pods":[{"podRef":{"name":"web","namespace":"default","uid":"other"},"containers":[
           {"name":"main","cpu":{"time":"2026-01-01T00:00:09Z","usageNanoCores":5000000},"memory":{"workingSetBytes":2097152}},
           {"name":"young","cpu":{"time":"2026-01-01T00:00:09Z"},"memory":{"workingSetBytes":4096}}]}]}
        """;

    private readonly ApiFixture _api = new();
    private HttpPeer _node = null!;

    public async Task InitializeAsync()
    {
        _node = await HttpPeer.StartAsync();
        _node.Answer = _ => (200, Summary);
        await _api.StartAsync(TimeProvider.System, dialNode: async (node, token) =>
        {
            if (node != "near")
                throw new IOException($"node {node} is not connected");
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(IPAddress.Loopback, _node.Port, token);
            return new NetworkStream(socket, ownsSocket: true);
        });
        foreach (var node in (string[])["near", "away"])
            await _api.PostAsync("/api/v1/nodes", $$"""{"metadata":{"name":"{{node}}","labels":{"where":"{{node}}"} } }""");
        foreach (var (pod, node) in ((string, string)[])[("web", "near"), ("far", "away"), ("unknown", "near")])
        {
            await _api.PostAsync(
                "/api/v1/namespaces/default/pods",
                $$"""{"metadata":{"name":"{{pod}}"},"spec":{"nodeName":"{{node}}","containers":[{"name":"main","image":"i"},{"name":"young","image":"i"}]} }""");
        }
    }

    public async Task DisposeAsync()
    {
        await _api.DisposeAsync();
        await _node.DisposeAsync();
    }

    [Fact]
    public async Task Nodes_that_answer_are_listed_and_the_others_left_out()
    {
        var list = await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes");
        Assert.Equal("NodeMetricsList", list.Kind());
        var item = Assert.Single(list.Items("items"));
        Assert.Equal(("near", "250000000n", "1024Ki", "2026-01-01T00:00:10Z", "near"),
            (item.Name(), item.Text("usage", "cpu"), item.Text("usage", "memory"), item.Text("timestamp"), item.Text("metadata", "labels", "where")));
        // A rate needs two samples.
        Assert.Equal(2, _node.Requests.Count(request => request.Path == "/stats/summary?only_cpu_and_memory=true"));

        Assert.Empty((await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes?labelSelector=where%3Daway")).Items("items"));
        Assert.Equal("near", (await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes/near")).Name());
        Assert.Contains("nodes.metrics.k8s.io \"away\" not found", (await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes/away", HttpStatusCode.NotFound)).Text("message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pods_have_the_containers_that_have_figures()
    {
        var list = await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods");
        var item = Assert.Single(list.Items("items"));
        var container = Assert.Single(item.Items("containers"));
        Assert.Equal(("web", "default", "main", "5000000n", "2048Ki"), (item.Name(), item.Namespace(), container.Text("name"), container.Text("usage", "cpu"), container.Text("usage", "memory")));
        Assert.Single((await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/pods")).Items("items"));
        await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/far", HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task What_is_no_summary_leaves_its_node_out()
    {
        foreach (var (status, body) in ((int, string)[])[(200, "[1]"), (200, "{"), (500, "broken"), (200, "{\"node\":{}}"), (200, new string(' ', 2_000_000) + Summary)])
        {
            _node.Answer = _ => (status, body);
            Assert.Empty((await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes")).Items("items"));
        }
    }

    [Fact]
    public async Task Discovery_lists_the_group_and_its_resources_can_only_be_read()
    {
        Assert.Contains((await _api.GetAsync("/apis")).Items("groups"), group => group.Text("name") == "metrics.k8s.io");
        var resources = (await _api.GetAsync("/apis/metrics.k8s.io/v1beta1")).Items("resources").ToList();
        Assert.Equal(["NodeMetrics", "PodMetrics"], resources.Select(one => one.Text("kind")));
        Assert.All(resources, one => Assert.Equal("""["get","list"]""", one["verbs"]!.ToJsonString()));
        await _api.PostAsync("/apis/metrics.k8s.io/v1beta1/nodes", "{}", HttpStatusCode.MethodNotAllowed);
        await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes?watch=true", HttpStatusCode.MethodNotAllowed);
        await _api.GetAsync("/apis/metrics.k8s.io/v1/nodes", HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task Without_a_way_to_nodes_there_is_no_such_group()
    {
        await _api.StartAsync(TimeProvider.System);
        await _api.GetAsync("/apis/metrics.k8s.io/v1beta1", HttpStatusCode.NotFound);
        await _api.GetAsync("/apis/metrics.k8s.io/v1beta1/nodes", HttpStatusCode.NotFound);
    }
}
