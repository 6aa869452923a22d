using System.Collections.Concurrent;
using Xunit.Abstractions;

namespace Edge.Simulation.Tests.Twin;

/// <summary>The promises of device twins hold whatever is lost, late or doubled, and whenever the node ends.</summary>
[Trait("Category", "Simulation")]
public sealed class TwinSimulationTests(ITestOutputHelper output)
{
    private const int SeedsByDefault = 150;
    private const int SeedsToFind = 60;

    public static TheoryData<string, string> Bugs => new()
    {
        { nameof(TwinBug.AnswersBeforeCommit), TwinSimulation.AnsweredSamplesStay },
        { nameof(TwinBug.SamplesCoalesced), TwinSimulation.AnsweredSamplesStay },
        { nameof(TwinBug.RowsForgotten), TwinSimulation.VersionsNeverGoBack },
        { nameof(TwinBug.TimestampsIgnored), TwinSimulation.Converges },
        { nameof(TwinBug.WindowNeverEnds), TwinSimulation.Converges },
    };

    [Fact]
    public void No_seed_breaks_a_promise()
    {
        var first = World.Setting("EDGE_SIM_FIRST_SEED", 0);
        var count = World.Setting("EDGE_SIM_SEEDS", SeedsByDefault);
        var failures = new ConcurrentQueue<TwinSimulationException>();
        long steps = 0, crashes = 0;
        Parallel.For(first, first + count, (seed, loop) =>
        {
            try
            {
                var result = TwinSimulation.Run(seed);
                Interlocked.Add(ref steps, result.Steps);
                Interlocked.Add(ref crashes, result.Crashes);
            }
            catch (TwinSimulationException e)
            {
                failures.Enqueue(e);
                if (failures.Count >= 3)
                    loop.Stop();
            }
        });
        output.WriteLine($"{count} seeds from {first}: {steps:N0} steps, {crashes:N0} crashes");
        if (!failures.IsEmpty)
            Assert.Fail(string.Join("\n\n", failures.OrderBy(failure => failure.Message.Length).Select(failure => failure.Message)));
        if (count >= SeedsByDefault)
            Assert.True(crashes > 100, $"only {crashes} crashes: the simulation does not do what it says");
    }

    [Theory]
    [MemberData(nameof(Bugs))]
    public void A_planted_bug_is_caught_by_the_promise_it_breaks(string bug, string invariant)
    {
        var others = new List<string>();
        for (var seed = 0; seed < SeedsToFind; seed++)
        {
            try
            {
                TwinSimulation.Run(seed, Enum.Parse<TwinBug>(bug));
            }
            catch (TwinSimulationException e) when (e.Invariant == invariant)
            {
                output.WriteLine($"{bug} is caught by seed {seed}");
                return;
            }
            catch (TwinSimulationException e)
            {
                others.Add($"seed {seed}: {e.Invariant}");
            }
        }

        Assert.Fail($"none of {SeedsToFind} seeds broke \"{invariant}\"; others: {string.Join(", ", others)}");
    }

    [Fact]
    public void Every_bug_has_its_test() => Assert.Equal(
        Enum.GetNames<TwinBug>().Where(name => name != nameof(TwinBug.None)).Order(), Bugs.Select(row => (string)row[0]).Order());

    [Fact]
    public void The_same_seed_gives_the_same_run() => Assert.Equal(TwinSimulation.Run(4), TwinSimulation.Run(4));
}
