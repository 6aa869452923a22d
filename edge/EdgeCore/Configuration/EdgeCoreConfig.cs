using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Edge.Common.Configuration;
using Edge.Core.EdgeDns;

namespace Edge.Core.Configuration;

/// <summary>Reads edgecore.yaml (<c>edgecore.config.kubeedge.io/v1alpha2</c>, v1alpha1 too) into <see cref="EdgeCoreOptions"/>; kubeedge-wire §5.10.</summary>
public static partial class EdgeCoreConfig
{
    private const string DefaultSandboxImage = "kubeedge/pause:3.6";

    /// <summary>Reads the file, lays <paramref name="overrides"/> (<c>key.path=value</c>) over it, and checks everything.</summary>
    /// <param name="dataDirectory">When set, every default path lies below it; paths that the file names stay as they are.</param>
    /// <param name="hostName">The machine's host name, used when the file has no hostnameOverride.</param>
    /// <exception cref="ConfigException">Names every wrong key and value with its line.</exception>
    public static EdgeCoreOptions Load(string path, IEnumerable<string> overrides, string? dataDirectory, string hostName)
    {
        var sets = overrides.ToList();
        return Read(ConfigFile.Load(path, sets), dataDirectory, hostName) with { Origin = new ConfigOrigin(Path.GetFullPath(path), sets, dataDirectory, hostName) };
    }

    /// <summary>As <see cref="Load"/>, from text.</summary>
    public static EdgeCoreOptions Parse(string name, string yaml, IEnumerable<string> overrides, string? dataDirectory, string hostName)
        => Read(ConfigFile.Parse(name, yaml, overrides), dataDirectory, hostName);

    private static EdgeCoreOptions Read(ConfigFile file, string? dataDirectory, string hostName)
    {
        var notes = new List<string>();
        var paths = new DefaultPaths(dataDirectory is null ? null : Path.GetFullPath(dataDirectory));
        var root = file.Root;
        root.ExpectText("kind", "EdgeCore");
        root.ExpectText("apiVersion", "edgecore.config.kubeedge.io/v1alpha2", "edgecore.config.kubeedge.io/v1alpha1");
        root.Ignore("featureGates", "metadata", "edgecoreVersion");
        var database = root.Section("database");
        if (database.Text("driverName", "sqlite3") is not "sqlite3" and var driver)
            database.Problem("driverName", $"is '{driver}', must be 'sqlite3'");
        database.Ignore("aliasName");
        var common = root.Section("commonConfig");
        var monitor = common.Section("monitorServer");
        monitor.Ignore("enableProfiling");

        var modules = root.Section("modules");
        if (modules.Has("dbTest"))
            notes.Add("modules.dbTest is accepted and has no effect in this version");
        modules.Ignore("dbTest");
        var stream = modules.Section("edgeStream");
        // Streams go with the hub's certificates, the tunnel as well.
        stream.Ignore("tlsTunnelCAFile", "tlsTunnelCertFile", "tlsTunnelPrivateKeyFile");
        var edgedSection = modules.Section("edged");
        var kubelet = edgedSection.Section("tailoredKubeletConfig");
        var edged = ReadEdged(edgedSection, kubelet, paths, notes);
        var nodeName = edged.HostnameOverride.Length > 0 ? edged.HostnameOverride : hostName.ToLowerInvariant();
        if (!IsNodeName(nodeName))
        {
            edgedSection.Problem("hostnameOverride", $"the node's name is '{nodeName}', must be a DNS-1123 subdomain: at most 253 lower-case letters, digits, '-' and '.', "
                + "each part starting and ending with a letter or digit");
        }

        var dns = modules.Has("edgeDns") ? EdgeDnsOptions.Read(modules.Section("edgeDns"), ResolvConf(), notes) : new EdgeDnsOptions();
        // Pods ask EdgeDns unless the file says whom. resolv.conf(5) knows no port, and a pod's loopback is its own.
        if (dns.Enable && edged.ClusterDns.Length == 0 && dns.Listen.FirstOrDefault(one => one.Port == 53 && !IPAddress.IsLoopback(one.Address)) is { } forPods)
            edged = edged with { ClusterDns = forPods.Address.ToString(), ClusterDomain = edged.ClusterDomain.Length > 0 ? edged.ClusterDomain : dns.ClusterDomain };
        var databasePath = database.Text("dataSource", paths.Database);
        var hub = ReadHub(modules.Section("edgeHub"), paths, notes);
        var options = new EdgeCoreOptions
        {
            NodeName = nodeName,
            DataDirectory = paths.Data,
            EdgeHub = hub,
            MetaManager = ReadMeta(modules.Section("metaManager"), hub, notes) with { DatabasePath = databasePath },
            Edged = edged,
            EdgeStream = ReadStream(stream),
            LocalApi = ReadLocalApi(edgedSection, kubelet, Path.Combine(Path.GetDirectoryName(Path.GetFullPath(databasePath)) ?? "/", "localapi.token"), notes),
            DeviceTwin = ReadTwin(modules.Section("deviceTwin"), paths),
            EventBus = modules.Has("eventBus") ? EventBusOptions.Read(modules.Section("eventBus")) : new EventBusOptions(),
            ServiceBus = ServiceBusOptions.Read(modules.Section("serviceBus")),
            TaskManager = TaskManagerOptions.Read(modules.Section("taskManager")),
            EdgeDns = dns,
            TracingEndpoint = common.Section("tracing").Url("endpoint"),
            Monitor = new MonitorOptions { Enable = monitor.Bool("enable", true), BindAddress = monitor.Text("bindAddress", "127.0.0.1:9092") },
        };
        if (!IPEndPoint.TryParse(options.Monitor.BindAddress, out _) || !options.Monitor.BindAddress.Contains(':', StringComparison.Ordinal))
            monitor.Problem("bindAddress", $"is '{options.Monitor.BindAddress}', must be an IP address and a port, e.g. 127.0.0.1:9092");
        file.ThrowIfInvalid();
        return options with { Notes = notes };
    }

    // Of this machine; none where there is no such file.
    private static EdgeStreamOptions ReadStream(ConfigSection section)
    {
        var absent = new EdgeStreamOptions();
        var options = new EdgeStreamOptions
        {
            Enable = section.Bool("enable", absent.Enable),
            Server = section.Text("server", absent.Server),
            HandshakeTimeoutSeconds = section.Int("handshakeTimeout", absent.HandshakeTimeoutSeconds, 1, 600),
            ReadDeadlineSeconds = section.Int("readDeadline", absent.ReadDeadlineSeconds, 6, 600),
            WriteDeadlineSeconds = section.Int("writeDeadline", absent.WriteDeadlineSeconds, 1, 600),
        };
        if (options.Server.Length > 0 && !(Uri.TryCreate("wss://" + options.Server, UriKind.Absolute, out var uri) && uri is { AbsolutePath: "/", Query: "", UserInfo: "", Port: > 0 } && options.Server.EndsWith($":{uri.Port}", StringComparison.Ordinal)))
            section.Problem("server", $"is '{options.Server}', must be HOST:PORT, e.g. 192.0.2.1:10004");
        return options;
    }

    private static string[] ResolvConf()
    {
        try
        {
            return File.ReadAllLines("/etc/resolv.conf");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static EdgeHubOptions ReadHub(ConfigSection hub, DefaultPaths paths, List<string> notes)
    {
        var socket = hub.Section("websocket");
        socket.Ignore("readDeadline");
        var quic = hub.Section("quic");
        // As of the WebSocket: silence is found by the heartbeat.
        quic.Ignore("readDeadline");
        var byQuic = new EdgeQuicOptions();
        byQuic = new EdgeQuicOptions
        {
            Enable = quic.Bool("enable", byQuic.Enable),
            Server = quic.Text("server", byQuic.Server),
            HandshakeTimeoutSeconds = quic.Int("handshakeTimeout", byQuic.HandshakeTimeoutSeconds, 1, 600),
            WriteDeadlineSeconds = quic.Int("writeDeadline", byQuic.WriteDeadlineSeconds, 1, 600),
        };
        var webSocket = socket.Bool("enable", true);
        if (!webSocket && !byQuic.Enable)
            socket.Problem("enable", "is false, and there is no other way to the cloud; set it to true, or modules.edgeHub.quic.enable to true, or modules.edgeHub.enable to false");
        var options = new EdgeHubOptions
        {
            Enable = hub.Bool("enable", true),
            WebSocketEnable = webSocket,
            Quic = byQuic,
            Server = socket.Text("server", "127.0.0.1:10000"),
            HttpServer = hub.Text("httpServer", "https://127.0.0.1:10002"),
            Token = hub.Text("token", ""),
            ProjectId = hub.Text("projectID", "e632aba927ea4ac2b575ec1603d56f10"),
            HeartbeatSeconds = hub.Int("heartbeat", 15, 1, 600),
            MessageQps = hub.Int("messageQPS", 30, 1, 100_000),
            MessageBurst = hub.Int("messageBurst", 60, 1, 100_000),
            EdgeWireQps = hub.Int("edgeWireQPS", 2000, 1, 100_000),
            RotateCertificates = hub.Bool("rotateCertificates", true),
            CaFile = hub.Text("tlsCaFile", paths.CaFile),
            CertificateFile = hub.Text("tlsCertFile", paths.CertificateFile),
            KeyFile = hub.Text("tlsPrivateKeyFile", paths.KeyFile),
            HandshakeTimeoutSeconds = socket.Int("handshakeTimeout", 30, 1, 600),
            WriteDeadlineSeconds = socket.Int("writeDeadline", 15, 1, 600),
        };
        if (!TryHostPort(options.Server))
            socket.Problem("server", $"is '{options.Server}', must be HOST:PORT, e.g. 192.0.2.1:10000");
        if (!TryHostPort(options.Quic.Server))
            quic.Problem("server", $"is '{options.Quic.Server}', must be HOST:PORT, e.g. 192.0.2.1:10001");
        if (!Uri.TryCreate(options.HttpServer, UriKind.Absolute, out var url) || url.Scheme != Uri.UriSchemeHttps)
            hub.Problem("httpServer", $"is '{options.HttpServer}', must be an https URL, e.g. https://192.0.2.1:10002");
        // The token itself stays out of the message.
        if (options.Token.Length > 0 && !Common.Security.JoinToken.TryParse(options.Token, out _, out var why))
            hub.Problem("token", $"is malformed: {why}; print a new one with 'edgectl gettoken'");
        if (!options.Enable)
            notes.Add("modules.edgeHub.enable is false: this node never connects to the cloud");
        return options;
    }

    private static MetaManagerOptions ReadMeta(ConfigSection meta, EdgeHubOptions hub, List<string> notes)
    {
        meta.Ignore("contextSendGroup", "contextSendModule", "podStatusSyncInterval");
        if (!meta.Bool("enable", true))
            meta.Problem("enable", "is false; EdgeCore cannot work without its store");
        var server = MetaServerOptions.Read(meta.Section("metaServer"));
        // Every default config of KubeEdge names the hub's client certificate here, where KubeEdge itself never reads it; it has no names to be served under, and is not there before the node has joined.
        if (server.TlsCertificateFile == hub.CertificateFile || server.TlsCertificateFile == new EdgeHubOptions().CertificateFile)
        {
            server = server with { TlsCertificateFile = "", TlsKeyFile = "" };
            if (server.Enable)
                notes.Add("modules.metaManager.metaServer.tlsCertFile names the node's client certificate and has no effect: MetaServer serves with a certificate of its own");
        }

        return new MetaManagerOptions { RemoteQueryTimeoutSeconds = meta.Int("remoteQueryTimeout", 60, 1, 3600), MetaServer = server };
    }

    private static DeviceTwinOptions ReadTwin(ConfigSection twin, DefaultPaths paths)
    {
        var path = twin.Text("dmiSockPath", paths.DmiSocket);
        if (path.Length == 0)
            path = paths.DmiSocket;
        if (path.EndsWith('/'))
            path += "dmi.sock";
        path = path.StartsWith("unix://", StringComparison.Ordinal) ? path["unix://".Length..] : path;
        // sun_path holds 108 bytes with its terminating zero (unix(7)).
        if (System.Text.Encoding.UTF8.GetByteCount(path) > 107)
            twin.Problem("dmiSockPath", $"is '{path}', longer than the 107 bytes that a unix socket's path may have; choose a shorter path or --data-dir");
        return new DeviceTwinOptions { Enable = twin.Bool("enable", true), DmiSockPath = path, ReportWindowMs = twin.Int("reportWindowMs", 1000, 0, 3_600_000) };
    }

    private static EdgedOptions ReadEdged(ConfigSection edged, ConfigSection kubelet, DefaultPaths paths, List<string> notes)
    {
        edged.Ignore(s_unneededFlags);
        kubelet.Ignore(s_unneededKubelet);
        if (edged.Has("registerNodeNamespace") && edged.Text("registerNodeNamespace", "default") != "default")
            notes.Add("modules.edged.registerNodeNamespace has no effect: nodes have no namespace");
        edged.Ignore("registerNodeNamespace");
        if (edged.Text("podSandboxImage", DefaultSandboxImage) != DefaultSandboxImage)
            notes.Add("modules.edged.podSandboxImage has no effect: the container runtime chooses its pause image");

        var runtime = edged.Text("remoteRuntimeEndpoint", "unix:///run/containerd/containerd.sock");
        var runtimeKey = kubelet.Has("containerRuntimeEndpoint") ? "tailoredKubeletConfig.containerRuntimeEndpoint" : "remoteRuntimeEndpoint";
        runtime = kubelet.Text("containerRuntimeEndpoint", runtime);
        if (runtime.StartsWith('/'))
            runtime = "unix://" + runtime;
        if (!runtime.StartsWith("unix:///", StringComparison.Ordinal))
            edged.Problem(runtimeKey, $"is '{runtime}', must be unix:///PATH of the runtime's CRI socket");
        var driver = kubelet.Text("cgroupDriver", edged.Text("cgroupDriver", "cgroupfs"));
        if (driver is not ("cgroupfs" or "systemd"))
            edged.Problem("cgroupDriver", $"is '{driver}', must be 'cgroupfs' or 'systemd'");
        var nodeIp = edged.Text("nodeIP", "");
        if (nodeIp.Length > 0 && !IPAddress.TryParse(nodeIp, out _))
            edged.Problem("nodeIP", $"is '{nodeIp}', must be an IP address");
        var labels = new Dictionary<string, string>();
        foreach (var key in (string[])["labels", "nodeLabels"])
        {
            foreach (var (label, value) in edged.Map(key))
                labels[label] = value;
        }

        return new EdgedOptions
        {
            Enable = edged.Bool("enable", true),
            RuntimeEndpoint = runtime,
            PodSandboxImage = edged.Text("podSandboxImage", DefaultSandboxImage),
            RootDirectory = edged.Text("rootDirectory", paths.KubeletRoot),
            PodLogsDirectory = kubelet.Text("podLogsDir", paths.PodLogs),
            StaticPodPath = kubelet.Text("staticPodPath", paths.Manifests),
            FileCheckFrequencySeconds = Seconds(kubelet, "fileCheckFrequency", 20),
            CgroupDriver = driver,
            HostnameOverride = edged.Text("hostnameOverride", ""),
            NodeIp = nodeIp,
            CustomInterfaceName = edged.Text("customInterfaceName", ""),
            MaxPods = kubelet.Int("maxPods", 110, 0, 100_000),
            RegisterSchedulable = edged.Bool("registerSchedulable", true),
            NodeLabels = labels,
            Taints = [.. edged.Sections("taints").Concat(edged.Sections("registerWithTaints")).Concat(kubelet.Sections("registerWithTaints")).Select(ReadTaint)],
            NodeStatusUpdateFrequencySeconds = Seconds(kubelet, "nodeStatusUpdateFrequency", Seconds(edged, "nodeStatusUpdateFrequency", 10)),
            NodeStatusReportFrequencySeconds = Seconds(kubelet, "nodeStatusReportFrequency", 300),
            NodeLeaseDurationSeconds = kubelet.Int("nodeLeaseDurationSeconds", 40, 4, 3600),
            ReportEvent = edged.Bool("reportEvent", false),
            // v1alpha1 has both beside the other keys of edged.
            ClusterDns = string.Join(',', kubelet.Texts("clusterDNS", edged.Text("clusterDNS", "") is { Length: > 0 } one ? [one] : [])),
            ClusterDomain = kubelet.Text("clusterDomain", edged.Text("clusterDomain", "")),
            AllowedUnsafeSysctls = kubelet.Texts("allowedUnsafeSysctls", []),
            PodPidsLimit = kubelet.Int("podPidsLimit", -1, -1, int.MaxValue),
            Resources = ReadResources(kubelet),
        };
    }

    private static NodeTaint ReadTaint(ConfigSection section)
    {
        section.Ignore("timeAdded", "TimeAdded");
        // With capitals as KubeEdge 1.12 to 1.15 write them below edged.
        string Field(string name) => section.Text(name, section.Text(char.ToUpperInvariant(name[0]) + name[1..], name == "effect" ? "NoSchedule" : ""));
        var taint = new NodeTaint(Field("key"), Field("value"), Field("effect"));
        if (taint.Key.Length == 0)
            section.Problem("key", "must not be empty");
        if (taint.Effect is not ("NoSchedule" or "PreferNoSchedule" or "NoExecute"))
            section.Problem("effect", $"is '{taint.Effect}', must be NoSchedule, PreferNoSchedule or NoExecute");
        return taint;
    }

    // Go's duration text ("10s", "5m0s"), or whole seconds as v1alpha1 wrote them.
    private static int Seconds(ConfigSection section, string key, int absent)
    {
        if (!section.Has(key))
        {
            section.Ignore(key);
            return absent;
        }

        var text = section.Text(key, "");
        if (TryDuration(text, out var duration) && duration >= TimeSpan.FromSeconds(1) && duration <= TimeSpan.FromDays(1))
            return (int)Math.Round(duration.TotalSeconds);
        section.Problem(key, $"is '{text}', must be a duration from 1s to 24h, e.g. 10s or 5m0s");
        return absent;
    }

    internal static bool TryDuration(string text, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        if (double.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
        {
            duration = TimeSpan.FromSeconds(Math.Min(seconds, 1e9));
            return true;
        }

        var match = DurationPattern().Match(text);
        if (!match.Success)
            return false;
        foreach (Capture part in match.Groups[1].Captures)
        {
            var unit = part.Value.TakeWhile(c => char.IsAsciiDigit(c) || c == '.').Count();
            if (!double.TryParse(part.Value.AsSpan(0, unit), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
                return false;
            duration += TimeSpan.FromSeconds(Math.Min(number, 1e6) * part.Value[unit..] switch { "ms" => 0.001, "s" => 1, "m" => 60, _ => 3600 });
        }

        return true;
    }

    /// <summary>Whether <paramref name="name"/> is a DNS-1123 subdomain, as Kubernetes wants node names.</summary>
    public static bool IsNodeName(string name) => name.Length <= 253 && NodeNamePattern().IsMatch(name);

    private static bool TryHostPort(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0 && int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536
            && Uri.CheckHostName(text[..colon].Trim('[', ']')) != UriHostNameType.Unknown;
    }

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex NodeNamePattern();

    [GeneratedRegex(@"\A([0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+\z")]
    private static partial Regex DurationPattern();

    private sealed class DefaultPaths(string? data)
    {
        public string Data => data ?? "/var/lib/kubeedge";

        public string Database => Path.Combine(Data, "edgecore.db");

        public string CaFile => Path.Combine(data ?? "/etc/kubeedge", "ca/rootCA.crt");

        public string CertificateFile => Path.Combine(data ?? "/etc/kubeedge", "certs/server.crt");

        public string KeyFile => Path.Combine(data ?? "/etc/kubeedge", "certs/server.key");

        public string DmiSocket => Path.Combine(data ?? "/etc/kubeedge", "dmi.sock");

        public string Manifests => Path.Combine(data ?? "/etc/kubeedge", "manifests");

        public string KubeletRoot => data is null ? "/var/lib/kubelet" : Path.Combine(data, "kubelet");

        public string PodLogs => data is null ? "/var/log/pods" : Path.Combine(data, "logs/pods");
    }

    // Keys of KubeEdge's own EdgeCore configuration (v1alpha2, and v1alpha1's edged) that need no counterpart here.
    private static readonly string[] s_unneededFlags =
    [
        "bootstrapKubeconfig", "certDirectory", "cloudProvider", "cniBinDir", "cniCacheDirs", "cniConfDir", "concurrentConsumers", "containerRuntime", "cpuManagerPolicy",
        "cgroupRoot", "cgroupsPerQOS", "chrootEnabled", "containerized", "devicePluginEnabled", "edgedMemoryCapacity", "enableMetrics",
        "experimentalMounterPath", "gpuPluginEnabled", "hairpinMode", "imageCredentialProviderBinDir", "imageCredentialProviderConfigFile", "imageGCHighThreshold", "imageGCLowThreshold",
        "imagePullProgressDeadline", "keepTerminatedPodVolumes", "maxContainerCount", "maxPerPodContainerCount", "maximumDeadContainersPerPod", "minimumGCAge", "mounterPath",
        "networkPluginMTU", "networkPluginName", "nodeStatusReportFrequency", "registerNode", "remoteImageEndpoint", "runtimeCgroups", "runtimeRequestTimeout", "runtimeType", "seccompDefault",
        "volumeStatsAggPeriod", "windowsPriorityClass", "windowsService", "interfaceName", "dockerAddress", "masterServiceNamespace", "registerNodeNamespace", "exitOnLockContention", "lockFilePath",
        "cniCacheDir", "dockerEndpoint", "dockershimRootDirectory", "kubeConfig", "nonMasqueradeCidr", "seccompProfileRoot",
        "annotations", "edgeCoreCgroups", "systemCgroups", "experimentalCheckNodeCapabilitiesBeforeMount", "experimentalNodeAllocatableIgnoreEvictionThreshold", "kubeletConfigFile",
    ];

    // Fields of KubeletConfiguration (kubelet.config.k8s.io/v1beta1, Kubernetes 1.32) that KubeEdge passes on to its kubelet.
    private static readonly string[] s_unneededKubelet =
    [
        "apiVersion", "kind", "cgroupRoot", "cgroupsPerQOS", "configMapAndSecretChangeDetectionStrategy", "containerLogMaxWorkers", "contentType",
        "cpuCFSQuota", "cpuCFSQuotaPeriod", "cpuManagerPolicy", "cpuManagerPolicyOptions", "cpuManagerReconcilePeriod", "crashLoopBackOff", "enableControllerAttachDetach",
        "enableDebugFlagsHandler", "enableDebuggingHandlers", "enableProfilingHandler", "enableSystemLogHandler", "enableSystemLogQuery", "enforceNodeAllocatable", "eventBurst",
        "eventRecordQPS", "failCgroupV1", "failSwapOn", "featureGates", "hairpinMode", "imageServiceEndpoint", "iptablesDropBit", "iptablesMasqueradeBit",
        "kernelMemcgNotification", "kubeReservedCgroup", "localStorageCapacityIsolation", "logging", "makeIPTablesUtilChains", "maxOpenFiles", "maxParallelImagePulls",
        "memoryManagerPolicy", "memorySwap", "memoryThrottlingFactor", "nodeStatusMaxImages", "oomScoreAdj", "podCIDR", "podsPerCore", "port",
        "protectKernelDefaults", "qosReserved", "registerNode", "registryBurst", "registryPullQPS", "reservedMemory", "reservedSystemCPUs", "resolvConf", "runOnce",
        "runtimeRequestTimeout", "seccompDefault", "serializeImagePulls", "serverTLSBootstrap", "showHiddenMetricsForVersion", "shutdownGracePeriod",
        "shutdownGracePeriodByPodPriority", "shutdownGracePeriodCriticalPods", "staticPodURL", "staticPodURLHeader", "streamingConnectionIdleTimeout", "swapBehavior",
        "syncFrequency", "systemCgroups", "systemReservedCgroup", "tlsCipherSuites", "tlsMinVersion", "topologyManagerPolicy", "topologyManagerPolicyOptions",
        "topologyManagerScope", "tracing", "userNamespaces", "volumePluginDir", "volumeStatsAggPeriod", "authorization", "kubeletCgroups",
        "httpCheckFrequency", "memoryManager", "minimumGCAge", "rotateCertificates",
        "nodeStatusUpdateFrequency", "healthzBindAddress", "healthzPort", "kubeAPIBurst", "kubeAPIQPS", "enableContentionProfiling", "providerID", "singleProcessOOMKill",
    ];
}
