using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;

namespace Edge.Devices.Modbus;

/// <summary>A device's <c>protocol.configData</c>: KubeEdge's keys, and Edge's own beside them (docs/modbus.md).</summary>
/// <param name="Gap">Registers or bits that nobody asked for and one read may carry.</param>
/// <param name="RegistersMax">Registers of one read.</param>
/// <param name="BitsMax">Bits of one read.</param>
/// <param name="Verify">Each written value is read back and compared.</param>
/// <param name="WriteMultiple">Functions 15 and 16 for single values, too.</param>
/// <param name="Trace">Each frame is logged.</param>
internal sealed record ModbusEndpoint(
    ModbusLineSettings Line, byte UnitId, ModbusTiming Timing, int Gap, int RegistersMax, int BitsMax, bool Verify, bool WriteMultiple, bool Trace)
{
    private const string Where = "protocol.configData";

    /// <exception cref="DeviceConfigException">A key is missing or has an impossible value.</exception>
    public static ModbusEndpoint Read(JsonObject config)
    {
        var line = ReadLine(config);
        return new ModbusEndpoint(
            line,
            (byte)Whole(config, "slaveID", 1, line.SerialLine is null ? 0 : 1, line.SerialLine is null ? 255 : 247),
            new ModbusTiming(
                TimeSpan.FromMilliseconds(Whole(config, "timeout", 2000, 10, 60_000)),
                (int)Whole(config, "retries", 1, 0, 10),
                TimeSpan.FromMilliseconds(Whole(config, "delay", 0, 0, 10_000))),
            (int)Whole(config, "gap", 0, 0, 2000),
            (int)Whole(config, "maxRegisters", ModbusPdu.ReadRegistersMax, 1, ModbusPdu.ReadRegistersMax),
            (int)Whole(config, "maxBits", ModbusPdu.ReadBitsMax, 1, ModbusPdu.ReadBitsMax),
            ModbusVisitor.Flag(config, "verify", Where),
            ModbusVisitor.Flag(config, "writeMultiple", Where),
            ModbusVisitor.Flag(config, "trace", Where));
    }

    private static ModbusLineSettings ReadLine(JsonObject config)
    {
        var mode = DmiConvert.Text(config, "communicateMode").ToUpperInvariant();
        if (mode is not ("" or "TCP" or "RTU" or "RTUOVERTCP"))
            throw new DeviceConfigException($"{Where}.communicateMode is '{DmiConvert.Text(config, "communicateMode")}', must be TCP, RTU or RTUOverTCP");
        if (mode == "RTU")
            return ModbusLineSettings.Serial(ReadSerial(config));
        var host = DmiConvert.Text(config, "ip");
        if (host.Length == 0)
            throw new DeviceConfigException($"{Where}.ip is missing: the address of the Modbus slave; or set communicateMode to RTU for a serial line");
        var port = (int)Whole(config, "port", 502, 1, 65535);
        return mode == "RTUOVERTCP" ? ModbusLineSettings.RtuOverTcp(host, port) : ModbusLineSettings.Tcp(host, port);
    }

    private static SerialSettings ReadSerial(JsonObject config)
    {
        var path = DmiConvert.Text(config, "serialPort");
        if (!path.StartsWith('/'))
            throw new DeviceConfigException($"{Where}.serialPort is '{path}', must be the path of a serial line's device file, e.g. /dev/ttyUSB0");
        var baud = (int)Whole(config, "baudRate", 19200, 1, int.MaxValue);
        if (!SerialSettings.BaudRates.Contains(baud))
            throw new DeviceConfigException($"{Where}.baudRate is {baud}, must be one of {string.Join(", ", SerialSettings.BaudRates.Order())}");
        if (Whole(config, "dataBits", 8, 5, 8) != 8)
            throw new DeviceConfigException($"{Where}.dataBits is {DmiConvert.Text(config, "dataBits")}, must be 8: the bytes of RTU frames have 8 bits");
        var parity = DmiConvert.Text(config, "parity").ToUpperInvariant() switch
        {
            "" or "EVEN" or "E" => SerialParity.Even,
            "ODD" or "O" => SerialParity.Odd,
            "NONE" or "N" => SerialParity.None,
            var other => throw new DeviceConfigException($"{Where}.parity is '{other}', must be even, odd or none"),
        };
        return new SerialSettings(path, baud, parity, 8, (int)Whole(config, "stopBits", 1, 1, 2));
    }

    private static long Whole(JsonObject config, string key, long absent, long min, long max) => ModbusVisitor.Whole(config, key, absent, min, max, Where);
}
