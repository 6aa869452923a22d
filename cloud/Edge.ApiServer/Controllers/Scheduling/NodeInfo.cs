using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>A node and what its pods hold of it.</summary>
internal sealed class NodeInfo
{
    // A node that says nothing about pods takes as many as a kubelet does by default.
    private static readonly Quantity s_podsDefault = Quantity.FromValue(110);

    public NodeInfo(JsonObject node)
    {
        Node = node;
        Allocatable = PodResources.Read(node, "status", "allocatable");
        if (Allocatable.Count == 0)
            Allocatable = PodResources.Read(node, "status", "capacity");
        Allocatable.TryAdd("pods", s_podsDefault);
        Taints = [.. node.Items("spec", "taints").Select(Taint.Read)];

        // The lifecycle controller taints a node that is not ready; until it has, the condition counts as the taint.
        if (Conditions.Status(node, "Ready") != "True" && !Taints.Any(taint => taint.Key is Taint.NotReady or Taint.Unreachable))
            Taints = [.. Taints, new Taint(Taint.NotReady, "", Taint.NoSchedule)];
    }

    public JsonObject Node { get; }

    public string Name => Node.Name();

    public IReadOnlyList<Taint> Taints { get; }

    public Dictionary<string, Quantity> Allocatable { get; }

    public Dictionary<string, Quantity> Requested { get; } = new(StringComparer.Ordinal);

    public List<HostPort> HostPorts { get; } = [];

    public List<JsonObject> Pods { get; } = [];

    public Quantity ScoreCpu { get; private set; }

    public Quantity ScoreMemory { get; private set; }

    /// <summary>Counts a pod that is bound here, or will be.</summary>
    public void Add(JsonObject pod)
    {
        var requests = PodResources.Requests(pod);
        PodResources.Add(Requested, requests);
        var (cpu, memory) = PodResources.ForScore(requests);
        ScoreCpu += cpu;
        ScoreMemory += memory;
        HostPorts.AddRange(PodResources.HostPorts(pod));
        Pods.Add(pod);
    }
}
