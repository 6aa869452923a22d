using System.Diagnostics;
using System.Globalization;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Cloud.Router;
using Edge.Cloud.SyncController;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>Where the messages of edges go; shared by all sessions of a hub.</summary>
internal sealed record UpstreamRooms(NodeSync Sync, EdgeRequests Requests, DeviceReports Reports, TimeProvider Time, HubMetrics Metrics, ILogger Logger)
{
    /// <summary>Takes user data; null when modules.router is off.</summary>
    public RouterService? Router { get; init; }

    /// <summary>Takes what MetaServers ask; null when modules.dynamicController is off.</summary>
    public DynamicController.ApplicationService? Applications { get; init; }
}

/// <summary>Routes what one connected node sends (kubeedge-wire §2.6). Requests about one object are served in order; leases and node
/// status have a lane of their own, so nothing else of the node delays them.</summary>
/// <param name="rooms">Where the messages go.</param>
/// <param name="guards">What of each node's queue was applied.</param>
/// <param name="before">The same node's connection before this one, or null: nothing but inventories is served until what that one has begun is done, so that a late older
/// status never overwrites a newer one.</param>
/// <param name="isEdgeWire">False for a stock KubeEdge edge.</param>
/// <param name="stopping">Ends the waiting for the API.</param>
internal sealed class Upstream(UpstreamRooms rooms, UplinkGuards guards, Upstream? before, bool isEdgeWire, CancellationToken stopping) : ISessionOwner
{
    private const int Lanes = 5;

    // What a node has is compared without the API, and whatever else waits for it.
    private const int InventoryLane = 4;

    // Full lanes stop the reading of this node's link: its backpressure reaches the edge's own durable queue.
    private const int LaneMax = 256;

    private readonly Lane?[] _lanes = new Lane?[Lanes];
    private Upstream? _before = before; // locked by _lanes
    private TaskCompletionSource? _idle; // locked by _lanes
    private int _running; // locked by _lanes

    public int Waiting
    {
        get
        {
            lock (_lanes)
            {
                var sum = 0;
                foreach (var lane in _lanes)
                    sum += lane?.Queue.Count ?? 0;
                return sum;
            }
        }
    }

    /// <summary>Completes when everything that was received, here and by the connections before, is served.</summary>
    public async Task DrainedAsync()
    {
        Task idle;
        Upstream? earlier;
        lock (_lanes)
        {
            earlier = _before;
            if (_running > 0)
                _idle ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            idle = _idle?.Task ?? Task.CompletedTask;
        }

        if (earlier is not null)
            await earlier.DrainedAsync();
        await idle;
        lock (_lanes)
        {
            _before = null;
        }
    }

    public ValueTask ReceivedAsync(HubSession session, Message message, CancellationToken cancellationToken)
    {
        switch (message)
        {
            // The peer's library asks whether we are there (§1.3, control operations).
            case { Operation: "ping" }:
                session.Send(message.Response(rooms.Time, MessageCodec.JsonString("ack")), isUrgent: true);
                return ValueTask.CompletedTask;
            case { Operation: "pong" or "config" }:
                return ValueTask.CompletedTask;
            case { Source: Sources.Twin }:
                return rooms.Reports.Receive(session, message) ? ValueTask.CompletedTask : AddAsync(session, message);
            case { Operation: Operations.Upload, Group: Groups.User, Source: Sources.Bus or Sources.ServiceBus } when rooms.Router is not null:
                rooms.Router.Receive(session, message);
                return ValueTask.CompletedTask;
            case { Source: Sources.MetaServer, Group: Groups.DynamicController } when rooms.Applications is not null:
                rooms.Applications.Receive(session, message);
                return ValueTask.CompletedTask;
            // Nobody may speak for the cloud's own rooms (§2.6); without a router user data has no taker.
            case { Source: Sources.CloudHub or Sources.DeviceController or Sources.EdgeController or Sources.DynamicController or "synccontroller" or "cloudStream" }:
            case { Operation: Operations.Upload }:
            case { Group: not (Groups.Meta or Groups.Resource) } when message.Operation != NodeTaskWire.Report:
                rooms.Metrics.UpstreamDropped();
                HubLog.NoRoute(rooms.Logger, session.Node, Shorten(message.Source), Shorten(message.Group), Shorten(message.Operation), Shorten(message.Resource));
                // The queue of an Edge peer keeps an entry until it is answered.
                if (session.IsEdgeWire)
                    session.Send(rooms.Requests.NotServed(message));
                return ValueTask.CompletedTask;
            default:
                return AddAsync(session, message);
        }
    }

    public void InventoryMissing(HubSession session) => rooms.Sync.OpenWithEverything(session);

    public void Stored(HubSession session, DownObject obj) => rooms.Sync.Stored(session, obj);

    public void Refused(HubSession session, DownObject obj, string reason) => rooms.Sync.Refused(session, obj, reason);

    private static bool IsUrgent(Message message)
        => ResourcePath.TryParse(message.Resource, out var path) && path.Type is ResourceTypes.Lease or ResourceTypes.NodePatch or ResourceTypes.Node;

    private static bool IsInventory(HubSession session, Message message)
        => session.IsEdgeWire && message is { Source: Sources.MetaManager, Operation: Operations.Get, Resource: InventoryMessages.DigestResource or InventoryMessages.PartResource };

    private static int LaneOf(Message message)
    {
        if (IsUrgent(message))
            return 0;
        // podpatch, podstatus and pod of one name are about one object.
        var name = ResourcePath.TryParse(message.Resource, out var path) ? $"{path.Namespace}/{path.Name}" : message.Resource;
        return 1 + (int)((uint)string.GetHashCode(name, StringComparison.Ordinal) % (InventoryLane - 1));
    }

    private ValueTask AddAsync(HubSession session, Message message)
    {
        var at = IsInventory(session, message) ? InventoryLane : message.Source == Sources.MetaManager ? 1 : LaneOf(message);
        Lane lane;
        lock (_lanes)
        {
            lane = _lanes[at] ??= new Lane();
            lane.Queue.Enqueue(message);
            if (lane.IsServed)
            {
                if (lane.Queue.Count < LaneMax)
                    return ValueTask.CompletedTask;
                lane.Room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                return new ValueTask(lane.Room.Task);
            }

            lane.IsServed = true;
            _running++;
        }

        _ = ServeAsync(session, at, lane); // awaited through DrainedAsync; it does not throw
        return ValueTask.CompletedTask;
    }

    private async Task ServeAsync(HubSession session, int at, Lane lane)
    {
        try
        {
            if (at != InventoryLane)
                await AfterTheConnectionBeforeAsync();
            while (TakeNext(at, lane) is { } message)
                await ServeAsync(session, message);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Stopping; the edge asks again.
            Abandon(at, lane);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A defect here must not leave the node with a lane that nobody serves.
            HubLog.LaneBroke(rooms.Logger, session.Node, e);
            session.End(SessionEndReason.Failed);
            Abandon(at, lane);
        }
    }

    private async Task ServeAsync(HubSession session, Message message)
    {
        switch (message)
        {
            case { Resource: InventoryMessages.DigestResource } when IsInventory(session, message):
                AnswerDigest(session, message);
                break;
            case { Resource: InventoryMessages.PartResource } when IsInventory(session, message):
                await TakePartAsync(session, message);
                break;
            case { Source: Sources.Twin }:
                await rooms.Reports.ReceiveAsync(session, message, stopping);
                break;
            default:
                if (await AnswerAsync(session, message) is { } answer)
                    session.Send(answer, IsUrgent(message));
                break;
        }
    }

    // What comes out of the queue of an Edge peer carries its version there, and is applied once. A lease and a node's status are as true the second time.
    private async ValueTask<Message?> AnswerAsync(HubSession session, Message message)
    {
        var version = VersionOf(session, message);
        if (version == 0 || IsUrgent(message))
            return (await rooms.Requests.AnswerAsync(session.Node, message, session.IsEdgeWire, version, stopping)).Message;
        var isSingle = message.Operation == NodeTaskWire.Report || (ResourcePath.TryParse(message.Resource, out var path) && path.Type == ResourceTypes.Event);
        var guard = guards.Of(session.Node);
        UplinkVerdict verdict;
        lock (guard)
        {
            verdict = guard.Begin(message.Resource, message.Id, version, isSingle);
        }

        switch (verdict)
        {
            case UplinkVerdict.Apply:
                var isSettled = false;
                try
                {
                    var answer = await rooms.Requests.AnswerAsync(session.Node, message, session.IsEdgeWire, version, stopping);
                    isSettled = answer.IsSettled;
                    return answer.Message;
                }
                finally
                {
                    lock (guard)
                    {
                        guard.End(message.Resource, message.Id, version, isSingle, isSettled);
                    }
                }

            // A path has one lane, and a connection waits for the one before it; so this is a defect, and the edge sends it again.
            case UplinkVerdict.Busy:
                throw new UnreachableException($"{message.Resource} of node {session.Node} is being applied twice at once");
            default:
                return rooms.Requests.Ok(message);
        }
    }

    /// <summary>The version that an entry has in the queue of an Edge peer; 0 for anything else.</summary>
    public static long VersionOf(ISyncSession session, Message message)
        => session.IsEdgeWire && long.TryParse(message.ResourceVersion, NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : 0;

    private async ValueTask AfterTheConnectionBeforeAsync()
    {
        Upstream? before;
        lock (_lanes)
        {
            before = _before;
        }

        if (before is null)
            return;
        before.Leave();
        await before.DrainedAsync().WaitAsync(stopping);
        lock (_lanes)
        {
            _before = null;
        }
    }

    // The node has a newer connection. An Edge peer keeps what was not answered and says it again there: what has not begun here is dropped, or a hung API, which each of these
    // waits for in its turn, would keep the newer connection waiting for all of them.
    private void Leave()
    {
        Upstream? earlier;
        lock (_lanes)
        {
            earlier = _before;
            if (isEdgeWire)
            {
                foreach (var lane in _lanes)
                    lane?.Queue.Clear();
            }
        }

        earlier?.Leave();
    }

    private Message? TakeNext(int at, Lane lane)
    {
        TaskCompletionSource? room = null;
        TaskCompletionSource? idle = null;
        Message? next;
        lock (_lanes)
        {
            if (!lane.Queue.TryDequeue(out next))
            {
                _lanes[at] = null;
                if (--_running == 0)
                    (idle, _idle) = (_idle, null);
            }

            if (lane.Queue.Count < LaneMax / 2)
                (room, lane.Room) = (lane.Room, null);
        }

        room?.SetResult();
        idle?.TrySetResult();
        return next;
    }

    private void Abandon(int at, Lane lane)
    {
        lock (_lanes)
        {
            lane.Queue.Clear();
        }

        TakeNext(at, lane);
    }

    private void AnswerDigest(HubSession session, Message message)
    {
        if (InventoryMessages.ReadDigest(message.Content, out var error) is { } digest)
        {
            if (InventoryMessages.ReadBeatMs(message.Content) is > 0 and var beat)
                session.ExpectBeats(beat);
            session.Send(message.Response(rooms.Time, rooms.Sync.AnswerDigest(session, digest, InventoryMessages.ReadWantsServices(message.Content))) with { Source = Sources.CloudHub }, isUrgent: true);
            return;
        }

        HubLog.BadInventory(rooms.Logger, session.Node, error);
        session.Send(message.Response(rooms.Time, MessageCodec.Ok) with { Source = Sources.CloudHub }, isUrgent: true);
        rooms.Sync.OpenWithEverything(session);
    }

    private async Task TakePartAsync(HubSession session, Message message)
    {
        session.Send(message.Response(rooms.Time, MessageCodec.Ok) with { Source = Sources.CloudHub }, isUrgent: true);
        if (InventoryMessages.ReadPart(message.Content, out var error) is { } part)
        {
            await rooms.Sync.ApplyPartAsync(session, part, stopping);
            return;
        }

        HubLog.BadInventory(rooms.Logger, session.Node, error);
        rooms.Sync.OpenWithEverything(session);
    }

    private static string Shorten(string text) => text.Length > 100 ? text[..100] : text;

    /// <summary>Messages served one after the other; there only while there are some.</summary>
    private sealed class Lane
    {
        public Queue<Message> Queue { get; } = [];

        public bool IsServed { get; set; }

        /// <summary>Completes when a full lane has room again.</summary>
        public TaskCompletionSource? Room { get; set; }
    }
}
