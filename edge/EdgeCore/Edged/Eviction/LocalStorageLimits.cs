using Edge.Kubernetes;

namespace Edge.Core.Edged.Eviction;

/// <summary>The limits that a pod sets itself on the node's disk: sizeLimit of its emptyDirs, and ephemeral-storage of its containers (kubelet's localStorageEviction). Pure.
/// An emptyDir in memory is bounded by its file system.</summary>
internal static class LocalStorageLimits
{
    private const string Storage = "ephemeral-storage";

    /// <summary>Whether the pod has a limit that could be exceeded. A critical or static pod has none.</summary>
    public static bool Any(PodDescription pod) => !EvictionRanking.IsCritical(pod.Json) && (Volumes(pod).Any() || HasContainerLimit(pod));

    /// <summary>Whether a container has a limit, so that its own file system counts.</summary>
    public static bool HasContainerLimit(PodDescription pod) => pod.AllContainers.Any(container => Limit(container) > 0);

    /// <summary>The message of the eviction when the pod holds more than one of its limits; else null.</summary>
    /// <param name="volume">Bytes in the emptyDir of this name.</param>
    /// <param name="container">Bytes that a container of this name wrote to its file system and its log.</param>
    public static string? Exceeded(PodDescription pod, Func<string, long> volume, Func<string, long> container)
    {
        if (EvictionRanking.IsCritical(pod.Json))
            return null;
        foreach (var (name, limit, text) in Volumes(pod))
        {
            if (volume(name) > limit)
                return $"Usage of EmptyDir volume \"{name}\" exceeds the limit \"{text}\". ";
        }

        if (!HasContainerLimit(pod))
            return null;
        var limits = Math.Max(pod.Containers.Concat(pod.InitContainers.Where(init => init.IsSidecar)).Sum(Limit), pod.InitContainers.Select(Limit).DefaultIfEmpty(0).Max());
        var used = pod.AllContainers.Sum(one => container(one.Name))
            + pod.Json.Items("spec", "volumes").Where(one => one["emptyDir"] is { } empty && empty.Text("medium").Length == 0).Sum(one => volume(one.Text("name")));
        if (limits > 0 && used > limits)
            return $"Pod ephemeral local storage usage exceeds the total limit of containers {NodeStatus.NodeResources.BinarySize(limits)}. ";
        return pod.AllContainers.FirstOrDefault(one => Limit(one) is > 0 and var limit && container(one.Name) > limit) is { } over
            ? $"Container {over.Name} exceeded its local ephemeral storage limit \"{over.Json.At("resources", "limits", Storage)}\". "
            : null;
    }

    /// <summary>Where an emptyDir lies.</summary>
    public static string Folder(string root, string uid, string volume) => Path.Combine(root, "pods", uid, "volumes", "kubernetes.io~empty-dir", volume);

    private static long Limit(ContainerDescription container) => Resources.Milli(container.Json.At("resources", "limits", Storage)) is > 0 and var limit ? limit / 1000 : 0;

    private static IEnumerable<(string Name, long Limit, string Text)> Volumes(PodDescription pod)
    {
        foreach (var volume in pod.Json.Items("spec", "volumes"))
        {
            if (volume["emptyDir"] is { } empty && empty.Text("medium").Length == 0 && Resources.Milli(empty["sizeLimit"]) is > 0 and var limit)
                yield return (volume.Text("name"), limit / 1000, $"{empty["sizeLimit"]}");
        }
    }
}
