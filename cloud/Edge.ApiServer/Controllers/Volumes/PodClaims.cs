using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>One use of a claim by a pod. The claim of an ephemeral volume is made for the pod and owned by it.</summary>
internal sealed record ClaimUse(string Name, bool IsEphemeral);

/// <summary>Which claims a pod uses. Pure.</summary>
internal static class PodClaims
{
    public static IEnumerable<ClaimUse> Of(JsonObject pod)
    {
        foreach (var volume in pod.Items("spec", "volumes"))
        {
            if (volume.Text("persistentVolumeClaim", "claimName") is { Length: > 0 } name)
                yield return new ClaimUse(name, false);
            else if (volume["ephemeral"] is JsonObject)
                yield return new ClaimUse(EphemeralName(pod, volume), true);
        }
    }

    public static string EphemeralName(JsonObject pod, JsonObject volume) => $"{pod.Name()}-{volume.Text("name")}";

    public static bool Uses(JsonObject pod, JsonObject claim)
        => pod.Namespace() == claim.Namespace() && Of(pod).Any(use => use.Name == claim.Name() && (!use.IsEphemeral || IsOwnedBy(claim, pod)));

    public static bool IsOwnedBy(JsonObject claim, JsonObject pod)
        => claim.Items("metadata", "ownerReferences").Any(owner => owner.Flag(false, "controller") && owner.Text("uid") == pod.Uid());

    /// <summary>Whether the pod keeps the claim from going: once it has a node, until it is gone. A pod without a node cannot start any more with
    /// a claim that is being deleted.</summary>
    public static bool Holds(JsonObject pod, JsonObject claim) => pod.Text("spec", "nodeName").Length > 0 && Uses(pod, claim);
}
