using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Eviction;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.Core.Edged.Admission;

/// <summary>Why a pod may not run here, in a kubelet's words.</summary>
/// <param name="Reason">For the status and the Event: <c>OutOfcpu</c>, <c>NodeAffinity</c> …</param>
/// <param name="Message">For the Event; the status has it behind "Pod was rejected: ".</param>
internal sealed record AdmissionRefusal(string Reason, string Message)
{
    public string StatusMessage => "Pod was rejected: " + Message;
}

/// <summary>Decides whether a new pod may run on this node beside those that do. The scheduler decides the same from its own picture, which may be old; pods
/// with spec.nodeName pass it by. Pure.</summary>
internal static class PodAdmission
{
    private const string MemoryPressureTaint = "node.kubernetes.io/memory-pressure";

    /// <summary>Null when the pod may run.</summary>
    /// <param name="node">The Node as the cloud sent it last; null when it is not known, and its labels and taints refuse nobody.</param>
    /// <param name="allocatable">What pods may have, <c>pods</c> among it. Resources that it does not name are not checked.</param>
    /// <param name="others">Pods that run here or are about to, without those that ended.</param>
    /// <param name="pressures">The node's pressure conditions that are True.</param>
    public static AdmissionRefusal? Check(
        JsonObject pod, JsonObject? node, IReadOnlyDictionary<string, Quantity> allocatable, IReadOnlyCollection<JsonObject> others, IReadOnlySet<string> pressures)
        => Pressed(pod, pressures) ?? Fits(pod, allocatable, others) ?? Ports(pod, others) ?? (node is null ? null : Suits(pod, node));

    // A node short of memory still takes pods that asked for some; one short of disk or processes takes none.
    private static AdmissionRefusal? Pressed(JsonObject pod, IReadOnlySet<string> pressures)
    {
        if (pressures.Count == 0 || EvictionRanking.IsCritical(pod))
            return null;
        var memoryOnly = pressures.Count == 1 && pressures.Contains(EvictionCore.MemoryPressure);
        if (memoryOnly && (Resources.QosClass(pod) != "BestEffort" || new Taint(MemoryPressureTaint, "", Taint.NoSchedule).IsToleratedByPod(pod)))
            return null;
        return new AdmissionRefusal("Evicted", $"The node had condition: [{string.Join(' ', pressures.Order(StringComparer.Ordinal))}]. ");
    }

    private static AdmissionRefusal? Fits(JsonObject pod, IReadOnlyDictionary<string, Quantity> allocatable, IReadOnlyCollection<JsonObject> others)
    {
        if (allocatable.TryGetValue("pods", out var podsMax) && others.Count + 1 > podsMax.Value)
            return Short("pods", 1, others.Count, podsMax.Value);
        var used = new Dictionary<string, Quantity>(StringComparer.Ordinal);
        foreach (var other in others)
            PodResources.Add(used, PodResources.Requests(other));
        foreach (var (resource, wanted) in PodResources.Requests(pod).OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            if (wanted.IsZero || !allocatable.TryGetValue(resource, out var there) || used.GetValueOrDefault(resource) + wanted <= there)
                continue;
            return resource == "cpu"
                ? Short(resource, wanted.MilliValue, used.GetValueOrDefault(resource).MilliValue, there.MilliValue)
                : Short(resource, wanted.Value, used.GetValueOrDefault(resource).Value, there.Value);
        }

        return null;
    }

    private static AdmissionRefusal Short(string resource, long requested, long used, long capacity)
        => new("OutOf" + resource, string.Create(CultureInfo.InvariantCulture, $"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"));

    private static AdmissionRefusal? Ports(JsonObject pod, IReadOnlyCollection<JsonObject> others)
    {
        var wanted = PodResources.HostPorts(pod).ToList();
        return wanted.Count > 0 && others.SelectMany(PodResources.HostPorts).Any(taken => wanted.Exists(taken.ConflictsWith))
            ? Predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
            : null;
    }

    private static AdmissionRefusal? Suits(JsonObject pod, JsonObject node)
    {
        if (!NodeAffinity.Matches(pod, node))
            return Predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
        foreach (var taint in node.Items("spec", "taints").Select(Taint.Read))
        {
            // That the node was lost or not ready is past when it takes pods: the cloud takes those taints away by itself.
            if (taint.Effect == Taint.NoExecute && taint.Key is not (Taint.NotReady or Taint.Unreachable) && !taint.IsToleratedByPod(pod))
                return Predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
        }

        return null;
    }

    private static AdmissionRefusal Predicate(string name, string why) => new(name, $"Predicate {name} failed: {why}");
}
