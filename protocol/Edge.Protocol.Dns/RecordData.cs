using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Edge.Protocol.Dns;

/// <summary>The data of records, between presentation form (RFC 1035 §5.1, RFC 3597 §5) and uncompressed wire form.</summary>
public static class RecordData
{
    /// <summary>Where the names of a type's data are: fixed bytes before them, how many names, fixed bytes behind. No names: the data is taken as it is.</summary>
    public static (int Head, int Names, int Tail) Shape(RecordType type) => type switch
    {
        RecordType.NS or RecordType.CNAME or RecordType.PTR or RecordType.DNAME => (0, 1, 0),
        RecordType.SOA => (0, 2, 20),
        RecordType.MX => (2, 1, 0),
        RecordType.SRV => (6, 1, 0),
        _ => (0, 0, 0),
    };

    /// <summary>Whether names in the data may be written compressed: only for types that every peer knows (RFC 3597 §4).</summary>
    public static bool IsCompressible(RecordType type)
        => type is RecordType.NS or RecordType.CNAME or RecordType.PTR or RecordType.SOA or RecordType.MX;

    /// <summary>A type's mnemonic, or <c>TYPE</c> with its number.</summary>
    public static string TypeName(RecordType type)
        => Enum.IsDefined(type) && type != RecordType.None ? type.ToString() : $"TYPE{(ushort)type}";

    /// <summary>Reads a mnemonic or <c>TYPE123</c> (RFC 3597 §5).</summary>
    public static bool TryParseType(string text, out RecordType type)
    {
        if (text.StartsWith("TYPE", StringComparison.OrdinalIgnoreCase) && ushort.TryParse(text.AsSpan(4), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            type = (RecordType)number;
            return true;
        }

        return Enum.TryParse(text, ignoreCase: true, out type) && type != RecordType.None && !char.IsAsciiDigit(text[0]);
    }

    /// <summary>Reads presentation form. Names without a final dot are below <paramref name="origin"/>.</summary>
    /// <param name="error">What is wrong and what is expected.</param>
    public static bool TryParse(RecordType type, string text, DnsName origin, out byte[] data, out string error)
    {
        data = [];
        if (!TrySplit(text, out var fields, out error))
            return false;
        var bytes = new List<byte>();
        if (fields.Count > 0 && fields[0] is { Text: @"\#", Quoted: false })
            return TryParseOpaque(type, fields, out data, out error);
        error = type switch
        {
            RecordType.A => Expect(fields, 1, "an IPv4 address") ?? Address(fields[0].Text, AddressFamily.InterNetwork, bytes),
            RecordType.AAAA => Expect(fields, 1, "an IPv6 address") ?? Address(fields[0].Text, AddressFamily.InterNetworkV6, bytes),
            RecordType.NS or RecordType.CNAME or RecordType.PTR or RecordType.DNAME => Expect(fields, 1, "a name") ?? Name(fields[0].Text, origin, bytes),
            RecordType.MX => Expect(fields, 2, "a preference and a name") ?? Number16(fields[0].Text, bytes) ?? Name(fields[1].Text, origin, bytes),
            RecordType.SRV => Expect(fields, 4, "priority, weight, port and a name") ?? Number16(fields[0].Text, bytes) ?? Number16(fields[1].Text, bytes)
                ?? Number16(fields[2].Text, bytes) ?? Name(fields[3].Text, origin, bytes),
            RecordType.SOA => Expect(fields, 7, "primary, mailbox, serial, refresh, retry, expire and minimum") ?? Name(fields[0].Text, origin, bytes)
                ?? Name(fields[1].Text, origin, bytes) ?? Number32(fields[2].Text, bytes) ?? Number32(fields[3].Text, bytes) ?? Number32(fields[4].Text, bytes)
                ?? Number32(fields[5].Text, bytes) ?? Number32(fields[6].Text, bytes),
            RecordType.CAA => Expect(fields, 3, "flags, a tag and a value") ?? Caa(fields, bytes),
            RecordType.TXT or RecordType.HINFO => Strings(fields, bytes),
            _ => $"type {TypeName(type)} is written in the form of RFC 3597: \\# length hex",
        } ?? "";
        if (error.Length > 0)
            return false;
        data = [.. bytes];
        return true;
    }

    /// <summary>Whether uncompressed data has the form its type asks for; opaque types always.</summary>
    public static bool IsWellFormed(RecordType type, ReadOnlySpan<byte> data)
    {
        switch (type)
        {
            case RecordType.A:
                return data.Length == 4;
            case RecordType.AAAA:
                return data.Length == 16;
            case RecordType.TXT or RecordType.HINFO:
                if (data.Length == 0)
                    return false;
                while (data.Length > 0)
                {
                    if (data[0] >= data.Length)
                        return false;
                    data = data[(data[0] + 1)..];
                }

                return true;
            case RecordType.CAA:
                return data.Length >= 2 && data[1] > 0 && 2 + data[1] <= data.Length;
            default:
                var (head, names, tail) = Shape(type);
                if (names == 0)
                    return true;
                if (data.Length < head)
                    return false;
                data = data[head..];
                for (; names > 0; names--)
                {
                    var length = WireName.Measure(data);
                    if (length == 0)
                        return false;
                    data = data[length..];
                }

                return data.Length == tail;
        }
    }

    /// <summary>Presentation form of uncompressed data; what is not well formed for its type is written opaque.</summary>
    public static string ToText(RecordType type, ReadOnlySpan<byte> data)
    {
        if (!IsWellFormed(type, data))
            return Opaque(data);
        switch (type)
        {
            case RecordType.A or RecordType.AAAA:
                return new IPAddress(data).ToString();
            case RecordType.NS or RecordType.CNAME or RecordType.PTR or RecordType.DNAME:
                return WireName.ToText(data);
            case RecordType.MX:
                return $"{BinaryPrimitives.ReadUInt16BigEndian(data)} {WireName.ToText(data[2..])}";
            case RecordType.SRV:
                return $"{BinaryPrimitives.ReadUInt16BigEndian(data)} {BinaryPrimitives.ReadUInt16BigEndian(data[2..])} {BinaryPrimitives.ReadUInt16BigEndian(data[4..])} {WireName.ToText(data[6..])}";
            case RecordType.SOA:
                var primary = WireName.Measure(data);
                var mailbox = WireName.Measure(data[primary..]);
                var text = new StringBuilder($"{WireName.ToText(data[..primary])} {WireName.ToText(data.Slice(primary, mailbox))}");
                for (var rest = data[(primary + mailbox)..]; rest.Length > 0; rest = rest[4..])
                    text.Append(CultureInfo.InvariantCulture, $" {BinaryPrimitives.ReadUInt32BigEndian(rest)}");
                return text.ToString();
            case RecordType.TXT or RecordType.HINFO:
                var strings = new StringBuilder();
                for (; data.Length > 0; data = data[(data[0] + 1)..])
                {
                    if (strings.Length > 0)
                        strings.Append(' ');
                    AppendQuoted(strings, data.Slice(1, data[0]));
                }

                return strings.ToString();
            case RecordType.CAA:
                var caa = new StringBuilder($"{data[0]} {Encoding.ASCII.GetString(data.Slice(2, data[1]))} ");
                AppendQuoted(caa, data[(2 + data[1])..]);
                return caa.ToString();
            default:
                return Opaque(data);
        }
    }

    private static string Opaque(ReadOnlySpan<byte> data) => data.Length == 0 ? @"\# 0" : $@"\# {data.Length} {Convert.ToHexStringLower(data)}";

    private static void AppendQuoted(StringBuilder text, ReadOnlySpan<byte> bytes)
    {
        text.Append('"');
        foreach (var b in bytes)
        {
            if (b == ' ')
                text.Append(' ');
            else
                WireName.AppendEscaped(text, b, "\"\\");
        }

        text.Append('"');
    }

    private static string? Expect(List<Field> fields, int count, string what) => fields.Count == count ? null : $"expected {what}, found {fields.Count} fields";

    private static string? Address(string text, AddressFamily family, List<byte> bytes)
    {
        // IPAddress takes "1" and "1.2" for IPv4, too.
        if (!IPAddress.TryParse(text, out var address) || address.AddressFamily != family || address.ScopeIdOrZero() != 0 || (family == AddressFamily.InterNetwork && text.Count(c => c == '.') != 3))
            return $"'{text}' is no IPv{(family == AddressFamily.InterNetwork ? 4 : 6)} address";
        bytes.AddRange(address.GetAddressBytes());
        return null;
    }

    private static long ScopeIdOrZero(this IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6 ? address.ScopeId : 0;

    private static string? Name(string text, DnsName origin, List<byte> bytes)
    {
        if (text == "@")
        {
            bytes.AddRange(origin.Wire);
            return null;
        }

        var absolute = text.EndsWith('.') && !text.EndsWith(@"\.", StringComparison.Ordinal);
        if (!DnsName.TryParse(absolute || origin.IsRoot ? text : $"{text}.{origin}", out var name))
            return $"'{text}' is no domain name: labels of 1 to 63 bytes between dots, at most 255 bytes in all";
        bytes.AddRange(name.Wire);
        return null;
    }

    private static string? Number16(string text, List<byte> bytes)
    {
        if (!ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value))
            return $"'{text}' is no whole number from 0 to 65535";
        bytes.Add((byte)(value >> 8));
        bytes.Add((byte)value);
        return null;
    }

    private static string? Number32(string text, List<byte> bytes)
    {
        if (!uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value))
            return $"'{text}' is no whole number from 0 to {uint.MaxValue}";
        for (var shift = 24; shift >= 0; shift -= 8)
            bytes.Add((byte)(value >> shift));
        return null;
    }

    // RFC 8659 §4.1: flags, a tag of letters and digits, a value.
    private static string? Caa(List<Field> fields, List<byte> bytes)
    {
        if (!byte.TryParse(fields[0].Text, NumberStyles.None, CultureInfo.InvariantCulture, out var flags))
            return $"'{fields[0].Text}' is no flags byte from 0 to 255";
        var tag = fields[1].Text;
        if (tag.Length is 0 or > 255 || !tag.All(char.IsAsciiLetterOrDigit))
            return $"'{tag}' is no CAA tag: letters and digits";
        bytes.Add(flags);
        bytes.Add((byte)tag.Length);
        bytes.AddRange(Encoding.ASCII.GetBytes(tag));
        bytes.AddRange(fields[2].Bytes);
        return null;
    }

    private static string? Strings(List<Field> fields, List<byte> bytes)
    {
        if (fields.Count == 0)
            return "expected at least one string";
        foreach (var field in fields)
        {
            // RFC 1035 §3.3: one string has at most 255 bytes.
            if (field.Bytes.Length > 255)
                return $"a string of {field.Bytes.Length} bytes; split it into strings of at most 255";
            bytes.Add((byte)field.Bytes.Length);
            bytes.AddRange(field.Bytes);
        }

        return bytes.Count > DnsLimits.Message - 512 ? $"{bytes.Count} bytes are more than a message holds" : null;
    }

    private static bool TryParseOpaque(RecordType type, List<Field> fields, out byte[] data, out string error)
    {
        data = [];
        var hex = string.Concat(fields.Skip(2).Select(field => field.Text));
        if (fields.Count < 2 || !ushort.TryParse(fields[1].Text, NumberStyles.None, CultureInfo.InvariantCulture, out var length) || hex.Length != 2 * length || !hex.All(char.IsAsciiHexDigit))
        {
            error = @"expected \# with a length in bytes and so many bytes in hex";
            return false;
        }

        data = Convert.FromHexString(hex);
        error = IsWellFormed(type, data) ? "" : $"these {length} bytes are no data of type {TypeName(type)}";
        return error.Length == 0;
    }

    // Fields between blanks; quotes keep blanks; \X and \DDD are bytes of a string, and stay as they are for names, which have escapes of their own.
    private static bool TrySplit(string text, out List<Field> fields, out string error)
    {
        fields = [];
        error = "";
        Span<byte> utf8 = stackalloc byte[4];
        for (var i = 0; i < text.Length;)
        {
            if (text[i] is ' ' or '\t')
            {
                i++;
                continue;
            }

            var quoted = text[i] == '"';
            if (quoted)
                i++;
            var start = i;
            var bytes = new List<byte>();
            while (i < text.Length && !(quoted ? text[i] == '"' : text[i] is ' ' or '\t'))
            {
                if (text[i] != '\\')
                {
                    var rune = Rune.TryGetRuneAt(text, i, out var good) ? good : Rune.ReplacementChar;
                    bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
                    i += rune.Utf16SequenceLength;
                }
                else if (i + 3 < text.Length && byte.TryParse(text.AsSpan(i + 1, 3), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
                {
                    bytes.Add(value);
                    i += 4;
                }
                else if (i + 1 < text.Length && text[i + 1] < 0x80 && !char.IsAsciiDigit(text[i + 1]))
                {
                    bytes.Add((byte)text[i + 1]);
                    i += 2;
                }
                else
                {
                    error = @"a bad escape: \ takes a character, or three digits up to 255";
                    return false;
                }
            }

            fields.Add(new Field(text[start..i], quoted, [.. bytes]));
            if (!quoted)
                continue;
            if (i == text.Length)
            {
                error = "a quote is not closed";
                return false;
            }

            i++;
        }

        return true;
    }

    private readonly record struct Field(string Text, bool Quoted, byte[] Bytes);
}
