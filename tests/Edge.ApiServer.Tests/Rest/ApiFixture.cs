using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Rest;

/// <summary>A server on a free port with its own directory, and a client with the administrator's token.</summary>
public sealed class ApiFixture : IAsyncLifetime
{
    private static readonly JsonSerializerOptions s_deep = new() { MaxDepth = 512 };

    private EmbeddedApiServer? _server;

    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("edge-api-").FullName;

    public EmbeddedApiServer Server => _server ?? throw new InvalidOperationException("not started");

    public HttpClient Client { get; private set; } = new();

    public Task InitializeAsync() => StartAsync(TimeProvider.System);

    public async Task StartAsync(TimeProvider time, int historyMax = 10_000, Func<string, CancellationToken, ValueTask<Stream>>? dialNode = null, string auditLog = "")
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _server = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = Directory, Port = 0, WatchHistoryMax = historyMax, DialNode = dialNode, AuditLogPath = auditLog }, time, NullLoggerFactory.Instance, default);
        Client.Dispose();
        Client = NewClient();
        Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(Path.Combine(Directory, "admin.token"))).Trim());
    }

    /// <summary>Stops the server; its directory stays.</summary>
    public async Task StopAsync()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _server = null;
    }

    /// <summary>A client that trusts the server's CA and presents nothing, or a certificate.</summary>
    public HttpClient NewClient(X509Certificate2? certificate = null)
    {
        var authority = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(Directory, "pki", "ca.crt"));
        var handler = new SocketsHttpHandler();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(authority);
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificates = [certificate];
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        }

        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{Server.Port}"), Timeout = TimeSpan.FromSeconds(30) };
    }

    public async Task DisposeAsync()
    {
        Client.Dispose();
        if (_server is not null)
            await _server.DisposeAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    /// <summary>Sends and reads a JSON answer, with a check of the code.</summary>
    public async Task<JsonObject> SendAsync(HttpMethod method, string path, HttpStatusCode code, string? body = null, string type = "application/json", string? accept = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, type);
        if (accept is not null)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        using var response = await Client.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(code == response.StatusCode, $"{method} {path}: {(int)response.StatusCode} {text}");
        return JsonNode.Parse(text, documentOptions: new() { MaxDepth = 512 })!.AsObject();
    }

    public Task<JsonObject> GetAsync(string path, HttpStatusCode code = HttpStatusCode.OK) => SendAsync(HttpMethod.Get, path, code);

    public Task<JsonObject> PostAsync(string path, string body, HttpStatusCode code = HttpStatusCode.Created) => SendAsync(HttpMethod.Post, path, code, body);

    public Task<JsonObject> PutAsync(string path, JsonObject body, HttpStatusCode code = HttpStatusCode.OK) => SendAsync(HttpMethod.Put, path, code, body.ToJsonString(s_deep));

    public Task<JsonObject> PatchAsync(string path, string type, string body, HttpStatusCode code = HttpStatusCode.OK) => SendAsync(HttpMethod.Patch, path, code, body, $"application/{type}-patch+json");

    public Task<JsonObject> DeleteAsync(string path, string? body = null, HttpStatusCode code = HttpStatusCode.OK) => SendAsync(HttpMethod.Delete, path, code, body);

    /// <summary>A namespace of the test's own.</summary>
    public async Task<string> NamespaceAsync()
    {
        var created = await PostAsync("/api/v1/namespaces", """{"metadata":{"generateName":"t-"}}""");
        return created.Name();
    }

    /// <summary>Watches; the events come line by line as (type, object).</summary>
    public async Task<WatchReader> WatchAsync(string path, string? accept = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (accept is not null)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        var response = await Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return new WatchReader(response, new StreamReader(await response.Content.ReadAsStreamAsync()));
    }
}

public sealed class WatchReader(HttpResponseMessage response, StreamReader reader) : IDisposable
{
    /// <summary>The next event; null when the server has ended the watch.</summary>
    public async Task<(string Type, JsonObject Object)?> NextAsync()
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var line = await reader.ReadLineAsync(deadline.Token);
        if (line is null)
            return null;
        var read = JsonNode.Parse(line)!.AsObject();
        return (read.Text("type"), read["object"]!.AsObject());
    }

    public async Task ExpectAsync(string type, string name)
    {
        var next = await NextAsync();
        Assert.Equal((type, name), (next?.Type, next?.Object.Name()));
    }

    public void Dispose()
    {
        reader.Dispose();
        response.Dispose();
    }
}
