using System.Globalization;

namespace Edge.Core.Edged.Logs;

/// <summary>What to do, in this order, to rotate one log: delete, compress, then rename the current file and have the runtime open a new one.</summary>
/// <param name="Delete">Files that are too many, or were left by a compression that did not end.</param>
/// <param name="Compress">Rotated files to be gzipped.</param>
/// <param name="RenameTo">The current file's new name.</param>
internal sealed record RotationPlan(IReadOnlyList<string> Delete, IReadOnlyList<string> Compress, string RenameTo);

/// <summary>Decides how a container's log is rotated, as a kubelet does: <c>0.log</c> becomes <c>0.log.20060102-150405</c>, which the next rotation gzips, so that whoever
/// follows the log can read the last rotated file to its end. Pure.</summary>
internal static class LogRotation
{
    private const string Gzip = ".gz";
    private const string Unfinished = ".tmp";

    /// <summary>Null when the log is small enough.</summary>
    /// <param name="log">The current log's file name.</param>
    /// <param name="size">Its size in bytes.</param>
    /// <param name="beside">Names of all files in its directory.</param>
    /// <param name="filesMax">Files to keep, the current one and the one that this makes among them; at least 2.</param>
    public static RotationPlan? Plan(string log, long size, IEnumerable<string> beside, long sizeMax, int filesMax, DateTimeOffset now)
    {
        if (size < sizeMax)
            return null;
        var rotated = beside.Where(name => name.StartsWith(log + ".", StringComparison.Ordinal)).ToHashSet(StringComparer.Ordinal);
        var delete = rotated.Where(name => name.EndsWith(Unfinished, StringComparison.Ordinal) || rotated.Contains(name + Gzip)).ToList();

        // The names sort by time.
        var kept = rotated.Except(delete).Order(StringComparer.Ordinal).ToList();
        var surplus = Math.Max(0, kept.Count - (Math.Max(2, filesMax) - 2));
        delete.AddRange(kept.Take(surplus));
        var name = $"{log}.{now.UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}";
        return new RotationPlan(
            delete,
            [.. kept.Skip(surplus).Where(file => !file.EndsWith(Gzip, StringComparison.Ordinal))],
            rotated.Contains(name) || rotated.Contains(name + Gzip) ? $"{name}.{now.UtcDateTime.Ticks % TimeSpan.TicksPerSecond:d7}" : name);
    }
}
