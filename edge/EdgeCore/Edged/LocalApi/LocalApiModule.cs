using System.Net;
using System.Security.Cryptography.X509Certificates;
using Edge.Core.EdgeStream;
using Edge.Protocol.Cri;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Serves the local API while EdgeCore runs. An address that cannot be had is tried again, since its holder may go.</summary>
internal sealed class LocalApiModule : IEdgeModule, IAsyncDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_callTimeout = TimeSpan.FromSeconds(30);

    private readonly EdgeServices _services;
    private readonly Func<string> _metrics;
    private readonly ILogger _log;
    private readonly CriClient _cri;
    private readonly UsageSampler _usage;
    private readonly LocalApiMetrics _counts = new();
    private CancellationTokenSource? _stopping;
    private LocalApiServer? _server;
    private string _said = "";

    /// <param name="metrics">EdgeCore's own metrics as Prometheus text.</param>
    public LocalApiModule(EdgeServices services, Func<string> metrics)
    {
        _services = services;
        _metrics = metrics;
        _log = services.Loggers.CreateLogger("localapi");
        _cri = new CriClient(services.Options.Edged.RuntimeEndpoint, services.Time, s_callTimeout);
        _usage = new UsageSampler(services.Options.Edged, services.Options.NodeName, services.Meta, _cri, services.Time);
    }

    public string Name => "localapi";

    /// <summary>The port it answers on; 0 while it does not.</summary>
    public int Port { get; private set; }

    /// <summary>Where and with which credential a process of this machine reaches it; null while it does not answer.</summary>
    public LocalApiAt? At { get; private set; }

    /// <summary>Called when it answers at last, after <see cref="TryStartAsync"/> had failed.</summary>
    public Action? Listening { get; set; }

    /// <summary>The API's own metrics as Prometheus text.</summary>
    public string Metrics() => _counts.Text();

    /// <summary>Starts to answer; false, with the reason in the log, when it cannot.</summary>
    public async Task<bool> TryStartAsync(CancellationToken cancellationToken)
    {
        if (_server is not null)
            return true;
        var options = _services.Options.LocalApi;
        var at = $"{(options.HasTls ? "https" : "http")}://{(options.Address.Contains(':', StringComparison.Ordinal) ? $"[{options.Address}]" : options.Address)}";
        try
        {
            var token = TokenFile.LoadOrCreate(options.TokenFile);
            var access = new LocalApiAccess(token);
            _stopping = new CancellationTokenSource();
            var pods = new PodDirectory(_services.Options.Edged, _services.Options.NodeName, _services.Meta, _cri);
            var handler = new LocalApiHandler(_services.Options, access, pods, _cri, _usage, _metrics, _counts, _services.Time, _log, _stopping.Token);
            _server = await LocalApiServer.StartAsync(options, handler.HandleAsync, cancellationToken);
            var address = IPAddress.Parse(options.Address);
            var own = address.Equals(IPAddress.Any) ? IPAddress.Loopback : address.Equals(IPAddress.IPv6Any) ? IPAddress.IPv6Loopback : address;
            At = new LocalApiAt(own, _server.Port, token, options.HasTls ? X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(options.TlsCertificateFile, cancellationToken)).RawData : null);
        }
        catch (Exception e) when (e is LocalApiException or IOException or System.Net.Sockets.SocketException)
        {
            if (_said != e.Message)
                LocalApiLog.NotListening(_log, $"{at}:{options.Port}", e.Message, s_retry.TotalSeconds);
            _said = e.Message;
            _stopping?.Dispose();
            _stopping = null;
            return false;
        }

        Port = _server.Port;
        _said = "";
        LocalApiLog.Listening(_log, $"{at}:{Port}", options.TokenFile);
        return true;
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (_server is null)
            {
                while (!await TryStartAsync(cancellationToken))
                    await Task.Delay(s_retry, _services.Time, cancellationToken);
                Listening?.Invoke();
            }

            await Task.Delay(Timeout.InfiniteTimeSpan, _services.Time, cancellationToken);
        }
        finally
        {
            await StopAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _usage.Dispose();
        _cri.Dispose();
    }

    private async Task StopAsync()
    {
        // Streams first: they would hold the server up.
        if (_stopping is not null)
            await _stopping.CancelAsync();
        if (_server is { } server)
        {
            (_server, Port, At) = (null, 0, null);
            await server.DisposeAsync();
        }

        _stopping?.Dispose();
        _stopping = null;
    }
}
