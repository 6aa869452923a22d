using Edge.Protocol.Modbus;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Modbus;

/// <summary>One slave. Its line may be shared with others.</summary>
internal sealed class ModbusConnection : IDeviceConnection
{
    private readonly ModbusEndpoint _endpoint;
    private readonly ModbusLines _lines;
    private readonly ILogger _log;
    private readonly ModbusMaster _master;
    private readonly List<PlannedRead> _plan = [];
    private ReadSpan[] _spans = [];
    private int _gap;
    private bool _joins = true;

    public ModbusConnection(ModbusEndpoint endpoint, ModbusLines lines, ILogger log)
    {
        _endpoint = endpoint;
        _lines = lines;
        _log = log;
        _gap = endpoint.Gap;
        _master = lines.Acquire(endpoint.Line, endpoint.Trace);
        Unit = new ModbusUnit(_master, endpoint.UnitId, endpoint.Timing);
    }

    internal ModbusUnit Unit { get; }

    /// <summary>The slave has function 22 as far as is known.</summary>
    internal bool HasMaskWrite { get; set; } = true;

    public IPropertyAccess Bind(PropertyInfo property)
    {
        var visitor = ModbusVisitor.Read(property);
        return new ModbusProperty(this, visitor, visitor.Verify ?? _endpoint.Verify);
    }

    public Task ConnectAsync(CancellationToken cancellationToken)
        => TalkAsync(async () =>
        {
            await _master.OpenAsync(_endpoint.Timing.Timeout, cancellationToken);
            return true;
        });

    /// <summary>Reads in the fewest requests. When a slave refuses a joined one, its properties are read one by one: those that it refuses
    /// again stay alone, and when it refuses none the joining was at fault, and is given up step by step.</summary>
    public async Task ReadAsync(IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        if (_spans.Length < properties.Count)
            _spans = new ReadSpan[properties.Count];
        var joined = 0;
        for (var i = 0; i < properties.Count; i++)
        {
            var property = (ModbusProperty)properties[i];
            if (_joins && !property.Alone)
                _spans[joined++] = property.Visitor.ToSpan(i);
            else
                await ReadAloneAsync(property, i, readings, cancellationToken);
        }

        ReadPlan.Make(_spans.AsSpan(0, joined), _gap, _plan, _endpoint.RegistersMax, _endpoint.BitsMax);
        foreach (var read in _plan)
        {
            try
            {
                var request = new ModbusRequest(read.Table, read.Address, read.Count, default);
                var data = await TalkAsync(() => _master.SendAsync(Unit.Unit, request, Unit.Timing, cancellationToken));
                for (var i = read.First; i < read.First + read.Length; i++)
                    readings[_spans[i].Tag] = ((ModbusProperty)properties[_spans[i].Tag]).Visitor.Decode(data.Span, _spans[i].Address - read.Address);
            }
            catch (DeviceRefusedException e) when (read.Length == 1)
            {
                readings[_spans[read.First].Tag] = new PropertyReading(null, e.Message);
            }
            catch (DeviceRefusedException e)
            {
                await ReadApartAsync(read, e.Message, properties, readings, cancellationToken);
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        _lines.Release(_master, _endpoint.Trace);
        return ValueTask.CompletedTask;
    }

    /// <summary>Runs one request and sorts its failures into "not there" and "refused".</summary>
    internal static async Task<T> TalkAsync<T>(Func<Task<T>> request)
    {
        try
        {
            return await request();
        }
        catch (ModbusLinkException e)
        {
            throw new DeviceUnreachableException(e.Reason, e);
        }
        catch (ModbusPeerException e) when (e.Code is ModbusExceptionCode.GatewayPathUnavailable or ModbusExceptionCode.GatewayTargetFailedToRespond)
        {
            throw new DeviceUnreachableException(e.Message, e);
        }
        catch (ModbusPeerException e)
        {
            throw new DeviceRefusedException(e.Message, e);
        }
    }

    private async Task ReadApartAsync(
        PlannedRead read, string reason, IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        var refused = 0;
        for (var i = read.First; i < read.First + read.Length; i++)
        {
            var property = (ModbusProperty)properties[_spans[i].Tag];
            await ReadAloneAsync(property, _spans[i].Tag, readings, cancellationToken);
            if (readings[_spans[i].Tag].Value is null)
            {
                property.Alone = true;
                refused++;
            }
        }

        string remedy;
        if (refused > 0)
        {
            remedy = $"the {refused} that it refuses alone are read alone";
        }
        else if (_gap > 0)
        {
            _gap = 0;
            remedy = "only registers that touch are read together";
        }
        else
        {
            _joins = false;
            remedy = "every property is read alone";
        }

        ModbusLog.JoinRefused(_log, Unit.Unit, _endpoint.Line.Key, read.Count, read.Address, reason, remedy);
    }

    private static async Task ReadAloneAsync(ModbusProperty property, int index, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        try
        {
            readings[index] = new PropertyReading(await property.ReadAsync(cancellationToken));
        }
        catch (DeviceRefusedException e)
        {
            readings[index] = new PropertyReading(null, e.Message);
        }
    }
}
