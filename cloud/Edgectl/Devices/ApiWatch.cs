using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Ctl.Devices;

/// <summary>A change with the time at which it was seen here.</summary>
internal sealed record SeenChange(ResourceKind Kind, ChangeType Type, JsonObject Object, DateTimeOffset Seen);

/// <summary>Follows some kinds of the API by list and watch, and hands out every change in one queue.</summary>
/// <param name="kube">The API.</param>
/// <param name="everyChange">True: the queue has every change, and a slow reader holds up the watch, so kinds of many objects are not for it. False: the queue holds
/// one change at most, which says no more than "look at the informers".</param>
/// <param name="time">Clock of the times seen.</param>
/// <remarks>Disconnects are waited out.</remarks>
internal sealed class ApiWatch(IKubeClient kube, bool everyChange, TimeProvider time) : IAsyncDisposable
{
    private const int ChangesMax = 1024;

    // The informers wait up to 30 s between tries.
    private static readonly TimeSpan s_troubleKept = TimeSpan.FromSeconds(35);

    private readonly List<Informer> _informers = [];
    private readonly Random _random = new();
    private readonly TroubleLog _log = new(time);
    private readonly Channel<SeenChange> _changes = Channel.CreateBounded<SeenChange>(
        everyChange ? new BoundedChannelOptions(ChangesMax) { FullMode = BoundedChannelFullMode.Wait } : new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public ChannelReader<SeenChange> Changes => _changes.Reader;

    /// <summary>Why the API cannot be followed at the moment; null when it can.</summary>
    public string? Trouble => _log.Last is { } last && time.GetElapsedTime(last.At) < s_troubleKept ? last.Text : null;

    /// <summary>Starts to follow a kind; completes when its first list is there.</summary>
    /// <param name="kind">What.</param>
    /// <param name="namespace">Null for all.</param>
    /// <param name="name">Null for all.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<Informer> FollowAsync(ResourceKind kind, string? @namespace, string? name, CancellationToken cancellationToken)
    {
        var informer = new Informer(
            kube, kind, @namespace, new ListOptions(FieldSelector: name is null ? "" : $"metadata.name={name}"), time, new Random(_random.Next()), _log);
        _informers.Add(informer);
        informer.Start((change, token) =>
        {
            _log.Clear();
            return _changes.Writer.WriteAsync(new SeenChange(kind, change.Type, change.Object, time.GetUtcNow()), token);
        });

        await informer.Synced.WaitAsync(cancellationToken);
        return informer;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var informer in _informers)
            await informer.DisposeAsync();
    }

    // The informers tell of disconnects by logging; a command shows them where its user looks.
    private sealed class TroubleLog(TimeProvider time) : ILogger
    {
        private volatile Said? _last;

        public Said? Last => _last;

        public void Clear() => _last = null;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                _last = new Said(formatter(state, exception), time.GetTimestamp());
        }
    }

    internal sealed record Said(string Text, long At);
}
