namespace Edge.Core.Edged.LocalApi;

/// <summary>What a line of a CRI log file is.</summary>
internal enum LogLineKind
{
    /// <summary>The end of what the container wrote as one line.</summary>
    Full,

    /// <summary>A piece of it; the next line of the file goes on.</summary>
    Partial,

    /// <summary>Not a line of a CRI log.</summary>
    Malformed,
}

/// <summary>The head of a line of a CRI log file: <c>TIME stdout|stderr TAGS </c>, tags parted by ':', the first <c>P</c> or <c>F</c>
/// (Kubernetes' CRI logging format). Pure.</summary>
internal static class LogLine
{
    /// <summary>No head is longer; the format's own is about 50 bytes.</summary>
    public const int HeadMax = 128;

    /// <summary>Reads the head from the start of a line.</summary>
    /// <param name="line">The line or its first <see cref="HeadMax"/> bytes, without the newline.</param>
    /// <param name="length">Bytes of the head; the container's text follows.</param>
    /// <returns>Malformed when there is no whole head in these bytes.</returns>
    public static LogLineKind Read(ReadOnlySpan<byte> line, out int timeLength, out int length)
    {
        length = 0;
        timeLength = line.IndexOf((byte)' ');
        if (timeLength <= 0)
            return LogLineKind.Malformed;
        var rest = line[(timeLength + 1)..];
        if (!rest.StartsWith("stdout "u8) && !rest.StartsWith("stderr "u8))
            return LogLineKind.Malformed;
        var tags = rest[7..];
        var end = tags.IndexOf((byte)' ');
        if (end <= 0)
            return LogLineKind.Malformed;
        length = timeLength + 1 + 7 + end + 1;
        tags = tags[..end];
        var first = tags.IndexOf((byte)':') is var colon and >= 0 ? tags[..colon] : tags;
        return first.SequenceEqual("F"u8) ? LogLineKind.Full : first.SequenceEqual("P"u8) ? LogLineKind.Partial : LogLineKind.Malformed;
    }
}
