using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Core.Configuration;
using Edge.Core.EdgeStream;
using Edge.Protocol.Tunnel;
using Edge.Testing;
using Edge.Transport;
using Xunit;

namespace Edge.Core.Tests.EdgeStream;

/// <summary>The edge's end of KubeEdge's tunnel: what a stock cloud asks over it is done at the local API, and comes back as that cloud expects it.</summary>
[Trait("Category", "Kubernetes")]
public sealed class TunnelSessionTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly CancellationTokenSource _stop = new();
    private HttpPeer _api = null!;
    private NetworkStream _edge = null!;
    private NetworkStream _cloud = null!;
    private PipeReader _reader = null!;
    private TunnelSession _session = null!;
    private Task<string> _running = null!;
    private LocalApiAt? _at;

    public async Task InitializeAsync()
    {
        _api = await HttpPeer.StartAsync();
        _at = new LocalApiAt(IPAddress.Loopback, _api.Port, "the-nodes-token", null);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(listener.LocalEndpoint);
        _cloud = new NetworkStream(await listener.AcceptSocketAsync(), ownsSocket: true);
        _edge = new NetworkStream(client, ownsSocket: true);
        _reader = PipeReader.Create(_cloud);
        _session = new TunnelSession(_edge, PipeReader.Create(_edge), () => _at, new EdgeStreamOptions(), _time);
        _running = _session.RunAsync(_stop.Token);
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        await _session.DisposeAsync();
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
        await _api.DisposeAsync();
        _stop.Dispose();
    }

    [Fact]
    public async Task A_logs_body_comes_alone_and_then_its_end()
    {
        // Not only ASCII, and more than one piece.
        var log = string.Concat(Enumerable.Repeat("ein größeres Log\n", 4_000));
        _api.Answer = _ => (200, log);
        await AskAsync(7, "GET /containerLogs/default/web/c?follow=true&tailLines=5 HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.Equal(log, await AllAsync(7));
        var request = Assert.Single(_api.Requests);
        Assert.Equal(("GET", "/containerLogs/default/web/c?follow=true&tailLines=5", "Bearer the-nodes-token"), (request.Method, request.Path, request.Headers["Authorization"]));
    }

    [Fact]
    public async Task An_exec_is_raw_both_ways_with_the_nodes_own_credential()
    {
        _api.Answer = _ => (200, "said");
        await AskAsync(9, "POST /exec/default/web/c?command=cat&input=1 HTTP/1.1\r\nHost: x\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
        await SendAsync(new TunnelMessage(9, TunnelMessageType.Data, "4\r\nhalf\r\n"u8.ToArray()));
        await SendAsync(new TunnelMessage(9, TunnelMessageType.Data, "5\r\nwhole\r\n0\r\n\r\n"u8.ToArray()));
        var answer = await AllAsync(9);
        Assert.StartsWith("HTTP/1.1 200 OK\r\n", answer, StringComparison.Ordinal);
        Assert.Contains("said", answer, StringComparison.Ordinal);
        var request = Assert.Single(_api.Requests);
        Assert.Equal(("POST", "/exec/default/web/c?command=cat&input=1", "halfwhole"), (request.Method, request.Path, request.Body));
        Assert.Equal(("Bearer the-nodes-token", "v4.channel.k8s.io"), (request.Headers["Authorization"], request.Headers["X-Stream-Protocol-Version"]));
    }

    [Fact]
    public async Task Stats_are_asked_as_the_local_API_takes_them_and_a_refusal_reads_like_a_log()
    {
        _api.Answer = request => request.Path.StartsWith("/stats/summary", StringComparison.Ordinal) ? (200, "{}") : (404, "no such container\n");
        await AskAsync(1, "GET /stats/summary HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.Equal("{}", await AllAsync(1));
        await AskAsync(2, "GET /containerLogs/default/web/none HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.Equal("no such container\n", await AllAsync(2));
    }

    [Fact]
    public async Task What_is_not_served_over_streams_never_reaches_the_local_API()
    {
        await AskAsync(1, "GET /metrics/cadvisor HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.Contains("over a stream only", await AllAsync(1), StringComparison.Ordinal);
        await AskAsync(2, "POST /exec/../configz HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 403 ", await AllAsync(2), StringComparison.Ordinal);
        // A header that would begin another line is left out.
        await SendAsync(new TunnelMessage(3, TunnelMessageType.ExecConnect, Encoding.UTF8.GetBytes(
            """{"MessID":3,"url":{"Path":"/exec/a/b/c","RawQuery":"command=x"},"header":{"A":["b\r\nX-Injected: 1"],"Connection":["close"]},"method":"POST"}""")));
        await AllAsync(3);
        Assert.DoesNotContain("X-Injected", Assert.Single(_api.Requests).Headers.Keys);
        _at = null;
        await AskAsync(4, "GET /containerLogs/default/web/c HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.Equal(LocalApiAt.NotServed + "\n", await AllAsync(4));
    }

    [Fact]
    public async Task A_connect_message_that_is_none_or_one_too_many_is_ended_at_once()
    {
        await SendAsync(new TunnelMessage(5, TunnelMessageType.LogsConnect, "no json"u8.ToArray()));
        Assert.Equal((5ul, TunnelMessageType.RemoveConnect), await NextAsync());
    }

    [Fact]
    public async Task Pings_go_out_and_are_answered_and_silence_ends_the_tunnel()
    {
        await SendFrameAsync(WebSocketOpcode.Ping, "x"u8.ToArray());
        Assert.Equal((WebSocketOpcode.Pong, "x"), await FrameAsync());
        _time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(WebSocketOpcode.Ping, (await FrameAsync()).Opcode);
        _time.Advance(TimeSpan.FromSeconds(11));
        Assert.Contains("said nothing for 15 s", await _running.WaitAsync(s_patience), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("masked")]
    [InlineData("unknown")]
    [InlineData("close")]
    [InlineData("hang up")]
    public async Task What_breaks_the_grammar_or_ends_the_tunnel_is_told(string what)
    {
        if (what == "masked")
            await _cloud.WriteAsync(WebSocketFrame.Write(WebSocketOpcode.Text, [1, 3], [1, 2, 3, 4]));
        else if (what == "unknown")
            await SendFrameAsync(WebSocketOpcode.Text, [1, 9]);
        else if (what == "close")
            await SendAsync(new TunnelMessage(0, TunnelMessageType.CloseConnect, "full"u8.ToArray()));
        else
            _cloud.Socket.Shutdown(SocketShutdown.Both);
        var reason = await _running.WaitAsync(s_patience);
        Assert.Contains(what switch { "masked" => "a server's frame is masked", "unknown" => "no message type 9", "close" => "closed it: full", _ => "hung up" }, reason, StringComparison.Ordinal);
    }

    private Task AskAsync(ulong id, string head)
        => SendAsync(TunnelConnect.Read(id, Encoding.ASCII.GetBytes(head), out var problem)?.ToMessage() ?? throw new InvalidDataException(problem));

    private Task SendAsync(TunnelMessage message) => SendFrameAsync(WebSocketOpcode.Text, message.ToBytes());

    private Task SendFrameAsync(WebSocketOpcode opcode, byte[] payload) => _cloud.WriteAsync(WebSocketFrame.Write(opcode, payload)).AsTask();

    // The data of a connection until its end.
    private async Task<string> AllAsync(ulong id)
    {
        using var data = new MemoryStream();
        while (true)
        {
            var message = await MessageAsync();
            Assert.Equal(id, message.Id);
            if (message.Type == TunnelMessageType.RemoveConnect)
                return Encoding.UTF8.GetString(data.ToArray());
            Assert.Equal(TunnelMessageType.Data, message.Type);
            data.Write(message.Data.Span);
        }
    }

    private async Task<(ulong, TunnelMessageType)> NextAsync()
    {
        var message = await MessageAsync();
        return (message.Id, message.Type);
    }

    private async Task<TunnelMessage> MessageAsync()
    {
        var (opcode, payload) = await BytesAsync();
        Assert.Equal(WebSocketOpcode.Text, opcode);
        Assert.True(TunnelMessage.TryRead(payload, out var message, out var error), error);
        return message;
    }

    private async Task<(WebSocketOpcode Opcode, string Text)> FrameAsync()
    {
        var (opcode, payload) = await BytesAsync();
        return (opcode, Encoding.ASCII.GetString(payload));
    }

    private async Task<(WebSocketOpcode Opcode, byte[] Payload)> BytesAsync()
    {
        using var limit = new CancellationTokenSource(s_patience);
        while (true)
        {
            var result = await _reader.ReadAsync(limit.Token);
            var buffer = result.Buffer;
            var status = WebSocketFrame.TryRead(ref buffer, isMasked: true, TunnelMessage.SizeMax, out var opcode, out _, out var payload, out var error);
            Assert.True(status != WebSocketFrameStatus.Malformed, error);
            _reader.AdvanceTo(buffer.Start, status == WebSocketFrameStatus.Complete ? buffer.Start : buffer.End);
            if (status == WebSocketFrameStatus.Complete)
                return (opcode, payload);
            Assert.False(result.IsCompleted, "the edge hung up");
        }
    }
}
