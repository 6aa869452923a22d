using System.Text;

namespace Edge.GlobalServices.Health;

/// <summary>Judges the answer to an HTTP check from the bytes that have come. Pure. Reads RFC 9112 only as far as a check needs: the status line, where the head ends, and
/// the text to look for in what follows (of a chunked body, inside the chunks as they stand).</summary>
internal static class HttpAnswer
{
    /// <summary>What is looked at: the head and 4 KiB of body fit.</summary>
    public const int BytesMax = 8_192;

    /// <summary>The request for a check; the connection is closed after the answer.</summary>
    public static byte[] Request(HealthCheckSpec check, string host)
        => Encoding.ASCII.GetBytes($"GET {check.Path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: edge-gslb\r\nAccept: */*\r\nConnection: close\r\n\r\n");

    /// <summary>Whether it is decided, and how.</summary>
    /// <param name="bytes">All that has come so far.</param>
    /// <param name="isEnd">Nothing more will come, or nothing more is looked at.</param>
    /// <param name="error">Null for well; only where true is returned.</param>
    public static bool TryJudge(ReadOnlySpan<byte> bytes, bool isEnd, HealthCheckSpec check, out string? error)
    {
        error = null;
        // "HTTP/1.1 200": 12 bytes.
        if (bytes.Length < 12)
        {
            if (!"HTTP/1."u8.StartsWith(bytes[..Math.Min(7, bytes.Length)]))
                return Failed("the answer is not HTTP", out error);
            return isEnd && Failed(bytes.Length == 0 ? "the connection was closed without an answer" : "the answer was cut off", out error);
        }

        if (!bytes.StartsWith("HTTP/1."u8) || bytes[8] != ' ' || !IsDigit(bytes[9]) || !IsDigit(bytes[10]) || !IsDigit(bytes[11]))
            return Failed("the answer is not HTTP", out error);
        var status = ((bytes[9] - '0') * 100) + ((bytes[10] - '0') * 10) + (bytes[11] - '0');
        if (status < check.StatusMin || status > check.StatusMax)
            return Failed($"the status is {status}, wanted is {check.StatusMin} to {check.StatusMax}", out error);
        if (check.Body.Length == 0)
            return true;
        var head = bytes.IndexOf("\r\n\r\n"u8);
        if (head >= 0 && bytes[(head + 4)..].IndexOf(Encoding.UTF8.GetBytes(check.Body)) >= 0)
            return true;
        return isEnd && Failed("the body does not have the text that is looked for", out error);
    }

    private static bool IsDigit(byte c) => c is >= (byte)'0' and <= (byte)'9';

    private static bool Failed(string text, out string? error)
    {
        error = text;
        return true;
    }
}
