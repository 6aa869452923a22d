namespace Edge.Local.Processes;

/// <summary>Reads the end of a log that another process is writing.</summary>
public static class LogFile
{
    private const int BytesMax = 64 * 1024;

    /// <summary>The last <paramref name="lines"/> lines, or an empty text when there is no such file.</summary>
    public static string Tail(string path, int lines)
    {
        if (!File.Exists(path))
            return "";
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        if (stream.Length > BytesMax)
            stream.Seek(-BytesMax, SeekOrigin.End);
        using var reader = new StreamReader(stream);
        var all = reader.ReadToEnd().TrimEnd('\n').Split('\n');
        return string.Join('\n', all.TakeLast(lines));
    }
}
