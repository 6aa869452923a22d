namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>Something that wants to be woken at a time; linked into a <see cref="TimerWheel"/> without memory of its own. One owner each.</summary>
internal abstract class WheelEntry
{
    internal WheelEntry? Next { get; set; }

    internal WheelEntry? Previous { get; set; }

    /// <summary>The slot it is linked into, or -1.</summary>
    internal int Slot { get; set; } = -1;

    /// <summary>When it is to be woken, on the wheel's clock; only the wheel changes it.</summary>
    internal long DueMs { get; set; }

    /// <summary>The time has come; the entry is off the wheel. Called on the wheel's thread: must be quick and not throw.</summary>
    public abstract void Fire(long nowMs);
}

/// <summary>One timer for any number of entries: a hashed wheel of slots of <see cref="ResolutionMs"/> each. Arming and cancelling cost the same however many there are.</summary>
/// <remarks>Safe for concurrent calls. An entry fires up to one resolution late.</remarks>
internal sealed class TimerWheel : IDisposable
{
    public const int ResolutionMs = 50;

    // 1024 slots of 50 ms: one turn is 51 s. What is due later is passed over until its turn comes.
    private const int Slots = 1024;

    private readonly Lock _gate = new();
    private readonly WheelEntry?[] _slots = new WheelEntry?[Slots];
    private readonly TimeProvider _time;
    private readonly long _startedAt;
    private readonly ITimer _timer;
    private readonly List<WheelEntry> _fired = [];
    private long _doneTick;
    private int _isTurning;

    public TimerWheel(TimeProvider time)
    {
        _time = time;
        _startedAt = time.GetTimestamp();
        var period = TimeSpan.FromMilliseconds(ResolutionMs);
        _timer = time.CreateTimer(_ => Turn(), null, period, period);
    }

    /// <summary>Milliseconds since a timestamp of the wheel's clock.</summary>
    public long SinceMs(long timestamp) => (long)_time.GetElapsedTime(timestamp).TotalMilliseconds;

    /// <summary>Milliseconds since the wheel was made; never goes back.</summary>
    public long NowMs => (long)_time.GetElapsedTime(_startedAt).TotalMilliseconds;

    /// <summary>Wakes the entry at <paramref name="dueMs"/>, or at the next turn when that is past; an earlier arming is forgotten.</summary>
    public void Arm(WheelEntry entry, long dueMs)
    {
        lock (_gate)
        {
            Unlink(entry);
            entry.DueMs = dueMs;
            Link(entry);
        }
    }

    /// <summary>As <see cref="Arm"/>, but only where the entry would else be woken later, or not at all.</summary>
    public void ArmNoLater(WheelEntry entry, long dueMs)
    {
        lock (_gate)
        {
            if (entry.Slot >= 0 && entry.DueMs <= dueMs)
                return;
            Unlink(entry);
            entry.DueMs = dueMs;
            Link(entry);
        }
    }

    /// <summary>Takes the entry off. It may be firing at this moment.</summary>
    public void Cancel(WheelEntry entry)
    {
        lock (_gate)
        {
            Unlink(entry);
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Turn()
    {
        // A turn that takes longer than the resolution is not overtaken by the next one.
        if (Interlocked.Exchange(ref _isTurning, 1) != 0)
            return;
        try
        {
            var now = NowMs;
            lock (_gate)
            {
                var until = now / ResolutionMs;
                // After a pause longer than a turn, one turn sees every slot.
                for (var tick = Math.Max(_doneTick + 1, until - Slots + 1); tick <= until; tick++)
                {
                    for (var entry = _slots[tick % Slots]; entry is not null;)
                    {
                        var next = entry.Next;
                        if (entry.DueMs <= now)
                        {
                            Unlink(entry);
                            _fired.Add(entry);
                        }

                        entry = next;
                    }
                }

                _doneTick = Math.Max(_doneTick, until);
            }

            foreach (var entry in _fired)
                entry.Fire(now);
        }
        finally
        {
            _fired.Clear();
            Volatile.Write(ref _isTurning, 0);
        }
    }

    private void Link(WheelEntry entry)
    {
        var tick = Math.Max((entry.DueMs + ResolutionMs - 1) / ResolutionMs, _doneTick + 1);
        var slot = (int)(tick % Slots);
        entry.Slot = slot;
        entry.Previous = null;
        entry.Next = _slots[slot];
        if (entry.Next is not null)
            entry.Next.Previous = entry;
        _slots[slot] = entry;
    }

    private void Unlink(WheelEntry entry)
    {
        if (entry.Slot < 0)
            return;
        if (entry.Previous is not null)
            entry.Previous.Next = entry.Next;
        else
            _slots[entry.Slot] = entry.Next;
        if (entry.Next is not null)
            entry.Next.Previous = entry.Previous;
        entry.Next = entry.Previous = null;
        entry.Slot = -1;
    }
}
