using Edge.ApiServer;
using Edge.ApiServer.Controllers;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Edge.Cloud.Dashboard;
using Edge.Cloud.Gslb.Module;
using Edge.Cloud.Leadership;
using Edge.Common.Configuration;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Host;

/// <summary>The parts of the executable in the order of their start: embedded API, its controllers, CRDs, CloudCore.</summary>
internal sealed class CloudCoreProcess : IAsyncDisposable
{
    private readonly List<IAsyncDisposable> _parts = [];
    private CloudCoreHost? _core;
    private Func<IKubeClient, IKubeClient>? _through;

    /// <summary>Where it listens, once started.</summary>
    public (int Api, int WebSocket, int Https, int Metrics, string Kubeconfig, int Quic) Ports { get; private set; }

    /// <summary>The port of DNS; 0 when modules.gslb is off.</summary>
    public int DnsPort { get; private set; }

    /// <summary>The port of the kubelet's endpoint; 0 when modules.cloudStream is off.</summary>
    public int StreamPort { get; private set; }

    /// <summary>What is allocated in 10 s at most while nothing but leases and keepalives comes: 16 KB were seen a node.</summary>
    public long RestingBytes() => (128L << 20) + ((_core?.Connected ?? 0) * (24L << 10));

    /// <summary>Where stock edges dial their tunnel; 0 while not served.</summary>
    public int TunnelPort { get; private set; }

    /// <summary>The port of requests for edges; 0 when modules.router is off.</summary>
    public int RouterPort { get; private set; }

    /// <summary>The config for these modules alone: <c>--modules</c>. Null where one is not known.</summary>
    /// <param name="modules">Null for all that the config has.</param>
    public static CloudCoreOptions? Restrict(CloudCoreOptions options, string? modules) => modules switch
    {
        null => options,
        "gslb" => options with { IsHubEnabled = false, Gslb = options.Gslb with { IsEnabled = true, IsAlone = true } },
        _ => null,
    };

    /// <summary>Reads the config. Without a file the defaults hold.</summary>
    public static CloudCoreOptions ReadConfig(string? path, IEnumerable<string> overrides)
    {
        var file = path is null ? ConfigFile.Parse("defaults", "", overrides) : ConfigFile.Load(path, overrides);
        var options = CloudCoreOptions.Read(file);
        file.ThrowIfInvalid();
        return options;
    }

    /// <param name="through">What CloudCore asks of the API goes through this, e.g. to see it; the embedded controllers' requests do not.</param>
    public static async Task<CloudCoreProcess> StartAsync(
        CloudCoreOptions options, string dataDirectory, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken,
        Func<IKubeClient, IKubeClient>? through = null)
    {
        var process = new CloudCoreProcess { _through = through };
        try
        {
            await process.StartPartsAsync(options, dataDirectory, time, random, loggers, cancellationToken);
            return process;
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        for (var i = _parts.Count - 1; i >= 0; i--)
            await _parts[i].DisposeAsync();
        _parts.Clear();
    }

    private async Task StartPartsAsync(
        CloudCoreOptions options, string dataDirectory, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var apiPort = 0;
        var kubeconfig = options.Kubeconfig;
        Func<string> renderApi = () => "";
        EmbeddedApiServer? api = null;
        CloudCoreHost? core = null; // started after the API that it reads
        if (options.ApiServer.IsEnabled)
        {
            var server = await EmbeddedApiServer.StartAsync(
                new ApiServerOptions
                {
                    DataDirectory = dataDirectory,
                    BindAddress = options.ApiServer.Address,
                    Port = options.ApiServer.Port,
                    AuditLogPath = options.AuditLog.Path,
                    AuditLogBytesMax = (long)options.AuditLog.MegabytesMax << 20,
                    AuditLogBackupsMax = options.AuditLog.BackupsMax,
                    DialNode = (node, token) => core is null ? throw new IOException("cloudcore is starting") : core.OpenNodeStreamAsync(node, token),
                },
                time, loggers, cancellationToken);
            _parts.Add(server);
            renderApi = server.RenderMetrics;
            api = server;
            (apiPort, kubeconfig) = (server.Port, server.KubeconfigPath);
        }

        var connection = kubeconfig.Length > 0 ? Kubeconfig.Load(kubeconfig, options.Context.Length > 0 ? options.Context : null) : Kubeconfig.InCluster();
        connection = connection with { Rate = new RequestRate(options.RequestsPerSecond, options.RequestBurst, time) };
        if (options.Master.Length > 0)
            connection = connection with { Server = MasterOf(options.Master) };
        var client = new KubeClient(api is not null && options.Master.Length == 0 ? api.Inside : connection, time, random);
        _parts.Add(new Closing(client));
        if (options.ApiServer.IsEnabled)
            _parts.Add(EmbeddedControllers.Start(client, time, random, loggers, connection.CertificateAuthorityPem));
        var kube = _through?.Invoke(client) ?? client;
        await CrdInstaller.ApplyAsync(kube, time, cancellationToken, loggers.CreateLogger("Edge.Cloud.Host"));
        if (options.IsHubEnabled)
        {
            core = await CloudCoreHost.StartAsync(options, kube, time, random, loggers, cancellationToken);
            _parts.Add(core);
            _core = core;
            core.Metrics.More = renderApi;
            if (api is not null)
                core.Readiness.Add("store", api.WriteProblemAsync);
        }

        Ports = (apiPort, core?.WebSocketPort ?? 0, core?.HttpsPort ?? 0, core?.MonitorPort ?? 0, kubeconfig, core?.QuicPort ?? 0);
        RouterPort = core?.RouterPort ?? 0;
        StreamPort = core?.StreamPort ?? 0;
        TunnelPort = core?.TunnelPort ?? 0;
        if (!options.Gslb.IsEnabled)
            return;
        // Of several that serve, one writes what is found: they would write over each other.
        await CertificateStore.EnsureNamespaceAsync(kube, LeaderLease.Namespace, cancellationToken);
        var lease = new LeaderLease(
            kube, $"{System.Net.Dns.GetHostName()}_{Guid.NewGuid():N}", LeaseTimes.Default, time, new Random(random.Next()), loggers.CreateLogger("Edge.Cloud.Leadership"), LeaderLease.GslbName);
        _parts.Add(lease);
        var gslb = await GslbHost.StartAsync(options.Gslb, kube, () => lease.IsLeader, time, new Random(random.Next()), loggers, cancellationToken);
        // Before the hub in the order of stops: its sessions all end then, which says nothing about the nodes.
        _parts.Add(gslb);
        DnsPort = gslb.Port;
        if (core is null)
            return;
        core.SessionChanged = gslb.NodeSession;
        core.EndpointReported = gslb.ReportAsync;
        core.RoundTripsReported = gslb.ReportRoundTripsAsync;
        core.Metrics.More = () => renderApi() + gslb.RenderMetrics();
        core.ShowClients(() => [.. gslb.Clients().Select(one => new ClientCount(one.Service, one.Endpoint, one.Location, one.Answers))]);
    }

    private static Uri MasterOf(string text)
        => Uri.TryCreate(text, UriKind.Absolute, out var master) ? master
            : throw new CloudCoreException($"kubeAPIConfig.master '{text}' is not a URL, e.g. https://10.0.0.1:6443");

    private sealed class Closing(IDisposable inner) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            inner.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
