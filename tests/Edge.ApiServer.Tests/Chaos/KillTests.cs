using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Chaos;

[Trait("Category", "Chaos")]
public sealed class KillTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task A_killed_server_has_every_write_that_it_answered(int seed)
    {
        var directory = Directory.CreateTempSubdirectory("edge-kill-").FullName;
        try
        {
            var answered = new ConcurrentDictionary<string, string>(); // name -> the newest answered value
            var deleted = new ConcurrentDictionary<string, bool>();
            var highest = await WriteUntilKilledAsync(directory, seed, answered, deleted);
            Assert.NotEmpty(answered);

            var reopened = new ApiFixtureAt(directory);
            await using (reopened)
            {
                await reopened.StartAsync();
                var list = await reopened.ListAsync("/api/v1/namespaces/default/configmaps");
                var stored = list.Items("items").ToDictionary(o => o.Name(), o => o.Text("data", "k"));
                foreach (var (name, value) in answered.Where(pair => !deleted.ContainsKey(pair.Key)))
                    Assert.True(stored.TryGetValue(name, out var kept) && int.Parse(kept, null) >= int.Parse(value, null), $"{name}: answered {value}, kept {kept ?? "nothing"}");
                Assert.DoesNotContain(deleted, pair => pair.Value && stored.ContainsKey(pair.Key));
                Assert.True(list.Version() >= highest, $"version {list.Version()} after {highest}");
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>Four writers create, patch and delete until the server is killed amid them; returns the highest version answered.</summary>
    private static async Task<long> WriteUntilKilledAsync(string directory, int seed, ConcurrentDictionary<string, string> answered, ConcurrentDictionary<string, bool> deleted)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileName(host) == "dotnet" ? host : "dotnet") { RedirectStandardOutput = true, RedirectStandardInput = true };
        foreach (var argument in (string[])["exec", typeof(KillTests).Assembly.Location, "serve", directory])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var highest = 0L;
        try
        {
            var kubeconfig = await process.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(30));
            Assert.NotNull(kubeconfig);
            var address = new Uri((await File.ReadAllLinesAsync(kubeconfig)).First(l => l.Contains("server:", StringComparison.Ordinal)).Split("server:")[1].Trim());
            using var client = await ApiFixtureAt.ClientAsync(directory, address);
            var killAt = 150 + new Random(seed).Next(200);
            var writes = 0;
            await Task.WhenAll(Enumerable.Range(0, 4).Select(writer => Task.Run(async () =>
            {
                var random = new Random(seed * 100 + writer);
                for (var i = 0; ; i++)
                {
                    var name = $"m{writer}-{random.Next(20)}";
                    try
                    {
                        var known = answered.ContainsKey(name) && !deleted.ContainsKey(name);
                        if (known && random.Next(8) == 0)
                        {
                            deleted[name] = false; // asked, not answered
                            await SendAsync(client, HttpMethod.Delete, name, null);
                            deleted[name] = true;
                        }
                        else if (!deleted.ContainsKey(name))
                        {
                            var body = $$$"""{"metadata":{"name":"{{{name}}}"},"data":{"k":"{{{i}}}"}}""";
                            var read = await SendAsync(client, known ? HttpMethod.Patch : HttpMethod.Post, name, body);
                            answered[name] = read.Text("data", "k");
                            InterlockedMax(ref highest, read.Version());
                        }
                    }
                    catch (Exception e) when (e is HttpRequestException or IOException)
                    {
                        return; // killed; this write has no answer
                    }

                    if (Interlocked.Increment(ref writes) == killAt)
                        process.Kill(); // SIGKILL
                }
            })));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
            await process.WaitForExitAsync();
        }

        return highest;
    }

    private static async Task<JsonObject> SendAsync(HttpClient client, HttpMethod method, string name, string? body)
    {
        var path = "/api/v1/namespaces/default/configmaps" + (method == HttpMethod.Post ? "" : "/" + name);
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, method == HttpMethod.Patch ? "application/merge-patch+json" : "application/json");
        using var response = await client.SendAsync(request);
        response.EnsureSuccessStatusCode();
        return JsonNode.Parse(await response.Content.ReadAsStringAsync())!.AsObject();
    }

    private static void InterlockedMax(ref long target, long value)
    {
        for (var seen = Interlocked.Read(ref target); seen < value;)
        {
            var before = Interlocked.CompareExchange(ref target, value, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }

    /// <summary>A server in this process on a directory that another has left.</summary>
    private sealed class ApiFixtureAt(string directory) : IAsyncDisposable
    {
        private EmbeddedApiServer? _server;
        private HttpClient? _client;

        public async Task StartAsync()
        {
            _server = await EmbeddedApiServer.StartAsync(
                new ApiServerOptions { DataDirectory = directory, Port = 0 }, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance, default);
            _client = await ClientAsync(directory, new Uri($"https://127.0.0.1:{_server.Port}"));
        }

        public async Task<JsonObject> ListAsync(string path) => JsonNode.Parse(await _client!.GetStringAsync(new Uri(path, UriKind.Relative)))!.AsObject();

        public static async Task<HttpClient> ClientAsync(string directory, Uri address)
        {
            var handler = new SocketsHttpHandler();
            handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(X509CertificateLoader.LoadCertificateFromFile(Path.Combine(directory, "pki", "ca.crt")));
            var client = new HttpClient(handler) { BaseAddress = address };
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(Path.Combine(directory, "admin.token"))).Trim());
            return client;
        }

        public async ValueTask DisposeAsync()
        {
            _client?.Dispose();
            if (_server is not null)
                await _server.DisposeAsync();
        }
    }
}
