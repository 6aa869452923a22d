using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Kubernetes;
using Edge.Protocol.Cri.V1;

namespace Edge.Core.Edged;

/// <summary>Translates a pod to CRI configurations. Pure but for resolv.conf, which is given.</summary>
internal static class CriConfigs
{
    public const string NameLabel = "io.kubernetes.pod.name";
    public const string NamespaceLabel = "io.kubernetes.pod.namespace";
    public const string UidLabel = "io.kubernetes.pod.uid";
    public const string ContainerLabel = "io.kubernetes.container.name";

    /// <summary>Annotation of a container: <see cref="ContainerDescription.Hash"/> of what it was made from.</summary>
    public const string HashAnnotation = "io.kubernetes.container.hash";

    /// <summary>The node that owns a sandbox; what carries another node's name is never touched.</summary>
    public const string NodeLabel = "edge.io/node";

    private static readonly string[] s_maskedPaths =
    [
        "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ];

    private static readonly string[] s_readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

    /// <summary>Hostname of the pod: spec.hostname or its name, cut to 63 characters.</summary>
    public static string Hostname(PodDescription pod)
    {
        var name = pod.Json.Text("spec", "hostname") is { Length: > 0 } set ? set : pod.Name;
        return name.Length <= 63 ? name : name[..63].TrimEnd('-', '.');
    }

    public static string LogDirectory(EdgedOptions options, PodDescription pod)
        => Path.Combine(options.PodLogsDirectory, $"{pod.Namespace}_{pod.Name}_{pod.Uid}");

    /// <summary>The cgroup below which the pod's containers are; the driver decides how it is written.</summary>
    public static string CgroupParent(EdgedOptions options, PodDescription pod)
    {
        var qos = pod.QosClass == "Guaranteed" ? "" : pod.QosClass.ToLowerInvariant();
        return options.CgroupDriver == "systemd"
            ? $"kubepods{(qos.Length > 0 ? "-" + qos : "")}-pod{pod.Uid.Replace('-', '_')}.slice"
            : $"/kubepods{(qos.Length > 0 ? "/" + qos : "")}/pod{pod.Uid}";
    }

    /// <param name="resolvConf">Lines of this machine's /etc/resolv.conf.</param>
    public static PodSandboxConfig Sandbox(PodDescription pod, uint attempt, EdgedOptions options, string nodeName, IEnumerable<string> resolvConf)
    {
        var spec = pod.Json["spec"];
        var config = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = pod.Name, Namespace = pod.Namespace, Uid = pod.Uid, Attempt = attempt },
            Hostname = pod.HostNetwork ? "" : Hostname(pod),
            LogDirectory = LogDirectory(options, pod),
            DnsConfig = Dns(pod, options, resolvConf),
            Linux = new LinuxPodSandboxConfig
            {
                CgroupParent = CgroupParent(options, pod),
                SecurityContext = new LinuxSandboxSecurityContext
                {
                    NamespaceOptions = Namespaces(pod),
                    Privileged = pod.Containers.Concat(pod.InitContainers).Any(container => container.Json.Flag(false, "securityContext", "privileged")),
                    Seccomp = new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
                },
            },
        };
        foreach (var (key, value) in pod.Json.Map("metadata", "labels"))
            config.Labels[key] = value;
        config.Labels[NameLabel] = pod.Name;
        config.Labels[NamespaceLabel] = pod.Namespace;
        config.Labels[UidLabel] = pod.Uid;
        config.Labels[NodeLabel] = nodeName;
        foreach (var (key, value) in pod.Json.Map("metadata", "annotations"))
            config.Annotations[key] = value;
        foreach (var sysctl in spec.Items("securityContext", "sysctls"))
            config.Linux.Sysctls[sysctl.Text("name")] = sysctl.Text("value");
        if (!pod.HostNetwork)
        {
            foreach (var port in pod.Containers.SelectMany(container => container.Json.Items("ports")).Where(port => port.Number(0, "hostPort") > 0))
            {
                config.PortMappings.Add(new PortMapping
                {
                    ContainerPort = (int)port.Number(0, "containerPort"),
                    HostPort = (int)port.Number(0, "hostPort"),
                    HostIp = port.Text("hostIP"),
                    Protocol = port.Text("protocol") switch { "UDP" => Protocol.Cri.V1.Protocol.Udp, "SCTP" => Protocol.Cri.V1.Protocol.Sctp, _ => Protocol.Cri.V1.Protocol.Tcp },
                });
            }
        }

        return config;
    }

    /// <summary>A container's configuration without its mounts.</summary>
    /// <param name="imageId">What the image's name stands for at the runtime now.</param>
    public static ContainerConfig Container(
        PodDescription pod, ContainerDescription container, uint attempt, string imageId, IReadOnlyList<KeyValuePair<string, string>> environment,
        LinuxContainerResources resources, string nodeName)
    {
        var values = environment.ToDictionary(StringComparer.Ordinal);
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = container.Name, Attempt = attempt },
            Image = new ImageSpec { Image = imageId, UserSpecifiedImage = container.Image },
            WorkingDir = container.Json.Text("workingDir"),
            LogPath = string.Create(CultureInfo.InvariantCulture, $"{container.Name}/{attempt}.log"),
            Stdin = container.Json.Flag(false, "stdin"),
            StdinOnce = container.Json.Flag(false, "stdinOnce"),
            Tty = container.Json.Flag(false, "tty"),
            Linux = new LinuxContainerConfig { Resources = resources, SecurityContext = Security(pod, container) },
        };
        config.Command.Add(container.Json.Texts("command").Select(text => PodEnvironment.Expand(text, values)));
        config.Args.Add(container.Json.Texts("args").Select(text => PodEnvironment.Expand(text, values)));
        config.Envs.Add(environment.Select(pair => new KeyValue { Key = pair.Key, Value = pair.Value }));
        config.Labels[NameLabel] = pod.Name;
        config.Labels[NamespaceLabel] = pod.Namespace;
        config.Labels[UidLabel] = pod.Uid;
        config.Labels[ContainerLabel] = container.Name;
        config.Labels[NodeLabel] = nodeName;
        config.Annotations[HashAnnotation] = container.Hash;
        config.Annotations["io.kubernetes.container.restartCount"] = attempt.ToString(CultureInfo.InvariantCulture);
        return config;
    }

    private static NamespaceOption Namespaces(PodDescription pod) => new()
    {
        Network = pod.HostNetwork ? NamespaceMode.Node : NamespaceMode.Pod,
        Ipc = pod.Json.Flag(false, "spec", "hostIPC") ? NamespaceMode.Node : NamespaceMode.Pod,
        Pid = pod.Json.Flag(false, "spec", "hostPID") ? NamespaceMode.Node
            : pod.Json.Flag(false, "spec", "shareProcessNamespace") ? NamespaceMode.Pod : NamespaceMode.Container,
    };

    private static LinuxContainerSecurityContext Security(PodDescription pod, ContainerDescription container)
    {
        var own = container.Json["securityContext"];
        var shared = pod.Json.At("spec", "securityContext");
        var privileged = own.Flag(false, "privileged");
        var context = new LinuxContainerSecurityContext
        {
            NamespaceOptions = Namespaces(pod),
            Privileged = privileged,
            ReadonlyRootfs = own.Flag(false, "readOnlyRootFilesystem"),
            NoNewPrivs = !own.Flag(true, "allowPrivilegeEscalation"),
            Seccomp = Seccomp(own.At("seccompProfile") ?? shared.At("seccompProfile")),
        };
        var user = own.Number(shared.Number(-1, "runAsUser"), "runAsUser");
        if (user >= 0)
            context.RunAsUser = new Int64Value { Value = user };
        var group = own.Number(shared.Number(-1, "runAsGroup"), "runAsGroup");
        if (group >= 0)
        {
            context.RunAsGroup = new Int64Value { Value = group };
            context.RunAsUser ??= new Int64Value { Value = 0 };
        }

        if (shared.Number(-1, "fsGroup") is >= 0 and var files)
            context.SupplementalGroups.Add(files);
        if (shared.At("supplementalGroups") is JsonArray groups)
            context.SupplementalGroups.Add(groups.OfType<JsonValue>().Where(value => value.TryGetValue<long>(out _)).Select(value => value.GetValue<long>()));
        if (own.At("capabilities") is not null)
        {
            context.Capabilities = new Capability();
            context.Capabilities.AddCapabilities.Add(own.Texts("capabilities", "add"));
            context.Capabilities.DropCapabilities.Add(own.Texts("capabilities", "drop"));
        }

        if (!privileged)
        {
            context.MaskedPaths.Add(s_maskedPaths);
            context.ReadonlyPaths.Add(s_readonlyPaths);
        }

        return context;
    }

    private static SecurityProfile Seccomp(JsonNode? profile) => profile.Text("type") switch
    {
        "RuntimeDefault" => new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
        "Localhost" => new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.Localhost, LocalhostRef = profile.Text("localhostProfile") },
        _ => new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.Unconfined },
    };

    // Null lets the runtime take this machine's resolv.conf as it is.
    private static DNSConfig? Dns(PodDescription pod, EdgedOptions options, IEnumerable<string> resolvConf)
    {
        var spec = pod.Json["spec"];
        var policy = spec.Text("dnsPolicy") is { Length: > 0 } set ? set : "ClusterFirst";
        var extra = spec.At("dnsConfig");
        var cluster = options.ClusterDns.Length > 0 && (policy == "ClusterFirstWithHostNet" || policy == "ClusterFirst" && !pod.HostNetwork);
        if (extra is null && !cluster && policy != "None")
            return null;
        var dns = new DNSConfig();
        if (policy != "None")
        {
            foreach (var line in resolvConf)
            {
                var words = line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
                if (words.Length < 2)
                    continue;
                if (words[0] == "nameserver" && !cluster)
                    dns.Servers.Add(words[1]);
                else if (words[0] is "search" or "domain")
                    dns.Searches.Add(words[1..]);
                else if (words[0] == "options" && !cluster)
                    dns.Options.Add(words[1..]);
            }
        }

        if (cluster)
        {
            dns.Servers.Add(options.ClusterDns.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
            if (options.ClusterDomain.Length > 0)
            {
                string[] searches = [$"{pod.Namespace}.svc.{options.ClusterDomain}", $"svc.{options.ClusterDomain}", options.ClusterDomain, .. dns.Searches];
                dns.Searches.Clear();
                dns.Searches.Add(searches);
            }

            dns.Options.Add("ndots:5");
        }

        dns.Servers.Add(extra.Texts("nameservers"));
        dns.Searches.Add(extra.Texts("searches"));
        dns.Options.Add(extra.Items("options").Select(option => option.Text("value") is { Length: > 0 } value ? $"{option.Text("name")}:{value}" : option.Text("name")));
        return dns;
    }
}
