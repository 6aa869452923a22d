using System.Buffers.Binary;
using System.Text;
using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Testing.Dns;

/// <summary>Makes queries byte by byte, and reads answers into text.</summary>
public static class DnsPackets
{
    /// <summary>A query with one question.</summary>
    /// <param name="edns">An OPT record with this UDP size, when above 0.</param>
    /// <param name="options">The data of the OPT record.</param>
    public static byte[] Query(string name, RecordType type, ushort id = 0x1234, int edns = 0, byte[]? options = null, bool dnssecOk = false, byte version = 0,
        RecordClass recordClass = RecordClass.IN, ushort flags = 0)
    {
        var packet = new List<byte>();
        Add16(packet, id, flags, 1, 0, 0, edns > 0 ? 1 : 0);
        packet.AddRange(DnsName.Parse(name).Wire);
        Add16(packet, (int)type, (int)recordClass);
        if (edns > 0)
        {
            packet.Add(0);
            Add16(packet, (int)RecordType.OPT, edns, version, dnssecOk ? 0x8000 : 0, options?.Length ?? 0);
            packet.AddRange(options ?? []);
        }

        return [.. packet];
    }

    /// <summary>An EDNS option with its code and length.</summary>
    public static byte[] Option(int code, params byte[] data)
    {
        var option = new List<byte>();
        Add16(option, code, data.Length);
        return [.. option, .. data];
    }

    public static void Add16(List<byte> packet, params int[] values)
    {
        foreach (var value in values)
        {
            packet.Add((byte)(value >> 8));
            packet.Add((byte)value);
        }
    }

    /// <summary>The records of a section, each "owner ttl TYPE data", in their order; OPT is left out. Fails for a malformed message.</summary>
    public static string[] Records(ReadOnlySpan<byte> message, Section section)
    {
        var lines = new List<string>();
        var reader = new DnsReader(message);
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        var data = new byte[DnsLimits.Message];
        while (reader.TryReadRecord(out var record))
        {
            if (record.Section != section || record.Type == RecordType.OPT)
                continue;
            Assert.True(reader.TryReadName(record, name, out var length), "a bad owner");
            Assert.True(reader.TryReadData(record, data, out var dataLength), "bad data");
            lines.Add($"{WireName.ToText(name[..length])} {record.Ttl} {RecordData.TypeName(record.Type)} {RecordData.ToText(record.Type, data.AsSpan(0, dataLength))}");
        }

        Assert.False(reader.IsMalformed, $"malformed: {Convert.ToHexString(message)}");
        Assert.Equal(message.Length, reader.Offset);
        return [.. lines];
    }

    /// <summary>The whole response code, EDNS' upper bits with it.</summary>
    public static ResponseCode Rcode(ReadOnlySpan<byte> message)
    {
        var low = (int)Header(message).Rcode;
        return (ResponseCode)(low | (Opt(message) is { } opt ? opt.High << 4 : 0));
    }

    public static DnsHeader Header(ReadOnlySpan<byte> message)
    {
        Assert.True(DnsHeader.TryRead(message, out var header), "shorter than a header");
        return header;
    }

    /// <summary>The OPT record: UDP size, upper bits of the response code, version, flags, and the options' data by code.</summary>
    public static (int Size, int High, int Version, int Flags, Dictionary<int, byte[]> Options)? Opt(ReadOnlySpan<byte> message)
    {
        var reader = new DnsReader(message);
        while (reader.TryReadRecord(out var record))
        {
            if (record.Type != RecordType.OPT)
                continue;
            var options = new Dictionary<int, byte[]>();
            for (var data = message.Slice(record.DataOffset, record.DataLength); data.Length > 0;)
            {
                var length = BinaryPrimitives.ReadUInt16BigEndian(data[2..]);
                options.Add(BinaryPrimitives.ReadUInt16BigEndian(data), data.Slice(4, length).ToArray());
                data = data[(4 + length)..];
            }

            return ((int)record.Class, (int)(record.Ttl >> 24), (int)(record.Ttl >> 16) & 0xff, (int)record.Ttl & 0xffff, options);
        }

        return null;
    }

    /// <summary>A message in one string, for comparisons: response code, flags, and the sections with their records sorted, owners in lower case.</summary>
    public static string Describe(ReadOnlySpan<byte> message, bool additional = false)
    {
        var header = Header(message);
        var text = new StringBuilder($"{Rcode(message)}");
        if ((header.Flags & DnsFlags.Authoritative) != 0)
            text.Append(" aa");
        if (header.IsTruncated)
            text.Append(" tc");
        foreach (var section in additional ? new[] { Section.Answer, Section.Authority, Section.Additional } : [Section.Answer, Section.Authority])
        {
            var records = Records(message, section);
            if (records.Length > 0)
                text.Append($" {section}: ").AppendJoin(" | ", records.Select(Lowered).Order(StringComparer.Ordinal));
        }

        return text.ToString();
    }

    private static string Lowered(string record)
    {
        // The owner, and names in data: case is not part of a name's identity.
        var parts = record.Split(' ', 4);
        return $"{parts[0].ToLowerInvariant()} {parts[1]} {parts[2]} {(parts[2] is "TXT" or "CAA" ? parts[3] : parts[3].ToLowerInvariant())}";
    }
}
