using System.Buffers.Binary;

namespace Edge.Protocol.Dns;

/// <summary>An EDNS Client Subnet option (RFC 7871 §6).</summary>
/// <param name="Family">1 IPv4, 2 IPv6; 0 only with no prefix: the client wants not to be located.</param>
/// <param name="SourcePrefix">Bits of the address that the client gave.</param>
/// <param name="ScopePrefix">Bits for which the answer holds; 0 in queries.</param>
/// <param name="Address">Big-endian as a number, IPv4 mapped (<c>::ffff:a.b.c.d</c>); bits behind the prefix are 0.</param>
public readonly record struct EdnsSubnet(ushort Family, byte SourcePrefix, byte ScopePrefix, UInt128 Address)
{
    private static readonly UInt128 s_mapped = new(0, 0xffff_0000_0000);

    public bool IsIPv6 => Family == 2;

    /// <summary>Bytes of the option with its code and length.</summary>
    public int WireLength => 8 + ((SourcePrefix + 7) / 8);

    /// <returns>False when a query's option is malformed: unknown family, a prefix longer than the family's addresses, an address that is not as long as the
    /// prefix says or has bits behind it, or a scope in a query. RFC 7871 §7.1.2 answers all of them FORMERR.</returns>
    public static bool TryRead(ReadOnlySpan<byte> option, bool isQuery, out EdnsSubnet subnet)
    {
        subnet = default;
        if (option.Length < 4)
            return false;
        var family = BinaryPrimitives.ReadUInt16BigEndian(option);
        var source = option[2];
        var scope = option[3];
        var bits = family switch { 0 => 0, 1 => 32, 2 => 128, _ => -1 };
        if (source > bits || scope > bits || (isQuery && scope != 0) || option.Length != 4 + ((source + 7) / 8))
            return false;
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        option[4..].CopyTo(family == 2 ? bytes : bytes[12..]);
        if (source % 8 != 0 && (option[^1] & (0xff >> (source % 8))) != 0)
            return false;
        var address = BinaryPrimitives.ReadUInt128BigEndian(bytes);
        subnet = new EdnsSubnet(family, source, scope, family == 2 ? address : address | s_mapped);
        return true;
    }

    /// <summary>Writes the option's data, without code and length; the length is <see cref="WireLength"/> - 4.</summary>
    public int Write(Span<byte> destination)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, Address);
        var count = (SourcePrefix + 7) / 8;
        BinaryPrimitives.WriteUInt16BigEndian(destination, Family);
        destination[2] = SourcePrefix;
        destination[3] = ScopePrefix;
        bytes.Slice(Family == 2 ? 0 : 12, count).CopyTo(destination[4..]);
        return 4 + count;
    }
}
