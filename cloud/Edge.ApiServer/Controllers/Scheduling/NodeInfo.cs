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
        Name = node.Name();
        Labels = new Dictionary<string, string>(node.Map("metadata", "labels"), StringComparer.Ordinal);
        IsUnschedulable = node.At("spec").Flag(false, "unschedulable");
        Allocatable = PodResources.Read(node, "status", "allocatable");
        if (Allocatable.Count == 0)
            Allocatable = PodResources.Read(node, "status", "capacity");
        Allocatable.TryAdd("pods", s_podsDefault);
        Taints = [.. node.Items("spec", "taints").Select(Taint.Read)];

        // The lifecycle controller taints a node that is not ready; until it has, the condition counts as the taint.
        if (Conditions.Status(node, "Ready") != "True" && !Taints.Any(taint => taint.Key is Taint.NotReady or Taint.Unreachable))
            Taints = [.. Taints, new Taint(Taint.NotReady, "", Taint.NoSchedule)];
    }

    private NodeInfo(NodeInfo other)
    {
        (Node, Name, Labels, IsUnschedulable, Allocatable, Taints) = (other.Node, other.Name, other.Labels, other.IsUnschedulable, other.Allocatable, other.Taints);
        foreach (var pod in other.Pods)
            Add(pod);
    }

    public JsonObject Node { get; }

    public string Name { get; }

    public IReadOnlyDictionary<string, string> Labels { get; }

    public bool IsUnschedulable { get; }

    public IReadOnlyList<Taint> Taints { get; }

    public Dictionary<string, Quantity> Allocatable { get; }

    public Dictionary<string, Quantity> Requested { get; } = new(StringComparer.Ordinal);

    public List<HostPort> HostPorts { get; } = [];

    public List<PodInfo> Pods { get; } = [];

    /// <summary>Those of <see cref="Pods"/> that have affinity or anti-affinity to others.</summary>
    public List<PodInfo> PodsWithAffinity { get; } = [];

    public Quantity ScoreCpu { get; private set; }

    public Quantity ScoreMemory { get; private set; }

    public void Add(JsonObject pod) => Add(new PodInfo(pod));

    /// <summary>Counts a pod that is bound here, or will be.</summary>
    public void Add(PodInfo pod)
    {
        PodResources.Add(Requested, pod.Requests);
        ScoreCpu += pod.ScoreCpu;
        ScoreMemory += pod.ScoreMemory;
        HostPorts.AddRange(pod.HostPorts);
        Pods.Add(pod);
        if (pod.HasAffinity)
            PodsWithAffinity.Add(pod);
    }

    /// <summary>Counts a pod no longer that was added.</summary>
    public void Remove(PodInfo pod)
    {
        if (!Pods.Remove(pod))
            return;
        foreach (var (name, quantity) in pod.Requests)
            Requested[name] = Requested.GetValueOrDefault(name) - quantity;
        ScoreCpu -= pod.ScoreCpu;
        ScoreMemory -= pod.ScoreMemory;
        foreach (var port in pod.HostPorts)
            HostPorts.Remove(port);
        PodsWithAffinity.Remove(pod);
    }

    /// <summary>One to try changes on.</summary>
    public NodeInfo Copy() => new(this);

    /// <summary>The first taint that keeps the pod away; null when there is none.</summary>
    public Taint? UntoleratedTaint(PodInfo pod)
    {
        foreach (var taint in Taints)
        {
            if (taint.Effect is Taint.NoSchedule or Taint.NoExecute && !taint.IsToleratedByPod(pod.Pod))
                return taint;
        }

        return null;
    }
}
