using Edge.Core.Configuration;

namespace Edge.Core.Edged;

/// <summary>The cgroups of pods.</summary>
internal static class PodCgroup
{
    private const string Root = "/sys/fs/cgroup";

    // The class of a pod that only the runtime knows of is not known.
    private static readonly string[] s_parents = ["/kubepods", "/kubepods/burstable", "/kubepods/besteffort"];

    /// <summary>Removes a pod's empty cgroup, whatever its class, in every hierarchy of v1 or in the one of v2.</summary>
    /// <returns>False when one is still in use, and stays.</returns>
    public static bool Remove(EdgedOptions options, string uid) => options.CgroupDriver == "systemd" || Remove(Root, uid); // a slice is systemd's

    /// <summary>As <see cref="Remove(EdgedOptions, string)"/>, with the hierarchies below <paramref name="root"/>.</summary>
    internal static bool Remove(string root, string uid)
    {
        if (!Directory.Exists(root))
            return true;
        var gone = true;
        foreach (var hierarchy in Directory.GetDirectories(root).Append(root))
        {
            foreach (var parent in s_parents)
            {
                var path = $"{hierarchy}{parent}/pod{uid}";
                if (!Directory.Exists(path))
                    continue;
                Native.RemoveDirectory(path);
                gone &= !Directory.Exists(path);
            }
        }

        return gone;
    }
}
