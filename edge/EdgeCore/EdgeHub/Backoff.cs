namespace Edge.Core.EdgeHub;

/// <summary>Exponential backoff with full jitter: each delay is anywhere from a tenth of the first step up to the present step, which doubles.</summary>
internal sealed class Backoff(Random random, TimeSpan first, TimeSpan max)
{
    private int _failures;

    public TimeSpan Next()
    {
        var step = Math.Min(max.TotalMilliseconds, first.TotalMilliseconds * Math.Pow(2, Math.Min(_failures++, 30)));
        double share;
        lock (random)
            share = random.NextDouble();
        return TimeSpan.FromMilliseconds(Math.Max(first.TotalMilliseconds / 10, step * share));
    }

    public void Reset() => _failures = 0;
}
