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
        Assert.Contains("did not finish within", error.Message, StringComparison.Ordinal);
    }

    private static WebSocketLink Link(WebSocket socket) => new(socket, TimeProvider.System, TimeSpan.FromSeconds(15));

    private static Message Make(string text)
        => Message.Create(TimeProvider.System, Sources.EdgeController, Groups.Resource, Operations.Insert, "default/configmap/a", MessageCodec.JsonString(text));
}
