using Edge.Kubernetes;

namespace Edge.Core.Edged.Eviction;

/// <summary>The sizeLimit of emptyDir volumes (kubelet's emptyDirLimitEviction). One in memory is bounded by its file system.</summary>
internal static class EmptyDirLimits
{
    /// <summary>The message of the eviction when an emptyDir of the pod holds more than its limit; else null. A critical or static pod stays.</summary>
    /// <param name="used">Bytes in the volume of this name.</param>
    public static string? Exceeded(PodDescription pod, Func<string, long> used)
    {
        if (EvictionRanking.IsCritical(pod.Json))
            return null;
        foreach (var volume in pod.Json.Items("spec", "volumes"))
        {
            if (volume["emptyDir"] is { } empty && empty.Text("medium").Length == 0 && Resources.Milli(empty["sizeLimit"]) is > 0 and var limit
                && used(volume.Text("name")) > limit / 1000)
                return $"Usage of EmptyDir volume \"{volume.Text("name")}\" exceeds the limit \"{empty["sizeLimit"]}\". ";
        }

        return null;
    }

    /// <summary>Where an emptyDir lies.</summary>
    public static string Folder(string root, string uid, string volume) => Path.Combine(root, "pods", uid, "volumes", "kubernetes.io~empty-dir", volume);
}
