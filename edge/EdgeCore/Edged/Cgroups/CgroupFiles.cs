using System.Globalization;

namespace Edge.Core.Edged.Cgroups;

/// <summary>One write to a cgroup's control file.</summary>
/// <param name="Directory">Made when it is not there.</param>
/// <param name="File">Name in the directory; empty where only the directory is wanted.</param>
/// <param name="Optional">Whether the file is only there with some kernels.</param>
internal sealed record CgroupWrite(string Directory, string File, string Value, bool Optional = false);

/// <summary>Limits as writes to control files. Pure. Sources: the kernel's cgroup-v1 (memory, sched-bwc, pids, hugetlb) and cgroup-v2 documents;
/// the weight's formula is the OCI runtimes'.</summary>
internal static class CgroupFiles
{
    /// <summary>For cgroup v1: a hierarchy for each controller.</summary>
    /// <param name="root">Where the hierarchies are mounted, e.g. <c>/sys/fs/cgroup</c>.</param>
    /// <param name="path">The cgroup's path with a leading slash.</param>
    public static IReadOnlyList<CgroupWrite> V1(string root, string path, PodLimits limits)
    {
        var writes = new List<CgroupWrite>
        {
            new($"{root}/cpu{path}", "cpu.shares", Text(limits.CpuShares)),
            new($"{root}/cpu{path}", "cpu.cfs_period_us", Text(PodLimits.CpuPeriodUs), true), // not with every kernel's configuration
            new($"{root}/cpu{path}", "cpu.cfs_quota_us", Text(limits.CpuQuotaUs > 0 ? limits.CpuQuotaUs : -1), true),
            new($"{root}/memory{path}", "memory.limit_in_bytes", Text(limits.MemoryBytes > 0 ? limits.MemoryBytes : -1)),
            new($"{root}/pids{path}", "pids.max", limits.Pids > 0 ? Text(limits.Pids) : "max"),
        };
        writes.AddRange(limits.HugePages.Select(pair => new CgroupWrite($"{root}/hugetlb{path}", $"hugetlb.{pair.Key}.limit_in_bytes", Text(pair.Value))));
        return writes;
    }

    /// <summary>For cgroup v2: one hierarchy, whose every level must hand its controllers down first.</summary>
    /// <param name="controllers">What the root has (cgroup.controllers).</param>
    public static IReadOnlyList<CgroupWrite> V2(string root, string path, PodLimits limits, IReadOnlySet<string> controllers)
    {
        var given = string.Join(' ', ((string[])["cpu", "memory", "pids", "hugetlb"]).Where(controllers.Contains).Select(name => "+" + name));
        var writes = new List<CgroupWrite>();
        var level = root;
        foreach (var part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            writes.Add(new CgroupWrite(level, "cgroup.subtree_control", given));
            level = $"{level}/{part}";
        }

        writes.Add(new CgroupWrite(level, "cpu.weight", Text(Weight(limits.CpuShares))));
        writes.Add(new CgroupWrite(level, "cpu.max", $"{(limits.CpuQuotaUs > 0 ? Text(limits.CpuQuotaUs) : "max")} {Text(PodLimits.CpuPeriodUs)}", true));
        writes.Add(new CgroupWrite(level, "memory.max", limits.MemoryBytes > 0 ? Text(limits.MemoryBytes) : "max"));
        writes.Add(new CgroupWrite(level, "pids.max", limits.Pids > 0 ? Text(limits.Pids) : "max"));
        writes.AddRange(limits.HugePages.Select(pair => new CgroupWrite(level, $"hugetlb.{pair.Key}.max", Text(pair.Value))));
        return writes.Where(write => write.File.StartsWith("cgroup.", StringComparison.Ordinal) || controllers.Contains(write.File[..write.File.IndexOf('.', StringComparison.Ordinal)])).ToList();
    }

    /// <summary>Properties of a systemd slice, <c>Name=value</c> (systemd.resource-control(5)); v1 and v2 have names of their own.</summary>
    public static IReadOnlyList<string> Slice(PodLimits limits, bool v2)
    {
        // A quota is written as a percentage of one processor, without a fraction.
        var quota = limits.CpuQuotaUs > 0 ? Text((limits.CpuQuotaUs * 100 + PodLimits.CpuPeriodUs - 1) / PodLimits.CpuPeriodUs) + "%" : "";
        return
        [
            v2 ? $"CPUWeight={Text(Weight(limits.CpuShares))}" : $"CPUShares={Text(limits.CpuShares)}",
            $"CPUQuota={quota}",
            $"{(v2 ? "MemoryMax" : "MemoryLimit")}={(limits.MemoryBytes > 0 ? Text(limits.MemoryBytes) : "infinity")}",
            $"TasksMax={(limits.Pids > 0 ? Text(limits.Pids) : "infinity")}",
        ];
    }

    /// <summary>cgroup v2's weight (1 to 10000) for v1's shares (2 to 262144).</summary>
    public static long Weight(long shares) => 1 + (Math.Clamp(shares, 2, 262_144) - 2) * 9999 / 262_142;

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
