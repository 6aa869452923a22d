using Xunit.Abstractions;

namespace Edge.Chaos.Tests;

/// <summary>kill -9 of one of two cloudcores on one Kubernetes API, in the middle of traffic.</summary>
[Trait("Category", "Chaos")]
public sealed class FailOverTests(ITestOutputHelper output)
{
    private const int HeartbeatSeconds = 1;
    private const int ArrivedDownMax = 40;
    private const int ArrivedUpMax = 8;

    // Few: nobody starts edgecore anew here, and its pauses grow with every link that does not live long.
    private const int FailOvers = 4;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(90);

    [Fact]
    public async Task Nothing_acknowledged_is_lost_when_the_node_goes_over_from_a_killed_cloudcore_to_another()
    {
        var settings = ChaosSettings.Read();
        var random = new Random(settings.Seed);
        await using var run = await ChaosRun.StartAsync(
            new ChaosEdgeOptions(HeartbeatSeconds, HasSpare: true), settings, nameof(Nothing_acknowledged_is_lost_when_the_node_goes_over_from_a_killed_cloudcore_to_another), output);
        await run.GuardAsync(async () =>
        {
            var serving = await run.Edge.ServedAsync(s_patience);
            for (var round = 1; round <= FailOvers; round++)
            {
                var (down, up) = (1 + random.Next(ArrivedDownMax), 1 + random.Next(ArrivedUpMax));
                await run.ArriveAsync(down, up);
                run.Trace($"kill -9 of {serving} after {down} down and {up} up");
                var began = TimeProvider.System.GetTimestamp();
                await run.Edge.FailOverAsync();
                // What was acknowledged before must come through without help from newer values, and without the one that took it.
                if (round % 2 == 1)
                    await run.HoldAsync();
                var before = serving;
                serving = await run.Edge.ServedAsync(s_patience);
                Assert.NotEqual(before, serving);
                run.Tell($"the node was at {serving} {TimeProvider.System.GetElapsedTime(began).TotalSeconds:0.0} s after {before} was killed");
                await run.HoldAsync();
                await run.ConvergeAsync();
                run.Trace($"converged at {serving}");
                run.Resume();
                await run.Edge.StartSpareAsync();
            }

            await run.ArriveAsync(ArrivedDownMax, ArrivedUpMax);
            await run.HoldAsync();
            await run.ConvergeAsync();
            Assert.NotEqual(0, run.Down.Deletes);
            await run.Down.StopAsync();
            await run.Mapper.StopAsync();
            run.Tell($"seed {settings.Seed}: down {run.Down.Acknowledged} changes acknowledged, {run.Ledger.Stored} versions stored; up {run.Mapper.Acknowledged} values acknowledged, {run.Status.Seen} versions at the API");
        });
    }
}
