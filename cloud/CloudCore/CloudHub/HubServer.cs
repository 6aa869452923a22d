using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
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

/// <summary>The three listeners of CloudCore on one Kestrel: the hub for edges, enrolment, and metrics.</summary>
internal sealed class HubServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private HubServer(WebApplication app, int webSocketPort, int httpsPort, int monitorPort)
    {
        _app = app;
        WebSocketPort = webSocketPort;
        HttpsPort = httpsPort;
        MonitorPort = monitorPort;
    }

    public int WebSocketPort { get; }

    public int HttpsPort { get; }

    public int MonitorPort { get; }

    /// <exception cref="CloudCoreException">A port is in use, or an address is not this machine's.</exception>
    public static async Task<HubServer> StartAsync(
        CloudCoreOptions options, CertificateAuthority authority, X509Certificate2 server, RequestDelegate hub, RequestDelegate enrolment, RequestDelegate monitor,
        ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        foreach (var on in (ListenOn[])[options.WebSocket, options.Https, options.Monitor])
            Probe(on);

        ListenOptions? webSocketAt = null, httpsAt = null, monitorAt = null;
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, QuietLifetime>();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Enrolment.BodyMax;
            if (options.WebSocket.IsEnabled)
            {
                webSocketAt = Listen(kestrel, options.WebSocket, hub);
                webSocketAt.UseHttps(https =>
                {
                    https.ServerCertificate = server;
                    https.SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13;
                    https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
                    https.ClientCertificateValidation = (certificate, _, _) => authority.Refuse(certificate) is null;
                });
            }

            if (options.Https.IsEnabled)
            {
                httpsAt = Listen(kestrel, options.Https, enrolment);
                httpsAt.UseHttps(https =>
                {
                    https.ServerCertificate = server;
                    https.SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13;
                    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                    // Judged per request, so that a bad certificate gets an answer with the reason.
                    https.AllowAnyClientCertificate();
                });
            }

            if (options.Monitor.IsEnabled)
                monitorAt = Listen(kestrel, options.Monitor, monitor);
        });
        var app = builder.Build();
        // KubeEdge's peers use no WebSocket pings; the protocol has its own keepalive.
        app.UseWebSockets(new WebSocketOptions { KeepAliveInterval = TimeSpan.Zero });
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

        return new HubServer(app, PortOf(webSocketAt), PortOf(httpsAt), PortOf(monitorAt));
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

    // Kestrel's own error names neither the setting nor, for one of several listeners, which one it was.
    private static void Probe(ListenOn on)
    {
        if (!on.IsEnabled || on.Port == 0)
            return;
        try
        {
            using var socket = new Socket(IPAddress.Parse(on.Address).AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(new IPEndPoint(IPAddress.Parse(on.Address), on.Port));
            socket.Listen();
        }
        catch (SocketException e)
        {
            var text = e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => $"port {on.Port} on {on.Address} is in use; stop what uses it or set {on.PortKey} to another port",
                SocketError.AddressNotAvailable => $"address {on.Address} is not one of this machine's; change it beside {on.PortKey}",
                SocketError.AccessDenied => $"port {on.Port} on {on.Address} needs more rights; set {on.PortKey} to a port above 1023",
                _ => $"cannot listen on {on.Address}:{on.Port} ({on.PortKey}): {e.Message}",
            };
            throw new CloudCoreException(text, e);
        }
    }

    /// <summary>Which listener a connection came in by.</summary>
    private sealed record Endpoint(RequestDelegate Serve);

    // Signals are the executable's business; a library must not catch them.
    private sealed class QuietLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
