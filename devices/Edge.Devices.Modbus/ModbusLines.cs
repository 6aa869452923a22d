using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Modbus;

/// <summary>The lines of a mapper: devices on one serial line, or behind one address, share a master. Safe for many threads.</summary>
internal sealed class ModbusLines(TimeProvider time, Random random, ILogger log)
{
    private const int TraceEntries = 256;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Line> _lines = new(StringComparer.Ordinal);

    /// <summary>The lines that are in use; a snapshot.</summary>
    public IReadOnlyList<ModbusMaster> Masters
    {
        get
        {
            lock (_gate)
                return [.. _lines.Values.Select(line => line.Master)];
        }
    }

    /// <summary>Takes a share of a line; give it back with <see cref="Release"/>.</summary>
    /// <exception cref="DeviceConfigException">Another device uses the line with other settings.</exception>
    public ModbusMaster Acquire(ModbusLineSettings settings, bool trace)
    {
        lock (_gate)
        {
            if (!_lines.TryGetValue(settings.Key, out var line))
                _lines[settings.Key] = line = new Line(new ModbusMaster(settings, time, random));
            else if (!line.Master.Settings.IsSameLine(settings))
                throw new DeviceConfigException($"protocol.configData asks for {settings}, but other devices use that line as {line.Master.Settings}; give all of them the same settings");
            line.Users++;
            Trace(line, trace ? 1 : 0);
            return line.Master;
        }
    }

    /// <summary>Gives a share back; the last one closes the line.</summary>
    public void Release(ModbusMaster master, bool trace)
    {
        lock (_gate)
        {
            var line = _lines[master.Settings.Key];
            Trace(line, trace ? -1 : 0);
            if (--line.Users > 0)
                return;
            _lines.Remove(master.Settings.Key);
        }

        master.Dispose();
    }

    /// <summary>A device that has a share begins or ends to ask for the trace.</summary>
    public void Retrace(ModbusMaster master, bool before, bool trace)
    {
        lock (_gate)
            Trace(_lines[master.Settings.Key], (trace ? 1 : 0) - (before ? 1 : 0));
    }

    // One more, or one less, asks for the trace.
    private void Trace(Line line, int change)
    {
        line.Tracers += change;
        if (line.Tracers == 0)
        {
            line.Master.Trace = null;
        }
        else if (line.Master.Trace is null)
        {
            line.Master.Trace = new ModbusTrace(TraceEntries, time);
            line.Master.Trace.Added += entry => ModbusLog.Frame(log, line.Master.Settings.Key, entry.ToString());
        }
    }

    private sealed class Line(ModbusMaster master)
    {
        public ModbusMaster Master { get; } = master;

        public int Users { get; set; }

        public int Tracers { get; set; }
    }
}
