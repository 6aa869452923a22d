using System.Buffers.Binary;
using Edge.Protocol.Dns;

namespace Edge.GlobalServices.Zones;

/// <summary>The records of one name and type, with one TTL (RFC 2181 §5.2).</summary>
internal sealed class RecordSet
{
    public RecordSet(RecordType type, uint ttl, byte[][] data)
    {
        Type = type;
        Ttl = ttl;
        Data = data;
        // Most answers are one copy of this: the owner is the question's name, wherever the question came from (a wildcard's too).
        if (!RecordData.IsCompressible(type))
            Image = ToImage(type, ttl, data);
    }

    public RecordType Type { get; }

    public uint Ttl { get; }

    public byte[][] Data { get; }

    /// <summary>On the wire with a pointer to the question as owner; null for types whose data is compressed.</summary>
    public byte[]? Image { get; }

    /// <summary>Of an NS set: the nodes with the addresses of its servers that are in this zone.</summary>
    public Glue[] Glue { get; set; } = [];

    private static byte[] ToImage(RecordType type, uint ttl, byte[][] data)
    {
        var image = new byte[data.Sum(one => 12 + one.Length)];
        var at = image.AsSpan();
        foreach (var one in data)
        {
            BinaryPrimitives.WriteUInt16BigEndian(at, 0xc000 | DnsLimits.Header);
            BinaryPrimitives.WriteUInt16BigEndian(at[2..], (ushort)type);
            BinaryPrimitives.WriteUInt16BigEndian(at[4..], (ushort)RecordClass.IN);
            BinaryPrimitives.WriteUInt32BigEndian(at[6..], ttl);
            BinaryPrimitives.WriteUInt16BigEndian(at[10..], (ushort)one.Length);
            one.CopyTo(at[12..]);
            at = at[(12 + one.Length)..];
        }

        return image;
    }
}

/// <param name="IsRequired">Below the delegation: without it the referral leads nowhere (RFC 9471 §3.1).</param>
internal readonly record struct Glue(ZoneNode Node, bool IsRequired);

/// <summary>A name of a zone; without records it is an empty non-terminal (RFC 4592 §2.2.2), which exists.</summary>
internal sealed class ZoneNode(Zone zone, DnsName name)
{
    public Zone Zone { get; } = zone;

    public DnsName Name { get; } = name;

    public RecordSet[] Sets { get; set; } = [];

    /// <summary>The service whose addresses this name has; -1 for none.</summary>
    public int Service { get; set; } = -1;

    /// <summary>The delegation at or above this name, below which this zone has no say.</summary>
    public ZoneNode? Cut { get; set; }

    /// <summary>The child <c>*</c> (RFC 4592): it answers for names below this one that do not exist.</summary>
    public ZoneNode? Wildcard { get; set; }

    /// <summary>Of the apex of a zone whose parent is here too: the name in the parent, which DS belongs to (RFC 4035 §3.1.4.1).</summary>
    public ZoneNode? ParentSide { get; set; }

    public RecordSet? Find(RecordType type)
    {
        foreach (var set in Sets)
        {
            if (set.Type == type)
                return set;
        }

        return null;
    }
}

/// <summary>A compiled zone.</summary>
internal sealed class Zone(ZoneSource source)
{
    public ZoneSource Source { get; } = source;

    public DnsName Apex => Source.Apex;

    public ZoneNode ApexNode { get; set; } = null!;

    /// <summary>Nodes in the order of a transfer, the apex first.</summary>
    public List<ZoneNode> Nodes { get; } = [];

    public RecordSet Soa { get; set; } = null!;

    /// <summary>The SOA record of negative answers: its TTL is the lower of its own and MINIMUM (RFC 2308 §5).</summary>
    public RecordSet NegativeSoa { get; set; } = null!;

    public uint Serial => BinaryPrimitives.ReadUInt32BigEndian(Soa.Data[0].AsSpan(Soa.Data[0].Length - 20));
}
