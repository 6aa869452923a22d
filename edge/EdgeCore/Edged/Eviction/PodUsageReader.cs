using System.Globalization;
using Edge.Core.Configuration;

namespace Edge.Core.Edged.Eviction;

/// <summary>Reads what a pod uses: its cgroups' memory and processes, its directories' size. What cannot be read counts as nothing. The containers' writable
/// layers are the runtime's and not counted.</summary>
internal sealed class PodUsageReader(EdgedOptions options, string cgroups = "/sys/fs/cgroup")
{
    /// <param name="containers">Ids of the pod's running containers by name.</param>
    /// <param name="withDisk">Whether to walk its directories, which takes time.</param>
    public PodUsage Read(PodDescription pod, IReadOnlyDictionary<string, string> containers, bool withDisk)
    {
        var parent = CriConfigs.CgroupParent(options, pod);
        var path = CriConfigs.CgroupPath(parent);
        var (disk, inodes) = withDisk ? Walk([.. Own(Path.Combine(options.RootDirectory, "pods", pod.Uid)), CriConfigs.LogDirectory(options, pod)]) : (0, 0);
        return new PodUsage(WorkingSet(path), disk, inodes, Processes(path))
        {
            ContainerMemory = containers.ToDictionary(
                pair => pair.Key, pair => WorkingSet(CriConfigs.ContainerCgroup(parent, pair.Value)), StringComparer.Ordinal),
        };
    }

    // As cAdvisor: usage less what the kernel can drop at once. v1 has a hierarchy for memory, v2 has one for all.
    private long WorkingSet(string path)
    {
        var v1 = Number($"{cgroups}/memory{path}/memory.usage_in_bytes");
        var used = v1 ?? Number($"{cgroups}{path}/memory.current") ?? 0;
        var stat = v1 is null ? $"{cgroups}{path}/memory.stat" : $"{cgroups}/memory{path}/memory.stat";
        var key = v1 is null ? "inactive_file " : "total_inactive_file ";
        var inactive = Lines(stat).Where(line => line.StartsWith(key, StringComparison.Ordinal)).Select(line => Parse(line[key.Length..])).FirstOrDefault() ?? 0;
        return Math.Max(0, used - inactive);
    }

    private long Processes(string path) => Number($"{cgroups}/pids{path}/pids.current") ?? Number($"{cgroups}{path}/pids.current") ?? 0;

    // What subPaths are bound to is other volumes again, or not the pod's at all.
    private static IEnumerable<string> Own(string directory)
        => Directory.Exists(directory) ? Directory.EnumerateDirectories(directory).Where(path => Path.GetFileName(path) != PodVolumes.SubPaths) : [];

    /// <summary>What lies in the directories; links are not followed.</summary>
    internal static (long Bytes, long Inodes) Walk(params string[] directories)
    {
        long bytes = 0;
        long inodes = 0;
        var all = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };
        foreach (var directory in directories.Where(Directory.Exists))
        {
            foreach (var info in new DirectoryInfo(directory).EnumerateFileSystemInfos("*", all))
            {
                inodes++;
                try
                {
                    bytes += info is FileInfo file ? file.Length : 0;
                }
                catch (IOException)
                {
                    // Gone since it was listed: it uses nothing.
                }
            }
        }

        return (bytes, inodes);
    }

    private static long? Number(string path) => Lines(path).Select(Parse).FirstOrDefault();

    private static long? Parse(string text) => long.TryParse(text.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static string[] Lines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return []; // a cgroup that goes away while it is read
        }
    }
}
