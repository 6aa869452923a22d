using Edge.Core.EdgeDns;

namespace Edge.Core.Configuration;

/// <summary>Everything edgecore.yaml says, with KubeEdge's defaults in place. Made by <see cref="EdgeCoreConfig"/>.</summary>
public sealed record EdgeCoreOptions
{
    /// <summary>The node's name: modules.edged.hostnameOverride, else the machine's host name in lower case.</summary>
    public required string NodeName { get; init; }

    /// <summary>Where edgecore.ports.json is written and where default paths lie when <c>--data-dir</c> was given.</summary>
    public string DataDirectory { get; init; } = "/var/lib/kubeedge";

    public EdgeHubOptions EdgeHub { get; init; } = new();

    public MetaManagerOptions MetaManager { get; init; } = new();

    public EdgedOptions Edged { get; init; } = new();

    public LocalApiOptions LocalApi { get; init; } = new();

    public EdgeStreamOptions EdgeStream { get; init; } = new();

    public DeviceTwinOptions DeviceTwin { get; init; } = new();

    public EventBusOptions EventBus { get; init; } = new();

    public ServiceBusOptions ServiceBus { get; init; } = new();

    public EdgeDnsOptions EdgeDns { get; init; } = new();

    public TaskManagerOptions TaskManager { get; init; } = new();

    /// <summary>The file that these were read from; null where they were not.</summary>
    public ConfigOrigin? Origin { get; init; }

    public MonitorOptions Monitor { get; init; } = new();

    /// <summary>commonConfig.tracing.endpoint: where traces go, OTLP over HTTP; empty for OTEL_EXPORTER_OTLP_ENDPOINT, and none where that is not set either.</summary>
    public string TracingEndpoint { get; init; } = "";

    /// <summary>Keys that were set, are KubeEdge's, and have no effect here; one sentence each, for the log.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <summary>Section <c>modules.edgeHub</c>: the link to CloudCore, its identity and its queue.</summary>
public sealed record EdgeHubOptions
{
    public bool Enable { get; init; } = true;

    /// <summary>False where QUIC is the only way (key websocket.enable): then there is nothing to fall back to.</summary>
    public bool WebSocketEnable { get; init; } = true;

    public EdgeQuicOptions Quic { get; init; } = new();

    /// <summary>Host and port of CloudCore's hub, e.g. <c>192.0.2.1:10000</c> (key websocket.server).</summary>
    public string Server { get; init; } = "127.0.0.1:10000";

    /// <summary>Base URL of CloudCore's enrolment server, e.g. <c>https://192.0.2.1:10002</c> (key httpServer).</summary>
    public string HttpServer { get; init; } = "https://127.0.0.1:10002";

    /// <summary>The join token, needed once; empty when a certificate is there. A secret: never logged.</summary>
    public string Token { get; init; } = "";

    public string ProjectId { get; init; } = "e632aba927ea4ac2b575ec1603d56f10";

    /// <summary>Seconds between keepalive messages; two without a sign of the cloud end the link. CloudCore ends a session after 30 s of silence, so at most about 15.</summary>
    public int HeartbeatSeconds { get; init; } = 15;

    /// <summary>Messages a second from the queue to a stock KubeEdge cloud; leases are exempt.</summary>
    public int MessageQps { get; init; } = 30;

    /// <summary>Messages that may go at once after a pause.</summary>
    public int MessageBurst { get; init; } = 60;

    /// <summary>Messages a second from the queue to an Edge CloudCore, which answers each; twice as many may go at once after a pause. Too small: a node that was
    /// offline long takes long to catch up. Too large: nodes that come back together press on CloudCore.</summary>
    public int EdgeWireQps { get; init; } = 2000;

    public bool RotateCertificates { get; init; } = true;

    public string CaFile { get; init; } = "/etc/kubeedge/ca/rootCA.crt";

    public string CertificateFile { get; init; } = "/etc/kubeedge/certs/server.crt";

    public string KeyFile { get; init; } = "/etc/kubeedge/certs/server.key";

    /// <summary>Seconds for TCP, TLS and the WebSocket upgrade together.</summary>
    public int HandshakeTimeoutSeconds { get; init; } = 30;

    /// <summary>Seconds after which a write that makes no progress ends the link.</summary>
    public int WriteDeadlineSeconds { get; init; } = 15;

    /// <summary>Entries of one priority that the queue keeps; the oldest goes first, with a counter.</summary>
    public int QueueEntriesMax { get; init; } = 10_000;

    /// <summary>Bytes of content of one priority that the queue keeps on disk.</summary>
    public long QueueBytesMax { get; init; } = 256L * 1024 * 1024;

    /// <summary>Leaves the token out.</summary>
    public override string ToString() => $"EdgeHubOptions {{ Server = {Server}, HttpServer = {HttpServer} }}";
}

/// <summary>Section <c>modules.edgeHub.quic</c>: the other way to CloudCore's hub.</summary>
public sealed record EdgeQuicOptions
{
    /// <summary>Tried before the WebSocket at each connection. Needs libmsquic here and at CloudCore, and a network that lets UDP through.</summary>
    public bool Enable { get; init; }

    /// <summary>Host and UDP port, e.g. <c>192.0.2.1:10001</c>.</summary>
    public string Server { get; init; } = "127.0.0.1:10001";

    /// <summary>Seconds for the handshake. Too small: slow networks never get QUIC. Too large: where UDP is blocked each reconnect waits so long before the WebSocket is tried, which is why
    /// it is not KubeEdge's 30.</summary>
    public int HandshakeTimeoutSeconds { get; init; } = 5;

    /// <summary>Seconds after which a write that makes no progress ends the link.</summary>
    public int WriteDeadlineSeconds { get; init; } = 15;
}

/// <summary>Sections <c>database</c> and <c>modules.metaManager</c>.</summary>
public sealed record MetaManagerOptions
{
    /// <summary>The SQLite file (key database.dataSource).</summary>
    public string DatabasePath { get; init; } = "/var/lib/kubeedge/edgecore.db";

    /// <summary>Seconds a query to the cloud may take; a local reader waits no longer than 10 s whatever this says.</summary>
    public int RemoteQueryTimeoutSeconds { get; init; } = 60;

    /// <summary>The Kubernetes API on the node.</summary>
    public MetaServerOptions MetaServer { get; init; } = new();
}

/// <summary>Section <c>modules.edged</c>: pods through CRI, and what the Node says about itself.</summary>
public sealed record EdgedOptions
{
    /// <summary>False runs no pods; the node still registers and serves devices.</summary>
    public bool Enable { get; init; } = true;

    /// <summary>CRI endpoint, <c>unix:///path</c> (key tailoredKubeletConfig.containerRuntimeEndpoint).</summary>
    public string RuntimeEndpoint { get; init; } = "unix:///run/containerd/containerd.sock";

    /// <summary>The socket's path without the scheme.</summary>
    public string RuntimeSocketPath => RuntimeEndpoint.StartsWith("unix://", StringComparison.Ordinal) ? RuntimeEndpoint["unix://".Length..] : RuntimeEndpoint;

    public string PodSandboxImage { get; init; } = "kubeedge/pause:3.6";

    /// <summary>Where pod volumes and logs' parents lie (kubelet's root).</summary>
    public string RootDirectory { get; init; } = "/var/lib/kubelet";

    /// <summary>Where container logs are written, <c>&lt;dir&gt;/&lt;ns&gt;_&lt;pod&gt;_&lt;uid&gt;/&lt;container&gt;/&lt;n&gt;.log</c>.</summary>
    public string PodLogsDirectory { get; init; } = "/var/log/pods";

    /// <summary>Folder of static pods' files; empty for none.</summary>
    public string StaticPodPath { get; init; } = "/etc/kubeedge/manifests";

    /// <summary>Seconds between looks into that folder, beside those that the kernel's news bring.</summary>
    public int FileCheckFrequencySeconds { get; init; } = 20;

    /// <summary><c>cgroupfs</c> or <c>systemd</c>; must be what the runtime uses.</summary>
    public string CgroupDriver { get; init; } = "cgroupfs";

    public string HostnameOverride { get; init; } = "";

    /// <summary>The node's address, or empty for the one of the default route.</summary>
    public string NodeIp { get; init; } = "";

    /// <summary>The interface whose address is the node's when <see cref="NodeIp"/> is empty.</summary>
    public string CustomInterfaceName { get; init; } = "";

    public int MaxPods { get; init; } = 110;

    /// <summary>False registers the node with <c>spec.unschedulable</c>.</summary>
    public bool RegisterSchedulable { get; init; } = true;

    /// <summary>Labels beside the usual ones.</summary>
    public IReadOnlyDictionary<string, string> NodeLabels { get; init; } = new Dictionary<string, string>();

    public IReadOnlyList<NodeTaint> Taints { get; init; } = [];

    public int NodeStatusUpdateFrequencySeconds { get; init; } = 10;

    /// <summary>How often the whole status goes up when nothing changed.</summary>
    public int NodeStatusReportFrequencySeconds { get; init; } = 300;

    public int NodeLeaseDurationSeconds { get; init; } = 40;

    /// <summary>Whether Kubernetes events of pods go to the cloud.</summary>
    public bool ReportEvent { get; init; }

    public string ClusterDns { get; init; } = "";

    public string ClusterDomain { get; init; } = "";

    /// <summary>Kernel settings beyond the safe ones that pods may ask for; a name that ends in <c>*</c> stands for all that begin so.</summary>
    public IReadOnlyList<string> AllowedUnsafeSysctls { get; init; } = [];

    /// <summary>Processes and threads that one pod may have; 0 or less: as many as the machine lets it.</summary>
    public long PodPidsLimit { get; init; } = -1;

    public ResourceOptions Resources { get; init; } = new();
}

/// <summary>A taint of <c>registerWithTaints</c>.</summary>
public sealed record NodeTaint(string Key, string Value, string Effect);

/// <summary>Edged's HTTP API, as a kubelet has it; keys of <c>modules.edged.tailoredKubeletConfig</c> unless another is named.</summary>
public sealed record LocalApiOptions
{
    /// <summary>False serves nothing (key enableServer).</summary>
    public bool Enable { get; init; } = true;

    /// <summary>IP address to listen on (key address); one that is not loopback needs TLS.</summary>
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>Port (key readOnlyPort); 0 takes a free one, which edgecore.ports.json names.</summary>
    public int Port { get; init; } = 10350;

    /// <summary>File with the bearer token, made with mode 0600 when it is not there (key modules.edged.localAPITokenFile).</summary>
    public string TokenFile { get; init; } = "/var/lib/kubeedge/localapi.token";

    /// <summary>PEM certificate (key tlsCertFile); empty for plain HTTP.</summary>
    public string TlsCertificateFile { get; init; } = "";

    /// <summary>PEM key of the certificate (key tlsPrivateKeyFile).</summary>
    public string TlsKeyFile { get; init; } = "";

    /// <summary>PEM CAs whose client certificates are accepted beside the token (key authentication.x509.clientCAFile); empty accepts none.</summary>
    public string ClientCaFile { get; init; } = "";

    /// <summary>Whether HTTPS is served.</summary>
    public bool HasTls => TlsCertificateFile.Length > 0;
}

/// <summary>Section <c>modules.edgeStream</c>.</summary>
public sealed record EdgeStreamOptions
{
    /// <summary>False keeps kubectl's logs, exec, attach and port-forward away from this node. KubeEdge's default config has false; without the section it is true.</summary>
    public bool Enable { get; init; } = true;

    /// <summary>HOST:PORT of a stock KubeEdge cloudcore's tunnel (10004); empty for none. An Edge CloudCore takes none: its streams go over the hub's own port.</summary>
    public string Server { get; init; } = "";

    /// <summary>Seconds that the tunnel may take to be opened.</summary>
    public int HandshakeTimeoutSeconds { get; init; } = 30;

    /// <summary>Seconds without a word of the cloud, answers to pings (each 5 s) included, after which the tunnel is dialed anew.</summary>
    public int ReadDeadlineSeconds { get; init; } = 15;

    /// <summary>Seconds that the cloud may take a message's bytes in; then the tunnel is dialed anew.</summary>
    public int WriteDeadlineSeconds { get; init; } = 15;
}

/// <summary>Section <c>modules.deviceTwin</c>.</summary>
public sealed record DeviceTwinOptions
{
    public bool Enable { get; init; } = true;

    /// <summary>Path of the DMI unix socket.</summary>
    public string DmiSockPath { get; init; } = "/etc/kubeedge/dmi.sock";

    /// <summary>What is reported of one device within this time after a message to the cloud goes with the next; 0 sends each report at once.</summary>
    public int ReportWindowMs { get; init; } = 1000;
}

/// <summary>Section <c>commonConfig.monitorServer</c>: metrics and health over HTTP on loopback.</summary>
public sealed record MonitorOptions
{
    public bool Enable { get; init; } = true;

    /// <summary>IP address and port; port 0 takes a free one, which edgecore.ports.json names.</summary>
    public string BindAddress { get; init; } = "127.0.0.1:9092";
}
