using System.Net;
using System.Net.Sockets;
using Edge.Cloud.Configuration;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>One port that serves HTTP/1.1 beside the hub's own.</summary>
internal sealed class WebEntry : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly TimeProvider _time;

    private WebEntry(WebApplication app, int port, TimeProvider time) => (_app, Port, _time) = (app, port, time);

    /// <summary>The port; the one that the system chose when port 0 was asked for.</summary>
    public int Port { get; }

    /// <param name="limits">What this entry allows; connections have no limit unless it sets one.</param>
    /// <param name="tls">The options of each handshake; null serves in the clear.</param>
    /// <exception cref="CloudCoreException">The port is in use, or the address is not this machine's.</exception>
    public static async Task<WebEntry> StartAsync(
        ListenOn on, Action<KestrelServerLimits> limits, TlsHandshakeCallbackOptions? tls, RequestDelegate serve, TimeProvider time, ILoggerFactory loggers,
        CancellationToken cancellationToken)
    {
        ListenProbe.Check(on);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, QuietLifetime>();
        ListenOptions? at = null;
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            limits(kestrel.Limits);
            kestrel.Listen(IPAddress.Parse(on.Address), on.Port, listen =>
            {
                at = listen;
                listen.Protocols = HttpProtocols.Http1;
                if (tls is not null)
                    listen.UseHttps(tls);
            });
        });
        var app = builder.Build();
        app.Run(serve);
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch (Exception e)
        {
            await app.DisposeAsync();
            if (e is IOException or SocketException or InvalidOperationException)
                throw new CloudCoreException($"cannot listen on {on.Address} port {on.Port} ({on.PortKey}): {e.Message}", e);
            throw;
        }

        return new WebEntry(app, at?.IPEndPoint?.Port ?? 0, time);
    }

    /// <summary>Ends what is under way within a second.</summary>
    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1), _time);
        await _app.StopAsync(limit.Token);
        await _app.DisposeAsync();
    }
}
