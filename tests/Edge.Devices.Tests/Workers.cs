using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
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
    public static DeviceWorker Start(JsonObject device, JsonObject model, IDeviceDriver driver, Reports reports)
        => new(DmiConvert.ToDevice(device, model), DmiConvert.ToModel(model), driver, reports, TimeProvider.System, new Random(6), NullLogger.Instance);
}
