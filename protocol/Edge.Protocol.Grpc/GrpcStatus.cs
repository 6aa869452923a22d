using System.Globalization;
using System.Text;

namespace Edge.Protocol.Grpc;

/// <summary>gRPC status codes (grpc/doc/statuscodes.md); the numbers are on the wire.</summary>
public enum GrpcStatusCode
{
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// <summary>A call ended with a status other than OK. A handler throws it to choose the status that its caller sees.</summary>
public sealed class GrpcException : Exception
{
    public GrpcException(GrpcStatusCode code, string detail, Exception? inner = null)
        : base($"{code}: {detail}", inner)
    {
        Code = code;
        Detail = detail;
    }

    public GrpcStatusCode Code { get; }

    /// <summary>The text of <c>grpc-message</c>, unescaped.</summary>
    public string Detail { get; }
}

/// <summary>Text forms of gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md).</summary>
internal static class GrpcText
{
    /// <summary>Largest message accepted or sent, bytes.</summary>
    public const int MessageSizeMax = 16 * 1024 * 1024;

    /// <summary>Bytes before each message: one flag byte, four bytes of length.</summary>
    public const int PrefixSize = 5;

    /// <summary>Percent-encodes a status message: bytes outside 0x20..0x7E and the percent sign.</summary>
    public static string Escape(string text)
    {
        var escaped = new StringBuilder(text.Length);
        foreach (var octet in Encoding.UTF8.GetBytes(text))
        {
            if (octet is >= 0x20 and <= 0x7E and not (byte)'%')
                escaped.Append((char)octet);
            else
                escaped.Append('%').Append(octet.ToString("X2", CultureInfo.InvariantCulture));
        }

        return escaped.ToString();
    }

    /// <summary>The reverse of <see cref="Escape"/>; text that is not validly escaped is kept as it stands.</summary>
    public static string Unescape(string text) => text.Contains('%', StringComparison.Ordinal) ? Uri.UnescapeDataString(text) : text;

    /// <summary>A deadline as <c>grpc-timeout</c>: at most eight digits and a unit.</summary>
    public static string Timeout(TimeSpan deadline)
    {
        var ms = Math.Max(1, (long)Math.Ceiling(deadline.TotalMilliseconds));
        return ms < 100_000_000
            ? string.Create(CultureInfo.InvariantCulture, $"{ms}m")
            : string.Create(CultureInfo.InvariantCulture, $"{Math.Min(99_999_999, ms / 1000)}S");
    }

    /// <summary>Reads <c>grpc-timeout</c>; false when it is malformed.</summary>
    public static bool TryTimeout(string text, out TimeSpan deadline)
    {
        deadline = TimeSpan.Zero;
        if (text.Length is < 2 or > 9 || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
            return false;
        long? ticks = text[^1] switch
        {
            'H' => value * TimeSpan.TicksPerHour,
            'M' => value * TimeSpan.TicksPerMinute,
            'S' => value * TimeSpan.TicksPerSecond,
            'm' => value * TimeSpan.TicksPerMillisecond,
            'u' => value * TimeSpan.TicksPerMicrosecond,
            'n' => value / TimeSpan.NanosecondsPerTick,
            _ => null,
        };
        deadline = TimeSpan.FromTicks(ticks ?? 0);
        return ticks is not null;
    }
}
