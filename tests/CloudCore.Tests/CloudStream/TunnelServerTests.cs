using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Cloud.CloudStream;
using Edge.Cloud.Configuration;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Tunnel;
using Edge.Testing;
using Edge.Transport;

namespace Edge.Cloud.Tests.CloudStream;

/// <summary>KubeEdge's tunnel: a stock edge dials, and what kubectl asks of its pods goes over it.</summary>
[Trait("Category", "Kubernetes")]
public sealed class TunnelServerTests : IDisposable
{
    private readonly TempDirectory _files = new();

    // Its own CA.
    private readonly X509Certificate2 _administrator = SelfSigned("O=system:masters, CN=admin");

    public void Dispose()
    {
        _administrator.Dispose();
        _files.Dispose();
    }

    [Fact]
    public async Task Only_the_nodes_own_certificate_opens_its_tunnel()
    {
        await using var cloud = await StartAsync();
        using var certificate = await cloud.EnrolAsync("edge-1");
        Assert.Equal((401, true), await RefusedAsync("edge-1", null, "no client certificate"));
        Assert.Equal((403, true), await RefusedAsync("edge-2", certificate, "the certificate is node"));
        using var stranger = SelfSigned("O=system:nodes, CN=system:node:edge-1");
        Assert.Equal(401, (await StockTunnel.DialAsync(cloud.Host.TunnelPort, "edge-1", stranger)).Status);
        var (tunnel, status, answer) = await StockTunnel.DialAsync(cloud.Host.TunnelPort, "edge-1", certificate);
        await using var open = tunnel;
        Assert.True(status == 101, answer);

        async Task<(int, bool)> RefusedAsync(string node, X509Certificate2? shown, string reason)
        {
            var refused = await StockTunnel.DialAsync(cloud.Host.TunnelPort, node, shown);
            return (refused.Status, refused.Answer.Contains(reason, StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task A_log_comes_over_the_tunnel_byte_for_byte_when_an_API_server_asks()
    {
        await using var cloud = await StartAsync();
        var (edge, tunnel) = await JoinAsync(cloud, "edge-1");
        await using (edge)
        await using (tunnel)
        {
            await cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
            using var http = FakeEdge.Http(_administrator);
            var asking = http.GetAsync($"https://127.0.0.1:{cloud.Host.StreamPort}/containerLogs/default/web/c?follow=true&tailLines=5");
            var asked = await AskedAsync(tunnel, asking);
            Assert.Equal((TunnelMessageType.LogsConnect, "/containerLogs/default/web/c", "follow=true&tailLines=5"), (asked.Type, asked.Path, asked.RawQuery));
            // As text it is not UTF-8, which the tunnel must not mind.
            var log = new byte[10_000];
            new Random(1).NextBytes(log);
            await tunnel.SendDataAsync(asked.Id, log);
            await tunnel.SendAsync(asked.Id, TunnelMessageType.RemoveConnect);
            using var answer = await asking;
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            Assert.Equal(log, await answer.Content.ReadAsByteArrayAsync());
        }
    }

    [Fact]
    public async Task An_exec_passes_the_upgrade_and_bytes_both_ways_and_the_edge_is_told_its_end()
    {
        await using var cloud = await StartAsync();
        var (edge, tunnel) = await JoinAsync(cloud, "edge-1");
        await using (edge)
        await using (tunnel)
        {
            await using (var stream = await cloud.Host.OpenNodeStreamAsync("edge-1", CancellationToken.None))
            {
                await stream.WriteAsync(
                    "POST /exec/default/web/c?command=cat&input=1&output=1 HTTP/1.1\r\nHost: edge-1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nAuthorization: Bearer secret\r\n\r\nfirst"u8.ToArray());
                var asked = await tunnel.NextConnectAsync();
                Assert.Equal((TunnelMessageType.ExecConnect, "POST", "command=cat&input=1&output=1"), (asked.Type, asked.Method, asked.RawQuery));
                Assert.Contains(new KeyValuePair<string, string>("Upgrade", "SPDY/3.1"), asked.Headers);
                Assert.DoesNotContain(asked.Headers, header => header.Value.Contains("secret", StringComparison.Ordinal));
                Assert.Equal("first", Encoding.ASCII.GetString((await tunnel.NextAsync()).Data.Span));
                const string answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
                await tunnel.SendDataAsync(asked.Id, Encoding.ASCII.GetBytes(answer + "said"));
                Assert.Equal(answer + "said", Encoding.ASCII.GetString(await ReadAsync(stream, answer.Length + 4)));
                await stream.WriteAsync("more"u8.ToArray());
                Assert.Equal("more", Encoding.ASCII.GetString((await tunnel.NextAsync()).Data.Span));
            }

            Assert.Equal(TunnelMessageType.RemoveConnect, (await tunnel.NextAsync()).Type);
            await tunnel.SendFrameAsync(WebSocketOpcode.Ping, "ping you"u8.ToArray());
            var (opcode, payload) = await tunnel.NextFrameAsync();
            Assert.Equal((WebSocketOpcode.Pong, "ping you"), (opcode, Encoding.ASCII.GetString(payload)));
        }
    }

    [Fact]
    public async Task A_stock_edge_without_a_tunnel_is_told_what_it_lacks_and_one_that_dials_again_replaces_the_first()
    {
        await using var cloud = await StartAsync();
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, "edge-1", certificate);
        await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
        var e = await Assert.ThrowsAsync<NodeStreamException>(async () => await cloud.Host.OpenNodeStreamAsync("edge-1", CancellationToken.None));
        Assert.Contains("modules.edgeStream", e.Message, StringComparison.Ordinal);

        await using var first = await DialAsync(cloud, "edge-1", certificate);
        await using var second = await DialAsync(cloud, "edge-1", certificate);
        await Assert.ThrowsAnyAsync<IOException>(first.NextFrameAsync);
        await using var stream = await cloud.Host.OpenNodeStreamAsync("edge-1", CancellationToken.None);
        await stream.WriteAsync("GET /containerLogs/default/web/c HTTP/1.1\r\nHost: edge-1\r\n\r\n"u8.ToArray());
        Assert.Equal("/containerLogs/default/web/c", (await second.NextConnectAsync()).Path);
    }

    private static async Task<TunnelConnect> AskedAsync(StockTunnel tunnel, Task<HttpResponseMessage> asking)
    {
        var asked = tunnel.NextConnectAsync();
        if (await Task.WhenAny(asked, asking) == asking && !(await asking).IsSuccessStatusCode)
            Assert.Fail($"{(await asking).StatusCode}: {await (await asking).Content.ReadAsStringAsync()}");
        return await asked;
    }

    private static async Task<byte[]> ReadAsync(Stream stream, int length)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var bytes = new byte[length];
        for (var held = 0; held < length;)
        {
            var read = await stream.ReadAsync(bytes.AsMemory(held), limit.Token);
            Assert.True(read > 0, "the stream ended");
            held += read;
        }

        return bytes;
    }

    private static async Task<(FakeEdge Edge, StockTunnel Tunnel)> JoinAsync(Support.Cloud cloud, string node)
    {
        using var certificate = await cloud.EnrolAsync(node);
        var edge = await FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, node, certificate);
        await edge.AskAsync("insert", $"null/node/{node}", Support.Cloud.NodeOf(node));
        return (edge, await DialAsync(cloud, node, certificate));
    }

    // The answer to the upgrade is on its way before the tunnel is the node's; who answers a ping serves it.
    private static async Task<StockTunnel> DialAsync(Support.Cloud cloud, string node, X509Certificate2 certificate)
    {
        var tunnel = (await StockTunnel.DialAsync(cloud.Host.TunnelPort, node, certificate)).Tunnel ?? throw new InvalidOperationException("the tunnel was refused");
        await tunnel.SendFrameAsync(WebSocketOpcode.Ping, []);
        Assert.Equal(WebSocketOpcode.Pong, (await tunnel.NextFrameAsync()).Opcode);
        return tunnel;
    }

    private Task<Support.Cloud> StartAsync()
    {
        var ca = _files.File("client-ca.pem");
        File.WriteAllText(ca, _administrator.ExportCertificatePem());
        return Support.Cloud.StartAsync(null, options => options with
        {
            CloudStream = new CloudStreamOptions
            {
                Listen = new ListenOn(true, "127.0.0.1", 0, "modules.cloudStream.streamPort"), ClientCaFile = ca,
                Tunnel = new ListenOn(true, "127.0.0.1", 0, "modules.cloudStream.tunnelPort"),
            },
        });
    }

    private static X509Certificate2 SelfSigned(string subject)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], false));
        return request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
    }
}
