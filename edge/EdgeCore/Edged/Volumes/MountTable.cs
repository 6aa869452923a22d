using System.Text;

namespace Edge.Core.Edged.Volumes;

/// <summary>What is mounted where (proc(5), /proc/self/mountinfo).</summary>
internal static class MountTable
{
    private const string Source = "/proc/self/mountinfo";
    private const int PathField = 4;

    /// <summary>Whether something is mounted on exactly this path.</summary>
    public static bool IsMounted(string path) => Paths(File.ReadLines(Source)).Contains(Real(path), StringComparer.Ordinal);

    /// <summary>Unmounts all that is mounted on the directory or below it, the last mounted first.</summary>
    /// <exception cref="IOException">Something could not be unmounted.</exception>
    public static void UnmountBelow(string directory)
    {
        directory = Real(directory);
        foreach (var path in Paths(File.ReadLines(Source)).Where(path => path == directory || path.StartsWith(directory + "/", StringComparison.Ordinal)).Reverse().ToList())
            Native.Unmount(path);
    }

    /// <summary>The mount points in the lines of a mountinfo, in its order. Space, tab, line feed and backslash stand there as three octal digits.</summary>
    internal static IEnumerable<string> Paths(IEnumerable<string> lines)
        => lines.Select(line => line.Split(' ')).Where(fields => fields.Length > PathField).Select(fields => Decode(fields[PathField]));

    // The table has no links in its paths: a root directory behind a link would otherwise seem to have no mounts.
    private static string Real(string path) => Directory.Exists(path) || File.Exists(path) ? Native.RealPath(path) : path;

    private static string Decode(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal))
            return text;
        var decoded = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length; at++)
        {
            if (text[at] == '\\' && at + 3 < text.Length && text.AsSpan(at + 1, 3).IndexOfAnyExceptInRange('0', '7') < 0)
            {
                decoded.Append((char)((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + (text[at + 3] - '0')));
                at += 3;
            }
            else
            {
                decoded.Append(text[at]);
            }
        }

        return decoded.ToString();
    }
}
