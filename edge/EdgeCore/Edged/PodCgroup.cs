namespace Edge.Core.Edged;

/// <summary>The cgroups of pods.</summary>
internal static class PodCgroup
{
    private const string Root = "/sys/fs/cgroup";

    /// <summary>Removes a pod's empty cgroup, in every hierarchy of v1 or in the one of v2. One that is still in use stays.</summary>
    public static void Remove(string parent)
    {
        if (!parent.StartsWith('/') || !Directory.Exists(Root))
            return; // a systemd slice is systemd's
        foreach (var hierarchy in Directory.EnumerateDirectories(Root).Append(Root))
        {
            var path = hierarchy + parent;
            if (Directory.Exists(path))
                Native.RemoveDirectory(path);
        }
    }
}
