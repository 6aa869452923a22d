namespace Edge.Cloud.CloudHub;

/// <summary>How many connections may begin in a second, over all ports of the hub: a bucket that holds a second's worth. Safe for concurrent calls.</summary>
internal sealed class AdmissionRate(int perSecond, TimeProvider time)
{
    private static readonly TimeSpan s_shortest = TimeSpan.FromMilliseconds(10);
    private readonly Lock _gate = new();
    private double _tokens = perSecond; // below zero: taken ahead by who waits
    private long _since = time.GetTimestamp();

    /// <summary>Connections that begin in a second, on average.</summary>
    public int PerSecond => perSecond;

    /// <summary>Takes a place and returns how long to wait for it; zero when it is there.</summary>
    public TimeSpan Take()
    {
        lock (_gate)
        {
            _tokens = Math.Min(perSecond, _tokens + (time.GetElapsedTime(_since).TotalSeconds * perSecond));
            _since = time.GetTimestamp();
            _tokens--;
            if (_tokens >= 0)
                return TimeSpan.Zero;
            var wait = TimeSpan.FromSeconds(-_tokens / perSecond);
            return wait < s_shortest ? s_shortest : wait;
        }
    }

    /// <summary>As <see cref="Take"/>, and waits.</summary>
    public Task WaitAsync(CancellationToken cancellationToken)
        => Take() is var wait && wait == TimeSpan.Zero ? Task.CompletedTask : Task.Delay(wait, time, cancellationToken);
}
