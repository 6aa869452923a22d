using System.Globalization;
using Edge.Core.Configuration;
using Edge.Core.Edged.Cgroups;
using Edge.Core.Edged.Spec;
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

    public static string LogDirectory(EdgedOptions options, PodDescription pod)
        => Path.Combine(options.PodLogsDirectory, $"{pod.Namespace}_{pod.Name}_{pod.Uid}");

    /// <summary>The cgroup below which the pod's containers are; the driver decides how it is written.</summary>
    public static string CgroupParent(EdgedOptions options, PodDescription pod)
    {
        var qos = pod.QosClass == "Guaranteed" ? "" : pod.QosClass.ToLowerInvariant();
        return options.CgroupDriver == "systemd"
            ? Slice(qos.Length > 0 ? "-" + qos : "", pod.Uid)
            : $"/kubepods{(qos.Length > 0 ? "/" + qos : "")}/pod{pod.Uid}";
    }

    /// <summary>A pod's slice, whose name says the slices that it lies in (systemd.slice(5)): a dash in the uid would be one more.</summary>
    /// <param name="qos"><c>-burstable</c>, <c>-besteffort</c> or empty.</param>
    public static string Slice(string qos, string uid) => $"kubepods{qos}-pod{uid.Replace('-', '_')}.slice";

    /// <summary>Where a <see cref="CgroupParent"/> lies below a hierarchy's mount, with a leading slash: a slice below the slices that its name's parts name.</summary>
    public static string CgroupPath(string parent)
    {
        if (parent.Length == 0 || parent.StartsWith('/'))
            return parent;
        var parts = parent[..^".slice".Length].Split('-');
        return string.Concat(Enumerable.Range(1, parts.Length).Select(count => $"/{string.Join('-', parts.Take(count))}.slice"));
    }

    /// <summary>The cgroup of a container below its pod's, by the names that runc gives.</summary>
    /// <param name="parent">A <see cref="CgroupParent"/>, or its path.</param>
    public static string ContainerCgroup(string parent, string id)
        => $"{CgroupPath(parent)}/{(parent.EndsWith(".slice", StringComparison.Ordinal) ? $"cri-containerd-{id}.scope" : id)}";

    /// <param name="resolvConf">Lines of this machine's /etc/resolv.conf.</param>
    /// <exception cref="PodConfigException">The pod's hostname cannot be set.</exception>
    public static PodSandboxConfig Sandbox(PodDescription pod, uint attempt, EdgedOptions options, string nodeName, IEnumerable<string> resolvConf)
    {
        var spec = pod.Json["spec"];
        var config = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = pod.Name, Namespace = pod.Namespace, Uid = pod.Uid, Attempt = attempt },
            Hostname = pod.HostNetwork ? "" : PodNames.KernelName(pod, options),
            LogDirectory = LogDirectory(options, pod),
            DnsConfig = PodDns.Of(pod, options, resolvConf),
            Linux = new LinuxPodSandboxConfig
            {
                CgroupParent = CgroupParent(options, pod),
                SecurityContext = PodSecurity.Sandbox(pod),
                Overhead = PodLimits.Overhead(pod),
                Resources = PodLimits.Sandbox(pod),
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
            config.Linux.Sysctls[PodSysctls.Normalize(sysctl.Text("name"))] = sysctl.Text("value");
        if (!pod.HostNetwork)
        {
            foreach (var port in pod.Containers.Concat(pod.InitContainers.Where(container => container.IsSidecar)).SelectMany(container => container.Json.Items("ports")).Where(port => port.Number(0, "hostPort") > 0))
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
    /// <param name="image">What the image's name stands for at the runtime now.</param>
    public static ContainerConfig Container(
        PodDescription pod, ContainerDescription container, uint attempt, Image image, IReadOnlyList<KeyValuePair<string, string>> environment,
        LinuxContainerResources resources, EdgedOptions options, string nodeName)
    {
        var values = environment.ToDictionary(StringComparer.Ordinal);
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = container.Name, Attempt = attempt },
            Image = new ImageSpec { Image = image.Id, UserSpecifiedImage = container.Image },
            WorkingDir = container.Json.Text("workingDir"),
            LogPath = string.Create(CultureInfo.InvariantCulture, $"{container.Name}/{attempt}.log"),
            Stdin = container.Json.Flag(false, "stdin"),
            StdinOnce = container.Json.Flag(false, "stdinOnce"),
            Tty = container.Json.Flag(false, "tty"),
            Linux = new LinuxContainerConfig { Resources = resources, SecurityContext = PodSecurity.Container(pod, container, image, options) },
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
}
