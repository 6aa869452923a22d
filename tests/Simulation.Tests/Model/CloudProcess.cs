using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Simulation.Tests.Adapters;

namespace Edge.Simulation.Tests.Model;

/// <summary>CloudCore while it runs: its watches, the real NodeSync, and the sessions of its nodes. A crash loses everything.</summary>
internal sealed class CloudProcess : SimProcess
{
    private readonly OrderedDictionary<string, JsonObject>[] _caches = [.. Enumerable.Range(0, ClusterModel.KindCount).Select(_ => new OrderedDictionary<string, JsonObject>())];
    private readonly int[] _positions = new int[ClusterModel.KindCount];
    private readonly bool[] _isWaking = new bool[ClusterModel.KindCount];
    private readonly bool[] _isBroken = new bool[ClusterModel.KindCount];
    private readonly List<CloudSession> _sessions = [];
    private readonly Dictionary<string, Guard> _guards = [];
    private int _listed;

    public CloudProcess(World world, int index)
        : base(world)
    {
        Index = index;
        Sync = new CloudSync(world, this);
        Clock = new SideClock(world);
        World.Note("cloud starts", -1);
        for (var kind = Watched.Node; kind <= Watched.Device; kind++)
        {
            var listed = kind;
            _isBroken[(int)kind] = true; // until the first list
            World.Between(20, 300, this, () =>
            {
                Relist(listed);
                if (++_listed == ClusterModel.KindCount)
                    Sync.Ready();
            });
        }
    }

    public int Index { get; }

    /// <summary>What goes to which node.</summary>
    public CloudSync Sync { get; }

    public SideClock Clock { get; }

    /// <summary>Edges are taken once every watch has its first list.</summary>
    public bool IsReady => _listed == ClusterModel.KindCount;

    /// <summary>Those that live, and those of which something is still served.</summary>
    public IReadOnlyList<CloudSession> Sessions => _sessions;

    /// <summary>Values that this process has applied, for the checker.</summary>
    public HashSet<long> Applied { get; } = [];

    /// <summary>Devices that this process has told of, for a planted bug.</summary>
    public HashSet<(string Edge, string Device)> Told { get; } = [];

    /// <summary>The cluster has a change of this kind.</summary>
    public void WatchWakes(Watched kind)
    {
        var index = (int)kind;
        if (_isWaking[index] || _isBroken[index] || IsDead)
            return;
        _isWaking[index] = true;
        World.Between(1, World.Profile.WatchMsMax, this, () =>
        {
            _isWaking[index] = false;
            if (_isBroken[index])
                return;
            // Several changes may arrive as one piece.
            for (var left = 1 + World.Random.Next(3); left > 0 && _positions[index] < World.Cluster.Log(kind).Count; left--)
                Changed(kind, World.Cluster.Log(kind)[_positions[index]++]);
            if (_positions[index] < World.Cluster.Log(kind).Count)
                WatchWakes(kind);
        });
    }

    /// <summary>The watch of one kind ends and starts again with a list.</summary>
    public void BreakWatch(Watched kind)
    {
        if (_isBroken[(int)kind])
            return;
        World.Note("watch breaks", -1, kind.ToString());
        _isBroken[(int)kind] = true;
        World.Between(200, 4_000, this, () => Relist(kind));
    }

    public CloudSession Accept(Link link, EdgeMachine edge)
    {
        var session = new CloudSession(World, this, link, edge);
        _sessions.Add(session);
        Sync.Register(session);
        session.Start();
        return session;
    }

    public void Unregister(CloudSession session)
    {
        _sessions.Remove(session);
        Sync.Unregister(session);
    }

    public Guard GuardOf(string node)
    {
        if (!_guards.TryGetValue(node, out var guard))
            _guards[node] = guard = new Guard(World.Bug);
        return guard;
    }

    protected override void Crashed()
    {
        World.Note("cloud crashes", -1);
        World.Clouds[Index] = null;
        foreach (var session in _sessions)
            session.Link.Break(tellEdge: !session.Edge.IsHeld(toCloud: false), tellCloud: false);
        World.Between(100, World.Profile.DownMsMax, null, () => World.Clouds[Index] = new CloudProcess(World, Index));
    }

    private void Relist(Watched kind)
    {
        var index = (int)kind;
        var cache = _caches[index];
        _positions[index] = World.Cluster.Log(kind).Count;
        _isBroken[index] = false;
        var present = new HashSet<string>();
        foreach (var obj in World.Cluster.List(kind).ToList())
        {
            present.Add(obj.Name());
            if (!cache.TryGetValue(obj.Name(), out var known))
                Changed(kind, new ObjectChange(ChangeType.Added, obj, null));
            else if (known.Uid() != obj.Uid())
                Replace(kind, known, obj);
            else if (known.ResourceVersion() != obj.ResourceVersion())
                Changed(kind, new ObjectChange(ChangeType.Updated, obj, known));
        }

        foreach (var (name, known) in cache.ToList())
        {
            if (!present.Contains(name))
                Changed(kind, new ObjectChange(ChangeType.Deleted, AsOf(known, World.Cluster.Version), known));
        }
    }

    private void Replace(Watched kind, JsonObject known, JsonObject obj)
    {
        Changed(kind, new ObjectChange(ChangeType.Deleted, AsOf(known, obj.Version()), known));
        Changed(kind, new ObjectChange(ChangeType.Added, obj, null));
    }

    // As the informer does: what went while nobody watched is deleted as of the list.
    private static JsonObject AsOf(JsonObject known, long version)
    {
        var last = known.DeepClone().AsObject();
        last["metadata"]!["resourceVersion"] = version.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return last;
    }

    private void Changed(Watched kind, ObjectChange change)
    {
        var cache = _caches[(int)kind];
        if (change.Type == ChangeType.Deleted)
            cache.Remove(change.Object.Name());
        else
            cache[change.Object.Name()] = change.Object;
        Sync.Changed(kind, change);
    }
}
