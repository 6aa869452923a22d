namespace Edge.Simulation.Tests.Model;

/// <summary>The steady clock of one process: starts anywhere and runs a little fast or slow.</summary>
internal sealed class SideClock(World world)
{
    private readonly double _speed = 1 + ((world.Random.NextDouble() * 2 - 1) * world.Profile.ClockDrift);
    private readonly long _start = world.Random.Next(1_000_000);
    private readonly long _bornMs = world.NowMs;

    public long NowMs => _start + (long)((world.NowMs - _bornMs) * _speed);

    /// <summary>How much true time to wait until this clock shows <paramref name="atMs"/>; at least 1.</summary>
    public long Until(long atMs) => Math.Max(1, (long)Math.Ceiling((atMs - NowMs) / _speed));
}
