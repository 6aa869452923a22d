namespace Edge.Cloud.CloudHub;

/// <summary>What to do with an entry of an edge's uplink queue.</summary>
internal enum UplinkVerdict
{
    /// <summary>Apply it, then call <see cref="UplinkGuard.End"/>; answer the edge only after that.</summary>
    Apply,

    /// <summary>It was applied already: answer as if it had been applied now, and do nothing else.</summary>
    AlreadyApplied,

    /// <summary>A newer value of the key was applied: answer as if this one had been applied, and do nothing else.</summary>
    Superseded,

    /// <summary>A value of the key is being applied at this moment. Ask again once that has ended; nothing was noted.</summary>
    Busy,
}

/// <summary>Lets each entry of one node's uplink queue be applied once: knows for each key the newest version tried and whether it was applied, and
/// which single entries were. It outlives the node's sessions, since an answer that was lost with one makes the edge send the entry again on the next.</summary>
/// <remarks>
/// <para>An entry is noted only when its application has succeeded; one that failed, or whose outcome is unknown, is applied when it
/// comes again. So a write may happen twice (after a restart of the cloud, or when the bounds have pushed its key out), but is never lost;
/// between two restarts it happens once. Applying must therefore be repeatable.</para>
/// <para>A value is not applied once a newer one of its key was tried, even if that failed: the failure may be a lost answer, and the edge keeps the newer
/// value until it is applied.</para>
/// <para>While a value of a key is being applied, another value of it is <see cref="UplinkVerdict.Busy"/>: two writes of one key never
/// race, not even those of an old connection and the new one.</para>
/// <para>Versions must grow for as long as the edge keeps its store, over restarts and also when the queue was empty; else new
/// values are taken for old ones. Pure, one caller at a time.</para>
/// </remarks>
/// <param name="keysMax">Keys, and apart from them single entries and message ids, that are remembered; what was used longest ago goes first.</param>
internal sealed class UplinkGuard(int keysMax = UplinkGuard.DefaultKeysMax)
{
    public const int DefaultKeysMax = 1024;

    private readonly Recent<string, (long Version, bool IsApplied)> _versions = new(keysMax);
    private readonly Recent<(string Key, long Version), bool> _entries = new(keysMax);
    private readonly Recent<string, bool> _ids = new(keysMax);
    private readonly HashSet<string> _underWay = [];

    /// <summary>Everything remembered.</summary>
    public int Count => _versions.Count + _entries.Count + _ids.Count;

    /// <summary>Entries that are being applied.</summary>
    public int UnderWay => _underWay.Count;

    /// <summary>Asks whether the entry should be applied. After <see cref="UplinkVerdict.Apply"/>, <see cref="End"/> must be called.</summary>
    /// <param name="id">The message's id; the edge keeps it when it sends the same value again without having restarted.</param>
    /// <param name="version">The entry's version at the edge; 0 when the edge tells none (a stock edge), then only the id counts.</param>
    /// <param name="isSingle">True where every entry of a key counts (events, user data), false where the newest replaces the older ones.</param>
    public UplinkVerdict Begin(string key, string id, long version, bool isSingle)
    {
        if (_ids.TryGet(id, out _))
            return UplinkVerdict.AlreadyApplied;
        if (version > 0 && isSingle && _entries.TryGet((key, version), out _))
            return UplinkVerdict.AlreadyApplied;
        if (version > 0 && !isSingle && _versions.TryGet(key, out var newest))
        {
            if (version < newest.Version)
                return UplinkVerdict.Superseded;
            if (version == newest.Version && newest.IsApplied)
                return UplinkVerdict.AlreadyApplied;
        }

        if (!_underWay.Add(key))
            return UplinkVerdict.Busy;
        if (version > 0 && !isSingle)
            _versions.Set(key, (version, false));
        return UplinkVerdict.Apply;
    }

    /// <summary>The application that <see cref="Begin"/> allowed is over.</summary>
    /// <param name="isDone">True when it took effect or was refused for good; false when it failed and is to be tried again.</param>
    public void End(string key, string id, long version, bool isSingle, bool isDone)
    {
        _underWay.Remove(key);
        if (!isDone)
            return;
        _ids.Set(id, true);
        if (version > 0 && isSingle)
            _entries.Set((key, version), true);
        else if (version > 0)
            _versions.Set(key, (version, true));
    }

    /// <summary>A map that forgets what was used longest ago.</summary>
    private sealed class Recent<TKey, TValue>(int max)
        where TKey : notnull
        where TValue : struct
    {
        private readonly Dictionary<TKey, LinkedListNode<(TKey Key, TValue Value)>> _nodes = [];
        private readonly LinkedList<(TKey Key, TValue Value)> _order = [];

        public int Count => _nodes.Count;

        public bool TryGet(TKey key, out TValue value)
        {
            value = default;
            if (!_nodes.TryGetValue(key, out var node))
                return false;
            value = node.Value.Value;
            _order.Remove(node);
            _order.AddLast(node);
            return true;
        }

        public void Set(TKey key, TValue value)
        {
            if (_nodes.TryGetValue(key, out var node))
            {
                node.Value = (key, value);
                _order.Remove(node);
                _order.AddLast(node);
                return;
            }

            _nodes[key] = _order.AddLast((key, value));
            if (_nodes.Count <= max)
                return;
            _nodes.Remove(_order.First!.Value.Key);
            _order.RemoveFirst();
        }
    }
}
