namespace Edge.Kubernetes;

/// <summary>How fast requests may go: <paramref name="burst"/> at once, then <paramref name="perSecond"/>. Who comes too early is told how long to wait, and has its turn then.</summary>
internal sealed class TokenBucket(double perSecond, int burst)
{
    private double _tokens = burst;
    private TimeSpan _filled;

    /// <summary>Takes a turn: zero where it may go at once, else the time to wait; null, and no turn, where that is longer than <paramref name="longest"/>.</summary>
    /// <param name="now">A clock that never goes back.</param>
    public TimeSpan? Reserve(TimeSpan now, TimeSpan longest)
    {
        _tokens = Math.Min(burst, _tokens + (Math.Max(0, (now - _filled).TotalSeconds) * perSecond));
        _filled = now;
        var wait = _tokens >= 1 ? TimeSpan.Zero : TimeSpan.FromSeconds((1 - _tokens) / perSecond);
        if (wait > longest)
            return null;
        _tokens--;
        return wait;
    }

    /// <summary>Gives a turn back that was not used.</summary>
    public void Return() => _tokens = Math.Min(burst, _tokens + 1);
}
