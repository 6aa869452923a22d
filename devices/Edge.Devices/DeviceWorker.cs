using System.Threading.Channels;
using Edge.Devices.Push;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Microsoft.Extensions.Logging;

namespace Edge.Devices;

/// <summary>The way of reports to EdgeCore. False when it did not take the report; it is then made again with newer values.</summary>
internal interface IDeviceReporter
{
    Task<bool> ReportStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken);

    Task<bool> ReportStateAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken);
}

/// <summary>Serves one device: polls each property at its collectCycle, reports at its reportCycle in one batch, writes desired values
/// and reads them back, and reconnects with growing delays. One task; nothing here is shared.</summary>
internal sealed partial class DeviceWorker : IAsyncDisposable
{
    private const long HeartbeatMs = 10_000;
    private const long ConnectDelayMsFirst = 200;
    private const long ConnectDelayMsMax = 15_000;
    private const long ReportDelayMsMax = 5_000;

    // While a device is away: garbage says something else each time.
    private const long ReasonMsMin = 60_000;

    // Samples of a report, and their characters: a further property waits where there are so many already. With what one property may hold on top that is at most 3000 of the 10,000 samples that
    // CloudCore takes in one message, and 9 of its 16 MiB, though JSON may write six bytes for a character.
    private const int ReportSamplesMax = 2000;
    private const int ReportSizeMax = 512 * 1024;
    private readonly IDeviceDriver _driver;
    private readonly IDeviceReporter _reporter;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _log;
    private readonly PushHub? _push;
    private readonly string _id;
    private readonly Lock _gate = new();
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private readonly long _beganMs;
    private (Device Device, DeviceModel? Model) _wanted;
    private (Device Device, DeviceModel? Model)? _applied;
    private IReadOnlyDictionary<string, PropertyState> _properties = new Dictionary<string, PropertyState>();
    private readonly List<PropertyState> _due = [];
    private readonly List<IPropertyAccess> _dueAccesses = [];
    private PropertyReading[] _readings = [];
    private IDeviceConnection? _connection;
    private string _configError = "";
    private long _nextConfigMs;
    private bool _connected;
    private bool _hasArrived;
    private string _offlineReason = "";
    private long _reasonMs;
    private int _connectFailures;
    private long _nextConnectMs;
    private int _reportFailures;
    private long _nextReportMs;
    private string _state = "";
    private long _nextStateMs;

    public DeviceWorker(
        Device device, DeviceModel? model, IDeviceDriver driver, IDeviceReporter reporter, TimeProvider time, Random random, ILogger log, PushHub? push = null)
    {
        _push = push;
        _wanted = (device, model);
        _id = $"{device.Namespace}/{device.Name}";
        _driver = driver;
        _reporter = reporter;
        _time = time;
        _random = random;
        _log = log;
        _beganMs = NowMs();
        _loop = Task.Run(RunAsync);
    }

    /// <summary>The manifest that is served, or is about to be.</summary>
    public Device Device
    {
        get
        {
            lock (_gate)
                return _wanted.Device;
        }
    }

    /// <summary>The values as they stand; a snapshot.</summary>
    public IReadOnlyList<Twin> Twins => [.. _properties.Values.Select(property => property.ToTwin(NowMs(), whole: true))];

    /// <summary>The state that EdgeCore was told last; empty before the first.</summary>
    public string ReportedState => _state;

    /// <summary>What was done so far.</summary>
    public DeviceFigures Figures { get; } = new();

    /// <summary>Serves a newer manifest. The same one changes nothing.</summary>
    public void Update(Device device, DeviceModel? model)
    {
        lock (_gate)
            _wanted = (device, model);
        _wake.Writer.TryWrite(true);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            while (true)
            {
                try
                {
                    await WorkAsync(_stop.Token);
                }
                catch (Exception e) when (e is not OperationCanceledException || !_stop.IsCancellationRequested)
                {
                    // A fault of the program, not of the device: this device restarts, the others go on.
                    DeviceLog.WorkerFailed(_log, _id, e);
                    _applied = null;
                    await Task.Delay(TimeSpan.FromSeconds(5), _time, _stop.Token);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed.
        }
        finally
        {
            while (_commands.Reader.TryRead(out var command))
                command.Done.TrySetException(new DeviceUnreachableException($"device {_id} is no longer served"));
            if (_connection is not null)
                await _connection.DisposeAsync();
        }
    }

    private void Arrived()
    {
        Volatile.Write(ref _hasArrived, true);
        _wake.Writer.TryWrite(true);
    }

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await ApplyAsync();
            await ServeCommandsAsync(cancellationToken);
            if (_connection is not null)
                await TouchDeviceAsync(_connection, cancellationToken);
            await ReportAsync(cancellationToken);
            await WaitAsync(cancellationToken);
        }
    }

    // Takes over the newest manifest: a new connection only when the protocol's config changed.
    private async Task ApplyAsync()
    {
        (Device Device, DeviceModel? Model) wanted;
        lock (_gate)
            wanted = _wanted;
        var isRefused = _configError.Length > 0;
        if (_applied is { } applied && applied.Device.Equals(wanted.Device) && Equals(applied.Model, wanted.Model) && (!isRefused || NowMs() < _nextConfigMs))
            return;
        if (_applied is null || isRefused || !Equals(_applied.Value.Device.Spec?.Protocol, wanted.Device.Spec?.Protocol))
        {
            var problems = new List<string>();
            var config = DmiConvert.ToJson(wanted.Device.Spec?.Protocol?.ConfigData, problems);
            try
            {
                if (problems.Count > 0)
                    throw new DeviceConfigException($"protocol {string.Join("; ", problems)}");
                if (_connection?.TryChange(config) != true)
                {
                    await DisconnectAsync();
                    _connection = _driver.Create(config);
                    _connection.WhenArrived(Arrived);
                }
            }
            catch (DeviceConfigException e)
            {
                // It may be another device's that stands in the way (of a shared line, say), and that is changed after this one.
                await DisconnectAsync();
                (_configError, _nextConfigMs) = (e.Message, NowMs() + HeartbeatMs);
            }
        }

        var now = NowMs();
        var properties = new Dictionary<string, PropertyState>(StringComparer.Ordinal);
        foreach (var property in wanted.Device.Spec?.Properties ?? [])
        {
            var model = wanted.Model?.Spec?.Properties.FirstOrDefault(one => one.Name == property.Name);
            var state = properties[property.Name] = new PropertyState(property, model, now);
            _properties.TryGetValue(property.Name, out var old);
            Bind(state, old);
            BindPush(state);
            if (old is not null)
                state.Inherit(old);
            if (!_connected && _connectFailures > 0)
                state.Lost(_offlineReason);
            state.WritePending = state.Desired is not null && state.Access is not null && (old is null || old.WritePending || old.Desired != state.Desired);
        }

        _properties = properties;
        _applied = wanted;
    }

    private async Task DisconnectAsync()
    {
        if (_connection is not null)
            await _connection.DisposeAsync();
        (_connection, _connected, _configError, _nextConnectMs, _connectFailures) = (null, false, "", 0, 0);
    }

    private void Bind(PropertyState state, PropertyState? old)
    {
        try
        {
            if (_connection is null)
                throw new DeviceConfigException(_configError);
            if (state.Refusal.Length > 0)
                throw new DeviceConfigException(state.Refusal);
            state.Access = _connection.Bind(state.Info);
        }
        catch (DeviceConfigException e)
        {
            state.Refusal = e.Message;
            state.Dirty = true;
            if (old?.Refusal != e.Message)
                DeviceLog.PropertyRefused(_log, _id, state.Info.Name, e.Message);
        }
    }

    // Without a target that can be used the property is served all the same, and says why its samples stay here.
    private void BindPush(PropertyState state)
    {
        if (state.Property.PushMethod is null)
            return;
        try
        {
            if (_push is null)
                throw new DeviceConfigException("pushMethod: this mapper does not push");
            state.Targets = _push.Open(state.Property.PushMethod);
        }
        catch (DeviceConfigException e)
        {
            state.PushError = e.Message;
            DeviceLog.PropertyRefused(_log, _id, state.Info.Name, e.Message);
        }
    }

    private async Task TouchDeviceAsync(IDeviceConnection connection, CancellationToken cancellationToken)
    {
        // A device that says something is there: no waiting for the next try then.
        if (!_connected && NowMs() < _nextConnectMs && !Volatile.Read(ref _hasArrived))
            return;
        Volatile.Write(ref _hasArrived, false);
        try
        {
            var isNew = !_connected;
            if (isNew)
            {
                await connection.ConnectAsync(cancellationToken);
                _connected = true;
            }

            // A device that was away may have lost what was written to it.
            if (connection.TakeStarted() || isNew)
            {
                foreach (var property in _properties.Values)
                    property.WritePending |= property.Desired is not null && property.Access is not null;
            }

            foreach (var property in _properties.Values)
            {
                if (property.Access is not { } access)
                    continue;
                if (property.WritePending && property.NextWriteMs <= NowMs())
                    await WriteAsync(property, access, cancellationToken);
            }

            await CollectAsync(connection, cancellationToken);

            // Only what was read or written proves that the device is there: a line may be open to one that is silent.
            _connectFailures = 0;
        }
        catch (DeviceUnreachableException e)
        {
            Lost(e);
        }
    }

    private void Lost(DeviceUnreachableException e)
    {
        Figures.Lost();
        _connected = false;
        _offlineReason = e.Message;
        var now = NowMs();
        if (_connectFailures == 0 || now - _reasonMs >= ReasonMsMin)
        {
            _reasonMs = now;
            foreach (var property in _properties.Values)
                property.Lost(e.Message);
        }

        _nextConnectMs = now + Delay(ConnectDelayMsFirst, ConnectDelayMsMax, _connectFailures++);
    }

    // All that is due at one time is read at once.
    private async Task CollectAsync(IDeviceConnection connection, CancellationToken cancellationToken)
    {
        var now = NowMs();
        _due.Clear();
        _dueAccesses.Clear();
        foreach (var property in _properties.Values)
        {
            if (property.Access is not { } access || (property.NextCollectMs > now && !access.HasArrived))
                continue;
            _due.Add(property);
            _dueAccesses.Add(access);
        }

        if (_due.Count == 0)
            return;
        if (_readings.Length < _due.Count)
            _readings = new PropertyReading[_due.Count];
        var began = _time.GetTimestamp();
        await connection.ReadAsync(_dueAccesses, _readings, cancellationToken);
        var took = _time.GetElapsedTime(began);
        now = NowMs();
        var (values, errors) = (0, 0);
        for (var i = 0; i < _due.Count; i++)
        {
            var property = _due[i];
            var reading = _readings[i];
            if (reading.Arrived is { } arrived)
            {
                SamplesLost(property, reading.Dropped);
                foreach (var sample in arrived)
                    Take(sample.Value, sample.Error, sample.AtMs);
                if (reading.Error != property.Error)
                    Failed(property, reading.Error);
            }
            else
            {
                Take(reading.Value, reading.Error, now);
            }

            void Take(string? value, string error, long atMs)
            {
                if (value is null)
                {
                    errors++;
                    if (property.Error != error)
                        Failed(property, error);
                    return;
                }

                values++;
                SamplesLost(property, property.Collected(value, atMs));
                foreach (var target in property.Targets)
                    target.Post(new Sample(Device.Namespace, Device.Name, property.Info.Name, property.Info.Type, value, atMs));
            }

            // A value that came by itself is as good as one that was asked for.
            property.NextCollectMs = property.NextCollectMs > now ? now + property.CollectCycleMs : NextInStep(property.CollectCycleMs, now);
        }

        Figures.Collected(values, errors, took);
    }

    private void Failed(PropertyState property, string error)
    {
        if (error.Length > 0)
            DeviceLog.PropertyRefused(_log, _id, property.Info.Name, error);
        property.Dirty = true;
        property.Error = error;
    }

    private void SamplesLost(PropertyState property, int count)
    {
        if (count == 0)
            return;
        Figures.SamplesLost(count);
        if (!property.IsLosing)
            DeviceLog.SamplesLost(_log, _id, property.Info.Name, SampleQueue<Sample>.CountMax);
        property.IsLosing = true;
    }

    // Cycles are counted from the worker's start, so that what was read out of turn (after a write, say) falls back into step with the others and is read with them
    // in one request. A cycle that was missed is not made up for: no burst after a pause. A clock that was set back only moves the steps.
    private long NextInStep(long cycleMs, long now) => now + cycleMs - ((((now - _beganMs) % cycleMs) + cycleMs) % cycleMs);

    private async Task ReportAsync(CancellationToken cancellationToken)
    {
        var now = NowMs();
        if (now < _nextReportMs)
            return;
        var (state, reason) = State();
        if (state != _state)
        {
            _state = state;
            _nextStateMs = 0;
            DeviceLog.State(_log, _id, state, reason.Length == 0 ? "" : $": {reason}");
        }

        if (state.Length > 0 && _nextStateMs <= now)
        {
            var (space, name) = Key();
            var request = new ReportDeviceStatesRequest { DeviceName = name, DeviceNamespace = space, State = state };
            if (!Taken(await _reporter.ReportStateAsync(request, cancellationToken)))
                return;
            // With the heartbeat, what is refused is said again, for an EdgeCore that has started anew.
            foreach (var property in _properties.Values)
                property.Dirty |= property.Refusal.Length > 0;
            _nextStateMs = now + HeartbeatMs;
        }

        var due = _properties.Values.Where(property => property.Dirty && property.NextReportMs <= now).ToList();
        if (due.Count == 0)
            return;
        var (deviceSpace, deviceName) = Key();
        var report = new ReportDeviceStatusRequest { DeviceName = deviceName, DeviceNamespace = deviceSpace, ReportedDevice = new DeviceStatus() };
        var (reported, samples, size) = (0, 0, 0);

        // What has no room goes with the next report, at once.
        for (; reported < due.Count && samples < ReportSamplesMax && size < ReportSizeMax; reported++)
        {
            var property = due[reported];
            (samples, size) = (samples + property.Waiting.Count, size + property.Waiting.Size);
            report.ReportedDevice.Twins.AddRange(property.ToTwins(now));
        }

        if (!Taken(await _reporter.ReportStatusAsync(report, cancellationToken)))
            return;
        foreach (var property in due.Take(reported))
            property.Reported(now);
    }

    private bool Taken(bool taken)
    {
        Figures.Reported(taken);
        _reportFailures = taken ? 0 : _reportFailures + 1;
        _nextReportMs = taken ? 0 : NowMs() + Delay(ConnectDelayMsFirst, ReportDelayMsMax, _reportFailures - 1);
        return taken;
    }

    private (string State, string Reason) State()
    {
        if (_configError.Length > 0)
            return ("unhealthy", _configError);
        if (!_connected)
            return _connectFailures == 0 ? ("", "") : ("offline", _offlineReason);
        var refused = _properties.Values.FirstOrDefault(property => property.Refusal.Length > 0);
        return refused is null ? ("online", "") : ("unhealthy", $"{refused.Info.Name}: {refused.Refusal}");
    }

    private async Task WaitAsync(CancellationToken cancellationToken)
    {
        var now = NowMs();
        var next = _state.Length > 0 ? _nextStateMs : now + HeartbeatMs;
        foreach (var property in _properties.Values)
        {
            if (property.Dirty)
                next = Math.Min(next, property.NextReportMs);
        }

        next = Math.Max(next, _nextReportMs);
        if (_connection is not null && !_connected)
            next = Math.Min(next, _nextConnectMs);
        if (_connected)
        {
            foreach (var property in _properties.Values.Where(property => property.Access is not null))
                next = Math.Min(next, property.WritePending ? Math.Min(property.NextWriteMs, property.NextCollectMs) : property.NextCollectMs);
        }

        if (next <= now)
            return;
        using var timer = new CancellationTokenSource(TimeSpan.FromMilliseconds(next - now), _time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            await _wake.Reader.ReadAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // Something is due.
        }
    }

    private (string Namespace, string Name) Key() => (_wanted.Device.Namespace, _wanted.Device.Name);

    // Exponential with full jitter, never below a tenth of the first step.
    private long Delay(long first, long max, int failures)
    {
        var step = Math.Min(max, first * Math.Pow(2, Math.Min(failures, 20)));
        lock (_random)
            return (long)Math.Max(first / 10.0, step * _random.NextDouble());
    }

    private long NowMs() => _time.GetUtcNow().ToUnixTimeMilliseconds();
}
