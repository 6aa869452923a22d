using System.Text.Json.Nodes;
using Edge.Protocol.Modbus;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Modbus;

/// <summary>Modbus slaves as devices: TCP, RTU on serial lines, RTU over TCP. Keys of the manifests are those of KubeEdge's Modbus mapper, with Edge's
/// own beside them (docs/modbus.md).</summary>
public sealed class ModbusDriver : IDeviceDriver
{
    private readonly ModbusLines _lines;
    private readonly ILogger _log;

    public ModbusDriver(TimeProvider time, Random random, ILoggerFactory loggers)
    {
        _log = loggers.CreateLogger<ModbusDriver>();
        _lines = new ModbusLines(time, random, _log);
    }

    public string Protocol => "modbus";

    /// <summary>The lines in use; a snapshot, for metrics.</summary>
    public IReadOnlyList<ModbusMaster> Lines => _lines.Masters;

    public IDeviceConnection Create(JsonObject protocolConfig) => new ModbusConnection(ModbusEndpoint.Read(protocolConfig), _lines, _log);
}
