using System.Buffers.Binary;
using Edge.Protocol.Messages;
using Edge.Testing;
using Edge.Transport;

namespace Edge.Protocol.Tests.Transport;

/// <summary>The link over three real sockets instead of QUIC's streams.</summary>
[Trait("Category", "Sync")]
public sealed class QuicLinkTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private SocketLanes _edgeLanes = null!;
    private SocketLanes _cloudLanes = null!;
    private QuicLink _edge = null!;
    private QuicLink _cloud = null!;

    public async Task InitializeAsync()
    {
        (_edgeLanes, _cloudLanes) = await SocketLanes.PairAsync(window: 16 * 1024);
        _edge = new QuicLink(_edgeLanes, TimeProvider.System, Timeout.InfiniteTimeSpan);
        _cloud = new QuicLink(_cloudLanes, TimeProvider.System, Timeout.InfiniteTimeSpan);
    }

    public async Task DisposeAsync()
    {
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Theory]
    [InlineData(0u, 100, true)]
    [InlineData(100u, 100, true)]
    [InlineData(101u, 100, false)]
    [InlineData(0x8000_0000u, 100, false)]
    [InlineData(uint.MaxValue, int.MaxValue, false)]
    public void A_length_is_checked_against_the_limit_unsigned(uint length, int limit, bool isTaken)
    {
        var header = new byte[QuicFrame.HeaderSize];
        BinaryPrimitives.WriteUInt32BigEndian(header, length);
        Assert.Equal(isTaken, QuicFrame.TryReadHeader(header, limit, out var read, out var error));
        Assert.Equal(isTaken ? ((int)length, "") : (0, $"the peer sent a frame of {length} bytes, over the limit of {limit}"), (read, error));
    }

    [Fact]
    public void A_frame_is_its_length_in_network_order_and_the_records()
    {
        var message = Object("x", 10);
        var records = new System.Buffers.ArrayBufferWriter<byte>();
        CompactCodec.Write(message, records);
        var frame = QuicFrame.Write(message);
        Assert.Equal([0, 0, 0, (byte)records.WrittenCount], frame[..4]);
        Assert.Equal(records.WrittenSpan.ToArray(), frame[4..]);
    }

    [Fact]
    public async Task Messages_of_any_size_arrive_whole_and_in_order_within_their_lanes()
    {
        var messages = Enumerable.Range(0, 300).Select(i => (i % 3) switch { 0 => Lease(i), 1 => Object($"o{i}", 1 + (i * 997 % 200_000)), _ => Twin($"t{i}", 1 + (i * 37 % 3000)) }).ToList();
        var sending = Task.Run(async () => await _edge.SendAsync(messages, default));
        var read = new List<Message>();
        while (read.Count < messages.Count)
            read.Add((await _cloud.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!);
        await sending;
        foreach (var lane in Enum.GetValues<LinkLane>())
        {
            Assert.Equal(
                messages.Where(message => LinkLanes.Of(message) == lane).Select(message => (message.Id, Convert.ToHexString(message.Content.Span))),
                read.Where(message => LinkLanes.Of(message) == lane).Select(message => (message.Id, Convert.ToHexString(message.Content.Span))));
        }
    }

    [Fact]
    public async Task Bulk_that_nobody_reads_delays_no_lease_and_no_object()
    {
        var twins = Enumerable.Range(0, 200).Select(i => Twin($"t{i}", 60_000)).ToList();
        var bulk = _edge.SendAsync(twins, default).AsTask();
        var objects = _edge.SendAsync(Enumerable.Range(0, 200).Select(i => Object($"o{i}", 60_000)).ToList(), default).AsTask();
        for (var i = 0; i < 20; i++)
        {
            await _edge.SendAsync(Lease(i), default).AsTask().WaitAsync(s_patience);
            Assert.Equal(Lease(i).Id, (await _cloud.ReceiveAsync(LinkLane.Control, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!.Id);
        }

        Assert.False(bulk.IsCompleted); // 12 MB do not fit what the sockets hold
        Assert.False(objects.IsCompleted);
        foreach (var twin in twins)
            Assert.Equal(twin.Id, (await _cloud.ReceiveAsync(LinkLane.User, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!.Id);
        await bulk.WaitAsync(s_patience);
        Assert.False(objects.IsCompleted);
    }

    [Fact]
    public async Task Of_what_is_there_the_most_urgent_comes_first()
    {
        await _edge.SendAsync([Twin("t", 10), Object("o", 10), Lease(1)], default);
        while (Enum.GetValues<LinkLane>().Any(lane => _cloudLanes.Available(lane) == 0))
            await Task.Yield();
        var read = new List<LinkLane>();
        while (read.Count < 3)
            read.Add(LinkLanes.Of((await _cloud.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!));
        Assert.Equal([LinkLane.Control, LinkLane.Objects, LinkLane.User], read);
    }

    [Fact]
    public async Task A_malformed_record_and_an_empty_frame_are_reported_and_the_next_frame_is_read()
    {
        byte[] wrong = [0, 0, 0, 1, 9, 0, 0, 0, 0, .. QuicFrame.Write(Object("good", 10))];
        await _edgeLanes[LinkLane.Objects].WriteAsync(wrong);
        var errors = new List<string>();
        var message = await _cloud.ReceiveAsync(errors.Add, default).AsTask().WaitAsync(s_patience);
        Assert.Equal("default/configmap/good", message!.Resource);
        Assert.Equal(["record kind 9 is not known", "an empty frame"], errors);
    }

    [Fact]
    public async Task A_close_in_order_is_read_after_everything_that_was_sent_before_with_its_reason()
    {
        await _edge.SendAsync([Twin("t", 10), Object("o", 10), Lease(1)], default);
        await _edge.CloseAsync("the node is stopping");
        var read = 0;
        while (await _cloud.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience) is not null)
            read++;
        Assert.Equal((3, "the node is stopping"), (read, _cloud.ClosedBecause));
        Assert.Equal("", _edge.ClosedBecause);
    }

    [Fact]
    public async Task Each_lane_ends_for_its_own_reader()
    {
        await _edge.CloseAsync("enough");
        foreach (var lane in Enum.GetValues<LinkLane>())
            Assert.Null(await _cloud.ReceiveAsync(lane, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience));
    }

    [Fact]
    public async Task Abort_ends_what_receives_and_what_sends_on_both_sides()
    {
        var receiving = _edge.ReceiveAsync(_ => { }, default).AsTask();
        var bulk = _edge.SendAsync(Enumerable.Range(0, 200).Select(i => Twin($"t{i}", 60_000)).ToList(), default).AsTask();
        _edge.Abort();
        await Assert.ThrowsAsync<LinkException>(() => receiving.WaitAsync(s_patience));
        await Assert.ThrowsAsync<LinkException>(() => bulk.WaitAsync(s_patience));
        await Assert.ThrowsAsync<LinkException>(async () =>
        {
            while (await _cloud.ReceiveAsync(_ => { }, default).AsTask().WaitAsync(s_patience) is not null)
            {
            }

            throw new LinkException("a lane was closed in order, since what it had to say was read");
        });
    }

    [Fact]
    public async Task A_peer_that_does_not_read_fails_the_write_at_its_deadline_and_the_link_is_dead()
    {
        await using var link = new QuicLink(_edgeLanes, TimeProvider.System, TimeSpan.FromMilliseconds(200));
        var error = await Assert.ThrowsAsync<LinkException>(async () => await link.SendAsync(Enumerable.Range(0, 200).Select(i => Twin($"t{i}", 60_000)).ToList(), default));
        Assert.Contains("did not finish within", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<LinkException>(async () => await link.SendAsync(Lease(1), default));
    }

    [Fact]
    public async Task A_link_knows_when_it_last_heard_something_on_any_lane()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        await using var link = new QuicLink(_cloudLanes, time, Timeout.InfiniteTimeSpan);
        var made = link.HeardAt;
        time.Advance(TimeSpan.FromSeconds(5));
        await _edge.SendAsync(Twin("t", 10), default);
        await link.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience);
        Assert.Equal(TimeSpan.FromSeconds(5), time.GetElapsedTime(made, link.HeardAt));
    }

    [Fact]
    public async Task A_read_that_its_caller_gives_up_breaks_nothing()
    {
        using var stop = new CancellationTokenSource();
        var receiving = _cloud.ReceiveAsync(_ => { }, stop.Token).AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving);
        await _edge.SendAsync(Lease(1), default);
        Assert.Equal(Lease(1).Id, (await _cloud.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!.Id);
    }

    [Fact]
    public async Task An_edge_greets_and_is_taken()
    {
        var greeting = QuicGreeting.ConnectAsync(_edgeLanes, new QuicHello("edge-1", "project", "2,1"), default);
        foreach (var lane in Enum.GetValues<LinkLane>())
            Assert.Equal(lane, await QuicGreeting.ReadLaneAsync(_cloudLanes[lane], default).WaitAsync(s_patience));
        Assert.Equal(new QuicHello("edge-1", "project", "2,1"), await QuicGreeting.ReadHelloAsync(_cloudLanes[LinkLane.Control], default).WaitAsync(s_patience));
        await QuicGreeting.AcceptAsync(_cloudLanes[LinkLane.Control], default);
        await greeting.WaitAsync(s_patience);
        await _edge.SendAsync(Lease(1), default);
        Assert.NotNull(await _cloud.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience));
    }

    [Fact]
    public async Task A_refusal_comes_with_its_code_and_reason()
    {
        var greeting = QuicGreeting.ConnectAsync(_edgeLanes, new QuicHello("edge-1", "", "1"), default);
        await QuicGreeting.RefuseAsync(_cloudLanes[LinkLane.Control], 403, "node_id is another", default);
        var error = await Assert.ThrowsAsync<LinkException>(() => greeting.WaitAsync(s_patience));
        Assert.Equal("CloudCore refused the connection with 403: node_id is another", error.Message);
    }

    [Theory]
    [InlineData(new byte[] { 0, 0, 0x10, 0x01 }, "over the limit of 4096")] // before it is known who asks, little is taken
    [InlineData(new byte[] { 0, 0, 0, 1, 9 }, "record kind 9 is not known")]
    [InlineData(new byte[] { 0, 0, 0, 1, 1 }, "is not its greeting")] // a keepalive
    public async Task A_greeting_that_cannot_be_read_is_said_why(byte[] bytes, string why)
    {
        await _edgeLanes[LinkLane.Control].WriteAsync(bytes);
        var error = await Assert.ThrowsAsync<LinkException>(() => QuicGreeting.ReadHelloAsync(_cloudLanes[LinkLane.Control], default).WaitAsync(s_patience));
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    [InlineData(255)]
    public async Task A_stream_that_is_no_lane_is_told_apart(byte first)
    {
        await _edgeLanes[LinkLane.Control].WriteAsync(new[] { first });
        Assert.Null(await QuicGreeting.ReadLaneAsync(_cloudLanes[LinkLane.Control], default).WaitAsync(s_patience));
    }

    // Does not compress: bulk must be bulk on the wire.
    private static ReadOnlyMemory<byte> Noise(string name, int size)
    {
        var bytes = new byte[size];
        new Random(name.Length + size).NextBytes(bytes);
        return MessageCodec.JsonString(Convert.ToBase64String(bytes));
    }

    private static Message Lease(int number)
        => new() { Id = $"lease-{number}", Source = Sources.Edged, Group = Groups.Meta, Operation = Operations.Patch, Resource = "kube-node-lease/lease/edge-1" };

    private static Message Object(string name, int size)
        => Message.Create(TimeProvider.System, Sources.EdgeController, Groups.Resource, Operations.Insert, $"default/configmap/{name}", Noise(name, size));

    private static Message Twin(string name, int size)
        => Message.Create(TimeProvider.System, Sources.Twin, Groups.Resource, Operations.Update, $"device/default/{name}/twin/edge_updated", Noise(name, size));
}
