using System.Buffers.Binary;

namespace Edge.Protocol.Modbus;

/// <summary>What a look at received bytes gave.</summary>
public enum FrameStatus
{
    /// <summary>Not all bytes of the frame are there yet.</summary>
    NeedMore,

    /// <summary>A whole frame.</summary>
    Complete,

    /// <summary>The bytes cannot be a frame; the stream has no next boundary, so the connection must be closed.</summary>
    Malformed,
}

/// <summary>A Modbus TCP frame: MBAP header and PDU (Modbus Messaging on TCP/IP V1.0b §3.1.3).</summary>
/// <param name="TransactionId">Repeated by the answer.</param>
/// <param name="UnitId">Slave behind a gateway; 0 or 255 for the device itself.</param>
public readonly record struct MbapFrame(ushort TransactionId, byte UnitId, ReadOnlyMemory<byte> Pdu)
{
    /// <summary>Bytes of the header, the unit id among them.</summary>
    public const int HeaderSize = 7;

    public const int SizeMax = HeaderSize + ModbusPdu.SizeMax;

    /// <summary>Writes one frame.</summary>
    public static byte[] Write(ushort transactionId, byte unitId, ReadOnlySpan<byte> pdu)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pdu.Length, ModbusPdu.SizeMax);
        var frame = new byte[HeaderSize + pdu.Length];
        BinaryPrimitives.WriteUInt16BigEndian(frame, transactionId);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(4), (ushort)(pdu.Length + 1));
        frame[6] = unitId;
        pdu.CopyTo(frame.AsSpan(HeaderSize));
        return frame;
    }

    /// <summary>Reads the first frame of <paramref name="bytes"/>; its PDU points into them.</summary>
    /// <param name="consumed">Bytes of the frame when complete.</param>
    /// <param name="error">Why it is malformed.</param>
    public static FrameStatus Read(ReadOnlyMemory<byte> bytes, out MbapFrame frame, out int consumed, out string error)
    {
        frame = default;
        consumed = 0;
        error = "";
        var span = bytes.Span;
        if (span.Length >= 4 && BinaryPrimitives.ReadUInt16BigEndian(span[2..]) is not 0 and var protocol)
        {
            error = $"protocol identifier is {protocol}, Modbus has 0";
            return FrameStatus.Malformed;
        }

        if (span.Length < 6)
            return FrameStatus.NeedMore;
        var length = BinaryPrimitives.ReadUInt16BigEndian(span[4..]);
        if (length is < 2 or > ModbusPdu.SizeMax + 1)
        {
            error = $"length field is {length}, must be 2 to {ModbusPdu.SizeMax + 1}";
            return FrameStatus.Malformed;
        }

        if (span.Length < 6 + length)
            return FrameStatus.NeedMore;
        consumed = 6 + length;
        frame = new MbapFrame(BinaryPrimitives.ReadUInt16BigEndian(span), span[6], bytes[HeaderSize..consumed]);
        return FrameStatus.Complete;
    }
}
