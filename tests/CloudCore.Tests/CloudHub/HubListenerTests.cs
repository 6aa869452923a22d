using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;
using Edge.Cloud.CloudHub;
using Edge.Cloud.Configuration;
using Edge.Cloud.Observability;
using Edge.Cloud.Tests.Support;
using Edge.Protocol.Messages;
using Edge.Testing;
using Edge.Transport;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

/// <summary>What comes in by the hub's port, well-formed or not, on real sockets with TLS.</summary>
[Trait("Category", "Sync")]
public sealed class HubListenerTests : IAsyncLifetime
{
    private Support.Cloud _cloud = null!;

    public async Task InitializeAsync() => _cloud = await Support.Cloud.StartAsync();

    public async Task DisposeAsync() => await _cloud.DisposeAsync();

    [Fact]
    public void OpenSsl_gives_back_the_buffers_of_idle_connections()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "needs Linux");
        Assert.True(TlsBuffers.IsAvailable, "SslStream's handle is not where it was; idle nodes will take 14 KB more each");
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nnode_id: edge-1\r\n\r\n", "400", "takes WebSocket connections")]
    [InlineData("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400", "node_id is missing")]
    [InlineData("not http at all\r\n\r\n", "400", "first line")]
    [InlineData("GET / HTTP/1.1\r\nnode_id: edge-1\r\nnode_id: edge-2\r\n\r\n", "400", "stands twice")]
    [InlineData("GET / HTTP/1.1\r\nnode_id: edge-2\r\n\r\n", "403", "is that of node 'edge-1'")]
    public async Task Request_that_cannot_be_served_is_answered_with_the_reason(string request, string code, string reason)
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        await using var tls = await ConnectAsync(certificate);
        await tls.WriteAsync(Encoding.ASCII.GetBytes(request));
        var answer = await ReadToEndAsync(tls);
        Assert.StartsWith($"HTTP/1.1 {code} ", answer, StringComparison.Ordinal);
        Assert.Contains(reason, answer, StringComparison.Ordinal);
        Assert.Contains("X-Refused-Because: ", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Client_without_a_certificate_is_told_so()
    {
        await using var tls = await ConnectAsync(null);
        await tls.WriteAsync("GET / HTTP/1.1\r\nnode_id: edge-1\r\n\r\n"u8.ToArray());
        var answer = await ReadToEndAsync(tls);
        Assert.StartsWith("HTTP/1.1 403 ", answer, StringComparison.Ordinal);
        Assert.Contains("a client certificate is needed", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Peers_that_speak_no_tls_or_nothing_do_not_keep_others_out()
    {
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube);
        var idle = new List<Socket>();
        for (var i = 0; i < 80; i++)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync("127.0.0.1", cloud.Host.WebSocketPort);
            if (i % 2 == 0)
                await socket.SendAsync("GET / HTTP/1.0\r\n\r\n"u8.ToArray());
            idle.Add(socket);
        }

        await using var edge = await cloud.JoinAsync("edge-1");
        await edge.FlushAsync();
        Assert.Contains("edge_cloudhub_failed_handshakes_total", cloud.Host.Metrics.Render(), StringComparison.Ordinal);
        foreach (var socket in idle)
            socket.Dispose();
    }

    [Fact]
    public async Task Storm_is_admitted_at_the_configured_rate_and_all_of_it_gets_in()
    {
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => options with { ConnectionsPerSecond = 10 });
        using var certificate = await cloud.EnrolAsync("edge-1");
        var began = TimeProvider.System.GetTimestamp();
        // Ten are let in at once, the other fifteen at ten a second.
        await Task.WhenAll(Enumerable.Range(0, 25).Select(async _ =>
        {
            await using var tls = await ConnectAsync(certificate, cloud.Host.WebSocketPort);
        }));
        Assert.InRange(TimeProvider.System.GetElapsedTime(began).TotalSeconds, 1.2, 15);
    }

    [Fact]
    public async Task Peers_that_gave_up_while_they_waited_keep_nobody_waiting()
    {
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => options with { ConnectionsPerSecond = 10 });
        using var certificate = await cloud.EnrolAsync("edge-1");
        // Ten are let in at once; the others have their turns in the thirteen seconds after.
        var gone = new List<Socket>();
        for (var i = 0; i < 140; i++)
            gone.Add(await DialAsync(cloud.Host.WebSocketPort));
        for (var i = 0; i < gone.Count; i++)
        {
            if (i % 2 == 0)
                await gone[i].SendAsync(new byte[] { 0x16, 0x03, 0x01, 0x02, 0x00, 0x01 }); // a ClientHello begins so
            gone[i].Dispose();
        }

        var began = TimeProvider.System.GetTimestamp();
        await using var tls = await ConnectAsync(certificate, cloud.Host.WebSocketPort);
        Assert.InRange(TimeProvider.System.GetElapsedTime(began).TotalSeconds, 0, 5);
        Assert.InRange(Figure(cloud.Host.Metrics, "edge_cloudhub_abandoned_connections_total"), 80, 140);
    }

    [Fact]
    public async Task Connections_that_would_have_their_turn_too_late_are_closed_at_once()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        var metrics = new HubMetrics();
        var admitted = Channel.CreateBounded<bool>(100);
        await using var listener = HubListener.Open(
            new ListenOn(true, "127.0.0.1", 0, "x"),
            () =>
            {
                admitted.Writer.TryWrite(true);
                return new SslServerAuthenticationOptions();
            },
            _ => Task.CompletedTask, new AdmissionLimits { HandshakeWithin = TimeSpan.FromSeconds(2) }, new AdmissionRate(10, time), time, metrics, NullLogger.Instance);
        listener.Serve();
        var sockets = new List<Socket>();
        for (var i = 0; i < 10; i++)
        {
            sockets.Add(await DialAsync(listener.Port));
            await admitted.Reader.ReadAsync().AsTask().WaitAsync(Patience.Of(TimeSpan.FromSeconds(20)));
        }

        // Ten a second for two seconds: twenty wait, the other five are told by the end of their connection.
        for (var i = 0; i < 25; i++)
            sockets.Add(await DialAsync(listener.Port));
        foreach (var socket in sockets.Skip(30))
            Assert.Equal(0, await socket.ReceiveAsync(new byte[1]).WaitAsync(Patience.Of(TimeSpan.FromSeconds(20))));
        Assert.Equal((20, 5L), (listener.Waiting, Figure(metrics, "edge_cloudhub_refused_connections_total")));
        foreach (var socket in sockets)
            socket.Dispose();
    }

    [SkippableFact]
    public async Task Peer_that_closed_is_known_before_what_it_sent_is_read()
    {
        using var listening = new Socket(SocketType.Stream, ProtocolType.Tcp);
        listening.Bind(new IPEndPoint(IPAddress.IPv6Loopback, 0));
        listening.Listen();
        var (silent, silentPeer) = await PairAsync();
        Assert.True(HubListener.PeerIsThere(silentPeer));
        silent.Dispose();
        await Eventually.HoldsAsync(() => !HubListener.PeerIsThere(silentPeer));
        Skip.IfNot(OperatingSystem.IsLinux(), "needs Linux");
        var (spoke, spokePeer) = await PairAsync();
        await spoke.SendAsync(new byte[] { 1 });
        await Eventually.HoldsAsync(() => spokePeer.Available == 1);
        Assert.True(HubListener.PeerIsThere(spokePeer));
        spoke.Dispose();
        await Eventually.HoldsAsync(() => !HubListener.PeerIsThere(spokePeer));
        Assert.Equal(1, spokePeer.Available);
        var (reset, resetPeer) = await PairAsync();
        reset.Close(0);
        await Eventually.HoldsAsync(() => !HubListener.PeerIsThere(resetPeer));
        silentPeer.Dispose();
        spokePeer.Dispose();
        resetPeer.Dispose();

        async Task<(Socket Peer, Socket Accepted)> PairAsync()
        {
            var peer = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await peer.ConnectAsync(listening.LocalEndPoint!);
            return (peer, await listening.AcceptAsync());
        }
    }

    [Fact]
    public async Task Edge_peer_is_agreed_on_by_a_header_and_gets_its_keepalive_answered()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        Assert.True(edge.IsEdgeWire);
        await edge.SendAsync(Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node");
        Assert.Equal(Operations.Keepalive, (await edge.ReceiveAsync())!.Operation);
    }

    [Fact]
    public async Task Stock_edge_gets_no_answer_to_its_keepalive()
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        Assert.False(edge.IsEdgeWire);
        await edge.SendAsync(Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node");
        await edge.FlushAsync();
        Assert.DoesNotContain(edge.Received, message => message.Operation == Operations.Keepalive);
    }

    [Fact]
    public async Task Edge_peer_that_sends_a_frame_that_cannot_be_read_keeps_its_connection()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        await edge.SendFrameAsync([0x07, 0xff, 0xff]);
        await edge.SendFrameAsync([0x02, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        await edge.SendAsync(Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node");
        Assert.Equal(Operations.Keepalive, (await edge.ReceiveAsync())!.Operation);
    }

    private async Task<SslStream> ConnectAsync(System.Security.Cryptography.X509Certificates.X509Certificate2? certificate, int port = 0)
    {
        var socket = await DialAsync(port == 0 ? _cloud.Host.WebSocketPort : port);
        var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "127.0.0.1",
            ClientCertificates = certificate is null ? null : [certificate],
            RemoteCertificateValidationCallback = (_, server, _, _) => server?.Issuer == "CN=KubeEdge",
        });
        return tls;
    }

    private static async Task<Socket> DialAsync(int port)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync("127.0.0.1", port);
        return socket;
    }

    private static long Figure(HubMetrics metrics, string name)
        => long.Parse(metrics.Render().Split('\n').Single(line => line.StartsWith(name + " ", StringComparison.Ordinal)).Split(' ')[1], CultureInfo.InvariantCulture);

    private static async Task<string> ReadToEndAsync(SslStream tls)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        using var reader = new StreamReader(tls);
        return await reader.ReadToEndAsync(limit.Token);
    }
}
