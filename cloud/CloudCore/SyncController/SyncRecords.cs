using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Cloud.Observability;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.SyncController;

/// <summary>Keeps the records of stock edges in the API: the shell round <see cref="SyncRecordBook"/>. An ack never waits for the API; records are written in batches
/// behind the acks.</summary>
/// <remarks>Safe for concurrent calls; nothing but <see cref="DisposeAsync"/> waits.</remarks>
internal sealed class SyncRecords : IAsyncDisposable
{
    /// <summary>How long acks gather before they are written. Shorter: more writes of objects that change often. Longer: more to send again after a crash.</summary>
    public static readonly TimeSpan GatherFor = TimeSpan.FromMilliseconds(100);

    // Requests to the API at once: enough to use its round trip, few enough to leave it to others.
    private const int Writers = 4;

    private const int NewRecordsMax = 100_000;

    private const int ConflictsMax = 5;

    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_flushWithin = TimeSpan.FromSeconds(1);

    private readonly IKubeClient _kube;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly HubMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private readonly SyncRecordBook _book = new(NewRecordsMax);
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private bool _isFull;

    /// <param name="kube">The API.</param>
    /// <param name="time">Clock of gathering and backoff.</param>
    /// <param name="random">Jitter of the backoff; this object's own.</param>
    /// <param name="metrics">Where writes and drops are counted.</param>
    /// <param name="logger">Where failures go.</param>
    /// <param name="scheduler">Where it runs; the thread pool by default.</param>
    public SyncRecords(IKubeClient kube, TimeProvider time, Random random, HubMetrics metrics, ILogger logger, TaskScheduler? scheduler = null)
    {
        _kube = kube;
        _time = time;
        _random = random;
        _metrics = metrics;
        _logger = logger;
        _loop = WorkQueue<bool>.Start(() => RunAsync(_stop.Token), scheduler);
    }

    /// <summary>Records that wait to be written.</summary>
    public int Waiting
    {
        get
        {
            lock (_gate)
            {
                return _book.Waiting;
            }
        }
    }

    /// <summary>Nodes that have records.</summary>
    public List<string> Nodes
    {
        get
        {
            lock (_gate)
            {
                return [.. _book.Nodes];
            }
        }
    }

    /// <summary>Takes a change of an ObjectSync or ClusterObjectSync.</summary>
    public void Changed(ObjectChange change)
    {
        if (SyncRecord.TryRead(change.Object) is not { } record)
            return;
        lock (_gate)
        {
            if (change.Type == ChangeType.Deleted)
                _book.ObserveGone(record.Key, change.Object.ResourceVersion());
            else
                _book.Observe(record, change.Object.ResourceVersion());
        }
    }

    /// <inheritdoc cref="SyncRecordBook.Of"/>
    public List<SyncRecord> Of(string node)
    {
        lock (_gate)
        {
            return _book.Of(node);
        }
    }

    /// <inheritdoc cref="SyncRecordBook.Sent"/>
    public void Sent(SyncRecord record) => Put(record, _book.Sent);

    /// <inheritdoc cref="SyncRecordBook.Acked"/>
    public void Acked(SyncRecord record) => Put(record, _book.Acked);

    /// <inheritdoc cref="SyncRecordBook.Removed"/>
    public void Removed(RecordKey key)
    {
        lock (_gate)
        {
            _book.Removed(key);
        }

        Wake();
    }

    /// <inheritdoc cref="SyncRecordBook.RemoveNode"/>
    public void RemoveNode(string node)
    {
        lock (_gate)
        {
            _book.RemoveNode(node);
        }

        Wake();
    }

    /// <summary>Writes what waits, for a second at most, and stops.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        using var limit = new CancellationTokenSource(s_flushWithin, _time);
        try
        {
            await WriteAllAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            // What is left is sent again when the node connects.
        }

        _stop.Dispose();
    }

    private void Put(SyncRecord record, Func<SyncRecord, bool> into)
    {
        bool isTaken, wasFull;
        lock (_gate)
        {
            isTaken = into(record);
            wasFull = _isFull;
            _isFull = !isTaken;
        }

        if (!isTaken)
        {
            _metrics.SyncRecordDropped();
            if (!wasFull)
                SyncLog.RecordsFull(_logger, record.Key.Node, NewRecordsMax);
            return;
        }

        Wake();
    }

    private void Wake() => _signal.Writer.TryWrite(true);

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        var failures = 0;
        try
        {
            while (true)
            {
                await _signal.Reader.ReadAsync(cancellationToken);
                await Task.Delay(GatherFor, _time, cancellationToken);
                while (await WriteAllAsync(cancellationToken) is { } error)
                {
                    var pause = Backoff.FullJitter(++failures, s_backoffMin, s_backoffMax, _random);
                    SyncLog.RecordsNotWritten(_logger, Waiting, error.Message, pause.TotalSeconds);
                    await Task.Delay(pause, _time, cancellationToken);
                }

                failures = 0;
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    // Writes until nothing is due, or until the API fails; returns that failure.
    private async Task<KubeException?> WriteAllAsync(CancellationToken cancellationToken)
    {
        KubeException? failure = null;
        var writers = new Task[Writers];
        for (var i = 0; i < Writers; i++)
            writers[i] = ServeAsync();
        await Task.WhenAll(writers);
        return failure;

        async Task ServeAsync()
        {
            while (Volatile.Read(ref failure) is null && Take() is { } write)
            {
                RecordOutcome outcome = new RecordOutcome.Failed();
                try
                {
                    outcome = await WriteAsync(write, cancellationToken);
                    _metrics.SyncRecordWritten();
                }
                catch (KubeException e) when (e.Code is 400 or 404 or 413 or 422)
                {
                    // The namespace is going, or a name does not fit: without a record the object is sent again, no more.
                    outcome = new RecordOutcome.Refused();
                    _metrics.SyncRecordDropped();
                    SyncLog.RecordRefused(_logger, write.Namespace, write.Key.Name, e.Message);
                }
                catch (KubeException e)
                {
                    Volatile.Write(ref failure, e);
                }
                finally
                {
                    lock (_gate)
                    {
                        _book.Done(write, outcome);
                    }
                }
            }
        }
    }

    private RecordWrite? Take()
    {
        lock (_gate)
        {
            return _book.Take();
        }
    }

    private async Task<RecordOutcome> WriteAsync(RecordWrite write, CancellationToken cancellationToken)
    {
        var ns = write.Namespace.Length > 0 ? write.Namespace : null;
        var kind = ns is null ? ResourceKind.ClusterObjectSync : ResourceKind.ObjectSync;
        if (write.Target is not { } target)
        {
            try
            {
                await _kube.DeleteAsync(kind, ns, write.Key.Name, null, cancellationToken);
            }
            catch (KubeException e) when (e.Code == 404)
            {
                // Another CloudCore, or its namespace, was faster.
            }

            return new RecordOutcome.Gone();
        }

        var (seen, version) = (write.Seen, write.SeenVersion);
        for (var conflicts = 0; ; conflicts++)
        {
            try
            {
                if (seen is null)
                {
                    var made = await _kube.CreateAsync(kind, ns, target.ToJson(), cancellationToken);
                    (seen, version) = (target with { Version = -1 }, made.ResourceVersion());
                }

                // Another CloudCore was further.
                if (!write.IsForced && seen.Version > target.Version)
                    return new RecordOutcome.Written(seen, version);
                // Each write only onto what was looked at. The version last: with a new fingerprint and an old version the object counts as known, as it is.
                if (seen.Fingerprint != target.Fingerprint)
                    version = await PatchAsync(kind, ns, write.Key.Name, version, AnnotationsOf(target), null, cancellationToken);
                if (seen.Version != target.Version)
                    version = await PatchAsync(kind, ns, write.Key.Name, version, StatusOf(target), "status", cancellationToken);
                return new RecordOutcome.Written(target, version);
            }
            catch (KubeException e) when (e.Code is 409 && conflicts < ConflictsMax)
            {
                // It exists already, or changed: look again.
            }
            catch (KubeException e) when (e.Code is 404 && seen is not null && conflicts < ConflictsMax)
            {
                // Deleted since: it is made again.
            }

            var there = await _kube.TryGetAsync(kind, ns, write.Key.Name, cancellationToken);
            seen = there is null ? null : SyncRecord.TryRead(there);
            version = there?.ResourceVersion() ?? "";
        }
    }

    private async Task<string> PatchAsync(
        ResourceKind kind, string? ns, string name, string version, JsonObject patch, string? subresource, CancellationToken cancellationToken)
    {
        patch.Child("metadata")["resourceVersion"] = version;
        return (await _kube.PatchAsync(kind, ns, name, PatchKind.Merge, JsonBytes.Of(patch), subresource, cancellationToken)).ResourceVersion();
    }

    private static JsonObject AnnotationsOf(SyncRecord record) => new()
    {
        ["metadata"] = new JsonObject
        {
            // Null takes it away.
            ["annotations"] = new JsonObject { [SyncRecord.FingerprintAnnotation] = record.Fingerprint == 0 ? null : record.FingerprintText },
        },
    };

    private static JsonObject StatusOf(SyncRecord record)
        => new() { ["status"] = new JsonObject { ["objectResourceVersion"] = record.VersionText } };
}
