using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Common.Configuration;
using Microsoft.AspNetCore.Http;

namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class ProxyTests
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    [Theory]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://p:1", "http://p:1/")]
    [InlineData("https://kube.example", "https_proxy=p:1", "http://p:1/")]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://a:1 https_proxy=http://b:1", "http://a:1/")]
    [InlineData("https://kube.example", "HTTP_PROXY=http://p:1", null)]
    [InlineData("http://kube.example", "HTTP_PROXY=socks5://p:1", "socks5://p:1/")]
    [InlineData("https://kube.example", "ALL_PROXY=http://p:1", null)]
    [InlineData("https://localhost:6443", "HTTPS_PROXY=http://p:1", null)]
    [InlineData("https://127.1.2.3:6443", "HTTPS_PROXY=http://p:1", null)]
    [InlineData("https://[::1]:6443", "HTTPS_PROXY=http://p:1", null)]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://p:1 NO_PROXY=*", null)]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://p:1 NO_PROXY=other,example", null)]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://p:1 no_proxy=KUBE.example", null)]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://p:1 NO_PROXY=.kube.example", "http://p:1/")]
    [InlineData("https://a.kube.example", "HTTPS_PROXY=http://p:1 NO_PROXY=*.kube.example", null)]
    [InlineData("https://mykube.example", "HTTPS_PROXY=http://p:1 NO_PROXY=kube.example", "http://p:1/")]
    [InlineData("https://kube.example:6443", "HTTPS_PROXY=http://p:1 NO_PROXY=kube.example:6443", null)]
    [InlineData("https://kube.example", "HTTPS_PROXY=http://p:1 NO_PROXY=kube.example:6443", "http://p:1/")]
    [InlineData("https://10.1.2.3:6443", "HTTPS_PROXY=http://p:1 NO_PROXY=10.0.0.0/8", null)]
    [InlineData("https://11.1.2.3:6443", "HTTPS_PROXY=http://p:1 NO_PROXY=10.0.0.0/8", "http://p:1/")]
    [InlineData("https://10.1.2.3:6443", "HTTPS_PROXY=http://p:1 NO_PROXY=10.1.2.3:6443", null)]
    [InlineData("https://[2001:db8::1]:6443", "HTTPS_PROXY=http://p:1 NO_PROXY=2001:db8::1", null)]
    [InlineData("https://[2001:db8::1]:6443", "HTTPS_PROXY=http://p:1 NO_PROXY=[2001:db8::1]:6443", null)]
    public void The_environment_is_read_as_by_client_go(string server, string environment, string? proxy)
        => Assert.Equal(proxy, ProxyChoice.For(new Uri(server), null, Environment(environment))?.AbsoluteUri);

    [Fact]
    public void The_kubeconfigs_proxy_holds_for_every_server_and_an_unfit_one_is_an_error_without_its_password()
    {
        Assert.Equal("http://q:1/", ProxyChoice.For(new Uri("https://127.0.0.1"), new Uri("http://q:1"), Environment("HTTPS_PROXY=http://p:1 NO_PROXY=*"))!.AbsoluteUri);
        var error = Assert.Throws<ConfigException>(() => ProxyChoice.For(new Uri("https://kube"), null, Environment("HTTPS_PROXY=ftp://me:secret@p:1")));
        Assert.Contains("HTTPS_PROXY is not the URL of a proxy", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<ConfigException>(() => Kubeconfig.Parse("/tmp/c", Config("https://kube", "ftp://me:secret@p:1")));
        Assert.Contains("/tmp/c: proxy-url of the cluster of context 'x' must be a URL", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
        Assert.Equal("socks5", Kubeconfig.Parse("/tmp/c", Config("https://kube", "socks5://p:1")).ProxyUrl!.Scheme);
    }

    [Theory]
    [InlineData("http://")]
    [InlineData("http://me:pass%40word@")]
    [InlineData("socks5://")]
    public async Task Requests_and_watches_go_through_the_proxy_of_the_kubeconfig(string scheme)
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(
            context.Request.Query.ContainsKey("watch") ? """{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}""" + "\n" : "{}"));
        await using var proxy = new TunnelProxy(wantsUser: scheme.Contains('@', StringComparison.Ordinal));
        var options = Kubeconfig.Parse("/tmp/c", Config(peer.Address.AbsoluteUri, $"{scheme}127.0.0.1:{proxy.Port}")) with { CertificateAuthorityPem = peer.CaPem };
        using var client = new KubeClient(options, TimeProvider.System);
        await client.GetAsync(ResourceKind.Node, null, "n", s_none);
        await foreach (var change in client.WatchAsync(ResourceKind.Node, null, "0", new ListOptions(), s_none))
            Assert.Equal("a", change.Object.Name());
        Assert.Contains($"127.0.0.1:{peer.Address.Port}", proxy.Targets);
        Assert.All(proxy.Users, user => Assert.Equal("me:pass@word", user));
        Assert.Equal(scheme.Contains('@', StringComparison.Ordinal), !proxy.Users.IsEmpty);

        // Its certificate is checked at the far end of the tunnel.
        using var wrong = new KubeClient(options with { CertificateAuthorityPem = null }, TimeProvider.System);
        Assert.Contains("certificate", (await Assert.ThrowsAsync<KubeException>(() => wrong.GetAsync(ResourceKind.Node, null, "n", s_none))).Message, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task The_name_of_the_servers_certificate_holds_through_a_proxy_too()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync("{}"), name: "kube.example");
        await using var proxy = new TunnelProxy();
        using var client = new KubeClient(peer.Options with { TlsServerName = "kube.example", ProxyUrl = new Uri($"http://127.0.0.1:{proxy.Port}") }, TimeProvider.System);
        await client.GetAsync(ResourceKind.Node, null, "n", s_none);
        Assert.Equal([$"127.0.0.1:{peer.Address.Port}"], proxy.Targets);
    }

    [Fact]
    public async Task A_proxy_that_is_not_there_is_an_exception_with_code_zero()
    {
        int port;
        await using (var proxy = new TunnelProxy())
            port = proxy.Port;
        using var client = new KubeClient(new KubeClientOptions { Server = new Uri("https://kube.example"), ProxyUrl = new Uri($"http://127.0.0.1:{port}") }, TimeProvider.System);
        Assert.Equal(0, (await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Node, null, "n", s_none))).Code);
    }

    private static string Config(string server, string proxy) => $$$"""
        current-context: x
        contexts: [{name: x, context: {cluster: c}}]
        clusters: [{name: c, cluster: {server: "{{{server}}}", proxy-url: "{{{proxy}}}"}}]
        """;

    private static Func<string, string?> Environment(string text)
    {
        var values = text.Split(' ').Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]);
        return name => values.GetValueOrDefault(name);
    }

    /// <summary>A proxy that speaks CONNECT (RFC 9110 §9.3.6) and SOCKS5 without a user (RFC 1928), and notes where it was asked to go.</summary>
    private sealed class TunnelProxy : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly bool _wantsUser;
        private readonly Task _accepting;

        public TunnelProxy(bool wantsUser = false)
        {
            _wantsUser = wantsUser;
            _listener.Start();
            _accepting = AcceptAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public ConcurrentQueue<string> Targets { get; } = new();

        public ConcurrentQueue<string> Users { get; } = new();

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Stop();
            await _accepting;
            _stop.Dispose();
        }

        private async Task AcceptAsync()
        {
            var tunnels = new List<Task>();
            try
            {
                while (true)
                    tunnels.Add(ServeAsync(await _listener.AcceptTcpClientAsync(_stop.Token)));
            }
            catch (OperationCanceledException)
            {
                await Task.WhenAll(tunnels);
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            using var inner = client;
            var stream = client.GetStream();
            try
            {
                var first = new byte[1];
                await stream.ReadExactlyAsync(first, _stop.Token);
                var target = first[0] == 5 ? await SocksAsync(stream) : await ConnectAsync(stream);
                if (target is null)
                    return;
                Targets.Enqueue(target);
                using var server = new TcpClient();
                await server.ConnectAsync(IPEndPoint.Parse(target), _stop.Token);
                await stream.WriteAsync(first[0] == 5 ? [5, 0, 0, 1, 0, 0, 0, 0, 0, 0] : "HTTP/1.1 200 OK\r\n\r\n"u8.ToArray(), _stop.Token);
                await Task.WhenAny(stream.CopyToAsync(server.GetStream(), _stop.Token), server.GetStream().CopyToAsync(stream, _stop.Token));
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                // One of the two went; so does the other.
            }
        }

        private async Task<string?> ConnectAsync(NetworkStream stream)
        {
            while (true)
            {
                var head = new StringBuilder();
                var one = new byte[1];
                while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
                {
                    await stream.ReadExactlyAsync(one, _stop.Token);
                    head.Append((char)one[0]);
                }

                var lines = head.ToString().Split("\r\n");
                if (lines.FirstOrDefault(line => line.StartsWith("Proxy-Authorization: Basic ", StringComparison.OrdinalIgnoreCase)) is { } user)
                    Users.Enqueue(Encoding.UTF8.GetString(Convert.FromBase64String(user["Proxy-Authorization: Basic ".Length..])));
                else if (_wantsUser)
                {
                    await stream.WriteAsync("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\nContent-Length: 0\r\n\r\n"u8.ToArray(), _stop.Token);
                    continue;
                }

                return lines[0].Split(' ')[1];
            }
        }

        private async Task<string?> SocksAsync(NetworkStream stream)
        {
            var count = new byte[1];
            await stream.ReadExactlyAsync(count, _stop.Token);
            await stream.ReadExactlyAsync(new byte[count[0]], _stop.Token);
            await stream.WriteAsync(new byte[] { 5, 0 }, _stop.Token);
            var request = new byte[4];
            await stream.ReadExactlyAsync(request, _stop.Token);
            byte[] address;
            if (request[3] == 1)
            {
                address = new byte[4];
            }
            else
            {
                await stream.ReadExactlyAsync(count, _stop.Token);
                address = new byte[count[0]];
            }

            await stream.ReadExactlyAsync(address, _stop.Token);
            var port = new byte[2];
            await stream.ReadExactlyAsync(port, _stop.Token);
            return $"{(request[3] == 1 ? new IPAddress(address).ToString() : Encoding.ASCII.GetString(address))}:{(port[0] << 8) + port[1]}";
        }
    }
}
