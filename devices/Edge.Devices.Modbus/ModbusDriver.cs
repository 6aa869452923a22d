using System.Text.Json.Nodes;
using Edge.Devices.Local;
using Edge.Protocol.Modbus;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Modbus;

/// <summary>Modbus slaves as devices: TCP, RTU on serial lines, RTU over TCP. Keys of the manifests are those of KubeEdge's Modbus mapper, with Edge's
/// own beside them (docs/modbus.md).</summary>
public sealed class ModbusDriver : IDeviceDriver
{
    private readonly ModbusLines _lines;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    public ModbusDriver(TimeProvider time, Random random, ILoggerFactory loggers)
    {
        _time = time;
        _log = loggers.CreateLogger<ModbusDriver>();
        _lines = new ModbusLines(time, random, _log);
    }

    public string Protocol => "modbus";

    /// <summary>The lines in use; a snapshot, for metrics.</summary>
    public IReadOnlyList<ModbusMaster> Lines => _lines.Masters;

    public void WriteMetrics(MetricsText text)
    {
        var lines = Lines;
        Family("modbus_requests_total", "counter", "Requests put on a line, retries among them.", line => line.Requests);
        Family("modbus_answers_total", "counter", "Good answers, exceptions among them.", line => line.Answers);
        Family("modbus_exceptions_total", "counter", "Requests that a slave refused.", line => line.Exceptions);
        Family("modbus_silences_total", "counter", "Requests that nobody answered in time.", line => line.Silences);
        Family("modbus_garbage_total", "counter", "Frames or bytes that were no answer to what was asked.", line => line.Garbage);
        Family("modbus_held_total", "counter", "Requests not sent: the unit rests, or too many wait.", line => line.Held);
        Family("modbus_opens_total", "counter", "Times a line was opened.", line => line.Opens);
        Family("modbus_waiting", "gauge", "Requests that wait for a line.", line => line.Waiting);

        void Family(string name, string type, string help, Func<ModbusLineCounters, long> value)
        {
            text.Family(name, type, help);
            foreach (var line in lines)
                text.Value(name, value(line.Counters), ("line", line.Settings.Key));
        }
    }

    public IDeviceConnection Create(JsonObject protocolConfig) => new ModbusConnection(ModbusEndpoint.Read(protocolConfig), _lines, _time, _log);
}
