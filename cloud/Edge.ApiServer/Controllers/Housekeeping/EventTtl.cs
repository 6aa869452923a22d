using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Housekeeping;

/// <summary>Deletes Events an hour after they were last seen, as Kubernetes does.</summary>
internal sealed partial class EventTtl : IAsyncDisposable
{
    public static readonly TimeSpan Age = TimeSpan.FromHours(1);
    private static readonly TimeSpan s_every = TimeSpan.FromMinutes(5);

    private readonly IKubeClient _client;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;

    public EventTtl(IKubeClient client, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _time = time;
        _logger = logger;
        _loop = new ReconcileLoop("event age", PassAsync, time, random, logger);
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    /// <summary>Whether the Event is older than <see cref="Age"/>. One without any readable time is.</summary>
    public static bool IsOld(JsonObject obj, DateTimeOffset now)
    {
        DateTimeOffset? last = null;
        foreach (var text in new[] { obj.Text("series", "lastObservedTime"), obj.Text("lastTimestamp"), obj.Text("eventTime"), obj.Text("metadata", "creationTimestamp") })
        {
            if (DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) && (last is null || time > last))
                last = time;
        }

        return last is null || now - last > Age;
    }

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        var now = _time.GetUtcNow();
        var count = 0;
        foreach (var old in (await _client.ListAsync(ResourceKind.Event, null, new ListOptions(), token)).Items.Where(item => IsOld(item, now)))
        {
            try
            {
                await _client.DeleteAsync(ResourceKind.Event, old.Namespace(), old.Name(), Preconditions.Uid(old), token);
                count++;
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                // Gone already.
            }
        }

        if (count > 0)
            LogDeleted(_logger, count);
        return s_every;
    }

    [LoggerMessage(3270, LogLevel.Debug, "{Count} events older than an hour were deleted")]
    private static partial void LogDeleted(ILogger logger, int count);
}
