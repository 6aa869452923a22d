using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Storage;

/// <summary>All objects, with a global resourceVersion, the newest changes and the watchers.</summary>
/// <remarks>
/// <para>SQLite holds the truth; reads are answered from memory, which holds the same objects as UTF-8. A write compares the object's
/// version inside the write transaction, is on disk before it is visible to anyone, and is visible before it is answered.</para>
/// <para>Changes become visible in version order. Group commit finishes many writes at once and their waiters wake in any order;
/// so each write queues its change while its transaction runs, and the first waiter of a batch applies all changes up to its own.</para>
/// </remarks>
internal sealed class ObjectStore : IAsyncDisposable
{
    private const int TrimStep = 256;
    private readonly SqliteDatabase _database;
    private readonly StoreWriter _writer = new();
    private readonly int _historyMax;
    private readonly long _floor; // of every resource
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<ResourceId, ResourceTable> _tables = new();
    private readonly Queue<StoredEvent> _pending = new(); // written, not yet known to be committed; under _gate
    private long _pendingNewest; // the last one's version; under _gate
    private long _version;
    private long _overflows;
    private bool _closed;

    private ObjectStore(SqliteDatabase database, int historyMax)
    {
        _database = database;
        _historyMax = historyMax;
        _floor = StoreLoader.FloorOfAll(database);
        database.AtClose(_ => _writer.Dispose());
    }

    /// <summary>The newest visible version.</summary>
    public long Version
    {
        get
        {
            lock (_gate)
                return _version;
        }
    }

    /// <summary>Called under the store's lock with every change, in order, before watchers get it. Must be quick, must not call the store, and must not throw: the write
    /// that it throws for is stored, and answered as failed.</summary>
    public Action<StoredEvent>? Applied { get; set; }

    /// <exception cref="StoreException">The file cannot be used.</exception>
    public static ObjectStore Open(string path, int historyMax, TimeProvider time)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(historyMax, 1);
        var store = new ObjectStore(SqliteDatabase.Open(path, StoreWriter.Migrations, time), historyMax);
        store._version = StoreLoader.Load(store._database, store.Table);
        return store;
    }

    public StoredObject? Get(ResourceId resource, string @namespace, string name) => Table(resource).Find(@namespace, name);

    /// <summary>The objects and the version they are at.</summary>
    public (ImmutableList<StoredObject> Items, long Version) Snapshot(ResourceId resource)
    {
        lock (_gate)
            return (Table(resource).Items, _version);
    }

    /// <summary>The objects as they were at a version; null when the history does not reach so far.</summary>
    public ImmutableList<StoredObject>? SnapshotAt(ResourceId resource, long version)
    {
        lock (_gate)
            return Table(resource).At(version);
    }

    /// <summary>Stores a new object; null when the name is taken.</summary>
    /// <param name="judgedBy">See <see cref="StoredObject.JudgedBy"/>.</param>
    public ValueTask<StoredObject?> CreateAsync(ResourceId resource, JsonObject obj, CancellationToken cancellationToken, object? judgedBy = null)
        => WriteAsync(WatchEventType.Added, resource, obj, null, judgedBy, cancellationToken);

    /// <summary>Replaces exactly that state of the object; null when it is no longer the newest.</summary>
    /// <param name="judgedBy">See <see cref="StoredObject.JudgedBy"/>.</param>
    public ValueTask<StoredObject?> ReplaceAsync(StoredObject expected, JsonObject obj, CancellationToken cancellationToken, object? judgedBy = null)
        => WriteAsync(WatchEventType.Modified, expected.Resource, obj, expected, judgedBy, cancellationToken);

    /// <summary>As <see cref="ReplaceAsync(StoredObject, JsonObject, CancellationToken, object?)"/>, of an object that has been serialised: namespace, name and uid are the expected one's.</summary>
    /// <param name="isStatusAlone">See <see cref="StoredEvent.IsStatusAlone"/>.</param>
    public ValueTask<StoredObject?> ReplaceAsync(StoredObject expected, ObjectJson json, CancellationToken cancellationToken, object? judgedBy = null, bool isStatusAlone = false)
        => WriteAsync(WatchEventType.Modified, expected.Resource, (expected.Namespace, expected.Name, expected.Uid), json, expected, judgedBy, cancellationToken, isStatusAlone);

    /// <summary>Removes exactly that state; <paramref name="last"/> is what watchers get. Null when it is no longer the newest.</summary>
    public ValueTask<StoredObject?> DeleteAsync(StoredObject expected, JsonObject last, CancellationToken cancellationToken)
        => WriteAsync(WatchEventType.Deleted, expected.Resource, last, expected, null, cancellationToken);

    /// <summary>Watches from after a version; null when the changes since then are no longer kept, or the version is not reached yet.</summary>
    /// <param name="skipsStatus">Changes of the status alone are not wanted.</param>
    public ObjectWatcher? Watch(ResourceId resource, string @namespace, string? name, long after, bool skipsStatus = false)
    {
        lock (_gate)
        {
            var table = Table(resource);
            if (after < table.History.Floor || after > _version)
                return null;
            var replay = new List<StoredEvent>();
            for (var i = table.History.FirstAfter(after); i < table.History.Count; i++)
                replay.Add(table.History[i]);
            var watcher = new ObjectWatcher(this, resource, @namespace, name, replay, _version) { SkipsStatus = skipsStatus };
            replay.RemoveAll(change => !watcher.Wants(change));
            Add(table, watcher);
            return watcher;
        }
    }

    /// <summary>Watches from now; gives the objects of now as well.</summary>
    /// <param name="skipsStatus">Changes of the status alone are not wanted.</param>
    public ObjectWatcher WatchFromNow(ResourceId resource, string @namespace, string? name, out ImmutableList<StoredObject> items, bool skipsStatus = false)
    {
        lock (_gate)
        {
            var table = Table(resource);
            items = table.Items;
            var watcher = new ObjectWatcher(this, resource, @namespace, name, [], _version) { SkipsStatus = skipsStatus };
            Add(table, watcher);
            return watcher;
        }
    }

    /// <summary>How many watch the resource now.</summary>
    public int Watchers(ResourceId resource) => Table(resource).Watchers.Count;

    /// <summary>All watchers: how many, how many changes wait for the one that has most, and how many were ever closed for not keeping up.</summary>
    public (int Count, int Deepest, long Overflows) WatchFigures()
    {
        var (count, deepest) = (0, 0);
        lock (_gate)
        {
            foreach (var table in _tables.Values)
            {
                count += table.Watchers.Count;
                foreach (var watcher in table.Watchers)
                    deepest = Math.Max(deepest, watcher.Queue.Count);
            }
        }

        return (count, deepest, Interlocked.Read(ref _overflows));
    }

    /// <summary>A watcher was closed for not keeping up.</summary>
    public void CountOverflow() => Interlocked.Increment(ref _overflows);

    public void Unsubscribe(ObjectWatcher watcher)
    {
        lock (_gate)
            Table(watcher.Resource).Watchers.Remove(watcher);
    }

    public void PostProgress(ObjectWatcher watcher)
    {
        lock (_gate)
            watcher.TryPost(new WatchItem(null, _version));
    }

    /// <summary>Closes every watcher of the resource (its definition went or changed).</summary>
    public void CloseWatchers(ResourceId resource)
    {
        lock (_gate)
        {
            foreach (var watcher in Table(resource).Watchers)
                watcher.Close();
        }
    }

    /// <summary>Closes all watchers, and every one that comes later, so that their requests end.</summary>
    public void Close()
    {
        lock (_gate)
            _closed = true;
        foreach (var resource in _tables.Keys)
            CloseWatchers(resource);
    }

    /// <summary>Commits a write that changes nothing: null when it is on disk, else why it is not.</summary>
    public ValueTask<string?> WriteProblemAsync(CancellationToken ct) => _database.WriteProblemAsync(ct);

    public async ValueTask DisposeAsync()
    {
        Close();
        await _database.DisposeAsync();
    }

    private void Add(ResourceTable table, ObjectWatcher watcher)
    {
        if (_closed)
            watcher.Close();
        else
            table.Watchers.Add(watcher);
    }

    private ResourceTable Table(ResourceId resource) => _tables.GetOrAdd(resource, static (_, store) => store.NewTable(), this);

    private ResourceTable NewTable()
    {
        var table = new ResourceTable(_historyMax) { TrimmedTo = _floor };
        table.History.Restore(_floor);
        return table;
    }

    private ValueTask<StoredObject?> WriteAsync(WatchEventType type, ResourceId resource, JsonObject obj, StoredObject? expected, object? judgedBy, CancellationToken cancellationToken)
        => WriteAsync(type, resource, (obj.Namespace(), obj.Name(), obj.Uid()), ObjectJson.Serialize(obj), expected, judgedBy, cancellationToken);

    private async ValueTask<StoredObject?> WriteAsync(
        WatchEventType type, ResourceId resource, (string Namespace, string Name, string Uid) id, ObjectJson json, StoredObject? expected, object? judgedBy, CancellationToken cancellationToken,
        bool isStatusAlone = false)
    {
        var (ns, name, uid) = id;
        var table = Table(resource);
        var newest = 0L;
        var written = await _database.WriteAsync(
            connection =>
            {
                newest = _writer.Newest(connection);
                ForgetUncommitted(newest);
                if (_writer.Version(resource, ns, name) != expected?.Version)
                    return null;
                var version = newest + 1;
                var at = json.At(version);
                var stored = expected is not null && expected.Uid == uid
                    ? new StoredObject(expected, version, at) { JudgedBy = judgedBy }
                    : new StoredObject(resource, ns, name, uid, version, at) { JudgedBy = judgedBy };
                _writer.Write(type, stored);
                var floor = Floor(table);
                if (floor >= table.TrimmedTo + TrimStep)
                {
                    StoreWriter.Trim(connection, resource, floor);
                    table.TrimmedTo = floor;
                }

                lock (_gate)
                {
                    _pending.Enqueue(new StoredEvent(type, stored, expected) { IsStatusAlone = isStatusAlone });
                    _pendingNewest = version;
                }

                return stored;
            },
            cancellationToken);

        // Not written: someone else's change came first. It is committed too, and made visible here, so that the caller's next look sees it.
        Publish(written?.Version ?? newest);
        return written;
    }

    private long Floor(ResourceTable table)
    {
        lock (_gate)
            return table.History.Floor;
    }

    /// <summary>Drops queued changes that a failed transaction took back: their versions are above the newest in the database.</summary>
    private void ForgetUncommitted(long newest)
    {
        lock (_gate)
        {
            if (_pending.Count == 0 || _pendingNewest <= newest)
                return;
            var kept = _pending.Where(change => change.Version <= newest).ToList();
            _pending.Clear();
            kept.ForEach(_pending.Enqueue);
            _pendingNewest = newest;
        }
    }

    /// <summary>Makes every queued change up to a committed version visible, in order.</summary>
    private void Publish(long version)
    {
        lock (_gate)
        {
            while (_pending.TryPeek(out var change) && change.Version <= version)
            {
                _pending.Dequeue();
                var table = Table(change.Object.Resource);
                table.Apply(change);
                table.History.Add(change);
                _version = change.Version;
                try
                {
                    Applied?.Invoke(change);
                }
                finally
                {
                    // It is on disk and visible: whatever a follower makes of it, watchers miss nothing.
                    Post(table, change);
                }
            }
        }
    }

    private static void Post(ResourceTable table, StoredEvent change)
    {
        if (table.Watchers.Count == 0)
            return;
        var item = new WatchItem(change, change.Version, new SharedTree(change.Object));
        for (var i = table.Watchers.Count - 1; i >= 0; i--)
            if (table.Watchers[i].Wants(change) && !table.Watchers[i].TryPost(item))
                table.Watchers.RemoveAt(i);
    }
}
