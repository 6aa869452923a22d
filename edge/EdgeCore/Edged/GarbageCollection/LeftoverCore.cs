using System.Globalization;

namespace Edge.Core.Edged.GarbageCollection;

/// <summary>A file below a pod's log directory.</summary>
/// <param name="Container">The directory's name: the container.</param>
/// <param name="File">The file's name, <c>3.log</c> or <c>3.log.20260102-150405.gz</c>.</param>
internal sealed record LogFileView(string Container, string File);

/// <summary>Decides what of pods that are gone, and of containers that were removed, is left over on disk. Pure.</summary>
internal static class LeftoverCore
{
    /// <summary>The uid of a log directory's pod, <c>&lt;namespace&gt;_&lt;name&gt;_&lt;uid&gt;</c>; null for what is no pod's.</summary>
    public static string? UidOf(string logDirectory)
    {
        var parts = Path.GetFileName(logDirectory).Split('_');
        return parts.Length == 3 && parts[2].Length > 0 ? parts[2] : null;
    }

    /// <summary>Those of the directories whose pod is neither wanted here nor known to the runtime.</summary>
    /// <param name="directories">Directories with their pods' uids.</param>
    public static IReadOnlyList<string> GonePods(IEnumerable<(string Path, string Uid)> directories, IReadOnlySet<string> wanted, IReadOnlySet<string> atRuntime)
        => [.. directories.Where(one => !wanted.Contains(one.Uid) && !atRuntime.Contains(one.Uid)).Select(one => one.Path)];

    /// <summary>Those of a pod's log files whose container was removed: older than every container of the name that is left. The newest one's stay though no container is left.</summary>
    /// <param name="attempts">The attempts of the pod's containers at the runtime, by name.</param>
    public static IReadOnlyList<LogFileView> DeadLogs(IReadOnlyCollection<LogFileView> files, ILookup<string, uint> attempts)
    {
        var newest = files.GroupBy(file => file.Container).ToDictionary(group => group.Key, group => group.Max(file => AttemptOf(file.File) ?? 0), StringComparer.Ordinal);
        return [.. files.Where(file => AttemptOf(file.File) is { } attempt && attempt < newest[file.Container] && attempts[file.Container].All(left => attempt < left))];
    }

    /// <summary>The attempt whose log, current or rotated, a file is; null when it is none.</summary>
    public static uint? AttemptOf(string file)
    {
        var dot = file.IndexOf(".log", StringComparison.Ordinal);
        return dot > 0 && uint.TryParse(file.AsSpan(0, dot), NumberStyles.None, CultureInfo.InvariantCulture, out var attempt) ? attempt : null;
    }
}
