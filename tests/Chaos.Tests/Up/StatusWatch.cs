using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Chaos.Tests;

/// <summary>Sees every version of every DeviceStatus at the API: what is reported now, and whether a value ever went back.</summary>
internal sealed class StatusWatch : IAsyncDisposable
{
    private readonly IKubeClient _api;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, long> _values = new();
    private readonly ConcurrentQueue<string> _broken = new();
    private readonly Task _running;
    private long _seen;

    public StatusWatch(IKubeClient api)
    {
        _api = api;
        _running = Task.Run(RunAsync);
    }

    /// <summary>By <c>device/property</c>.</summary>
    public IReadOnlyDictionary<string, long> Values => _values;

    /// <summary>Versions seen.</summary>
    public long Seen => Interlocked.Read(ref _seen);

    /// <summary>Values that went back, and statuses that vanished; empty when all is well.</summary>
    public IReadOnlyCollection<string> Broken => _broken;

    /// <summary>Throws what ended the watch.</summary>
    public void ThrowIfBroken()
    {
        if (_running.IsFaulted)
            _running.GetAwaiter().GetResult();
    }

    /// <summary>What of <paramref name="reported"/> is not at the API; empty when the API has, of each property, the newest acknowledged value or one that was tried after it.</summary>
    public IReadOnlyList<string> Missing(IReadOnlyDictionary<string, Reported> reported)
    {
        var missing = new List<string>();
        foreach (var (key, value) in reported)
        {
            var has = _values.TryGetValue(key, out var there);
            if (value.Acknowledged > 0 && (!has || there < value.Acknowledged))
                missing.Add($"{key}: {value.Acknowledged} was acknowledged, the API has {(has ? there : "nothing")}");
            else if (has && there > value.Tried)
                missing.Add($"{key}: {value.Tried} was the last value, the API has {there}");
        }

        return missing;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // ThrowIfBroken has said it
    }

    private async Task RunAsync()
    {
        try
        {
            var list = await _api.ListAsync(ResourceKind.DeviceStatus, "default", new ListOptions(), _stop.Token);
            foreach (var status in list.Items)
                Take(status);
            var version = list.ResourceVersion;
            while (true)
            {
                // The server ends a watch now and then; it goes on from the last version, so nothing is missed.
                await foreach (var change in _api.WatchAsync(ResourceKind.DeviceStatus, "default", version, new ListOptions(), _stop.Token))
                {
                    version = change.Object.ResourceVersion();
                    if (change.Type == WatchEventType.Deleted)
                        _broken.Enqueue($"the status of {change.Object.Name()} was deleted");
                    else if (change.Type != WatchEventType.Bookmark)
                        Take(change.Object);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped.
        }
    }

    private void Take(JsonObject status)
    {
        Interlocked.Increment(ref _seen);
        foreach (var twin in status.Items("status", "twins"))
        {
            if (twin.Text("reported", "value") is not { Length: > 0 } text)
                continue;
            var value = long.Parse(text, CultureInfo.InvariantCulture);
            _values.AddOrUpdate($"{status.Name()}/{twin.Text("propertyName")}", value, (key, before) =>
            {
                if (value < before)
                    _broken.Enqueue($"{key} went from {before} back to {value} (version {status.ResourceVersion()})");
                return value;
            });
        }
    }
}
