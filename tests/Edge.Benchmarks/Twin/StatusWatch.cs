using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Twin;

/// <summary>What a watch of the DeviceStatus objects shows: when each report arrived, and the newest value of every device's first property.</summary>
internal sealed class StatusWatch(KubeClient client) : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, long> _newest = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Device, long Value), long> _sent = new();
    private readonly ConcurrentQueue<double> _latencies = new();
    private Task _task = Task.CompletedTask;

    /// <summary>Milliseconds from each report to the watch that showed it, or a newer one of its device; takes them.</summary>
    public List<double> TakeLatencies()
    {
        var taken = new List<double>();
        while (_latencies.TryDequeue(out var one))
            taken.Add(one);
        return taken;
    }

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var list = await client.ListAsync(ResourceKind.DeviceStatus, "default", new ListOptions(), cancellationToken);
        _task = RunAsync(list.ResourceVersion);
    }

    /// <summary>A report is about to go out.</summary>
    public void Sending(string device, long value) => _sent[(device, value)] = Stopwatch.GetTimestamp();

    public long Newest(string device) => _newest.GetValueOrDefault(device, -1);

    /// <summary>Samples that the status has counted.</summary>
    public long Count(string device) => _counts.GetValueOrDefault(device);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _task;
        _stop.Dispose();
    }

    private async Task RunAsync(string version)
    {
        try
        {
            while (true)
            {
                await foreach (var change in client.WatchAsync(ResourceKind.DeviceStatus, "default", version, new ListOptions(), _stop.Token))
                {
                    var now = Stopwatch.GetTimestamp();
                    version = change.Object.ResourceVersion();
                    var device = change.Object.Name();
                    if (long.TryParse(change.Object.At("status", "extensions", "history", "p0", "count")?.ToJsonString(), CultureInfo.InvariantCulture, out var count))
                        _counts[device] = count;
                    var text = change.Object.Items("status", "twins").FirstOrDefault(twin => twin.Text("propertyName") == "p0").Text("reported", "value");
                    if (!long.TryParse(text, CultureInfo.InvariantCulture, out var value))
                        continue;
                    for (var one = Newest(device) + 1; one <= value; one++)
                    {
                        if (_sent.TryRemove((device, one), out var at))
                            _latencies.Enqueue(Stopwatch.GetElapsedTime(at, now).TotalMilliseconds);
                    }

                    _newest[device] = value;
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The bench is over.
        }
    }
}
