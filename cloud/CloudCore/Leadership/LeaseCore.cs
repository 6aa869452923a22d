namespace Edge.Cloud.Leadership;

/// <summary>What a Lease says: who holds it and what changes with each renewal. Times of other machines' clocks are not compared.</summary>
/// <param name="Holder">Empty when given up.</param>
/// <param name="DurationMs">How long the holder may be silent.</param>
/// <param name="Version">The resourceVersion: a renewal shows as another one.</param>
internal sealed record LeaseState(string Holder, long DurationMs, string Version);

/// <summary>What to do next about the Lease.</summary>
internal enum LeaseStep
{
    /// <summary>Another one holds it.</summary>
    Wait,

    /// <summary>There is none: create it with us as holder.</summary>
    Create,

    /// <summary>It is free or its holder is silent: write us as holder, over this version only.</summary>
    Take,

    /// <summary>It is ours: write a new renewal time, over this version only.</summary>
    Renew,
}

/// <summary>Decides who leads, as Kubernetes' own components do: a lease that did not change for its duration, by the watcher's own monotonic
/// clock, may be taken; a leader that cannot renew steps down before that. Not safe for concurrent calls.</summary>
/// <remarks><code>
/// not leading --seen: none--------------&gt; Create --written--&gt; leading
/// not leading --seen: free or silent----&gt; Take   --written--&gt; leading
/// not leading --seen: another's---------&gt; Wait
/// leading     --seen: ours--------------&gt; Renew  --written--&gt; leading
/// leading     --seen: another's---------&gt; not leading
/// leading     --RenewWithinMs without a write--&gt; not leading
/// </code></remarks>
internal sealed class LeaseCore(string identity, LeaseTimes times)
{
    private string _seenVersion = "";
    private string _seenHolder = "";
    private long _seenAtMs = long.MinValue;
    private long _writtenAtMs = long.MinValue;
    private bool _leads;

    /// <summary>Whether this one leads at <paramref name="nowMs"/>: true from a write until <see cref="LeaseTimes.RenewWithinMs"/> after the last.</summary>
    public bool IsLeader(long nowMs) => _leads && nowMs - _writtenAtMs < times.RenewWithinMs;

    /// <summary>The Lease was read (null: there is none); what to do.</summary>
    public LeaseStep Seen(LeaseState? lease, long nowMs)
    {
        if (lease is null)
        {
            _leads = false;
            return LeaseStep.Create;
        }

        if (lease.Version != _seenVersion || lease.Holder != _seenHolder)
            (_seenVersion, _seenHolder, _seenAtMs) = (lease.Version, lease.Holder, nowMs);
        if (lease.Holder == identity)
            return LeaseStep.Renew;
        _leads = false;
        // Silent for longer than its holder promised, or than we would allow, whichever is more.
        return lease.Holder.Length == 0 || nowMs - _seenAtMs >= Math.Max(lease.DurationMs, times.DurationMs) ? LeaseStep.Take : LeaseStep.Wait;
    }

    /// <summary>The write that <see cref="Seen"/> asked for was done. The time is that before the write began: a slow write is an early one to others.</summary>
    public void Written(string version, long beganAtMs)
    {
        (_seenVersion, _seenHolder, _seenAtMs) = (version, identity, beganAtMs);
        _writtenAtMs = beganAtMs;
        _leads = true;
    }
}

/// <summary>The times of a Lease, milliseconds. <paramref name="RenewWithinMs"/> must be clearly less than <paramref name="DurationMs"/>: the
/// difference is what keeps two from leading at once.</summary>
internal sealed record LeaseTimes(long DurationMs, long RenewWithinMs, long RetryMs)
{
    /// <summary>Those of Kubernetes' own components.</summary>
    public static LeaseTimes Default { get; } = new(15_000, 10_000, 2_000);
}
