using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Edge.Testing;

/// <summary>A request that an <see cref="HttpPeer"/> got.</summary>
public sealed record PeerRequest(string Method, string Path, string Body, IReadOnlyDictionary<string, string> Headers);

/// <summary>An HTTP service on a real socket; it answers as the test says.</summary>
public sealed class HttpPeer : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly WebApplication _app;
    private readonly ConcurrentQueue<PeerRequest> _requests = new();
    private readonly SemaphoreSlim _came = new(0);

    private HttpPeer(WebApplication app) => _app = app;

    public int Port => new Uri(_app.Urls.First()).Port;

    public IReadOnlyCollection<PeerRequest> Requests => _requests;

    /// <summary>Status and body of the answer.</summary>
    public Func<PeerRequest, (int Status, string Body)> Answer { get; set; } = _ => (200, "");

    /// <param name="certificate">Served with TLS and this certificate; null for plain HTTP.</param>
    public static async Task<HttpPeer> StartAsync(X509Certificate2? certificate = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            if (certificate is not null)
                listen.UseHttps(certificate);
        }));
        var app = builder.Build();
        var peer = new HttpPeer(app);
        app.Run(peer.ServeAsync);
        await app.StartAsync();
        return peer;
    }

    /// <summary>Waits until so many requests have come.</summary>
    public async Task<PeerRequest[]> WaitForAsync(int count)
    {
        while (_requests.Count < count)
            Assert.True(await _came.WaitAsync(s_patience), $"waited for {count} requests, so far: {string.Join(" | ", _requests)}");
        return [.. _requests];
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        _came.Dispose();
    }

    private async Task ServeAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body, Encoding.UTF8);
        var request = new PeerRequest(
            context.Request.Method, context.Request.Path + context.Request.QueryString.Value, await reader.ReadToEndAsync(),
            context.Request.Headers.ToDictionary(header => header.Key, header => header.Value.ToString(), StringComparer.OrdinalIgnoreCase));
        var (status, body) = Answer(request);
        _requests.Enqueue(request);
        _came.Release();
        context.Response.StatusCode = status;
        context.Response.Headers["X-Peer"] = "yes";
        await context.Response.WriteAsync(body);
    }
}
