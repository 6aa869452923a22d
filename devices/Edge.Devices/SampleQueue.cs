namespace Edge.Devices;

/// <summary>Samples of one property that wait to be taken, oldest first. Bounded by <see cref="CountMax"/> and <see cref="SizeMax"/>: a further one takes the place of the oldest. For one thread.</summary>
public sealed class SampleQueue<T>
{
    /// <summary>Samples that wait at most.</summary>
    public const int CountMax = 1000;

    /// <summary>Bytes, or characters, of all that wait; a single one that is larger waits alone.</summary>
    public const int SizeMax = 1024 * 1024;

    private readonly Queue<(T Sample, int Size)> _waiting = [];

    public int Count => _waiting.Count;

    /// <summary>Of all that wait, in the unit of <see cref="Add"/>.</summary>
    public int Size { get; private set; }

    /// <summary>Half of the room is taken.</summary>
    public bool IsHalfFull => Count >= CountMax / 2 || Size >= SizeMax / 2;

    /// <summary>All that wait, oldest first; they go on waiting.</summary>
    public IEnumerable<T> Waiting => _waiting.Select(one => one.Sample);

    /// <summary>Adds the newest.</summary>
    /// <returns>How many of the oldest made room for it.</returns>
    public int Add(T sample, int size)
    {
        var dropped = 0;
        for (; _waiting.Count > 0 && (_waiting.Count >= CountMax || Size + size > SizeMax); dropped++)
            Size -= _waiting.Dequeue().Size;
        _waiting.Enqueue((sample, size));
        Size += size;
        return dropped;
    }

    /// <summary>Takes all that wait, oldest first.</summary>
    public IReadOnlyList<T> TakeAll()
    {
        var all = Waiting.ToList();
        _waiting.Clear();
        Size = 0;
        return all;
    }
}
