using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.SyncController;

/// <summary>Keeps every node in step with the cluster: feeds the placements with changes, their outcome to the sessions, and what is missing to a node that connects.</summary>
/// <remarks>
/// <para>One lock orders everything: a change is seen either in the comparison that a node gets on connecting or after it, never not at all. Nothing under the lock waits.</para>
/// <para>Nothing is kept for a node that is not connected here. What it has is known when it comes: an Edge peer tells a digest, of a stock edge there are records.</para>
/// </remarks>
internal sealed partial class NodeSync : IAsyncDisposable
{
    /// <summary>The reason of Events about objects that an edge refuses.</summary>
    public const string RefusedReason = "EdgeRefused";

    private const int DoubtsMax = 16_384;
    private const int DoubtReaders = 2;

    private readonly IKubeClient _kube;
    private readonly TimeProvider _time;
    private readonly EventRecorder _events;
    private readonly ILogger _logger;
    private readonly Random _random; // locked by _gate
    private readonly Lock _gate = new();
    private readonly PodPlacement _pods = new();
    private readonly DevicePlacement _devices = new();
    private readonly ServicePlacement _services = new();
    private readonly SharedPlacement _globalServices = GlobalServicePlacement.Create();
    private readonly SharedPlacement _zones = ZonePlacement.Create();
    private readonly Dictionary<string, SyncMember> _members = [];
    private readonly RefusalLimiter _refusals = new();
    private readonly SyncRecords _records;
    private readonly NodeClaims _claims;
    private readonly WorkQueue<(SyncMember Member, List<Doubt> Doubts)> _doubts;

    /// <param name="kube">The API.</param>
    /// <param name="time">Clock.</param>
    /// <param name="random">Jitter of backoffs; shared with nobody.</param>
    /// <param name="events">Where users are told.</param>
    /// <param name="metrics">Counters of the sync records.</param>
    /// <param name="logger">Where operators are told.</param>
    /// <param name="scheduler">Where what waits for the API runs; the thread pool by default. A simulation runs it in its own time.</param>
    public NodeSync(IKubeClient kube, TimeProvider time, Random random, EventRecorder events, HubMetrics metrics, ILogger logger, TaskScheduler? scheduler = null)
    {
        _kube = kube;
        _time = time;
        _events = events;
        _logger = logger;
        _random = random;
        _records = new SyncRecords(kube, time, new Random(random.Next()), metrics, logger, scheduler);
        _claims = new NodeClaims(kube, time, random, _gate, _pods, member => Current(member.Session) == member, logger, scheduler);
        _doubts = new WorkQueue<(SyncMember Member, List<Doubt> Doubts)>(DoubtsMax, DoubtReaders, (item, token) => ResolveAllAsync(item.Member, item.Doubts, token), Defect, scheduler);
    }

    /// <summary>Told when what is wrong with a device of a connected node changes. It must not block or call back.</summary>
    public Action<DeviceFacts, IReadOnlyList<string>>? ProblemsChanged { get; set; }

    /// <summary>Reads the Secrets that pods name one by one; null where all of them are watched. Set before the first change.</summary>
    public NamedSecrets? Secrets { get; set; }

    public int Connected
    {
        get
        {
            lock (_gate)
            {
                return _members.Count;
            }
        }
    }

    public (int Objects, int Messages) Depth
    {
        get
        {
            List<SyncMember> members;
            lock (_gate)
            {
                members = [.. _members.Values];
            }

            return members.Select(member => member.Session.Depth).Aggregate((Objects: 0, Messages: 0), (sum, one) => (sum.Objects + one.Objects, sum.Messages + one.Messages));
        }
    }

    /// <summary>Objects sent and not answered, of all sessions.</summary>
    public int InFlight
    {
        get
        {
            List<SyncMember> members;
            lock (_gate)
            {
                members = [.. _members.Values];
            }

            return members.Sum(member => member.Session.InFlight);
        }
    }

    /// <summary>Sync records that wait to be written.</summary>
    public int WaitingRecords => _records.Waiting;

    /// <summary>Who this CloudCore says it is; null before <see cref="Identify"/>.</summary>
    public CloudCoreIdentity? Identity => _claims.Identity;

    /// <summary>Takes a change of one of the watched kinds.</summary>
    public void Changed(ResourceKind kind, ObjectChange change)
    {
        if (kind == ResourceKind.ObjectSync || kind == ResourceKind.ClusterObjectSync)
        {
            _records.Changed(change);
            return;
        }

        var outputs = new List<PlacementOutput>();
        lock (_gate)
        {
            if (kind == ResourceKind.Node)
            {
                _pods.NodeChanged(change, outputs);
                _services.NodeChanged(change, outputs);
            }
            else if (kind == ResourceKind.Pod)
                _pods.PodChanged(change, outputs);
            else if (kind == ResourceKind.ConfigMap)
                _pods.ConfigChanged(ResourceTypes.ConfigMap, change, outputs);
            else if (kind == ResourceKind.Secret)
                _pods.ConfigChanged(ResourceTypes.Secret, change, outputs);
            else if (kind == ResourceKind.RuntimeClass)
                _pods.ConfigChanged(ResourceTypes.RuntimeClass, change, outputs);
            else if (kind == ResourceKind.DeviceModel)
                _devices.ModelChanged(change, outputs);
            else if (kind == ResourceKind.Device)
                _devices.DeviceChanged(change, outputs);
            else if (kind == ResourceKind.Service)
                _services.ServiceChanged(change, outputs);
            else if (kind == ResourceKind.EndpointSlice)
                _services.SliceChanged(change, outputs);
            else if (kind == GslbKinds.GlobalService)
                _globalServices.Changed(change, outputs);
            else if (kind == GslbKinds.Zone)
                _zones.Changed(change, outputs);
            foreach (var output in outputs)
                Perform(output);
            if (kind == ResourceKind.Node && change.Type != ChangeType.Deleted && _members.TryGetValue(change.Object.Name(), out var member))
                _claims.Look(member, change.Object);
        }
    }

    /// <summary>Forgets a Secret that no pod names; false where one does.</summary>
    public bool Drop(string @namespace, string secret)
    {
        lock (_gate)
        {
            return _pods.Drop(new ConfigKey(ResourceTypes.Secret, @namespace, secret));
        }
    }

    /// <summary>All kinds have been listed: records of nodes that went while no CloudCore ran go too.</summary>
    public void CachesFilled()
    {
        lock (_gate)
        {
            foreach (var node in _records.Nodes)
            {
                if (!_pods.IsEdgeNode(node))
                    _records.RemoveNode(node);
            }
        }
    }

    /// <summary>From now on each node that connects gets its Node annotated with this identity, where it differs.</summary>
    public void Identify(CloudCoreIdentity identity)
    {
        lock (_gate)
        {
            _claims.Start(identity);
            foreach (var member in _members.Values)
                _claims.Begin(member);
        }
    }

    /// <summary>True when the node may connect: it is connected already, or fewer than <paramref name="nodeLimit"/> nodes are.</summary>
    public bool HasRoom(string node, int nodeLimit)
    {
        lock (_gate)
        {
            return _members.Count < nodeLimit || _members.ContainsKey(node);
        }
    }

    /// <summary>Makes the session the node's; one before it is ended. False when <paramref name="nodeLimit"/> nodes are connected already.</summary>
    public bool TryRegister(ISyncSession session, int nodeLimit)
    {
        lock (_gate)
        {
            if (_members.TryGetValue(session.Node, out var before))
                before.Session.End(SessionEndReason.Replaced);
            else if (_members.Count >= nodeLimit)
                return false;
            var member = new SyncMember(session);
            _members[session.Node] = member;
            _claims.Begin(member);
            SessionChanged?.Invoke(session.Node, true);
            return true;
        }
    }

    /// <summary>A node's session began (true), or ended with no newer one in its place. Called under the lock: must be quick, and not come back.</summary>
    public Action<string, bool>? SessionChanged { get; set; }

    /// <summary>The session takes and gives nothing any more; what it gave before may still be worked on.</summary>
    public void Ended(ISyncSession session)
    {
        lock (_gate)
        {
            TellEnd(session);
        }
    }

    /// <summary>The session's link is gone. A newer session of the node is not touched.</summary>
    public void Unregister(ISyncSession session)
    {
        lock (_gate)
        {
            TellEnd(session);
            if (Current(session) is not null)
                _members.Remove(session.Node);
        }
    }

    /// <summary>The session of a connected node; null where it is not connected here.</summary>
    public ISyncSession? SessionOf(string node)
    {
        lock (_gate)
        {
            return _members.GetValueOrDefault(node)?.Session;
        }
    }

    public void EndAll()
    {
        lock (_gate)
        {
            foreach (var member in _members.Values)
                member.Session.End(SessionEndReason.Stopping);
        }
    }

    /// <summary>An Edge peer told what it has. Returns the answer: <c>"OK"</c>, and the session is open; or the buckets that differ, which it is to tell.</summary>
    /// <param name="wantsServices">Whether it is to have Services, EndpointSlices, GlobalServices and Zones.</param>
    public ReadOnlyMemory<byte> AnswerDigest(ISyncSession session, InventoryDigest digest, bool wantsServices = false)
    {
        lock (_gate)
        {
            if (Current(session) is not { } member)
                return MessageCodec.Ok;
            member.WantsServices = wantsServices;
            var all = All(member);
            var different = Inventory.DigestOf(all, digest.Buckets).Differences(digest);
            if (different.Count > 0)
            {
                // Changes in these come out of the comparison with what the edge then tells.
                if (!member.IsOpen)
                    (member.IsCompared, member.AskedOf, member.Asked) = (true, digest.Buckets, [.. different]);
                return InventoryMessages.WriteAsk(different);
            }

            SyncLog.InStep(_logger, session.Node, all.Count);
            Open(member);
            return MessageCodec.Ok;
        }
    }

    /// <summary>An Edge peer told some buckets of what it has: it gets the difference, and its session is open.</summary>
    public async Task ApplyPartAsync(ISyncSession session, InventoryPart part, CancellationToken cancellationToken)
    {
        SyncMember? member;
        InventoryDifference difference;
        lock (_gate)
        {
            member = Current(session);
            if (member is null)
                return;
            // What was asked for and is not told is sent, whatever the edge has.
            difference = Inventory.Compare(part, All(member), member.IsOwed);
            if (member.IsOpen)
            {
                // It comes late and got everything already: what has not gone yet need not.
                foreach (var obj in difference.Same)
                    session.Known(obj.Uid, obj.Version);
                DoubtMissing(session, difference, part);
            }

            Send(member, difference);
        }

        HubLog.Inventory(_logger, session.Node, part.Items.Count, difference.Send.Count, difference.Remove.Count + difference.Doubts.Count);
        LookLater(member, await ResolveAsync(member, difference.Doubts, cancellationToken));
    }

    /// <summary>An Edge peer told no inventory in time, or one that cannot be used: it gets everything. What it has beyond that goes when it tells one.</summary>
    public void OpenWithEverything(ISyncSession session)
    {
        lock (_gate)
        {
            if (Current(session) is { IsOpen: false } member)
                Send(member, new InventoryDifference([], [], All(member), []));
        }
    }

    /// <summary>A stock edge connected: it gets what differs from its sync records.</summary>
    public void OpenStock(ISyncSession session)
    {
        lock (_gate)
        {
            if (Current(session) is not { IsOpen: false } member)
                return;
            var items = _records.Of(session.Node).Select(record => record.ToItem()).OfType<InventoryItem>().ToList();
            var difference = Inventory.Compare(new InventoryPart(1, [0], items), All(member), _ => true, trustsVersions: true);
            SyncLog.StockOpened(_logger, session.Node, items.Count, difference.Send.Count, difference.Remove.Count, difference.Doubts.Count);
            Send(member, difference);
            LookLater(member, difference.Doubts);
        }
    }

    /// <summary>A stock edge acknowledged this state.</summary>
    public void Stored(ISyncSession session, DownObject obj)
    {
        if (session.IsEdgeWire)
            return;
        lock (_gate)
        {
            if (Current(session) is not { } member)
                return;
            if (!obj.IsDelete)
            {
                _records.Acked(SyncRecord.Of(session.Node, obj));
                return;
            }

            _records.Removed(new RecordKey(session.Node, obj.Uid));
            // It is to come back and may be on its way.
            if (Find(member, obj.Resource) is { } again && again.Uid == obj.Uid)
                _records.Sent(SyncRecord.Of(session.Node, again));
        }
    }

    /// <summary>An edge could not store this state; the session sends it again. The user is told by an Event on the object.</summary>
    /// <param name="reason">What the edge said.</param>
    public void Refused(ISyncSession session, DownObject obj, string reason)
    {
        lock (_gate)
        {
            if (Current(session) is null || !_refusals.Allows(session.Node, obj.Uid, _time.GetUtcNow()))
                return;
        }

        _events.Warn(obj.Body.Json, RefusedReason, $"node '{session.Node}' could not store {obj.Resource}: {reason}; it is sent again, and delays nothing else");
    }

    public JsonObject? Pod(string @namespace, string name)
    {
        lock (_gate)
        {
            return _pods.Pod(@namespace, name);
        }
    }

    public string? NodeAt(string address)
    {
        lock (_gate)
        {
            return _pods.NodeAt(address);
        }
    }

    public JsonObject? Node(string name)
    {
        lock (_gate)
        {
            return _pods.Node(name);
        }
    }

    /// <summary>What is wrong with the device, as far as it shows here.</summary>
    public IReadOnlyList<string> DeviceProblems(string @namespace, string name)
    {
        lock (_gate)
        {
            return _devices.Problems(@namespace, name);
        }
    }

    public DeviceFacts? Device(string @namespace, string name)
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

    /// <summary>Stops what runs behind; acks that wait are written for a second at most.</summary>
    public async ValueTask DisposeAsync()
    {
        await _claims.DisposeAsync();
        await _doubts.DisposeAsync();
        await _records.DisposeAsync();
    }

    private List<DownObject> All(SyncMember member)
    {
        List<DownObject> all = [.. _pods.All(member.Session.Node), .. _devices.All(member.Session.Node)];
        if (!member.Session.IsEdgeWire)
            all.RemoveAll(obj => IsUnknownToStock(obj.Resource));
        if (member.WantsServices)
            all.AddRange([.. _services.All(), .. _globalServices.All(), .. _zones.All()]);
        return all;
    }

    private DownObject? Find(SyncMember member, string resource)
        => ResourcePath.TryParse(resource, out var path)
            ? _pods.Find(member.Session.Node, path) ?? _devices.Find(member.Session.Node, path) ?? (member.WantsServices ? _services.Find(path) ?? _globalServices.Find(path) ?? _zones.Find(path) : null)
            : null;

    private SyncMember? Current(ISyncSession session)
        => _members.TryGetValue(session.Node, out var member) && ReferenceEquals(member.Session, session) ? member : null;

    // Hands a whole difference to the session and lets it flow.
    private void Send(SyncMember member, InventoryDifference difference)
    {
        // A stock edge has had the others' membership from another CloudCore, perhaps, where it goes once and may be lost (kubeedge-wire §4.2).
        if (!member.Session.IsEdgeWire)
            member.Session.Members([.. _devices.Paths(member.Session.Node).Except(difference.Send.Select(obj => obj.Resource))]);
        foreach (var obj in difference.Remove.Where(obj => !IsUnread(member.Session.Node, obj.Resource)))
            Deliver(member, obj);
        foreach (var obj in difference.Send)
            Deliver(member, obj);
        Open(member);
    }

    // A pod names it, and what the edge has of it may be what the API will say.
    private bool IsUnread(string node, string resource)
        => Secrets is not null && ResourcePath.TryParse(resource, out var path) && path is { Type: ResourceTypes.Secret, Namespace: not CertificateStore.Namespace }
            && _pods.Uses(node, new ConfigKey(path.Type, path.Namespace, path.Name)) && !Secrets.IsRead(path.Namespace, path.Name);

    private void Open(SyncMember member)
    {
        (member.IsCompared, member.IsOpen, member.Asked) = (true, true, null);
        // Records of a time when a stock edge ran there say nothing about this one.
        if (member.Session.IsEdgeWire)
            _records.RemoveNode(member.Session.Node);
        // Those that arose while it was away were said to nobody: the CloudCore that has the node writes its devices' status.
        foreach (var (device, problems) in _devices.Complaints(member.Session.Node))
            ProblemsChanged?.Invoke(device, problems);
        member.Session.Open();
    }

    private void Deliver(SyncMember member, DownObject obj)
    {
        var node = member.Session.Node;
        if (!member.Session.IsEdgeWire && IsUnknownToStock(obj.Resource))
            return;
        if (obj.IsRepair)
        {
            SyncLog.Repaired(_logger, node, obj.Resource);
            (member.Repaired ??= []).Add(obj.Uid);
        }
        else if (!obj.IsDelete && member.Repaired?.Contains(obj.Uid) == true)
        {
            // The repair may not have arrived yet; what replaces it in the session must be taken as well.
            obj = obj with { IsRepair = true };
        }

        if (!member.Session.IsEdgeWire && !obj.IsDelete)
            _records.Sent(SyncRecord.Of(node, obj));
        member.Session.Deliver(obj);
    }

    private void Perform(PlacementOutput output)
    {
        switch (output)
        {
            // What is still to be compared is in that comparison.
            case PlacementOutput.Deliver deliver when _members.TryGetValue(deliver.Node, out var member) && !member.IsOwed(deliver.Object.Resource):
                Deliver(member, deliver.Object);
                break;
            case PlacementOutput.DeliverToAll deliver:
                // One object, written once, for all of them.
                foreach (var wanting in _members.Values)
                {
                    if (wanting.WantsServices && !wanting.IsOwed(deliver.Object.Resource))
                        Deliver(wanting, deliver.Object);
                }

                break;
            case PlacementOutput.Warn warn:
                _events.Warn(warn.About, warn.Reason, warn.Text);
                break;
            case PlacementOutput.DeviceProblems found when _members.ContainsKey(found.Node):
                ProblemsChanged?.Invoke(found.Device, found.Problems);
                break;
            // Those of cloudcore's own namespace are watched.
            case PlacementOutput.Used { Key: { Namespace: not CertificateStore.Namespace } key }:
                Secrets?.Use(key.Namespace, key.Name);
                break;
            case PlacementOutput.Unused { Key: { Namespace: not CertificateStore.Namespace } key }:
                Secrets?.Release(key.Namespace, key.Name);
                break;
            case PlacementOutput.NodeGone gone:
                RemoveNode(gone.Node);
                break;
        }
    }

    private void TellEnd(ISyncSession session)
    {
        if (Current(session) is not { HasEnded: false } member)
            return;
        member.HasEnded = true;
        SessionChanged?.Invoke(session.Node, false);
    }

    private void RemoveNode(string node)
    {
        var records = _records.Of(node).Count;
        _records.RemoveNode(node);
        if (_members.Remove(node, out var member))
            member.Session.End(SessionEndReason.NodeDeleted);
        SyncLog.NodeDeleted(_logger, node, records);
    }

    // The wire of stock KubeEdge has no such type.
    private static bool IsUnknownToStock(string resource) => ResourcePath.TryParse(resource, out var path) && path.Type == ResourceTypes.RuntimeClass;

    private void Defect(Exception exception) => SyncLog.WorkBroke(_logger, exception);
}
