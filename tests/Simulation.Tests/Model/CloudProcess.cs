using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Sync;
using Edge.Simulation.Tests.Adapters;

namespace Edge.Simulation.Tests.Model;

/// <summary>CloudCore while it runs: its watches and the sessions of its nodes, wired as SyncController/NodeSync wires them. A crash loses everything.</summary>
internal sealed class CloudProcess : SimProcess
{
    private readonly NodePicture _picture = new();
    private readonly OrderedDictionary<string, JsonObject>[] _caches = [.. Enumerable.Range(0, ClusterModel.KindCount).Select(_ => new OrderedDictionary<string, JsonObject>())];
    private readonly int[] _positions = new int[ClusterModel.KindCount];
    private readonly bool[] _isWaking = new bool[ClusterModel.KindCount];
    private readonly bool[] _isBroken = new bool[ClusterModel.KindCount];
    private readonly Dictionary<string, CloudSession> _sessions = [];
    private readonly Dictionary<string, Guard> _guards = [];
    private readonly List<PlacementOutput> _outputs = [];
    private int _listed;

    public CloudProcess(World world)
        : base(world)
    {
        Clock = new SideClock(world);
        World.Note("cloud starts", -1);
        for (var kind = Watched.Node; kind <= Watched.Device; kind++)
        {
            var listed = kind;
            _isBroken[(int)kind] = true; // until the first list
            World.Between(20, 300, this, () =>
            {
                Relist(listed);
                _listed++;
            });
        }
    }

    public SideClock Clock { get; }

    /// <summary>Edges are taken once every watch has its first list.</summary>
    public bool IsReady => _listed == ClusterModel.KindCount;

    public IReadOnlyDictionary<string, CloudSession> Sessions => _sessions;

    /// <summary>Values that this process has applied, for the checker.</summary>
    public HashSet<long> Applied { get; } = [];

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
        if (_sessions.TryGetValue(edge.Name, out var before))
            before.End("replaced");

        _sessions[edge.Name] = session;
        session.Start();
        return session;
    }

    public void Unregister(CloudSession session)
    {
        if (World.Bug != PlantedBug.OldEndClearsNewSession && !IsCurrent(session))
            return;
        _sessions.Remove(session.Edge.Name);
    }

    public Guard GuardOf(string node)
    {
        if (!_guards.TryGetValue(node, out var guard))
            _guards[node] = guard = new Guard(World.Bug);
        return guard;
    }

    public bool Uses(string node, string type, string name) => _picture.Uses(node, type, "default", name);

    public void OpenWithEverything(CloudSession session)
    {
        if (!IsCurrent(session) || !session.Open())
            return;
        foreach (var obj in _picture.All(session.Edge.Name))
            session.Deliver(obj);
    }

    public void OpenWithInventory(CloudSession session, List<InventoryItem> items)
    {
        if (!IsCurrent(session))
            return;
        var difference = InventoryExchange.Compare(items, _picture.All(session.Edge.Name));
        World.Note("inventory", -1, session.Edge.Name, difference.Send.Count * 1000 + difference.Remove.Count + difference.Doubts.Count);
        foreach (var obj in difference.Same)
            session.Known(obj.Uid, obj.Version);
        var replaced = new HashSet<string>();
        foreach (var obj in difference.Send)
            replaced.Add(obj.Resource);
        foreach (var obj in difference.Remove)
        {
            if (World.Bug != PlantedBug.SurplusIsKept || replaced.Contains(obj.Resource))
                session.Deliver(obj);
        }

        foreach (var obj in difference.Send)
            session.Deliver(obj);
        session.Open();
        if (World.Bug != PlantedBug.SurplusIsKept)
            Resolve(session, difference.Doubts, 0);
    }

    protected override void Crashed()
    {
        World.Note("cloud crashes", -1);
        World.Cloud = null;
        foreach (var session in _sessions.Values)
            session.Link.Break(tellEdge: !session.Edge.IsHeld(toCloud: false), tellCloud: false);
        World.Between(100, World.Profile.DownMsMax, null, () => World.Cloud = new CloudProcess(World));
    }

    // What the watch cannot judge is asked for, one object after the other, before something that runs is taken away.
    private void Resolve(CloudSession session, List<Doubt> doubts, int at)
    {
        if (at >= doubts.Count || session.IsOver)
            return;
        var doubt = doubts[at];
        World.Between(1, World.Profile.ApiMsMax, this, () =>
        {
            var live = World.Cluster.Find(ClusterModel.WatchedOf(doubt.Path.Type)!.Value, doubt.Path.Name);
            // The way back from the API takes its time, too.
            World.Between(1, World.Profile.ApiMsMax, this, () =>
            {
                if (IsCurrent(session))
                    Resolve(session, doubt, live);
                Resolve(session, doubts, at + 1);
            });
        });
    }

    private void Resolve(CloudSession session, Doubt doubt, JsonObject? live)
    {
        DownObject? wanted = null;
        foreach (var obj in _picture.All(session.Edge.Name))
        {
            if (obj.Resource == doubt.Has.Key)
                wanted = obj;
        }

        if (wanted is null)
        {
            if (live is null || live.Uid() != doubt.Has.Uid || live.Text("spec", "nodeName") != session.Edge.Name)
                session.Deliver(InventoryExchange.Gone(doubt, isFinal: live is null || live.Uid() != doubt.Has.Uid));
        }
        else if (wanted.Uid != doubt.Has.Uid)
        {
            if (live is not null && live.Uid() == doubt.Has.Uid)
                return;
            session.Deliver(InventoryExchange.Gone(doubt, isFinal: true));
            session.Deliver(wanted);
        }
        else if ((live is null || live.Uid() != wanted.Uid || live.Version() <= wanted.Version) && doubt.Has.Fingerprint != wanted.Body.Fingerprint)
        {
            session.Deliver(wanted with { IsRepair = doubt.Has.Version >= wanted.Version });
        }
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
        _outputs.Clear();
        _picture.Changed(kind, change, _outputs);
        foreach (var output in _outputs)
        {
            switch (output)
            {
                case PlacementOutput.Deliver deliver when _sessions.TryGetValue(deliver.Node, out var session):
                    session.Deliver(deliver.Object);
                    break;
            }
        }
    }

    private bool IsCurrent(CloudSession session) => _sessions.TryGetValue(session.Edge.Name, out var current) && current == session;
}
