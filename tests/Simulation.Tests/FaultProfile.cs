namespace Edge.Simulation.Tests;

/// <summary>What goes wrong in a run, and how big the run is. Times are milliseconds of virtual time; 0 as a mean interval means never.</summary>
internal sealed record FaultProfile(string Name)
{
    public int Edges { get; init; } = 2;

    /// <summary>CloudCores on the one API; an edge connects to either.</summary>
    public int Clouds { get; init; } = 1;

    /// <summary>How long faults and changes go on.</summary>
    public int FaultMs { get; init; } = 40_000;

    /// <summary>Within this after the faults have stopped, everything must be as the API says.</summary>
    public int ConvergeMs { get; init; } = 240_000;

    public int ChangeEveryMs { get; init; } = 700;

    public int PostEveryMs { get; init; } = 900;

    public int QueryEveryMs { get; init; } = 4_000;

    public int LatencyMsMin { get; init; } = 1;

    public int LatencyMsMax { get; init; } = 60;

    /// <summary>Both ends learn of the break, or one only by silence.</summary>
    public int BreakEveryMs { get; init; }

    public int PartitionEveryMs { get; init; }

    public int PartitionMsMax { get; init; } = 45_000;

    public int CloudCrashEveryMs { get; init; }

    public int EdgeCrashEveryMs { get; init; }

    public int DownMsMax { get; init; } = 4_000;

    /// <summary>A disk takes no writes for a while.</summary>
    public int DiskFullEveryMs { get; init; }

    public int CommitMsMax { get; init; } = 15;

    /// <summary>An edge refuses one object for a while.</summary>
    public int RefuseEveryMs { get; init; }

    public int WatchBreakEveryMs { get; init; }

    /// <summary>The cluster's data is copied, or set back to the last copy while no CloudCore runs.</summary>
    public int ClusterCopyEveryMs { get; init; }

    /// <summary>The objects on an edge's disk are copied, set back to the last copy, or lost, while the edge is down.</summary>
    public int DiskCopyEveryMs { get; init; }

    public int WatchMsMax { get; init; } = 40;

    public int ApiMsMax { get; init; } = 30;

    public double ApiFailShare { get; init; }

    /// <summary>Share of messages that come twice, the second time late.</summary>
    public double DuplicateShare { get; init; }

    /// <summary>Share of messages that later ones may overtake.</summary>
    public double ReorderShare { get; init; }

    /// <summary>Objects and answers travel in streams of their own: each in order, not so among them.</summary>
    public bool HasStreams { get; init; }

    /// <summary>How far the speed of a side's clock is from true, at most.</summary>
    public double ClockDrift { get; init; } = 0.1;

    public int Window { get; init; } = 4;

    public int ResendMs { get; init; } = 1_500;

    public int ObjectsMax { get; init; } = 200;

    public int EntriesMax { get; init; } = 200;

    /// <summary>True where a link cannot be trusted to be in order; such links are replaced when the faults stop.</summary>
    public bool IsWild => DuplicateShare > 0 || ReorderShare > 0;

    /// <summary>True when nothing else goes wrong than that objects are refused.</summary>
    public bool IsOnlyRefusals => RefuseEveryMs > 0 && BreakEveryMs == 0 && CloudCrashEveryMs == 0 && EdgeCrashEveryMs == 0 && DiskFullEveryMs == 0 && PartitionEveryMs == 0;

    private static readonly FaultProfile[] s_all =
    [
        new("calm") { ClockDrift = 0, ApiMsMax = 10 },
        new("breaks") { BreakEveryMs = 4_000, ApiFailShare = 0.05 },
        new("half-open") { PartitionEveryMs = 12_000, BreakEveryMs = 20_000, LatencyMsMax = 300 },
        new("cloud crashes") { CloudCrashEveryMs = 6_000, BreakEveryMs = 20_000, ApiFailShare = 0.05 },
        new("edge crashes") { EdgeCrashEveryMs = 4_000, CommitMsMax = 200, PostEveryMs = 500 },
        new("bad disks") { DiskFullEveryMs = 6_000, CommitMsMax = 600, BreakEveryMs = 15_000, EdgeCrashEveryMs = 15_000 },
        new("refusals") { RefuseEveryMs = 4_000, ClockDrift = 0, ApiMsMax = 10, ResendMs = 20_000, Window = 2 },
        new("slow links") { LatencyMsMin = 50, LatencyMsMax = 4_000, ResendMs = 400, BreakEveryMs = 10_000 },
        new("streams") { HasStreams = true, LatencyMsMax = 400, BreakEveryMs = 8_000, CloudCrashEveryMs = 25_000 },
        new("slow api") { ApiMsMax = 3_000, ApiFailShare = 0.2, BreakEveryMs = 3_000, WatchMsMax = 1_500, WatchBreakEveryMs = 6_000 },
        new("wild") { DuplicateShare = 0.1, ReorderShare = 0.1, LatencyMsMax = 500, BreakEveryMs = 10_000, CloudCrashEveryMs = 30_000 },
        new("everything")
        {
            Edges = 3, BreakEveryMs = 8_000, PartitionEveryMs = 25_000, PartitionMsMax = 20_000, CloudCrashEveryMs = 12_000, EdgeCrashEveryMs = 12_000,
            DiskFullEveryMs = 15_000, CommitMsMax = 250, RefuseEveryMs = 12_000, WatchBreakEveryMs = 10_000, ApiFailShare = 0.1, ApiMsMax = 300,
            LatencyMsMax = 500, EntriesMax = 6, ResendMs = 600,
        },
        new("restored clusters") { ClusterCopyEveryMs = 5_000, BreakEveryMs = 20_000, ApiFailShare = 0.05 },
        new("restored disks") { DiskCopyEveryMs = 2_500, BreakEveryMs = 20_000, ApiFailShare = 0.05 },
    ];

    /// <summary>Seeds take the profiles in turn, and vary their sizes.</summary>
    public static FaultProfile Of(int seed)
    {
        var profile = s_all[(int)((uint)seed % (uint)s_all.Length)];
        var random = new Random(seed ^ 0x5EED);
        return profile with
        {
            Edges = profile.Edges + random.Next(2),
            ChangeEveryMs = profile.ChangeEveryMs / (1 + random.Next(3)),
            FaultMs = profile.FaultMs / (1 + random.Next(2)),
            Clouds = 1 + random.Next(2),
        };
    }

    /// <summary>The first seeds of the profile with this name.</summary>
    public static IEnumerable<int> SeedsOf(string name, int count)
    {
        for (var i = 0; i < s_all.Length; i++)
        {
            if (s_all[i].Name == name)
            {
                for (var n = 0; n < count; n++)
                    yield return i + n * s_all.Length;
            }
        }
    }

    public static IEnumerable<string> Names => s_all.Select(profile => profile.Name);
}
