using System.Buffers.Text;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Unicode;

namespace Edge.GlobalServices.Health;

/// <summary>Judges the answer to an HTTP check from the bytes that have come. Pure. Reads RFC 9112 only as far as a check needs: the status line, where the head ends, and
/// the text to look for in what follows (of a chunked body, inside the chunks as they stand).</summary>
internal static class HttpAnswer
{
    /// <summary>What is looked at: the head and 4 KiB of body fit.</summary>
    public const int BytesMax = 8_192;

    /// <summary>Writes the request for a check.</summary>
    /// <param name="isLast">The server is asked to close the connection after its answer.</param>
    /// <returns>False when the buffer is too short.</returns>
    public static bool TryWriteRequest(Span<byte> buffer, HealthTarget target, bool isLast, out int length)
    {
        length = 0;
        var check = target.Check;
        if (!Utf8.TryWrite(buffer, CultureInfo.InvariantCulture, $"GET {check.Path} HTTP/1.1\r\nHost: ", out var start) || !TryWriteHost(buffer[start..], target, out var host))
            return false;
        start += host;
        if (!Utf8.TryWrite(buffer[start..], CultureInfo.InvariantCulture, $"\r\nUser-Agent: edge-gslb\r\nAccept: */*\r\nConnection: {(isLast ? "close" : "keep-alive")}\r\n\r\n", out var rest))
            return false;
        length = start + rest;
        return true;
    }

    private static bool TryWriteHost(Span<byte> buffer, HealthTarget target, out int length)
    {
        if (target.Check.Host.Length > 0)
            return Encoding.ASCII.TryGetBytes(target.Check.Host, buffer, out length);
        var address = Locations.Network.ToIPAddress(target.Address);
        return address.AddressFamily == AddressFamily.InterNetworkV6
            ? Utf8.TryWrite(buffer, CultureInfo.InvariantCulture, $"[{address}]:{target.Port}", out length)
            : Utf8.TryWrite(buffer, CultureInfo.InvariantCulture, $"{address}:{target.Port}", out length);
    }

    /// <summary>Whether an answer is here to its end, by the length it gives, and its server keeps the connection open (RFC 9112 §6.3, §9.3). False when in doubt.</summary>
    public static bool LeavesOpen(ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0 || !bytes.StartsWith("HTTP/1.1 "u8))
            return false;
        var length = bytes[9..].StartsWith("204"u8) || bytes[9..].StartsWith("304"u8) ? 0 : -1;
        var head = bytes[..(end + 2)];
        for (var line = head.IndexOf("\r\n"u8) + 2; line < head.Length;)
        {
            var next = line + head[line..].IndexOf("\r\n"u8);
            var field = head[line..next];
            line = next + 2;
            var colon = field.IndexOf((byte)':');
            if (colon < 0)
                return false;
            var name = field[..colon];
            var value = field[(colon + 1)..].Trim(" \t"u8);
            if (Ascii.EqualsIgnoreCase(name, "connection"u8) && !Ascii.EqualsIgnoreCase(value, "keep-alive"u8))
                return false;
            if (Ascii.EqualsIgnoreCase(name, "transfer-encoding"u8))
                return false;
            if (length != 0 && Ascii.EqualsIgnoreCase(name, "content-length"u8) && (!Utf8Parser.TryParse(value, out length, out var used) || used != value.Length || length < 0))
                return false;
        }

        return length == bytes.Length - end - 4;
    }

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
