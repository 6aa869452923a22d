using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Dashboard;
using Edge.Cloud.SyncController;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Simulation.Tests.Adapters;

namespace Edge.Simulation.Tests.Model;

/// <summary>The cloud's end of one connection: delivery down, and the lanes that serve what the edge sends.</summary>
internal sealed class CloudSession(World world, CloudProcess cloud, Link link, EdgeMachine edge) : Life, ILinkEnd, ISyncSession
{
    public const int LaneMax = 64;
    private const int Lanes = 4;
    private const int SendBatch = 16;
    private const int SilenceMs = 15_000;
    private const int PingMs = 5_000;
    private const int InventoryWaitMs = 2_000;

    private readonly Delivery _delivery = new(world.Profile, world.Bug, () => world.NewId("d"));
    private readonly Queue<Wire>[] _lanes = [new(), new(), new(), new()];
    private readonly bool[] _isServing = new bool[Lanes];
    private readonly Dictionary<string, long> _sentAt = [];
    private long _bornMs;
    private long _heardAtMs;
    private long _pumpAtMs = long.MaxValue;
    private bool _isOpen;

    public override Life Process => cloud;

    public CloudProcess Cloud => cloud;

    public string Node => edge.Name;

    public bool IsEdgeWire => true;

    public (int Objects, int Messages) Depth => (_delivery.ObjectDepth, 0);

    public int InFlight => throw new NotSupportedException("only an operator asks");

    public Link Link => link;

    public EdgeMachine Edge => edge;

    public Delivery Delivery => _delivery;

    public int LaneDepth => Math.Max(Math.Max(_lanes[0].Count, _lanes[1].Count), Math.Max(_lanes[2].Count, _lanes[3].Count));

    public void Start()
    {
        _bornMs = _heardAtMs = world.NowMs;
        Wake();
        Ping();
    }

    public IReadOnlyList<QueuedObject> Queued(int max) => throw new NotSupportedException("only an operator asks");

    public void Send(Message message, bool isUrgent = false) => throw new NotSupportedException("what goes once is said to the delivery itself");

    public void Members(IReadOnlyList<string> present)
    {
    }

    public void Deliver(DownObject obj)
    {
        if (IsOver || IsLostBy(world.Bug, obj))
            return;
        if (world.Bug == PlantedBug.SecretToNeighbours && InventoryExchange.IsSecret(obj.Resource))
        {
            foreach (var other in cloud.Sessions)
                other.Take(obj);
            return;
        }

        Take(obj);
    }

    // What the planted bugs of the cloud's rooms lose on the way to the session.
    private bool IsLostBy(PlantedBug bug, DownObject obj) => bug switch
    {
        PlantedBug.SurplusIsKept => obj is { IsDelete: true, IsFinal: false } && cloud.Sync.IsComparing,
        PlantedBug.SecretOutlivesPods => obj is { IsDelete: true, IsFinal: false } && !cloud.Sync.IsComparing && InventoryExchange.IsSecret(obj.Resource),
        _ => false,
    };

    private void Take(DownObject obj)
    {
        world.Note("to deliver", -1, $"{edge.Name} {obj.Operation} {obj.Resource} {obj.Uid}", obj.Version);
        if (!_delivery.Deliver(obj))
            End("no room");
        world.Check.Delivered(this, obj, _isOpen);
        Wake();
    }

    public void Known(string uid, long version) => _delivery.Known(uid, version);

    public bool WillSend(string uid) => _delivery.WillSend(uid);

    public bool Open()
    {
        if (_isOpen)
            return false;
        _isOpen = true;
        _delivery.Open();
        Wake();
        return true;
    }

    public bool Receive(Wire message)
    {
        _heardAtMs = world.NowMs;
        switch (message)
        {
            case Wire.Ack ack:
                if (ack.IsRefusal && _delivery.Sent(ack.ParentId) is { } refused)
                    cloud.Sync.Refused(this, refused);
                if (_delivery.Answered(ack.ParentId, ack.IsRefusal) is { } stored)
                    world.Check.StoredByCloud(edge, stored, _sentAt.GetValueOrDefault(ack.ParentId));
                Wake();
                return true;
            case Wire.Uplink or Wire.Query or Wire.Digest or Wire.Part:
                var lane = LaneOf(message);
                if (_lanes[lane].Count >= LaneMax)
                    return false;
                if (message is Wire.Uplink uplink)
                    world.Check.Received(uplink.Value);
                _lanes[lane].Enqueue(message);
                Serve(lane);
                return true;
            default:
                return true;
        }
    }

    public void LinkLost() => End("link lost");

    public void End(SessionEndReason reason) => End(reason.ToString());

    public void End(string why)
    {
        if (IsOver)
            return;
        world.Note("cloud ends session", -1, $"{edge.Name}: {why}");
        IsDead = true;
        link.Break(tellEdge: !edge.IsHeld(toCloud: false), tellCloud: false);
        UnregisterOnceServed();
    }

    private static int LaneOf(Wire message) => message switch
    {
        Wire.Uplink { Key: "lease" or "nodestatus" } => 0,
        Wire.Uplink uplink => 1 + (uplink.Key.Length + uplink.Key[^1]) % (Lanes - 1),
        _ => 1,
    };

    // What was received before the link went is still done.
    private void UnregisterOnceServed()
    {
        if (!IsDead || cloud.IsDead)
            return;
        foreach (var lane in _lanes)
        {
            if (lane.Count > 0)
                return;
        }

        world.After(1, cloud, () => cloud.Unregister(this));
    }

    private void Wake() => PumpAt(world.NowMs + world.Random.Next(2));

    private void PumpAt(long atMs)
    {
        if (IsOver || _pumpAtMs <= atMs)
            return;
        _pumpAtMs = atMs;
        world.After(atMs - world.NowMs, this, () =>
        {
            if (_pumpAtMs != world.NowMs)
                return;
            _pumpAtMs = long.MaxValue;
            Pump();
        });
    }

    private void Pump()
    {
        if (world.NowMs - _heardAtMs > SilenceMs)
        {
            End("silent");
            return;
        }

        if (!_isOpen && world.NowMs - _bornMs >= InventoryWaitMs)
            cloud.Sync.OpenWithEverything(this);
        var outputs = _delivery.Tick(cloud.Clock.NowMs, SendBatch);
        foreach (var output in outputs)
        {
            if (!cloud.Effect())
                return;
            if (output is SessionOutput.SendObject send)
            {
                _sentAt.TryAdd(send.MessageId, edge.Objects.Sequence);
                world.Note("sends", -1, $"{edge.Name} {send.MessageId}: {send.Object.Operation} {send.Object.Resource} {send.Object.Uid}", send.Object.Version);
                link.Send(toCloud: false, new Wire.Object(send.MessageId, send.Object));
            }
            else if (output is SessionOutput.SendMembers members)
            {
                if (world.Bug == PlantedBug.MembershipOnce)
                    members.Added.RemoveAll(device => !cloud.Told.Add((edge.Name, device)));
                foreach (var device in members.Removed)
                    cloud.Told.Remove((edge.Name, device));
                world.Note("tells", -1, $"{edge.Name} + {string.Join(' ', members.Added)} - {string.Join(' ', members.Removed)}");
                link.Send(toCloud: false, new Wire.Members(members.Added, members.Removed));
            }
            else if (output is SessionOutput.SendMessage message)
            {
                link.Send(toCloud: false, _delivery.Unwrap(message.Message));
            }
        }

        if (outputs.Count > 0)
        {
            PumpAt(world.NowMs + 1);
            return;
        }

        var next = _heardAtMs + SilenceMs + 1;
        if (!_isOpen)
            next = Math.Min(next, _bornMs + InventoryWaitMs);
        if (_delivery.NextDueMs is not long.MaxValue and var due)
            next = Math.Min(next, world.NowMs + cloud.Clock.Until(due));
        PumpAt(Math.Max(world.NowMs + 1, next));
    }

    private void Ping() => world.After(PingMs, this, () =>
    {
        link.Send(toCloud: false, new Wire.Ping());
        Ping();
    });

    private void Serve(int lane)
    {
        if (_isServing[lane] || cloud.IsDead)
            return;
        if (!_lanes[lane].TryPeek(out var message))
        {
            UnregisterOnceServed();
            return;
        }

        _isServing[lane] = true;
        switch (message)
        {
            case Wire.Digest digest:
                _delivery.Send(new Wire.DigestAnswer(digest.Id, cloud.Sync.AnswerDigest(this, digest.Content)), isUrgent: true);
                Wake();
                Served(lane);
                break;
            case Wire.Part part:
                cloud.Sync.ApplyPart(this, part.Content, () => Served(lane));
                break;
            case Wire.Query query:
                AnswerQuery(query, lane);
                break;
            case Wire.Uplink entry:
                TakeEntry(entry, lane);
                break;
        }
    }

    private void Served(int lane)
    {
        _lanes[lane].Dequeue();
        _isServing[lane] = false;
        world.After(0, cloud, () => Serve(lane));
    }

    private void AnswerQuery(Wire.Query query, int lane)
    {
        var isUsed = cloud.Sync.Uses(edge.Name, query.Type, query.Name);
        world.Between(1, world.Profile.ApiMsMax, cloud, () =>
        {
            DownObject? found = null;
            var kind = query.Type == ResourceTypes.Secret ? Watched.Secret : Watched.ConfigMap;
            if (isUsed && world.Cluster.Find(kind, query.Name) is { } obj)
                found = DownObject.Of(ClusterModel.KindOf(kind), query.Type, Operations.Update, Sources.EdgeController, new ObjectBody(obj));
            // The way back from the API takes its time, too.
            world.Between(1, world.Profile.ApiMsMax, cloud, () =>
            {
                // Between the look at the API and now the node may have lost its last user of it, and with that its delete may be on the way.
                if (!cloud.Sync.Uses(edge.Name, query.Type, query.Name))
                    found = null;
                _delivery.Send(new Wire.QueryAnswer(world.NewId("a"), query.Id, found), isUrgent: false);
                Wake();
                Served(lane);
            });
        });
    }

    private void TakeEntry(Wire.Uplink entry, int lane)
    {
        var guard = cloud.GuardOf(edge.Name);
        switch (guard.Begin(entry))
        {
            case UplinkVerdict.Busy:
                world.After(15, cloud, () => TakeEntry(entry, lane));
                return;
            case UplinkVerdict.AlreadyApplied or UplinkVerdict.Superseded:
                world.Note("uplink known", -1, $"{edge.Name} {entry.Key}", entry.Version);
                Answer(entry, UplinkOutcome.Accepted);
                Served(lane);
                return;
        }

        if (Reports.Of(entry.Key) is not null)
        {
            cloud.Sync.Start(async () =>
            {
                var kube = new SimKube(world, cloud, isCertain =>
                {
                    world.Note("uplink applied", -1, $"{edge.Name} {entry.Key}", entry.Version);
                    world.Check.Applied(edge, cloud, entry, UplinkOutcome.Accepted, isCertain);
                });
                var outcome = await Reports.WriteAsync(kube, cloud, edge.Name, entry, world.Bug);
                if (outcome == UplinkOutcome.Rejected)
                    world.Check.Applied(edge, cloud, entry, outcome, isCertain: true);
                guard.End(entry, outcome != UplinkOutcome.Failed);
                Answer(entry, outcome);
                Served(lane);
            });
            return;
        }

        world.Between(1, world.Profile.ApiMsMax, cloud, () =>
        {
            if (!cloud.Effect())
                return;
            // A request may fail before it took effect, or its answer may be lost after.
            var fails = world.HasFaults && world.Chance(world.Profile.ApiFailShare);
            if (!fails || world.Random.Next(2) == 0)
            {
                world.Note("uplink applied", -1, $"{edge.Name} {entry.Key}", entry.Version);
                world.Check.Applied(edge, cloud, entry, UplinkOutcome.Accepted, isCertain: !fails);
            }

            world.Between(1, world.Profile.ApiMsMax, cloud, () =>
            {
                guard.End(entry, !fails);
                Answer(entry, fails ? UplinkOutcome.Failed : UplinkOutcome.Accepted);
                Served(lane);
            });
        });
    }

    private void Answer(Wire.Uplink entry, UplinkOutcome outcome)
    {
        if (!entry.IsAnswered)
            return;
        _delivery.Send(new Wire.UplinkAnswer(world.NewId("a"), entry.Id, outcome), isUrgent: entry.Key is "lease" or "nodestatus");
        Wake();
    }
}
