using System.Text;

namespace Edge.Local.Processes;

/// <summary>Takes away what a local Edge left behind: its processes, containers, mounts, network namespaces and bridge. Safe to run again.</summary>
public static class Leftovers
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20);

    /// <summary>Cleans <paramref name="directory"/>, a full path; its files stay. Throws <see cref="ToolException"/> when a process does not go.</summary>
    public static async Task CleanAsync(string directory, TimeProvider time)
    {
        await KillAllAsync(directory, time);
        foreach (var containerd in ContainerdDirectories(directory))
            await Containerd.ContainerdInstance.CleanUpAsync(containerd);
        Unmount(directory);
    }

    /// <summary>What is still there, one line each; empty when all is gone. For tests and for the end of <c>--check</c>.</summary>
    public static IReadOnlyList<string> Find(string directory)
        => [.. ProcessTable.OfDirectory(directory).Select(process => $"process {process.Id}: {process.CommandLine}"),
            .. MountsUnder(directory).Select(path => $"mount {path}")];

    /// <summary>The directories of containerd instances below a local Edge's directory.</summary>
    public static IEnumerable<string> ContainerdDirectories(string directory)
        => Directory.Exists(directory) ? Directory.EnumerateDirectories(directory, "containerd*") : [];

    private static async Task KillAllAsync(string directory, TimeProvider time)
    {
        var started = time.GetTimestamp();
        while (ProcessTable.OfDirectory(directory) is { Count: > 0 } processes)
        {
            // A process may be forking while it is killed: look again until none is left.
            foreach (var process in processes)
                _ = Native.Kill(process.Id, Native.SigKill);
            if (time.GetElapsedTime(started) > s_deadline)
                throw new ToolException($"{directory}: still running after SIGKILL: {string.Join("; ", processes.Select(process => $"{process.Id} {process.CommandLine}"))}");
            await Task.Delay(s_pause, time, CancellationToken.None);
        }
    }

    /// <summary>Unmounts all that is mounted on or below <paramref name="directory"/>, a full path.</summary>
    internal static void Unmount(string directory)
    {
        // Deepest first; a mount may be stacked on another, hence again until none is left or none gives way.
        for (var round = 0; round < 10 && MountsUnder(directory) is { Count: > 0 } mounts; round++)
        {
            foreach (var path in mounts.OrderByDescending(path => path.Length))
                _ = Native.Unmount(path, Native.Detach);
        }
    }

    private static List<string> MountsUnder(string directory)
        => [.. File.ReadLines("/proc/self/mountinfo")
            .Select(line => Unescape(line.Split(' ')[4]))
            .Where(path => path == directory || path.StartsWith(directory + "/", StringComparison.Ordinal))];

    // mountinfo writes space, tab, newline and backslash as \ooo.
    private static string Unescape(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal))
            return text;
        var result = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\' && i + 3 < text.Length)
            {
                result.Append((char)Convert.ToInt32(text.Substring(i + 1, 3), 8));
                i += 3;
            }
            else
            {
                result.Append(text[i]);
            }
        }

        return result.ToString();
    }
}
