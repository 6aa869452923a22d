using Edge.Kubernetes;

namespace Edge.Core.Edged.Volumes;

/// <summary>Gives a volume to the pod's fsGroup, as a kubelet's SetVolumeOwnership: group, read and write for it, and setgid on directories so that new files have it too.</summary>
internal static class VolumeOwnership
{
    private const UnixFileMode Shared = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;
    private const UnixFileMode Folder = Shared | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.SetGroup;

    /// <summary>The pod's fsGroup; null when it has none.</summary>
    public static long? Group(PodDescription pod) => pod.Json.Number(-1, "spec", "securityContext", "fsGroup") is >= 0 and var group ? group : null;

    /// <summary>Applies the pod's fsGroup to everything in the directory; nothing when it has none, or when its fsGroupChangePolicy is OnRootMismatch and the top is right.</summary>
    /// <exception cref="IOException">An owner could not be changed.</exception>
    public static void Apply(string directory, PodDescription pod)
    {
        if (Group(pod) is not { } group)
            return;
        if (pod.Json.Text("spec", "securityContext", "fsGroupChangePolicy") == "OnRootMismatch"
            && Native.GroupOf(directory) == group && (File.GetUnixFileMode(directory) & Folder) == Folder)
            return;
        Walk(new DirectoryInfo(directory), group);
    }

    // The top goes last, so that one that was cut off half-way is not taken for done.
    private static void Walk(DirectoryInfo directory, long group)
    {
        foreach (var entry in directory.EnumerateFileSystemInfos())
        {
            if (entry.LinkTarget is null && entry is DirectoryInfo inner)
            {
                Walk(inner, group);
                continue;
            }

            Native.ChangeOwner(entry.FullName, -1, group);
            if (entry.LinkTarget is null)
                entry.UnixFileMode |= Shared;
        }

        Native.ChangeOwner(directory.FullName, -1, group);
        directory.UnixFileMode |= Folder;
    }
}
