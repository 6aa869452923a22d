using System.Text.Json.Nodes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Where a pod goes (<paramref name="Node"/>), or why nowhere (<paramref name="Message"/>, in Kubernetes' words).</summary>
internal sealed record Placement(string? Node, string Message);

/// <summary>A placement with what preemption needs to know where there is none.</summary>
/// <param name="Node">Where the pod goes; null when no node takes it.</param>
/// <param name="Message">Why nowhere.</param>
/// <param name="Filters">The pod's rules; null when no node was looked at.</param>
/// <param name="Candidates">The nodes on which the pod might run if others left.</param>
internal sealed record Verdict(NodeInfo? Node, string Message, PodFilters? Filters, IReadOnlyList<NodeInfo> Candidates);

/// <summary>Chooses a node for a pod: filters, then scores as kube-scheduler's default profile (without image locality). Pure: the same pod and nodes give the same answer.</summary>
internal static class SchedulerCore
{
    // Weights as in kube-scheduler's default profile; resources have 1.
    private const long TaintWeight = 3;
    private const long NodeAffinityWeight = 2;
    private const long SpreadWeight = 2;
    private const long PodAffinityWeight = 2;

    /// <summary>Where the pod goes when namespaces have no labels that matter.</summary>
    public static Placement Place(JsonObject pod, IReadOnlyList<NodeInfo> nodes, PodVolumes? volumes = null)
    {
        var verdict = Decide(new PodInfo(pod), new ClusterView(nodes), volumes);
        return new Placement(verdict.Node?.Name, verdict.Message);
    }

    /// <param name="pod">The pod.</param>
    /// <param name="cluster">The nodes that there are.</param>
    /// <param name="volumes">The pod's claims; null where it has none.</param>
    public static Verdict Decide(PodInfo pod, ClusterView cluster, PodVolumes? volumes = null)
    {
        if (cluster.Nodes.Count == 0)
            return new Verdict(null, "no nodes available to schedule pods", null, []);
        volumes ??= PodVolumes.None;
        if (volumes.Problem.Length > 0)
            return new Verdict(null, $"0/{cluster.Nodes.Count} nodes are available: {volumes.Problem}.", new PodFilters(pod, cluster, PodVolumes.None), []);
        var filters = new PodFilters(pod, cluster, volumes);
        var refusals = new List<Refusal>();
        var feasible = new List<NodeInfo>();
        var candidates = new List<NodeInfo>();
        foreach (var node in cluster.Nodes)
        {
            if (filters.Check(node) is not { } refusal)
            {
                feasible.Add(node);
                continue;
            }

            refusals.Add(refusal);
            if (!refusal.IsFinal)
                candidates.Add(node);
        }

        return feasible.Count > 0
            ? new Verdict(Best(pod, cluster, feasible), "", filters, [])
            : new Verdict(null, Tell(cluster.Nodes.Count, refusals.SelectMany(refusal => refusal.Reasons)), filters, candidates);
    }

    /// <summary>Kubernetes' sentence about nodes that do not do: each reason with the number of nodes.</summary>
    public static string Tell(int nodes, IEnumerable<string> reasons)
        => $"0/{nodes} nodes are available: {string.Join(", ", reasons.GroupBy(reason => reason, StringComparer.Ordinal).Select(group => $"{group.Count()} {group.Key}").Order(StringComparer.Ordinal))}.";

    // The highest score; among equals the node with fewest pods, then by name.
    private static NodeInfo Best(PodInfo pod, ClusterView cluster, List<NodeInfo> nodes)
    {
        if (nodes.Count == 1)
            return nodes[0];
        var taints = nodes.ConvertAll(node => node.Taints.Count == 0 ? 0L : node.Taints.Count(taint => taint.Effect == Taint.PreferNoSchedule && !taint.IsToleratedByPod(pod.Pod)));
        var preferences = nodes.ConvertAll(node => pod.HasNodeRules ? NodeAffinity.Preference(pod.Pod, node.Node) : 0);
        var (mostTaints, mostPreference) = (taints.Max(), preferences.Max());
        var spread = TopologySpread.Score(pod, cluster, nodes);
        var affinity = PodAffinity.Score(pod, cluster, nodes);
        var best = 0;
        var most = long.MinValue;
        for (var i = 0; i < nodes.Count; i++)
        {
            var score = Resources(pod, nodes[i])
                + (TaintWeight * (mostTaints == 0 ? 100 : 100 - (100 * taints[i] / mostTaints)))
                + (NodeAffinityWeight * (mostPreference == 0 ? 0 : 100 * preferences[i] / mostPreference))
                + (SpreadWeight * spread[i])
                + (PodAffinityWeight * affinity[i]);
            if (score < most || (score == most && IsBefore(nodes[best], nodes[i])))
                continue;
            (best, most) = (i, score);
        }

        return nodes[best];
    }

    private static bool IsBefore(NodeInfo first, NodeInfo second)
        => first.Pods.Count != second.Pods.Count ? first.Pods.Count < second.Pods.Count : string.CompareOrdinal(first.Name, second.Name) <= 0;

    // What stays free (NodeResourcesFit, LeastAllocated), and how evenly CPU and memory are used (NodeResourcesBalancedAllocation).
    private static long Resources(PodInfo pod, NodeInfo node)
    {
        var cpu = Free(node.Allocatable.GetValueOrDefault("cpu").MilliValue, (node.ScoreCpu + pod.ScoreCpu).MilliValue);
        var memory = Free(node.Allocatable.GetValueOrDefault("memory").Value, (node.ScoreMemory + pod.ScoreMemory).Value);
        return ((cpu + memory) / 2) + 100 - (Math.Abs(cpu - memory) / 2);
    }

    // The share that stays free, 0..100.
    private static long Free(long allocatable, long used)
        => allocatable <= 0 || used > allocatable ? 0 : (long)((Int128)(allocatable - used) * 100 / allocatable);
}
