using System.Buffers.Binary;

namespace Edge.Protocol.Modbus;

/// <summary>Finds RTU frames in what a line brought. RTU marks a frame's end by silence only; here the length comes from the bytes themselves
/// and the CRC proves it, so noise before a frame, or a late scheduler, costs nothing. Pure.</summary>
public static class RtuScanner
{
    /// <summary>Length of the answer that begins with these bytes; 0 when more are needed to say, -1 when no answer begins so.</summary>
    public static int AnswerLength(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 2)
            return 0;
        if ((bytes[1] & 0x80) != 0)
            return 5;
        switch ((ModbusFunction)bytes[1])
        {
            case ModbusFunction.ReadCoils or ModbusFunction.ReadDiscreteInputs or ModbusFunction.ReadHoldingRegisters
                or ModbusFunction.ReadInputRegisters or ModbusFunction.ReadWriteMultipleRegisters:
                return bytes.Length < 3 ? 0 : 5 + bytes[2];
            case ModbusFunction.WriteSingleCoil or ModbusFunction.WriteSingleRegister or ModbusFunction.WriteMultipleCoils
                or ModbusFunction.WriteMultipleRegisters:
                return 8;
            case ModbusFunction.MaskWriteRegister:
                return 10;
            case ModbusFunction.EncapsulatedInterface:
                return IdentificationLength(bytes);
            default:
                return -1;
        }
    }

    /// <summary>Length of the request that begins with these bytes; 0 when more are needed to say, -1 when no request begins so.</summary>
    public static int RequestLength(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 2)
            return 0;
        switch ((ModbusFunction)bytes[1])
        {
            case ModbusFunction.WriteMultipleCoils or ModbusFunction.WriteMultipleRegisters:
                return bytes.Length < 7 ? 0 : 9 + bytes[6];
            case ModbusFunction.ReadWriteMultipleRegisters:
                return bytes.Length < 11 ? 0 : 13 + bytes[10];
            case ModbusFunction.MaskWriteRegister:
                return 10;
            case ModbusFunction.EncapsulatedInterface:
                return 7;
            default:
                // The length of an unknown function is not known: it ends with the silence after it.
                return ModbusPdu.CountMax((ModbusFunction)bytes[1]) == 0 ? -1 : 8;
        }
    }

    /// <summary>Finds the first whole answer of this unit to this function, wherever it begins.</summary>
    /// <param name="offset">Where it begins.</param>
    /// <param name="length">Bytes of the frame, its CRC among them.</param>
    public static bool TryFindAnswer(ReadOnlySpan<byte> bytes, byte unit, byte function, out int offset, out int length)
    {
        for (offset = 0; offset + 5 <= bytes.Length; offset++)
        {
            if (bytes[offset] != unit || (bytes[offset + 1] & 0x7F) != function)
                continue;
            length = AnswerLength(bytes[offset..]);
            if (length > 0 && offset + length <= bytes.Length && CrcFits(bytes.Slice(offset, length)))
                return true;
        }

        length = 0;
        return false;
    }

    /// <summary>Finds the first whole request, wherever it begins: before it may lie noise, or what other slaves said.</summary>
    public static bool TryFindRequest(ReadOnlySpan<byte> bytes, out int offset, out int length)
    {
        for (offset = 0; offset + 4 <= bytes.Length; offset++)
        {
            length = RequestLength(bytes[offset..]);
            if (length > 0 && length <= RtuFrame.SizeMax && offset + length <= bytes.Length && CrcFits(bytes.Slice(offset, length)))
                return true;
        }

        length = 0;
        return false;
    }

    private static bool CrcFits(ReadOnlySpan<byte> frame)
        => RtuFrame.Crc(frame[..^2]) == BinaryPrimitives.ReadUInt16LittleEndian(frame[^2..]);

    // 43/14: unit, 43, 14, code, conformity, more, next, count, then (id, length, bytes) for each object, CRC.
    private static int IdentificationLength(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 8)
            return 0;
        var at = 8;
        for (var i = 0; i < bytes[7]; i++)
        {
            if (bytes.Length < at + 2)
                return at > RtuFrame.SizeMax ? -1 : 0;
            at += 2 + bytes[at + 1];
        }

        return at + 2 > RtuFrame.SizeMax ? -1 : at + 2;
    }
}
