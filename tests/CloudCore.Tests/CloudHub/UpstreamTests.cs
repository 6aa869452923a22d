using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Testing;

namespace Edge.Cloud.Tests;

/// <summary>What a node asked on a connection that a newer one has replaced, while the API hangs.</summary>
[Trait("Category", "Sync")]
public sealed class UpstreamTests : IAsyncLifetime
{
    private const string Lease = "kube-node-lease/lease/edge-1";
    private const string Config = "default/configmap/app";

    // A call of the API that hangs until it is let go, in the order in which they begin.
    private readonly Channel<TaskCompletionSource> _calls = Channel.CreateBounded<TaskCompletionSource>(100);
    private readonly List<FakeEdge> _edges = [];
    private Support.Cloud _cloud = null!;

    public async Task InitializeAsync()
    {
        _cloud = await Support.Cloud.StartAsync();
        // Whether a pod uses the config is asked of the API.
        _cloud.Kube.OnList = kind =>
        {
            if (kind != ResourceKind.Pod)
                return Task.CompletedTask;
            var call = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Assert.True(_calls.Writer.TryWrite(call));
            return call.Task;
        };
    }

    public async Task DisposeAsync()
    {
        foreach (var edge in _edges)
            await edge.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Fact]
    public async Task Edge_peer_that_comes_back_is_served_after_the_one_request_under_way_and_not_after_the_queue_of_its_former_connection()
    {
        var (old, hung) = await ConnectWithAHungQueueAsync(isEdgeWire: true);
        var edge = await ConnectAsync(isEdgeWire: true);
        Assert.Contains("again", await old.UntilClosedAsync(), StringComparison.Ordinal);
        // The inventory needs no API, and nothing of the former connection can spoil it.
        var digest = await edge.SendAsync(
            Sources.MetaManager, Groups.Resource, Operations.Get, InventoryMessages.DigestResource, JsonNode.Parse(InventoryMessages.WriteDigest(0, new InventoryDigest(1)).Span));
        await edge.UntilAsync(message => message.ParentId == digest.Id);
        var lease = await AskAsync(edge, Lease);
        Assert.DoesNotContain(edge.Received, message => message.ParentId == lease.Id);
        hung.SetResult();
        await edge.UntilAsync(message => message.ParentId == lease.Id);
        Assert.False(_calls.Reader.TryRead(out _), "the former connection's queue was served");
        // What was dropped is said again here, and served.
        var again = await AskAsync(edge, Config);
        (await NextCallAsync()).SetResult();
        await edge.UntilAsync(message => message.ParentId == again.Id);
    }

    [Fact]
    public async Task Connections_that_were_replaced_before_they_were_served_leave_nothing_to_wait_for()
    {
        var (_, hung) = await ConnectWithAHungQueueAsync(isEdgeWire: true);
        var between = await ConnectAsync(isEdgeWire: true);
        await AskAsync(between, Config);
        await AskAsync(between, Config);
        var edge = await ConnectAsync(isEdgeWire: true);
        var lease = await AskAsync(edge, Lease);
        hung.SetResult();
        await edge.UntilAsync(message => message.ParentId == lease.Id);
        Assert.False(_calls.Reader.TryRead(out _), "the queue of a former connection was served");
    }

    [Fact]
    public async Task Stock_edge_that_comes_back_finds_served_what_it_asked_before()
    {
        var (_, hung) = await ConnectWithAHungQueueAsync(isEdgeWire: false);
        var edge = await ConnectAsync(isEdgeWire: false);
        var lease = await AskAsync(edge, Lease);
        hung.SetResult();
        // It does not say again what was not answered.
        for (var i = 1; i < 20; i++)
        {
            var next = await NextCallAsync();
            await PingAsync(edge);
            Assert.DoesNotContain(edge.Received, message => message.ParentId == lease.Id);
            next.SetResult();
        }

        await edge.UntilAsync(message => message.ParentId == lease.Id);
    }

    // Twenty requests about one object, of which one is under way.
    private async Task<(FakeEdge Edge, TaskCompletionSource Hung)> ConnectWithAHungQueueAsync(bool isEdgeWire)
    {
        var edge = await ConnectAsync(isEdgeWire);
        for (var i = 0; i < 20; i++)
            await AskAsync(edge, Config);
        return (edge, await NextCallAsync());
    }

    private async Task<FakeEdge> ConnectAsync(bool isEdgeWire)
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: isEdgeWire);
        Assert.Equal(isEdgeWire, edge.IsEdgeWire);
        _edges.Add(edge);
        return edge;
    }

    // Returns when the cloud has read it.
    private static async Task<Message> AskAsync(FakeEdge edge, string resource)
    {
        var request = await edge.SendAsync(Sources.Edged, Groups.Meta, Operations.Query, resource);
        await PingAsync(edge);
        return request;
    }

    // The cloud answers pings as it reads them.
    private static async Task PingAsync(FakeEdge edge)
    {
        var ping = await edge.SendAsync(Sources.WebSocket, Groups.Resource, "ping", "node");
        await edge.UntilAsync(message => message.ParentId == ping.Id);
    }

    private async Task<TaskCompletionSource> NextCallAsync() => await _calls.Reader.ReadAsync().AsTask().WaitAsync(Patience.Of(TimeSpan.FromSeconds(20)));
}
