namespace Edge.Kubernetes;

/// <summary>Waits between tries.</summary>
public static class Backoff
{
    /// <summary>Exponential with full jitter: anywhere from 0 to <paramref name="first"/> doubled with each failure, at most <paramref name="most"/>.
    /// Not under a tenth of <paramref name="first"/>, so that a try never follows at once. <paramref name="failures"/> counts from 1.</summary>
    public static TimeSpan FullJitter(int failures, TimeSpan first, TimeSpan most, Random random)
    {
        var cap = Math.Min(most.TotalSeconds, first.TotalSeconds * Math.Pow(2, Math.Min(failures - 1, 30)));
        return TimeSpan.FromSeconds(Math.Max(first.TotalSeconds / 10, cap * random.NextDouble()));
    }
}
