using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Common;
using Microsoft.Extensions.Logging;

namespace Edge.Kubernetes;

/// <summary>A local copy of one kind's objects, kept current by list and watch. One loop reads and calls the handler, so changes arrive in
/// order and one at a time; the cache already has the change when the handler sees it. What the handler throws is logged and the change counts as
/// delivered: keep retries in a queue of your own.</summary>
/// <remarks>Reads are safe on any thread. Objects are shared: never change one, <c>DeepClone()</c> first.</remarks>
public sealed partial class Informer : IAsyncDisposable
{
    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(0.2);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_shortWatch = TimeSpan.FromSeconds(1);

    private readonly IKubeClient _client;
    private readonly ResourceKind _kind;
    private readonly string? _namespace;
    private readonly ListOptions _options;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _logger;
    private readonly ConcurrentDictionary<(string Namespace, string Name), Held> _cache = new();
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _stop = new();
    private Func<ObjectChange, CancellationToken, ValueTask> _onChange = (_, _) => default;
    private Task? _loop;
    private string _resourceVersion = "";
    private int _failures;
    private Failure? _failure;

    /// <param name="client">The API.</param>
    /// <param name="kind">What to keep.</param>
    /// <param name="namespace">Null for all namespaces and for cluster-scoped kinds.</param>
    /// <param name="options">Selectors; an object that stops to match counts as deleted.</param>
    /// <param name="time">Clock of the backoff.</param>
    /// <param name="random">Jitter of the backoff; may be shared with other informers.</param>
    /// <param name="logger">Where failures of list and watch go.</param>
    public Informer(IKubeClient client, ResourceKind kind, string? @namespace, ListOptions options, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _kind = kind;
        _namespace = @namespace;
        _options = options with { WatchOpened = options.WatchOpened + Opened };
        _time = time;
        _random = random;
        _logger = logger;
    }

    /// <summary>What to keep of each object, to save memory; applied before caching and delivery. It must not change what it is given, which others may hold too: it answers that itself or a copy. Metadata's name, namespace, uid and
    /// resourceVersion must survive. Null keeps all.</summary>
    public Func<JsonObject, JsonObject>? Transform { get; init; }

    /// <summary>Whether <c>metadata.managedFields</c> are left out of what is cached and delivered; before <see cref="Transform"/>, and cheaper than there.</summary>
    public bool LeavesOutManagedFields { get; init; }

    /// <summary>Whether only the identity of each object is cached, where the handler keeps what it needs itself; the handler still gets the whole. <see cref="Get"/>, <see cref="List"/> and an object that
    /// went unseen then have apiVersion, kind and metadata's name, namespace, uid and resourceVersion, and <see cref="ObjectChange.Old"/> is null.</summary>
    public bool CachesIdentities { get; init; }

    public ResourceKind Kind => _kind;

    /// <summary>Since when list or watch have failed without a break, and why; null while they do not. A watch that the server has accepted is no failure, however quiet it is.</summary>
    public (TimeSpan For, string Why)? Failing => Volatile.Read(ref _failure) is { } failure ? (_time.GetElapsedTime(failure.Since), failure.Why) : null;

    /// <summary>When the server last accepted a watch; null before the first.</summary>
    public DateTimeOffset? WatchOpenedAt { get; private set; }

    /// <summary>Completes when the first list has been delivered; cancelled when the informer is disposed before.</summary>
    public Task Synced => _synced.Task;

    /// <summary>Starts to list and watch. Call once.</summary>
    public void Start(Func<ObjectChange, CancellationToken, ValueTask> onChange)
    {
        if (_loop is not null)
            throw new InvalidOperationException("The informer has been started already.");
        _onChange = onChange;
        _loop = Task.Run(() => RunAsync(_stop.Token));
    }

    /// <summary>The object, or null. Cluster-scoped objects have no namespace: null or empty.</summary>
    public JsonObject? Get(string? @namespace, string name) => _cache.TryGetValue((@namespace ?? "", name), out var held) ? ObjectOf((@namespace ?? "", name), held) : null;

    /// <summary>All objects of one moment, in no order.</summary>
    public IReadOnlyCollection<JsonObject> List() => [.. _cache.Select(pair => ObjectOf(pair.Key, pair.Value))];

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_loop is not null)
            await _loop;
        _synced.TrySetCanceled();
        _stop.Dispose();
    }

    private async Task RunAsync(CancellationToken token)
    {
        try
        {
            while (true)
            {
                try
                {
                    if (_resourceVersion.Length == 0)
                        await ListAsync(token);
                    await WatchAsync(token);
                    continue;
                }
                catch (KubeException e) when (e.Code == 410)
                {
                    LogExpired(_logger, _kind.Plural, _resourceVersion);
                    _resourceVersion = "";
                }
                catch (KubeException e)
                {
                    Failed(e.Message);
                    LogFailed(_logger, _kind.Plural, _resourceVersion.Length == 0 ? "list" : "watch", e.Code, e.Message);

                    // What the server does not know or does not want to serve from this version: start from a list.
                    if (e.Code is >= 400 and < 500 and not (401 or 403 or 429))
                        _resourceVersion = "";
                }
                catch (Exception e) when (!token.IsCancellationRequested)
                {
                    Failed(e.Message);
                    LogUnexpected(_logger, _kind.Plural, e);
                    _resourceVersion = "";
                }

                await BackOffAsync(token);
            }
        }
        catch (OperationCanceledException) when (token.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    private void Failed(string why) => Volatile.Write(ref _failure, new Failure(_failure?.Since ?? _time.GetTimestamp(), why));

    private void Opened()
    {
        Volatile.Write(ref _failure, null);
        WatchOpenedAt = _time.GetUtcNow();
    }

    private async Task ListAsync(CancellationToken token)
    {
        var list = await _client.ListAsync(_kind, _namespace, _options, token);
        var gone = _cache.Keys.ToHashSet();
        foreach (var item in list.Items)
        {
            gone.Remove((item.Namespace(), item.Name()));
            await PutAsync(new ObjectText(item), token);
        }

        foreach (var key in gone)
            await RemoveAsync(key, null, list.ResourceVersion, token);
        _resourceVersion = list.ResourceVersion;
        _synced.TrySetResult();
    }

    private async Task WatchAsync(CancellationToken token)
    {
        var began = _time.GetTimestamp();
        var any = false;
        await foreach (var change in _client.WatchAsync(_kind, _namespace, _resourceVersion, _options, token))
        {
            any = true;
            _failures = 0;
            Volatile.Write(ref _failure, null); // also where the client does not tell that a watch was opened
            var obj = change.Text;
            switch (change.Type)
            {
                case WatchEventType.Added or WatchEventType.Modified:
                    await PutAsync(obj, token);
                    break;
                case WatchEventType.Deleted:
                    await RemoveAsync((obj.Namespace, obj.Name), obj, "", token);
                    break;
            }

            if (obj.ResourceVersion is { Length: > 0 } version)
                _resourceVersion = version;
        }

        // A server that ends each watch at once must not be asked in a tight loop.
        if (!any && _time.GetElapsedTime(began) < s_shortWatch)
            await BackOffAsync(token);
        else
            _failures = 0;
    }

    private ObjectText Transformed(ObjectText obj)
    {
        if (LeavesOutManagedFields)
            obj = obj.WithoutManagedFields();
        return Transform is null ? obj : Transform(obj.Json) is var view && view == obj.Json ? obj : new ObjectText(view);
    }

    private async ValueTask PutAsync(ObjectText obj, CancellationToken token)
    {
        obj = Transformed(obj);
        var key = (obj.Namespace, obj.Name);
        var (uid, version) = (obj.Uid, obj.ResourceVersion);
        var old = _cache.GetValueOrDefault(key);
        if (old is not null && old.Uid != uid)
        {
            // Deleted and made anew while nobody watched: two objects, so two changes.
            await RemoveAsync(key, null, version, token);
            old = null;
        }

        if (old is not null && old.Version == version && version.Length > 0)
            return;
        var before = old?.Object;
        if (old is not null && CachesIdentities)
            old.Version = version;
        else
            _cache[key] = new Held(uid, version, CachesIdentities ? null : obj.Json);
        await DeliverAsync(new ObjectChange(old is null ? ChangeType.Added : ChangeType.Updated, obj, before), token);
    }

    // Of what went while nobody watched (no last state) the state known before is all there is. It is deleted as of the version at which that was seen, as a watch
    // would have told it: whoever orders by versions must not take a later state, read from the API meanwhile, for newer than the delete.
    private async ValueTask RemoveAsync((string Namespace, string Name) key, ObjectText? last, string asOf, CancellationToken token)
    {
        if (!_cache.TryRemove(key, out var old))
            return;
        if (last is not null)
        {
            last = Transformed(last);
        }
        else
        {
            var known = ObjectOf(key, old);
            if (asOf.Length > 0)
            {
                known = known.DeepClone().AsObject();
                known.Child("metadata")["resourceVersion"] = asOf;
            }

            last = new ObjectText(known);
        }

        await DeliverAsync(new ObjectChange(ChangeType.Deleted, last, old.Object), token);
    }

    private JsonObject ObjectOf((string Namespace, string Name) key, Held held)
        => held.Object ?? KubeObject.Identity(_kind.ApiVersion, _kind.Kind, key.Namespace, key.Name, held.Uid, held.Version);

    private async ValueTask DeliverAsync(ObjectChange change, CancellationToken token)
    {
        try
        {
            await _onChange(change, token);
        }
        catch (Exception e) when (!token.IsCancellationRequested)
        {
            LogHandlerFailed(_logger, _kind.Plural, change.Text.Namespace, change.Text.Name, e);
        }
    }

    private async Task BackOffAsync(CancellationToken token)
    {
        _failures++;
        var wait = Backoff.FullJitter(_failures, s_backoffMin, s_backoffMax, _random);

        await Task.Delay(wait, _time, token);
    }

    /// <summary>What is cached of an object.</summary>
    /// <param name="obj">Null where only identities are; then the version is changed in place, which leaves less that outlives a change.</param>
    private sealed class Held(string uid, string version, JsonObject? obj)
    {
        public string Uid => uid;

        public string Version { get; set; } = version;

        public JsonObject? Object => obj;
    }

    private sealed record Failure(long Since, string Why);

    [LoggerMessage(3100, LogLevel.Information, "{Kind}: version {Version} is no longer in the server's history; listing again")]
    private static partial void LogExpired(ILogger logger, string kind, string version);

    [LoggerMessage(3101, LogLevel.Warning, "{Kind}: {What} failed ({Code}), trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string kind, string what, int code, string message);

    [LoggerMessage(3102, LogLevel.Error, "{Kind}: the handler failed for {Namespace}/{Name}")]
    private static partial void LogHandlerFailed(ILogger logger, string kind, string @namespace, string name, Exception exception);

    [LoggerMessage(3103, LogLevel.Error, "{Kind}: unexpected failure; listing again")]
    private static partial void LogUnexpected(ILogger logger, string kind, Exception exception);
}
