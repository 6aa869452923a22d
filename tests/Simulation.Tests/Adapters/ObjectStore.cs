using Edge.Cloud.CloudHub.Sessions;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>An object on the edge's disk.</summary>
/// <param name="Sequence">Of the write that put it there.</param>
internal sealed record StoredRow(MetaObject Object, DownObject State, long Sequence);

/// <summary>The objects and tombstones of a disk as they were.</summary>
internal sealed record ObjectStoreCopy(IReadOnlyList<StoredRow> Rows, IReadOnlyList<KeyValuePair<string, long>> Tombstones);

/// <summary>The only place that knows the edge's store rules (<see cref="MetaRules"/>): the committed objects and tombstones.</summary>
internal sealed class ObjectStore(PlantedBug bug)
{
    private readonly OrderedDictionary<string, StoredRow> _rows = [];
    private readonly Dictionary<string, long> _tombstones = []; // uid -> the version that was deleted, 0 when none comes back
    private readonly Dictionary<string, long> _leftAt = [];

    public int Count => _rows.Count;

    public IEnumerable<StoredRow> Rows => _rows.Values;

    /// <summary>Grows with every write.</summary>
    public long Sequence { get; private set; }

    public StoredRow? Find(string key) => _rows.GetValueOrDefault(key);

    /// <summary>The sequence of the last write that took this uid away, or 0.</summary>
    public long LeftAt(string uid) => _leftAt.GetValueOrDefault(uid);

    /// <summary>The version at which this uid was deleted; 0 when it was not.</summary>
    public long DeletedAt(string uid) => _tombstones.GetValueOrDefault(uid);

    /// <summary>Whether a tombstone holds this state back.</summary>
    public bool IsHeldBack(DownObject state) => _tombstones.TryGetValue(state.Uid, out var deleted) && MetaRules.IsHeldBack(ToObject(state), deleted);

    /// <summary>The sequence of the last <see cref="SetBack"/>, or 0.</summary>
    public long SetBackAt { get; private set; }

    public ObjectStoreCopy Copy() => new([.. _rows.Values], [.. _tombstones]);

    /// <summary>Puts what was copied in place of everything; nothing where there is no copy.</summary>
    public void SetBack(ObjectStoreCopy? copy)
    {
        SetBackAt = ++Sequence;
        _rows.Clear();
        _tombstones.Clear();
        foreach (var row in copy?.Rows ?? [])
            _rows[row.Object.Key] = row;
        foreach (var (uid, deleted) in copy?.Tombstones ?? [])
            _tombstones[uid] = deleted;
    }

    /// <summary>Applies one message inside a transaction.</summary>
    public MetaDecision Apply(DownObject state)
    {
        Sequence++;
        var held = Find(state.Resource);
        if (state.IsDelete)
        {
            Bury(state.Uid, Math.Max(state.Version, held?.Object.Uid == state.Uid ? held.Object.ResourceVersion : 0));
            _leftAt[state.Uid] = Sequence;
            if (held is null || !MetaRules.Deletes(held.Object, state.Uid))
                return MetaDecision.Ignored;
            _rows.Remove(state.Resource);
            return MetaDecision.Removed;
        }

        var incoming = ToObject(state);
        if (bug != PlantedBug.StaleVersionOverwrites && !state.IsRepair && !MetaRules.Replaces(held?.Object, incoming))
            return MetaRules.IsDoubtful(held!.Object, incoming) ? MetaDecision.Doubtful : MetaDecision.Ignored;
        if (bug != PlantedBug.TombstoneIgnored && !state.IsRepair && _tombstones.TryGetValue(incoming.Uid, out var deleted) && MetaRules.IsHeldBack(incoming, deleted))
            return bug == PlantedBug.OnlyPodsAreDoubted && incoming.Type != ResourceTypes.Pod ? MetaDecision.Ignored : MetaRules.OfHeldBack(incoming);
        if (held is not null && held.Object.Uid != incoming.Uid)
        {
            Bury(held.Object.Uid, 0);
            _leftAt[held.Object.Uid] = Sequence;
        }

        if (state.IsRepair)
            _tombstones.Remove(incoming.Uid);
        _rows[state.Resource] = new StoredRow(incoming, state, Sequence);
        return MetaDecision.Stored;
    }

    private void Bury(string uid, long version)
        => _tombstones[uid] = MetaRules.Tombstone(_tombstones.TryGetValue(uid, out var before) ? before : null, version);

    private static MetaObject ToObject(DownObject state)
    {
        var path = ResourcePath.TryParse(state.Resource, out var parsed) ? parsed : throw new InvalidOperationException($"'{state.Resource}' is no resource path");
        return new MetaObject(state.Resource, path.Type, path.Namespace, path.Name, state.Uid, state.Version, default) { Fingerprint = state.Body.Fingerprint };
    }
}
