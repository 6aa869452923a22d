using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Volumes;

/// <summary>What a pod's volumes are made of, besides the pod; got before, so that making them waits for nobody.</summary>
/// <param name="PodIps">The pod's addresses; empty while it has none.</param>
internal sealed record VolumeInput(FindObject Find, string HostIp, IReadOnlyList<string> PodIps)
{
    /// <summary>The token of each <c>serviceAccountToken</c> projection of the pod's JSON, by that very node.</summary>
    public IReadOnlyDictionary<JsonObject, TokenAnswer> Tokens { get; init; } = new Dictionary<JsonObject, TokenAnswer>();

    /// <summary>What the node has for pods: stands for limits that a container has not; null reads them as 0.</summary>
    public IReadOnlyDictionary<string, Quantity>? Allocatable { get; init; }

    /// <summary>Whether the pod is about to get its sandbox: only then a volume that outlives it is given to the pod's group, since its files may have been given to others after that.</summary>
    public bool IsNew { get; init; }

    /// <summary>The CA of this node's own Kubernetes API in PEM, for clients in pods; empty for none.</summary>
    public string ClusterAuthority { get; init; } = "";

    /// <summary>Where each claim of the pod lies, by the volume's name.</summary>
    public IReadOnlyDictionary<string, ClaimedVolume> Claims { get; init; } = new Dictionary<string, ClaimedVolume>();
}

/// <summary>What a claim stands for on this node.</summary>
/// <param name="Path">The path on this machine.</param>
/// <param name="HostPathType">The type to check for a hostPath; null for a local volume, which must be there.</param>
/// <param name="IsReadOnly">Whether the claim or its volume is read-only.</param>
/// <param name="Problem">Why it cannot be used, in kubelet's words; empty when it can.</param>
internal sealed record ClaimedVolume(string Path, string? HostPathType, bool IsReadOnly, string Problem)
{
    /// <summary>Whether the problem is one of the claim, of which a kubelet's message names the volumes and not the mount.</summary>
    public bool IsUnresolved { get; init; }

    /// <summary>Name of the PersistentVolume; empty while it is not known.</summary>
    public string VolumeName { get; init; } = "";
}
