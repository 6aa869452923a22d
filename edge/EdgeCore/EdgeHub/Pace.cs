namespace Edge.Core.EdgeHub;

/// <summary>Lets something happen at once and then at most once in each stretch of time. Not safe for concurrent calls.</summary>
internal sealed class Pace(TimeProvider time, TimeSpan every)
{
    private long? _last;

    /// <summary>True when it may happen now, which then counts as done.</summary>
    public bool IsDue()
    {
        if (_last is { } last && time.GetElapsedTime(last) < every)
            return false;
        _last = time.GetTimestamp();
        return true;
    }
}
