using System.Net;
using System.Net.Sockets;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>Enrolment and metrics, on one Kestrel.</summary>
internal sealed class HubServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private HubServer(WebApplication app, int httpsPort, int monitorPort)
    {
        _app = app;
        HttpsPort = httpsPort;
        MonitorPort = monitorPort;
    }

    public int HttpsPort { get; }

    public int MonitorPort { get; }

    /// <exception cref="CloudCoreException">A port is in use, or an address is not this machine's.</exception>
    public static async Task<HubServer> StartAsync(
        CloudCoreOptions options, HubCertificates certificates, RequestDelegate enrolment, RequestDelegate monitor,
        ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        ListenProbe.Check(options.Https);
        ListenProbe.Check(options.Monitor);
        ListenOptions? httpsAt = null, monitorAt = null;
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, QuietLifetime>();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Enrolment.BodyMax;
            if (options.Https.IsEnabled)
            {
                httpsAt = Listen(kestrel, options.Https, enrolment);
                // Asked for each connection: after a rollover of the CA another certificate serves.
                httpsAt.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = _ => ValueTask.FromResult(certificates.TlsOptions()) });
            }

            if (options.Monitor.IsEnabled)
                monitorAt = Listen(kestrel, options.Monitor, monitor);
        });
        var app = builder.Build();
        app.Run(context => context.Features.Get<Endpoint>()!.Serve(context));
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch (Exception e) when (e is IOException or SocketException or InvalidOperationException)
        {
            await app.DisposeAsync();
            throw new CloudCoreException($"cloudcore cannot listen: {e.Message}", e);
        }

        return new HubServer(app, PortOf(httpsAt), PortOf(monitorAt));
    }

    public async Task StopAsync(TimeSpan deadline, TimeProvider time)
    {
        using var limit = new CancellationTokenSource(deadline, time);
        await _app.StopAsync(limit.Token);
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private static int PortOf(ListenOptions? listen) => listen?.IPEndPoint?.Port ?? 0;

    private static ListenOptions Listen(KestrelServerOptions kestrel, ListenOn on, RequestDelegate serve)
    {
        ListenOptions? made = null;
        kestrel.Listen(IPAddress.Parse(on.Address), on.Port, listen =>
        {
            made = listen;
            listen.Protocols = HttpProtocols.Http1;
            listen.Use(next => connection =>
            {
                connection.Features.Set(new Endpoint(serve));
                return next(connection);
            });
        });
        return made!;
    }

    /// <summary>Which listener a connection came in by.</summary>
    private sealed record Endpoint(RequestDelegate Serve);
}
