namespace Edge.Common;

/// <summary>Waits between tries: exponential with full jitter. Not safe for concurrent calls, but the <see cref="Random"/> may be shared: it is locked while used.</summary>
/// <param name="first">The first step; each failure doubles it.</param>
/// <param name="max">The largest step.</param>
public sealed class Backoff(Random random, TimeSpan first, TimeSpan max)
{
    private int _failures;

    /// <summary>The wait after one more failure.</summary>
    public TimeSpan Next() => FullJitter(++_failures, first, max, random);

    /// <summary>It worked: the next failure counts as the first.</summary>
    public void Reset() => _failures = 0;

    /// <summary>Anywhere from 0 to <paramref name="first"/> doubled with each failure, at most <paramref name="most"/>. Not under a tenth of <paramref name="first"/>, so
    /// that a try never follows at once. <paramref name="failures"/> counts from 1.</summary>
    public static TimeSpan FullJitter(int failures, TimeSpan first, TimeSpan most, Random random)
    {
        var cap = Math.Min(most.TotalMilliseconds, first.TotalMilliseconds * Math.Pow(2, Math.Min(failures - 1, 30)));
        double share;
        lock (random)
            share = random.NextDouble();
        return TimeSpan.FromMilliseconds(Math.Max(first.TotalMilliseconds / 10, cap * share));
    }
}
