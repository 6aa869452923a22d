using Xunit.Abstractions;

namespace Edge.Chaos.Tests;

/// <summary>Faults of the link alone, amid traffic; nobody is killed.</summary>
[Trait("Category", "Chaos")]
public sealed class LinkFaultTests(ITestOutputHelper output)
{
    private const int HeartbeatSeconds = 3;
    private const int ArrivedDownMax = 20;
    private const int ArrivedUpMax = 4;

    // Beats without a word after which each side takes the other for dead.
    private const int BeatsMissed = 2;

    // For a machine that is busy with something else. Without keepalives it would take TCP a quarter of an hour.
    private static readonly TimeSpan s_allowance = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan s_delay = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Cut_delayed_half_open_and_corrupted_links_lose_nothing_and_a_dead_peer_is_seen_within_two_beats()
    {
        var settings = ChaosSettings.Read();
        var random = new Random(settings.Seed);
        await using var run = await ChaosRun.StartAsync(
            new ChaosEdgeOptions(HeartbeatSeconds), settings, nameof(Cut_delayed_half_open_and_corrupted_links_lose_nothing_and_a_dead_peer_is_seen_within_two_beats), output);
        await run.GuardAsync(async () =>
        {
            // Each once: edgecore's pauses grow with every link that does not live long, up to 30 s.
            var order = Faults.All.ToArray();
            random.Shuffle(order);
            foreach (var fault in order)
            {
                await run.ArriveAsync(1 + random.Next(ArrivedDownMax), 1 + random.Next(ArrivedUpMax));
                var accepted = run.Edge.Hub.Accepted;
                var began = TimeProvider.System.GetTimestamp();
                var link = Assert.Single(Faults.Put(run.Edge.Hub, fault, s_delay));
                run.Trace($"fault {fault}");
                if (fault == Fault.Delay)
                {
                    // Slow is not dead: the same connection carries all of it.
                    await run.ArriveAsync(ArrivedDownMax, ArrivedUpMax);
                    Assert.Equal(accepted, run.Edge.Hub.Accepted);
                }
                else if (fault is Fault.HalfOpenUp or Fault.HalfOpenDown or Fault.HalfOpenBoth)
                    await SeenAsync(run, fault, link, began);
                else
                    await run.Edge.WaitAsync($"{fault}: the connection ends", () => !run.Edge.Hub.Links.Contains(link), s_patience);

                if (fault != Fault.Delay)
                    await run.Edge.WaitAsync($"after {fault}: edgecore connects again", () => run.Edge.Hub.Accepted > accepted, s_patience);
                await run.HoldAsync();
                await run.ConvergeAsync();
                run.Edge.Hub.Delay = TimeSpan.Zero;
                run.Resume();
            }

            Assert.NotEqual(0, run.Down.Deletes);
            await run.HoldAsync();
            await run.ConvergeAsync();
            run.Tell($"seed {settings.Seed}: {order.Length} faults, {run.Edge.Hub.Accepted} connections; down {run.Down.Acknowledged} changes acknowledged, {run.Ledger.Stored} versions stored; "
                + $"up {run.Mapper.Acknowledged} values acknowledged, {run.Status.Seen} versions at the API");
        });
    }

    // The close of who sees it first passes on where that way is open; where both are silent, each sees it alone.
    private static async Task SeenAsync(ChaosRun run, Fault fault, ProxiedLink link, long began)
    {
        var limit = TimeSpan.FromSeconds(BeatsMissed * HeartbeatSeconds) + s_allowance;
        await run.Edge.WaitAsync($"{fault}: edgecore sees that the link is dead", () => link.NearClosed.IsCompletedSuccessfully, s_patience);
        await run.Edge.WaitAsync($"{fault}: cloudcore sees that the link is dead", () => link.FarClosed.IsCompletedSuccessfully, s_patience);
        var edge = TimeProvider.System.GetElapsedTime(began, await link.NearClosed);
        var cloud = TimeProvider.System.GetElapsedTime(began, await link.FarClosed);
        run.Tell($"{fault}: seen by edgecore after {edge.TotalSeconds:0.0} s, by cloudcore after {cloud.TotalSeconds:0.0} s; two beats are {BeatsMissed * HeartbeatSeconds} s");
        Assert.InRange(edge, TimeSpan.Zero, limit);
        Assert.InRange(cloud, TimeSpan.Zero, limit);
    }
}
