using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using Edge.Protocol.Messages;
using Edge.Transport;

namespace Edge.Protocol.Tests.Transport;

[Trait("Category", "Sync")]
public sealed class WebSocketLinkTests : IAsyncLifetime
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private WebSocket _clientSocket = null!;
    private WebSocket _serverSocket = null!;
    private TcpClient _client = null!;
    private TcpClient _server = null!;

    public async Task InitializeAsync()
    {
        _listener.Start();
        _client = new TcpClient();
        var connecting = _client.ConnectAsync(IPAddress.Loopback, ((IPEndPoint)_listener.LocalEndpoint).Port);
        _server = await _listener.AcceptTcpClientAsync();
        await connecting;
        _clientSocket = WebSocket.CreateFromStream(_client.GetStream(), new WebSocketCreationOptions { IsServer = false });
        _serverSocket = WebSocket.CreateFromStream(_server.GetStream(), new WebSocketCreationOptions { IsServer = true });
    }

    public Task DisposeAsync()
    {
        _listener.Dispose();
        _client.Dispose();
        _server.Dispose();
        return Task.CompletedTask;
    }

    [Fact]
    public async Task Messages_of_any_size_arrive_whole_and_in_order()
    {
        await using var client = Link(_clientSocket);
        await using var server = Link(_serverSocket);
        var sizes = new[] { 1, 100, 5_000, 300_000 };
        var sending = Task.Run(async () =>
        {
            foreach (var size in sizes)
                await client.SendAsync(Make(new string('x', size)), default);
        });
        foreach (var size in sizes)
        {
            var message = await server.ReceiveAsync(error => Assert.Fail(error), default);
            Assert.Equal(size + 2, message!.Content.Length);
        }

        await sending;
    }

    [Fact]
    public async Task While_nothing_comes_a_receive_waits_without_a_buffer()
    {
        var socket = new WaitingSocket(_serverSocket);
        await using var server = new WebSocketLink(socket, TimeProvider.System, TimeSpan.FromSeconds(30));
        await using var client = Link(_clientSocket);
        for (var i = 0; i < 3; i++)
        {
            var receiving = server.ReceiveAsync(error => Assert.Fail(error), default);
            Assert.Equal(0, socket.Waiting);
            await client.SendAsync(Make("one"), default);
            Assert.NotNull(await receiving);
        }
    }

    [Fact]
    public async Task A_malformed_frame_is_reported_and_skipped()
    {
        await using var server = Link(_serverSocket);
        await _clientSocket.SendAsync("{\"no\":1}"u8.ToArray(), WebSocketMessageType.Text, true, default);
        await _clientSocket.SendAsync(MessageCodec.Write(Make("good")), WebSocketMessageType.Text, true, default);
        var errors = new List<string>();
        var message = await server.ReceiveAsync(errors.Add, default);
        Assert.Equal("message has no route.operation", Assert.Single(errors));
        Assert.Equal("insert", message!.Operation);
    }

    [Fact]
    public async Task A_close_in_order_reads_as_null_and_a_broken_socket_as_LinkException()
    {
        await using var client = Link(_clientSocket);
        await using var server = Link(_serverSocket);
        await client.CloseAsync("enough");
        Assert.Null(await server.ReceiveAsync(_ => { }, default));
        _server.Client.Close(0);
        await Assert.ThrowsAsync<LinkException>(async () => await client.ReceiveAsync(_ => { }, default));
    }

    [Fact]
    public async Task A_peer_that_does_not_read_fails_the_write_at_its_deadline()
    {
        await using var client = new WebSocketLink(_clientSocket, TimeProvider.System, TimeSpan.FromMilliseconds(200));
        var error = await Assert.ThrowsAsync<LinkException>(async () =>
        {
            for (var i = 0; i < 100; i++)
                await client.SendAsync(Make(new string('x', 1_000_000)), default);
        });
        Assert.Contains("made no progress within", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Between_Edge_peers_many_messages_share_a_frame_and_arrive_in_order()
    {
        await using var client = new WebSocketLink(_clientSocket, TimeProvider.System, TimeSpan.FromSeconds(15), isEdgeWire: true);
        await using var server = new WebSocketLink(_serverSocket, TimeProvider.System, TimeSpan.FromSeconds(15), isEdgeWire: true);
        var messages = Enumerable.Range(0, 500).Select(i => Make(new string((char)('a' + (i % 26)), 1 + (i * 37 % 3000)))).ToList();
        var sending = client.SendAsync(messages, default);
        foreach (var message in messages)
        {
            var read = await server.ReceiveAsync(error => Assert.Fail(error), default);
            Assert.Equal(message.Id, read!.Id);
            Assert.Equal(message.Content.ToArray(), read.Content.ToArray());
        }

        await sending;
    }

    [Fact]
    public async Task A_batch_is_one_frame_between_Edge_peers_and_a_frame_each_to_a_stock_one()
    {
        await using var edge = new WebSocketLink(_clientSocket, TimeProvider.System, TimeSpan.FromSeconds(15), isEdgeWire: true);
        await using var stock = Link(_serverSocket);
        List<Message> messages = [Make("a"), Make("b"), Make("c")];
        await edge.SendAsync(messages, default);
        var buffer = new byte[4096];
        var frame = await _serverSocket.ReceiveAsync(buffer.AsMemory(), default);
        Assert.Equal((WebSocketMessageType.Binary, true), (frame.MessageType, frame.EndOfMessage));
        await stock.SendAsync(messages, default);
        foreach (var message in messages)
        {
            frame = await _clientSocket.ReceiveAsync(buffer.AsMemory(), default);
            Assert.Equal((WebSocketMessageType.Text, true), (frame.MessageType, frame.EndOfMessage));
            Assert.True(MessageCodec.TryRead(buffer.AsMemory(0, frame.Count), out var read, out _));
            Assert.Equal(message.Id, read.Id);
        }
    }

    [Fact]
    public async Task A_malformed_record_is_reported_what_stood_before_it_arrives_and_the_next_frame_is_read()
    {
        await using var server = new WebSocketLink(_serverSocket, TimeProvider.System, TimeSpan.FromSeconds(15), isEdgeWire: true);
        var frame = new System.Buffers.ArrayBufferWriter<byte>();
        CompactCodec.Write(Make("first"), frame);
        await _clientSocket.SendAsync(frame.WrittenSpan.ToArray().Append((byte)9).ToArray(), WebSocketMessageType.Binary, true, default);
        await _clientSocket.SendAsync(ReadOnlyMemory<byte>.Empty, WebSocketMessageType.Binary, true, default);
        await _clientSocket.SendAsync(frame.WrittenMemory, WebSocketMessageType.Binary, true, default);
        var errors = new List<string>();
        Assert.NotNull(await server.ReceiveAsync(errors.Add, default));
        Assert.Empty(errors);
        Assert.NotNull(await server.ReceiveAsync(errors.Add, default));
        Assert.Equal(["record kind 9 is not known", "an empty frame"], errors);
    }

    [Fact]
    public async Task A_frame_of_bombs_is_inflated_one_record_at_a_time()
    {
        await using var server = new WebSocketLink(_serverSocket, TimeProvider.System, TimeSpan.FromSeconds(15), isEdgeWire: true);
        var frame = new System.Buffers.ArrayBufferWriter<byte>();
        for (var i = 0; i < 40; i++)
            CompactCodec.Write(Make(new string('x', 8_000_000)), frame);
        var sending = _clientSocket.SendAsync(frame.WrittenMemory, WebSocketMessageType.Binary, true, default);
        var before = GC.GetTotalAllocatedBytes(precise: true);
        Assert.Equal(8_000_002, (await server.ReceiveAsync(error => Assert.Fail(error), default))!.Content.Length);
        Assert.True(GC.GetTotalAllocatedBytes(precise: true) - before < 100_000_000, "more than the record that was asked for was inflated");
        await sending;
    }

    [Fact]
    public async Task A_large_message_on_a_slow_line_is_late_and_not_lost_and_who_waits_behind_it_waits_too()
    {
        // A unix socket's buffer does not grow with what waits, as those of TCP do.
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint($"\0edge-slow-{Guid.NewGuid():N}"));
        listener.Listen();
        using var sender = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await sender.ConnectAsync(listener.LocalEndPoint!);
        using var receiver = await listener.AcceptAsync();
        var reading = WebSocket.CreateFromStream(new NetworkStream(receiver), new WebSocketCreationOptions { IsServer = true });
        var time = new Edge.Testing.ManualTimeProvider(DateTimeOffset.UnixEpoch);
        await using var client = new WebSocketLink(WebSocket.CreateFromStream(new NetworkStream(sender), new WebSocketCreationOptions()), time, TimeSpan.FromSeconds(15));
        await using var server = Link(reading);
        var large = Make(new string('x', 6_000_000));
        var text = MessageCodec.Write(large);
        var sending = client.SendAsync(large, default).AsTask();
        var behind = client.SendAsync(Make("behind"), default).AsTask();
        var read = 0;
        var buffer = new byte[64 * 1024];
        WebSocketReceiveResult last;
        var step = 1;
        do
        {
            last = await reading.ReceiveAsync(buffer, default);
            read += last.Count;

            // What the sockets hold between them is less than that, so the sender has moved since.
            if (read < step * (text.Length / 3))
                continue;
            step++;
            time.Advance(TimeSpan.FromSeconds(10));
        }
        while (!last.EndOfMessage);
        Assert.Equal(text.Length, read);
        Assert.Equal(4, step);
        await sending;
        Assert.NotNull(await server.ReceiveAsync(error => Assert.Fail(error), default));
        await behind;
    }

    [Fact]
    public async Task A_link_knows_when_it_last_heard_something()
    {
        var time = new Edge.Testing.ManualTimeProvider(DateTimeOffset.UnixEpoch);
        await using var server = new WebSocketLink(_serverSocket, time, Timeout.InfiniteTimeSpan);
        var made = server.HeardAt;
        Assert.Equal(time.GetTimestamp(), made);
        time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(made, server.HeardAt);
        await _clientSocket.SendAsync(MessageCodec.Write(Make("x")), WebSocketMessageType.Text, true, default);
        await server.ReceiveAsync(error => Assert.Fail(error), default);
        Assert.Equal(TimeSpan.FromSeconds(5), time.GetElapsedTime(made, server.HeardAt));
    }

    [Fact]
    public async Task Abort_ends_what_receives_and_what_sends()
    {
        await using var client = Link(_clientSocket);
        var receiving = client.ReceiveAsync(_ => { }, default).AsTask();
        client.Abort();
        await Assert.ThrowsAsync<LinkException>(() => receiving);
        await Assert.ThrowsAsync<LinkException>(async () => await client.SendAsync(Make("x"), default));
    }

    [Fact]
    public async Task Disposing_ends_what_sends_and_what_waits_behind_it()
    {
        var client = new WebSocketLink(_clientSocket, TimeProvider.System, Timeout.InfiniteTimeSpan);
        var sending = client.SendAsync(Make(new string('x', 50_000_000)), default).AsTask(); // nobody reads
        var behind = client.SendAsync(Make("y"), default).AsTask();
        Assert.False(sending.IsCompleted || behind.IsCompleted);
        await client.DisposeAsync();
        await Assert.ThrowsAsync<LinkException>(() => sending.WaitAsync(Edge.Testing.Patience.Of(TimeSpan.FromSeconds(20))));
        await Assert.ThrowsAsync<LinkException>(() => behind.WaitAsync(Edge.Testing.Patience.Of(TimeSpan.FromSeconds(20))));
        await Assert.ThrowsAsync<LinkException>(async () => await client.SendAsync(Make("z"), default));
    }

    private static WebSocketLink Link(WebSocket socket) => new(socket, TimeProvider.System, TimeSpan.FromSeconds(15));

    private static Message Make(string text)
        => Message.Create(TimeProvider.System, Sources.EdgeController, Groups.Resource, Operations.Insert, "default/configmap/a", MessageCodec.JsonString(text));

    // Tells how long the buffer is with which a receive waits.
    private sealed class WaitingSocket(WebSocket inner) : WebSocket
    {
        public int Waiting { get; private set; } = -1;

        public override WebSocketCloseStatus? CloseStatus => inner.CloseStatus;

        public override string? CloseStatusDescription => inner.CloseStatusDescription;

        public override WebSocketState State => inner.State;

        public override string? SubProtocol => inner.SubProtocol;

        public override void Abort() => inner.Abort();

        public override Task CloseAsync(WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken) => inner.CloseAsync(closeStatus, statusDescription, cancellationToken);

        public override Task CloseOutputAsync(WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken)
            => inner.CloseOutputAsync(closeStatus, statusDescription, cancellationToken);

        public override void Dispose() => inner.Dispose();

        public override async ValueTask<ValueWebSocketReceiveResult> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
        {
            Waiting = buffer.Length;
            return await inner.ReceiveAsync(buffer, cancellationToken);
        }

        public override Task<WebSocketReceiveResult> ReceiveAsync(ArraySegment<byte> buffer, CancellationToken cancellationToken) => inner.ReceiveAsync(buffer, cancellationToken);

        public override Task SendAsync(ArraySegment<byte> buffer, WebSocketMessageType messageType, bool endOfMessage, CancellationToken cancellationToken)
            => inner.SendAsync(buffer, messageType, endOfMessage, cancellationToken);
    }
}
