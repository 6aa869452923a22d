using System.Collections.Concurrent;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Configuration;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.AspNetCore.Http;

namespace Edge.Cloud.CloudHub;

/// <summary>The main channel: takes an edge's WebSocket and checks who it is (kubeedge-wire §1.2). One that is refused gets an HTTP status
/// and the reason, and nothing it sends is read.</summary>
internal sealed class Hub(CloudCoreOptions options, HubCertificates certificates, UpstreamRooms rooms) : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, Upstream> _upstreams = new();
    private readonly UplinkGuards _guards = new();
    private readonly SessionContext _context = new(
        new SessionTimes { Keepalive = options.Keepalive, InventoryWait = options.InventoryWait, WriteTimeout = options.WriteTimeout },
        new TimerWheel(rooms.Time), rooms.Time, rooms.Metrics, rooms.Logger);

    /// <summary>Requests of edges that wait for the API.</summary>
    public int Waiting => _upstreams.Values.Sum(upstream => upstream.Waiting);

    /// <summary>Ends all sessions and refuses new ones.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        rooms.Sync.EndAll();
    }

    public void Dispose()
    {
        _context.Wheel.Dispose();
        _stop.Dispose();
    }

    /// <summary>Serves one connection until it ends.</summary>
    public async Task ServeAsync(HubConnection connection)
    {
        var request = connection.Request;
        var (code, reason) = Check(connection);
        if (code != 0)
        {
            rooms.Metrics.ConnectionRefused();
            if (code == StatusCodes.Status403Forbidden)
                rooms.Metrics.Forbidden();
            HubLog.RefusedConnection(rooms.Logger, connection.Address, request.NodeId.Length > 253 ? request.NodeId[..253] : request.NodeId, reason);
            using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(2), rooms.Time);
            await connection.RefuseAsync(code, reason, soon.Token);
            return;
        }

        var isEdgeWire = EdgeWire.Includes(request.Wire);
        // The session's wheel watches over writes.
        await using var link = new WebSocketLink(await connection.AcceptAsync(isEdgeWire, _stop.Token), rooms.Time, Timeout.InfiniteTimeSpan, isEdgeWire);
        await ServeAsync(request.NodeId, connection.Address, link);
    }

    /// <summary>Serves the link of a node that was checked, until it ends.</summary>
    public async Task ServeAsync(string node, string address, ILink link)
    {
        var upstream = new Upstream(rooms, _guards, _upstreams.GetValueOrDefault(node), _stop.Token);
        var session = new HubSession(node, link, upstream, link.IsEdgeWire ? new SessionLimits() : SessionLimits.Stock, _context);
        if (!rooms.Sync.TryRegister(session, options.NodeLimit))
        {
            await link.CloseAsync("the limit of nodes is reached");
            return;
        }

        _upstreams[node] = upstream;
        HubLog.Connected(rooms.Logger, node, address);
        try
        {
            if (_stop.IsCancellationRequested)
                session.End(SessionEndReason.Stopping); // it registered after everybody was told
            if (!link.IsEdgeWire)
                rooms.Sync.OpenStock(session);
            var end = await session.RunAsync();
            // What was received before the link went is still done: a pod's last status is true without an answer, too.
            await upstream.DrainedAsync();
            HubLog.Disconnected(rooms.Logger, node, end);
        }
        finally
        {
            _upstreams.TryRemove(new KeyValuePair<string, Upstream>(node, upstream));
            rooms.Sync.Unregister(session);
        }
    }

    private (int Code, string Reason) Check(HubConnection connection)
    {
        var request = connection.Request;
        if (_stop.IsCancellationRequested)
            return (StatusCodes.Status503ServiceUnavailable, "cloudcore is stopping");
        if (connection.Problem.Length > 0)
            return (StatusCodes.Status400BadRequest, connection.Problem);
        if (request.NodeId.Length == 0)
            return (StatusCodes.Status400BadRequest, "the header node_id is missing");
        using var certificate = connection.TakeCertificate();
        if (certificate is null)
            return (StatusCodes.Status403Forbidden, "a client certificate is needed (CN=system:node:<name>, O=system:nodes)");
        if (certificates.Refuse(certificate) is { } bad)
            return (StatusCodes.Status403Forbidden, $"the client certificate is not accepted: {bad}");
        if (NodeName.Of(certificate) is not { } named)
            return (StatusCodes.Status403Forbidden, "the client certificate is not one of a node (CN=system:node:<name>, O=system:nodes)");
        if (named != request.NodeId)
            return (StatusCodes.Status403Forbidden, $"node_id is '{request.NodeId}', the client certificate is that of node '{named}'");
        if (request.ConnectionUse is not ("msg" or ""))
            return (StatusCodes.Status400BadRequest, "ConnectionUse must be 'msg'");
        if (request.Key.Length == 0)
            return (StatusCodes.Status400BadRequest, "this port takes WebSocket connections of edges");
        return rooms.Sync.HasRoom(request.NodeId, options.NodeLimit) ? (0, "")
            : (StatusCodes.Status503ServiceUnavailable, $"{options.NodeLimit} nodes are connected; the limit is modules.cloudHub.nodeLimit");
    }
}
