using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.CloudStream;
using Edge.Cloud.CloudStream.Tunnel;
using Edge.Cloud.Configuration;
using Edge.Cloud.Dashboard;
using Edge.Cloud.DeviceController;
using Edge.Cloud.DynamicController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Leadership;
using Edge.Cloud.NodeGroups;
using Edge.Cloud.NodeTasks;
using Edge.Cloud.Observability;
using Edge.Cloud.Router;
using Edge.Cloud.SyncController;
using Edge.Common;
using Edge.Common.Metrics;
using Edge.Common.Tracing;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Transport;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud;

/// <summary>CloudCore in this process: certificates, hub, enrolment, controllers and metrics, beside any Kubernetes API.</summary>
public sealed class CloudCoreHost : IAsyncDisposable
{
    private static readonly TimeSpan s_stopWithin = TimeSpan.FromSeconds(3);

    /// <summary>A watch that fails for longer makes this CloudCore unready: what it knows may be old.</summary>
    internal static readonly TimeSpan UnreadyAfter = TimeSpan.FromSeconds(30);

    // A large cluster's API, or one that throttles, takes minutes for the first lists; meanwhile /readyz says which are missing.
    private static readonly TimeSpan s_cachesWithin = TimeSpan.FromMinutes(10);

    // What only fails for so long is not slow but missing or forbidden.
    private static readonly TimeSpan s_cachesFailWithin = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan s_cachesLook = TimeSpan.FromSeconds(10);

    private readonly TimeProvider _time;
    private readonly HubCertificates _certificates;
    private readonly LeaderLease _lease;
    private readonly List<Informer> _informers;
    private readonly EventRecorder _events;
    private readonly DeviceStatusWriter _statuses;
    private readonly NodeSync _sync;
    private readonly Hub _hub;
    private readonly HubListener? _listener;
    private readonly QuicHubListener? _quic;
    private readonly HubServer _server;
    private readonly Task _duties;

    private CloudCoreHost(
        TimeProvider time, HubCertificates certificates, LeaderLease lease, Task duties, List<Informer> informers, EventRecorder events,
        DeviceStatusWriter statuses, NodeSync sync, Hub hub, HubListener? listener, QuicHubListener? quic, HubServer server, HubMetrics metrics)
    {
        _time = time;
        _certificates = certificates;
        _lease = lease;
        _duties = duties;
        _informers = informers;
        _events = events;
        _statuses = statuses;
        _sync = sync;
        _hub = hub;
        _listener = listener;
        _quic = quic;
        _server = server;
        Metrics = metrics;
    }

    /// <summary>Nodes connected here.</summary>
    public int Connected => _sync.Connected;

    /// <summary>The port edges connect to (WebSocket); 0 when switched off.</summary>
    public int WebSocketPort => _listener?.Port ?? 0;

    /// <summary>The UDP port edges connect to (QUIC); 0 when switched off, or where libmsquic is missing.</summary>
    public int QuicPort { get; private init; }

    /// <summary>The port nodes enrol at (HTTPS); 0 when switched off.</summary>
    public int HttpsPort => _server.HttpsPort;

    /// <summary>The port of /healthz, /readyz and /metrics (HTTP).</summary>
    public int MonitorPort => _server.MonitorPort;

    public HubMetrics Metrics { get; }

    /// <summary>The port of requests for edges (modules.router); 0 when that is off.</summary>
    public int RouterPort => Entry?.Port ?? 0;

    /// <summary>The port of the kubelet's endpoint (modules.cloudStream); 0 when that is off.</summary>
    public int StreamPort => Kubelet?.Port ?? 0;

    /// <summary>The port of stock edges' tunnels (modules.cloudStream.tunnelPort); 0 when that is off.</summary>
    public int TunnelPort => Tunnels?.Port ?? 0;

    private KubeletServer? Kubelet { get; init; }

    private TunnelServer? Tunnels { get; init; }

    private NodeStreams Streams { get; init; } = null!;

    private ApplicationService? Applications { get; init; }

    private RouterService? Router { get; init; }

    private NodeTaskService? Tasks { get; init; }

    // What this CloudCore's own modules hear; null where none does.
    private Action<string, bool>? OwnSessionChanged { get; init; }

    private DashboardServer? Dashboard { get; init; }

    private DashboardState State { get; init; } = null!;

    private MeterText Meters { get; init; } = null!;

    private RestEntry? Entry { get; init; }

    private NamedSecrets? Secrets { get; init; }

    private EndpointReports EndpointReports { get; init; } = null!;

    /// <summary>Opens a stream on which a connected node's local API (as a kubelet's) speaks HTTP/1.1. The caller disposes it.</summary>
    /// <exception cref="NodeStreamException">The node cannot be reached; the message says why.</exception>
    public ValueTask<Stream> OpenNodeStreamAsync(string node, CancellationToken cancellationToken) => Streams.OpenAsync(node, cancellationToken);

    /// <summary>Hears that a node's session began (true) or ended; must be quick.</summary>
    public Action<string, bool>? SessionChanged
    {
        get;
        set
        {
            field = value;
            _sync.SessionChanged = OwnSessionChanged + value;
        }
    }

    /// <summary>Takes what EdgeCores find out about endpoints of GlobalServices on their nodes: node, <c>namespace/service/endpoint</c>, and the error (null for well). Until it is set,
    /// edges keep what they have to say.</summary>
    public Func<string, string, string?, CancellationToken, ValueTask>? EndpointReported
    {
        get => EndpointReports.Taker;
        set => EndpointReports.Taker = value;
    }

    /// <summary>As <see cref="EndpointReported"/>: node, <c>namespace/service</c>, and how long the way to its endpoints takes, ms.</summary>
    public Func<string, string, IReadOnlyDictionary<string, double>, CancellationToken, ValueTask>? RoundTripsReported
    {
        get => EndpointReports.RoundTripTaker;
        set => EndpointReports.RoundTripTaker = value;
    }

    /// <summary>Lets the page show where clients of global services are sent; called with the module's own figures.</summary>
    internal void ShowClients(Func<IReadOnlyList<ClientCount>> clients) => (State.Clients, State.HasGslb) = (clients, true);

    /// <summary>What <c>/readyz</c> asks. Others in this process may add to it.</summary>
    internal Readiness Readiness { get; private init; } = null!;

    /// <summary>What of the kinds watched has not been read yet, or is not current any more: those whose list or watch has failed for longer than <see cref="UnreadyAfter"/>; null when there is
    /// none.</summary>
    internal static string? InformerProblem(IReadOnlyCollection<Informer> informers)
    {
        if (Unread(informers) is { Length: > 0 } unread)
            return $"the Kubernetes API has not listed yet: {unread}";
        var failing = informers.Select(informer => (informer.Kind, informer.Failing)).Where(one => one.Failing is { } failing && failing.For > UnreadyAfter).ToList();
        return failing.Count == 0 ? null
            : $"the Kubernetes API is not read any more: {string.Join("; ", failing.Select(one => $"{one.Kind.Plural} for {one.Failing!.Value.For.TotalSeconds:0} s ({one.Failing.Value.Why})"))}";
    }

    /// <summary>Starts CloudCore; on return it serves. The client stays the caller's to dispose, after this.</summary>
    /// <exception cref="CloudCoreException">It cannot start; the message says why and what to change.</exception>
    /// <exception cref="KubeException">The Kubernetes API refused something CloudCore needs.</exception>
    public static async Task<CloudCoreHost> StartAsync(
        CloudCoreOptions options, IKubeClient kube, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var logger = loggers.CreateLogger("Edge.Cloud.CloudHub");
        var advertised = options.AdvertiseAddresses.Count > 0 ? options.AdvertiseAddresses : [.. OwnAddresses()];
        var store = new CertificateStore(kube, time);
        var certificates = await HubCertificates.StartAsync(
            store, options.CaFile, options.CaKeyFile, CertificateStore.Hosts(advertised, options.DnsNames), time, new Random(random.Next()), logger, cancellationToken);
        // Before anything else may need it; from then on the leader keeps it.
        await store.RefreshTokenAsync(certificates.Authorities, options.TokenRefresh * 2, cancellationToken);
        await CertificateStore.EnsureNamespaceAsync(kube, "kube-node-lease", cancellationToken);

        var metrics = new HubMetrics { FormerCaClients = () => certificates.AcceptedByFormer };
        var events = new EventRecorder(kube, time, metrics, loggers.CreateLogger("Edge.Cloud.Events"));
        var sync = new NodeSync(kube, time, new Random(random.Next()), events, metrics, loggers.CreateLogger("Edge.Cloud.SyncController"));
        var deviceLogger = loggers.CreateLogger("Edge.Cloud.DeviceController");
        var statuses = new DeviceStatusWriter(kube, time, new Random(random.Next()), metrics, deviceLogger);
        sync.ProblemsChanged = statuses.Complain;
        var informers = new List<Informer>();
        HubListener? listener = null;
        QuicHubListener? quic = null;
        HubServer? server = null;
        var router = options.Router.Listen.IsEnabled
            ? new RouterService(kube, sync.SessionOf, options.Router.Access, time, new Random(random.Next()), loggers.CreateLogger("Edge.Cloud.Router")) : null;
        RestEntry? entry = null;
        KubeletServer? kubelet = null;
        TunnelServer? tunnels = null;
        var endpointReports = new EndpointReports(options.Gslb.IsEnabled);
        var requests = new EdgeRequests(
            kube, sync, endpointReports, time, advertised.Count > 0 ? advertised[0] : "127.0.0.1", metrics, loggers.CreateLogger("Edge.Cloud.EdgeController"));
        var streams = new NodeStreams(sync.SessionOf, time);
        var applications = options.IsDynamicControllerEnabled && kube is KubeClient client
            ? new ApplicationService(new KubeProxy(client.Options, time), time, metrics, loggers.CreateLogger("Edge.Cloud.DynamicController")) : null;
        if (applications is not null)
            metrics.Applications = applications.Render;
        var rooms = new UpstreamRooms(sync, requests, new DeviceReports(kube, sync, statuses, time, metrics, deviceLogger), time, metrics, logger) { Router = router, Applications = applications };
        var readiness = new Readiness(time);
        var meters = new MeterText();
        var links = new LinkHistory(time);
        var state = new DashboardState(sync, metrics, links, time);
        DashboardServer? dashboard = null;
        NodeTaskService? tasks = null;
        Action<string, bool>? ownSessionChanged = null;
        var hub = new Hub(options, certificates, rooms, streams, links);
        NamedSecrets? secrets = null;
        try
        {
            if (options.SecretRefresh > TimeSpan.Zero)
                sync.Secrets = secrets = new NamedSecrets(kube, change => sync.Changed(ResourceKind.Secret, change), sync.Drop, options.SecretRefresh, time, new Random(random.Next()), loggers.CreateLogger("Edge.Cloud.SyncController"));
            StartInformers(secrets is null ? options.SecretNamespaces : [CertificateStore.Namespace], informers, kube, sync, statuses, certificates, secret => entry?.SecretChanged(secret), time, random, loggers);
            var isServing = false;
            readiness.Add("informers", () => InformerProblem(informers));
            readiness.Add("hub", () => isServing ? listener?.Problem : "cloudcore is starting");
            var enrolment = new Enrolment(certificates, kube, options.NodeCertificateLifetime, time, metrics, logger);
            server = await HubServer.StartAsync(options, certificates, enrolment.ServeAsync, context => MonitorAsync(context, metrics, readiness, dashboard), loggers, cancellationToken);
            // An edge that connects before the caches are full would be told that its pods are gone.
            await WaitForCachesAsync(informers, time, cancellationToken);
            if (secrets is not null)
                await WaitForSecretsAsync(secrets, time, cancellationToken);
            sync.CachesFilled();
            if (router is not null)
            {
                router.Start();
                readiness.Add("router", () => router.Problem);
                ownSessionChanged += router.NodeSession;
                metrics.Router = router.Render;
                entry = await RestEntry.StartAsync(router, options.Router, certificates, kube, loggers, cancellationToken);
            }

            if (options.IsTaskManagerEnabled)
            {
                tasks = new NodeTaskService(kube, sync.SessionOf, time, new Random(random.Next()), loggers.CreateLogger("Edge.Cloud.NodeTasks"));
                requests.Tasks = tasks;
                var started = tasks;
                readiness.Add("nodetasks", () => started.Problem);
                ownSessionChanged += tasks.NodeSession;
            }

            sync.SessionChanged = ownSessionChanged;
            var rate = new AdmissionRate(options.ConnectionsPerSecond, time);
            if (options.WebSocket.IsEnabled)
                listener = HubListener.Open(options.WebSocket, certificates.TlsOptions, hub.ServeAsync, new AdmissionLimits(), rate, time, metrics, logger);
            quic = await OpenQuicAsync(options, certificates, hub, rate, time, metrics, logger, cancellationToken);
            var admissions = listener;
            metrics.WaitingSyncRecords = () => sync.WaitingRecords;
            metrics.InFlight = () => sync.InFlight;
            metrics.Meters = meters.Render;
            if (options.Monitor.IsEnabled && options.Dashboard.IsEnabled)
            {
                var dashboardLogger = loggers.CreateLogger("Edge.Cloud.Dashboard");
                dashboard = new DashboardServer(
                    new FleetWatch(kube, links, time, new Random(random.Next()), dashboardLogger), state, DashboardAccess.Load(options.Dashboard.TokenFile, dashboardLogger));
                metrics.DashboardListeners = () => dashboard.Listeners;
            }

            metrics.NodeStreams = () => streams.Count;
            metrics.Gauges = () => (sync.Connected, sync.Depth.Objects, sync.Depth.Messages, hub.Waiting, admissions?.Waiting ?? 0);
            var address = advertised.Count > 0 ? advertised[0] : "127.0.0.1";
            if (options.CloudStream.Listen.IsEnabled)
            {
                kubelet = await KubeletServer.StartAsync(options.CloudStream, streams, sync, certificates, kube, time, loggers, cancellationToken);
                var port = kubelet.Port;
                requests.StatusReported = (node, status) => NodeEndpoint.Redirect(node, sync.Node(node), status, options.CloudStream, port);
            }

            if (options.CloudStream.Tunnel.IsEnabled)
            {
                tunnels = await TunnelServer.StartAsync(options.CloudStream.Tunnel, certificates, time, loggers, cancellationToken);
                streams.TunnelOf = tunnels.Of;
                metrics.Tunnels = () => (tunnels.Count, tunnels.Stalls);
            }

            sync.Identify(new CloudCoreIdentity(address, options.InstanceId.Length > 0 ? options.InstanceId : $"{address}:{listener?.Port ?? 0}")
            {
                Stream = kubelet is null ? "" : new IPEndPoint(PeerAddress(options, address), kubelet.Port).ToString(),
            });
            listener?.Serve();
            quic?.Serve();
            isServing = true;
            var lease = new LeaderLease(
                kube, $"{Dns.GetHostName()}_{Guid.NewGuid():N}", LeaseTimes.Default, time, new Random(random.Next()), loggers.CreateLogger("Edge.Cloud.Leadership"));
            var duties = new TokenDuties(store, new TokenStore(kube, time), certificates, options.TokenRefresh, time, logger);
            var groups = new NodeGroupController(kube, events, time, new Random(random.Next()), loggers.CreateLogger("Edge.Cloud.NodeGroups"));
            var running = Task.WhenAll(
                lease.RunWhileLeaderAsync("keep the join token", duties.KeepTokenAsync), lease.RunWhileLeaderAsync("remove expired join tokens", duties.RemoveExpiredAsync),
                lease.RunWhileLeaderAsync("keep NodeGroups and EdgeApplications", groups.RunAsync),
                tasks is null ? Task.CompletedTask : lease.RunWhileLeaderAsync("keep node tasks", tasks.LeadAsync));
            return new CloudCoreHost(time, certificates, lease, running, informers, events, statuses, sync, hub, listener, quic, server, metrics)
            {
                QuicPort = quic?.Port ?? 0, Streams = streams, Applications = applications, Router = router, Tasks = tasks, OwnSessionChanged = ownSessionChanged, Entry = entry, EndpointReports = endpointReports, Kubelet = kubelet,
                Tunnels = tunnels, Dashboard = dashboard,
                State = state, Readiness = readiness, Meters = meters, Secrets = secrets,
            };
        }
        catch
        {
            if (kubelet is not null)
                await kubelet.DisposeAsync();
            if (tunnels is not null)
                await tunnels.DisposeAsync();
            meters.Dispose();
            if (dashboard is not null)
                await dashboard.DisposeAsync();
            if (entry is not null)
                await entry.DisposeAsync();
            if (router is not null)
                await router.DisposeAsync();
            if (applications is not null)
                await applications.DisposeAsync();
            if (tasks is not null)
                await tasks.DisposeAsync();
            if (server is not null)
                await server.DisposeAsync();
            if (listener is not null)
                await listener.DisposeAsync();
            if (quic is not null)
                await quic.DisposeAsync();
            foreach (var informer in informers)
                await informer.DisposeAsync();
            if (secrets is not null)
                await secrets.DisposeAsync();
            await statuses.DisposeAsync();
            await sync.DisposeAsync();
            await events.DisposeAsync();
            hub.Dispose();
            await certificates.DisposeAsync();
            readiness.Dispose();
            throw;
        }
    }

    /// <summary>Stops: ends the sessions, closes the ports, then the controllers. Done within about 4 s.</summary>
    public async ValueTask DisposeAsync()
    {
        await _lease.DisposeAsync();
        await _duties;
        if (_listener is not null)
            await _listener.StopAsync();
        if (_quic is not null)
            await _quic.StopAsync();
        await _hub.StopAsync();
        if (_listener is not null)
        {
            await _listener.StopAsync(s_stopWithin);
            await _listener.DisposeAsync();
        }

        if (_quic is not null)
        {
            await _quic.StopAsync(s_stopWithin);
            await _quic.DisposeAsync();
        }

        if (Kubelet is not null)
            await Kubelet.DisposeAsync();
        if (Tunnels is not null)
            await Tunnels.DisposeAsync();
        if (Entry is not null)
            await Entry.DisposeAsync();
        if (Router is not null)
            await Router.DisposeAsync();
        if (Applications is not null)
            await Applications.DisposeAsync();
        if (Tasks is not null)
            await Tasks.DisposeAsync();
        if (Dashboard is not null)
            await Dashboard.DisposeAsync();
        await _server.StopAsync(s_stopWithin, _time);
        await _server.DisposeAsync();
        foreach (var informer in _informers)
            await informer.DisposeAsync();
        if (Secrets is not null)
            await Secrets.DisposeAsync();
        await _statuses.DisposeAsync();
        await _sync.DisposeAsync();
        await _events.DisposeAsync();
        _hub.Dispose();
        await _certificates.DisposeAsync();
        Meters.Dispose();
        Readiness.Dispose();
    }

    // Null where it is not wanted, or cannot be had: then the WebSocket serves alone.
    private static async Task<QuicHubListener?> OpenQuicAsync(
        CloudCoreOptions options, HubCertificates certificates, Hub hub, AdmissionRate rate, TimeProvider time, HubMetrics metrics, ILogger logger, CancellationToken cancellationToken)
    {
        if (!options.Quic.IsEnabled)
            return null;
        if (QuicSupport.IsAvailable)
        {
            var quic = await QuicHubListener.OpenAsync(
                options.Quic, certificates.TlsOptions, hub.ServeAsync, new AdmissionLimits(), rate, time, metrics, logger, cancellationToken);
            HubLog.QuicServed(logger, quic.Port);
            return quic;
        }

        if (!options.WebSocket.IsEnabled)
            throw new CloudCoreException($"modules.cloudHub.websocket.enable is false, and QUIC cannot be served: {QuicSupport.Missing}; or set modules.cloudHub.websocket.enable to true");
        HubLog.QuicMissing(logger, QuicSupport.Missing);
        return null;
    }

    private static IPAddress PeerAddress(CloudCoreOptions options, string advertised)
        => IPAddress.Parse(options.CloudStream.PeerAddress.Length > 0 ? options.CloudStream.PeerAddress : IPAddress.TryParse(options.InstanceId, out _) ? options.InstanceId : advertised);

    private static void StartInformers(
        IReadOnlyList<string> secretNamespaces, List<Informer> informers, IKubeClient kube, NodeSync sync, DeviceStatusWriter statuses, HubCertificates certificates, Action<System.Text.Json.Nodes.JsonObject> routerToken, TimeProvider time,
        Random random, ILoggerFactory loggers)
    {
        var logger = loggers.CreateLogger("Edge.Cloud.Informer");
        void Watch(ResourceKind kind, ListOptions options, string? ns = null)
        {
            var informer = new Informer(kube, kind, ns, options, time, new Random(random.Next()), logger) { LeavesOutManagedFields = true, CachesIdentities = true };
            informers.Add(informer);
            informer.Start((change, _) =>
            {
                using var span = kind == ResourceKind.ObjectSync || kind == ResourceKind.ClusterObjectSync ? null : EdgeTrace.Begin("watch");
                span?.SetTag("k8s.kind", kind.Kind).SetTag("k8s.namespace", change.Text.Namespace).SetTag("k8s.name", change.Text.Name).SetTag("edge.change", change.Type.ToString());
                sync.Changed(kind, change);
                if (kind == ResourceKind.Secret && change.Text.Name == CertificateStore.AuthoritySecret && change.Text.Namespace == CertificateStore.Namespace)
                    certificates.Poke();
                if (kind == ResourceKind.Secret && change.Text.Name == RestEntry.TokenSecret && change.Text.Namespace == CertificateStore.Namespace && change.Type != ChangeType.Deleted)
                    routerToken(change.Object);
                if (kind == ResourceKind.Device && change.Type == ChangeType.Deleted)
                    statuses.Forget(change.Text.Namespace, change.Text.Name, change.Text.Uid);
                else if (kind == ResourceKind.Device && sync.Device(change.Text.Namespace, change.Text.Name) is { } device)
                    statuses.Changed(device);
                return ValueTask.CompletedTask;
            });
        }

        Watch(ResourceKind.Node, new ListOptions(LabelSelector: PodPlacement.EdgeRoleLabel));
        Watch(ResourceKind.ConfigMap, new ListOptions());
        if (secretNamespaces.Count == 0)
            Watch(ResourceKind.Secret, new ListOptions());
        foreach (var ns in secretNamespaces.Count == 0 ? [] : secretNamespaces.Append(CertificateStore.Namespace).Distinct())
            Watch(ResourceKind.Secret, new ListOptions(), ns);
        Watch(ResourceKind.Pod, new ListOptions(FieldSelector: "spec.nodeName!="));
        Watch(ResourceKind.DeviceModel, new ListOptions());
        Watch(ResourceKind.Device, new ListOptions());
        Watch(ResourceKind.Service, new ListOptions());
        Watch(ResourceKind.EndpointSlice, new ListOptions());
        Watch(GslbKinds.GlobalService, new ListOptions());
        Watch(GslbKinds.Zone, new ListOptions());
        Watch(ResourceKind.RuntimeClass, new ListOptions());
        Watch(ResourceKind.ObjectSync, new ListOptions());
        Watch(ResourceKind.ClusterObjectSync, new ListOptions());
    }

    private static string Unread(IEnumerable<Informer> informers)
        => string.Join(", ", informers.Where(informer => !informer.Synced.IsCompletedSuccessfully).Select(informer => informer.Kind.Plural + (informer.Failing is { } failing ? $" ({failing.Why})" : "")));

    private static async Task WaitForSecretsAsync(NamedSecrets secrets, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            await secrets.SettledAsync().WaitAsync(s_cachesWithin, time, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new CloudCoreException($"the Secrets that pods on edges name could not all be read within {s_cachesWithin.TotalMinutes:0} min; the log says why (event 1311)", e);
        }
    }

    /// <summary>Waits for the first lists as long as it may help.</summary>
    /// <exception cref="CloudCoreException">For ten minutes some were not there, or all that were missing have failed for two without one that came.</exception>
    internal static async Task WaitForCachesAsync(IReadOnlyCollection<Informer> informers, TimeProvider time, CancellationToken cancellationToken)
    {
        var all = Task.WhenAll(informers.Select(informer => informer.Synced));
        var (started, before) = (time.GetTimestamp(), -1);
        while (true)
        {
            try
            {
                await all.WaitAsync(s_cachesLook, time, cancellationToken);
                return;
            }
            catch (TimeoutException e)
            {
                var missing = informers.Where(informer => !informer.Synced.IsCompleted).ToList();
                var isStuck = missing.Count == before && missing.TrueForAll(informer => informer.Failing is { } failing && failing.For >= s_cachesFailWithin);
                before = missing.Count;
                var waited = time.GetElapsedTime(started);
                if (isStuck || waited >= s_cachesWithin)
                {
                    throw new CloudCoreException(
                        $"the Kubernetes API did not list {Unread(missing)} within {waited.TotalSeconds:0} s; are the CRDs of devices.kubeedge.io, reliablesyncs.kubeedge.io and gslb.edge.io installed, may cloudcore list these, and is this Kubernetes 1.21 or later?", e);
                }
            }
        }
    }

    // Bookkeeping of the API server, often larger than the object; nothing at the edge reads it.
    private static async Task MonitorAsync(HttpContext context, HubMetrics metrics, Readiness readiness, DashboardServer? dashboard)
    {
        switch (context.Request.Path.Value)
        {
            case "/healthz" or "/livez":
                await Respond.TextAsync(context, StatusCodes.Status200OK, "ok");
                return;
            case "/readyz":
                var (isReady, text) = await readiness.AskAsync(context.Request.Query.ContainsKey("verbose"), context.RequestAborted);
                await Respond.TextAsync(context, isReady ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable, text);
                return;
            case "/metrics":
                await Respond.TextAsync(context, StatusCodes.Status200OK, metrics.Render().TrimEnd('\n'));
                return;
        }

        if (dashboard is null || !await dashboard.TryServeAsync(context))
            await Respond.TextAsync(context, StatusCodes.Status404NotFound, "there is /healthz, /readyz and /metrics, and / with the dashboard where modules.dashboard.enable is true");
    }

    // Without advertiseAddress: every IPv4 address of this machine that is not loopback.
    private static IEnumerable<string> OwnAddresses()
        => NetworkInterface.GetAllNetworkInterfaces()
            .Where(one => one.OperationalStatus == OperationalStatus.Up && one.NetworkInterfaceType != NetworkInterfaceType.Loopback)
            .SelectMany(one => one.GetIPProperties().UnicastAddresses)
            .Select(one => one.Address)
            .Where(address => address.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(address))
            .Select(address => address.ToString());
}
