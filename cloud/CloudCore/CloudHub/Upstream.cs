using System.Threading.Channels;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>Routes what one connected node sends (kubeedge-wire §2.6). Requests about one object are served in order; leases and node
/// status have a lane of their own, so nothing else of the node delays them.</summary>
internal sealed class Upstream : ISessionOwner
{
    private const int Lanes = 4;

    // Full lanes stop the reading of this node's link: its backpressure reaches the edge's own durable queue.
    private const int LaneMax = 256;

    private readonly NodeSync _sync;
    private readonly EdgeRequests _requests;
    private readonly DeviceReports _reports;
    private readonly TimeProvider _time;
    private readonly HubMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Channel<Message>[] _lanes =
        [.. Enumerable.Range(0, Lanes).Select(_ => Channel.CreateBounded<Message>(new BoundedChannelOptions(LaneMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait }))];

    public Upstream(NodeSync sync, EdgeRequests requests, DeviceReports reports, TimeProvider time, HubMetrics metrics, ILogger logger)
    {
        _sync = sync;
        _requests = requests;
        _reports = reports;
        _time = time;
        _metrics = metrics;
        _logger = logger;
    }

    public int Waiting => _lanes.Sum(lane => lane.Reader.Count);

    /// <summary>Serves the lanes until <see cref="Complete"/>, or until the token ends the wait for the API.</summary>
    public Task RunAsync(HubSession session, CancellationToken cancellationToken)
        => Task.WhenAll(_lanes.Select(lane => ServeAsync(session, lane.Reader, cancellationToken)));

    public void Complete()
    {
        foreach (var lane in _lanes)
            lane.Writer.TryComplete();
    }

    public ValueTask ReceivedAsync(HubSession session, Message message, CancellationToken cancellationToken)
    {
        switch (message)
        {
            // The peer's library asks whether we are there (§1.3, control operations).
            case { Operation: "ping" }:
                session.Send(message.Response(_time, MessageCodec.JsonString("ack")), isUrgent: true);
                return ValueTask.CompletedTask;
            case { Operation: "pong" or "config" }:
                return ValueTask.CompletedTask;
            case { Operation: Operations.Get, Resource: Inventory.Resource, Source: Sources.MetaManager }:
                return _lanes[1].Writer.WriteAsync(message, cancellationToken);
            case { Source: Sources.Twin }:
                _reports.Receive(session, message);
                return ValueTask.CompletedTask;
            // Nobody may speak for the cloud's own rooms (§2.6); user data has no taker in this cloudcore.
            case { Source: Sources.CloudHub or Sources.DeviceController or Sources.EdgeController or "synccontroller" or "cloudStream" }:
            case { Operation: Operations.Upload }:
            case { Group: not (Groups.Meta or Groups.Resource) }:
                _metrics.UpstreamDropped();
                HubLog.NoRoute(_logger, session.Node, Shorten(message.Source), Shorten(message.Group), Shorten(message.Operation), Shorten(message.Resource));
                return ValueTask.CompletedTask;
            default:
                return _lanes[LaneOf(message)].Writer.WriteAsync(message, cancellationToken);
        }
    }

    public void InventoryMissing(HubSession session) => _sync.OpenWithEverything(session);

    private static bool IsUrgent(Message message)
        => ResourcePath.TryParse(message.Resource, out var path) && path.Type is ResourceTypes.Lease or ResourceTypes.NodePatch or ResourceTypes.Node;

    private static int LaneOf(Message message)
    {
        if (IsUrgent(message))
            return 0;
        // podpatch, podstatus and pod of one name are about one object.
        var name = ResourcePath.TryParse(message.Resource, out var path) ? $"{path.Namespace}/{path.Name}" : message.Resource;
        return 1 + (int)((uint)string.GetHashCode(name, StringComparison.Ordinal) % (Lanes - 1));
    }

    private async Task ServeAsync(HubSession session, ChannelReader<Message> lane, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var message in lane.ReadAllAsync(cancellationToken))
            {
                if (message.Resource == Inventory.Resource)
                    await InventoryAsync(session, message, cancellationToken);
                else if (await _requests.AnswerAsync(session.Node, message, cancellationToken) is { } answer)
                    session.Send(answer, IsUrgent(message));
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping; the edge asks again.
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A defect here must not leave the node with a lane that nobody serves.
            HubLog.LaneBroke(_logger, session.Node, e);
            session.End(SessionEndReason.Failed);
        }
    }

    private async Task InventoryAsync(HubSession session, Message message, CancellationToken cancellationToken)
    {
        session.Send(message.Response(_time, MessageCodec.Ok) with { Source = Sources.CloudHub }, isUrgent: true);
        if (Inventory.TryRead(message.Content, out var error) is { } items)
        {
            await _sync.OpenWithInventoryAsync(session, items, cancellationToken);
            return;
        }

        HubLog.BadInventory(_logger, session.Node, error);
        _sync.OpenWithEverything(session);
    }

    private static string Shorten(string text) => text.Length > 100 ? text[..100] : text;
}
