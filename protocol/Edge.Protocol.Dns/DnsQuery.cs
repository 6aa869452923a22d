using System.Buffers.Binary;

namespace Edge.Protocol.Dns;

/// <summary>What came of reading a query.</summary>
public enum QueryStatus
{
    /// <summary>Well formed.</summary>
    Ok,

    /// <summary>To be answered with nothing: shorter than a header, or itself a response (RFC 1035 §7.1; answering responses loops).</summary>
    Ignore,

    /// <summary>To be answered FORMERR; the fields read so far are set.</summary>
    Malformed,
}

/// <summary>A query as a server sees it: header, question and EDNS. Spans point into the packet. Reading allocates nothing and throws nothing.</summary>
public ref struct DnsQuery
{
    public ushort Id { get; private set; }

    /// <summary>The header's second word as sent.</summary>
    public ushort Flags { get; private set; }

    public readonly Opcode Opcode => (Opcode)((Flags & DnsFlags.OpcodeMask) >> 11);

    /// <summary>False with an empty question section (only with a cookie: RFC 7873 §5.4), and when the question was malformed.</summary>
    public bool HasQuestion { get; private set; }

    /// <summary>The question's name, uncompressed, its case as sent.</summary>
    public ReadOnlySpan<byte> Name { get; private set; }

    public RecordType Type { get; private set; }

    public RecordClass Class { get; private set; }

    /// <summary>The question section's bytes, to be copied to the answer.</summary>
    public ReadOnlySpan<byte> Question { get; private set; }

    /// <summary>Whether there is an OPT record (RFC 6891), even one whose options are malformed.</summary>
    public bool HasEdns { get; private set; }

    public byte EdnsVersion { get; private set; }

    /// <summary>What the client takes over UDP: 512 without EDNS, and never less (RFC 6891 §6.2.3).</summary>
    public int UdpPayloadSize { get; private set; }

    public bool DnssecOk { get; private set; }

    public bool HasSubnet { get; private set; }

    public EdnsSubnet Subnet { get; private set; }

    /// <summary>The COOKIE option's data (RFC 7873 §4); empty without.</summary>
    public ReadOnlySpan<byte> Cookie { get; private set; }

    public bool WantsNsid { get; private set; }

    public bool HasKeepalive { get; private set; }

    public bool HasPadding { get; private set; }

    /// <summary>Reads a packet. What comes with an opcode other than QUERY and NOTIFY is not read, because its form is not known.</summary>
    public static QueryStatus TryRead(ReadOnlySpan<byte> packet, out DnsQuery query)
    {
        query = default;
        query.UdpPayloadSize = DnsLimits.PlainUdp;
        if (!DnsHeader.TryRead(packet, out var header) || header.IsResponse)
            return QueryStatus.Ignore;
        query.Id = header.Id;
        query.Flags = header.Flags;
        if (header.Opcode is not (Opcode.Query or Opcode.Notify))
            return QueryStatus.Ok;
        if (header.Questions > 1)
            return QueryStatus.Malformed; // RFC 9619 §4
        var offset = DnsLimits.Header;
        if (header.Questions == 1 && !query.TryReadQuestion(packet, ref offset))
            return QueryStatus.Malformed;

        // Each record takes at least 11 bytes, so counts that lie end the loop at the packet's end.
        var before = header.Answers + header.Authorities;
        var all = before + header.Additionals;
        for (var i = 0; i < all; i++)
        {
            if (!query.TryReadRecord(packet, ref offset, i >= before))
                return QueryStatus.Malformed;
        }

        if (offset != packet.Length)
            return QueryStatus.Malformed;
        return query.HasQuestion || (header.Opcode == Opcode.Query && !query.Cookie.IsEmpty) ? QueryStatus.Ok : QueryStatus.Malformed;
    }

    private bool TryReadQuestion(ReadOnlySpan<byte> packet, ref int offset)
    {
        // Nothing stands before it that a pointer could point to.
        var length = WireName.Measure(packet[offset..]);
        if (length == 0 || offset + length + 4 > packet.Length)
            return false;
        Name = packet.Slice(offset, length);
        Type = (RecordType)BinaryPrimitives.ReadUInt16BigEndian(packet[(offset + length)..]);
        Class = (RecordClass)BinaryPrimitives.ReadUInt16BigEndian(packet[(offset + length + 2)..]);
        Question = packet.Slice(offset, length + 4);
        HasQuestion = true;
        offset += length + 4;
        return true;
    }

    private bool TryReadRecord(ReadOnlySpan<byte> packet, ref int offset, bool additional)
    {
        var start = offset;
        if (!WireName.TrySkip(packet, ref offset) || offset + 10 > packet.Length)
            return false;
        var type = (RecordType)BinaryPrimitives.ReadUInt16BigEndian(packet[offset..]);
        var second = BinaryPrimitives.ReadUInt16BigEndian(packet[(offset + 2)..]);
        var ttl = BinaryPrimitives.ReadUInt32BigEndian(packet[(offset + 4)..]);
        int length = BinaryPrimitives.ReadUInt16BigEndian(packet[(offset + 8)..]);
        offset += 10;
        if (length > packet.Length - offset)
            return false;
        var data = packet.Slice(offset, length);
        offset += length;
        if (type != RecordType.OPT)
        {
            // The owner was only skipped: its pointer has to be sound too.
            Span<byte> owner = stackalloc byte[DnsLimits.Name];
            return WireName.TryRead(packet, ref start, owner, out _);
        }

        // RFC 6891 §6.1.1: one OPT, in the additional section, with the root as its name.
        if (!additional || HasEdns || packet[start] != 0)
            return false;
        HasEdns = true;
        UdpPayloadSize = Math.Max((int)second, DnsLimits.PlainUdp);
        EdnsVersion = (byte)(ttl >> 16);
        DnssecOk = (ttl & 0x8000) != 0;
        // The options of a version that is not known may have any form; BADVERS says it all.
        return EdnsVersion != 0 || TryReadOptions(data);
    }

    private bool TryReadOptions(ReadOnlySpan<byte> data)
    {
        while (data.Length > 0)
        {
            if (data.Length < 4)
                return false;
            var code = (EdnsOption)BinaryPrimitives.ReadUInt16BigEndian(data);
            int length = BinaryPrimitives.ReadUInt16BigEndian(data[2..]);
            if (length > data.Length - 4)
                return false;
            var option = data.Slice(4, length);
            data = data[(4 + length)..];
            switch (code)
            {
                case EdnsOption.Nsid:
                    WantsNsid = true; // RFC 5001 §2.1: the client's data is ignored
                    break;
                case EdnsOption.ClientSubnet:
                    if (HasSubnet || !EdnsSubnet.TryRead(option, isQuery: true, out var subnet))
                        return false;
                    HasSubnet = true;
                    Subnet = subnet;
                    break;
                case EdnsOption.Cookie:
                    if (!DnsCookies.IsWellFormed(option))
                        return false;
                    // RFC 7873 §5.2: of several only the first counts.
                    if (Cookie.IsEmpty)
                        Cookie = option;
                    break;
                case EdnsOption.TcpKeepalive:
                    HasKeepalive = true;
                    break;
                case EdnsOption.Padding:
                    HasPadding = true;
                    break;
                default:
                    break; // RFC 6891 §6.1.2: unknown options are ignored
            }
        }

        return true;
    }
}
