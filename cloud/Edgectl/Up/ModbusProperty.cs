using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;

namespace Edge.Ctl.Up;

/// <summary>Where a number of a device lies in its Modbus slave, to read it past Edge and compare. Only 16-bit registers with a scale.</summary>
internal sealed record ModbusProperty(byte Unit, bool IsInput, ushort Address, RegisterFormat Format)
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(2);

    /// <summary>Reads a Device's property and its visitor, with the keys that the Modbus mapper reads.</summary>
    public static ModbusProperty Of(JsonObject device, string property)
    {
        var found = device.Items("spec", "properties").FirstOrDefault(one => one.Text("name") == property)
            ?? throw new LocalEdgeException($"device {device.Name()} has no property {property}");
        var visitor = found.At("visitors", "configData");
        var scale = decimal.Parse(visitor.At("scale")?.ToJsonString() ?? "1", CultureInfo.InvariantCulture);
        return new ModbusProperty(
            (byte)device.Number(1, "spec", "protocol", "configData", "slaveID"),
            visitor.Text("register") == "InputRegister",
            (ushort)visitor.Number(0, "offset"),
            new RegisterFormat(RegisterType.Int16, Scale: scale));
    }

    /// <summary>Throws <see cref="LocalEdgeException"/> when the slave does not answer.</summary>
    public async Task<double> ReadAsync(int port, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            using var master = new ModbusMaster(ModbusLineSettings.Tcp("127.0.0.1", port), time, new Random());
            var registers = await new ModbusUnit(master, Unit, new ModbusTiming(s_timeout)).ReadRegistersAsync(IsInput, Address, 1, cancellationToken);
            return double.Parse(Format.Decode(registers)!, CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is ModbusLinkException or ModbusPeerException)
        {
            throw new LocalEdgeException($"reading register {Address} of the simulator on port {port}: {e.Message}", e);
        }
    }
}
