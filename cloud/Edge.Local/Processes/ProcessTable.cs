using System.Globalization;
using System.Text;

namespace Edge.Local.Processes;

/// <summary>A process as /proc shows it. The start time (clock ticks after boot) tells it from a later process with the same id.</summary>
public sealed record ProcessEntry(int Id, long StartTime, char State, string CommandLine);

/// <summary>Reads /proc. A process that goes away meanwhile, or that belongs to another user, is left out.</summary>
public static class ProcessTable
{
    /// <summary>The environment variable every process of a local Edge carries, with the full path of its directory; its children inherit
    /// it (containerd's shims among them). So a process is found from its first instant on, without a list that could lag behind.</summary>
    public const string Marker = "EDGE_LOCAL_DIR";

    /// <summary>All living processes of the local Edge in <paramref name="directory"/>, zombies left out.</summary>
    public static IReadOnlyList<ProcessEntry> OfDirectory(string directory)
    {
        var wanted = Encoding.UTF8.GetBytes($"{Marker}={directory}\0");
        var found = new List<ProcessEntry>();
        foreach (var path in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out var id)
                && id != Environment.ProcessId
                && ReadBytes($"{path}/environ") is { } environment
                && HasEntry(environment, wanted)
                && Find(id) is { State: not 'Z' } entry)
                found.Add(entry);
        }

        return found;
    }

    /// <summary>The process, or null when there is none with this id.</summary>
    public static ProcessEntry? Find(int id)
    {
        if (ReadBytes($"/proc/{id}/stat") is not { Length: > 0 } stat || ReadBytes($"/proc/{id}/cmdline") is not { } commandLine)
            return null;

        // pid (comm) state ppid ... starttime is field 22; comm may hold spaces and parentheses, so count from the last one.
        var text = Encoding.UTF8.GetString(stat);
        var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return new ProcessEntry(
            id,
            long.Parse(fields[19], CultureInfo.InvariantCulture),
            fields[0][0],
            Encoding.UTF8.GetString(commandLine).Replace('\0', ' ').TrimEnd());
    }

    /// <summary>Resident memory in bytes (VmRSS), or 0 when the process is gone.</summary>
    public static long ResidentBytes(int id)
    {
        var line = ReadBytes($"/proc/{id}/status") is { } status
            ? Encoding.UTF8.GetString(status).Split('\n').FirstOrDefault(one => one.StartsWith("VmRSS:", StringComparison.Ordinal))
            : null;
        var kilobytes = line?["VmRSS:".Length..].Replace("kB", "", StringComparison.Ordinal).Trim();
        return long.TryParse(kilobytes, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value * 1024 : 0;
    }

    private static bool HasEntry(ReadOnlySpan<byte> environment, ReadOnlySpan<byte> wanted)
    {
        for (var at = 0; at < environment.Length;)
        {
            var next = environment.IndexOf(wanted);
            if (next < 0)
                return false;
            if (next == 0 || environment[next - 1] == 0)
                return true;
            environment = environment[(next + 1)..];
        }

        return false;
    }

    private static byte[]? ReadBytes(string path)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
