using System.Buffers.Binary;

namespace Edge.Protocol.Dns;

/// <summary>The twelve bytes every message starts with (RFC 1035 §4.1.1).</summary>
public readonly record struct DnsHeader(ushort Id, ushort Flags, ushort Questions, ushort Answers, ushort Authorities, ushort Additionals)
{
    public bool IsResponse => (Flags & DnsFlags.Response) != 0;

    public bool IsTruncated => (Flags & DnsFlags.Truncated) != 0;

    public Opcode Opcode => (Opcode)((Flags & DnsFlags.OpcodeMask) >> 11);

    /// <summary>The low four bits; an OPT record may carry eight more.</summary>
    public ResponseCode Rcode => (ResponseCode)(Flags & DnsFlags.RcodeMask);

    /// <summary>False when the message is shorter than a header.</summary>
    public static bool TryRead(ReadOnlySpan<byte> message, out DnsHeader header)
    {
        if (message.Length < DnsLimits.Header)
        {
            header = default;
            return false;
        }

        header = new DnsHeader(
            BinaryPrimitives.ReadUInt16BigEndian(message),
            BinaryPrimitives.ReadUInt16BigEndian(message[2..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[4..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[6..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[8..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[10..]));
        return true;
    }

    /// <exception cref="ArgumentOutOfRangeException">The buffer is shorter than a header.</exception>
    public void Write(Span<byte> buffer)
    {
        BinaryPrimitives.WriteUInt16BigEndian(buffer[10..], Additionals);
        BinaryPrimitives.WriteUInt16BigEndian(buffer, Id);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[2..], Flags);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[4..], Questions);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[6..], Answers);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[8..], Authorities);
    }
}
