using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>Keeps claims that pods use and volumes that are bound from going, by finalizers (pvc-protection, pv-protection). Pure.</summary>
internal static class ProtectionCore
{
    public static IReadOnlyList<VolumeAction> Step(VolumeWorld world)
    {
        var actions = new List<VolumeAction>();
        foreach (var claim in world.Claims)
        {
            var isProtected = claim.Texts("metadata", "finalizers").Contains(StorageAnnotations.ClaimFinalizer, StringComparer.Ordinal);
            if (isProtected && claim.IsDeleting() && !world.Pods.Any(pod => PodClaims.Holds(pod, claim)))
                actions.Add(new FreeClaimAction(claim, VolumeWrites.Finalizer(claim, StorageAnnotations.ClaimFinalizer, false)));
            else if (!isProtected && !claim.IsDeleting())
                actions.Add(new WriteAction(ResourceKind.PersistentVolumeClaim, VolumeWrites.Finalizer(claim, StorageAnnotations.ClaimFinalizer, true), null));
        }

        foreach (var volume in world.Volumes)
        {
            var isProtected = volume.Texts("metadata", "finalizers").Contains(StorageAnnotations.VolumeFinalizer, StringComparer.Ordinal);
            if (isProtected && volume.IsDeleting() && volume.Text("status", "phase") != "Bound")
                actions.Add(new WriteAction(ResourceKind.PersistentVolume, VolumeWrites.Finalizer(volume, StorageAnnotations.VolumeFinalizer, false), null));
            else if (!isProtected && !volume.IsDeleting())
                actions.Add(new WriteAction(ResourceKind.PersistentVolume, VolumeWrites.Finalizer(volume, StorageAnnotations.VolumeFinalizer, true), null));
        }

        return actions;
    }
}
