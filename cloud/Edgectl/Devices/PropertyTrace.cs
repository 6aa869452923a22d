namespace Edge.Ctl.Devices;

/// <summary>What a trace has counted of one property.</summary>
/// <param name="Reports">New reports that reached the API, the same value again among them.</param>
/// <param name="Changes">Those with another value.</param>
/// <param name="Errors">How often an error began.</param>
/// <param name="Interval">From one report to the next, by the mapper's clock.</param>
/// <param name="Age">From the mapper's time to the time seen here; the difference of the clocks is in it.</param>
/// <param name="Follow">From a desired value seen here to its report seen here.</param>
internal sealed record TraceFigures(string Property, long Reports, long Changes, long Errors, Quantiles? Interval, Quantiles? Age, Quantiles? Follow);

/// <summary>Of a set of times. By nearest rank: each is a time that was measured.</summary>
internal sealed record Quantiles(TimeSpan Half, TimeSpan P99, TimeSpan Most)
{
    /// <summary>Null of nothing.</summary>
    public static Quantiles? Of(IEnumerable<TimeSpan> times)
    {
        var sorted = times.Order().ToArray();
        return sorted.Length == 0 ? null : new Quantiles(Rank(0.5), Rank(0.99), sorted[^1]);

        TimeSpan Rank(double part) => sorted[Math.Max(0, (int)Math.Ceiling(part * sorted.Length) - 1)];
    }
}

/// <summary>One property in a trace: its last values and its times.</summary>
internal sealed class PropertyTrace(string type)
{
    /// <summary>A trace may run for days: the figures are of the newest so many reports.</summary>
    public const int SamplesMax = 10_000;

    private readonly Queue<TimeSpan> _intervals = new();
    private readonly Queue<TimeSpan> _ages = new();
    private readonly Queue<TimeSpan> _follows = new();
    private DateTimeOffset? _desiredAt;
    private bool _reportAwaited;
    private long _reports;
    private long _changes;
    private long _errors;

    public string Desired { get; set; } = "";

    public string Observed { get; set; } = "";

    public string ObservedEntry { get; set; } = "||";

    public string Reported { get; set; } = "";

    public string ReportedEntry { get; set; } = "||";

    public string Error { get; set; } = "";

    public DateTimeOffset? LastStamp { get; set; }

    public double Tolerance { get; set; }

    /// <summary>The desired value changed, and the mapper has not said that it wrote it.</summary>
    public bool AwaitsObserved { get; private set; }

    public void DesiredChanged(DateTimeOffset seen)
    {
        _desiredAt = seen;
        AwaitsObserved = _reportAwaited = true;
    }

    /// <summary>The time since the desired value changed, when this is the first time that it is there; null else.</summary>
    public TimeSpan? Arrived(FollowStage stage, string value, DateTimeOffset seen)
    {
        var isObserved = stage == FollowStage.Observed;
        if (!(isObserved ? AwaitsObserved : _reportAwaited) || _desiredAt is not { } at || !DeviceValue.Same(type, Desired, value, Tolerance))
            return null;
        if (isObserved)
        {
            AwaitsObserved = false;
            return seen - at;
        }

        _reportAwaited = false;
        Put(_follows, seen - at);
        return seen - at;
    }

    /// <summary>Counts a report that came while the trace ran.</summary>
    public void Report(DateTimeOffset? stamp, DateTimeOffset seen, bool isChange, bool isError)
    {
        _reports++;
        _changes += isChange ? 1 : 0;
        _errors += isError ? 1 : 0;
        if (stamp is not { } at)
            return;
        Put(_ages, seen - at);
        if (LastStamp is { } last && at > last)
            Put(_intervals, at - last);
    }

    public TraceFigures ToFigures(string name) => new(name, _reports, _changes, _errors, Quantiles.Of(_intervals), Quantiles.Of(_ages), Quantiles.Of(_follows));

    private static void Put(Queue<TimeSpan> queue, TimeSpan time)
    {
        queue.Enqueue(time);
        if (queue.Count > SamplesMax)
            queue.Dequeue();
    }
}
