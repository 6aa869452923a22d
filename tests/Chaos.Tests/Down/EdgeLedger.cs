namespace Edge.Chaos.Tests;

/// <summary>The rules for what the edge commits, over every change in the order of the commits: per name, neither version nor counter goes back, and a deleted uid stays deleted. Pure.</summary>
internal sealed class EdgeLedger
{
    private readonly Dictionary<string, StoredChange> _last = [];
    private readonly HashSet<(string Key, string Uid)> _dead = [];
    private readonly List<string> _broken = [];

    /// <summary>The last change that was taken.</summary>
    public long At { get; private set; }

    /// <summary>Versions of the writers' objects that were stored.</summary>
    public long Stored { get; private set; }

    public long Deletes { get; private set; }

    /// <summary>What broke a rule, in words; empty when all is well.</summary>
    public IReadOnlyList<string> Broken => _broken;

    public void Take(StoredChange change)
    {
        At = change.At;
        var before = _last.GetValueOrDefault(change.Key);
        if (change.Count == EdgeStore.Deleted)
        {
            Deletes++;
            _dead.Add((change.Key, change.Uid));
            return; // the last version stays in force: what comes after must be newer than it
        }

        if (change.Count > 0)
            Stored++;
        if (_dead.Contains((change.Key, change.Uid)))
            _broken.Add($"{change.Key} {change.Uid} came back with {change.Version}/{change.Count} (change {change.At}) after it was deleted");
        if (before is not null && (change.Version < before.Version || change.Count < before.Count))
            _broken.Add($"{change.Key} went from version {before.Version}, count {before.Count} (change {before.At}) back to version {change.Version}, count {change.Count} (change {change.At})");
        _last[change.Key] = change;
    }
}
