using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Modbus;

namespace Edge.Devices.Modbus;

/// <summary>One of the four tables, with the words that KubeEdge's Modbus mapper uses.</summary>
internal enum ModbusTable
{
    CoilRegister,
    DiscreteInputRegister,
    InputRegister,
    HoldingRegister,
}

/// <summary>A device's <c>protocol.configData</c>.</summary>
internal sealed record ModbusEndpoint(string Host, int Port, byte UnitId, TimeSpan Timeout)
{
    /// <exception cref="DeviceConfigException">A key is missing or has an impossible value.</exception>
    public static ModbusEndpoint Read(JsonObject config)
    {
        var mode = DmiConvert.Text(config, "communicateMode");
        if (mode.Length > 0 && !mode.Equals("TCP", StringComparison.OrdinalIgnoreCase))
            throw new DeviceConfigException($"protocol.configData.communicateMode is '{mode}', must be TCP");
        var host = DmiConvert.Text(config, "ip");
        if (host.Length == 0)
            throw new DeviceConfigException("protocol.configData.ip is missing: the address of the Modbus slave");
        return new ModbusEndpoint(
            host,
            (int)ModbusVisitor.Whole(config, "port", 502, 1, 65535, "protocol.configData"),
            (byte)ModbusVisitor.Whole(config, "slaveID", 1, 0, 255, "protocol.configData"),
            TimeSpan.FromMilliseconds(ModbusVisitor.Whole(config, "timeout", 2000, 10, 60_000, "protocol.configData")));
    }
}

/// <summary>A property's <c>visitors.configData</c>: where its value lies and how.</summary>
internal sealed record ModbusVisitor(ModbusTable Table, ushort Address, RegisterFormat Format)
{
    private const string Where = "visitors.configData";

    public bool IsBit => Table is ModbusTable.CoilRegister or ModbusTable.DiscreteInputRegister;

    /// <exception cref="DeviceConfigException">The visitor is impossible; says which key, what it is and what it must be.</exception>
    public static ModbusVisitor Read(PropertyInfo property)
    {
        if (property.VisitorProtocol.Length > 0 && !property.VisitorProtocol.Equals("modbus", StringComparison.OrdinalIgnoreCase))
            throw new DeviceConfigException($"visitors.protocolName is '{property.VisitorProtocol}', must be modbus");
        var config = property.Visitor;
        var table = ReadTable(DmiConvert.Text(config, "register"));
        if (property.Writable && (table is ModbusTable.InputRegister or ModbusTable.DiscreteInputRegister))
            throw new DeviceConfigException($"{Where}.register is {table}, which cannot be written, but the model's accessMode is ReadWrite; make it ReadOnly");
        var offset = Whole(config, "offset", null, 0, 65535, Where);
        var format = ReadFormat(property, table);
        if (offset + format.RegisterCount > 0x10000)
            throw new DeviceConfigException($"{Where}.offset is {offset}: {format.RegisterCount} registers from there run past 65535");
        return new ModbusVisitor(table, (ushort)offset, format);
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
            "" => throw new DeviceConfigException($"{Where}.register is missing: CoilRegister, DiscreteInputRegister, InputRegister or HoldingRegister"),
            _ => throw new DeviceConfigException(
                $"{Where}.register is '{text}', must be CoilRegister, DiscreteInputRegister, InputRegister or HoldingRegister"),
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
            type, Flag(config, "isSwap"), Flag(config, "isRegisterSwap"), ReadScale(config), 0, (int)Math.Max(0, bit));
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
            _ => throw new DeviceConfigException(
                $"{Where}.dataType is '{word}', must be int16, uint16, int32, uint32, int64, uint64, float, double or bool"),
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
        ("boolean", 0 or 1) => RegisterType.Bool,
        ("int" or "float" or "double" or "boolean", _) => throw new DeviceConfigException(
            $"{Where}.limit is {limit}: a value of type {modelType.ToUpperInvariant()} takes 1, 2 or 4 registers"),
        _ => throw new DeviceConfigException($"{Where}.dataType is missing: the model's type {modelType.ToUpperInvariant()} does not say how registers hold it"),
    };

    private static decimal ReadScale(JsonObject config)
    {
        var text = DmiConvert.Text(config, "scale");
        if (text.Length == 0)
            return 1;
        if (!decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var scale) || scale == 0)
            throw new DeviceConfigException($"{Where}.scale is {text}, must be a number other than 0");
        return scale;
    }

    private static bool Flag(JsonObject config, string key)
    {
        var text = DmiConvert.Text(config, key);
        if (text.Length == 0)
            return false;
        return RegisterFormat.TryParseBool(text, out var value, out _)
            ? value
            : throw new DeviceConfigException($"{Where}.{key} is '{text}', must be true or false");
    }
}
