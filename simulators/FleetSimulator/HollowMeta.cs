using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Fleet;

/// <summary>What a node acknowledged of one object.</summary>
/// <param name="Sequence">The place of the commit in the order of all.</param>
/// <param name="AtMs">When the commit was seen, milliseconds since the Unix epoch.</param>
internal readonly record struct Acknowledged(long Sequence, string Uid, long Version, bool Deleted, double AtMs);

/// <summary>MetaManager of a hollow node: its rules and its store-before-answer, over <see cref="FleetStore"/>, without rooms that read.
/// Beside the store it keeps a ledger of what it acknowledged, which the check holds against the disk.</summary>
internal sealed class HollowMeta(int node, FleetStore store, FleetCounts counts, TimeProvider time) : IMetaMessages
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Acknowledged> _ledger = [];
    private string _measuredType = "";
    private double _firstArrivalMs;
    private double _lastCommitMs;
    private long _commits;
    private long _doubts;

    public long Doubts => Interlocked.Read(ref _doubts);

    public async Task<Message?> HandleAsync(Message message)
    {
        if (message.Operation == Operations.Error)
            return null;
        if (!MetaService.TryRead(message, out var incoming, out var why))
        {
            if (message.Operation != Operations.Response)
                return message.Error(time, why) with { Source = Sources.MetaManager };
            return message.Response(time, MessageCodec.Ok);
        }

        lock (_gate)
        {
            if (_firstArrivalMs == 0 && incoming.Type == _measuredType)
                _firstArrivalMs = NowMs();
        }

        try
        {
            var applied = await store.ApplyAsync(node, message.Operation == Operations.Delete, incoming, message.Destination == InventoryMessages.RepairDestination);
            if (applied.Decision == MetaDecision.Doubtful)
                Interlocked.Increment(ref _doubts);
            Note(incoming, applied);
            return message.Response(time, MessageCodec.Ok);
        }
        catch (Exception e) when (e is StoreException or Microsoft.Data.Sqlite.SqliteException or ChannelClosedException)
        {
            return message.Error(time, $"{message.Operation} {message.Resource} could not be stored: {e.Message}") with { Source = Sources.MetaManager };
        }
    }

    public (int Count, InventoryDigest Digest) InventoryDigest()
    {
        var items = store.Inventory(node);
        var digest = new InventoryDigest(Protocol.Sync.InventoryDigest.BucketsFor(items.Count));
        foreach (var item in items)
            digest.Add(item.Key, item.Uid, item.Fingerprint);
        return (items.Count, digest);
    }

    public InventoryPart InventoryPart(int of, IReadOnlyList<int> buckets)
    {
        var part = new InventoryPart(of, buckets, []);
        return part with { Items = [.. store.Inventory(node).Where(item => part.Covers(item.Key))] };
    }

    /// <summary>The newest acknowledged state of an object, or null.</summary>
    public Acknowledged? Find(string key)
    {
        lock (_gate)
            return _ledger.TryGetValue(key, out var entry) ? entry : null;
    }

    /// <summary>Starts a measurement: arrivals and commits of objects of <paramref name="type"/> count from here.</summary>
    public void Mark(string type)
    {
        lock (_gate)
            (_measuredType, _firstArrivalMs, _lastCommitMs, _commits) = (type, 0, 0, 0);
    }

    /// <summary>Since <see cref="Mark"/>: when the first object arrived, when the last was on disk (milliseconds since the Unix epoch), and how many were.</summary>
    public (double FirstArrivalMs, double LastCommitMs, long Commits) Measured()
    {
        lock (_gate)
            return (_firstArrivalMs, _lastCommitMs, _commits);
    }

    /// <summary>Holds the ledger against the disk; adds a sentence for every object that was acknowledged and is not there as acknowledged.</summary>
    public void Check(string name, IReadOnlyDictionary<(int Node, string Key), (string Uid, long Version)> disk, List<string> violations)
    {
        lock (_gate)
        {
            foreach (var (key, entry) in _ledger)
            {
                var held = disk.TryGetValue((node, key), out var row);
                if (entry.Deleted && held && row.Uid == entry.Uid)
                    violations.Add($"{name}: {key} was deleted and acknowledged, and is in the store");
                else if (!entry.Deleted && (!held || row.Uid != entry.Uid || row.Version != entry.Version))
                    violations.Add($"{name}: {key} version {entry.Version} was acknowledged, and the store has {(held ? $"version {row.Version} of {row.Uid}" : "nothing")}");
            }
        }
    }

    /// <summary>Enters a commit in the ledger; in any order, since the waiters of commits run in any.</summary>
    internal void Note(MetaObject incoming, Applied applied)
    {
        counts.Decided(applied.Decision, incoming.Type, incoming.Json.Length);
        if (applied.Decision is MetaDecision.Ignored or MetaDecision.Doubtful)
            return;
        var entry = new Acknowledged(applied.Sequence, incoming.Uid, incoming.ResourceVersion, applied.Decision == MetaDecision.Removed, NowMs());
        lock (_gate)
        {
            if (incoming.Type == _measuredType)
            {
                _lastCommitMs = entry.AtMs;
                _commits++;
            }

            // Waiters run in any order; the sequence is that of the commits.
            var isNewer = !_ledger.TryGetValue(incoming.Key, out var before) || entry.Sequence > before.Sequence;
            var (older, newer) = isNewer ? (before, entry) : (entry, before);
            if (older.Sequence > 0 && older.Uid == newer.Uid && !newer.Deleted && newer.Version > 0 && (older.Deleted || newer.Version < older.Version))
                counts.Violate($"node {node}: {incoming.Key} went from {(older.Deleted ? "deleted" : $"version {older.Version}")} back to version {newer.Version}");
            if (isNewer)
                _ledger[incoming.Key] = entry;
        }
    }

    private double NowMs() => (time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalMilliseconds;
}
