using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests;

/// <summary>A promise that was broken; names the invariant.</summary>
internal sealed class InvariantException(string invariant, string text) : Exception($"{invariant}: {text}")
{
    public string Invariant { get; } = invariant;
}

/// <summary>Something that can end; what was planned for it then never happens.</summary>
internal abstract class Life
{
    public bool IsDead { get; protected set; }

    /// <summary>The process this is part of; a crash of the process ends it too.</summary>
    public virtual Life? Process => null;

    public bool IsOver => IsDead || Process is { IsOver: true };
}

/// <summary>A process: it can crash between any two effects.</summary>
internal abstract class SimProcess(World world) : Life
{
    private int _effectsLeft;

    protected World World { get; } = world;

    /// <summary>Crashes before one of the next <paramref name="effects"/> effects.</summary>
    public void CrashWithin(int effects) => _effectsLeft = 1 + World.Random.Next(effects);

    /// <summary>Takes a planned crash back.</summary>
    public void Spare() => _effectsLeft = 0;

    /// <summary>False when the process is no more; whatever goes out or on to disk asks first.</summary>
    public bool Effect()
    {
        if (IsDead)
            return false;
        if (_effectsLeft == 0 || --_effectsLeft > 0)
            return true;
        Crash();
        return false;
    }

    public void Crash()
    {
        if (IsDead)
            return;
        IsDead = true;
        Crashed();
    }

    protected abstract void Crashed();
}

/// <summary>Virtual time, chance and the parts of one run.</summary>
internal sealed class World
{
    private readonly PriorityQueue<(Life? Life, Action Action), (long AtMs, long Order)> _events = new();
    private long _order;
    private int _ids;

    public World(int seed, FaultProfile profile, PlantedBug bug)
    {
        Random = new Random(seed);
        Profile = profile;
        Bug = bug;
        Clouds = new CloudProcess?[profile.Clouds];
        Cluster = new ClusterModel(this);
        Check = new Checker(this);
    }

    public Random Random { get; }

    public FaultProfile Profile { get; }

    public PlantedBug Bug { get; }

    public Trace Trace { get; } = new(Setting("EDGE_SIM_TRACE", 30));

    public ClusterModel Cluster { get; }

    public Checker Check { get; }

    public List<EdgeMachine> Edges { get; } = [];

    /// <summary>Each null while that CloudCore is down.</summary>
    public CloudProcess?[] Clouds { get; }

    public long NowMs { get; private set; }

    public long Steps { get; private set; }

    public bool HasFaults { get; set; } = true;

    /// <summary>Does <paramref name="action"/> later, unless <paramref name="life"/> is over by then.</summary>
    public void After(long delayMs, Life? life, Action action) => _events.Enqueue((life, action), (NowMs + delayMs, _order++));

    public void Between(int minMs, int maxMs, Life? life, Action action) => After(Random.Next(minMs, maxMs + 1), life, action);

    /// <summary>Goes on to the next event; false when it is later than <paramref name="untilMs"/>.</summary>
    public bool Step(long untilMs)
    {
        while (_events.TryPeek(out var next, out var due) && due.AtMs <= untilMs)
        {
            _events.Dequeue();
            if (next.Life is { IsOver: true })
                continue;
            NowMs = due.AtMs;
            Steps++;
            next.Action();
            foreach (var cloud in Clouds)
                cloud?.Sync.Pump();
            Check.AfterStep();
            return true;
        }

        NowMs = untilMs;
        return false;
    }

    /// <summary>A whole number from the environment.</summary>
    public static int Setting(string name, int byDefault)
    {
        var text = Environment.GetEnvironmentVariable(name);
        if (string.IsNullOrEmpty(text))
            return byDefault;
        return int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var number)
            ? number : throw new InvalidOperationException($"{name} is '{text}'; it must be a whole number of 0 or more");
    }

    public string NewId(string prefix) => $"{prefix}{++_ids}";

    public bool Chance(double share) => share > 0 && Random.NextDouble() < share;

    public void Note(string what, int edge, string text = "", long number = 0) => Trace.Add(NowMs, Steps, what, edge, text, number);
}
