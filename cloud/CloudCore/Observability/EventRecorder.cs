using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Observability;

/// <summary>Writes core/v1 Events about objects, where the user looks for trouble (<c>kubectl describe</c>). A repeat within ten minutes raises
/// the count of the event there is. Never waits: when 256 events wait, the oldest is dropped and counted.</summary>
internal sealed class EventRecorder : IAsyncDisposable
{
    private const int RecentMax = 1024;
    private static readonly TimeSpan s_repeat = TimeSpan.FromMinutes(10);

    private readonly IKubeClient _kube;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Channel<Entry> _queue;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private readonly OrderedDictionary<(string Uid, string Reason, string Text), Recent> _recent = [];

    public EventRecorder(IKubeClient kube, TimeProvider time, HubMetrics metrics, ILogger logger)
    {
        _kube = kube;
        _time = time;
        _logger = logger;
        _queue = Channel.CreateBounded<Entry>(
            new BoundedChannelOptions(256) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true }, _ => metrics.EventDropped());
        _loop = Task.Run(() => RunAsync(_stop.Token));
    }

    /// <summary>An event of type Warning about <paramref name="about"/>, which must carry kind and apiVersion or be a Device.</summary>
    public void Warn(JsonObject about, string reason, string text) => _queue.Writer.TryWrite(new Entry(about, reason, text));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var entry in _queue.Reader.ReadAllAsync(cancellationToken))
            {
                try
                {
                    await WriteAsync(entry, cancellationToken);
                }
                catch (KubeException e)
                {
                    EventLog.NotWritten(_logger, entry.Reason, entry.About.Namespace(), entry.About.Name(), e.Message);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    private async Task WriteAsync(Entry entry, CancellationToken cancellationToken)
    {
        var now = _time.GetUtcNow();
        var ns = entry.About.Namespace() is { Length: > 0 } own ? own : "default";
        var key = (entry.About.Uid(), entry.Reason, entry.Text);
        EventLog.Warned(_logger, ns, entry.About.Name(), entry.Reason, entry.Text);
        if (_recent.TryGetValue(key, out var recent) && now - recent.At < s_repeat)
        {
            recent.Count++;
            recent.At = now;
            var patch = new JsonObject { ["count"] = recent.Count, ["lastTimestamp"] = KubeObject.Time(now) };
            try
            {
                await _kube.PatchAsync(ResourceKind.Event, ns, recent.Name, PatchKind.Merge, JsonBytes.Of(patch), null, cancellationToken);
                return;
            }
            catch (KubeException e) when (e.Code == 404)
            {
                // Somebody deleted it; it is written anew.
            }
        }

        var stem = entry.About.Name();
        var name = $"{(stem.Length > 200 ? stem[..200] : stem)}.{Guid.NewGuid():N}";
        await _kube.CreateAsync(ResourceKind.Event, ns, new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Event",
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = ns },
            ["involvedObject"] = new JsonObject
            {
                ["apiVersion"] = entry.About.ApiVersion() is { Length: > 0 } version ? version : ResourceKind.Device.ApiVersion,
                ["kind"] = entry.About.Kind() is { Length: > 0 } kind ? kind : ResourceKind.Device.Kind,
                ["namespace"] = entry.About.Namespace(),
                ["name"] = entry.About.Name(),
                ["uid"] = entry.About.Uid(),
                ["resourceVersion"] = entry.About.ResourceVersion(),
            },
            ["type"] = "Warning",
            ["reason"] = entry.Reason,
            ["message"] = entry.Text.Length > 1024 ? entry.Text[..1024] : entry.Text,
            ["source"] = new JsonObject { ["component"] = "cloudcore" },
            ["reportingComponent"] = "cloudcore",
            ["reportingInstance"] = System.Net.Dns.GetHostName(),
            ["firstTimestamp"] = KubeObject.Time(now),
            ["lastTimestamp"] = KubeObject.Time(now),
            ["count"] = 1,
        }, cancellationToken);
        _recent[key] = new Recent(name) { At = now, Count = 1 };
        if (_recent.Count > RecentMax)
            _recent.RemoveAt(0);
    }

    private sealed record Entry(JsonObject About, string Reason, string Text);

    private sealed class Recent(string name)
    {
        public string Name { get; } = name;

        public int Count { get; set; }

        public DateTimeOffset At { get; set; }
    }
}

/// <summary>Ids 1200-1209.</summary>
internal static partial class EventLog
{
    [LoggerMessage(1200, LogLevel.Warning, "{Namespace}/{Name}: {Reason}: {Text}")]
    public static partial void Warned(ILogger logger, string @namespace, string name, string reason, string text);

    [LoggerMessage(1201, LogLevel.Warning, "the event {Reason} about {Namespace}/{Name} could not be written: {Error}")]
    public static partial void NotWritten(ILogger logger, string reason, string @namespace, string name, string error);
}
