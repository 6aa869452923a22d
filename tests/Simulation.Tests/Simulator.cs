using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests;

/// <summary>A run that broke a promise; the message holds all that is needed to see it again.</summary>
internal sealed class SimulationException(int seed, FaultProfile profile, World world, InvariantException cause) : Exception(
    $"""
    seed {seed} ({profile.Name}, {profile.Edges} edges, {profile.Clouds} clouds) broke "{cause.Invariant}" at step {world.Steps}, {world.NowMs / 1000.0:F3} s: {cause.Message}
    the last events:
    {world.Trace}replay: EDGE_SIM_FIRST_SEED={seed} EDGE_SIM_SEEDS=1 ./test.sh "FullyQualifiedName~SimulationTests"
    """, cause)
{
    public string Invariant { get; } = cause.Invariant;

    public ulong Hash { get; } = world.Trace.Hash;
}

/// <summary>What a run that went well was like.</summary>
internal sealed record SimulationResult(ulong Hash, long Steps, long VirtualMs, long Crashes, long Events);

/// <summary>Runs one seed: faults and changes for a while, then peace, then everything must be as the API says.</summary>
internal static class Simulator
{
    private const int EffectsToCrash = 12;

    /// <exception cref="SimulationException">A promise was broken.</exception>
    public static SimulationResult Run(int seed, PlantedBug bug = PlantedBug.None)
    {
        var profile = FaultProfile.Of(seed);
        var world = new World(seed, profile, bug);
        try
        {
            var crashes = Run(world);
            return new SimulationResult(world.Trace.Hash, world.Steps, world.NowMs, crashes, world.Trace.Count);
        }
        catch (InvariantException e)
        {
            throw new SimulationException(seed, profile, world, e);
        }
    }

    private static long Run(World world)
    {
        var profile = world.Profile;
        for (var i = 0; i < profile.Edges; i++)
        {
            world.Edges.Add(new EdgeMachine(world, i));
            world.Cluster.AddNode($"edge{i}");
        }

        for (var i = 0; i < 8; i++)
            world.Cluster.Change();
        for (var i = 0; i < profile.Clouds; i++)
            world.Clouds[i] = new CloudProcess(world, i);
        foreach (var edge in world.Edges)
            edge.Start();
        var crashes = PlanFaults(world);
        while (world.Step(profile.FaultMs))
        {
        }

        Heal(world);
        var until = world.NowMs + profile.ConvergeMs;
        var difference = "";
        while (world.NowMs < until)
        {
            var next = world.NowMs + 500;
            while (world.Step(next))
            {
            }

            difference = world.Check.Difference();
            if (difference is null)
                return crashes();
        }

        world.Check.Fail(Checker.Converges, $"{difference}, {profile.ConvergeMs / 1000} s after the faults stopped");
        return 0;
    }

    private static void Heal(World world)
    {
        world.HasFaults = false;
        world.Note("faults stop", -1);
        foreach (var cloud in world.Clouds)
            cloud?.Spare();
        foreach (var edge in world.Edges)
        {
            edge.ReleaseHeld();
            edge.Process?.Spare();
            // A link that was not in order is not to be trusted; what took its place is.
            if (world.Profile.IsWild)
                edge.Process?.Session?.Link.Break(tellEdge: true, tellCloud: true);
        }
    }

    private static Func<long> PlanFaults(World world)
    {
        var profile = world.Profile;
        var random = world.Random;
        var crashes = 0L;
        EdgeMachine Any() => world.Edges[random.Next(world.Edges.Count)];
        Every(world, profile.ChangeEveryMs, world.Cluster.Change);
        Every(world, profile.BreakEveryMs, () =>
        {
            if (Any() is not { Process.Session: { IsOver: false } session } edge)
                return;
            world.Note("link breaks", edge.Index);
            var who = random.Next(4);
            session.Link.Break(tellEdge: who != 0, tellCloud: who != 1);
        });
        Every(world, profile.PartitionEveryMs, () =>
        {
            var edge = Any();
            var until = world.NowMs + random.Next(200, profile.PartitionMsMax);
            var which = random.Next(3);
            world.Note(which switch { 0 => "held to the cloud", 1 => "held to the edge", _ => "held both ways" }, edge.Index, number: until);
            if (which != 1)
                edge.Hold(toCloud: true, until);
            if (which != 0)
                edge.Hold(toCloud: false, until);
        });
        Every(world, profile.CloudCrashEveryMs, () =>
        {
            crashes++;
            world.Clouds[random.Next(world.Clouds.Length)]?.CrashWithin(EffectsToCrash);
        });
        Every(world, profile.EdgeCrashEveryMs, () =>
        {
            crashes++;
            Any().Process?.CrashWithin(EffectsToCrash);
        });
        Every(world, profile.DiskFullEveryMs, () =>
        {
            var edge = Any();
            edge.DiskFullUntilMs = world.NowMs + random.Next(100, 4_000);
            world.Note("disk full", edge.Index, number: edge.DiskFullUntilMs);
        });
        Every(world, profile.RefuseEveryMs, () =>
        {
            var edge = Any();
            var resource = random.Next(4) switch
            {
                0 => $"default/configmap/config{random.Next(3)}",
                1 => $"default/device/device{random.Next(4)}",
                _ => $"default/pod/pod{random.Next(12)}",
            };
            edge.Refuse(resource, world.NowMs + random.Next(1_000, 20_000));
            world.Note("refuses from now", edge.Index, resource);
        });
        Every(world, profile.WatchBreakEveryMs, () => world.Clouds[random.Next(world.Clouds.Length)]?.BreakWatch((Watched)random.Next(ClusterModel.KindCount)));
        Every(world, profile.ClusterCopyEveryMs, () =>
        {
            if (random.Next(2) == 0 || !world.Cluster.HasCopy)
            {
                world.Cluster.Copy();
                return;
            }

            // The versions go back with the data: a CloudCore that went on would wait for versions long past.
            foreach (var cloud in world.Clouds)
                cloud?.Crash();
            world.Cluster.SetBack();
            world.Check.ClusterSetBack();
        });
        Every(world, profile.DiskCopyEveryMs, () =>
        {
            var edge = Any();
            if (random.Next(2) == 0)
            {
                edge.CopyObjects();
                return;
            }

            edge.Process?.Crash();
            edge.SetObjectsBack(isLost: random.Next(3) == 0);
            world.Check.ObjectsSetBack(edge);
        });
        return () => crashes;
    }

    private static void Every(World world, int meanMs, Action action)
    {
        if (meanMs <= 0)
            return;
        world.Between(1, meanMs * 2, null, () =>
        {
            if (!world.HasFaults)
                return;
            action();
            Every(world, meanMs, action);
        });
    }
}
