using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Edge.GlobalServices.Locations;

/// <summary>A network in CIDR notation. The address is big-endian as a number, IPv4 mapped (<c>::ffff:a.b.c.d</c>), as in <see cref="ClientSubnet"/>.</summary>
/// <param name="Address">The first address of the network: all host bits are zero.</param>
/// <param name="PrefixLength">In the address's own family: 0 to 32, or 0 to 128.</param>
internal readonly record struct Network(UInt128 Address, byte PrefixLength, bool IsIPv6)
{
    private static readonly UInt128 s_mapped = (UInt128)0xffff << 32;

    public int Bits => IsIPv6 ? 128 : 32;

    /// <summary>The last address, in the family's own numbers (see <see cref="Own"/>).</summary>
    public UInt128 OwnLast => Own | (PrefixLength == 0 && IsIPv6 ? UInt128.MaxValue : (UInt128.One << (Bits - PrefixLength)) - 1);

    /// <summary>The first address in the family's own numbers: 0 to 2^32-1 for IPv4.</summary>
    public UInt128 Own => IsIPv6 ? Address : (uint)Address;

    /// <summary>An IPv4 address as the contract has it.</summary>
    public static UInt128 Mapped(uint ipv4) => s_mapped | ipv4;

    /// <summary>Reads <c>192.0.2.0/24</c>, <c>2001:db8::/32</c> or a single address. False with <paramref name="error"/>, which says what to write instead.</summary>
    public static bool TryParse(string text, out Network network, out string error)
    {
        network = default;
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var host = slash < 0 ? text : text[..slash];
        if (!TryParseAddress(host, out var address, out var isIPv6))
        {
            error = $"'{text}' is not a network, e.g. 192.0.2.0/24 or 2001:db8::/32";
            return false;
        }

        var bits = isIPv6 ? 128 : 32;
        var length = bits;
        if (slash >= 0 && (!int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out length) || length > bits))
        {
            error = $"'{text}': the prefix length must be a whole number from 0 to {bits}";
            return false;
        }

        network = Containing(address, (byte)length, isIPv6);
        if (network.Address != address)
        {
            error = $"'{text}' has bits beyond its prefix; the network is {network}";
            return false;
        }

        error = "";
        return true;
    }

    /// <summary>Reads an address; a mapped IPv4 address (<c>::ffff:192.0.2.1</c>) is IPv4.</summary>
    public static bool TryParseAddress(string text, out UInt128 address, out bool isIPv6)
    {
        (address, isIPv6) = (default, false);
        // IPAddress takes "1" and "1.2" for IPv4, too.
        if (!IPAddress.TryParse(text, out var ip) || (ip.AddressFamily == AddressFamily.InterNetwork && text.Count(c => c == '.') != 3) || text.Contains('%', StringComparison.Ordinal))
            return false;
        (address, isIPv6) = Of(ip);
        return true;
    }

    /// <summary>The address as the contract has it.</summary>
    public static (UInt128 Address, bool IsIPv6) Of(IPAddress ip)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (ip.AddressFamily == AddressFamily.InterNetwork)
        {
            ip.TryWriteBytes(bytes, out _);
            return (Mapped(System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes)), false);
        }

        ip.TryWriteBytes(bytes, out _);
        return (System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(bytes), !ip.IsIPv4MappedToIPv6);
    }

    /// <summary>The other way.</summary>
    public static IPAddress ToIPAddress(UInt128 address)
    {
        Span<byte> bytes = stackalloc byte[16];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt128BigEndian(bytes, address);
        return address >> 32 == 0xffff ? new IPAddress(bytes[12..]) : new IPAddress(bytes);
    }

    /// <summary>The network of a prefix length that contains the address.</summary>
    public static Network Containing(UInt128 address, byte prefixLength, bool isIPv6)
    {
        var host = (isIPv6 ? 128 : 32) - prefixLength;
        var mask = host >= 128 ? UInt128.Zero : UInt128.MaxValue << host;
        return new Network(isIPv6 ? address & mask : s_mapped | (address & mask & uint.MaxValue), prefixLength, isIPv6);
    }

    public override string ToString() => $"{ToIPAddress(Address)}/{PrefixLength}";
}
