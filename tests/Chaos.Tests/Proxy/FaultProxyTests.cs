using System.Net;
using System.Net.Sockets;
using Edge.Local;

namespace Edge.Chaos.Tests;

/// <summary>That the proxy does what the other tests ask of it.</summary>
[Trait("Category", "Chaos")]
public sealed class FaultProxyTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly FaultProxy _proxy = new(TimeProvider.System);
    private readonly TcpListener _target = new(IPAddress.Loopback, 0);
    private readonly TcpClient _client = new();
    private Socket _server = null!;

    public async Task InitializeAsync()
    {
        _target.Start();
        _proxy.Target = ((IPEndPoint)_target.LocalEndpoint).Port;
        await _client.ConnectAsync(IPAddress.Loopback, _proxy.Port);
        _server = await _target.AcceptSocketAsync().WaitAsync(s_patience);
        Assert.Equal([1, 2, 3], await PassAsync(_client.Client, _server, [1, 2, 3]));
    }

    public async Task DisposeAsync()
    {
        _client.Dispose();
        _server.Dispose();
        _target.Dispose();
        await _proxy.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Cut_ends_both_connections(bool reset)
    {
        Assert.Single(_proxy.Links).Cut(reset);

        Assert.True(await EndedAsync(_client.Client));
        Assert.True(await EndedAsync(_server));
        await Wait.UntilAsync("the link is gone from the list", _ => Task.FromResult(_proxy.Links.Count == 0), s_patience, TimeProvider.System, CancellationToken.None);
    }

    [Fact]
    public async Task Corruption_flips_one_bit_once()
    {
        Assert.Single(_proxy.Links).Corrupt(Direction.Up);

        Assert.Equal([0, 0x10], await PassAsync(_client.Client, _server, [0, 0]));
        Assert.Equal([0, 0], await PassAsync(_client.Client, _server, [0, 0]));
        Assert.Equal([0, 0], await PassAsync(_server, _client.Client, [0, 0]));
    }

    [Fact]
    public async Task Half_open_link_swallows_one_way_with_its_close_and_stays_open()
    {
        var link = Assert.Single(_proxy.Links);
        link.Silence(Direction.Up);

        await _client.Client.SendAsync(new byte[] { 9 });
        Assert.Equal([7], await PassAsync(_server, _client.Client, [7]));
        _client.Client.Shutdown(SocketShutdown.Send);
        await link.NearClosed.WaitAsync(s_patience);
        Assert.Equal([8], await PassAsync(_server, _client.Client, [8]));
        // Neither the byte nor the close has come: there is nothing to read, and no end.
        Assert.Equal(0, _server.Available);
        Assert.False(_server.Poll(TimeSpan.Zero, SelectMode.SelectRead));
    }

    [Fact]
    public async Task Delay_holds_back_what_is_passed_on()
    {
        _proxy.Delay = TimeSpan.FromMilliseconds(300);
        var began = TimeProvider.System.GetTimestamp();

        Assert.Equal([5], await PassAsync(_client.Client, _server, [5]));

        Assert.True(TimeProvider.System.GetElapsedTime(began) >= TimeSpan.FromMilliseconds(290));
    }

    [Fact]
    public async Task Without_a_target_a_connection_is_closed()
    {
        _proxy.Target = 0;
        using var client = new TcpClient();

        await client.ConnectAsync(IPAddress.Loopback, _proxy.Port);

        Assert.True(await EndedAsync(client.Client));
        Assert.Equal(2, _proxy.Accepted);
    }

    [Fact]
    public async Task Connection_that_is_held_reaches_the_target_that_comes_later()
    {
        var port = _proxy.Target;
        (_proxy.Target, _proxy.Hold) = (0, s_patience);
        using var client = new TcpClient();

        await client.ConnectAsync(IPAddress.Loopback, _proxy.Port);
        Assert.False(_target.Pending());
        _proxy.Target = port;

        using var server = await _target.AcceptSocketAsync().WaitAsync(s_patience);
        Assert.Equal([4], await PassAsync(client.Client, server, [4]));
    }

    private static async Task<byte[]> PassAsync(Socket from, Socket to, byte[] bytes)
    {
        using var limit = new CancellationTokenSource(s_patience);
        await from.SendAsync(bytes, limit.Token);
        var got = new byte[bytes.Length];
        for (var count = 0; count < got.Length;)
        {
            var more = await to.ReceiveAsync(got.AsMemory(count), limit.Token);
            Assert.NotEqual(0, more);
            count += more;
        }

        return got;
    }

    private static async Task<bool> EndedAsync(Socket socket)
    {
        using var limit = new CancellationTokenSource(s_patience);
        try
        {
            return await socket.ReceiveAsync(new byte[1], limit.Token) == 0;
        }
        catch (SocketException)
        {
            return true; // reset
        }
    }
}
