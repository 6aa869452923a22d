namespace Edge.Core.Edged.Volumes;

/// <summary>Hands one file or directory inside a volume to a container, so that whatever the volume's users do meanwhile nothing outside of it is reached.</summary>
/// <remarks>The path is walked by open directories without following links, and what was opened is bound to a path of the node's own; the runtime mounts that. So a link that is put in
/// place after the check leads nowhere (CVE-2017-1002101, CVE-2021-25741; the way of kubelet's pkg/volume/util/subpath).</remarks>
internal static class SubPath
{
    /// <summary>Whether the text may be a subPath at all; else why not, in a kubelet's words.</summary>
    public static bool IsAllowed(string subPath, out string error)
    {
        error = Path.IsPathRooted(subPath) ? $"error SubPath `{subPath}` must not be an absolute path"
            : subPath.Split('/').Contains("..") ? $"unable to provision SubPath `{subPath}`: must not contain '..'"
            : subPath.Contains('\0', StringComparison.Ordinal) ? "error SubPath must not contain a zero byte" : "";
        return error.Length == 0;
    }

    /// <summary>Binds <paramref name="subPath"/> of the volume to <paramref name="target"/>, replacing what was bound there.</summary>
    /// <param name="create">Whether to make directories that are missing.</param>
    /// <exception cref="PodConfigException">It is not there, or leads out of the volume.</exception>
    /// <exception cref="IOException">The system refused.</exception>
    public static void Bind(string volume, string subPath, string target, bool create)
    {
        // Links that stay inside are allowed, so they are resolved first; then none may be left.
        var root = Native.RealPath(volume);
        var parts = subPath.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(part => part != ".").ToList();
        var (there, missing) = Existing(root, parts);
        if (there != root && !there.StartsWith(root + "/", StringComparison.Ordinal))
            throw new PodConfigException($"subPath \"{subPath}\" leads out of the volume");
        if (missing.Count > 0 && !create)
            throw new PodConfigException($"subPath \"{subPath}\" is not in the volume");
        var inside = there.Length == root.Length ? [] : there[(root.Length + 1)..].Split('/');
        using var opened = Walk(root, [.. inside, .. missing], inside.Length, subPath);
        MountTable.UnmountBelow(target);
        Prepare(target, Native.FileKind(opened.Path) == 'd');
        Native.BindMount(opened.Path, target);
    }

    // The longest part that exists, with its links resolved, and the parts that do not.
    private static (string There, List<string> Missing) Existing(string root, List<string> parts)
    {
        for (var count = parts.Count; count > 0; count--)
        {
            var path = Path.Combine([root, .. parts.Take(count)]);
            if (Native.FileKind(path) != ' ')
                return (Native.RealPath(path), parts[count..]);
            // A link to nothing is there, and what would be made is where it points to.
            if (new FileInfo(path).LinkTarget is not null)
                throw new PodConfigException($"subPath \"{string.Join('/', parts)}\" goes through a link to nothing");
        }

        return (root, parts);
    }

    private static OpenPath Walk(string root, string[] parts, int existing, string subPath)
    {
        var at = OpenPath.Root(root);
        var mode = File.GetUnixFileMode(at.Path); // what is made has the volume's own
        try
        {
            for (var i = 0; i < parts.Length; i++)
            {
                var isNew = i >= existing && at.MakeDirectory(parts[i]);
                var next = at.Open(parts[i]);
                at.Dispose();
                at = next;
                if (at.IsLink)
                    throw new PodConfigException($"subPath \"{subPath}\" was changed to a link while it was looked at");
                if (isNew)
                    File.SetUnixFileMode(at.Path, mode);
            }

            return at;
        }
        catch
        {
            at.Dispose();
            throw;
        }
    }

    private static void Prepare(string target, bool isDirectory)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        if (isDirectory && File.Exists(target))
            File.Delete(target);
        else if (!isDirectory && Directory.Exists(target))
            Directory.Delete(target); // an empty one that an earlier binding left
        if (isDirectory)
            Directory.CreateDirectory(target);
        else if (!File.Exists(target))
            File.WriteAllBytes(target, []);
    }
}
