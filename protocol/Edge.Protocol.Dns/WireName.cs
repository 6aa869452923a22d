using System.Runtime.InteropServices;
using System.Text;

namespace Edge.Protocol.Dns;

/// <summary>Domain names as bytes: labels with their lengths, closed by the root label (RFC 1035 §3.1). Nothing here allocates but <see cref="ToText"/>.</summary>
public static class WireName
{
    /// <summary>The root: one empty label.</summary>
    public static ReadOnlySpan<byte> Root => [0];

    /// <summary>Reads a name that may be compressed into <paramref name="destination"/> (255 bytes), its case as sent.</summary>
    /// <param name="offset">Where the name is; moved behind it when the answer is true.</param>
    /// <returns>False for a label over 63, a name over 255, a pointer that does not point back behind the header, a reserved label type (RFC 6891 §5) or a cut message.</returns>
    public static bool TryRead(ReadOnlySpan<byte> message, ref int offset, Span<byte> destination, out int length)
    {
        length = 0;
        var at = offset;
        var behind = -1;
        // Each pointer has to point before the piece it stands in: the way back ends, so there are no loops (RFC 1035 §4.1.4 "prior occurrence").
        var pieceStart = at;
        while ((uint)at < (uint)message.Length)
        {
            int label = message[at];
            if (label == 0)
            {
                if (length >= DnsLimits.Name || length >= destination.Length)
                    return false;
                destination[length++] = 0;
                offset = behind >= 0 ? behind : at + 1;
                return true;
            }

            if ((label & 0xc0) == 0xc0)
            {
                if (at + 1 >= message.Length)
                    return false;
                var target = ((label & 0x3f) << 8) | message[at + 1];
                if (behind < 0)
                    behind = at + 2;
                if (target >= pieceStart || target < DnsLimits.Header)
                    return false;
                at = pieceStart = target;
                continue;
            }

            // The closing root label needs a byte too.
            if (label > DnsLimits.Label || at + 1 + label > message.Length || length + 1 + label >= DnsLimits.Name || length + 1 + label >= destination.Length)
                return false;
            message.Slice(at, label + 1).CopyTo(destination[length..]);
            length += label + 1;
            at += label + 1;
        }

        return false;
    }

    /// <summary>Moves behind a name that may be compressed, without following its pointer: the name may still be bad.</summary>
    public static bool TrySkip(ReadOnlySpan<byte> message, ref int offset)
    {
        var at = offset;
        while ((uint)at < (uint)message.Length)
        {
            int label = message[at];
            if (label == 0)
            {
                offset = at + 1;
                return true;
            }

            if ((label & 0xc0) == 0xc0)
            {
                offset = at + 2;
                return offset <= message.Length;
            }

            at += label + 1;
            if (label > DnsLimits.Label || at - offset >= DnsLimits.Name)
                return false;
        }

        return false;
    }

    /// <summary>The length of the uncompressed name at the start of <paramref name="bytes"/>, root label included; 0 when there is none (a pointer, too long, cut).</summary>
    public static int Measure(ReadOnlySpan<byte> bytes)
    {
        var at = 0;
        while ((uint)at < (uint)bytes.Length)
        {
            int label = bytes[at];
            if (label == 0)
                return at + 1;
            at += label + 1;
            if (label > DnsLimits.Label || at >= DnsLimits.Name)
                return 0;
        }

        return 0;
    }

    /// <summary>Whether two uncompressed names are the same, ASCII letters without regard to case (RFC 4343).</summary>
    public static bool Equal(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        if (a.Length != b.Length)
            return false;
        var at = 0;
        for (; at + 8 <= a.Length; at += 8)
        {
            var left = MemoryMarshal.Read<ulong>(a[at..]);
            var right = MemoryMarshal.Read<ulong>(b[at..]);
            if (left != right && Lower(left) != Lower(right))
                return false;
        }

        for (; at < a.Length; at++)
        {
            if (Lower(a[at]) != Lower(b[at]))
                return false;
        }

        return true;
    }

    /// <summary>Writes the name with its letters in lower case. Length bytes are below 64, so they are never letters.</summary>
    public static void ToLower(ReadOnlySpan<byte> name, Span<byte> destination)
    {
        destination = destination[..name.Length];
        var at = 0;
        for (; at + 8 <= name.Length; at += 8)
        {
            var lower = Lower(MemoryMarshal.Read<ulong>(name[at..]));
            MemoryMarshal.Write(destination[at..], in lower);
        }

        for (; at < name.Length; at++)
            destination[at] = Lower(name[at]);
    }

    /// <summary>A hash of a name in lower case, the same within one process run only. For tables whose keys no stranger chooses.</summary>
    public static uint Hash(ReadOnlySpan<byte> lowerName)
    {
        const ulong Multiplier = 0x9E3779B97F4A7C15;
        var hash = (ulong)lowerName.Length * Multiplier;
        var at = 0;
        for (; at + 8 <= lowerName.Length; at += 8)
            hash = System.Numerics.BitOperations.RotateLeft((hash ^ MemoryMarshal.Read<ulong>(lowerName[at..])) * Multiplier, 29);
        ulong tail = 0;
        for (; at < lowerName.Length; at++)
            tail = (tail << 8) | lowerName[at];
        hash = (hash ^ tail) * Multiplier;
        return (uint)(hash >> 32) ^ (uint)hash;
    }

    /// <summary>Labels of an uncompressed name, without the root label.</summary>
    public static int CountLabels(ReadOnlySpan<byte> name)
    {
        var count = 0;
        for (var at = 0; name[at] != 0; at += name[at] + 1)
            count++;
        return count;
    }

    /// <summary>Whether <paramref name="name"/> is <paramref name="zone"/> or below it; both uncompressed.</summary>
    public static bool IsAtOrBelow(ReadOnlySpan<byte> name, ReadOnlySpan<byte> zone)
    {
        while (name.Length > zone.Length)
            name = name[(name[0] + 1)..];
        return Equal(name, zone);
    }

    /// <summary>Reads presentation form (RFC 1035 §5.1: <c>\.</c> and <c>\DDD</c> escapes; a missing final dot is added) into wire form.</summary>
    /// <returns>The length written, or 0 when a label is empty or over 63, the name over 255, or an escape bad.</returns>
    public static int Parse(ReadOnlySpan<char> text, Span<byte> destination)
    {
        if (text is ".")
        {
            destination[0] = 0;
            return 1;
        }

        if (text.Length == 0)
            return 0;
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        var labelAt = 0;
        var length = 1;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            int value = c;
            if (c == '.')
            {
                var label = length - labelAt - 1;
                if (label is 0 or > DnsLimits.Label)
                    return 0;
                name[labelAt] = (byte)label;
                labelAt = length++;
                if (length > DnsLimits.Name)
                    return 0;
                continue;
            }

            if (c == '\\')
            {
                if (i + 3 < text.Length && char.IsAsciiDigit(text[i + 1]) && char.IsAsciiDigit(text[i + 2]) && char.IsAsciiDigit(text[i + 3]))
                {
                    value = ((text[i + 1] - '0') * 100) + ((text[i + 2] - '0') * 10) + (text[i + 3] - '0');
                    i += 3;
                }
                else if (i + 1 < text.Length && !char.IsAsciiDigit(text[i + 1]))
                {
                    value = text[++i];
                }
                else
                {
                    return 0;
                }
            }

            if (value > 255 || (c != '\\' && value is <= ' ' or >= 0x7f) || length >= DnsLimits.Name)
                return 0;
            name[length++] = (byte)value;
        }

        var last = length - labelAt - 1;
        if (last > DnsLimits.Label || (last > 0 && length >= DnsLimits.Name))
            return 0;
        name[labelAt] = (byte)last;
        if (last > 0)
            name[length++] = 0;
        if (length > destination.Length)
            return 0;
        name[..length].CopyTo(destination);
        return length;
    }

    /// <summary>Presentation form with the final dot; bytes that are not plain are escaped.</summary>
    public static string ToText(ReadOnlySpan<byte> name)
    {
        if (name.Length <= 1)
            return ".";
        var text = new StringBuilder(name.Length);
        for (var at = 0; name[at] != 0; at += name[at] + 1)
        {
            foreach (var b in name.Slice(at + 1, name[at]))
                AppendEscaped(text, b, ".;@$()\"\\");
            text.Append('.');
        }

        return text.ToString();
    }

    internal static void AppendEscaped(StringBuilder text, byte b, string special)
    {
        if (b is <= 0x20 or >= 0x7f)
            text.Append('\\').Append((char)('0' + (b / 100))).Append((char)('0' + (b / 10 % 10))).Append((char)('0' + (b % 10)));
        else if (special.Contains((char)b, StringComparison.Ordinal))
            text.Append('\\').Append((char)b);
        else
            text.Append((char)b);
    }

    internal static byte Lower(byte b) => (uint)(b - 'A') <= 'Z' - 'A' ? (byte)(b | 0x20) : b;

    // Eight bytes at once: which are in 'A'..'Z' gets its bit 0x20.
    private static ulong Lower(ulong bytes)
    {
        const ulong Ones = 0x0101010101010101;
        var low = bytes & (0x7f * Ones);
        var aboveZ = low + ((0x7f - 'Z') * Ones);
        var fromA = low + ((0x80 - 'A') * Ones);
        var upper = ~bytes & (fromA ^ aboveZ) & (0x80 * Ones);
        return bytes | (upper >> 2);
    }
}
