using System.Collections.Concurrent;
using System.Collections.Immutable;
using Edge.Kubernetes;

namespace Edge.ApiServer.Storage;

/// <summary>One resource in memory: its objects in list order, its newest changes and its watchers. Changed under the store's lock only;
/// <see cref="Items"/> may be read without it.</summary>
internal sealed class ResourceTable(int historyMax)
{
    /// <summary>Memory that one resource's past changes may take.</summary>
    private const long HistoryBytesMax = 64L << 20;

    private static readonly Comparer<StoredObject> s_order = Comparer<StoredObject>.Create((a, b) => string.CompareOrdinal(a.SortKey, b.SortKey));

    // By name: a step of the list's binary search costs a walk of its tree.
    private readonly ConcurrentDictionary<(string Namespace, string Name), StoredObject> _byName = new();

    public ImmutableList<StoredObject> Items { get; private set; } = [];

    public EventRing History { get; } = new(historyMax, HistoryBytesMax);

    public List<ObjectWatcher> Watchers { get; } = [];

    /// <summary>Changes in memory that the disk does not keep any more are forgotten there in steps; this is what it has forgotten.</summary>
    public long TrimmedTo { get; set; }

    public StoredObject? Find(string @namespace, string name) => _byName.GetValueOrDefault((@namespace, name));

    /// <summary>Sets what is there at the start, in list order.</summary>
    public void Load(IEnumerable<StoredObject> items)
    {
        Items = [.. items];
        foreach (var item in Items)
            _byName[(item.Namespace, item.Name)] = item;
    }

    /// <summary>The index of the key, or the complement of where it would be.</summary>
    public static int IndexOf(ImmutableList<StoredObject> items, string key)
    {
        var (low, high) = (0, items.Count - 1);
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var order = string.CompareOrdinal(items[middle].SortKey, key);
            if (order == 0)
                return middle;
            if (order < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return ~low;
    }

    public void Apply(StoredEvent change)
    {
        if (change.Type == WatchEventType.Deleted)
            _byName.TryRemove((change.Object.Namespace, change.Object.Name), out _);
        else
            _byName[(change.Object.Namespace, change.Object.Name)] = change.Object;
        var index = Items.BinarySearch(change.Object, s_order);
        Items = (change.Type == WatchEventType.Deleted, index >= 0) switch
        {
            (true, true) => Items.RemoveAt(index),
            (true, false) => Items,
            (false, true) => Items.SetItem(index, change.Object),
            (false, false) => Items.Insert(~index, change.Object),
        };
    }

    /// <summary>The objects as they were at a version: the newer changes taken back. Null when the history does not reach so far.</summary>
    public ImmutableList<StoredObject>? At(long version)
    {
        if (version < History.Floor)
            return null;
        var items = Items.ToBuilder();
        for (var i = History.Count - 1; i >= 0 && History[i].Version > version; i--)
        {
            var change = History[i];
            if (change.PreviousUnknown)
                return null;
            var index = items.BinarySearch(change.Object, s_order);
            if (index >= 0 && change.Previous is null)
                items.RemoveAt(index);
            else if (index >= 0)
                items[index] = change.Previous!;
            else if (change.Previous is not null)
                items.Insert(~index, change.Previous);
        }

        return items.ToImmutable();
    }
}
