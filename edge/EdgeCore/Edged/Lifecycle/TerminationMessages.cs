using System.Text;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Lifecycle;

/// <summary>The last words of a container (terminationMessagePath, terminationMessagePolicy), and a kubelet's limits on them.</summary>
internal static class TerminationMessages
{
    /// <summary>Bytes of one pod's messages together; each container may have an equal part.</summary>
    public const int PodMax = 12 * 1024;

    private const int LogLines = 80;
    private const int LogBytes = 2048;

    // More than enough for 80 lines that matter: only their last 2048 bytes are kept.
    private const int LogTail = 64 * 1024;

    /// <summary>What the container wrote to its file; else, of one that failed and asks for it, the end of its log.</summary>
    /// <param name="written">Content of the file.</param>
    /// <param name="logPath">The log of this start of the container.</param>
    public static string Of(ContainerDescription? container, int exitCode, string written, string logPath)
        => written.Length > 0 || exitCode == 0 || container?.Json.Text("terminationMessagePolicy") != "FallbackToLogsOnError" ? written : Tail(ReadEnd(logPath));

    /// <summary>The last 80 lines of a log in CRI's form (<c>time stream F|P text</c>), of them the last 2048 bytes. Pure.</summary>
    public static string Tail(string log)
    {
        var lines = log.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var text = new StringBuilder();
        foreach (var line in lines.Skip(Math.Max(0, lines.Length - LogLines)))
        {
            var parts = line.Split(' ', 4);
            if (parts.Length < 3 || parts[1] is not ("stdout" or "stderr"))
                continue; // the torn first line of what was read
            text.Append(parts.Length > 3 ? parts[3] : "");
            if (parts[2].StartsWith('F'))
                text.Append('\n');
        }

        var bytes = Encoding.UTF8.GetBytes(text.ToString());
        return bytes.Length <= LogBytes ? text.ToString() : Encoding.UTF8.GetString(bytes.AsSpan(bytes.Length - LogBytes));
    }

    /// <summary>Cuts a message to its container's part of the pod's limit.</summary>
    /// <param name="containers">How many containers the pod has, init containers too.</param>
    public static string Limit(string message, int containers)
    {
        var most = PodMax / Math.Max(1, containers);
        return Encoding.UTF8.GetByteCount(message) <= most ? message : Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(message).AsSpan(0, most));
    }

    private static string ReadEnd(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            file.Seek(-Math.Min(file.Length, LogTail), SeekOrigin.End);
            var bytes = new byte[LogTail];
            return Encoding.UTF8.GetString(bytes, 0, file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return ""; // rotated or removed: then there are no last words
        }
    }
}
