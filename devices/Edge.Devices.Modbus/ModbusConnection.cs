using System.Text.Json.Nodes;
using Edge.Protocol.Modbus;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Modbus;

/// <summary>One slave. Its line may be shared with others.</summary>
internal sealed class ModbusConnection : IDeviceConnection
{
    // What a slave was found not to do is tried again after this long: it may have been busy, or was replaced.
    private const long LearntMs = 600_000;

    private readonly ModbusLines _lines;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly ModbusMaster _master;
    private readonly List<PlannedRead> _plan = [];
    private readonly Dictionary<byte, IReadOnlyList<ModbusIdentity>> _identity = [];
    private ReadSpan[] _spans = [];
    private ModbusEndpoint _endpoint;
    private long _noGapUntilMs;
    private long _apartUntilMs;
    private long _noMaskUntilMs;
    private string _lastRemedy = "";

    public ModbusConnection(ModbusEndpoint endpoint, ModbusLines lines, TimeProvider time, ILogger log)
    {
        _endpoint = endpoint;
        _lines = lines;
        _time = time;
        _log = log;
        _master = lines.Acquire(endpoint.Line, endpoint.Trace);
        Unit = new ModbusUnit(_master, endpoint.UnitId, endpoint.Timing, endpoint.WriteMultiple);
    }

    internal ModbusUnit Unit { get; private set; }

    /// <summary>The slave has function 22 as far as is known.</summary>
    internal bool HasMaskWrite => NowMs() >= _noMaskUntilMs;

    /// <summary>Function 22 is not used any longer: for good when the slave said that it does not have it, else (it was silent, as slaves are about what they do not
    /// have, or for another reason) for some time.</summary>
    internal void LacksMaskWrite(bool isSure) => _noMaskUntilMs = isSure ? long.MaxValue : NowMs() + LearntMs;

    public IPropertyAccess Bind(PropertyInfo property)
    {
        var visitor = ModbusVisitor.Read(property);
        return new ModbusProperty(this, visitor, visitor.Verify ?? _endpoint.Verify);
    }

    public bool TryChange(JsonObject protocolConfig)
    {
        var endpoint = ModbusEndpoint.Read(protocolConfig);
        if (!endpoint.Line.Equals(_endpoint.Line) || endpoint.UnitId != _endpoint.UnitId)
            return false;
        _lines.Retrace(_master, _endpoint.Trace, endpoint.Trace);
        (_endpoint, Unit) = (endpoint, new ModbusUnit(_master, endpoint.UnitId, endpoint.Timing, endpoint.WriteMultiple));
        return true;
    }

    public Task ConnectAsync(CancellationToken cancellationToken)
        => TalkAsync(async () =>
        {
            _identity.Clear();
            await _master.OpenAsync(_endpoint.Timing.Timeout, cancellationToken);
            return true;
        });

    /// <summary>Reads in the fewest requests. When a slave refuses a joined one, its properties are read one by one: those that it refuses
    /// again stay alone, and when it refuses none, although it said that the joined one was wrong, the joining was at fault, and is given up step by step; all this for
    /// <see cref="LearntMs"/>. A slave that is busy is not asked more often for that.</summary>
    public async Task ReadAsync(IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        if (_spans.Length < properties.Count)
            _spans = new ReadSpan[properties.Count];
        var (now, joined) = (NowMs(), 0);
        for (var i = 0; i < properties.Count; i++)
        {
            var property = (ModbusProperty)properties[i];
            if (property.Visitor.Table != ModbusTable.DeviceIdentification && now >= _apartUntilMs && now >= property.AloneUntilMs)
                _spans[joined++] = property.Visitor.ToSpan(i);
            else
                await ReadAloneAsync(property, i, readings, cancellationToken);
        }

        ReadPlan.Make(_spans.AsSpan(0, joined), now >= _noGapUntilMs ? _endpoint.Gap : 0, _plan, _endpoint.RegistersMax, _endpoint.BitsMax);
        foreach (var read in _plan)
        {
            try
            {
                var request = new ModbusRequest(read.Table, read.Address, read.Count, default);
                var data = await TalkAsync(() => _master.SendAsync(Unit.Unit, request, Unit.Timing, cancellationToken));
                for (var i = read.First; i < read.First + read.Length; i++)
                    readings[_spans[i].Tag] = ((ModbusProperty)properties[_spans[i].Tag]).Visitor.Decode(data.Span, _spans[i].Address - read.Address);
            }
            catch (DeviceRefusedException e) when (read.Length == 1 || CodeOf(e) is ModbusExceptionCode.Acknowledge or ModbusExceptionCode.SlaveDeviceBusy)
            {
                for (var i = read.First; i < read.First + read.Length; i++)
                    readings[_spans[i].Tag] = new PropertyReading(null, e.Message);
            }
            catch (DeviceRefusedException e)
            {
                await ReadApartAsync(read, e, properties, readings, cancellationToken);
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

    /// <summary>An object of the slave's identification (function 43/14), which is asked for once after each connect.</summary>
    /// <exception cref="DeviceUnreachableException">The slave is not there.</exception>
    /// <exception cref="DeviceRefusedException">It has no identification, or not this object.</exception>
    internal async Task<string> IdentifyAsync(byte id, CancellationToken cancellationToken)
    {
        // Basic, regular or extended: some slaves have no more than the basic objects, and refuse to be asked for more.
        var code = (byte)(id <= 2 ? 1 : id < 0x80 ? 2 : 3);
        if (!_identity.TryGetValue(code, out var objects))
            _identity[code] = objects = await TalkAsync(() => Unit.ReadIdentificationAsync(code, cancellationToken));
        if (!objects.Any(one => one.Id == id))
            throw new DeviceRefusedException($"the slave's identification has no object {id}, but {string.Join(", ", objects.Select(one => one.Id))}");

        // Control characters would break logs and twins.
        return string.Concat(objects.First(one => one.Id == id).Value.Select(one => char.IsControl(one) ? '?' : one));
    }

    private async Task ReadApartAsync(
        PlannedRead read, DeviceRefusedException refusal, IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        var (refused, until) = (0, NowMs() + LearntMs);
        for (var i = read.First; i < read.First + read.Length; i++)
        {
            var property = (ModbusProperty)properties[_spans[i].Tag];
            await ReadAloneAsync(property, _spans[i].Tag, readings, cancellationToken);
            if (readings[_spans[i].Tag].Value is null)
            {
                property.AloneUntilMs = until;
                refused++;
            }
        }

        string remedy;
        if (refused > 0)
        {
            remedy = $"the {refused} that it refuses alone are read alone";
        }
        else if (CodeOf(refusal) is not (ModbusExceptionCode.IllegalFunction or ModbusExceptionCode.IllegalDataAddress or ModbusExceptionCode.IllegalDataValue))
        {
            // A failure of the moment says nothing about joining.
            return;
        }
        else if (_endpoint.Gap > 0 && NowMs() >= _noGapUntilMs)
        {
            _noGapUntilMs = until;
            remedy = "only registers that touch are read together";
        }
        else
        {
            _apartUntilMs = until;
            remedy = "every property is read alone";
        }

        // Said once, not each time that it is learnt anew.
        if (remedy != _lastRemedy)
            ModbusLog.JoinRefused(_log, Unit.Unit, _endpoint.Line.Key, read.Count, read.Address, refusal.Message, remedy);
        _lastRemedy = remedy;
    }

    private static ModbusExceptionCode CodeOf(DeviceRefusedException e) => (e.InnerException as ModbusPeerException)?.Code ?? ModbusExceptionCode.None;

    private long NowMs() => _time.GetUtcNow().ToUnixTimeMilliseconds();

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
