using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud;

/// <summary>CloudCore in this process: certificates, hub, enrolment, controllers and metrics, beside any Kubernetes API.</summary>
public sealed class CloudCoreHost : IAsyncDisposable
{
    private static readonly TimeSpan s_stopWithin = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan s_cachesWithin = TimeSpan.FromSeconds(30);

    private readonly TimeProvider _time;
    private readonly CertificateAuthority _authority;
    private readonly X509Certificate2 _serverCertificate;
    private readonly List<Informer> _informers;
    private readonly EventRecorder _events;
    private readonly DeviceStatusWriter _statuses;
    private readonly Hub _hub;
    private readonly HubServer _server;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _tokens;

    private CloudCoreHost(
        TimeProvider time, CertificateAuthority authority, X509Certificate2 serverCertificate, List<Informer> informers, EventRecorder events,
        DeviceStatusWriter statuses, Hub hub, HubServer server, HubMetrics metrics, Func<CancellationToken, Task> keepToken)
    {
        _time = time;
        _authority = authority;
        _serverCertificate = serverCertificate;
        _informers = informers;
        _events = events;
        _statuses = statuses;
        _hub = hub;
        _server = server;
        Metrics = metrics;
        _tokens = keepToken(_stop.Token);
    }

    /// <summary>The port edges connect to (WebSocket); 0 when switched off.</summary>
    public int WebSocketPort => _server.WebSocketPort;

    /// <summary>The port nodes enrol at (HTTPS); 0 when switched off.</summary>
    public int HttpsPort => _server.HttpsPort;

    /// <summary>The port of /healthz, /readyz and /metrics (HTTP).</summary>
    public int MonitorPort => _server.MonitorPort;

    public HubMetrics Metrics { get; }

    /// <summary>Starts CloudCore; on return it serves. The client stays the caller's to dispose, after this.</summary>
    /// <exception cref="CloudCoreException">It cannot start; the message says why and what to change.</exception>
    /// <exception cref="KubeException">The Kubernetes API refused something CloudCore needs.</exception>
    public static async Task<CloudCoreHost> StartAsync(
        CloudCoreOptions options, IKubeClient kube, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var logger = loggers.CreateLogger("Edge.Cloud.CloudHub");
        var advertised = options.AdvertiseAddresses.Count > 0 ? options.AdvertiseAddresses : [.. OwnAddresses()];
        var store = new CertificateStore(kube, time);
        var authority = await store.LoadAuthorityAsync(options.CaFile, options.CaKeyFile, cancellationToken);
        var serverCertificate = await store.LoadServerAsync(authority, CertificateStore.Hosts(advertised, options.DnsNames), cancellationToken);
        await store.RefreshTokenAsync(authority, options.TokenRefresh * 2, cancellationToken);
        await CertificateStore.EnsureNamespaceAsync(kube, "kube-node-lease", cancellationToken);

        var metrics = new HubMetrics();
        var events = new EventRecorder(kube, time, metrics, loggers.CreateLogger("Edge.Cloud.Events"));
        var sync = new NodeSync(kube, time, events, loggers.CreateLogger("Edge.Cloud.SyncController"));
        var deviceLogger = loggers.CreateLogger("Edge.Cloud.DeviceController");
        var statuses = new DeviceStatusWriter(kube, time, new Random(random.Next()), metrics, deviceLogger);
        var informers = new List<Informer>();
        HubServer? server = null;
        var requests = new EdgeRequests(kube, sync, time, advertised.Count > 0 ? advertised[0] : "127.0.0.1", loggers.CreateLogger("Edge.Cloud.EdgeController"));
        var hub = new Hub(options, sync, requests, new DeviceReports(sync, statuses, time, deviceLogger), time, metrics, logger);
        try
        {
            // An edge that connects before the caches are full would be told that its pods are gone.
            StartInformers(informers, kube, sync, statuses, time, random, loggers);
            await WaitForCachesAsync(informers, time, cancellationToken);
            metrics.Gauges = () => (sync.Connected, sync.Depth.Objects, sync.Depth.Messages, hub.Waiting);
            var enrolment = new Enrolment(authority, kube, options.NodeCertificateLifetime, time, logger);
            server = await HubServer.StartAsync(
                options, authority, serverCertificate, hub.ServeAsync, enrolment.ServeAsync, context => MonitorAsync(context, metrics), loggers, cancellationToken);
            return new CloudCoreHost(
                time, authority, serverCertificate, informers, events, statuses, hub, server, metrics,
                token => KeepTokenAsync(store, authority, options.TokenRefresh, time, logger, token));
        }
        catch
        {
            if (server is not null)
                await server.DisposeAsync();
            foreach (var informer in informers)
                await informer.DisposeAsync();
            await statuses.DisposeAsync();
            await events.DisposeAsync();
            hub.Dispose();
            serverCertificate.Dispose();
            authority.Dispose();
            throw;
        }
    }

    /// <summary>Stops: ends the sessions, closes the ports, then the controllers. Done within about 4 s.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _tokens;
        await _hub.StopAsync();
        await _server.StopAsync(s_stopWithin, _time);
        await _server.DisposeAsync();
        foreach (var informer in _informers)
            await informer.DisposeAsync();
        await _statuses.DisposeAsync();
        await _events.DisposeAsync();
        _hub.Dispose();
        _serverCertificate.Dispose();
        _authority.Dispose();
        _stop.Dispose();
    }

    private static void StartInformers(
        List<Informer> informers, IKubeClient kube, NodeSync sync, DeviceStatusWriter statuses, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        var logger = loggers.CreateLogger("Edge.Cloud.Informer");
        void Watch(ResourceKind kind, ListOptions options)
        {
            var informer = new Informer(kube, kind, null, options, time, new Random(random.Next()), logger) { Transform = WithoutManagedFields };
            informers.Add(informer);
            informer.Start((change, _) =>
            {
                sync.Changed(kind, change);
                if (kind == ResourceKind.Device && change.Type == ChangeType.Deleted)
                    statuses.Forget(change.Object.Namespace(), change.Object.Name(), change.Object.Uid());
                return ValueTask.CompletedTask;
            });
        }

        Watch(ResourceKind.Node, new ListOptions(LabelSelector: PodPlacement.EdgeRoleLabel));
        Watch(ResourceKind.ConfigMap, new ListOptions());
        Watch(ResourceKind.Secret, new ListOptions());
        Watch(ResourceKind.Pod, new ListOptions(FieldSelector: "spec.nodeName!="));
        Watch(ResourceKind.DeviceModel, new ListOptions());
        Watch(ResourceKind.Device, new ListOptions());
    }

    private static async Task WaitForCachesAsync(List<Informer> informers, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            await Task.WhenAll(informers.Select(informer => informer.Synced)).WaitAsync(s_cachesWithin, time, cancellationToken);
        }
        catch (TimeoutException e)
        {
            var missing = string.Join(", ", informers.Where(informer => !informer.Synced.IsCompleted).Select(informer => informer.Kind.Plural));
            throw new CloudCoreException(
                $"the Kubernetes API did not list {missing} within {s_cachesWithin.TotalSeconds:0} s; are the CRDs of devices.kubeedge.io installed, and may cloudcore list these?", e);
        }
    }

    // Bookkeeping of the API server, often larger than the object; nothing at the edge reads it.
    private static System.Text.Json.Nodes.JsonObject WithoutManagedFields(System.Text.Json.Nodes.JsonObject obj)
    {
        if (obj["metadata"] is System.Text.Json.Nodes.JsonObject metadata)
            metadata.Remove("managedFields");
        return obj;
    }

    private static async Task KeepTokenAsync(
        CertificateStore store, CertificateAuthority authority, TimeSpan refresh, TimeProvider time, ILogger logger, CancellationToken cancellationToken)
    {
        const int RetrySeconds = 60;
        var pause = refresh;
        try
        {
            while (true)
            {
                await Task.Delay(pause, time, cancellationToken);
                try
                {
                    HubLog.TokenRenewed(logger, await store.RefreshTokenAsync(authority, refresh * 2, cancellationToken));
                    pause = refresh;
                }
                catch (KubeException e)
                {
                    HubLog.TokenNotRenewed(logger, e.Message, RetrySeconds);
                    pause = TimeSpan.FromSeconds(RetrySeconds);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private static Task MonitorAsync(HttpContext context, HubMetrics metrics)
        => context.Request.Path.Value switch
        {
            // The listeners open only once everything behind them is ready.
            "/healthz" or "/readyz" or "/livez" => Respond.TextAsync(context, StatusCodes.Status200OK, "ok"),
            "/metrics" => Respond.TextAsync(context, StatusCodes.Status200OK, metrics.Render().TrimEnd('\n')),
            _ => Respond.TextAsync(context, StatusCodes.Status404NotFound, "there is /healthz, /readyz and /metrics"),
        };

    // Without advertiseAddress: every IPv4 address of this machine that is not loopback.
    private static IEnumerable<string> OwnAddresses()
        => NetworkInterface.GetAllNetworkInterfaces()
            .Where(one => one.OperationalStatus == OperationalStatus.Up && one.NetworkInterfaceType != NetworkInterfaceType.Loopback)
            .SelectMany(one => one.GetIPProperties().UnicastAddresses)
            .Select(one => one.Address)
            .Where(address => address.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(address))
            .Select(address => address.ToString());
}
