using System.Globalization;
using System.Text;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The head of an HTTP/1.1 answer (RFC 9112 §4): what the runtime's streaming server says before bytes flow. Pure.</summary>
internal sealed record UpgradeAnswer(int Status, string Reason, IReadOnlyList<KeyValuePair<string, string>> Headers)
{
    /// <summary>Bytes that a head may have.</summary>
    public const int SizeMax = 16 * 1024;

    private static ReadOnlySpan<byte> End => "\r\n\r\n"u8;

    /// <summary>Reads a head from what has come so far.</summary>
    /// <param name="length">Bytes of the head, its blank line included; 0 when more is to come.</param>
    /// <exception cref="LocalApiRefusal">502: it is no HTTP answer, or too long.</exception>
    public static UpgradeAnswer? Read(ReadOnlySpan<byte> bytes, out int length)
    {
        length = 0;
        var end = bytes.IndexOf(End);
        if (end < 0)
            return bytes.Length < SizeMax ? null : throw Bad("its head is too long");
        length = end + End.Length;
        var lines = Encoding.Latin1.GetString(bytes[..end]).Split("\r\n");
        var words = lines[0].Split(' ', 3);
        if (words.Length < 2 || words[0] is not ("HTTP/1.1" or "HTTP/1.0") || !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var status) || status is < 100 or > 599)
            throw Bad("it is no HTTP answer");
        var headers = new List<KeyValuePair<string, string>>();
        foreach (var line in lines.Skip(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0)
                throw Bad("it has a malformed header");
            headers.Add(KeyValuePair.Create(line[..colon], line[(colon + 1)..].Trim()));
        }

        return new UpgradeAnswer(status, words.Length > 2 ? words[2] : "", headers);
    }

    private static LocalApiRefusal Bad(string what) => new(502, $"the container runtime's streaming server sent an answer that cannot be used: {what}");
}
