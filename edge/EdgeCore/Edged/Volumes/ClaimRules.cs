using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.Core.Edged.Volumes;

/// <summary>What a claim and its volume mean for a pod on this node, in kubelet's words (desired_state_of_world_populator, operation_generator). Pure.</summary>
internal static class ClaimRules
{
    /// <summary>Why a pod cannot use the claim; empty when it can.</summary>
    /// <param name="claim">Null when there is none.</param>
    /// <param name="problem">Why there is none.</param>
    public static string Check(JsonObject? claim, string problem)
    {
        if (claim is null)
            return $"failed to fetch PVC from API server: {problem}";
        if (claim.IsDeleting())
            return "PVC is being deleted";
        if (!IsBound(claim))
            return "PVC is not bound";
        return claim.Text("spec", "volumeName").Length == 0 ? "PVC has empty pvc.Spec.VolumeName" : "";
    }

    /// <summary>Whether the claim says that it has its volume.</summary>
    public static bool IsBound(JsonObject claim) => claim.Text("status", "phase") == "Bound";

    /// <summary>Why a pod cannot use the volume for the claim; empty when it can.</summary>
    public static string Check(JsonObject claim, JsonObject? volume, string problem)
    {
        var name = claim.Text("spec", "volumeName");
        if (volume is null)
            return $"failed to fetch PV {name} from API server: {problem}";
        if (volume["spec"] is not JsonObject spec || spec["claimRef"] is null)
            return $"found PV object {name} but it has a nil pvc.Spec.ClaimRef indicating it is not yet bound to the claim";
        return spec.Text("claimRef", "uid") != claim.Uid()
            ? $"found PV object {name} but its pvc.Spec.ClaimRef.UID {spec.Text("claimRef", "uid")} does not point to claim.UID {claim.Uid()}"
            : "";
    }

    /// <summary>Where a bound volume lies.</summary>
    /// <param name="node">This node's object; null when it is not known, which matches no affinity.</param>
    public static ClaimedVolume Place(JsonObject claim, JsonObject volume, bool isReadOnly, JsonObject? node)
    {
        var spec = volume["spec"];
        var name = volume.Name();
        if (spec.At("nodeAffinity", "required") is { } required && (node is null || !NodeAffinity.MatchesSelector(required, node)))
            return Broken($"MountVolume.NodeAffinity check failed for volume \"{name}\" : no matching NodeSelectorTerms");
        if (spec.Text("volumeMode") == "Block" || claim.Text("spec", "volumeMode") == "Block")
            return Broken($"MapVolume failed for volume \"{name}\" : raw block volumes are not supported on this node");
        var place = spec.At("local") is { } local ? new ClaimedVolume(local.Text("path"), null, isReadOnly, "")
            : spec.At("hostPath") is { } host ? new ClaimedVolume(host.Text("path"), host.Text("type"), isReadOnly, "")
            : null;
        if (place is null)
            return Broken($"MountVolume.SetUp failed for volume \"{name}\" : a node of Edge has volumes of kind local and hostPath only");
        return Path.IsPathRooted(place.Path) && !place.Path.Split('/').Contains("..")
            ? place with { VolumeName = name }
            : Broken($"MountVolume.SetUp failed for volume \"{name}\" : path \"{place.Path}\" must be absolute and without ..");

        ClaimedVolume Broken(string problem) => new("", null, isReadOnly, problem) { VolumeName = name };
    }
}
