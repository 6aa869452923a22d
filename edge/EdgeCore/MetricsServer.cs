using System.Globalization;
using System.Net;
using System.Text;
using Edge.Common;
using Edge.Core.EdgeHub;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Edge.Core;

/// <summary>Serves <c>/metrics</c> (Prometheus text), <c>/healthz</c> (the process lives) and <c>/readyz</c> (it can do its work; else 503 and what is wrong).</summary>
internal sealed class MetricsServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private MetricsServer(WebApplication app, int port)
    {
        _app = app;
        Port = port;
    }

    public int Port { get; }

    /// <exception cref="IOException">The address is in use or not this machine's.</exception>
    public static async Task<MetricsServer> StartAsync(string address, Func<string> metrics, Readiness readiness, CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(1));
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPEndPoint.Parse(address)));
        var app = builder.Build();
        app.Run(async context =>
        {
            context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            switch (context.Request.Path.Value)
            {
                case "/metrics":
                    await context.Response.WriteAsync(metrics());
                    return;
                case "/healthz":
                    await context.Response.WriteAsync("ok\n");
                    return;
                case "/readyz":
                    var (isReady, text) = await readiness.AskAsync(context.Request.Query.ContainsKey("verbose"), context.RequestAborted);
                    context.Response.StatusCode = isReady ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
                    await context.Response.WriteAsync(text + "\n");
                    return;
                default:
                    context.Response.StatusCode = StatusCodes.Status404NotFound;
                    await context.Response.WriteAsync("there are /metrics, /healthz and /readyz\n");
                    return;
            }
        });
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }

        return new MetricsServer(app, new Uri(app.Urls.First()).Port);
    }

    public static string Text(HubService hub, int databaseQueue)
    {
        var figures = hub.Figures();
        var text = new StringBuilder();
        void Family(string name, string type, string help, params (string Labels, long Value)[] values)
        {
            text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
            foreach (var (labels, value) in values)
                text.Append(CultureInfo.InvariantCulture, $"{name}{labels} {value}\n");
        }

        (string, long)[] ByPriority(Func<int, long> value)
            => [.. Enum.GetValues<UplinkPriority>().Select(priority => ($"{{priority=\"{priority.ToString().ToLowerInvariant()}\"}}", value((int)priority)))];

        Family("edgecore_link_up", "gauge", "1 while connected to CloudCore.", ("", hub.IsConnected ? 1 : 0));
        Family("edgecore_link_connections_total", "counter", "Connections made to CloudCore.", ("", hub.Connections));
        Family("edgecore_link_failed_connects_total", "counter", "Connection attempts that failed.", ("", hub.FailedConnects));
        Family("edgecore_requests_pending", "gauge", "Requests waiting for the cloud's answer.", ("", hub.PendingCount));
        Family("edgecore_uplink_entries", "gauge", "Entries queued for the cloud.", ByPriority(i => figures.Depth[i]));
        Family("edgecore_uplink_bytes", "gauge", "Content bytes queued for the cloud.", ByPriority(i => figures.Bytes[i]));
        Family("edgecore_uplink_dropped_total", "counter", "Entries dropped because the queue was full.", ByPriority(i => figures.Overflowed[i]));
        Family("edgecore_uplink_rejected_total", "counter", "Entries the cloud refused for good.", ("", figures.Rejected));
        Family("edgecore_uplink_resent_total", "counter", "Entries sent again.", ("", figures.Resent));
        Family("edgecore_store_writes_waiting", "gauge", "Writes waiting for the next commit.", ("", databaseQueue));
        return text.ToString();
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
