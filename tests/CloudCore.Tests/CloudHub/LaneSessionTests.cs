using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Observability;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Edge.Transport;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

/// <summary>A session on a link with lanes, over real sockets instead of QUIC's streams.</summary>
[Trait("Category", "Sync")]
public sealed class LaneSessionTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly TimerWheel _wheel = new(TimeProvider.System);
    private readonly Owner _owner = new();
    private QuicLink _edge = null!;
    private QuicLink _cloud = null!;
    private HubSession _session = null!;
    private Task<SessionEndReason> _running = null!;

    public async Task InitializeAsync()
    {
        var (edge, cloud) = await SocketLanes.PairAsync(window: 16 * 1024);
        _edge = new QuicLink(edge, TimeProvider.System, Timeout.InfiniteTimeSpan);
        _cloud = new QuicLink(cloud, TimeProvider.System, Timeout.InfiniteTimeSpan);
        var context = new SessionContext(
            new SessionTimes { Keepalive = TimeSpan.FromMinutes(10), WriteTimeout = TimeSpan.FromMinutes(10), InventoryWait = TimeSpan.FromMinutes(10) }, _wheel, TimeProvider.System, new HubMetrics(), NullLogger.Instance);
        _session = new HubSession("edge-1", _cloud, _owner, new SessionLimits(), context);
        _running = _session.RunAsync();
    }

    public async Task DisposeAsync()
    {
        _edge.Abort();
        _owner.Room.TrySetResult();
        await _running.WaitAsync(s_patience);
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
        _wheel.Dispose();
    }

    [Fact]
    public async Task Objects_that_the_edge_does_not_take_delay_no_answer_to_a_lease()
    {
        for (var i = 0; i < 64; i++)
            _session.Deliver(Big(i));
        _session.Open();
        // The first object is on its way: what follows is stuck behind it, since nobody reads that lane.
        var first = await ReceiveAsync(LinkLane.Objects);
        for (var i = 0; i < 10; i++)
        {
            var answer = Answer($"kube-node-lease/lease/edge-{i}");
            _session.Send(answer, isUrgent: true);
            Assert.Equal(answer.Id, (await ReceiveAsync(LinkLane.Control)).Id);
            await _edge.SendAsync(Beat(), default);
            Assert.Equal(Operations.Keepalive, (await ReceiveAsync(LinkLane.Control)).Operation);
        }

        Assert.Equal("default/configmap/c0", first.Resource);
        for (var i = 1; i < 64; i++)
            Assert.Equal($"default/configmap/c{i}", (await ReceiveAsync(LinkLane.Objects)).Resource);
    }

    [Fact]
    public async Task User_data_that_the_cloud_does_not_take_delays_neither_keepalive_nor_ack()
    {
        var bulk = _edge.SendAsync(Enumerable.Range(0, 100).Select(i => Twin(i)).ToList(), default).AsTask();
        await _owner.Stuck.Task.WaitAsync(s_patience);
        _session.Deliver(Big(0));
        _session.Open();
        var obj = await ReceiveAsync(LinkLane.Objects);
        await _edge.SendAsync(obj.Response(TimeProvider.System, MessageCodec.Ok), default);
        await _edge.SendAsync(Beat(), default);
        Assert.Equal(Operations.Keepalive, (await ReceiveAsync(LinkLane.Control)).Operation);
        while (_session.Depth.Objects > 0)
            await Task.Delay(10);
        Assert.False(bulk.IsCompleted);
        _owner.Room.SetResult();
        await bulk.WaitAsync(s_patience);
    }

    [Fact]
    public async Task What_follows_from_an_inventory_comes_after_its_answer()
    {
        _session.Send(Answer("node/inventory") with { Source = Sources.CloudHub }, isUrgent: true);
        _session.Deliver(Big(0));
        _session.Open();
        Assert.Equal("node/inventory", (await ReceiveAsync(LinkLane.Objects)).Resource);
        Assert.Equal("default/configmap/c0", (await ReceiveAsync(LinkLane.Objects)).Resource);
    }

    [Fact]
    public async Task The_reason_of_an_end_reaches_the_edge_while_objects_are_stuck()
    {
        for (var i = 0; i < 64; i++)
            _session.Deliver(Big(i));
        _session.Open();
        await ReceiveAsync(LinkLane.Objects);
        _session.End(SessionEndReason.NodeDeleted);
        Assert.Null(await _edge.ReceiveAsync(LinkLane.Control, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience));
        Assert.Equal("the node was deleted from the cluster", _edge.ClosedBecause);
        Assert.Equal(SessionEndReason.NodeDeleted, await _running.WaitAsync(s_patience));
    }

    [Fact]
    public async Task An_edge_that_closes_in_order_ends_the_session_once_all_lanes_are_read()
    {
        _owner.Room.SetResult();
        await _edge.SendAsync([Twin(1), Beat()], default);
        await _edge.CloseAsync("stopping");
        Assert.Equal(SessionEndReason.PeerClosed, await _running.WaitAsync(s_patience));
        Assert.Equal(1, _owner.Received);
    }

    private async Task<Message> ReceiveAsync(LinkLane lane) => (await _edge.ReceiveAsync(lane, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!;

    private static Message Beat() => Message.Create(TimeProvider.System, Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node");

    private static Message Answer(string resource)
        => new() { Id = Guid.NewGuid().ToString(), ParentId = Guid.NewGuid().ToString(), Source = Sources.EdgeController, Group = Groups.Resource, Operation = Operations.Response, Resource = resource, Content = MessageCodec.Ok };

    private static Message Twin(int i)
        => Message.Create(TimeProvider.System, Sources.Twin, Groups.Resource, Operations.Update, $"device/default/d{i}/twin/edge_updated", MessageCodec.JsonString(Noise(i, 100_000)));

    private static string Noise(int seed, int size)
    {
        var bytes = new byte[size];
        new Random(seed).NextBytes(bytes);
        return Convert.ToBase64String(bytes);
    }

    private static DownObject Big(int i)
    {
        var json = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "ConfigMap",
            ["metadata"] = new JsonObject { ["name"] = $"c{i}", ["namespace"] = "default", ["uid"] = $"uid-{i}", ["resourceVersion"] = $"{i + 1}" },
            ["data"] = new JsonObject { ["key"] = Noise(i, 150_000) },
        };
        return DownObject.Of(ResourceKind.ConfigMap, ResourceTypes.ConfigMap, Operations.Insert, Sources.EdgeController, new ObjectBody(json));
    }

    /// <summary>Takes nothing until there is room.</summary>
    private sealed class Owner : ISessionOwner
    {
        private int _received;

        public TaskCompletionSource Room { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Stuck { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public int Received => Volatile.Read(ref _received);

        public ValueTask ReceivedAsync(HubSession session, Message message, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _received);
            Stuck.TrySetResult();
            return new ValueTask(Room.Task);
        }

        public void InventoryMissing(HubSession session)
        {
        }

        public void Stored(HubSession session, DownObject obj)
        {
        }

        public void Refused(HubSession session, DownObject obj, string reason)
        {
        }
    }
}
