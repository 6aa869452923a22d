using System.Globalization;

namespace Edge.Core.Edged;

/// <summary>A file of a ConfigMap, Secret or projected volume: a path relative to the volume, without dots.</summary>
internal sealed record VolumeFile(string Path, byte[] Content, UnixFileMode Mode)
{
    /// <summary>The user that owns it; null for the process's own.</summary>
    public long? User { get; init; }
}

/// <summary>Writes a volume's files so that a reader sees all of the old or all of the new ones: the files are in a dated directory, the
/// link <c>..data</c> names it and is replaced by one rename, and each name at the top is a link through <c>..data</c> (kubelet's layout).</summary>
internal static class AtomicVolume
{
    private const string DataLink = "..data";

    private const UnixFileMode FolderMode = (UnixFileMode)0b111_101_101;

    /// <summary>Brings the volume to exactly these files. Returns false when it was there already.</summary>
    /// <param name="group">Group that owns the files, or null for the process's own.</param>
    public static bool Write(string directory, IReadOnlyCollection<VolumeFile> files, long? group, DateTimeOffset now)
    {
        Directory.CreateDirectory(directory);
        var link = Path.Combine(directory, DataLink);
        var old = new FileInfo(link).LinkTarget;
        if (old is not null && IsSame(Path.Combine(directory, old), files, group is not null))
        {
            // A stop right after the swap may have left the links behind it.
            Links(directory, files);
            return false;
        }

        var name = string.Create(CultureInfo.InvariantCulture, $"..{now.UtcDateTime:yyyy_MM_dd_HH_mm_ss}.{Guid.NewGuid().ToString("N")[..10]}");
        var folder = Path.Combine(directory, name);
        Directory.CreateDirectory(folder);
        File.SetUnixFileMode(folder, FolderMode);
        foreach (var file in files)
        {
            var path = Path.Combine(folder, file.Path);
            MakeFolders(folder, file.Path);
            using (var stream = new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            }))
            {
                stream.Write(file.Content);
            }

            if (group is not null || file.User is not null)
                Native.ChangeOwner(path, file.User ?? -1, group ?? -1);
            File.SetUnixFileMode(path, Mode(file, group is not null));
        }

        if (group is { } owner)
            Give(folder, owner);
        var temporary = Path.Combine(directory, "..data_tmp");
        File.Delete(temporary);
        File.CreateSymbolicLink(temporary, name);
        Native.Rename(temporary, link);
        Links(directory, files);
        if (old is not null && Directory.Exists(Path.Combine(directory, old)))
            Directory.Delete(Path.Combine(directory, old), recursive: true);
        return true;
    }

    private static void MakeFolders(string folder, string path)
    {
        for (var slash = path.IndexOf('/', StringComparison.Ordinal); slash > 0; slash = path.IndexOf('/', slash + 1))
        {
            var inner = Path.Combine(folder, path[..slash]);
            Directory.CreateDirectory(inner);
            File.SetUnixFileMode(inner, FolderMode);
        }
    }

    private static void Give(string folder, long group)
    {
        foreach (var directory in Directory.EnumerateDirectories(folder, "*", SearchOption.AllDirectories).Append(folder))
        {
            Native.ChangeOwner(directory, -1, group);
            File.SetUnixFileMode(directory, FolderMode | UnixFileMode.SetGroup);
        }
    }

    private static void Links(string directory, IReadOnlyCollection<VolumeFile> files)
    {
        var top = files.Select(file => file.Path.Split('/')[0]).ToHashSet(StringComparer.Ordinal);
        foreach (var name in top)
        {
            var path = Path.Combine(directory, name);
            if (new FileInfo(path).LinkTarget is null)
                File.CreateSymbolicLink(path, $"{DataLink}/{name}");
        }

        foreach (var entry in new DirectoryInfo(directory).EnumerateFileSystemInfos())
        {
            if (entry.LinkTarget?.StartsWith(DataLink + "/", StringComparison.Ordinal) == true && !top.Contains(entry.Name))
                entry.Delete();
        }
    }

    private static UnixFileMode Mode(VolumeFile file, bool grouped) => grouped ? file.Mode | UnixFileMode.UserRead | UnixFileMode.GroupRead : file.Mode;

    private static bool IsSame(string folder, IReadOnlyCollection<VolumeFile> files, bool grouped)
    {
        if (!Directory.Exists(folder) || Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Count() != files.Count)
            return false;
        foreach (var file in files)
        {
            var path = Path.Combine(folder, file.Path);
            if (!File.Exists(path) || new FileInfo(path).Length != file.Content.Length || File.GetUnixFileMode(path) != Mode(file, grouped) || !File.ReadAllBytes(path).AsSpan().SequenceEqual(file.Content))
                return false;
        }

        return true;
    }
}
