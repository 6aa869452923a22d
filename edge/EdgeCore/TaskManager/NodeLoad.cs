using System.Globalization;
using Edge.Core.NodeStatus;

namespace Edge.Core.TaskManager;

/// <summary>What a job's checkItems look at: how much of this machine is in use.</summary>
/// <param name="DiskPath">A path on the file system that counts.</param>
internal sealed record NodeLoad(string DiskPath, TimeProvider Time)
{
    private static readonly TimeSpan s_cpuSample = TimeSpan.FromMilliseconds(200);

    /// <summary>Percent in use of <c>cpu</c>, <c>mem</c> or <c>disk</c>; null for another word, or where the machine does not tell.</summary>
    public async Task<double?> PercentAsync(string item, CancellationToken cancellationToken)
    {
        try
        {
            switch (item)
            {
                case "cpu":
                    var before = await File.ReadAllTextAsync("/proc/stat", cancellationToken);
                    await Task.Delay(s_cpuSample, Time, cancellationToken);
                    return CpuPercent(before, await File.ReadAllTextAsync("/proc/stat", cancellationToken));
                case "mem":
                    return MemoryPercent(await File.ReadAllTextAsync("/proc/meminfo", cancellationToken));
                case "disk":
                    return FileSystemFacts.Of(DiskPath) is { Bytes: > 0 } disk ? 100.0 * (disk.Bytes - disk.BytesAvailable) / disk.Bytes : null;
                default:
                    return null;
            }
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>From two readings of /proc/stat (proc(5)): the share of time between them that was neither idle nor iowait.</summary>
    public static double? CpuPercent(string before, string after)
    {
        if (Times(before) is not { } first || Times(after) is not { } second)
            return null;
        var all = second.All - first.All;
        return all <= 0 ? 0 : 100.0 * (all - (second.Idle - first.Idle)) / all;
    }

    /// <summary>From /proc/meminfo: what is not available, of the total.</summary>
    public static double? MemoryPercent(string meminfo)
        => Field(meminfo, "MemTotal:") is > 0 and var total && Field(meminfo, "MemAvailable:") is { } available ? 100.0 * (total - available) / total : null;

    private static (long All, long Idle)? Times(string stat)
    {
        var words = stat.Split('\n')[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length < 6 || words[0] != "cpu")
            return null;
        // user nice system idle iowait irq softirq steal; guest times are in user and nice already.
        var times = words.Skip(1).Take(8).Select(word => long.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var ticks) ? ticks : 0).ToArray();
        return (times.Sum(), times[3] + times[4]);
    }

    private static long? Field(string meminfo, string name)
        => meminfo.Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var text, ..]
            && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var kilobytes) ? kilobytes : null;
}
