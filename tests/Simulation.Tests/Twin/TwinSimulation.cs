namespace Edge.Simulation.Tests.Twin;

/// <summary>A run that broke a promise, with all that is needed to see it again.</summary>
internal sealed class TwinSimulationException(int seed, TwinWorld world, TwinInvariantException cause) : Exception(
    $"""
    seed {seed} ({world.Faults.Name}, window {world.Faults.WindowMs} ms) broke "{cause.Invariant}" at step {world.Steps}, {(world.NowMs - 1_000_000) / 1000.0:F3} s: {cause.Message}
    the last events:
    {world.Notes}
    replay: EDGE_SIM_FIRST_SEED={seed} EDGE_SIM_SEEDS=1 ./test.sh "FullyQualifiedName~TwinSimulationTests"
    """, cause)
{
    public string Invariant { get; } = cause.Invariant;
}

/// <summary>One seed of device twins: a mapper, an application and the cloud round a TwinCore whose process ends and whose messages are lost, late and doubled.</summary>
internal static class TwinSimulation
{
    public const string AnsweredSamplesStay = "no answered sample is lost";
    public const string VersionsNeverGoBack = "versions never go back";
    public const string RowsAreReadable = "rows are readable";
    public const string Converges = "the last value arrives and the latest desired value stands";

    private const int FaultMs = 20_000;
    private const int ConvergeMs = 60_000;

    /// <exception cref="TwinSimulationException">A promise was broken.</exception>
    public static (ulong Hash, long Steps, int Crashes) Run(int seed, TwinBug bug = TwinBug.None)
    {
        var world = new TwinWorld(seed, bug);
        try
        {
            var crashes = Run(world);
            return (world.Hash, world.Steps, crashes);
        }
        catch (TwinInvariantException e)
        {
            throw new TwinSimulationException(seed, world, e);
        }
    }

    private static int Run(TwinWorld world)
    {
        var site = new TwinSite(world);
        site.Node = new TwinNode(world, site, site.Disk);
        site.Start();
        var crashes = 0;
        world.Every(world.Faults.CrashEveryMs, () =>
        {
            if (site.Node is not { } node)
                return;
            crashes++;
            world.Note("the node ends");
            node.IsDead = true;
            site.Node = null;
            world.After(world.Random.Next(1, 1500), () =>
            {
                world.Note("the node starts");
                site.Node = new TwinNode(world, site, site.Disk);
            });
        });
        var faultsEnd = world.NowMs + FaultMs;
        while (world.Step(faultsEnd))
            site.Check();
        world.HasFaults = false;
        world.Note("faults stop");
        var end = world.NowMs + ConvergeMs;
        while (world.NowMs < end)
        {
            var next = world.NowMs + 500;
            while (world.Step(next))
                site.Check();
            if (site.Difference() is null)
                return crashes;
        }

        throw new TwinInvariantException(Converges, $"{site.Difference()}, {ConvergeMs / 1000} s after the faults stopped");
    }
}
