using System.Globalization;
using Edge.Core.Configuration;

namespace Edge.Core.Edged.Eviction;

/// <summary>Reads what a pod uses: its cgroups' memory and processes, the size of its directories and of what its containers wrote. What cannot be read counts as nothing.</summary>
internal sealed class PodUsageReader(EdgedOptions options, string cgroups = "/sys/fs/cgroup")
{
    /// <param name="containers">Ids of the pod's running containers by name.</param>
    /// <param name="disk">What to count of the disk; null for nothing, since to walk directories takes time.</param>
    public PodUsage Read(PodDescription pod, IReadOnlyDictionary<string, string> containers, PodDisk? disk)
    {
        var parent = CriConfigs.CgroupParent(options, pod);
        var path = CriConfigs.CgroupPath(parent);
        var layers = disk?.Layers ?? [];
        var (bytes, inodes) = disk is { Directories: true } ? Walk([.. Own(Path.Combine(options.RootDirectory, "pods", pod.Uid)), CriConfigs.LogDirectory(options, pod)]) : (0, 0);
        return new PodUsage(WorkingSet(path), bytes + layers.Sum(layer => layer.Bytes), inodes + layers.Sum(layer => layer.Inodes), Processes(path))
        {
            ContainerDisk = disk is null ? new Dictionary<string, long>() : pod.AllContainers.GroupBy(container => container.Name, StringComparer.Ordinal)
                .ToDictionary(same => same.Key, same => ContainerBytes(pod, same.Key, layers), StringComparer.Ordinal),
            ContainerMemory = containers.ToDictionary(
                pair => pair.Key, pair => WorkingSet(CriConfigs.ContainerCgroup(parent, pair.Value)), StringComparer.Ordinal),
        };
    }

    /// <summary>Bytes that a container wrote to its file system and to its log.</summary>
    public long ContainerBytes(PodDescription pod, string container, IEnumerable<LayerUse> layers)
        => layers.Where(layer => layer.Container == container).Sum(layer => layer.Bytes) + Walk(Path.Combine(CriConfigs.LogDirectory(options, pod), container)).Bytes;

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
