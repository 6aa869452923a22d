using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Modbus;

namespace Edge.Devices.Modbus;

/// <summary>One of the four tables, with the words that KubeEdge's Modbus mapper uses; or what the slave says of itself.</summary>
internal enum ModbusTable
{
    CoilRegister,
    DiscreteInputRegister,
    InputRegister,
    HoldingRegister,

    /// <summary>Function 43/14; the address is an object's id.</summary>
    DeviceIdentification,
}

/// <summary>A property's <c>visitors.configData</c>: where its value lies and how.</summary>
/// <param name="Verify">The written value is read back and compared; null leaves it to the device.</param>
internal sealed record ModbusVisitor(ModbusTable Table, ushort Address, RegisterFormat Format, bool? Verify)
{
    private const string Where = "visitors.configData";

    public bool IsBit => Table is ModbusTable.CoilRegister or ModbusTable.DiscreteInputRegister;

    /// <summary>What must be read for the value.</summary>
    public ReadSpan ToSpan(int tag)
        => new(
            Table switch
            {
                ModbusTable.CoilRegister => ModbusFunction.ReadCoils,
                ModbusTable.DiscreteInputRegister => ModbusFunction.ReadDiscreteInputs,
                ModbusTable.InputRegister => ModbusFunction.ReadInputRegisters,
                _ => ModbusFunction.ReadHoldingRegisters,
            },
            Address,
            IsBit ? 1 : Format.RegisterCount,
            tag);

    /// <summary>The value, <paramref name="offset"/> registers or bits into the data of a read.</summary>
    public PropertyReading Decode(ReadOnlySpan<byte> data, int offset)
    {
        if (IsBit)
            return new PropertyReading((data[offset / 8] >> (offset % 8) & 1) == 1 ? "true" : "false");
        Span<ushort> registers = stackalloc ushort[Format.RegisterCount];
        for (var i = 0; i < registers.Length; i++)
            registers[i] = BinaryPrimitives.ReadUInt16BigEndian(data[(2 * (offset + i))..]);
        return Format.TryDecode(registers, out var value, out var reason) ? new PropertyReading(value) : new PropertyReading(null, $"{Table} {Address} {reason}");
    }

    /// <exception cref="DeviceConfigException">The visitor is impossible; says which key, what it is and what it must be.</exception>
    public static ModbusVisitor Read(PropertyInfo property)
    {
        if (property.VisitorProtocol.Length > 0 && !property.VisitorProtocol.Equals("modbus", StringComparison.OrdinalIgnoreCase))
            throw new DeviceConfigException($"visitors.protocolName is '{property.VisitorProtocol}', must be modbus");
        var config = property.Visitor;
        var table = ReadTable(DmiConvert.Text(config, "register"));
        if (property.Writable && (table is ModbusTable.InputRegister or ModbusTable.DiscreteInputRegister))
            throw new DeviceConfigException($"{Where}.register is {table}, which cannot be written, but the model's accessMode is ReadWrite; make it ReadOnly");
        if (table == ModbusTable.DeviceIdentification)
            return ReadIdentification(property);
        var offset = Whole(config, "offset", null, 0, 65535, Where);
        var format = ReadFormat(property, table);
        if (offset + format.RegisterCount > 0x10000)
            throw new DeviceConfigException($"{Where}.offset is {offset}: {format.RegisterCount} registers from there run past 65535");
        return new ModbusVisitor(table, (ushort)offset, format, DmiConvert.Text(config, "verify").Length == 0 ? null : Flag(config, "verify", Where));
    }

    private static ModbusVisitor ReadIdentification(PropertyInfo property)
    {
        if (property.Writable || property.Type is not ("string" or ""))
            throw new DeviceConfigException($"{Where}.register is DeviceIdentification, whose objects are texts to read: the model's type must be STRING and its accessMode ReadOnly");
        return new ModbusVisitor(
            ModbusTable.DeviceIdentification, (ushort)Whole(property.Visitor, "object", null, 0, 255, Where), new RegisterFormat(RegisterType.Text), Verify: null);
    }

    internal static long Whole(JsonObject config, string key, long? absent, long min, long max, string where)
    {
        var text = DmiConvert.Text(config, key);
        if (text.Length == 0)
            return absent ?? throw new DeviceConfigException($"{where}.{key} is missing");
        if (!decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) || value != decimal.Truncate(value) || value < min || value > max)
            throw new DeviceConfigException($"{where}.{key} is {text}, must be a whole number from {min} to {max}");
        return (long)value;
    }

    private static ModbusTable ReadTable(string text)
        => text.ToUpperInvariant() switch
        {
            "COILREGISTER" or "COIL" => ModbusTable.CoilRegister,
            "DISCRETEINPUTREGISTER" or "DISCRETEINPUT" => ModbusTable.DiscreteInputRegister,
            "INPUTREGISTER" => ModbusTable.InputRegister,
            "HOLDINGREGISTER" => ModbusTable.HoldingRegister,
            "DEVICEIDENTIFICATION" => ModbusTable.DeviceIdentification,
            "" => throw new DeviceConfigException($"{Where}.register is missing: CoilRegister, DiscreteInputRegister, InputRegister, HoldingRegister or DeviceIdentification"),
            _ => throw new DeviceConfigException(
                $"{Where}.register is '{text}', must be CoilRegister, DiscreteInputRegister, InputRegister, HoldingRegister or DeviceIdentification"),
        };

    private static RegisterFormat ReadFormat(PropertyInfo property, ModbusTable table)
    {
        var config = property.Visitor;
        var word = DmiConvert.Text(config, "dataType");
        if (table is ModbusTable.CoilRegister or ModbusTable.DiscreteInputRegister)
        {
            if (word.Length > 0 && ReadType(word) != RegisterType.Bool)
                throw new DeviceConfigException($"{Where}.dataType is '{word}', a {table} holds bool");
            return new RegisterFormat(RegisterType.Bool);
        }

        var limit = Whole(config, "limit", 0, 0, 125, Where);
        var type = word.Length > 0 ? ReadType(word) : Infer(property.Type, limit);
        var bit = Whole(config, "bit", -1, -1, 15, Where);
        if (type == RegisterType.Bool && bit < 0)
            throw new DeviceConfigException($"{Where}.bit is missing: a bool in a {table} needs the bit's number, 0 to 15; or use a CoilRegister");
        var format = new RegisterFormat(
            type,
            Flag(config, "isSwap", Where),
            Flag(config, "isRegisterSwap", Where),
            Number(config, "scale", 1),
            Number(config, "valueOffset", 0),
            (int)Math.Max(0, bit),
            (int)Math.Max(1, limit),
            DmiConvert.Text(config, "wordOrder").ToUpperInvariant());
        if (format.Scale == 0)
            throw new DeviceConfigException($"{Where}.scale is 0, must be another number");
        if (type == RegisterType.Bcd && limit is not (0 or 1 or 2 or 4))
            throw new DeviceConfigException($"{Where}.limit is {limit}, a bcd takes 1, 2 or 4 registers");
        if (type == RegisterType.Text && (limit == 0 || (limit > ModbusPdu.WriteRegistersMax && property.Writable)))
            throw new DeviceConfigException($"{Where}.limit is {limit}: a string takes as many registers as it says, 1 to {(property.Writable ? ModbusPdu.WriteRegistersMax : ModbusPdu.ReadRegistersMax)}");
        if (format.ByteOrderProblem is { } problem)
            throw new DeviceConfigException($"{Where}.wordOrder is '{format.ByteOrder}': {problem}");
        if (limit > 0 && limit != format.RegisterCount)
            throw new DeviceConfigException($"{Where}.limit is {limit}, a {type} takes {format.RegisterCount} registers");
        return format;
    }

    private static RegisterType ReadType(string word)
        => word.ToUpperInvariant() switch
        {
            "INT16" => RegisterType.Int16,
            "UINT16" => RegisterType.UInt16,
            "INT32" => RegisterType.Int32,
            "UINT32" => RegisterType.UInt32,
            "INT64" => RegisterType.Int64,
            "UINT64" => RegisterType.UInt64,
            "FLOAT" or "FLOAT32" => RegisterType.Float,
            "DOUBLE" or "FLOAT64" => RegisterType.Double,
            "BOOL" or "BOOLEAN" => RegisterType.Bool,
            "BCD" => RegisterType.Bcd,
            "STRING" or "ASCII" => RegisterType.Text,
            _ => throw new DeviceConfigException(
                $"{Where}.dataType is '{word}', must be int16, uint16, int32, uint32, int64, uint64, float, double, bcd, string or bool"),
        };

    // Without dataType, the model's type and the number of registers say it, as with KubeEdge's mapper.
    private static RegisterType Infer(string modelType, long limit) => (modelType, limit) switch
    {
        ("int", 0 or 1) => RegisterType.Int16,
        ("int", 2) => RegisterType.Int32,
        ("int", 4) => RegisterType.Int64,
        ("float" or "double", 1) => RegisterType.Int16,
        ("float", 0) or ("float" or "double", 2) => RegisterType.Float,
        ("double", 0) or ("float" or "double", 4) => RegisterType.Double,
        ("string", > 0) => RegisterType.Text,
        ("boolean", 0 or 1) => RegisterType.Bool,
        ("int" or "float" or "double" or "boolean", _) => throw new DeviceConfigException(
            $"{Where}.limit is {limit}: a value of type {modelType.ToUpperInvariant()} takes 1, 2 or 4 registers"),
        _ => throw new DeviceConfigException($"{Where}.dataType is missing: the model's type {modelType.ToUpperInvariant()} does not say how registers hold it"),
    };

    private static decimal Number(JsonObject config, string key, decimal absent)
    {
        var text = DmiConvert.Text(config, key);
        if (text.Length == 0)
            return absent;
        return decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new DeviceConfigException($"{Where}.{key} is {text}, must be a number");
    }

    internal static bool Flag(JsonObject config, string key, string where)
    {
        var text = DmiConvert.Text(config, key);
        if (text.Length == 0)
            return false;
        return RegisterFormat.TryParseBool(text, out var value, out _)
            ? value
            : throw new DeviceConfigException($"{where}.{key} is '{text}', must be true or false");
    }
}
