using System.Runtime.InteropServices;
using System.Text;
using Edge.Core.Configuration;
using Edge.Core.NodeStatus;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Measures the machine and cgroups through files. What cannot be read is null: a figure that is missing harms less than no figures.</summary>
internal static class UsageFiles
{
    private const string Cgroups = "/sys/fs/cgroup";

    /// <summary>The node, without what the runtime knows and without rates.</summary>
    public static NodeUse Node(string name, EdgedOptions options, DateTimeOffset now)
    {
        var facts = NodeFacts.Read(options);
        var stat = Lines("/proc/stat");
        var memory = ProcText.Memory(Lines("/proc/meminfo"));
        var faults = ProcText.Pairs(Lines("/proc/vmstat"));
        ulong? Of(string key) => memory.TryGetValue(key, out var value) ? value : null;
        var total = Of("MemTotal");
        return new NodeUse
        {
            Name = name,
            Booted = ProcText.Booted(stat) ?? default,
            Cpu = ProcText.CpuNanoseconds(stat) is { } nanoseconds ? new CpuUse(now, nanoseconds, null) : null,
            Memory = total is { } all && Of("MemAvailable") is { } available
                ? new MemoryUse(now, all - Math.Min(all, Of("MemFree") ?? 0), all - Math.Min(all, available), available, Of("AnonPages"), Value(faults, "pgfault"), Value(faults, "pgmajfault"))
                : null,
            SwapBytes = Of("SwapTotal") is { } swap ? swap - Math.Min(swap, Of("SwapFree") ?? 0) : null,
            SwapAvailableBytes = Of("SwapFree"),
            Network = ProcText.Interfaces(Lines("/proc/net/dev")),
            DefaultInterface = NodeFacts.DefaultRouteInterface(Lines("/proc/net/route")) ?? "",
            Disk = Disk(options.RootDirectory, now),
            Cpus = facts.Cpus,
            MemoryBytes = total ?? 0,
            Processes = facts.Processes,
            ProcessesMax = facts.ProcessesMax,
        };
    }

    /// <summary>The file system on which the path, or its nearest ancestor that is there, lies.</summary>
    public static DiskUse? Disk(string path, DateTimeOffset now)
    {
        path = Path.GetFullPath(path);
        while (!Directory.Exists(path) && Path.GetDirectoryName(path) is { } parent)
            path = parent;
        // statvfs(3): the first eight fields are of the machine's word on glibc, and so on 64-bit machines everywhere.
        var fields = new nuint[32];
        if (StatCall(Encoding.UTF8.GetBytes(path + '\0'), fields) != 0)
            return null;
        var unit = (ulong)fields[1];
        return new DiskUse(
            now, fields[2] * unit, fields[4] * unit, (fields[2] - Math.Min(fields[2], fields[3])) * unit, fields[5], fields[6], fields[5] - Math.Min(fields[5], fields[6]));
    }

    /// <summary>CPU time, memory and processes of a cgroup, in v1's hierarchies or in v2's one; null parts when it is not there.</summary>
    public static (CpuUse? Cpu, MemoryUse? Memory, ulong? Processes) Cgroup(string cgroup, DateTimeOffset now)
    {
        if (cgroup.Length == 0)
            return default; // of a pod that is on its way out
        var unified = File.Exists($"{Cgroups}/cgroup.controllers");
        var cpu = unified
            ? Value(ProcText.Pairs(Lines($"{Cgroups}{cgroup}/cpu.stat")), "usage_usec") * 1000
            : First($"{Cgroups}/cpuacct{cgroup}/cpuacct.usage");
        var folder = unified ? Cgroups + cgroup : $"{Cgroups}/memory{cgroup}";
        var used = First($"{folder}/{(unified ? "memory.current" : "memory.usage_in_bytes")}");
        var stat = ProcText.Pairs(Lines($"{folder}/memory.stat"));
        var inactive = Value(stat, unified ? "inactive_file" : "total_inactive_file") ?? 0;
        var memory = used is { } bytes
            ? new MemoryUse(
                now, bytes, bytes - Math.Min(bytes, inactive), null, Value(stat, unified ? "anon" : "total_rss"), Value(stat, unified ? "pgfault" : "total_pgfault"),
                Value(stat, unified ? "pgmajfault" : "total_pgmajfault"))
            : null;
        return (cpu is { } nanoseconds ? new CpuUse(now, nanoseconds, null) : null, memory, First(unified ? $"{Cgroups}{cgroup}/pids.current" : $"{Cgroups}/pids{cgroup}/pids.current"));
    }

    /// <summary>Interfaces in the network namespace of a process.</summary>
    public static IReadOnlyList<InterfaceUse> Network(int process) => ProcText.Interfaces(Lines($"/proc/{process}/net/dev"));

    /// <summary>Bytes in the files of a directory, not below it; null when it is not there.</summary>
    public static ulong? FileBytes(string directory)
    {
        try
        {
            return Directory.Exists(directory) ? (ulong)new DirectoryInfo(directory).EnumerateFiles().Sum(file => file.Length) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // rotated away while it was counted
        }
    }

    private static ulong? Value(IReadOnlyDictionary<string, ulong> values, string key) => values.TryGetValue(key, out var value) ? value : null;

    private static ulong? First(string path) => Lines(path) is [var line, ..] ? ProcText.Number(line) : null;

    private static string[] Lines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return []; // the process or the cgroup went while it was read
        }
    }

    [DllImport("libc", EntryPoint = "statvfs")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int StatCall(byte[] path, [Out] nuint[] fields);
}
