using System.Reflection;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.Eviction;
using Edge.Kubernetes;

namespace Edge.Core.NodeStatus;

/// <summary>Builds the Node and its status as a stock edge's kubelet sends them (kubeedge-wire §3.2, recorded exchange). Pure.</summary>
internal static class NodeObject
{
    /// <summary>Stock edges say <c>v1.x-kubeedge-v1.y</c>: the Kubernetes whose behaviour is followed, then the edge's own version.</summary>
    public static readonly string KubeletVersion = "v1.32.10-edge-v" + OwnVersion();

    // What stands behind a plus sign tells of the build.
    private static string OwnVersion()
        => typeof(NodeObject).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0.0.0";

    /// <summary>The labels this node gives itself.</summary>
    public static JsonObject Labels(string name, EdgedOptions options, NodeFacts facts)
    {
        var labels = new JsonObject
        {
            ["beta.kubernetes.io/arch"] = facts.Architecture,
            ["beta.kubernetes.io/os"] = "linux",
            ["kubernetes.io/arch"] = facts.Architecture,
            ["kubernetes.io/hostname"] = name,
            ["kubernetes.io/os"] = "linux",
            ["node-role.kubernetes.io/agent"] = "",
            ["node-role.kubernetes.io/edge"] = "",
        };
        foreach (var (key, value) in options.NodeLabels)
            labels[key] = value;
        return labels;
    }

    /// <summary>The whole Node for registration.</summary>
    public static JsonObject Node(string name, EdgedOptions options, NodeFacts facts, JsonObject status)
    {
        var spec = new JsonObject();
        if (!options.RegisterSchedulable)
            spec["unschedulable"] = true;
        if (options.Taints.Count > 0)
        {
            spec["taints"] = new JsonArray([.. options.Taints.Select(taint =>
            {
                var item = new JsonObject { ["key"] = taint.Key, ["effect"] = taint.Effect };
                if (taint.Value.Length > 0)
                    item["value"] = taint.Value;
                return item;
            })]);
        }

        return new JsonObject
        {
            ["metadata"] = new JsonObject
            {
                ["name"] = name,
                ["creationTimestamp"] = null,
                ["labels"] = Labels(name, options, facts),
                ["annotations"] = new JsonObject { ["volumes.kubernetes.io/controller-managed-attach-detach"] = "true" },
            },
            ["spec"] = spec,
            ["status"] = status,
        };
    }

    /// <summary>The status.</summary>
    /// <param name="runtime">The container runtime; null when this node runs no pods.</param>
    /// <param name="previous">The conditions reported last; a condition whose status is the same keeps its lastTransitionTime.</param>
    /// <param name="kubeletPort">Port of Edged's local API, which the node says when it registers; null to leave it out, as in every report after: a cloud writes in its place where API servers
    /// find the kubelet through it (KubeEdge's with each tunnel), and would be overwritten.</param>
    public static JsonObject Status(string name, EdgedOptions options, NodeFacts facts, RuntimeState? runtime, IEnumerable<JsonObject> previous, DateTimeOffset now, int? kubeletPort = null)
    {
        var capacity = NodeResources.Capacity(facts, runtime is null ? 0 : options.MaxPods);
        var before = previous.GroupBy(condition => condition.Text("type")).ToDictionary(group => group.Key, group => group.Last());
        var conditions = new JsonArray();
        void Add(string type, bool value, string reason, string message)
        {
            var status = value ? "True" : "False";
            var since = before.TryGetValue(type, out var old) && old.Text("status") == status && old.Text("lastTransitionTime") is { Length: > 0 } time ? time : KubeObject.Time(now);
            conditions.Add((JsonNode)new JsonObject
            {
                ["type"] = type,
                ["status"] = status,
                ["lastHeartbeatTime"] = KubeObject.Time(now),
                ["lastTransitionTime"] = since,
                ["reason"] = reason,
                ["message"] = message,
            });
        }

        // Where pods run, Edged says which pressures there are, and since when; else this one look does.
        var pressures = runtime?.Pressures ?? EvictionCore.PressuresOf(NodeResources.Readings(facts, null), options.Resources);
        var lowMemory = pressures.Contains(EvictionCore.MemoryPressure);
        var lowDisk = pressures.Contains(EvictionCore.DiskPressure);
        var lowPids = pressures.Contains(EvictionCore.PidPressure);
        Add("MemoryPressure", lowMemory, lowMemory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
            lowMemory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available");
        Add("DiskPressure", lowDisk, lowDisk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure", lowDisk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
        Add("PIDPressure", lowPids, lowPids ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
            lowPids ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available");
        if (runtime?.NetworkReady is { } network)
            Add("NetworkUnavailable", !network, network ? "NetworkPluginIsReady" : "NetworkPluginNotReady", network ? "the container runtime's network is ready" : runtime.Message);
        if (runtime is null)
            Add("Ready", true, "EdgeReady", "edge is posting ready status; pods are off here (modules.edged.enable is false)");
        else if (runtime.Ready)
            Add("Ready", true, "EdgeReady", "edge is posting ready status");
        else
            Add("Ready", false, "ContainerRuntimeNotReady", runtime.Message);

        var status = new JsonObject
        {
            ["capacity"] = Resources(capacity),
            ["allocatable"] = Resources(NodeResources.Allocatable(capacity, options.Resources)),
            ["conditions"] = conditions,
            ["addresses"] = new JsonArray(
                new JsonObject { ["type"] = "InternalIP", ["address"] = facts.InternalIp },
                new JsonObject { ["type"] = "Hostname", ["address"] = name }),
            ["nodeInfo"] = new JsonObject
            {
                ["machineID"] = facts.MachineId,
                ["systemUUID"] = facts.SystemUuid,
                ["bootID"] = facts.BootId,
                ["kernelVersion"] = facts.KernelVersion,
                ["osImage"] = facts.OsImage,
                ["containerRuntimeVersion"] = runtime is null || runtime.Name.Length == 0 ? "" : $"{runtime.Name}://{runtime.Version}",
                ["kubeletVersion"] = KubeletVersion,
                ["kubeProxyVersion"] = KubeletVersion,
                ["operatingSystem"] = "linux",
                ["architecture"] = facts.Architecture,
            },
        };
        if (kubeletPort is { } port)
            status["daemonEndpoints"] = new JsonObject { ["kubeletEndpoint"] = new JsonObject { ["Port"] = port } };
        if (runtime is { Images.Count: > 0 })
        {
            // The 50 largest, as the kubelet reports them (nodeStatusMaxImages).
            status["images"] = new JsonArray([.. runtime.Images.OrderByDescending(image => image.SizeBytes).Take(50).Select(image => new JsonObject
            {
                ["names"] = new JsonArray([.. image.Names.Take(5).Select(one => JsonValue.Create(one))]),
                ["sizeBytes"] = image.SizeBytes,
            })]);
        }

        return status;
    }

    /// <summary>Whether two statuses say the same, but for heartbeat times.</summary>
    public static bool Same(JsonObject? a, JsonObject b) => a is not null && JsonNode.DeepEquals(WithoutHeartbeats(a), WithoutHeartbeats(b));

    /// <summary>The Lease of a node that has none yet.</summary>
    public static JsonObject NewLease(string name, string nodeUid, int durationSeconds, DateTimeOffset now)
    {
        var metadata = new JsonObject { ["name"] = name, ["namespace"] = "kube-node-lease", ["creationTimestamp"] = null };
        if (nodeUid.Length > 0)
            metadata["ownerReferences"] = new JsonArray(new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = name, ["uid"] = nodeUid });
        return new JsonObject
        {
            ["metadata"] = metadata,
            ["spec"] = new JsonObject { ["holderIdentity"] = name, ["leaseDurationSeconds"] = durationSeconds, ["renewTime"] = KubeObject.MicroTime(now) },
        };
    }

    /// <summary>The lease as last seen, renewed.</summary>
    public static JsonObject Renewed(JsonObject lease, string name, int durationSeconds, DateTimeOffset now)
    {
        var renewed = (JsonObject)lease.DeepClone();
        var spec = renewed.Child("spec");
        spec["holderIdentity"] = name;
        spec["leaseDurationSeconds"] = durationSeconds;
        spec["renewTime"] = KubeObject.MicroTime(now);
        return renewed;
    }

    private static JsonObject Resources(Dictionary<string, Quantity> amounts)
        => new(amounts.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)NodeResources.Text(pair.Key, pair.Value))));

    private static JsonObject WithoutHeartbeats(JsonObject status)
    {
        var copy = (JsonObject)status.DeepClone();
        foreach (var condition in copy.Items("conditions"))
            condition.Remove("lastHeartbeatTime");
        return copy;
    }
}
