using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Nodes;

/// <summary>What is to be done about a node or its pods.</summary>
internal abstract record NodeAction(JsonObject Node);

/// <summary>Write these conditions (whole entries, to be merged by type) to the node's status.</summary>
/// <summary>Nothing could be decided about the node; the others go on.</summary>
internal sealed record NodeFault(JsonObject Node, Exception Error) : NodeAction(Node);

internal sealed record MarkUnknown(JsonObject Node, JsonArray Conditions) : NodeAction(Node);

/// <summary>Make these the node's taints.</summary>
internal sealed record SetTaints(JsonObject Node, JsonArray Taints) : NodeAction(Node);

/// <summary>Set the pod's Ready condition to False: its node is lost.</summary>
internal sealed record MarkPodNotReady(JsonObject Node, JsonObject Pod) : NodeAction(Node);

/// <summary>Delete the pod: it does not tolerate its node's NoExecute taints any longer.</summary>
internal sealed record EvictPod(JsonObject Node, JsonObject Pod) : NodeAction(Node);

/// <summary>Actions, and when to look again though nothing changes.</summary>
internal sealed record NodeLifecyclePlan(IReadOnlyList<NodeAction> Actions, DateTimeOffset? Next);

/// <summary>Decides which nodes are lost, their taints, and which pods leave a tainted node. Pure: time and objects come in, actions go out.</summary>
/// <remarks>A heartbeat is a change of the node's lease or of its Ready condition's heartbeat time, timed by our clock when we see it, as
/// nodes' clocks may be wrong. So a fresh start gives every node one grace period.</remarks>
internal sealed class NodeLifecycleCore
{
    /// <summary>A node without a heartbeat for this long is lost; Kubernetes' nodeMonitorGracePeriod.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(40);

    // Kubernetes' nodeStartupGracePeriod.
    private static readonly TimeSpan s_startupGrace = TimeSpan.FromSeconds(60);

    private static readonly (string Condition, string Taint)[] s_pressures =
    [
        ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
        ("DiskPressure", "node.kubernetes.io/disk-pressure"),
        ("PIDPressure", "node.kubernetes.io/pid-pressure"),
        ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ];

    private static readonly string[] s_reported = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

    private readonly Dictionary<string, Sign> _seen = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, DateTimeOffset> _renewed = new(StringComparer.Ordinal); // by name
    private readonly PodEvictions _evictions = new();
    private volatile HashSet<string> _lost = []; // names; replaced by each step

    /// <summary>A node's lease was renewed at this time of our clock. Any thread may call it. True when the node counts as lost, so that <see cref="Step"/> is due;
    /// for all others the next one finds it.</summary>
    public bool Renewed(string node, DateTimeOffset at)
    {
        _renewed[node] = at;
        return _lost.Contains(node);
    }

    /// <summary>Whether pods stay on lost nodes because most of the nodes are lost at once.</summary>
    public bool EvictionsSuspended => _evictions.Suspended;

    /// <param name="nodes">All nodes.</param>
    /// <param name="lease">A node's lease by the node's name, or null.</param>
    /// <param name="podsByNode">The pods bound to each node.</param>
    /// <param name="now">The time.</param>
    public NodeLifecyclePlan Step(IReadOnlyCollection<JsonObject> nodes, Func<string, JsonObject?> lease, ILookup<string, JsonObject> podsByNode, DateTimeOffset now)
    {
        var actions = new List<NodeAction>();
        DateTimeOffset? next = null;
        Forget(nodes);
        var tainted = new List<(JsonObject Node, JsonArray Taints)>();
        var lost = new HashSet<string>(StringComparer.Ordinal);
        var lostNames = new HashSet<string>(StringComparer.Ordinal);
        foreach (var node in nodes)
        {
            try
            {
                Look(node);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                actions.Add(new NodeFault(node, e));
            }
        }

        void Look(JsonObject node)
        {
            var lostAt = Heartbeat(node, lease(node.Name()), now);
            var ready = Conditions.Status(node, "Ready");
            if (now >= lostAt)
            {
                lostNames.Add(node.Name());
                if (Lost(node, now) is { Count: > 0 } conditions)
                {
                    actions.Add(new MarkUnknown(node, conditions));
                    ready = "Unknown";
                }

                actions.AddRange(NotReady(node, podsByNode[node.Name()]));
            }
            else
            {
                Earlier(ref next, lostAt);
            }

            var taints = Taints(node, ready, now);
            if (!JsonNode.DeepEquals(taints, node.At("spec", "taints") ?? new JsonArray()))
                actions.Add(new SetTaints(node, taints));
            tainted.Add((node, taints));
            if (ready is "Unknown" or "False")
                lost.Add(node.Uid());
        }

        _lost = lostNames;

        _evictions.Begin(lost, nodes.Count, now);
        foreach (var (node, taints) in tainted)
        {
            try
            {
                _evictions.Consider(node, taints, podsByNode[node.Name()], now, actions, ref next);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                actions.Add(new NodeFault(node, e));
            }
        }

        return new NodeLifecyclePlan(actions, next);
    }

    // When the node counts as lost unless another heartbeat comes.
    private DateTimeOffset Heartbeat(JsonObject node, JsonObject? lease, DateTimeOffset now)
    {
        var (renewal, heartbeat) = (lease.Text("spec", "renewTime"), Conditions.Find(node, "Ready").Text("lastHeartbeatTime"));
        var grace = renewal.Length + heartbeat.Length == 0 ? s_startupGrace : Grace;
        if (!_seen.TryGetValue(node.Uid(), out var seen) || seen.Heartbeat != heartbeat)
            seen = new Sign(renewal, heartbeat, now);
        else if (seen.Renewal != renewal) // this step may come long after the renewal that it finds
            seen = new Sign(renewal, heartbeat, _renewed.TryGetValue(node.Name(), out var renewed) && renewed >= seen.At ? renewed : now);
        _seen[node.Uid()] = seen;
        return seen.At + grace;
    }

    private void Forget(IReadOnlyCollection<JsonObject> nodes)
    {
        if (_seen.Count == nodes.Count && _renewed.Count <= nodes.Count)
            return;
        foreach (var gone in _seen.Keys.Except(nodes.Select(node => node.Uid())).ToList())
            _seen.Remove(gone);
        foreach (var gone in _renewed.Keys.Except(nodes.Select(node => node.Name())).ToList())
            _renewed.TryRemove(gone, out _);
    }

    private static JsonArray Lost(JsonObject node, DateTimeOffset now)
    {
        var changed = new JsonArray();
        foreach (var type in s_reported)
        {
            var condition = Conditions.Find(node, type);
            if (condition.Text("status") == "Unknown" || (condition is null && type != "Ready"))
                continue;
            var unknown = condition is null ? new JsonObject { ["type"] = type } : condition.DeepClone().AsObject();
            unknown["status"] = "Unknown";
            unknown["reason"] = condition is null ? "NodeStatusNeverUpdated" : "NodeStatusUnknown";
            unknown["message"] = condition is null ? "Kubelet never posted node status." : "Kubelet stopped posting node status.";
            unknown["lastTransitionTime"] = KubeObject.Time(now);
            changed.Add((JsonNode)unknown);
        }

        return changed;
    }

    // The taints that are not ours, then ours; one that stays keeps its time.
    private static JsonArray Taints(JsonObject node, string ready, DateTimeOffset now)
    {
        var wanted = new List<(string Key, string Effect)>();
        if (ready == "Unknown")
            wanted.AddRange([(Taint.Unreachable, Taint.NoSchedule), (Taint.Unreachable, Taint.NoExecute)]);
        else if (ready == "False")
            wanted.AddRange([(Taint.NotReady, Taint.NoSchedule), (Taint.NotReady, Taint.NoExecute)]);
        else if (ready.Length == 0)
            wanted.Add((Taint.NotReady, Taint.NoSchedule));
        wanted.AddRange(s_pressures.Where(pressure => Conditions.Status(node, pressure.Condition) == "True").Select(pressure => (pressure.Taint, Taint.NoSchedule)));
        if (node.At("spec").Flag(false, "unschedulable"))
            wanted.Add((Taint.Unschedulable, Taint.NoSchedule));

        var taints = new JsonArray();
        foreach (var taint in node.Items("spec", "taints"))
        {
            var key = (taint.Text("key"), taint.Text("effect"));
            if (!IsOurs(key.Item1, key.Item2) || wanted.Remove(key))
                taints.Add(taint.DeepClone());
        }

        foreach (var (key, effect) in wanted)
            taints.Add((JsonNode)new JsonObject { ["key"] = key, ["effect"] = effect, ["timeAdded"] = KubeObject.Time(now) });
        return taints;
    }

    private static bool IsOurs(string key, string effect) => key switch
    {
        Taint.NotReady or Taint.Unreachable => effect is Taint.NoSchedule or Taint.NoExecute,
        Taint.Unschedulable => effect == Taint.NoSchedule,
        _ => effect == Taint.NoSchedule && Array.Exists(s_pressures, pressure => pressure.Taint == key),
    };

    // A pod on a lost node serves nobody: Services must not send to it. One whose node comes back says itself that it is ready.
    private static IEnumerable<NodeAction> NotReady(JsonObject node, IEnumerable<JsonObject> pods)
        => pods.Where(pod => !pod.IsDeleting() && !Conditions.IsFinished(pod) && Conditions.Status(pod, "Ready") == "True").Select(pod => new MarkPodNotReady(node, pod));

    private static void Earlier(ref DateTimeOffset? next, DateTimeOffset candidate)
    {
        if (next is null || candidate < next)
            next = candidate;
    }

    // The last signs of life of a node as its objects say them, and when the last one came by our clock.
    private sealed record Sign(string Renewal, string Heartbeat, DateTimeOffset At);
}
