namespace Edge.Devices;

/// <summary>How long something took, counted by upper bounds. One writer, read from any thread.</summary>
internal sealed class LatencyCounts
{
    /// <summary>Upper bounds in seconds: from a register on the local network to many on a slow line.</summary>
    public static IReadOnlyList<double> Bounds { get; } = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

    private readonly long[] _counts = new long[Bounds.Count + 1];
    private long _ticks;

    /// <summary>The sum, in seconds.</summary>
    public double Sum => TimeSpan.FromTicks(Interlocked.Read(ref _ticks)).TotalSeconds;

    public void Add(TimeSpan took)
    {
        var seconds = took.TotalSeconds;
        var index = 0;
        while (index < Bounds.Count && seconds > Bounds[index])
            index++;
        Interlocked.Increment(ref _counts[index]);
        Interlocked.Add(ref _ticks, took.Ticks);
    }

    /// <summary>How many took at most each bound; the last is all of them.</summary>
    public IReadOnlyList<long> Cumulative()
    {
        var counts = new long[_counts.Length];
        var sum = 0L;
        for (var i = 0; i < counts.Length; i++)
            counts[i] = sum += Interlocked.Read(ref _counts[i]);
        return counts;
    }
}
