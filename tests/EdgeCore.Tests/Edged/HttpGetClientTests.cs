using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Core.Edged.Probes;
using Edge.Local.Processes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>httpGet of probes and hooks against a real server.</summary>
[Trait("Category", "Pods")]
public sealed class HttpGetClientTests : IAsyncLifetime
{
    private readonly HttpGetClient _client = new(TimeProvider.System);
    private readonly X509Certificate2 _certificate = SelfSigned();
    private WebApplication _server = null!;
    private int _plain;
    private int _secure;

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(options =>
        {
            options.Listen(IPAddress.Loopback, 0);
            options.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(_certificate));
        });
        _server = builder.Build();
        _server.Map("/echo", (HttpContext context) => string.Join('\n', context.Request.Headers.OrderBy(header => header.Key, StringComparer.Ordinal).Select(header => $"{header.Key}: {header.Value}")));
        _server.Map("/status/{code:int}", (int code) => Results.StatusCode(code));
        _server.Map("/to", (HttpContext context) => context.Response.Redirect(context.Request.Query["url"].ToString()));
        _server.Map("/loop", (HttpContext context) => context.Response.Redirect("/loop"));
        _server.Map("/long", () => new string('x', 100_000));
        _server.Map("/never", async (HttpContext context) => await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing));
        await _server.StartAsync();
        var urls = _server.Urls.Select(url => new Uri(url)).ToList();
        _plain = urls.Single(url => url.Scheme == "http").Port;
        _secure = urls.Single(url => url.Scheme == "https").Port;
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        _client.Dispose();
        _certificate.Dispose();
    }

    [Fact]
    public async Task A_probe_says_who_it_is_and_sends_the_headers_it_is_given()
    {
        var answer = await GetAsync(Target("/echo", ("Host", "pod.example"), ("X-Two", "1"), ("X-Two", "2"), ("Content-Type", "text/x")));
        Assert.Equal(200, answer.Status);
        Assert.Equal("Accept: */*\nConnection: close\nContent-Length: 0\nContent-Type: text/x\nHost: pod.example\nUser-Agent: kube-probe/1.32\nX-Two: 1, 2", answer.Body.ReplaceLineEndings("\n"));
        Assert.Contains("User-Agent: mine", (await GetAsync(Target("/echo", ("user-agent", "mine")))).Body, StringComparison.Ordinal);
        Assert.DoesNotContain("Accept", (await GetAsync(Target("/echo", ("Accept", "")))).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_certificate_that_nobody_signed_serves()
        => Assert.Equal(204, (await GetAsync(Target("/status/204") with { Scheme = "https", Port = _secure })).Status);

    [Fact]
    public async Task Plain_HTTP_in_answer_to_HTTPS_is_told_apart()
    {
        var error = await Assert.ThrowsAsync<HttpGetException>(() => GetAsync(Target("/echo") with { Scheme = "https" }));
        Assert.True(error.IsPlainHttp);
    }

    [Fact]
    public async Task Redirects_are_followed_on_the_same_host_only_and_not_for_ever()
    {
        Assert.Equal(503, (await GetAsync(Target("/to?url=/status/503"))).Status);
        Assert.Equal(204, (await GetAsync(Target($"/to?url=https://127.0.0.1:{_secure}/status/204"))).Status); // another port is the same host
        Assert.Equal(302, (await GetAsync(Target("/to?url=http://elsewhere.invalid/"))).Status);
        var error = await Assert.ThrowsAsync<HttpGetException>(() => GetAsync(Target("/loop")));
        Assert.Contains("stopped after 10 redirects", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Of_a_long_body_10_KiB_are_read()
        => Assert.Equal(10 * 1024, (await GetAsync(Target("/long"))).Body.Length);

    [Fact]
    public async Task No_answer_is_told_in_a_kubelets_words()
    {
        var slow = await Assert.ThrowsAsync<HttpGetException>(() => _client.GetAsync(Target("/never"), "127.0.0.1", HttpGetClient.ProbeAgent, TimeSpan.FromMilliseconds(300), default));
        Assert.Equal($"Get \"http://127.0.0.1:{_plain}/never\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", slow.Message);
        using var lease = PortLease.Take(); // nobody listens there
        var free = lease.Port;
        var refused = await Assert.ThrowsAsync<HttpGetException>(() => GetAsync(Target("/x") with { Port = free }));
        Assert.Equal($"Get \"http://127.0.0.1:{free}/x\": dial tcp 127.0.0.1:{free}: connect: connection refused", refused.Message);
    }

    [Theory]
    [InlineData("gopher", "127.0.0.1", "A", "1")]
    [InlineData("http", "no host", "A", "1")]
    [InlineData("http", "127.0.0.1", "bad name", "1")]
    [InlineData("http", "127.0.0.1", "Host", "bad host\n")]
    public async Task What_is_no_request_is_an_error_that_names_it(string scheme, string host, string header, string value)
        => Assert.NotEmpty((await Assert.ThrowsAsync<FormatException>(() => GetAsync(Target("/echo", (header, value)) with { Scheme = scheme, Host = host }))).Message);

    private HttpGetTarget Target(string path, params (string Name, string Value)[] headers)
        => new("http", "", _plain, path, [.. headers.Select(header => KeyValuePair.Create(header.Name, header.Value))]);

    private Task<HttpGetAnswer> GetAsync(HttpGetTarget target) => _client.GetAsync(target, "127.0.0.1", HttpGetClient.ProbeAgent, TimeSpan.FromSeconds(30), default);

    private static X509Certificate2 SelfSigned()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=pod", key, HashAlgorithmName.SHA256);
        var now = TimeProvider.System.GetUtcNow();
        return request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
    }
}
