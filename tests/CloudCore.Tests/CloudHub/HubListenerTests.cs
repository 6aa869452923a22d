using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Edge.Cloud.CloudHub;
using Edge.Cloud.Tests.Support;
using Edge.Protocol.Messages;
using Edge.Transport;

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
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync("127.0.0.1", port == 0 ? _cloud.Host.WebSocketPort : port);
        var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "127.0.0.1",
            ClientCertificates = certificate is null ? null : [certificate],
            RemoteCertificateValidationCallback = (_, server, _, _) => server?.Issuer == "CN=KubeEdge",
        });
        return tls;
    }

    private static async Task<string> ReadToEndAsync(SslStream tls)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        using var reader = new StreamReader(tls);
        return await reader.ReadToEndAsync(limit.Token);
    }
}
