using System.Buffers.Binary;

namespace Edge.Protocol.Modbus;

/// <summary>The function codes that Edge speaks (Modbus Application Protocol V1.1b3 §6).</summary>
public enum ModbusFunction : byte
{
    ReadCoils = 1,
    ReadDiscreteInputs = 2,
    ReadHoldingRegisters = 3,
    ReadInputRegisters = 4,
    WriteSingleCoil = 5,
    WriteSingleRegister = 6,
    WriteMultipleCoils = 15,
    WriteMultipleRegisters = 16,
    MaskWriteRegister = 22,
    ReadWriteMultipleRegisters = 23,

    /// <summary>Function 43; of its MEI types only 14, Read Device Identification, is spoken.</summary>
    EncapsulatedInterface = 43,
}

/// <summary>Why a slave refused a request (§7). <see cref="None"/> is no exception.</summary>
public enum ModbusExceptionCode : byte
{
    None = 0,
    IllegalFunction = 1,
    IllegalDataAddress = 2,
    IllegalDataValue = 3,
    SlaveDeviceFailure = 4,
    Acknowledge = 5,
    SlaveDeviceBusy = 6,
    MemoryParityError = 8,
    GatewayPathUnavailable = 10,
    GatewayTargetFailedToRespond = 11,
}

/// <summary>One request.</summary>
/// <param name="Address">First coil or register, from 0. Of function 43/14, the first object's id.</param>
/// <param name="Count">Coils or registers, of function 23 those to read; 1 for the single writes. Of function 43/14, the ReadDevId code, 1 to 4.</param>
/// <param name="Data">What to write: registers as big-endian pairs, coils packed from the lowest bit; of function 22 the AND mask and
/// the OR mask; empty for reads.</param>
/// <param name="WriteAddress">Of function 23, the first register to write.</param>
public readonly record struct ModbusRequest(
    ModbusFunction Function, ushort Address, ushort Count, ReadOnlyMemory<byte> Data, ushort WriteAddress = 0)
{
    /// <summary>True when the request changes something.</summary>
    public bool IsWrite => Function is ModbusFunction.WriteSingleCoil or ModbusFunction.WriteSingleRegister
        or ModbusFunction.WriteMultipleCoils or ModbusFunction.WriteMultipleRegisters or ModbusFunction.MaskWriteRegister
        or ModbusFunction.ReadWriteMultipleRegisters;

    /// <summary>True when the request is about single bits.</summary>
    public bool IsBits => Function is ModbusFunction.ReadCoils or ModbusFunction.ReadDiscreteInputs
        or ModbusFunction.WriteSingleCoil or ModbusFunction.WriteMultipleCoils;

    /// <summary>Bytes that hold <see cref="Count"/> values.</summary>
    public int DataSize => IsBits ? (Count + 7) / 8 : Count * 2;

    /// <summary>Function 22: the register becomes <c>(register AND and) OR (or AND NOT and)</c>.</summary>
    public static ModbusRequest MaskWrite(ushort address, ushort and, ushort or)
        => new(ModbusFunction.MaskWriteRegister, address, 1, ModbusPdu.FromRegisters([and, or]));

    /// <summary>Function 23: writes first, then reads.</summary>
    public static ModbusRequest ReadWrite(ushort readAddress, ushort readCount, ushort writeAddress, ReadOnlySpan<ushort> values)
        => new(ModbusFunction.ReadWriteMultipleRegisters, readAddress, readCount, ModbusPdu.FromRegisters(values), writeAddress);

    /// <summary>Function 43/14.</summary>
    /// <param name="code">1 basic, 2 regular, 3 extended: a stream from <paramref name="firstObject"/> on; 4: that object alone.</param>
    public static ModbusRequest Identification(byte code, byte firstObject)
        => new(ModbusFunction.EncapsulatedInterface, firstObject, code, default);

    /// <summary>For messages: what is asked, e.g. <c>ReadHoldingRegisters of 2 at 100</c>.</summary>
    public override string ToString() => Function switch
    {
        ModbusFunction.EncapsulatedInterface => $"device identification {Count} from object {Address}",
        ModbusFunction.ReadWriteMultipleRegisters => $"{Function} of {Count} at {Address}, writing {Data.Length / 2} at {WriteAddress}",
        _ => $"{Function} of {Count} at {Address}",
    };
}

/// <summary>Protocol data units: what is inside a TCP or RTU frame. Pure; bad input is a value with the reason.</summary>
public static partial class ModbusPdu
{
    /// <summary>Largest PDU, bytes (§4.1).</summary>
    public const int SizeMax = 253;

    public const int ReadBitsMax = 2000;
    public const int ReadRegistersMax = 125;
    public const int WriteBitsMax = 1968;
    public const int WriteRegistersMax = 123;

    /// <summary>Registers that one request of function 23 may write.</summary>
    public const int ReadWriteRegistersMax = 121;

    private const byte ExceptionFlag = 0x80;
    private const ushort CoilOn = 0xFF00;

    /// <summary>The most values one request of this kind may carry; 0 for an unknown function.</summary>
    public static int CountMax(ModbusFunction function) => function switch
    {
        ModbusFunction.ReadCoils or ModbusFunction.ReadDiscreteInputs => ReadBitsMax,
        ModbusFunction.ReadHoldingRegisters or ModbusFunction.ReadInputRegisters => ReadRegistersMax,
        ModbusFunction.WriteSingleCoil or ModbusFunction.WriteSingleRegister => 1,
        ModbusFunction.WriteMultipleCoils => WriteBitsMax,
        ModbusFunction.WriteMultipleRegisters => WriteRegistersMax,
        ModbusFunction.MaskWriteRegister => 1,
        ModbusFunction.ReadWriteMultipleRegisters => ReadRegistersMax,
        ModbusFunction.EncapsulatedInterface => 4,
        _ => 0,
    };

    /// <summary>Writes a request.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The count is not 1..limit, runs past 65535, or does not match the data.</exception>
    public static byte[] WriteRequest(in ModbusRequest request)
    {
        var max = CountMax(request.Function);
        if (request.Count == 0 || request.Count > max)
            throw new ArgumentOutOfRangeException(nameof(request), $"{request.Function} of {request.Count} values, must be 1 to {max}");
        switch (request.Function)
        {
            case ModbusFunction.EncapsulatedInterface: return WriteIdentificationRequest(request);
            case ModbusFunction.MaskWriteRegister: return WriteMaskRequest(request);
        }

        if (request.Address + request.Count > 0x10000)
            throw new ArgumentOutOfRangeException(nameof(request), $"{request.Function} of {request.Count} values from {request.Address} runs past 65535");
        if (request.Function == ModbusFunction.ReadWriteMultipleRegisters)
            return WriteReadWriteRequest(request);
        if (request.Data.Length != (request.IsWrite ? request.DataSize : 0))
            throw new ArgumentOutOfRangeException(nameof(request), $"{request.Function} of {request.Count} values has {request.Data.Length} bytes of data");
        var many = request.Function is ModbusFunction.WriteMultipleCoils or ModbusFunction.WriteMultipleRegisters;
        var pdu = new byte[many ? 6 + request.Data.Length : 5];
        pdu[0] = (byte)request.Function;
        BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(1), request.Address);
        if (request.Function == ModbusFunction.WriteSingleCoil)
            BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(3), (request.Data.Span[0] & 1) == 1 ? CoilOn : (ushort)0);
        else if (request.Function == ModbusFunction.WriteSingleRegister)
            request.Data.Span.CopyTo(pdu.AsSpan(3));
        else
            BinaryPrimitives.WriteUInt16BigEndian(pdu.AsSpan(3), request.Count);
        if (many)
        {
            pdu[5] = (byte)request.Data.Length;
            request.Data.Span.CopyTo(pdu.AsSpan(6));
        }

        return pdu;
    }

    /// <summary>Reads a request as a slave does. When it is not usable, the answer is the exception code to send back.</summary>
    public static ModbusExceptionCode ReadRequest(ReadOnlyMemory<byte> pdu, out ModbusRequest request)
    {
        request = default;
        var span = pdu.Span;
        if (span.IsEmpty || CountMax((ModbusFunction)span[0]) == 0)
            return ModbusExceptionCode.IllegalFunction;
        var function = (ModbusFunction)span[0];
        if (span.Length < (function == ModbusFunction.EncapsulatedInterface ? 4 : 5))
            return ModbusExceptionCode.IllegalDataValue;
        if (function == ModbusFunction.EncapsulatedInterface)
            return ReadSpecialRequest(pdu, out request);
        var address = BinaryPrimitives.ReadUInt16BigEndian(span[1..]);
        var word = BinaryPrimitives.ReadUInt16BigEndian(span[3..]);
        switch (function)
        {
            case ModbusFunction.MaskWriteRegister or ModbusFunction.ReadWriteMultipleRegisters:
                return ReadSpecialRequest(pdu, out request);
            case ModbusFunction.WriteSingleCoil:
                if (span.Length != 5 || word is not (0 or CoilOn))
                    return ModbusExceptionCode.IllegalDataValue;
                request = new ModbusRequest(function, address, 1, new[] { (byte)(word == CoilOn ? 1 : 0) });
                return ModbusExceptionCode.None;
            case ModbusFunction.WriteSingleRegister:
                if (span.Length != 5)
                    return ModbusExceptionCode.IllegalDataValue;
                request = new ModbusRequest(function, address, 1, pdu[3..5]);
                return ModbusExceptionCode.None;
        }

        if (word == 0 || word > CountMax(function))
            return ModbusExceptionCode.IllegalDataValue;
        request = new ModbusRequest(function, address, word, default);
        if (request.IsWrite)
        {
            if (span.Length < 6 || span[5] != request.DataSize || span.Length != 6 + request.DataSize)
                return ModbusExceptionCode.IllegalDataValue;
            request = request with { Data = pdu[6..] };
        }
        else if (span.Length != 5)
        {
            return ModbusExceptionCode.IllegalDataValue;
        }

        return address + word > 0x10000 ? ModbusExceptionCode.IllegalDataAddress : ModbusExceptionCode.None;
    }

    /// <summary>The positive answer. <paramref name="data"/> is what a read returns, in the form of <see cref="ModbusRequest.Data"/>.</summary>
    public static byte[] WriteResponse(in ModbusRequest request, ReadOnlySpan<byte> data)
    {
        if (request.Function == ModbusFunction.MaskWriteRegister)
            return WriteMaskRequest(request);
        if (request.IsWrite && request.Function != ModbusFunction.ReadWriteMultipleRegisters)
        {
            // These four writes are answered with the first five bytes of their request.
            return WriteRequest(request)[..5];
        }

        if (data.Length != request.DataSize)
            throw new ArgumentOutOfRangeException(nameof(data), $"{request.Function} of {request.Count} values wants {request.DataSize} bytes, got {data.Length}");
        var pdu = new byte[2 + data.Length];
        pdu[0] = (byte)request.Function;
        pdu[1] = (byte)data.Length;
        data.CopyTo(pdu.AsSpan(2));
        return pdu;
    }

    /// <summary>The negative answer to a request with this function byte.</summary>
    public static byte[] WriteException(byte function, ModbusExceptionCode code) => [(byte)(function | ExceptionFlag), (byte)code];

    /// <summary>Reads the answer to <paramref name="request"/>. False when it is malformed or answers something else, with the reason.
    /// True with <paramref name="exception"/> set when the slave refused.</summary>
    public static bool TryReadResponse(
        in ModbusRequest request, ReadOnlyMemory<byte> pdu, out ReadOnlyMemory<byte> data, out ModbusExceptionCode exception, out string error)
    {
        data = default;
        exception = ModbusExceptionCode.None;
        error = "";
        var span = pdu.Span;
        if (span.Length < 2)
            error = $"answer of {span.Length} bytes is too short";
        else if (span[0] == ((byte)request.Function | ExceptionFlag))
        {
            exception = (ModbusExceptionCode)span[1];
            if (span.Length != 2 || span[1] == 0)
                error = "malformed exception answer";
        }
        else if (span[0] != (byte)request.Function)
            error = $"answer has function {span[0]}, the request had {(byte)request.Function}";
        else if (request.Function == ModbusFunction.EncapsulatedInterface)
        {
            // Its own length is inside: the reader of identifications looks at it.
            if (span.Length < 7 || span[1] != MeiDeviceIdentification)
                error = $"answer to {request} is of {span.Length} bytes or of another MEI type";
            else
                data = pdu[1..];
        }
        else if (request.IsWrite && request.Function != ModbusFunction.ReadWriteMultipleRegisters)
        {
            var repeated = WriteRequest(request);
            if (!span.SequenceEqual(request.Function == ModbusFunction.MaskWriteRegister ? repeated : repeated.AsSpan(0, 5)))
                error = $"answer to {request.Function} does not repeat the request";
        }
        else if (span[1] != request.DataSize || span.Length != 2 + request.DataSize)
            error = $"answer has {span.Length - 2} bytes of data and says {span[1]}, {request.Function} of {request.Count} needs {request.DataSize}";
        else
            data = pdu[2..];
        return error.Length == 0;
    }

    /// <summary>Registers from big-endian pairs.</summary>
    public static ushort[] ToRegisters(ReadOnlySpan<byte> data)
    {
        var registers = new ushort[data.Length / 2];
        for (var i = 0; i < registers.Length; i++)
            registers[i] = BinaryPrimitives.ReadUInt16BigEndian(data[(i * 2)..]);
        return registers;
    }

    /// <summary>Big-endian pairs from registers.</summary>
    public static byte[] FromRegisters(ReadOnlySpan<ushort> registers)
    {
        var data = new byte[registers.Length * 2];
        for (var i = 0; i < registers.Length; i++)
            BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(i * 2), registers[i]);
        return data;
    }

    /// <summary>Bits from bytes packed from the lowest bit.</summary>
    public static bool[] ToBits(ReadOnlySpan<byte> data, int count)
    {
        var bits = new bool[count];
        for (var i = 0; i < count; i++)
            bits[i] = (data[i / 8] >> (i % 8) & 1) == 1;
        return bits;
    }

    /// <summary>Bytes packed from the lowest bit; the unused bits of the last byte are 0.</summary>
    public static byte[] FromBits(ReadOnlySpan<bool> bits)
    {
        var data = new byte[(bits.Length + 7) / 8];
        for (var i = 0; i < bits.Length; i++)
            if (bits[i])
                data[i / 8] |= (byte)(1 << (i % 8));
        return data;
    }
}
