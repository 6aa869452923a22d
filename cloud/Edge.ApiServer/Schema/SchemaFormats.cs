using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Edge.ApiServer.Schema;

/// <summary>The string formats that Kubernetes checks; an unknown format is no rule.</summary>
internal static class SchemaFormats
{
    private static readonly SearchValues<char> s_digits = SearchValues.Create("0123456789.");

    public static bool IsValid(string format, string text) => format switch
    {
        "date-time" => text.Length >= 20 && text[10] is 'T' or 't' && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.None, out _),
        "date" => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _),
        "ipv4" => IPAddress.TryParse(text, out var v4) && v4.AddressFamily == AddressFamily.InterNetwork && text.Split('.').Length == 4,
        "ipv6" => IPAddress.TryParse(text, out var v6) && v6.AddressFamily == AddressFamily.InterNetworkV6,
        "ip" => IPAddress.TryParse(text, out _),
        "cidr" => IPNetwork.TryParse(text, out _) || (text.Split('/') is [var address, var bits] && IPAddress.TryParse(address, out _) && byte.TryParse(bits, out var length) && length <= 128),
        "mac" => text.Split(':', '-') is { Length: 6 or 8 } bytes && bytes.All(part => part.Length == 2 && part.All(char.IsAsciiHexDigit)),
        "uri" => Uri.TryCreate(text, UriKind.Absolute, out _) || (text.StartsWith('/') && Uri.TryCreate(text, UriKind.Relative, out _)),
        "uuid" or "uuid3" or "uuid4" or "uuid5" => Guid.TryParseExact(text, "D", out _),
        "byte" => Base64.IsValid(text),
        "hostname" => text.Length is > 0 and <= 253 && Uri.CheckHostName(text) == UriHostNameType.Dns,
        "email" => text.IndexOf('@', StringComparison.Ordinal) is > 0 and var at && at == text.LastIndexOf('@') && at < text.Length - 1 && !text.Any(char.IsWhiteSpace),
        "duration" => IsDuration(text),
        _ => true,
    };

    /// <summary>Go's durations: <c>1h30m</c>, <c>1.5s</c>, <c>-2ms</c>, <c>0</c>.</summary>
    private static bool IsDuration(string text)
    {
        var rest = text.AsSpan().TrimStart("+-");
        if (rest is "0")
            return true;
        if (rest.Length == 0)
            return false;
        while (rest.Length > 0)
        {
            var digits = rest.IndexOfAnyExcept(s_digits);
            if (digits <= 0 || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out _))
                return false;
            rest = rest[digits..];
            var unit = rest.IndexOfAny(s_digits);
            if ((unit < 0 ? rest : rest[..unit]) is not ("ns" or "us" or "µs" or "ms" or "s" or "m" or "h" or "d" or "w"))
                return false;
            rest = unit < 0 ? [] : rest[unit..];
        }

        return true;
    }
}
