using Edge.Cloud.CloudHub.Sessions;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Simulation.Tests.Adapters;
using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests;

/// <summary>The promises. It sees everything, also what no part of the system can see at once.</summary>
internal sealed class Checker(World world)
{
    public const string AckedIsOnDisk = "acked is on disk";
    public const string VersionsNeverGoBack = "versions never go back";
    public const string DeletesStayDeleted = "deletes stay deleted";
    public const string ForgottenWasApplied = "what the edge forgot was applied";
    public const string AppliedOnce = "applied once";
    public const string BoundsHold = "bounds hold";
    public const string RefusedDelaysOnlyItself = "a refused object delays only itself";
    public const string SecretsStayHome = "no node gets a Secret that none of its pods uses";
    public const string AckedIsMember = "an edge was told of each device that it acks";
    public const string Converges = "converges once faults stop";

    private const int DelayMsMax = 2_500;

    private readonly Dictionary<(int Edge, string Uid), long> _highest = [];
    private readonly HashSet<(int Edge, string Uid)> _finallyDeleted = [];
    private readonly Dictionary<(int Edge, string Key), long> _applied = [];
    private readonly Dictionary<(int Edge, string Of), long> _written = [];
    private readonly HashSet<long> _settled = []; // single entries applied, and whatever was refused for good
    private readonly HashSet<long> _received = [];
    private readonly Queue<(long AtMs, EdgeMachine Edge, DownObject State, long Sequence)> _expected = new();
    private readonly Dictionary<(int Edge, string Uid), DownObject> _newest = [];
    private long _values;
    private bool _isRestored;
    private NodePicture? _picture;
    private long _pictureVersion = -1;

    public long NextValue() => ++_values;

    /// <summary>The edge says that it has stored this.</summary>
    public void Acked(EdgeMachine edge, DownObject state, long sinceSequence)
    {
        if (!Holds(edge, state, sinceSequence))
            Fail(AckedIsOnDisk, $"{edge.Name} acked {Text(state)}, its disk has {Text(edge, state)}");
    }

    /// <summary>The edge says that it has stored a device.</summary>
    public void AckedMember(EdgeMachine edge, DownObject state, bool wasTold)
    {
        // A link that reorders may bring the device before the message about it, which is not answered.
        if (wasTold || state.IsDelete || world.Profile.IsWild || !ResourcePath.TryParse(state.Resource, out var path) || path.Type != ResourceTypes.Device)
            return;
        Fail(AckedIsMember, $"{edge.Name} acked {Text(state)} and was not told of it");
    }

    /// <summary>The cloud takes this for stored.</summary>
    public void StoredByCloud(EdgeMachine edge, DownObject state, long sinceSequence)
    {
        if (!Holds(edge, state, sinceSequence))
            Fail(AckedIsOnDisk, $"the cloud takes {Text(state)} for stored by {edge.Name}, whose disk has {Text(edge, state)}");
    }

    public void Committed(EdgeMachine edge, DownObject state, MetaDecision decision)
    {
        var id = (edge.Index, state.Uid);
        if (state.IsDelete)
        {
            if (state.IsFinal && world.Cluster.IsGone(state.Uid))
                _finallyDeleted.Add(id);
            return;
        }

        if (decision != MetaDecision.Stored)
            return;
        if (InventoryExchange.IsSecret(state.Resource) && !world.Cluster.EverUsed(edge.Name, state.Body.Json.Name()))
            Fail(SecretsStayHome, $"{edge.Name} stored {Text(state)}, which no pod of it has ever used");
        if (_highest.TryGetValue(id, out var highest) && state.Version < highest && !(state.IsRepair && _isRestored))
            Fail(VersionsNeverGoBack, $"{edge.Name} stored {Text(state)} after version {highest}");
        _highest[id] = state.Version;
        if (_finallyDeleted.Contains(id))
            Fail(DeletesStayDeleted, $"{edge.Name} stored {Text(state)} after the delete of that uid");
    }

    /// <summary>The cluster is as it was once: what it had since then counts no more, and edges are set back by repairs.</summary>
    public void ClusterSetBack()
    {
        _isRestored = true;
        _highest.Clear();
        _finallyDeleted.Clear();
        _written.Clear();
    }

    /// <summary>The disk of the edge is as it was once, or empty.</summary>
    public void ObjectsSetBack(EdgeMachine edge)
    {
        foreach (var id in _highest.Keys.Where(id => id.Edge == edge.Index).ToList())
            _highest.Remove(id);
        _finallyDeleted.RemoveWhere(id => id.Edge == edge.Index);
    }

    public void Received(long value) => _received.Add(value);

    /// <summary>The API took (or refused for good) the value of an uplink entry.</summary>
    /// <param name="isCertain">False when the cloud will not learn that it took effect.</param>
    public void Applied(EdgeMachine edge, CloudProcess cloud, Wire.Uplink entry, UplinkOutcome outcome, bool isCertain)
    {
        if (cloud.Applied.Contains(entry.Value))
            Fail(AppliedOnce, $"{entry.Key} of {edge.Name}, version {entry.Version}, was applied before by the same CloudCore");
        if (isCertain)
            cloud.Applied.Add(entry.Value);
        if (outcome == UplinkOutcome.Rejected || entry.IsSingle)
        {
            _settled.Add(entry.Value);
            return;
        }

        var key = (edge.Index, entry.Key);
        // Of a pod that was made again, another one's status says nothing; a lease that is renewed late is renewed all the same (docs/simulation.md).
        var pod = entry.Key.StartsWith("podstatus/", StringComparison.Ordinal) ? world.Cluster.Find(Watched.Pod, entry.Key["podstatus/".Length..]).Text("metadata", "uid") : "";
        var of = (edge.Index, $"{entry.Key} {pod}");
        if (entry.Key != "lease" && _written.TryGetValue(of, out var last) && entry.Value < last)
            Fail(VersionsNeverGoBack, $"{entry.Key} of {edge.Name}, version {entry.Version}, was applied after a newer one");
        _written[of] = entry.Value;
        _applied[key] = Math.Max(_applied.GetValueOrDefault(key), entry.Value);
    }

    /// <summary>The edge is about to delete this row, for the cloud has it.</summary>
    public void Forgotten(EdgeMachine edge, UplinkRow done)
    {
        if (!edge.Rows.TryGetValue(done.Id, out var row) || row.Version != done.Version)
            return;
        // Where a link may reorder, an answer proves nothing about what was sent before and is never answered.
        if (!row.IsAnswered && world.Profile.IsWild)
            return;
        var isDone = _settled.Contains(row.Value) || (!row.IsAnswered && _received.Contains(row.Value))
            || (!row.IsSingle && _applied.GetValueOrDefault((edge.Index, row.Key)) >= row.Value);
        if (!isDone)
            Fail(ForgottenWasApplied, $"{edge.Name} forgets {row.Key}, version {row.Version}");
    }

    /// <summary>A session was told to deliver this; without other faults it must be there soon, whatever else is refused.</summary>
    public void Delivered(CloudSession session, DownObject state, bool isOpen)
    {
        if (!world.Profile.IsOnlyRefusals)
            return;
        _newest[(session.Edge.Index, state.Uid)] = state;
        if (isOpen && world.HasFaults)
            _expected.Enqueue((world.NowMs + DelayMsMax, session.Edge, state, session.Edge.Objects.Sequence));
    }

    public void AfterStep()
    {
        while (_expected.TryPeek(out var due) && due.AtMs <= world.NowMs)
        {
            _expected.Dequeue();
            // What something newer has taken the place of need never arrive.
            if (ReferenceEquals(_newest[(due.Edge.Index, due.State.Uid)], due.State) && !due.Edge.HasRefused(due.State.Resource) && !Holds(due.Edge, due.State, due.Sequence) && due.Edge.Objects.LeftAt(due.State.Uid) <= due.Sequence
                && !world.Cluster.IsGone(due.State.Uid))
                Fail(RefusedDelaysOnlyItself, $"{Text(due.State)} is not at {due.Edge.Name} after {DelayMsMax} ms");
        }

        foreach (var edge in world.Edges)
        {
            if (edge.Process is not { } process)
                continue;
            if (!process.Uplink.IsWithinBounds)
                Fail(BoundsHold, $"the uplink queue of {edge.Name}");
            if (process.Session is { WorkCount: > EdgeSession.WorkMax } session)
                Fail(BoundsHold, $"{session.WorkCount} messages wait in {edge.Name}");
        }

        foreach (var cloud in world.Clouds)
        {
            foreach (var session in cloud?.Sessions ?? [])
            {
                if (!session.Delivery.IsWithinBounds)
                    Fail(BoundsHold, $"{session.Node}: {session.Delivery.Figures}");
                if (session.LaneDepth > CloudSession.LaneMax)
                    Fail(BoundsHold, $"{session.LaneDepth} requests of {session.Node} wait");
            }
        }
    }

    /// <summary>What keeps the run from being as the API says; null when nothing does.</summary>
    public string? Difference()
    {
        if (world.Clouds.Any(cloud => cloud is not { IsReady: true }))
            return "a CloudCore is not up";
        foreach (var edge in world.Edges)
        {
            if (edge.Process is not { Session: { IsOver: false } } process)
                return $"{edge.Name} is not connected";
            if (!process.Uplink.IsEmpty)
                return $"the uplink queue of {edge.Name} is not empty";
            foreach (var row in edge.Rows.Values)
            {
                if (!process.IsStranded(row))
                    return $"{row.Key} version {row.Version} waits on the disk of {edge.Name}, and its queue does not know it";
            }

            if (process.Session.Link.CloudEnd is not CloudSession { IsOver: false } session || session.Cloud.Sync.SessionOf(edge.Name) != session)
                return $"CloudCore has no session of {edge.Name}";
            if (session.Delivery.ObjectDepth > 0)
                return $"{session.Delivery.ObjectDepth} objects for {edge.Name} wait";
            foreach (var other in world.Clouds)
            {
                if (other != session.Cloud && other!.Sync.SessionOf(edge.Name) is not null)
                    return $"cloud{other.Index} has a session of {edge.Name} too, which is connected to cloud{session.Cloud.Index}";
            }

            if (!session.Cloud.Sync.IsNamedBy(world.Cluster.Find(Watched.Node, edge.Name)!))
                return $"the Node of {edge.Name} does not name cloud{session.Cloud.Index}, to which it is connected";
        }

        if (_pictureVersion != world.Cluster.Version)
        {
            _picture = NodePicture.Of(world.Cluster);
            _pictureVersion = world.Cluster.Version;
        }

        foreach (var edge in world.Edges)
        {
            var wanted = _picture!.All(edge.Name);
            foreach (var obj in wanted)
            {
                if (edge.Objects.Find(obj.Resource) is not { } row)
                    return $"{edge.Name} lacks {Text(obj)}";
                if (row.State.Uid != obj.Uid || !IsSame(row.State, obj))
                    return $"{edge.Name} should have {Text(obj)}, it has {Text(row.State)}";
            }

            var keys = wanted.Select(obj => obj.Resource).ToHashSet();
            if (!world.Cluster.Wanted(edge.Name).SetEquals(keys.Where(key => !IsOfDevices(key) && key != world.Edges[edge.Index].NodeKey)))
                Fail(Converges, $"the placement of {edge.Name} is {string.Join(' ', keys)}; by the API it is {string.Join(' ', world.Cluster.Wanted(edge.Name))}");
            if (edge.Objects.Count == wanted.Count)
                continue;
            return $"{edge.Name} should not have {Text(edge.Objects.Rows.First(row => !keys.Contains(row.Object.Key)).State)}";
        }

        return null;
    }

    public void Fail(string invariant, string text) => throw new InvariantException(invariant, text);

    // Whether the disk has the state, or something that came after it. What the disk lost after the message came, what left it after the message came, or is gone for good, counts.
    private bool Holds(EdgeMachine edge, DownObject state, long sinceSequence)
    {
        if (edge.Objects.SetBackAt > sinceSequence)
            return true;
        var row = edge.Objects.Find(state.Resource);
        if (state.IsDelete)
            return row is null || row.Object.Uid != state.Uid || row.Sequence > sinceSequence;
        if (row is not null && row.Object.Uid == state.Uid)
            return row.Object.ResourceVersion >= state.Version;
        // What the history before the restore had deleted is acked, not stored, and doubted: that it comes back is for the promise that all converges.
        if (_isRestored && edge.Objects.IsHeldBack(state))
            return true;
        var leftAt = edge.Objects.LeftAt(state.Uid);
        return leftAt > sinceSequence || edge.Objects.DeletedAt(state.Uid) > state.Version || (leftAt > 0 && world.Cluster.IsGone(state.Uid));
    }

    private static bool IsOfDevices(string resource)
        => ResourcePath.TryParse(resource, out var path) && path.Type is ResourceTypes.Device or ResourceTypes.DeviceModel;

    // A version may differ: lower where nothing of the newer one matters to the edge (another's bookkeeping), higher for a device that got versions of its own.
    // What the object says may not.
    private static bool IsSame(DownObject has, DownObject wanted)
        => has.Body.Json.Number(0, "spec", "generation") == wanted.Body.Json.Number(0, "spec", "generation")
            && has.Body.Json.IsDeleting() == wanted.Body.Json.IsDeleting();

    private static string Text(DownObject state) => $"{state.Operation} {state.Resource} {state.Uid} v{state.Version}";

    private static string Text(EdgeMachine edge, DownObject state) => edge.Objects.Find(state.Resource) is { } row ? Text(row.State) : "nothing there";
}
