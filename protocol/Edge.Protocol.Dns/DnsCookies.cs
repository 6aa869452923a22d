using System.Buffers.Binary;

namespace Edge.Protocol.Dns;

/// <summary>Server cookies of RFC 7873 in the interoperable form of RFC 9018: any server with the same secret accepts them. Pure; safe from several threads.</summary>
public sealed class DnsCookies
{
    /// <summary>Bytes of client and server cookie together.</summary>
    public const int Length = 24;

    private const int ClientLength = 8;
    private const int AgeSecondsMax = 3600; // RFC 9018 §4.3: older is not accepted
    private const int AheadSecondsMax = 300;
    private readonly byte[] _secret;
    private readonly byte[]? _previous;

    /// <param name="secret">16 bytes; the cookies that are given out are made with it.</param>
    /// <param name="previous">The secret before, still accepted while clients hold its cookies (RFC 9018 §5).</param>
    public DnsCookies(ReadOnlySpan<byte> secret, ReadOnlySpan<byte> previous = default)
    {
        if (secret.Length != 16 || previous.Length is not (0 or 16))
            throw new ArgumentException("a cookie secret has 16 bytes", nameof(secret));
        _secret = secret.ToArray();
        _previous = previous.Length == 0 ? null : previous.ToArray();
    }

    /// <summary>Whether an option has a length that RFC 7873 §4 allows; others are answered FORMERR.</summary>
    public static bool IsWellFormed(ReadOnlySpan<byte> option) => option.Length is ClientLength or (>= 16 and <= 40);

    /// <summary>Whether the server part is ours for this client, and neither too old nor from the future.</summary>
    /// <param name="address">As in <see cref="DnsRequest.Address"/>.</param>
    public bool IsValid(ReadOnlySpan<byte> option, UInt128 address, long unixSeconds)
    {
        if (option.Length != Length || option[8] != 1)
            return false;
        // Serial number arithmetic (RFC 1982): the difference of 32 bits, signed.
        var age = (int)((uint)unixSeconds - BinaryPrimitives.ReadUInt32BigEndian(option[12..]));
        if (age is > AgeSecondsMax or < -AheadSecondsMax)
            return false;
        var hash = BinaryPrimitives.ReadUInt64LittleEndian(option[16..]);
        return hash == HashOf(_secret, option, address) || (_previous is not null && hash == HashOf(_previous, option, address));
    }

    /// <summary>Writes the client's cookie with a fresh server cookie, <see cref="Length"/> bytes.</summary>
    public void Write(ReadOnlySpan<byte> option, UInt128 address, long unixSeconds, Span<byte> destination)
    {
        option[..ClientLength].CopyTo(destination);
        BinaryPrimitives.WriteUInt32BigEndian(destination[8..], 0x01000000); // version 1, reserved 0
        BinaryPrimitives.WriteUInt32BigEndian(destination[12..], (uint)unixSeconds);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[16..], HashOf(_secret, destination, address));
    }

    // RFC 9018 §4.4: Client Cookie | Version | Reserved | Timestamp | Client-IP, the address in its own family's length.
    private static ulong HashOf(byte[] secret, ReadOnlySpan<byte> cookie, UInt128 address)
    {
        Span<byte> input = stackalloc byte[32];
        cookie[..16].CopyTo(input);
        if (DnsRequest.IsMapped(address))
        {
            BinaryPrimitives.WriteUInt32BigEndian(input[16..], (uint)address);
            return SipHash.Compute(secret, input[..20]);
        }

        BinaryPrimitives.WriteUInt128BigEndian(input[16..], address);
        return SipHash.Compute(secret, input);
    }
}
