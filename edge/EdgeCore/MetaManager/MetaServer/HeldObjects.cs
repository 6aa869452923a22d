using System.Globalization;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Kubernetes;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>One object as MetaServer shows it.</summary>
/// <param name="Version">Its local version, which is also the resourceVersion in <paramref name="Json"/>.</param>
/// <param name="CloudVersion">The resourceVersion that it has at the cloud.</param>
/// <param name="Json">The whole object; shared, never changed.</param>
internal sealed record HeldObject(string Namespace, string Name, string Uid, long Version, string CloudVersion, JsonObject Json)
{
    public string Key => KeyOf(Namespace, Name);

    public static string KeyOf(string @namespace, string name) => $"{@namespace}/{name}";
}

/// <summary>One change; <paramref name="Before"/> is the state before it, null for an addition.</summary>
internal sealed record HeldEvent(WatchEventType Type, HeldObject Object, HeldObject? Before);

/// <summary>What the node holds, with versions of this node's own: they grow with each change here, whatever order the cluster's versions come in. So a list has one version,
/// and a watch from there, or from any object's, misses nothing.</summary>
/// <remarks>
/// <para>Versions are at least <see cref="VersionMin"/>, so that none is taken for one of the cluster. They begin anew, above all before, with each start of EdgeCore: a watch from
/// before a restart is told 410 and lists again.</para>
/// <para>Any thread. The newest <see cref="HistoryMax"/> changes of a type are kept for watches that come back; a watcher that falls <see cref="WaitingMax"/> behind is ended.</para>
/// </remarks>
internal sealed class HeldObjects
{
    public const long VersionMin = 1L << 60;
    public const int HistoryMax = 1024;
    public const int WaitingMax = 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Table> _tables = [];
    private readonly long _first;
    private long _version;

    /// <param name="firstVersion">Above every version given out before.</param>
    public HeldObjects(IEnumerable<string> types, long firstVersion)
    {
        _first = _version = firstVersion;
        foreach (var type in types)
            _tables.Add(type, new Table { Floor = firstVersion });
    }

    /// <summary>Whether a version is one of a node rather than the cluster's.</summary>
    public static bool IsLocal(long version) => version >= VersionMin;

    /// <summary>The newest version.</summary>
    public long Version
    {
        get
        {
            lock (_gate)
                return _version;
        }
    }

    public int Watchers
    {
        get
        {
            lock (_gate)
                return _tables.Values.Sum(table => table.Watchers.Count);
        }
    }

    public bool Holds(string type) => _tables.ContainsKey(type);

    /// <summary>Takes an object's newest state; nothing happens when it is what is shown already.</summary>
    /// <param name="json">Becomes this table's own; its resourceVersion is replaced.</param>
    public void Put(string type, JsonObject json)
    {
        lock (_gate)
        {
            var table = _tables[type];
            var (ns, name, uid, cloud) = (json.Namespace(), json.Name(), json.Uid(), json.ResourceVersion());
            var before = table.Objects.GetValueOrDefault(HeldObject.KeyOf(ns, name));
            if (before is not null && before.Uid == uid && before.CloudVersion == cloud && SameBut(before.Json, json))
                return;
            // Of another uid: the old one was deleted meanwhile.
            if (before is not null && before.Uid != uid)
            {
                Drop(table, before);
                before = null;
            }

            var version = ++_version;
            json.Child("metadata")["resourceVersion"] = version.ToString(CultureInfo.InvariantCulture);
            var held = new HeldObject(ns, name, uid, version, cloud, json);
            table.Objects[held.Key] = held;
            Publish(table, new HeldEvent(before is null ? WatchEventType.Added : WatchEventType.Modified, held, before));
        }
    }

    public void Remove(string type, string @namespace, string name)
    {
        lock (_gate)
        {
            if (_tables[type].Objects.TryGetValue(HeldObject.KeyOf(@namespace, name), out var before))
                Drop(_tables[type], before);
        }
    }

    public HeldObject? Get(string type, string @namespace, string name)
    {
        lock (_gate)
            return _tables[type].Objects.GetValueOrDefault(HeldObject.KeyOf(@namespace, name));
    }

    /// <summary>All objects of the type at one version.</summary>
    public (IReadOnlyList<HeldObject> Items, long Version) List(string type)
    {
        lock (_gate)
            return ([.. _tables[type].Objects.Values], _version);
    }

    /// <summary>Everything now, then every change.</summary>
    public HeldWatcher WatchFromNow(string type, out IReadOnlyList<HeldObject> items)
    {
        lock (_gate)
        {
            items = [.. _tables[type].Objects.Values];
            return Add(_tables[type], []);
        }
    }

    /// <summary>Every change after <paramref name="version"/>; null when those are not all known any more, or the version is not one of this run.</summary>
    public HeldWatcher? Watch(string type, long version)
    {
        lock (_gate)
        {
            var table = _tables[type];
            return version < table.Floor || version < _first || version > _version ? null : Add(table, table.History.Where(one => one.Object.Version > version));
        }
    }

    private HeldWatcher Add(Table table, IEnumerable<HeldEvent> replay)
    {
        var watcher = new HeldWatcher([.. replay], _version, watcher =>
        {
            lock (_gate)
                table.Watchers.Remove(watcher);
        });
        table.Watchers.Add(watcher);
        return watcher;
    }

    private void Drop(Table table, HeldObject before)
    {
        var json = (JsonObject)before.Json.DeepClone();
        var version = ++_version;
        json.Child("metadata")["resourceVersion"] = version.ToString(CultureInfo.InvariantCulture);
        table.Objects.Remove(before.Key);
        Publish(table, new HeldEvent(WatchEventType.Deleted, before with { Version = version, Json = json }, before));
    }

    private static void Publish(Table table, HeldEvent change)
    {
        table.History.Enqueue(change);
        if (table.History.Count > HistoryMax)
            table.Floor = table.History.Dequeue().Object.Version;
        foreach (var watcher in table.Watchers)
            watcher.Publish(change);
    }

    private static bool SameBut(JsonObject shown, JsonObject json)
    {
        var metadata = json.Child("metadata");
        var own = metadata["resourceVersion"]?.DeepClone();
        metadata["resourceVersion"] = shown.ResourceVersion();
        var same = JsonNode.DeepEquals(shown, json);
        metadata["resourceVersion"] = own;
        return same;
    }

    private sealed class Table
    {
        public SortedDictionary<string, HeldObject> Objects { get; } = new(StringComparer.Ordinal);

        public Queue<HeldEvent> History { get; } = [];

        public HashSet<HeldWatcher> Watchers { get; } = [];

        /// <summary>Changes after this version are all in the history.</summary>
        public long Floor { get; set; }
    }
}

/// <summary>Changes for one watch: those before it came, and those since. Its queue ends when the reader falls too far behind.</summary>
/// <param name="replay">What happened since the version that the watch comes from.</param>
/// <param name="start">The version at its beginning.</param>
internal sealed class HeldWatcher(IReadOnlyList<HeldEvent> replay, long start, Action<HeldWatcher> end) : IDisposable
{
    // Wait, with TryWrite: a full queue ends the watch, which then lists again.
    private readonly Channel<HeldEvent> _queue = Channel.CreateBounded<HeldEvent>(new BoundedChannelOptions(HeldObjects.WaitingMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    public IReadOnlyList<HeldEvent> Replay { get; } = replay;

    public long Start { get; } = start;

    public ChannelReader<HeldEvent> Queue => _queue.Reader;

    public void Publish(HeldEvent change)
    {
        if (!_queue.Writer.TryWrite(change))
            _queue.Writer.TryComplete();
    }

    public void Dispose() => end(this);
}
