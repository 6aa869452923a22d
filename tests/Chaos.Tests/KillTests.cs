using Xunit.Abstractions;

namespace Edge.Chaos.Tests;

/// <summary>kill -9 of either side in the middle of traffic.</summary>
[Trait("Category", "Chaos")]
public sealed class KillTests(ITestOutputHelper output)
{
    // Small, so that a half-open link costs a round two seconds and not thirty.
    private const int HeartbeatSeconds = 1;
    private const int ArrivedDownMax = 40;
    private const int ArrivedUpMax = 8;
    private const int DownTimeMsMax = 300;

    /// <summary>One in so many kills of cloudcore refuses connections until it is back; at the others they wait, so that edgecore's growing pauses do not make up the run.</summary>
    private const int RefusedOneIn = 4;

    private static readonly TimeSpan s_hold = TimeSpan.FromSeconds(10);

    /// <summary>One in so many rounds has a fault on the link before its kill.</summary>
    private const int FaultOneIn = 4;

    /// <summary>At one in so many kills of edgecore its queue has statuses of pods and Events that it had committed. The others leave its file as the crash did.</summary>
    private const int ReportsOneIn = 2;

    /// <summary>One in so many rounds kills both sides at the same moment.</summary>
    private const int BothOneIn = 8;

    [Fact]
    public async Task Nothing_acknowledged_is_lost_or_stale_when_either_side_is_killed_in_the_middle_of_traffic()
    {
        var settings = ChaosSettings.Read();
        var random = new Random(settings.Seed);
        await using var run = await ChaosRun.StartAsync(
            new ChaosEdgeOptions(HeartbeatSeconds), settings, nameof(Nothing_acknowledged_is_lost_or_stale_when_either_side_is_killed_in_the_middle_of_traffic), output);
        await run.GuardAsync(async () =>
        {
            var began = TimeProvider.System.GetTimestamp();
            var (cloud, edge, checks, faults) = (0, 0, 0, 0);
            var (flows, same) = (new List<TimeSpan>(), new List<TimeSpan>());
            foreach (var sides in Rounds(settings.Kills, random))
            {
                if (random.Next(FaultOneIn) == 0)
                {
                    faults++;
                    run.Trace($"fault {Faults.Put(run.Edge.Hub, random)}");
                }

                // The link carries traffic, and does so at this moment: now.
                var (down, up) = (1 + random.Next(ArrivedDownMax), 1 + random.Next(ArrivedUpMax));
                var since = TimeProvider.System.GetTimestamp();
                await run.ArriveAsync(down, up);
                flows.Add(TimeProvider.System.GetElapsedTime(since));
                run.Edge.Hub.Delay = TimeSpan.Zero;
                cloud += sides.HasFlag(Side.Cloud) ? 1 : 0;
                edge += sides.HasFlag(Side.Edge) ? 1 : 0;
                run.Edge.Hub.Hold = random.Next(RefusedOneIn) == 0 ? TimeSpan.Zero : s_hold;
                var isChecked = random.Next(2) == 0;
                run.Trace($"kill -9 of {sides} ({cloud} and {edge} so far) after {down} down and {up} up{(isChecked ? ", then a check" : "")}");
                var hasReports = sides.HasFlag(Side.Edge) && edge % ReportsOneIn == 0;
                var killing = run.Edge.KillAsync(sides, TimeSpan.FromMilliseconds(random.Next(DownTimeMsMax)), hasReports ? () => run.Reports.Commit(run.Edge.Store) : null);
                if (isChecked)
                    await run.HoldAsync();
                await killing;
                run.Trace("ready again");
                if (!isChecked)
                    continue;

                // What was acknowledged before the kill must come through without help from newer values.
                since = TimeProvider.System.GetTimestamp();
                await run.ConvergeAsync();
                same.Add(TimeProvider.System.GetElapsedTime(since));
                checks++;
                run.Trace("converged");
                run.Resume();
            }

            run.Trace("no more kills");
            while (run.Down.Acknowledged < settings.Changes || run.Mapper.Acknowledged < settings.Changes)
                await run.ArriveAsync(1, 1);
            await run.HoldAsync();
            await run.ConvergeAsync();
            await run.Edge.WaitAsync("the edge's queue of reports gets empty", () => run.Edge.Store.QueuedReports() == 0, TimeSpan.FromSeconds(60));

            Assert.Equal(settings.Kills, cloud + edge);
            Assert.InRange(run.Down.Acknowledged, settings.Changes, long.MaxValue);
            Assert.InRange(run.Mapper.Acknowledged, settings.Changes, long.MaxValue);
            Assert.NotEqual(0, run.Down.Deletes);
            Assert.Equal(settings.Kills >= 2 * ReportsOneIn, run.Reports is { Statuses: > 0, Events: > 0 });
            await run.Down.StopAsync();
            await run.Mapper.StopAsync();
            TellTimes(run, "traffic flowed both ways again after a process was ready", flows);
            TellTimes(run, "both ends were the same after a process was ready", same);
            Tell(run, settings, $"{cloud} kills of cloudcore, {edge} of edgecore, {faults} faults of the link, {checks + 1} checks in {TimeProvider.System.GetElapsedTime(began).TotalSeconds:0} s");
        });
    }

    // As many of one side as of the other; some at the same moment.
    private static List<Side> Rounds(int kills, Random random)
    {
        var both = kills / 2 / BothOneIn;
        List<Side> rounds =
        [
            .. Enumerable.Repeat(Side.Both, both),
            .. Enumerable.Repeat(Side.Cloud, (kills / 2) - both),
            .. Enumerable.Repeat(Side.Edge, kills - (kills / 2) - both),
        ];
        var mixed = rounds.ToArray();
        random.Shuffle(mixed);
        return [.. mixed];
    }

    private static void TellTimes(ChaosRun run, string what, List<TimeSpan> times)
    {
        times.Sort();
        if (times.Count > 0)
            run.Tell($"{what}: median {times[times.Count / 2].TotalSeconds:0.0} s, longest {times[^1].TotalSeconds:0.0} s, {times.Count} times");
    }

    private static void Tell(ChaosRun run, ChaosSettings settings, string kills)
    {
        run.Tell($"seed {settings.Seed}: {kills}");
        run.Tell($"down: {run.Down.Acknowledged} changes acknowledged by the API ({run.Down.Deletes} deletes), {run.Ledger.Stored} versions and {run.Ledger.Deletes} deletes committed at the edge");
        run.Tell($"up: {run.Mapper.Acknowledged} values acknowledged by edgecore ({run.Mapper.Unanswered} without an answer), {run.Status.Seen} versions at the API");
        run.Tell($"up: {run.Reports.Statuses} statuses of pods and {run.Reports.Events} Events committed");
        run.Tell($"connections through the proxy: {run.Edge.Hub.Accepted}");
        foreach (var who in run.Edge.Restarts.GroupBy(restart => restart.Who))
        {
            var sorted = who.Select(restart => restart.Ms).Order().ToArray();
            run.Tell($"start of {who.Key} until ready: median {sorted[sorted.Length / 2]:0} ms, longest {sorted[^1]:0} ms, {sorted.Length} starts");
        }
    }
}
