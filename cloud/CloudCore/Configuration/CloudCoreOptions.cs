using System.Globalization;
using Edge.Cloud.Gslb.Module;
using Edge.Common.Configuration;

namespace Edge.Cloud.Configuration;

/// <summary>Where the audit log of the embedded API goes.</summary>
/// <param name="Path">Empty writes none.</param>
/// <param name="MegabytesMax">MiB at which the file is renamed.</param>
/// <param name="BackupsMax">Renamed files that are kept.</param>
public sealed record AuditLogOptions(string Path = "", int MegabytesMax = 100, int BackupsMax = 10);

/// <summary>Where a server listens. Port 0 chooses a free one.</summary>
/// <param name="IsEnabled">False leaves the server out.</param>
/// <param name="Address">An IP address; 0.0.0.0 for all.</param>
/// <param name="PortKey">The config key that sets the port, for errors.</param>
public sealed record ListenOn(bool IsEnabled, string Address, int Port, string PortKey);

/// <summary>Settings of CloudCore, from <c>cloudcore.yaml</c> with KubeEdge's keys and defaults (kubeedge-wire §5.9).</summary>
public sealed record CloudCoreOptions
{
    /// <summary>kubeAPIConfig.kubeConfig: the cluster to serve; empty for the embedded API.</summary>
    public string Kubeconfig { get; init; } = "";

    /// <summary>kubeAPIConfig.master: the API server's address; wins over the one in the kubeconfig.</summary>
    public string Master { get; init; } = "";

    /// <summary>kubeAPIConfig.context: the context of the kubeconfig; empty for its current one.</summary>
    public string Context { get; init; } = "";

    /// <summary>kubeAPIConfig.qps: requests a second to the API server on the average, watches left out; does not hold for the embedded API. Default 5 x nodeLimit, 5000 at least.</summary>
    public int RequestsPerSecond { get; init; } = 5000;

    /// <summary>kubeAPIConfig.burst: requests at once after a pause. Default twice <see cref="RequestsPerSecond"/>.</summary>
    public int RequestBurst { get; init; } = 10_000;

    public ListenOn WebSocket { get; init; } = new(true, "0.0.0.0", 10000, "modules.cloudHub.websocket.port");

    /// <summary>UDP. Needs libmsquic; where that is missing the WebSocket serves alone.</summary>
    public ListenOn Quic { get; init; } = new(false, "0.0.0.0", 10001, "modules.cloudHub.quic.port");

    public ListenOn Https { get; init; } = new(true, "0.0.0.0", 10002, "modules.cloudHub.https.port");

    public ListenOn Monitor { get; init; } = new(true, "127.0.0.1", 9091, "commonConfig.monitorServer.bindAddress");

    /// <summary>modules.apiServer: the embedded Kubernetes API.</summary>
    public ListenOn ApiServer { get; init; } = new(true, "127.0.0.1", 6443, "modules.apiServer.port");

    /// <summary>modules.apiServer.auditLog*: who did what through the embedded API.</summary>
    public AuditLogOptions AuditLog { get; init; } = new();

    /// <summary>Addresses that edges dial; they go into the hub's certificate, and the first is written to each Node.</summary>
    public IReadOnlyList<string> AdvertiseAddresses { get; init; } = [];

    /// <summary>DNS names that edges dial; they go into the hub's certificate.</summary>
    public IReadOnlyList<string> DnsNames { get; init; } = [];

    /// <summary>Tells CloudCores of one cluster apart; the same after a restart. Empty: the first address that edges dial and the hub's port, which do not when the
    /// CloudCores share an address behind a load balancer.</summary>
    public string InstanceId { get; init; } = "";

    /// <summary>A node that says nothing for so long is disconnected. Default 30 s; an edge speaks every 15 s.</summary>
    public TimeSpan Keepalive { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Nodes that may be connected at once; further ones are refused with 503.</summary>
    public int NodeLimit { get; init; } = 500;

    /// <summary>Objects sent to an Edge peer and not answered at once; a stock edge gets at most 32. See <see cref="CloudHub.Sessions.SessionLimits.Window"/>.</summary>
    public int Window { get; init; } = 64;

    /// <summary>Connections of nodes that begin in a second, on average; a storm of reconnects waits its turn. Too many at once and all of them time out.</summary>
    public int ConnectionsPerSecond { get; init; } = 1000;

    /// <summary>A write to a node that does not finish in this time ends its connection.</summary>
    public TimeSpan WriteTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Lifetime of a node's certificate.</summary>
    public TimeSpan NodeCertificateLifetime { get; init; } = TimeSpan.FromDays(365);

    /// <summary>The join token is renewed this often and is good for twice as long.</summary>
    public TimeSpan TokenRefresh { get; init; } = TimeSpan.FromHours(12);

    /// <summary>False leaves out the hub and its controllers, as <c>--modules gslb</c> wants.</summary>
    public bool IsHubEnabled { get; init; } = true;

    /// <summary>modules.dynamicController.enable: the API for the MetaServers of nodes. KubeEdge's default is off.</summary>
    public bool IsDynamicControllerEnabled { get; init; }

    /// <summary>modules.cloudStream: the kubelet's endpoint of edge nodes.</summary>
    public CloudStreamOptions CloudStream { get; init; } = new();

    /// <summary>modules.edgeController.secretNamespaces: namespaces whose Secrets go to edges, and the only ones where they are listed and watched, beside kubeedge. Empty for all.</summary>
    public IReadOnlyList<string> SecretNamespaces { get; init; } = [];

    /// <summary>modules.edgeController.secretRefreshSeconds: above zero, Secrets are neither listed nor watched (those of namespace kubeedge excepted): the ones that pods on edges name are read one by one, and again so
    /// often. Zero: they are watched.</summary>
    public TimeSpan SecretRefresh { get; init; }

    /// <summary>modules.taskManager.enable: jobs of operations.kubeedge.io (images, configs, upgrades) for edge nodes. Off by default, as in KubeEdge.</summary>
    public bool IsTaskManagerEnabled { get; init; }

    /// <summary>modules.router: messages by Rules.</summary>
    public RouterOptions Router { get; init; } = new();

    /// <summary>commonConfig.tracing.endpoint: where traces go, OTLP over HTTP; empty for OTEL_EXPORTER_OTLP_ENDPOINT, and none where that is not set either.</summary>
    public string TracingEndpoint { get; init; } = "";

    /// <summary>modules.dashboard: the web page beside /metrics.</summary>
    public DashboardOptions Dashboard { get; init; } = new();

    /// <summary>modules.gslb: authoritative DNS.</summary>
    public GslbOptions Gslb { get; init; } = new();

    public string CaFile { get; init; } = "";

    public string CaKeyFile { get; init; } = "";

    /// <summary>How long a connecting Edge peer has to tell its inventory before it gets everything.</summary>
    public TimeSpan InventoryWait { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Reads a loaded config; the caller then calls <see cref="ConfigFile.ThrowIfInvalid"/>.</summary>
    public static CloudCoreOptions Read(ConfigFile file)
    {
        var root = file.Root;
        root.ExpectText("apiVersion", "cloudcore.config.kubeedge.io/v1alpha1", "cloudcore.config.kubeedge.io/v1alpha2");
        root.ExpectText("kind", "CloudCore");
        // KubeEdge's own gates and its bookkeeping have nothing to switch here.
        root.Ignore("featureGates", "leaderelection", "metadata");

        var common = root.Section("commonConfig");
        common.Ignore("tunnelPort");
        var monitor = common.Section("monitorServer");
        monitor.Ignore("enableProfiling");
        var monitorAt = monitor.Text("bindAddress", "127.0.0.1:9091");
        var api = root.Section("kubeAPIConfig");
        api.Ignore("contentType");
        var options = new CloudCoreOptions
        {
            Kubeconfig = api.Text("kubeConfig", ""),
            Context = api.Text("context", ""),
            Master = api.Text("master", ""),
            Monitor = Monitoring(monitor, monitorAt),
            TracingEndpoint = common.Section("tracing").Url("endpoint"),
        };

        var modules = root.Section("modules");
        var hub = modules.Section("cloudHub");
        hub.Ignore("enable", "unixsocket", "authorization", "tlsCertFile", "tlsPrivateKeyFile");
        var quic = hub.Section("quic");
        // A connection has exactly three streams here; KubeEdge's pool of them has no counterpart.
        quic.Ignore("maxIncomingStreams");
        options = options with
        {
            Keepalive = TimeSpan.FromSeconds(hub.Int("keepaliveInterval", 30, min: 1, max: 86_400)),
            NodeLimit = hub.Int("nodeLimit", 500, min: 1, max: 1_000_000),
            Window = hub.Int("window", 64, min: 1, max: 4096),
            ConnectionsPerSecond = hub.Int("connectionsPerSecond", 1000, min: 1, max: 100_000),
            WriteTimeout = TimeSpan.FromSeconds(hub.Int("writeTimeout", 30, min: 1, max: 3_600)),
            AdvertiseAddresses = Given(hub.Texts("advertiseAddress", [])),
            InstanceId = hub.Text("instanceId", ""),
            DnsNames = Given(hub.Texts("dnsNames", [])),
            NodeCertificateLifetime = TimeSpan.FromDays(hub.Int("edgeCertSigningDuration", 365, min: 1, max: 36_500)),
            TokenRefresh = TimeSpan.FromHours(hub.Int("tokenRefreshDuration", 12, min: 1, max: 8_760)),
            CaFile = hub.Text("tlsCAFile", ""),
            CaKeyFile = hub.Text("tlsCAKeyFile", ""),
            WebSocket = Listen(hub.Section("websocket"), options.WebSocket),
            Quic = Listen(quic, options.Quic),
            Https = Listen(hub.Section("https"), options.Https),
        };
        var rate = api.Int("qps", 5 * Math.Max(options.NodeLimit, 1000), min: 1, max: 100_000_000);
        options = options with { RequestsPerSecond = rate, RequestBurst = api.Int("burst", 2 * rate, min: 1, max: 200_000_000) };
        if (options.Context.Length > 0 && options.Kubeconfig.Length == 0)
            api.Problem("context", "is given without kubeAPIConfig.kubeConfig, the file that has it");
        foreach (var address in options.AdvertiseAddresses.Where(address => !System.Net.IPAddress.TryParse(address, out _)))
            hub.Problem("advertiseAddress", $"'{address}' is not an IP address; DNS names go to dnsNames");

        var edgeController = modules.Section("edgeController");
        edgeController.Ignore("enable", "nodeUpdateFrequency", "buffer", "load", "context");
        modules.Section("deviceController").Ignore("enable", "buffer", "load", "context");
        modules.Section("syncController").Ignore("enable");
        foreach (var unused in (string[])["nodeUpgradeJobController", "iptablesManager", "nodeTask"])
            modules.Ignore(unused);

        var tasks = modules.Section("taskManager");
        tasks.Ignore("buffer", "load");
        options = options with
        {
            IsTaskManagerEnabled = tasks.Bool("enable", false),
            IsDynamicControllerEnabled = modules.Section("dynamicController").Bool("enable", false),
            Gslb = GslbOptions.Read(modules.Section("gslb")),
            Router = RouterOptions.Read(modules.Section("router")),
            CloudStream = CloudStreamOptions.Read(modules.Section("cloudStream")),
            Dashboard = DashboardOptions.Read(modules.Section("dashboard"), options.Monitor),
            SecretNamespaces = edgeController.Texts("secretNamespaces", []),
            SecretRefresh = TimeSpan.FromSeconds(edgeController.Int("secretRefreshSeconds", 0, min: 0, max: 86_400)),
        };
        if (options.SecretRefresh > TimeSpan.Zero && options.SecretNamespaces.Count > 0)
            edgeController.Problem("secretRefreshSeconds", "is given beside secretNamespaces, whose Secrets are watched: leave one of them out");
        var server = modules.Section("apiServer");
        var isEmbedded = options.Kubeconfig.Length == 0 && options.Master.Length == 0;
        var at = new ListenOn(
            server.Bool("enable", isEmbedded), server.Text("bindAddress", options.ApiServer.Address), server.Int("port", 6443, min: 0, max: 65535), options.ApiServer.PortKey);
        CheckAddress(server, "bindAddress", at.Address);
        if (at.IsEnabled && !isEmbedded)
            server.Problem("enable", "is true beside kubeAPIConfig.kubeConfig or master; leave one of them out");
        if (!at.IsEnabled && isEmbedded)
            server.Problem("enable", "is false and kubeAPIConfig.kubeConfig is empty: give the kubeconfig of the cluster to serve");
        var audit = new AuditLogOptions(server.Text("auditLogPath", ""), server.Int("auditLogMaxSize", 100, min: 1, max: 100_000), server.Int("auditLogMaxBackup", 10, min: 0, max: 10_000));
        return options with { ApiServer = at, AuditLog = audit };
    }

    private static ListenOn Listen(ConfigSection section, ListenOn absent)
    {
        var on = absent with
        {
            IsEnabled = section.Bool("enable", absent.IsEnabled),
            Address = section.Text("address", absent.Address),
            Port = section.Int("port", absent.Port, min: 0, max: 65535),
        };
        CheckAddress(section, "address", on.Address);
        return on;
    }

    private static ListenOn Monitoring(ConfigSection section, string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon > 0 && int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port <= 65535
            && System.Net.IPAddress.TryParse(text[..colon], out _))
            return new ListenOn(true, text[..colon], port, "commonConfig.monitorServer.bindAddress");
        section.Problem("bindAddress", $"'{text}' is not <IP address>:<port>, e.g. 127.0.0.1:9091");
        return new ListenOn(true, "127.0.0.1", 9091, "commonConfig.monitorServer.bindAddress");
    }

    private static void CheckAddress(ConfigSection section, string key, string address)
    {
        if (!System.Net.IPAddress.TryParse(address, out _))
            section.Problem(key, $"'{address}' is not an IP address, e.g. 0.0.0.0");
    }

    private static IReadOnlyList<string> Given(IReadOnlyList<string> texts) => [.. texts.Where(text => text.Length > 0)];
}
