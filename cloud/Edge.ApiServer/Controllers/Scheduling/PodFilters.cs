using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Why a node does not do. <paramref name="IsFinal"/>: the removal of other pods would not change that.</summary>
internal sealed record Refusal(IReadOnlyList<string> Reasons, bool IsFinal)
{
    public Refusal(string reason, bool isFinal)
        : this([reason], isFinal)
    {
    }
}

/// <summary>All rules that a node must satisfy for one pod, in kube-scheduler's order. What depends on the pods of other nodes is counted once, when this is made,
/// and kept up with <see cref="Update"/>. Pure.</summary>
internal sealed class PodFilters
{
    private readonly PodInfo _pod;
    private readonly PodVolumes _volumes;
    private readonly TopologySpread _spread;
    private readonly PodAffinity _affinity;

    public PodFilters(PodInfo pod, ClusterView cluster, PodVolumes volumes)
        : this(pod, volumes, new TopologySpread(pod, cluster), new PodAffinity(pod, cluster))
    {
    }

    private PodFilters(PodInfo pod, PodVolumes volumes, TopologySpread spread, PodAffinity affinity) => (_pod, _volumes, _spread, _affinity) = (pod, volumes, spread, affinity);

    /// <summary>One to try changes on.</summary>
    public PodFilters Copy() => new(_pod, _volumes, _spread.Copy(), _affinity.Copy());

    /// <summary>Counts a pod of the node, or (<paramref name="change"/> -1) no longer.</summary>
    public void Update(NodeInfo node, PodInfo existing, int change)
    {
        _spread.Update(node, existing, change);
        _affinity.Update(node, existing, change);
    }

    /// <summary>The first rule that fails, and all resources that are short; null when the pod can run there.</summary>
    public Refusal? Check(NodeInfo node)
    {
        if (node.IsUnschedulable && !new Taint(Taint.Unschedulable, "", Taint.NoSchedule).IsToleratedByPod(_pod.Pod))
            return new Refusal("node(s) were unschedulable", true);
        if (node.UntoleratedTaint(_pod) is { } taint)
            return new Refusal($"node(s) had untolerated taint {{{taint.Key}: {taint.Value}}}", true);
        if (_pod.HasNodeRules && !NodeAffinity.Matches(_pod.Pod, node.Node))
            return new Refusal("node(s) didn't match Pod's node affinity/selector", true);
        if (_pod.HostPorts.Any(port => node.HostPorts.Any(port.ConflictsWith)))
            return new Refusal("node(s) didn't have free ports for the requested pod ports", false);
        if (Short(node) is { } refusal)
            return refusal;
        if (_volumes != PodVolumes.None && _volumes.Filter(node.Node) is { Count: > 0 } why)
            return new Refusal(why, true);
        return _spread.Filter(node) ?? _affinity.Filter(node);
    }

    private Refusal? Short(NodeInfo node)
    {
        List<string>? shorts = null;
        var isFinal = false;
        if (Quantity.FromValue(node.Pods.Count + 1) > node.Allocatable["pods"])
            (shorts ??= []).Add("Too many pods");
        foreach (var (name, asked) in _pod.Requests)
        {
            var allocatable = node.Allocatable.GetValueOrDefault(name);
            if (asked.IsZero || asked <= allocatable - node.Requested.GetValueOrDefault(name))
                continue;
            (shorts ??= []).Add($"Insufficient {name}");
            isFinal |= asked > allocatable;
        }

        return shorts is null ? null : new Refusal(shorts, isFinal);
    }
}
