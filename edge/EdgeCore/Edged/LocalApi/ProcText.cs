using System.Globalization;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Reads texts of /proc (proc(5)) and of cgroups. Pure; a line that is not as expected counts as absent.</summary>
internal static class ProcText
{
    /// <summary>Nanoseconds of one tick of /proc/stat: USER_HZ is 100 on every architecture that .NET runs on.</summary>
    private const ulong TickNanoseconds = 10_000_000;

    /// <summary>CPU time of all cores that was not idle, in nanoseconds, from /proc/stat.</summary>
    public static ulong? CpuNanoseconds(IEnumerable<string> stat)
    {
        var columns = stat.Select(Words).FirstOrDefault(words => words is ["cpu", ..]);
        if (columns is null || columns.Length < 9)
            return null;
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        ulong busy = 0;
        foreach (var i in (int[])[1, 2, 3, 6, 7, 8])
            busy += Number(columns[i]) ?? 0;
        return busy * TickNanoseconds;
    }

    /// <summary>When the machine started, from /proc/stat.</summary>
    public static DateTimeOffset? Booted(IEnumerable<string> stat)
        => stat.Select(Words).FirstOrDefault(words => words is ["btime", _]) is { } words && Number(words[1]) is { } seconds && seconds < 1UL << 40
            ? DateTimeOffset.FromUnixTimeSeconds((long)seconds)
            : null;

    /// <summary>The values of /proc/meminfo in bytes.</summary>
    public static IReadOnlyDictionary<string, ulong> Memory(IEnumerable<string> meminfo)
    {
        var values = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var line in meminfo)
        {
            if (line.Split(':', 2) is [var name, var rest] && Words(rest) is [var number, ..] words && Number(number) is { } value)
                values[name] = words.Length > 1 && words[1] == "kB" ? value * 1024 : value;
        }

        return values;
    }

    /// <summary>Lines of a name and a number: /proc/vmstat, memory.stat and cpu.stat of a cgroup.</summary>
    public static IReadOnlyDictionary<string, ulong> Pairs(IEnumerable<string> lines)
    {
        var values = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var line in lines)
        {
            if (Words(line) is [var name, var number] && Number(number) is { } value)
                values[name] = value;
        }

        return values;
    }

    /// <summary>The interfaces of a /proc/PID/net/dev, the loopback left out.</summary>
    public static IReadOnlyList<InterfaceUse> Interfaces(IEnumerable<string> dev)
    {
        var found = new List<InterfaceUse>();
        foreach (var line in dev.Skip(2))
        {
            // face: rx bytes packets errs drop fifo frame compressed multicast, tx bytes packets errs drop …
            if (line.Split(':', 2) is not [var name, var rest] || name.Trim() is "lo" or "" || Words(rest) is not { Length: >= 12 } columns)
                continue;
            ulong At(int i) => Number(columns[i]) ?? 0;
            found.Add(new InterfaceUse(name.Trim(), At(0), At(1), At(2), At(3), At(8), At(9), At(10), At(11)));
        }

        return found;
    }

    /// <summary>A single number of a file such as memory.current; null for text such as <c>max</c>.</summary>
    public static ulong? Number(string text) => ulong.TryParse(text.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static string[] Words(string line) => line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
}
