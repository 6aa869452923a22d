namespace Edge.Protocol.Modbus;

/// <summary>A Modbus RTU frame: slave address, PDU, CRC-16 low byte first (Modbus over Serial Line V1.02 §2.5.1). Frames are
/// separated by silence, so the reader gets exactly one.</summary>
public readonly record struct RtuFrame(byte SlaveId, ReadOnlyMemory<byte> Pdu)
{
    private static readonly ushort[] s_table = Table();

    /// <summary>Bytes of a frame beside its PDU: the unit and the CRC.</summary>
    public const int Overhead = 3;

    public const int SizeMax = ModbusPdu.SizeMax + Overhead;

    public static byte[] Write(byte slaveId, ReadOnlySpan<byte> pdu)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pdu.Length, ModbusPdu.SizeMax);
        var frame = new byte[pdu.Length + 3];
        frame[0] = slaveId;
        pdu.CopyTo(frame.AsSpan(1));
        var crc = Crc(frame.AsSpan(0, pdu.Length + 1));
        frame[^2] = (byte)crc;
        frame[^1] = (byte)(crc >> 8);
        return frame;
    }

    /// <summary>Reads one frame; false with the reason when it is too short, too long or damaged.</summary>
    public static bool TryRead(ReadOnlyMemory<byte> bytes, out RtuFrame frame, out string error)
    {
        frame = default;
        error = "";
        var span = bytes.Span;
        if (span.Length is < 4 or > SizeMax)
            error = $"frame of {span.Length} bytes, must be 4 to {SizeMax}";
        else if (Crc(span[..^2]) is var crc && (span[^2] != (byte)crc || span[^1] != (byte)(crc >> 8)))
            error = $"CRC is {span[^1]:x2}{span[^2]:x2}, must be {crc:x4}";
        else
            frame = new RtuFrame(span[0], bytes[1..^2]);
        return error.Length == 0;
    }

    /// <summary>CRC-16 with the polynomial 0xA001 (reflected 0x8005), start 0xFFFF.</summary>
    public static ushort Crc(ReadOnlySpan<byte> bytes)
    {
        ushort crc = 0xFFFF;
        foreach (var one in bytes)
            crc = (ushort)(crc >> 8 ^ s_table[(byte)(crc ^ one)]);
        return crc;
    }

    private static ushort[] Table()
    {
        var table = new ushort[256];
        for (var i = 0; i < table.Length; i++)
        {
            var crc = (ushort)i;
            for (var bit = 0; bit < 8; bit++)
                crc = (ushort)((crc & 1) == 1 ? crc >> 1 ^ 0xA001 : crc >> 1);
            table[i] = crc;
        }

        return table;
    }
}
