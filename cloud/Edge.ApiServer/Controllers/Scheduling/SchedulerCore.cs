using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Where a pod goes (<paramref name="Node"/>), or why nowhere (<paramref name="Message"/>, in Kubernetes' words).</summary>
internal sealed record Placement(string? Node, string Message);

/// <summary>Chooses a node for a pod: filters, then scores. Pure: the same pod and nodes give the same answer.</summary>
internal static class SchedulerCore
{
    // Weights as in kube-scheduler's default profile.
    private const long TaintWeight = 3;
    private const long AffinityWeight = 2;

    /// <param name="pod">The pod.</param>
    /// <param name="nodes">Those that there are.</param>
    /// <param name="volumes">The pod's claims; null where it has none.</param>
    public static Placement Place(JsonObject pod, IReadOnlyList<NodeInfo> nodes, PodVolumes? volumes = null)
    {
        if (nodes.Count == 0)
            return new Placement(null, "no nodes available to schedule pods");
        volumes ??= PodVolumes.None;
        if (volumes.Problem.Length > 0)
            return new Placement(null, $"0/{nodes.Count} nodes are available: {volumes.Problem}.");
        var request = new PodRequest(pod);
        var reasons = new Dictionary<string, int>(StringComparer.Ordinal);
        var feasible = new List<NodeInfo>();
        foreach (var node in nodes)
        {
            var why = Filter(request, node);
            if (why.Count == 0)
                why = volumes.Filter(node.Node);
            if (why.Count == 0)
                feasible.Add(node);
            foreach (var reason in why)
                reasons[reason] = reasons.GetValueOrDefault(reason) + 1;
        }

        return feasible.Count > 0
            ? new Placement(Best(request, feasible).Name, "")
            : new Placement(null, $"0/{nodes.Count} nodes are available: {string.Join(", ", reasons.Select(pair => $"{pair.Value} {pair.Key}").Order(StringComparer.Ordinal))}.");
    }

    /// <summary>Why the pod cannot run on the node: the first rule that fails, and all resources that are short. Empty when it can.</summary>
    public static IReadOnlyList<string> Filter(PodRequest request, NodeInfo node)
    {
        var pod = request.Pod;
        if (node.Node.At("spec").Flag(false, "unschedulable") && !new Taint(Taint.Unschedulable, "", Taint.NoSchedule).IsToleratedByPod(pod))
            return ["node(s) were unschedulable"];
        foreach (var taint in node.Taints)
        {
            if (taint.Effect is Taint.NoSchedule or Taint.NoExecute && !taint.IsToleratedByPod(pod))
                return [$"node(s) had untolerated taint {{{taint.Key}: {taint.Value}}}"];
        }

        if (!NodeAffinity.Matches(pod, node.Node))
            return ["node(s) didn't match Pod's node affinity/selector"];
        if (request.HostPorts.Any(port => node.HostPorts.Any(port.ConflictsWith)))
            return ["node(s) didn't have free ports for the requested pod ports"];
        return Short(request, node);
    }

    private static List<string> Short(PodRequest request, NodeInfo node)
    {
        var shorts = new List<string>();
        if (Quantity.FromValue(node.Pods.Count + 1) > node.Allocatable["pods"])
            shorts.Add("Too many pods");
        foreach (var (name, asked) in request.Requests)
        {
            if (!asked.IsZero && asked > node.Allocatable.GetValueOrDefault(name) - node.Requested.GetValueOrDefault(name))
                shorts.Add($"Insufficient {name}");
        }

        return shorts;
    }

    // The highest score; among equals the node with fewest pods, then by name.
    private static NodeInfo Best(PodRequest request, List<NodeInfo> nodes)
    {
        var taints = nodes.ConvertAll(node => (long)node.Taints.Count(taint => taint.Effect == Taint.PreferNoSchedule && !taint.IsToleratedByPod(request.Pod)));
        var preferences = nodes.ConvertAll(node => NodeAffinity.Preference(request.Pod, node.Node));
        var (mostTaints, mostPreference) = (taints.Max(), preferences.Max());
        return nodes
            .Select((node, i) => (
                Node: node,
                Score: LeastAllocated(request, node)
                    + (TaintWeight * (mostTaints == 0 ? 100 : 100 - (100 * taints[i] / mostTaints)))
                    + (AffinityWeight * (mostPreference == 0 ? 0 : 100 * preferences[i] / mostPreference))))
            .OrderByDescending(candidate => candidate.Score)
            .ThenBy(candidate => candidate.Node.Pods.Count)
            .ThenBy(candidate => candidate.Node.Name, StringComparer.Ordinal)
            .First()
            .Node;
    }

    private static long LeastAllocated(PodRequest request, NodeInfo node)
        => (Free(node.Allocatable.GetValueOrDefault("cpu").MilliValue, (node.ScoreCpu + request.ScoreCpu).MilliValue)
            + Free(node.Allocatable.GetValueOrDefault("memory").Value, (node.ScoreMemory + request.ScoreMemory).Value)) / 2;

    // The share that stays free, 0..100.
    private static long Free(long allocatable, long used)
        => allocatable <= 0 || used > allocatable ? 0 : (long)((Int128)(allocatable - used) * 100 / allocatable);
}

/// <summary>What the filters ask of a pod, worked out once for all nodes.</summary>
internal sealed class PodRequest
{
    public PodRequest(JsonObject pod)
    {
        Pod = pod;
        Requests = PodResources.Requests(pod);
        (ScoreCpu, ScoreMemory) = PodResources.ForScore(Requests);
        HostPorts = [.. PodResources.HostPorts(pod)];
    }

    public JsonObject Pod { get; }

    public Dictionary<string, Quantity> Requests { get; }

    public Quantity ScoreCpu { get; }

    public Quantity ScoreMemory { get; }

    public IReadOnlyList<HostPort> HostPorts { get; }
}
