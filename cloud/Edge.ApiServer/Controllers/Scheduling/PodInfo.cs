using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>What the scheduler asks of a pod, worked out once for all nodes. Never changes; the pod must not either.</summary>
internal sealed class PodInfo
{
    public PodInfo(JsonObject pod)
    {
        Pod = pod;
        Namespace = pod.Namespace();
        Labels = new Dictionary<string, string>(pod.Map("metadata", "labels"), StringComparer.Ordinal);
        Requests = PodResources.Requests(pod);
        (ScoreCpu, ScoreMemory) = PodResources.ForScore(Requests);
        HostPorts = [.. PodResources.HostPorts(pod)];
        Priority = pod.At("spec").Number(0, "priority");
        IsDeleting = pod.IsDeleting();
        HasNodeRules = pod.At("spec", "nodeSelector") is not null || pod.At("spec", "affinity", "nodeAffinity") is not null;
        Controller = pod.Items("metadata", "ownerReferences").FirstOrDefault(owner => owner.Flag(false, "controller")).Text("uid");
        if (pod.At("spec", "affinity") is JsonObject affinity)
        {
            RequiredAffinity = AffinityTerm.Required(this, affinity["podAffinity"]);
            RequiredAntiAffinity = AffinityTerm.Required(this, affinity["podAntiAffinity"]);
            PreferredAffinity = AffinityTerm.Preferred(this, affinity["podAffinity"]);
            PreferredAntiAffinity = AffinityTerm.Preferred(this, affinity["podAntiAffinity"]);
        }

        Spread = SpreadConstraint.Read(this);
    }

    public JsonObject Pod { get; }

    public string Namespace { get; }

    public IReadOnlyDictionary<string, string> Labels { get; }

    public Dictionary<string, Quantity> Requests { get; }

    public Quantity ScoreCpu { get; }

    public Quantity ScoreMemory { get; }

    public IReadOnlyList<HostPort> HostPorts { get; }

    public long Priority { get; }

    public bool IsDeleting { get; }

    /// <summary>A nodeSelector or node affinity.</summary>
    public bool HasNodeRules { get; }

    /// <summary>The uid of the object that made it; empty for a pod of its own.</summary>
    public string Controller { get; }

    public IReadOnlyList<AffinityTerm> RequiredAffinity { get; } = [];

    public IReadOnlyList<AffinityTerm> RequiredAntiAffinity { get; } = [];

    public IReadOnlyList<AffinityTerm> PreferredAffinity { get; } = [];

    public IReadOnlyList<AffinityTerm> PreferredAntiAffinity { get; } = [];

    /// <summary>Its topologySpreadConstraints.</summary>
    public IReadOnlyList<SpreadConstraint> Spread { get; }

    public bool HasAffinity => RequiredAffinity.Count + RequiredAntiAffinity.Count + PreferredAffinity.Count + PreferredAntiAffinity.Count > 0;
}
