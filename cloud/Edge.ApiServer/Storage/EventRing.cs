namespace Edge.ApiServer.Storage;

/// <summary>The newest changes of one resource, oldest first; bounded by number and by bytes. Not safe for concurrent use.</summary>
internal sealed class EventRing(int countMax, long bytesMax)
{
    private StoredEvent?[] _items = new StoredEvent?[16];
    private int _start;
    private long _bytes;

    public int Count { get; private set; }

    /// <summary>The version of the newest change that was dropped: a watch can resume from it or later.</summary>
    public long Floor { get; private set; }

    public StoredEvent this[int index] => _items[(_start + index) % _items.Length]!;

    public void Add(StoredEvent change)
    {
        if (Count == _items.Length)
            Grow();
        _items[(_start + Count++) % _items.Length] = change;
        _bytes += change.Object.Json.Length;
        while (Count > 1 && (Count > countMax || _bytes > bytesMax))
        {
            var oldest = this[0];
            _bytes -= oldest.Object.Json.Length;
            Floor = oldest.Version;
            _items[_start] = null;
            _start = (_start + 1) % _items.Length;
            Count--;
        }
    }

    /// <summary>Sets the floor that was kept on disk.</summary>
    public void Restore(long floor) => Floor = Math.Max(Floor, floor);

    /// <summary>The index of the first change after <paramref name="version"/>.</summary>
    public int FirstAfter(long version)
    {
        var (low, high) = (0, Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (this[middle].Version <= version)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    private void Grow()
    {
        var larger = new StoredEvent?[_items.Length * 2];
        for (var i = 0; i < Count; i++)
            larger[i] = this[i];
        (_items, _start) = (larger, 0);
    }
}
