namespace Edge.Simulation.Tests.Twin;

/// <summary>Defects that tests plant to see that the simulation of twins finds them. They live in the model round the core.</summary>
internal enum TwinBug
{
    None,

    /// <summary>A mapper's call is answered before its samples are in the durable queue.</summary>
    AnswersBeforeCommit,

    /// <summary>Of the samples that share a commit only the newest of a property goes up.</summary>
    SamplesCoalesced,

    /// <summary>The node starts without the rows of its earlier run.</summary>
    RowsForgotten,

    /// <summary>The cloud's desired values come without their timestamps.</summary>
    TimestampsIgnored,

    /// <summary>Nothing wakes the node when a window is over.</summary>
    WindowNeverEnds,
}

/// <summary>What goes wrong in a run. Shares are of single messages; a mean interval of 0 ms is never.</summary>
internal sealed record TwinFaults(string Name)
{
    public double LossShare { get; init; }

    public double DuplicateShare { get; init; }

    public int DelayMsMax { get; init; } = 20;

    public int CrashEveryMs { get; init; }

    public long WindowMs { get; init; }

    public static TwinFaults Of(int seed) => Kind(seed % 5) with { WindowMs = seed % 3 == 0 ? 0 : 1000 };

    private static TwinFaults Kind(int kind) => kind switch
    {
        0 => new TwinFaults("calm"),
        1 => new TwinFaults("loss and duplicates") { LossShare = 0.1, DuplicateShare = 0.1 },
        2 => new TwinFaults("reorder") { DelayMsMax = 2500, DuplicateShare = 0.1 },
        3 => new TwinFaults("restarts") { CrashEveryMs = 2500 },
        _ => new TwinFaults("everything") { LossShare = 0.08, DuplicateShare = 0.08, DelayMsMax = 1500, CrashEveryMs = 4000 },
    };
}

/// <summary>A broken promise.</summary>
internal sealed class TwinInvariantException(string invariant, string message) : Exception(message)
{
    public string Invariant { get; } = invariant;
}

/// <summary>Virtual time, chance and the last events of one run.</summary>
internal sealed class TwinWorld(int seed, TwinBug bug)
{
    private const int NotesMax = 30;

    private readonly PriorityQueue<Action, (long AtMs, long Order)> _events = new();
    private readonly Queue<string> _notes = new();
    private long _order;

    public Random Random { get; } = new(seed);

    public TwinBug Bug { get; } = bug;

    public TwinFaults Faults { get; } = TwinFaults.Of(seed);

    public bool HasFaults { get; set; } = true;

    public long NowMs { get; private set; } = 1_000_000;

    public long Steps { get; private set; }

    /// <summary>Of all that was noted: two runs that did the same have the same.</summary>
    public ulong Hash { get; private set; } = 14695981039346656037;

    public void After(long ms, Action action) => _events.Enqueue(action, (NowMs + ms, _order++));

    public void Every(int meanMs, Action action)
    {
        if (meanMs > 0)
            After(Random.Next(1, meanMs * 2), () =>
            {
                if (!HasFaults)
                    return;
                action();
                Every(meanMs, action);
            });
    }

    /// <summary>A message on its way: it may be lost, come twice, or late.</summary>
    public void Send(Action arrive)
    {
        if (HasFaults && Random.NextDouble() < Faults.LossShare)
            return;
        After(Random.Next(1, HasFaults ? Faults.DelayMsMax : 20), arrive);
        if (HasFaults && Random.NextDouble() < Faults.DuplicateShare)
            After(Random.Next(1, 3000), arrive);
    }

    /// <returns>False: nothing happens before <paramref name="untilMs"/>.</returns>
    public bool Step(long untilMs)
    {
        if (!_events.TryPeek(out _, out var at) || at.AtMs > untilMs)
        {
            NowMs = untilMs;
            return false;
        }

        NowMs = at.AtMs;
        Steps++;
        _events.Dequeue()();
        return true;
    }

    public void Note(string text)
    {
        _notes.Enqueue($"  {(NowMs - 1_000_000) / 1000.0,8:F3} s {text}");
        if (_notes.Count > NotesMax)
            _notes.Dequeue();
        foreach (var letter in text)
            Hash = (Hash ^ letter) * 1099511628211;
        Hash = (Hash ^ (ulong)NowMs) * 1099511628211;
    }

    public string Notes => string.Join('\n', _notes);
}
