using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>What workers report, for tests without EdgeCore.</summary>
internal sealed class Reports : IDeviceReporter
{
    private readonly Channel<(string Device, string State, Twin? Twin)> _seen = Channel.CreateUnbounded<(string, string, Twin?)>();

    private readonly Channel<bool> _refused = Channel.CreateUnbounded<bool>();
    private readonly Dictionary<(string, string), int> _counts = [];

    /// <summary>Takes no report of values.</summary>
    public bool IsRefusing { get; set; }

    /// <summary>Bytes of the largest report that was taken.</summary>
    public int SizeMax { get; private set; }

    /// <summary>Waits until so many reports were refused.</summary>
    public async Task RefusedAsync(int count)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        for (var i = 0; i < count; i++)
            await _refused.Reader.ReadAsync(limit.Token);
    }

    /// <summary>Reports of a property so far.</summary>
    public int Count(string device, string property)
    {
        lock (_counts)
            return _counts.GetValueOrDefault((device, property));
    }

    public async Task<Twin> TwinAsync(string what, string device, string property, Func<Twin, bool> want)
        => (await NextAsync(what, one => one.Device == device && one.Twin?.PropertyName == property && want(one.Twin))).Twin!;

    public Task StateAsync(string device, string state) => NextAsync($"{device} {state}", one => one.Device == device && one.State == state);

    /// <summary>What was reported and nobody has looked at yet.</summary>
    public IReadOnlyList<(string Device, string State, Twin? Twin)> Take()
    {
        var taken = new List<(string Device, string State, Twin? Twin)>();
        while (_seen.Reader.TryRead(out var one))
            taken.Add(one);
        return taken;
    }

    public Task<bool> ReportStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken)
    {
        if (IsRefusing)
        {
            _refused.Writer.TryWrite(true);
            return Task.FromResult(false);
        }

        SizeMax = Math.Max(SizeMax, request.CalculateSize());
        foreach (var twin in request.ReportedDevice.Twins)
        {
            lock (_counts)
                _counts[(request.DeviceName, twin.PropertyName)] = _counts.GetValueOrDefault((request.DeviceName, twin.PropertyName)) + 1;
            _seen.Writer.TryWrite((request.DeviceName, "", twin));
        }

        return Task.FromResult(true);
    }

    public Task<bool> ReportStateAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken)
    {
        _seen.Writer.TryWrite((request.DeviceName, request.State, null));
        return Task.FromResult(true);
    }

    private async Task<(string Device, string State, Twin? Twin)> NextAsync(string what, Func<(string Device, string State, Twin? Twin), bool> want)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            while (true)
            {
                var one = await _seen.Reader.ReadAsync(limit.Token);
                if (want(one))
                    return one;
            }
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"{what} was not reported");
        }
    }
}

internal static class Workers
{
    /// <summary>A running worker of a device and model as manifests.</summary>
    public static DeviceWorker Start(JsonObject device, JsonObject model, IDeviceDriver driver, Reports reports, TimeProvider? time = null)
        => new(DmiConvert.ToDevice(device, model), DmiConvert.ToModel(model), driver, reports, time ?? TimeProvider.System, new Random(6), NullLogger.Instance);
}

/// <summary>A worker's clock: the test moves it on to what the worker waits for, once it waits.</summary>
internal sealed class WorkerTime : TimeProvider
{
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch.AddDays(20_000));
    private readonly Channel<TimeSpan> _waits = Channel.CreateUnbounded<TimeSpan>();

    public override long TimestampFrequency => _time.TimestampFrequency;

    public override long GetTimestamp() => _time.GetTimestamp();

    public override DateTimeOffset GetUtcNow() => _time.GetUtcNow();

    public void Advance(TimeSpan step) => _time.Advance(step);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = _time.CreateTimer(callback, state, dueTime, period);
        _waits.Writer.TryWrite(dueTime);
        return timer;
    }

    /// <summary>Until the worker has done what is due, and waits; returns for how long.</summary>
    public async Task<TimeSpan> IdleAsync()
    {
        try
        {
            return await _waits.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(60));
        }
        catch (TimeoutException)
        {
            throw new TimeoutException("the worker did not come to wait for anything");
        }
    }

    /// <summary>Moves on by this much, or a little less, from wait to wait; the worker waits before and after. Returns for how long it does then.</summary>
    public async Task<TimeSpan> RunAsync(TimeSpan idle, TimeSpan span)
    {
        for (var end = GetUtcNow() + span; GetUtcNow() + idle <= end; idle = await IdleAsync())
            Advance(idle);
        return idle;
    }
}
