using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Cloud.CloudStream;
using Edge.Cloud.CloudStream.Tunnel;
using Edge.Cloud.Tests.Support;
using Edge.Common.Streaming;
using Edge.Protocol.Tunnel;
using Edge.Testing;
using Edge.Transport;

namespace Edge.Cloud.Tests.CloudStream;

/// <summary>One tunnel of a stock edge: its connections do not hold each other up, and none ends as if it were whole when it is not.</summary>
[Trait("Category", "Kubernetes")]
public sealed class TunnelSessionTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly CancellationTokenSource _stop = new();
    private NetworkStream _socket = null!;
    private StockTunnel _edge = null!;
    private TunnelSession _session = null!;
    private Task<string> _running = null!;
    private int _stalls;

    public async Task InitializeAsync()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(listener.LocalEndpoint);
        _socket = new NetworkStream(await listener.AcceptSocketAsync(), ownsSocket: true);
        _edge = StockTunnel.On(new NetworkStream(client, ownsSocket: true));
        _session = new TunnelSession("edge-1", _socket, _time) { Stalled = _ => Interlocked.Increment(ref _stalls) };
        _running = _session.RunAsync(_stop.Token);
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _session.Dispose();
        await _socket.DisposeAsync();
        await _edge.DisposeAsync();
        _stop.Dispose();
    }

    [Fact]
    public async Task A_reader_that_stands_still_is_ended_and_the_others_go_on()
    {
        await using var still = _session.Open();
        await using var other = _session.Open();
        await AskAsync(still, "/containerLogs/default/a/c?follow=true");
        await AskAsync(other, "/containerLogs/default/b/c?follow=true");
        // More than the buffer of the first, and behind it a line for the second.
        await _edge.SendDataAsync(still.Id, new byte[TunnelStream.BufferSize + 4096]);
        await _edge.SendDataAsync(other.Id, "hello\n"u8.ToArray());
        var reading = ReadToAsync(other, "hello\n");
        while (!reading.IsCompleted)
        {
            _time.Advance(TunnelSession.StallMax);
            await Task.WhenAny(reading, Task.Delay(20));
            Assert.True(_stalls <= 1);
        }

        await reading;
        Assert.Equal(1, _stalls);
        Assert.Equal(1, _session.Count);
        var message = await _edge.NextAsync();
        Assert.Equal((still.Id, TunnelMessageType.RemoveConnect), (message.Id, message.Type));
        var e = await Assert.ThrowsAnyAsync<IOException>(() => ReadAllAsync(still));
        Assert.Contains("no flow control", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_long_log_arrives_whole_through_a_client_of_HTTP()
    {
        using var http = NodeRelay.Client((_, _) => ValueTask.FromResult<Stream>(_session.Open()));
        var log = new byte[300_000];
        new Random(2).NextBytes(log);
        for (var run = 0; run < 3; run++)
        {
            using var request = NodeRelay.Request("GET", "edge-1", "/containerLogs/default/a/c?follow=true");
            var asking = http.SendAsync(request, CancellationToken.None);
            var asked = await _edge.NextConnectAsync();
            var sending = _edge.SendDataAsync(asked.Id, log);
            using var answer = await asking.WaitAsync(s_patience);
            await sending;
            await _edge.SendAsync(asked.Id, TunnelMessageType.RemoveConnect);
            Assert.Equal(log, await answer.Content.ReadAsByteArrayAsync().WaitAsync(s_patience));
        }
    }

    [Fact]
    public async Task A_tunnel_that_is_cut_breaks_its_streams_and_one_that_is_over_takes_no_more()
    {
        await using var stream = _session.Open();
        await AskAsync(stream, "/containerLogs/default/a/c?follow=true");
        await _edge.SendDataAsync(stream.Id, "half"u8.ToArray());
        await ReadToAsync(stream, "half");
        await _edge.DisposeAsync();
        var e = await Assert.ThrowsAnyAsync<IOException>(() => ReadAllAsync(stream));
        Assert.Contains("the tunnel of node \"edge-1\" ended", e.Message, StringComparison.Ordinal);
        await _running;
        Assert.Throws<NodeStreamException>(_session.Open);
        await Assert.ThrowsAsync<NodeStreamException>(async () => await _session.SendAsync(new TunnelMessage(1, TunnelMessageType.Data, default), CancellationToken.None));
    }

    [Fact]
    public async Task Port_forward_is_refused_as_a_kubelet_would_and_the_edge_is_not_asked()
    {
        await using var stream = _session.Open();
        await stream.WriteAsync("POST /portForward/default/a HTTP/1.1\r\nHost: edge-1\r\n\r\n"u8.ToArray());
        var answer = await ReadAllAsync(stream);
        Assert.StartsWith("HTTP/1.1 501 ", answer, StringComparison.Ordinal);
        Assert.Contains("port-forward needs Edge's own edgecore", answer, StringComparison.Ordinal);
        await _edge.SendFrameAsync(WebSocketOpcode.Ping, []);
        Assert.Equal(WebSocketOpcode.Pong, (await _edge.NextFrameAsync()).Opcode);
    }

    [Fact]
    public async Task An_edge_that_answers_nothing_ends_a_request_after_a_while_but_not_a_followed_log()
    {
        await using var exec = _session.Open();
        await using var followed = _session.Open();
        await AskAsync(followed, "/containerLogs/default/a/c?follow=true");
        await AskAsync(exec, "/exec/default/a/c?command=true");
        var reading = ReadAllAsync(exec);
        _time.Advance(TimeSpan.FromSeconds(20));
        // The edge's pings go on all the while.
        await _edge.SendFrameAsync(WebSocketOpcode.Ping, []);
        await _edge.NextFrameAsync();
        _time.Advance(TimeSpan.FromSeconds(11));
        var e = await Assert.ThrowsAnyAsync<IOException>(() => reading.WaitAsync(s_patience));
        Assert.Contains("said nothing", e.Message, StringComparison.Ordinal);
        await _edge.SendDataAsync(followed.Id, "late"u8.ToArray());
        await ReadToAsync(followed, "late");
    }

    [Fact]
    public async Task A_silent_edge_ends_the_tunnel()
    {
        _time.Advance(TimeSpan.FromSeconds(31));
        Assert.Contains("said nothing for 30 s", await _running.WaitAsync(s_patience), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("an unmasked frame")]
    [InlineData("an unknown type")]
    [InlineData("a continuation alone")]
    public async Task What_breaks_the_grammar_ends_the_tunnel(string what)
    {
        if (what == "an unknown type")
            await _edge.SendFrameAsync(WebSocketOpcode.Text, [1, 9]);
        else if (what == "a continuation alone")
            await _edge.SendFrameAsync(WebSocketOpcode.Continuation, [1, 3]);
        else
            await _edge.SendRawAsync(WebSocketFrame.Write(WebSocketOpcode.Text, [1, 3]));
        Assert.NotEqual("it was closed", await _running.WaitAsync(s_patience));
    }

    [Fact]
    public async Task Data_for_nobody_is_answered_with_its_end()
    {
        await _edge.SendDataAsync(77, "old"u8.ToArray());
        var message = await _edge.NextAsync();
        Assert.Equal((77ul, TunnelMessageType.RemoveConnect), (message.Id, message.Type));
    }

    private async Task AskAsync(Stream stream, string target)
    {
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"GET {target} HTTP/1.1\r\nHost: edge-1\r\n\r\n"));
        await _edge.NextConnectAsync();
    }

    private static async Task ReadToAsync(Stream stream, string end)
    {
        using var limit = new CancellationTokenSource(s_patience);
        var text = new StringBuilder();
        var block = new byte[4096];
        while (!text.ToString().EndsWith(end, StringComparison.Ordinal))
        {
            var read = await stream.ReadAsync(block, limit.Token);
            Assert.True(read > 0, $"the stream ended after '{text}'");
            text.Append(Encoding.ASCII.GetString(block, 0, read));
        }
    }

    private static async Task<string> ReadAllAsync(Stream stream)
    {
        using var limit = new CancellationTokenSource(s_patience);
        var text = new StringBuilder();
        var block = new byte[64 * 1024];
        while (await stream.ReadAsync(block, limit.Token) is > 0 and var read)
            text.Append(Encoding.ASCII.GetString(block, 0, read));
        return text.ToString();
    }
}
