using System.Net;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Cloud.CloudStream;
using Edge.Cloud.Configuration;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Cloud.Tests.CloudStream;

/// <summary>The kubelet's endpoint of edge nodes: who may call, and which cloudcore leads a request to the node.</summary>
[Trait("Category", "Kubernetes")]
public sealed class KubeletServerTests : IDisposable
{
    private readonly TempDirectory _files = new();
    private readonly TestAuthority _cluster = new("CN=kubernetes");

    public void Dispose()
    {
        _cluster.Dispose();
        _files.Dispose();
    }

    [Theory]
    [InlineData("GET", "/containerLogs/ns/p/c", "containerLogs", "/containerLogs/ns/p/c")]
    [InlineData("POST", "/exec/ns/p/uid-1/c", "exec", "/exec/ns/p/c")]
    [InlineData("GET", "/attach/ns/p/c", "attach", "/attach/ns/p/c")]
    [InlineData("POST", "/portForward/ns/p/uid-1", "portForward", "/portForward/ns/p")]
    [InlineData("GET", "/containerLogs/ns/p/a b", "containerLogs", "/containerLogs/ns/p/a%20b")]
    [InlineData("GET", "/stats/summary", "stats", "/stats/summary")]
    public void A_kubelets_paths_are_read(string method, string path, string verb, string target)
    {
        var request = KubeletRequest.Read(method, path, out _, out _);
        Assert.Equal((verb, target), (request?.Verb, request?.Target));
    }

    [Theory]
    [InlineData("GET", "/configz", 404)]
    [InlineData("GET", "/containerLogs/ns/p", 404)]
    [InlineData("GET", "/run/ns/p/c", 404)]
    [InlineData("POST", "/containerLogs/ns/p/c", 405)]
    [InlineData("DELETE", "/exec/ns/p/c", 405)]
    public void What_is_not_served_is_refused(string method, string path, int code)
    {
        Assert.Null(KubeletRequest.Read(method, path, out var refused, out _));
        Assert.Equal(code, refused);
    }

    [Fact]
    public async Task Only_an_api_servers_certificate_opens_the_endpoint()
    {
        await using var cloud = await StartAsync(null);
        using var stranger = new TestAuthority("CN=kubernetes");
        using var node = await cloud.EnrolAsync("edge-1");
        Assert.Equal(401, await StatusAsync(cloud, null, "/healthz"));
        Assert.Equal(401, await StatusAsync(cloud, stranger.Client("CN=kube-apiserver-kubelet-client"), "/healthz"));
        Assert.Equal(403, await StatusAsync(cloud, _cluster.Client("CN=somebody"), "/healthz"));
        Assert.Equal(403, await StatusAsync(cloud, node, "/healthz"));
        Assert.Equal(200, await StatusAsync(cloud, _cluster.Client("CN=kube-apiserver-kubelet-client"), "/healthz"));
        Assert.Equal(200, await StatusAsync(cloud, _cluster.Client("O=system:masters, CN=any"), "/healthz"));
        Assert.Equal(401, await StatusAsync(cloud, _cluster.Client("CN=kube-apiserver-kubelet-client", TimeSpan.FromDays(-1)), "/healthz"));
        Assert.Equal(404, await StatusAsync(cloud, _cluster.Client("CN=kube-apiserver-kubelet-client"), "/containerLogs/default/none/c"));
    }

    [Fact]
    public async Task A_request_reaches_the_node_from_the_cloudcore_that_has_it_and_from_another()
    {
        var kube = new FakeKube();
        await using var first = await StartAsync(kube);
        await using var second = await StartAsync(kube);
        using var certificate = await first.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(first.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
        await first.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        // The second sees by its watch where the node is.
        using var apiServer = _cluster.Client("CN=kube-apiserver-kubelet-client");
        foreach (var asked in (Support.Cloud[])[first, second])
        {
            using var http = FakeEdge.Http(apiServer);
            var answer = http.GetAsync($"https://127.0.0.1:{asked.Host.StreamPort}/containerLogs/default/web/c?follow=true");
            var serving = ServeStreamAsync(edge, first.Host.WebSocketPort, certificate, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n");
            if (await Task.WhenAny(answer, serving) == answer && !(await answer).IsSuccessStatusCode)
                Assert.Fail($"{(await answer).StatusCode}: {await (await answer).Content.ReadAsStringAsync()}");
            var head = await serving;
            Assert.StartsWith("GET /containerLogs/default/web/c?follow=true HTTP/1.1\r\n", head, StringComparison.Ordinal);
            Assert.Equal("hello\n", await (await answer).Content.ReadAsStringAsync());
        }

        // The node goes away: whoever is asked says so.
        await edge.DisposeAsync();
        foreach (var asked in (Support.Cloud[])[first, second])
        {
            using var http = FakeEdge.Http(apiServer);
            HttpResponseMessage gone;
            do
            {
                // The end of the link is noticed a moment later; until then the node is asked in vain.
                gone = await http.GetAsync($"https://127.0.0.1:{asked.Host.StreamPort}/containerLogs/default/web/c");
                Assert.Equal(HttpStatusCode.ServiceUnavailable, gone.StatusCode);
            }
            while (!(await gone.Content.ReadAsStringAsync()).Contains("not connected", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Requests_about_nodes_behind_one_address_are_told_apart_by_the_name_that_was_dialed()
    {
        var kube = new FakeKube();
        await using var cloud = await StartAsync(kube, new CloudStreamOptions { NodeAddress = "192.0.2.9", NodeDomain = "edge.example" });
        using var apiServer = _cluster.Client("CN=kube-apiserver-kubelet-client");
        foreach (var node in (string[])["edge-1", "edge-2"])
        {
            using var certificate = await cloud.EnrolAsync(node);
            await using var edge = await FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, node, certificate, isEdgeWire: true);
            await edge.AskAsync("insert", $"null/node/{node}", Support.Cloud.NodeOf(node));
            await cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("of-" + node, node));
            using var http = Unnamed(apiServer);
            using (var pods = await AskAsync(http, cloud, "/pods", $"{node}.Edge.Example:10003"))
            {
                var text = await pods.Content.ReadAsStringAsync();
                Assert.True(pods.IsSuccessStatusCode, text);
                Assert.Contains($"\"of-{node}\"", text, StringComparison.Ordinal);
            }

            var answer = AskAsync(http, cloud, "/stats/summary", $"{node}.edge.example:10003");
            var head = await ServeStreamAsync(edge, cloud.Host.WebSocketPort, certificate, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
            Assert.StartsWith("GET /stats/summary? HTTP/1.1\r\n", head, StringComparison.Ordinal);
            Assert.Equal("{}", await (await answer).Content.ReadAsStringAsync());
            foreach (var host in (string[])["192.0.2.9:10003", "edge-3.edge.example:10003", "edge.example:10003", $"{node}.other.example:10003"])
            {
                using var unknown = await AskAsync(http, cloud, "/stats/summary", host);
                Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
                Assert.Contains("nodeDomain", await unknown.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            }
        }
    }

    // As an API server without --kubelet-certificate-authority: the certificate names none of the nodes.
    private static HttpClient Unnamed(X509Certificate2 certificate) => new(new SocketsHttpHandler
    {
        SslOptions = { ClientCertificates = [certificate], RemoteCertificateValidationCallback = static (_, server, _, _) => server?.Issuer.EndsWith("CN=KubeEdge", StringComparison.Ordinal) == true },
    });

    private static async Task<HttpResponseMessage> AskAsync(HttpClient http, Support.Cloud cloud, string path, string host)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"https://127.0.0.1:{cloud.Host.StreamPort}{path}");
        request.Headers.Host = host;
        return await http.SendAsync(request);
    }

    [Fact]
    public void A_nodes_status_leads_api_servers_to_the_endpoint()
    {
        var status = System.Text.Json.Nodes.JsonNode.Parse(
            """{"addresses":[{"type":"InternalIP","address":"10.0.0.7"},{"type":"Hostname","address":"edge-1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":10350}}}""")!.AsObject();
        NodeEndpoint.Redirect("edge-1", null, status, new CloudStreamOptions(), 10003);
        Assert.Equal(10003, status.Number(0, "daemonEndpoints", "kubeletEndpoint", "Port"));
        Assert.Equal(["10.0.0.7", "edge-1"], status.Items("addresses").Select(one => one.Text("address")));
        NodeEndpoint.Redirect("edge-1", null, status, new CloudStreamOptions { NodeAddress = "192.0.2.9" }, 10003);
        Assert.Equal(["InternalIP 192.0.2.9", "Hostname 192.0.2.9", "ExternalIP 10.0.0.7"], status.Items("addresses").Select(one => $"{one.Text("type")} {one.Text("address")}"));
        // With a domain each has a name of its own, whatever it calls itself; its address stays where none is given in its place.
        NodeEndpoint.Redirect("edge-1", null, status, new CloudStreamOptions { NodeAddress = "192.0.2.9", NodeDomain = "edge.example" }, 10003);
        Assert.Equal(["InternalIP 192.0.2.9", "Hostname edge-1.edge.example"], status.Items("addresses").Select(one => $"{one.Text("type")} {one.Text("address")}"));
        status["addresses"] = System.Text.Json.Nodes.JsonNode.Parse("""[{"type":"InternalIP","address":"10.0.0.7"},{"type":"Hostname","address":"edge-2.edge.example"}]""");
        NodeEndpoint.Redirect("edge-1", null, status, new CloudStreamOptions { NodeDomain = "edge.example" }, 10003);
        Assert.Equal(["InternalIP 10.0.0.7", "Hostname edge-1.edge.example"], status.Items("addresses").Select(one => $"{one.Text("type")} {one.Text("address")}"));
        // A report that says nothing of it, as each of a stock edge after its registration, and of one that came from another cloud: the port is said for it, and the addresses once.
        var addressed = new CloudStreamOptions { NodeAddress = "192.0.2.9" };
        var node = new System.Text.Json.Nodes.JsonObject { ["status"] = new System.Text.Json.Nodes.JsonObject { ["addresses"] = System.Text.Json.Nodes.JsonNode.Parse("""[{"type":"InternalIP","address":"10.0.0.7"},{"type":"Hostname","address":"edge-1"}]""") } };
        var patch = Report(node, addressed);
        Assert.Equal(10003, patch.Number(0, "daemonEndpoints", "kubeletEndpoint", "Port"));
        Assert.Equal(["InternalIP 192.0.2.9", "Hostname 192.0.2.9", "ExternalIP 10.0.0.7"], patch.Items("addresses").Select(one => $"{one.Text("type")} {one.Text("address")}"));
        node["status"]!["addresses"] = patch["addresses"]!.DeepClone();
        Assert.Equal(["daemonEndpoints"], Report(node, addressed).Select(one => one.Key));
        Assert.Equal(["InternalIP 192.0.2.10", "Hostname 192.0.2.10", "ExternalIP 10.0.0.7"],
            Report(node, new CloudStreamOptions { NodeAddress = "192.0.2.10" }).Items("addresses").Select(one => $"{one.Text("type")} {one.Text("address")}"));
        Assert.Equal(["daemonEndpoints"], Report(null, addressed).Select(one => one.Key));
        Assert.Equal(["daemonEndpoints"], Report(node, new CloudStreamOptions()).Select(one => one.Key));
    }

    private static System.Text.Json.Nodes.JsonObject Report(System.Text.Json.Nodes.JsonObject? known, CloudStreamOptions options)
    {
        var patch = new System.Text.Json.Nodes.JsonObject();
        NodeEndpoint.Redirect("edge-1", known, patch, options, 10003);
        return patch;
    }

    // What the node does when it is asked for a stream; returns the request's head as it came down.
    private static async Task<string> ServeStreamAsync(FakeEdge edge, int port, X509Certificate2 certificate, string answer)
    {
        var ask = await edge.UntilAsync(message => message.Group == Groups.Stream);
        edge.Received.Clear();
        using var socket = new ClientWebSocket();
        socket.Options.ClientCertificates = [certificate];
        socket.Options.RemoteCertificateValidationCallback = (_, server, _, _) => server?.Issuer == "CN=KubeEdge";
        socket.Options.SetRequestHeader("node_id", edge.Node);
        socket.Options.SetRequestHeader("project_id", "e632aba927ea4ac2b575ec1603d56f10");
        socket.Options.SetRequestHeader("ConnectionUse", NodeStreamWire.ConnectionUse);
        socket.Options.SetRequestHeader(NodeStreamWire.Header, ask.Resource[NodeStreamWire.ResourcePrefix.Length..]);
        await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{port}/p/{edge.Node}/stream"), CancellationToken.None);
        await using var stream = WebSocketStream.Create(socket, WebSocketMessageType.Binary, TimeSpan.FromSeconds(5));
        var buffer = new byte[16 * 1024];
        var held = 0;
        while (!Encoding.ASCII.GetString(buffer, 0, held).Contains("\r\n\r\n", StringComparison.Ordinal))
        {
            var read = await stream.ReadAsync(buffer.AsMemory(held));
            Assert.True(read > 0, "the stream ended before the request's head did");
            held += read;
        }

        await stream.WriteAsync(Encoding.ASCII.GetBytes(answer));
        return Encoding.ASCII.GetString(buffer, 0, held);
    }

    private static async Task<int> StatusAsync(Support.Cloud cloud, X509Certificate2? client, string path)
    {
        using var http = FakeEdge.Http(client);
        return (int)(await http.GetAsync($"https://127.0.0.1:{cloud.Host.StreamPort}{path}")).StatusCode;
    }

    private Task<Support.Cloud> StartAsync(FakeKube? kube, CloudStreamOptions? stream = null)
    {
        var ca = _files.File("client-ca.pem");
        File.WriteAllText(ca, _cluster.Pem);
        return Support.Cloud.StartAsync(kube, options => options with
        {
            CloudStream = (stream ?? new CloudStreamOptions()) with { Listen = new ListenOn(true, "127.0.0.1", 0, "modules.cloudStream.streamPort"), ClientCaFile = ca },
        });
    }

    /// <summary>A CA of a test, as a cluster has one.</summary>
    private sealed class TestAuthority : IDisposable
    {
        private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        private readonly X509Certificate2 _certificate;

        public TestAuthority(string name)
        {
            var request = new CertificateRequest(name, _key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, true));
            _certificate = request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-10), TimeProvider.System.GetUtcNow().AddDays(10));
        }

        public string Pem => _certificate.ExportCertificatePem();

        public X509Certificate2 Client(string subject, TimeSpan? until = null)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], false));
            var now = TimeProvider.System.GetUtcNow();
            using var bare = request.Create(_certificate, now.AddDays(-5), now + (until ?? TimeSpan.FromDays(5)), RandomNumberGenerator.GetBytes(8));
            return bare.CopyWithPrivateKey(key);
        }

        public void Dispose()
        {
            _certificate.Dispose();
            _key.Dispose();
        }
    }
}
