using System.Buffers.Binary;
using System.Net;

namespace Edge.Protocol.Dns;

/// <summary>Who asks, and how.</summary>
/// <param name="Address">Big-endian as a number; IPv4 is mapped (<c>::ffff:a.b.c.d</c>).</param>
/// <param name="IsTcp">Over TCP: no limit of size but 65535, and the address is known to be true.</param>
/// <param name="UnixMs">The time of the query, milliseconds since 1970.</param>
public readonly record struct DnsRequest(UInt128 Address, ushort Port, bool IsTcp, long UnixMs)
{
    /// <summary>Whether a 128-bit address stands for an IPv4 address.</summary>
    public static bool IsMapped(UInt128 address) => (ulong)(address >> 32) == 0xffff;

    /// <summary>An address as the number used here.</summary>
    public static UInt128 ToNumber(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (!address.TryWriteBytes(bytes, out var length))
            throw new ArgumentException("no address", nameof(address));
        return length == 4 ? Map(BinaryPrimitives.ReadUInt32BigEndian(bytes)) : BinaryPrimitives.ReadUInt128BigEndian(bytes);
    }

    /// <summary>An IPv4 address in host order, mapped.</summary>
    public static UInt128 Map(uint address) => new(0, 0xffff_0000_0000UL | address);

    /// <summary>The number as an address of its own family.</summary>
    public static IPAddress ToAddress(UInt128 address)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, address);
        return new IPAddress(IsMapped(address) ? bytes[12..] : bytes);
    }
}

/// <summary>Answers queries. Called by the servers from several threads at once; on the UDP path it should allocate nothing.</summary>
public interface IDnsResponder
{
    /// <summary>What <see cref="Respond"/> returns over TCP when the answer is a zone transfer: the server asks <see cref="BeginTransfer"/>.</summary>
    const int Transfer = -1;

    /// <summary>Writes the answer. Any bytes may come in; nothing is thrown for them.</summary>
    /// <param name="response">At least 512 bytes, over TCP 65535.</param>
    /// <returns>The length of the answer, 0 for silence, or <see cref="Transfer"/>.</returns>
    int Respond(ReadOnlySpan<byte> query, in DnsRequest request, Span<byte> response);

    /// <summary>Starts a transfer that <see cref="Respond"/> announced.</summary>
    IDnsTransfer BeginTransfer(ReadOnlySpan<byte> query, in DnsRequest request)
        => throw new NotSupportedException("this responder announces no transfers");
}

/// <summary>The messages of a zone transfer (RFC 5936 §2.2), over one state of the zone. For one thread.</summary>
public interface IDnsTransfer
{
    /// <summary>Writes the next message; 0 after the last.</summary>
    int Next(Span<byte> message);
}
