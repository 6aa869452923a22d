using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>One of a pod's topologySpreadConstraints (core/v1 TopologySpreadConstraint).</summary>
internal sealed record SpreadConstraint
{
    // What kube-scheduler does for pods of a workload that say nothing: gently apart, over nodes and over zones.
    private static readonly (string Key, long MaxSkew)[] s_defaults = [("kubernetes.io/hostname", 5), ("topology.kubernetes.io/zone", 3)];

    public long MaxSkew { get; init; } = 1;

    public required string TopologyKey { get; init; }

    /// <summary>DoNotSchedule; otherwise ScheduleAnyway.</summary>
    public bool IsHard { get; init; }

    /// <summary>Which pods of the namespace count; null counts none.</summary>
    public LabelSelector? Selector { get; init; }

    /// <summary>Where it is not empty, the pods of this controller count instead.</summary>
    public string Controller { get; init; } = "";

    public long MinDomains { get; init; } = 1;

    public bool HonorsAffinity { get; init; } = true;

    public bool HonorsTaints { get; init; }

    public static IReadOnlyList<SpreadConstraint> Read(PodInfo pod) => [.. pod.Pod.Items("spec", "topologySpreadConstraints").Select(constraint => Read(pod, constraint))];

    /// <summary>For a pod that a controller made and that has none of its own.</summary>
    public static IReadOnlyList<SpreadConstraint> Defaults(PodInfo pod)
        => pod.Controller.Length == 0 ? [] : [.. s_defaults.Select(pair => new SpreadConstraint { TopologyKey = pair.Key, MaxSkew = pair.MaxSkew, Controller = pod.Controller })];

    /// <summary>Whether the pod that runs is one of those to spread.</summary>
    public bool Counts(PodInfo pod, PodInfo existing)
        => !existing.IsDeleting && existing.Namespace == pod.Namespace && (Controller.Length > 0 ? existing.Controller == Controller : Selector?.Matches(existing.Labels) == true);

    /// <summary>Whether the node is one of those to spread over.</summary>
    public bool Includes(PodInfo pod, NodeInfo node)
        => (!HonorsAffinity || !pod.HasNodeRules || NodeAffinity.Matches(pod.Pod, node.Node)) && (!HonorsTaints || node.UntoleratedTaint(pod) is null);

    private static SpreadConstraint Read(PodInfo pod, JsonObject constraint) => new()
    {
        MaxSkew = constraint.Number(1, "maxSkew"),
        TopologyKey = constraint.Text("topologyKey"),
        IsHard = constraint.Text("whenUnsatisfiable") != "ScheduleAnyway",
        Selector = AffinityTerm.SelectorOf(pod, constraint["labelSelector"], constraint.Texts("matchLabelKeys"), []),
        MinDomains = constraint.Number(1, "minDomains"),
        HonorsAffinity = constraint.Text("nodeAffinityPolicy") != "Ignore",
        HonorsTaints = constraint.Text("nodeTaintsPolicy") == "Honor",
    };
}
