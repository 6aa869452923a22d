namespace Edge.Simulation.Tests.Model;

/// <summary>The clock of one process in virtual time; its timers end with the process.</summary>
internal sealed class SimTime(World world, Life process) : TimeProvider
{
    private static readonly DateTimeOffset s_start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override long TimestampFrequency => 1_000;

    public override DateTimeOffset GetUtcNow() => s_start.AddMilliseconds(world.NowMs);

    public override long GetTimestamp() => world.NowMs;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        if (period != Timeout.InfiniteTimeSpan && period != TimeSpan.Zero)
            throw new NotSupportedException("a periodic timer; only Task.Delay is known here");
        var timer = new OneShot(world, process, () => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class OneShot(World world, Life process, Action fire) : ITimer
    {
        private int _setting;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            var setting = ++_setting;
            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                world.After(Math.Max(0, (long)Math.Ceiling(dueTime.TotalMilliseconds)), process, () =>
                {
                    if (setting == _setting)
                        fire();
                });
            }

            return true;
        }

        public void Dispose() => _setting++;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
