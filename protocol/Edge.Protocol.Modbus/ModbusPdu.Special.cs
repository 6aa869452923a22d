using System.Buffers.Binary;

namespace Edge.Protocol.Modbus;

/// <summary>Functions 22, 23 and 43/14, whose PDUs have forms of their own (V1.1b3 §6.16, §6.17, §6.21).</summary>
public static partial class ModbusPdu
{
    internal const byte MeiDeviceIdentification = 14;

    // One answer of function 43/14 has 7 bytes before the objects.
    private const int IdentificationHeader = 7;

    private static byte[] WriteIdentificationRequest(in ModbusRequest request)
    {
        if (request.Address > byte.MaxValue || !request.Data.IsEmpty)
            throw new ArgumentOutOfRangeException(nameof(request), $"{request}: an object's id is 0 to 255, and there is no data");
        return [(byte)request.Function, MeiDeviceIdentification, (byte)request.Count, (byte)request.Address];
    }

    private static byte[] WriteMaskRequest(in ModbusRequest request)
    {
        if (request.Data.Length != 4)
            throw new ArgumentOutOfRangeException(nameof(request), $"{request} has {request.Data.Length} bytes of data, must be 4: two masks");
        var pdu = new byte[7];
        pdu[0] = (byte)request.Function;
        BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(1), request.Address);
        request.Data.Span.CopyTo(pdu.AsSpan(3));
        return pdu;
    }

    private static byte[] WriteReadWriteRequest(in ModbusRequest request)
    {
        var written = request.Data.Length / 2;
        if (written is 0 or > ReadWriteRegistersMax || request.Data.Length % 2 != 0 || request.WriteAddress + written > 0x10000)
            throw new ArgumentOutOfRangeException(nameof(request), $"{request}: must write 1 to {ReadWriteRegistersMax} registers and not run past 65535");
        var pdu = new byte[10 + request.Data.Length];
        pdu[0] = (byte)request.Function;
        BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(1), request.Address);
        BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(3), request.Count);
        BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(5), request.WriteAddress);
        BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(7), (ushort)written);
        pdu[9] = (byte)request.Data.Length;
        request.Data.Span.CopyTo(pdu.AsSpan(10));
        return pdu;
    }

    // The function is known to be one of the three.
    private static ModbusExceptionCode ReadSpecialRequest(ReadOnlyMemory<byte> pdu, out ModbusRequest request)
    {
        request = default;
        var span = pdu.Span;
        switch ((ModbusFunction)span[0])
        {
            case ModbusFunction.EncapsulatedInterface:
                if (span[1] != MeiDeviceIdentification)
                    return ModbusExceptionCode.IllegalFunction;
                if (span.Length != 4 || span[2] is < 1 or > 4)
                    return ModbusExceptionCode.IllegalDataValue;
                request = ModbusRequest.Identification(span[2], span[3]);
                return ModbusExceptionCode.None;
            case ModbusFunction.MaskWriteRegister:
                if (span.Length != 7)
                    return ModbusExceptionCode.IllegalDataValue;
                request = new ModbusRequest(ModbusFunction.MaskWriteRegister, BinaryPrimitives.ReadUInt16BigEndian(span[1..]), 1, pdu[3..]);
                return ModbusExceptionCode.None;
            default:
                if (span.Length < 10)
                    return ModbusExceptionCode.IllegalDataValue;
                var (from, count) = (BinaryPrimitives.ReadUInt16BigEndian(span[1..]), BinaryPrimitives.ReadUInt16BigEndian(span[3..]));
                var (to, written) = (BinaryPrimitives.ReadUInt16BigEndian(span[5..]), BinaryPrimitives.ReadUInt16BigEndian(span[7..]));
                if (count is 0 or > ReadRegistersMax || written is 0 or > ReadWriteRegistersMax || span[9] != written * 2 || span.Length != 10 + (written * 2))
                    return ModbusExceptionCode.IllegalDataValue;
                request = new ModbusRequest(ModbusFunction.ReadWriteMultipleRegisters, from, count, pdu[10..], to);
                return from + count > 0x10000 || to + written > 0x10000 ? ModbusExceptionCode.IllegalDataAddress : ModbusExceptionCode.None;
        }
    }

    /// <summary>The answer of a slave with these objects; as many as go into one PDU, and where to go on.</summary>
    internal static ModbusExceptionCode WriteIdentification(in ModbusRequest request, IReadOnlyList<ModbusIdentity> objects, out byte[] pdu)
    {
        pdu = [];
        if (objects.Count == 0)
            return ModbusExceptionCode.IllegalFunction;
        var (code, first) = (request.Count, request.Address);
        var last = code switch { 1 => 0x02, 2 => 0x7F, _ => 0xFF };
        var wanted = objects.Where(one => code == 4 ? one.Id == first : one.Id <= last).OrderBy(one => one.Id).ToList();
        if (code == 4 && wanted.Count == 0)
            return ModbusExceptionCode.IllegalDataAddress;

        // A first object that does not exist means from the beginning.
        var start = code == 4 ? 0 : Math.Max(0, wanted.FindIndex(one => one.Id == first));
        var conformity = objects.Any(one => one.Id >= 0x80) ? 3 : objects.Any(one => one.Id > 2) ? 2 : 1;
        var bytes = new List<byte> { (byte)ModbusFunction.EncapsulatedInterface, MeiDeviceIdentification, (byte)code, (byte)(0x80 | conformity), 0, 0, 0 };
        for (var i = start; i < wanted.Count; i++)
        {
            var value = wanted[i].Value.Length > SizeMax - IdentificationHeader - 2 ? wanted[i].Value[..(SizeMax - IdentificationHeader - 2)] : wanted[i].Value;
            if (bytes.Count + 2 + value.Length > SizeMax)
            {
                (bytes[4], bytes[5]) = (0xFF, wanted[i].Id);
                break;
            }

            bytes.Add(wanted[i].Id);
            bytes.Add((byte)value.Length);
            bytes.AddRange(System.Text.Encoding.ASCII.GetBytes(value));
            bytes[6]++;
        }

        pdu = [.. bytes];
        return ModbusExceptionCode.None;
    }

    /// <summary>Reads the objects of one answer of function 43/14 (what <see cref="TryReadResponse"/> gave) into <paramref name="objects"/>.</summary>
    /// <param name="next">The object to go on with; null when these were the last.</param>
    /// <returns>False with the reason when lengths do not fit.</returns>
    public static bool TryReadIdentification(ReadOnlySpan<byte> data, ICollection<ModbusIdentity> objects, out byte? next, out string error)
    {
        next = null;
        error = "";
        if (data.Length < 6)
        {
            error = $"device identification of {data.Length} bytes is too short";
            return false;
        }

        if (data[3] == 0xFF)
            next = data[4];
        var rest = data[6..];
        for (var i = 0; i < data[5]; i++)
        {
            if (rest.Length < 2 || rest.Length < 2 + rest[1])
            {
                error = $"device identification ends inside object {i + 1} of {data[5]}";
                return false;
            }

            objects.Add(new ModbusIdentity(rest[0], System.Text.Encoding.ASCII.GetString(rest.Slice(2, rest[1]))));
            rest = rest[(2 + rest[1])..];
        }

        return true;
    }
}

/// <summary>One object of a device's identification (function 43/14): 0 vendor, 1 product code, 2 revision, 3 vendor URL, 4 product, 5 model,
/// 6 application; from 128 on the vendor's own. ASCII, at most 244 bytes.</summary>
public readonly record struct ModbusIdentity(byte Id, string Value);
