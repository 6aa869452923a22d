using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.SyncController;

/// <summary>Keeps every node in step with the cluster: feeds the placements with changes, their outcome to the sessions, and the whole
/// picture to a node that connects.</summary>
/// <remarks>One lock orders everything: a change is seen either in the picture a node gets on connecting or after it, never not at
/// all. Nothing under the lock waits.</remarks>
internal sealed class NodeSync(IKubeClient kube, TimeProvider time, EventRecorder events, ILogger logger)
{
    /// <summary>Deletes remembered for a node that is away and, when back, tells no inventory. The oldest go; an inventory repairs what
    /// then stays behind.</summary>
    private const int TombstonesMax = 4096;

    private readonly Lock _gate = new();
    private readonly PodPlacement _pods = new();
    private readonly DevicePlacement _devices = new();
    private readonly Dictionary<string, HubSession> _sessions = [];
    private readonly Dictionary<string, OrderedDictionary<string, DownObject>> _tombstones = [];

    public int Connected
    {
        get
        {
            lock (_gate)
            {
                return _sessions.Count;
            }
        }
    }

    public (int Objects, int Messages) Depth
    {
        get
        {
            List<HubSession> sessions;
            lock (_gate)
            {
                sessions = [.. _sessions.Values];
            }

            return sessions.Select(session => session.Depth).Aggregate((Objects: 0, Messages: 0), (sum, one) => (sum.Objects + one.Objects, sum.Messages + one.Messages));
        }
    }

    /// <summary>Takes a change of one of the watched kinds.</summary>
    public void Changed(ResourceKind kind, ObjectChange change)
    {
        var outputs = new List<PlacementOutput>();
        lock (_gate)
        {
            if (kind == ResourceKind.Node)
                _pods.NodeChanged(change, outputs);
            else if (kind == ResourceKind.Pod)
                _pods.PodChanged(change, outputs);
            else if (kind == ResourceKind.ConfigMap)
                _pods.ConfigChanged(ResourceTypes.ConfigMap, change, outputs);
            else if (kind == ResourceKind.Secret)
                _pods.ConfigChanged(ResourceTypes.Secret, change, outputs);
            else if (kind == ResourceKind.DeviceModel)
                _devices.ModelChanged(change, outputs);
            else if (kind == ResourceKind.Device)
                _devices.DeviceChanged(change, outputs);
            foreach (var output in outputs)
                Perform(output);
        }
    }

    /// <summary>True when the node may connect: it is connected already, or fewer than <paramref name="nodeLimit"/> nodes are.</summary>
    public bool HasRoom(string node, int nodeLimit)
    {
        lock (_gate)
        {
            return _sessions.Count < nodeLimit || _sessions.ContainsKey(node);
        }
    }

    /// <summary>Makes the session the node's; one before it is ended. False when <paramref name="nodeLimit"/> nodes are connected already.</summary>
    public bool TryRegister(HubSession session, int nodeLimit)
    {
        lock (_gate)
        {
            if (_sessions.TryGetValue(session.Node, out var before))
                before.End(SessionEndReason.Replaced);
            else if (_sessions.Count >= nodeLimit)
                return false;
            if (before is not null)
                Remember(before);
            _sessions[session.Node] = session;
            return true;
        }
    }

    /// <summary>The session's link is gone. A newer session of the node is not touched.</summary>
    public void Unregister(HubSession session)
    {
        lock (_gate)
        {
            if (!_sessions.TryGetValue(session.Node, out var current) || current != session)
                return;
            _sessions.Remove(session.Node);
            Remember(session);
        }
    }

    public void EndAll()
    {
        lock (_gate)
        {
            foreach (var session in _sessions.Values)
                session.End(SessionEndReason.Stopping);
        }
    }

    /// <summary>The node told no inventory in time: it gets everything, and the deletes it may have missed.</summary>
    public void OpenWithEverything(HubSession session)
    {
        lock (_gate)
        {
            if (!IsCurrent(session) || !session.Open())
                return;
            var all = All(session.Node);
            var uids = all.Select(obj => obj.Uid).ToHashSet();
            if (_tombstones.Remove(session.Node, out var gone))
            {
                foreach (var obj in gone.Values.Where(obj => !uids.Contains(obj.Uid)))
                    session.Deliver(obj);
            }

            SendMembers(session);
            foreach (var obj in all)
                session.Deliver(obj);
        }
    }

    /// <summary>The node told what it has: it gets the difference.</summary>
    public async Task OpenWithInventoryAsync(HubSession session, List<InventoryItem> items, CancellationToken cancellationToken)
    {
        InventoryDifference difference;
        lock (_gate)
        {
            if (!IsCurrent(session))
                return;
            difference = Inventory.Compare(items, All(session.Node));
            _tombstones.Remove(session.Node);
            foreach (var item in difference.Known)
                session.Known(item.Uid, item.Version);
            SendMembers(session);
            // What another object of the same name replaces goes first, and needs no second look.
            var replaced = difference.Missing.Select(obj => obj.Resource).ToHashSet();
            foreach (var obj in difference.Surplus.Where(obj => replaced.Contains(obj.Resource)))
                session.Deliver(obj);
            foreach (var obj in difference.Missing)
                session.Deliver(obj);
            difference.Surplus.RemoveAll(obj => replaced.Contains(obj.Resource));
            session.Open();
        }

        HubLog.Inventory(logger, session.Node, items.Count, difference.Missing.Count, difference.Surplus.Count);
        foreach (var obj in difference.Surplus)
        {
            if (await IsSurplusAsync(session.Node, obj, cancellationToken))
                DeliverUnlessWanted(session, obj);
        }
    }

    public JsonObject? Pod(string @namespace, string name)
    {
        lock (_gate)
        {
            return _pods.Pod(@namespace, name);
        }
    }

    public JsonObject? Node(string name)
    {
        lock (_gate)
        {
            return _pods.Node(name);
        }
    }

    public JsonObject? Device(string @namespace, string name)
    {
        lock (_gate)
        {
            return _devices.Device(@namespace, name);
        }
    }

    public bool Uses(string node, ConfigKey key)
    {
        lock (_gate)
        {
            return _pods.Uses(node, key);
        }
    }

    private List<DownObject> All(string node) => [.. _pods.All(node), .. _devices.All(node)];

    private bool IsCurrent(HubSession session) => _sessions.TryGetValue(session.Node, out var current) && current == session;

    // The edge may have what our watch has not shown yet (it came from another cloudcore): ask before taking a pod away.
    private async Task<bool> IsSurplusAsync(string node, DownObject obj, CancellationToken cancellationToken)
    {
        if (!ResourcePath.TryParse(obj.Resource, out var path) || path.Type is not (ResourceTypes.Pod or ResourceTypes.Device))
            return true;
        try
        {
            var live = await kube.TryGetAsync(ManagedTypes.KindOf(path.Type)!, path.Namespace, path.Name, cancellationToken);
            return live is null || live.Uid() != obj.Uid || live.Text("spec", "nodeName") != node;
        }
        catch (KubeException e)
        {
            // It stays until the next connect; taking away what should run is worse.
            HubLog.UpstreamFailed(logger, node, Operations.Query, obj.Resource, e.Message);
            return false;
        }
    }

    private void DeliverUnlessWanted(HubSession session, DownObject obj)
    {
        lock (_gate)
        {
            if (!All(session.Node).Any(wanted => wanted.Uid == obj.Uid))
                session.Deliver(obj);
        }
    }

    private void Perform(PlacementOutput output)
    {
        switch (output)
        {
            case PlacementOutput.Deliver deliver when _sessions.TryGetValue(deliver.Node, out var session):
                session.Deliver(deliver.Object);
                break;
            case PlacementOutput.Deliver deliver:
                Remember(deliver.Node, deliver.Object);
                break;
            case PlacementOutput.Membership membership when _sessions.TryGetValue(membership.Node, out var session):
                session.Send(MembershipMessage(membership.Added, membership.Removed));
                break;
            case PlacementOutput.Warn warn:
                events.Warn(warn.About, warn.Reason, warn.Text);
                break;
            case PlacementOutput.NodeGone gone:
                _tombstones.Remove(gone.Node);
                break;
        }
    }

    private void Remember(HubSession session)
    {
        foreach (var obj in session.UnansweredDeletes())
            Remember(session.Node, obj);
    }

    private void Remember(string node, DownObject obj)
    {
        if (!obj.IsDelete)
        {
            if (_tombstones.TryGetValue(node, out var back))
                back.Remove(obj.Uid);
            return;
        }

        if (!_pods.IsEdgeNode(node))
            return;
        if (!_tombstones.TryGetValue(node, out var gone))
            _tombstones[node] = gone = [];
        gone[obj.Uid] = obj;
        if (gone.Count > TombstonesMax)
            gone.RemoveAt(0);
    }

    private void SendMembers(HubSession session)
    {
        var members = _devices.Members(session.Node);
        if (members.Count > 0)
            session.Send(MembershipMessage(members, []));
    }

    private Message MembershipMessage(IReadOnlyList<JsonObject> added, IReadOnlyList<JsonObject> removed)
    {
        static JsonArray? List(IReadOnlyList<JsonObject> devices)
            => devices.Count == 0 ? null
                : new JsonArray([.. devices.Select(device => new JsonObject { ["id"] = $"{device.Namespace()}/{device.Name()}", ["name"] = device.Name() })]);

        var content = new JsonObject
        {
            ["event_id"] = Guid.NewGuid().ToString(),
            ["timestamp"] = time.GetUtcNow().ToUnixTimeMilliseconds(),
            ["added_devices"] = List(added),
            ["removed_devices"] = List(removed),
        };
        return Message.Create(time, Sources.DeviceController, Groups.Twin, Operations.Update, "membership", JsonBytes.Of(content));
    }
}
