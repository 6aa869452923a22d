using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Cgroups;
using Edge.Core.Edged.Probes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.Core.Edged;

/// <summary>A pod as it is wanted: the object's JSON with the parts that decisions need read out. Immutable; the JSON is never changed.</summary>
internal sealed record PodDescription
{
    public required JsonObject Json { get; init; }

    public required string Namespace { get; init; }

    public required string Name { get; init; }

    public required string Uid { get; init; }

    public required IReadOnlyList<ContainerDescription> InitContainers { get; init; }

    public required IReadOnlyList<ContainerDescription> Containers { get; init; }

    /// <summary>Those that were added to the running pod, for debugging.</summary>
    public IReadOnlyList<ContainerDescription> EphemeralContainers { get; init; } = [];

    /// <summary>All that may run in the pod.</summary>
    public IEnumerable<ContainerDescription> AllContainers => InitContainers.Concat(Containers).Concat(EphemeralContainers);

    /// <summary><c>Always</c>, <c>OnFailure</c> or <c>Never</c>.</summary>
    public required string RestartPolicy { get; init; }

    public bool IsDeleting { get; init; }

    /// <summary>Time between SIGTERM and SIGKILL: the deletion's own, else the pod's, else 30 s.</summary>
    public TimeSpan Grace { get; init; }

    /// <summary>How long the pod may be active from its start time; null for ever.</summary>
    public TimeSpan? ActiveDeadline { get; init; }

    public bool HostNetwork => Json.Flag(false, "spec", "hostNetwork");

    public string QosClass { get; init; } = "BestEffort";

    /// <summary><c>Succeeded</c> or <c>Failed</c> when the stored status already says that the pod has ended.</summary>
    public string EndedPhase { get; init; } = "";

    /// <summary>Whether its containers are removed as soon as it has ended, and not with its object: it was evicted, or what they hold of the disk is needed.</summary>
    public bool IsDiscarded { get; init; }

    /// <summary>Reads a stored pod; false with the reason when it cannot be run at all.</summary>
    public static bool TryRead(JsonObject json, out PodDescription pod, out string error)
    {
        pod = null!;
        if (json.Uid().Length == 0 || json.Name().Length == 0 || json.Namespace().Length == 0)
        {
            error = "the pod has no metadata.uid, name or namespace";
            return false;
        }

        var containers = json.Items("spec", "containers").Select(item => new ContainerDescription(item, false)).ToList();
        if (containers.Count == 0 || containers.Exists(container => container.Name.Length == 0))
        {
            error = "spec.containers is empty or has a container without a name";
            return false;
        }

        var grace = json.Number(json.Number(30, "spec", "terminationGracePeriodSeconds"), "metadata", "deletionGracePeriodSeconds");
        pod = new PodDescription
        {
            Json = json,
            Namespace = json.Namespace(),
            Name = json.Name(),
            Uid = json.Uid(),
            InitContainers = [.. json.Items("spec", "initContainers").Select(item => new ContainerDescription(item, true))],
            Containers = containers,
            EphemeralContainers = [.. json.Items("spec", "ephemeralContainers").Select(item => new ContainerDescription(item, false) { IsEphemeral = true }).Where(item => item.Name.Length > 0)],
            RestartPolicy = json.Text("spec", "restartPolicy") is { Length: > 0 } policy ? policy : "Always",
            IsDeleting = json.IsDeleting(),
            ActiveDeadline = json.Number(0, "spec", "activeDeadlineSeconds") is > 0 and var deadline ? TimeSpan.FromSeconds(Math.Min(deadline, int.MaxValue)) : null,
            Grace = TimeSpan.FromSeconds(Math.Clamp(grace, 0, 24 * 3600)),
            QosClass = Resources.QosClass(json),
            EndedPhase = json.Text("status", "phase") is "Succeeded" or "Failed" ? json.Text("status", "phase") : "",
        };
        error = "";
        return true;
    }

    /// <summary>Name of the RuntimeClass; empty for the runtime's own default.</summary>
    public string RuntimeClass => Json.Text("spec", "runtimeClassName");

    /// <summary>Names of the ConfigMaps (first) and Secrets that the pod's environment and volumes read.</summary>
    public IEnumerable<(string Type, string Name)> References()
    {
        foreach (var container in AllContainers)
        {
            foreach (var env in container.Json.Items("env"))
            {
                if (env.Text("valueFrom", "configMapKeyRef", "name") is { Length: > 0 } map)
                    yield return ("configmap", map);
                if (env.Text("valueFrom", "secretKeyRef", "name") is { Length: > 0 } secret)
                    yield return ("secret", secret);
            }

            foreach (var from in container.Json.Items("envFrom"))
            {
                if (from.Text("configMapRef", "name") is { Length: > 0 } map)
                    yield return ("configmap", map);
                if (from.Text("secretRef", "name") is { Length: > 0 } secret)
                    yield return ("secret", secret);
            }
        }

        foreach (var volume in Json.Items("spec", "volumes"))
        {
            if (volume.Text("configMap", "name") is { Length: > 0 } map)
                yield return ("configmap", map);
            if (volume.Text("secret", "secretName") is { Length: > 0 } secret)
                yield return ("secret", secret);
            foreach (var source in volume.Items("projected", "sources"))
            {
                if (source.Text("configMap", "name") is { Length: > 0 } projectedMap)
                    yield return ("configmap", projectedMap);
                if (source.Text("secret", "name") is { Length: > 0 } projectedSecret)
                    yield return ("secret", projectedSecret);
            }
        }
    }
}

/// <summary>A container as it is wanted.</summary>
internal sealed record ContainerDescription(JsonObject Json, bool IsInit)
{
    public string Name { get; } = Json.Text("name");

    public string Image { get; } = Json.Text("image");

    /// <summary>Added to a running pod for debugging: started once, and nothing waits for it.</summary>
    public bool IsEphemeral { get; init; }

    /// <summary>The container whose processes it sees; empty for none.</summary>
    public string TargetName => IsEphemeral ? Json.Text("targetContainerName") : "";

    /// <summary>An init container that keeps running beside the others (restartPolicy Always).</summary>
    public bool IsSidecar => IsInit && Json.Text("restartPolicy") == "Always";

    /// <summary>Changes when the container must be made anew: as for a kubelet, with its name or image alone.</summary>
    public string Hash { get; } = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{Json.Text("name")}\n{Json.Text("image")}")).AsSpan(0, 8));

    /// <summary>The field as events name it.</summary>
    public string FieldPath => IsEphemeral ? $"spec.ephemeralContainers{{{Name}}}" : IsInit ? $"spec.initContainers{{{Name}}}" : $"spec.containers{{{Name}}}";

    /// <summary><c>Always</c>, <c>IfNotPresent</c> or <c>Never</c>; the API server's default when absent.</summary>
    public string PullPolicy
    {
        get
        {
            if (Json.Text("imagePullPolicy") is { Length: > 0 } policy)
                return policy;
            var colon = Image.LastIndexOf(':');
            var tagged = colon > Image.LastIndexOf('/') || Image.Contains('@', StringComparison.Ordinal);
            return !tagged || Image.EndsWith(":latest", StringComparison.Ordinal) ? "Always" : "IfNotPresent";
        }
    }

    public ProbeSpec? Startup => Probe(ProbeKind.Startup);

    public ProbeSpec? Liveness => Probe(ProbeKind.Liveness);

    public ProbeSpec? Readiness => Probe(ProbeKind.Readiness);

    /// <summary>Its probes; an init container that runs to its end has none.</summary>
    public IReadOnlyList<ProbeSpec> Probes { get; } = IsInit && Json.Text("restartPolicy") != "Always"
        ? []
        : [.. Enum.GetValues<ProbeKind>().Select(kind => ProbeSpec.Read(Json, kind)).OfType<ProbeSpec>()];

    private ProbeSpec? Probe(ProbeKind kind) => Probes.FirstOrDefault(probe => probe.Kind == kind);
}

/// <summary>Requests and limits as the runtime wants them (kubelet's arithmetic).</summary>
internal static class Resources
{
    /// <summary>Reads a quantity (<c>250m</c>, <c>1.5</c>, <c>64Mi</c>, <c>1e3</c>) in thousandths; null when absent or malformed.</summary>
    public static long? Milli(JsonNode? node)
    {
        var text = node is JsonValue value ? value.TryGetValue<string>(out var read) ? read : value.ToJsonString() : "";
        var end = text.Length;
        while (end > 0 && !char.IsAsciiDigit(text[end - 1]) && text[end - 1] != '.')
            end--;
        decimal? factor = text[end..] switch
        {
            "" => 1000m,
            "n" => 0.000001m,
            "u" => 0.001m,
            "m" => 1m,
            "k" => 1e6m,
            "M" => 1e9m,
            "G" => 1e12m,
            "T" => 1e15m,
            "P" => 1e18m,
            "Ki" => 1000m * (1L << 10),
            "Mi" => 1000m * (1L << 20),
            "Gi" => 1000m * (1L << 30),
            "Ti" => 1000m * (1L << 40),
            "Pi" => 1000m * (1L << 50),
            _ => null,
        };
        if (factor is null || !decimal.TryParse(text.AsSpan(0, end), NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
            return null;
        var milli = decimal.Ceiling(number * factor.Value);
        return milli is < 0 or > long.MaxValue ? null : (long)milli;
    }

    /// <summary>The pod's quality of service class.</summary>
    public static string QosClass(JsonObject pod)
    {
        var all = pod.Items("spec", "initContainers").Concat(pod.Items("spec", "containers")).ToList();
        var any = false;
        var guaranteed = true;
        foreach (var container in all)
        {
            foreach (var resource in (string[])["cpu", "memory"])
            {
                var limit = Milli(container.At("resources", "limits", resource)) ?? 0;
                var request = Milli(container.At("resources", "requests", resource)) ?? limit;
                any |= limit > 0 || request > 0;
                guaranteed &= limit > 0 && request == limit;
            }
        }

        return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
    }

    /// <summary>The container's limits.</summary>
    /// <param name="negativeAllowed">Whether an OOM score below zero can be set here (CAP_SYS_RESOURCE).</param>
    /// <param name="hugePageSizes">Page sizes that are limited here; those that the container does not name, to nothing.</param>
    /// <param name="v2">Whether cgroups are of version 2: then all processes of a container that is out of memory end together.</param>
    /// <param name="swapLimit">Whether this kernel limits swap on version 2: containers get none, as with a kubelet's NoSwap; their memory limit would otherwise not bound them.</param>
    public static Protocol.Cri.V1.LinuxContainerResources Of(
        PodDescription pod, ContainerDescription container, long machineMemory, bool negativeAllowed, IReadOnlyList<string> hugePageSizes, bool v2, bool swapLimit)
    {
        var limits = container.Json.At("resources", "limits");
        var requests = container.Json.At("resources", "requests");
        var cpuLimit = Milli(limits.At("cpu")) ?? 0;
        var made = new Protocol.Cri.V1.LinuxContainerResources
        {
            CpuPeriod = PodLimits.CpuPeriodUs,
            CpuQuota = PodLimits.Quota(cpuLimit),
            CpuShares = PodLimits.Shares(Milli(requests.At("cpu")) ?? cpuLimit),
            MemoryLimitInBytes = (Milli(limits.At("memory")) ?? 0) / 1000,
            OomScoreAdj = OomScore(pod, container, machineMemory, negativeAllowed),
        };
        var huge = hugePageSizes.ToDictionary(size => size, _ => 0L, StringComparer.Ordinal);
        foreach (var (size, bytes) in PodLimits.HugePagesOf(PodResources.Read(limits)))
            huge[size] = bytes;
        made.HugepageLimits.Add(huge.Select(pair => new Protocol.Cri.V1.HugepageLimit { PageSize = pair.Key, Limit = (ulong)pair.Value }));
        if (v2)
            made.Unified["memory.oom.group"] = "1";
        if (v2 && swapLimit)
            made.Unified["memory.swap.max"] = "0";
        return made;
    }

    /// <summary>How readily the kernel ends the container when memory is short: -997 (Guaranteed and node-critical pods, the last) to 1000 (BestEffort, the first).</summary>
    public static long OomScore(PodDescription pod, ContainerDescription container, long machineMemory, bool negativeAllowed)
    {
        if (pod.QosClass == "Guaranteed" || pod.Json.Text("spec", "priorityClassName") == "system-node-critical")
            return negativeAllowed ? -997 : 0;
        if (pod.QosClass == "BestEffort")
            return 1000;
        var score = Burstable(container, machineMemory);
        // A sidecar does not go before those that it serves.
        return container.IsSidecar ? pod.Containers.Select(other => Burstable(other, machineMemory)).Append(score).Min() : score;
    }

    // The more of the machine's memory it asks for, the longer it stays.
    private static long Burstable(ContainerDescription container, long machineMemory)
    {
        var limit = (Milli(container.Json.At("resources", "limits", "memory")) ?? 0) / 1000;
        var request = Milli(container.Json.At("resources", "requests", "memory")) is { } asked ? asked / 1000 : limit;
        return Math.Clamp(1000 - (long)(1000 * (Int128)request / Math.Max(1, machineMemory)), 3, 999);
    }
}
