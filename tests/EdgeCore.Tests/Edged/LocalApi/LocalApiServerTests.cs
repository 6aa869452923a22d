using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged.LocalApi;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Core.Tests.LocalApi;

/// <summary>The local API on real sockets, without a container runtime.</summary>
[Trait("Category", "Pods")]
public sealed class LocalApiServerTests : IDisposable
{
    private const string Uid = "11111111-2222-3333-4444-555555555555";

    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Without_a_token_only_healthz_answers()
    {
        await using var api = await RunningLocalApi.StartAsync(Options(), _meta);
        using var stranger = new HttpClient { BaseAddress = api.Client.BaseAddress };
        Assert.Equal("ok", await stranger.GetStringAsync("/healthz"));
        foreach (var path in (string[])["/pods", "/metrics", "/metrics/resource", "/metrics/cadvisor", "/stats/summary", "/configz", "/containerLogs/a/b/c", "/exec/a/b/c", "/attach/a/b/c", "/portForward/a/b", "/", "/healthz/x"])
        {
            using var refused = await stranger.GetAsync(path);
            Assert.Equal((path, HttpStatusCode.Unauthorized), (path, refused.StatusCode));
            Assert.Equal("Bearer", refused.Headers.WwwAuthenticate.ToString());
            Assert.Contains("no credentials", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        stranger.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", new string('0', 64));
        using var wrong = await stranger.GetAsync("/pods");
        Assert.Equal(HttpStatusCode.Unauthorized, wrong.StatusCode);
        var metrics = await api.Client.GetStringAsync("/metrics");
        Assert.Contains("edgecore_test_metric 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("edgecore_local_api_requests_total{code=\"401\",endpoint=\"pods\"} 2\n", metrics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_not_there_is_said_with_what_is()
    {
        _meta.Put("pod", Pod());
        await using var api = await RunningLocalApi.StartAsync(Options(), _meta);
        foreach (var (path, status, says) in ((string, int, string)[])[
            ("/nothing", 404, "/containerLogs/NAMESPACE/POD/CONTAINER"),
            ("/containerLogs/default/absent/main", 404, "pod default/absent does not exist"),
            ("/containerLogs/default/web/side", 404, "it has main"),
            ("/containerLogs/default/web/main", 400, "waiting to start"),
            ("/containerLogs/default/web/main?previous=true", 400, "previous terminated container main"),
            ("/containerLogs/default/web/main?tailLines=x", 400, "tailLines is 'x'"),
            ("/containerLogs/default/..%2F..%2Fetc/main", 404, "does not exist"),
            ("/exec/default/web/main?command=ls&output=1", 400, "Connection: Upgrade"),
            ("/stats/summary", 503, "the container runtime:")])
        {
            using var answer = await api.Client.GetAsync(path);
            Assert.Equal((path, status), (path, (int)answer.StatusCode));
            Assert.Contains(says, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        using var post = await api.Client.PostAsync("/pods", null);
        Assert.Equal((405, "GET, HEAD"), ((int)post.StatusCode, string.Join(", ", post.Content.Headers.Allow)));
        Assert.Contains("scrape_error 1\n", await api.Client.GetStringAsync("/metrics/resource"), StringComparison.Ordinal);
        Assert.Equal("web", JsonNode.Parse(await api.Client.GetStringAsync("/pods")).Items("items").Single().Name());
        Assert.Equal("edge-1", JsonNode.Parse(await api.Client.GetStringAsync("/configz")).Text("edgecore", "nodeName"));
    }

    [Fact]
    public async Task Logs_are_read_while_the_runtime_is_away()
    {
        _meta.Put("pod", Pod());
        var logs = _directory.File($"logs/default_web_{Uid}/main");
        Directory.CreateDirectory(logs);
        await File.WriteAllTextAsync(Path.Combine(logs, "0.log"), "2026-01-02T03:04:05Z stdout F before\n");
        await File.WriteAllTextAsync(Path.Combine(logs, "1.log"), "2026-01-02T03:04:05Z stdout F now\n");
        await using var api = await RunningLocalApi.StartAsync(Options(), _meta);
        Assert.Equal("now\n", await api.Client.GetStringAsync("/containerLogs/default/web/main"));
        Assert.Equal("before\n", await api.Client.GetStringAsync("/containerLogs/default/web/main?previous=true"));
    }

    [Fact]
    public async Task A_stop_ends_followed_logs()
    {
        _meta.Put("pod", Pod());
        var logs = _directory.File($"logs/default_web_{Uid}/main");
        Directory.CreateDirectory(logs);
        await File.WriteAllTextAsync(Path.Combine(logs, "0.log"), "2026-01-02T03:04:05Z stdout F now\n");
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        var api = await RunningLocalApi.StartAsync(Options(), _meta);
        using var following = await api.Client.GetAsync("/containerLogs/default/web/main?follow=true", HttpCompletionOption.ResponseHeadersRead, limit.Token);
        using var lines = new StreamReader(await following.Content.ReadAsStreamAsync(limit.Token));
        Assert.Equal("now", await lines.ReadLineAsync(limit.Token));
        Assert.Contains("edgecore_local_api_streams 1\n", await api.Client.GetStringAsync("/metrics", limit.Token), StringComparison.Ordinal);
        // Cut off, not ended: what was not sent is not to look complete.
        var cut = Assert.ThrowsAnyAsync<Exception>(() => lines.ReadLineAsync(limit.Token).AsTask());
        await api.DisposeAsync().AsTask().WaitAsync(limit.Token);
        await cut;
        Assert.False(limit.IsCancellationRequested, "the stream was open for a minute after the stop");
    }

    [Fact]
    public async Task EdgeCore_serves_it_names_its_port_and_shows_its_metrics_in_both_places()
    {
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(
            cloud, _directory, "modules.edged.enable=true", $"modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=unix://{_directory.File("no.sock")}"));
        await edge.Log.WaitForAsync("the local API answers on");
        await edge.Log.WaitForAsync("connected to");
        var port = JsonNode.Parse(await File.ReadAllTextAsync(_directory.File("edgecore.ports.json"))).Number(0, "localApi");
        Assert.Equal(edge.Host.LocalApiPort, port);
        using var client = new HttpClient();
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(_directory.File("localapi.token"))).Trim());
        var own = await client.GetStringAsync($"http://127.0.0.1:{port}/metrics");
        Assert.Contains("\nedgecore_link_up ", own, StringComparison.Ordinal);
        Assert.Contains("\nedgecore_local_api_streams 0\n", own, StringComparison.Ordinal);
        var all = await client.GetStringAsync($"http://127.0.0.1:{edge.Host.MetricsPort}/metrics");
        Assert.Contains("edgecore_local_api_requests_total{code=\"200\",endpoint=\"metrics\"} 1\n", all, StringComparison.Ordinal);
        Assert.DoesNotContain((await File.ReadAllTextAsync(_directory.File("localapi.token"))).Trim(), edge.Log.All(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_taken_port_stops_nothing_and_is_taken_once_it_is_free()
    {
        using var holder = new TcpListener(IPAddress.Loopback, 0);
        holder.Start();
        var options = Options() with { LocalApi = Options().LocalApi with { Port = ((IPEndPoint)holder.LocalEndpoint).Port } };
        var time = new Edge.Testing.ManualTimeProvider(DateTimeOffset.UnixEpoch);
        await using var module = new LocalApiModule(new EdgeServices(options, _meta, new FakeUplink(), time, new Random(1), NullLoggerFactory.Instance), () => "");
        Assert.False(await module.TryStartAsync(default));
        Assert.Equal(0, module.Port);
        var listening = new TaskCompletionSource();
        module.Listening = listening.SetResult;
        using var stop = new CancellationTokenSource();
        var run = module.RunAsync(stop.Token);
        holder.Stop();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (!listening.Task.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(10));
            await timer.WaitForNextTickAsync(limit.Token);
        }

        using var client = new HttpClient();
        Assert.Equal("ok", await client.GetStringAsync($"http://127.0.0.1:{options.LocalApi.Port}/healthz"));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run);
    }

    [Fact]
    public async Task Off_loopback_it_does_not_listen_without_TLS()
    {
        var options = new LocalApiOptions { Address = "0.0.0.0", Port = 0 };
        var error = await Assert.ThrowsAsync<LocalApiException>(() => LocalApiServer.StartAsync(options, _ => Task.CompletedTask, default));
        Assert.Contains("tlsCertFile", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task With_TLS_a_certificate_of_the_clusters_administrators_opens_and_anothers_does_not()
    {
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=ca", authorityKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var (from, until) = (TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
        using var authority = request.CreateSelfSigned(from, until);
        using var server = Issue("CN=edge-1", authority, from, until, "1.3.6.1.5.5.7.3.1");
        using var admin = Issue("CN=admin, O=system:masters", authority, from, until, "1.3.6.1.5.5.7.3.2");
        using var node = Issue("CN=system:node:x, O=system:nodes", authority, from, until, "1.3.6.1.5.5.7.3.2");
        await File.WriteAllTextAsync(_directory.File("ca.crt"), authority.ExportCertificatePem());
        await File.WriteAllTextAsync(_directory.File("server.crt"), server.ExportCertificatePem());
        await File.WriteAllTextAsync(_directory.File("server.key"), server.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        var options = Options() with
        {
            LocalApi = Options().LocalApi with { TlsCertificateFile = _directory.File("server.crt"), TlsKeyFile = _directory.File("server.key"), ClientCaFile = _directory.File("ca.crt") },
        };
        await using var api = await RunningLocalApi.StartAsync(options, _meta);
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(api, admin, null));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(api, node, null));
        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(api, null, null));
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(api, null, api.Token));

        // Of another CA with the same words: TLS itself refuses.
        using var otherKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var otherRequest = new CertificateRequest("CN=ca", otherKey, HashAlgorithmName.SHA256);
        otherRequest.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var other = otherRequest.CreateSelfSigned(from, until);
        using var stranger = Issue("CN=admin, O=system:masters", other, from, until, "1.3.6.1.5.5.7.3.2");
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => StatusAsync(api, stranger, null));
    }

    private static async Task<HttpStatusCode> StatusAsync(RunningLocalApi api, X509Certificate2? certificate, string? token)
    {
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, server, _, _) => server?.Subject == "CN=edge-1";
        if (certificate is not null)
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        using var client = new HttpClient(handler);
        if (token is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using var answer = await client.GetAsync($"https://127.0.0.1:{api.Port}/pods");
        return answer.StatusCode;
    }

    private static X509Certificate2 Issue(string subject, X509Certificate2 authority, DateTimeOffset from, DateTimeOffset until, string purpose)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        using var certificate = request.Create(authority, from, until, RandomNumberGenerator.GetBytes(8));
        return certificate.CopyWithPrivateKey(key);
    }

    private EdgeCoreOptions Options() => new()
    {
        NodeName = "edge-1",
        DataDirectory = _directory.Path,
        Edged = new EdgedOptions { RuntimeEndpoint = "unix://" + _directory.File("no.sock"), RootDirectory = _directory.Path, PodLogsDirectory = _directory.File("logs") },
        LocalApi = new LocalApiOptions { Port = 0, TokenFile = _directory.File("localapi.token") },
    };

    private static JsonObject Pod() => (JsonObject)JsonNode.Parse(
        """{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"web","uid":"11111111-2222-3333-4444-555555555555","resourceVersion":"1"},"spec":{"containers":[{"name":"main","image":"x"}]}}""")!;
}
