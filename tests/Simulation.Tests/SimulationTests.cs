using System.Collections.Concurrent;
using Xunit.Abstractions;

namespace Edge.Simulation.Tests;

/// <summary>The promises hold under whatever goes wrong.</summary>
[Trait("Category", "Simulation")]
public sealed class SimulationTests(ITestOutputHelper output)
{
    private const int SeedsByDefault = 1_500;

    [Fact]
    public void No_seed_breaks_a_promise()
    {
        var first = World.Setting("EDGE_SIM_FIRST_SEED", 0);
        var count = World.Setting("EDGE_SIM_SEEDS", SeedsByDefault);
        var failures = new ConcurrentQueue<SimulationException>();
        long steps = 0, crashes = 0, virtualMs = 0;
        var before = Environment.CpuUsage.TotalTime;
        Parallel.For(first, first + count, (seed, loop) =>
        {
            try
            {
                var result = Simulator.Run(seed);
                Interlocked.Add(ref steps, result.Steps);
                Interlocked.Add(ref crashes, result.Crashes);
                Interlocked.Add(ref virtualMs, result.VirtualMs);
            }
            catch (SimulationException e)
            {
                failures.Enqueue(e);
                if (failures.Count >= 3)
                    loop.Stop();
            }
        });
        output.WriteLine($"{count} seeds from {first}: {steps:N0} steps, {crashes:N0} planned crashes, {virtualMs / 3_600_000.0:F1} h of virtual time in {(Environment.CpuUsage.TotalTime - before).TotalSeconds:F1} s of a core");
        if (!failures.IsEmpty)
            Assert.Fail(string.Join("\n\n", failures.OrderBy(failure => failure.Message.Length).Select(failure => failure.Message)));
    }

    [Fact]
    public void The_same_seed_gives_the_same_run_whatever_runs_beside_it()
    {
        var alone = Enumerable.Range(0, 24).Select(seed => Simulator.Run(seed)).ToList();
        var beside = new SimulationResult[alone.Count];
        Parallel.For(0, alone.Count, seed => beside[seed] = Simulator.Run(seed));
        Assert.Equal(alone, beside);
        Assert.Equal(alone.Count, alone.Select(result => result.Hash).Distinct().Count());
    }

    [Fact]
    public void A_seed_that_fails_says_how_to_see_it_again_and_fails_the_same_way_again()
    {
        var first = Assert.Throws<SimulationException>(() => Simulator.Run(1, PlantedBug.SecretToNeighbours));
        var again = Assert.Throws<SimulationException>(() => Simulator.Run(1, PlantedBug.SecretToNeighbours));
        Assert.Equal((first.Message, first.Hash), (again.Message, again.Hash));
        Assert.Contains("seed 1 (breaks", first.Message, StringComparison.Ordinal);
        Assert.Contains("EDGE_SIM_FIRST_SEED=1", first.Message, StringComparison.Ordinal);
        Assert.InRange(first.Message.Split('\n').Count(line => line.StartsWith("  step", StringComparison.Ordinal)), 10, 40);
    }
}
