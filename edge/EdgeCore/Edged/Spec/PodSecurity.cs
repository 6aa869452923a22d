using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Kubernetes;
using Edge.Protocol.Cri.V1;

namespace Edge.Core.Edged.Spec;

/// <summary>Namespaces and security contexts of a pod and its containers as the runtime wants them. Pure. Source: Kubernetes' core/v1 API, PodSecurityContext and SecurityContext;
/// the container's own field wins over the pod's.</summary>
internal static class PodSecurity
{
    private static readonly string[] s_maskedPaths =
    [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ];

    private static readonly string[] s_readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

    /// <summary>Which namespaces are the machine's, the pod's, or each container's own.</summary>
    public static NamespaceOption Namespaces(PodDescription pod) => new()
    {
        Network = pod.HostNetwork ? NamespaceMode.Node : NamespaceMode.Pod,
        Ipc = pod.Json.Flag(false, "spec", "hostIPC") ? NamespaceMode.Node : NamespaceMode.Pod,
        Pid = pod.Json.Flag(false, "spec", "hostPID") ? NamespaceMode.Node
            : pod.Json.Flag(false, "spec", "shareProcessNamespace") ? NamespaceMode.Pod : NamespaceMode.Container,
    };

    /// <summary>The same, with the processes of another container, unless the pod's containers share theirs anyway.</summary>
    public static NamespaceOption Targeting(NamespaceOption options, string containerId)
    {
        if (options.Pid != NamespaceMode.Container)
            return options;
        var targeting = options.Clone();
        (targeting.Pid, targeting.TargetId) = (NamespaceMode.Target, containerId);
        return targeting;
    }

    /// <summary>The sandbox's own process (pause): it runs as the pod's user, confined as the runtime confines by default.</summary>
    public static LinuxSandboxSecurityContext Sandbox(PodDescription pod)
    {
        var shared = pod.Json.At("spec", "securityContext");
        var context = new LinuxSandboxSecurityContext
        {
            NamespaceOptions = Namespaces(pod),
            Privileged = pod.Containers.Concat(pod.InitContainers).Any(container => container.Json.Flag(false, "securityContext", "privileged")),
            Seccomp = new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
        };
        if (shared.Number(-1, "runAsUser") is >= 0 and var user)
            context.RunAsUser = new Int64Value { Value = user };
        if (shared.Number(-1, "runAsGroup") is >= 0 and var group && context.RunAsUser is not null)
            context.RunAsGroup = new Int64Value { Value = group }; // the runtime refuses a group without a user
        context.SupplementalGroups.Add(Groups(shared));
        return context;
    }

    /// <param name="image">What the container runs; its user counts where the pod names only a group.</param>
    /// <exception cref="PodConfigException">A Localhost seccomp profile names no file.</exception>
    public static LinuxContainerSecurityContext Container(PodDescription pod, ContainerDescription container, Image image, EdgedOptions options)
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
            Seccomp = Seccomp(own.At("seccompProfile") ?? shared.At("seccompProfile"), options),
        };
        if (own.Number(shared.Number(-1, "runAsUser"), "runAsUser") is >= 0 and var user)
            context.RunAsUser = new Int64Value { Value = user };
        if (own.Number(shared.Number(-1, "runAsGroup"), "runAsGroup") is >= 0 and var group)
        {
            context.RunAsGroup = new Int64Value { Value = group };
            if (context.RunAsUser is null && image.Username.Length > 0)
                context.RunAsUsername = image.Username;
            else
                context.RunAsUser ??= new Int64Value { Value = image.Uid?.Value ?? 0 };
        }

        context.SupplementalGroups.Add(Groups(shared));
        if (own.At("capabilities") is not null)
        {
            context.Capabilities = new Capability();
            context.Capabilities.AddCapabilities.Add(own.Texts("capabilities", "add"));
            context.Capabilities.DropCapabilities.Add(own.Texts("capabilities", "drop"));
        }

        if (!privileged && own.Text("procMount") != "Unmasked")
        {
            context.MaskedPaths.Add(s_maskedPaths);
            context.ReadonlyPaths.Add(s_readonlyPaths);
        }

        if ((own.At("appArmorProfile") ?? shared.At("appArmorProfile")) is { } apparmor)
            context.Apparmor = Profile(apparmor, apparmor.Text("localhostProfile"));
        return context;
    }

    /// <summary>Refuses root where the pod wants none (runAsNonRoot).</summary>
    /// <exception cref="PodConfigException">The container would run as root, or nobody can tell; with kubelet's words.</exception>
    public static void CheckUser(PodDescription pod, ContainerDescription container, Image image)
    {
        var own = container.Json["securityContext"];
        var shared = pod.Json.At("spec", "securityContext");
        if (!own.Flag(shared.Flag(false, "runAsNonRoot"), "runAsNonRoot"))
            return;
        var where = $"(pod: \"{pod.Name}_{pod.Namespace}({pod.Uid})\", container: {container.Name})";
        var user = own.Number(shared.Number(-1, "runAsUser"), "runAsUser");
        if (user == 0)
            throw new PodConfigException($"container's runAsUser breaks non-root policy {where}");
        if (user > 0 || image.Uid is { Value: > 0 })
            return;
        throw new PodConfigException(image.Username.Length > 0
            ? $"container has runAsNonRoot and image has non-numeric user ({image.Username}), cannot verify user is non-root {where}"
            : $"container has runAsNonRoot and image will run as root {where}");
    }

    private static IEnumerable<long> Groups(JsonNode? shared)
    {
        if (shared.Number(-1, "fsGroup") is >= 0 and var files)
            yield return files;
        foreach (var group in shared.At("supplementalGroups") as JsonArray ?? [])
        {
            if (group.TryWhole(out var number))
                yield return number;
        }
    }

    // A Localhost profile lies below the kubelet's root, as at a kubelet.
    private static SecurityProfile Seccomp(JsonNode? profile, EdgedOptions options)
    {
        var local = profile.Text("localhostProfile");
        if (profile.Text("type") == "Localhost" && local.Length == 0)
            throw new PodConfigException("localhostProfile must be set if seccompProfile type is Localhost.");
        if (Path.IsPathRooted(local) || local.Split('/').Contains(".."))
            throw new PodConfigException($"localhostProfile \"{local}\" must be relative and without ..; profiles are below {Path.Combine(options.RootDirectory, "seccomp")}");
        return Profile(profile, Path.Combine(options.RootDirectory, "seccomp", local));
    }

    private static SecurityProfile Profile(JsonNode? profile, string local) => profile.Text("type") switch
    {
        "RuntimeDefault" => new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
        "Localhost" => new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.Localhost, LocalhostRef = local },
        _ => new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.Unconfined },
    };
}
