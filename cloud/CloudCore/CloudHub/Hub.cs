using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.CloudStream;
using Edge.Cloud.Configuration;
using Edge.Cloud.Dashboard;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.AspNetCore.Http;

namespace Edge.Cloud.CloudHub;

/// <summary>The main channel: takes an edge's WebSocket (kubeedge-wire §1.2) or QUIC connection and checks who it is. One that is refused gets an HTTP status
/// and the reason, and nothing it sends is read.</summary>
internal sealed class Hub(CloudCoreOptions options, HubCertificates certificates, UpstreamRooms rooms, NodeStreams streams, LinkHistory links) : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, Upstream> _upstreams = new();
    private readonly UplinkGuards _guards = new();
    private readonly SessionLimits _limits = new() { Window = options.Window };
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
        var (code, reason) = await CheckAsync(connection);
        if (code != 0)
        {
            Refused(code, connection.Address, request.NodeId, reason);
            using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(2), rooms.Time);
            await connection.RefuseAsync(code, reason, soon.Token);
            return;
        }

        if (request.ConnectionUse == NodeStreamWire.ConnectionUse)
        {
            await streams.ServeAsync(request.Stream, () => connection.AcceptAsync(isEdgeWire: false, _stop.Token), _stop.Token);
            return;
        }

        var isEdgeWire = EdgeWire.Includes(request.Wire);
        // The session's wheel watches over writes.
        await using var link = new WebSocketLink(await connection.AcceptAsync(isEdgeWire, _stop.Token), rooms.Time, Timeout.InfiniteTimeSpan, isEdgeWire);
        await ServeAsync(request.NodeId, connection.Address, link);
    }

    /// <summary>Serves one QUIC connection until it ends. The caller disposes the certificate and the connection.</summary>
    public async Task ServeAsync(QuicPeer peer)
    {
        var (hello, streams) = (peer.Hello, peer.Streams);
        var (code, reason) = await CheckAsync(hello.NodeId, "", "", () => peer.Certificate);
        if (code == 0 && !EdgeWire.Includes(hello.Wire))
            (code, reason) = (StatusCodes.Status400BadRequest, $"over QUIC, version {EdgeWire.Version} of the Edge wire is spoken; this edge offers others");
        var control = streams[LinkLane.Control];
        if (code != 0)
        {
            Refused(code, peer.Address, hello.NodeId, reason);
            using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(2), rooms.Time);
            await using (streams)
            {
                await QuicGreeting.RefuseAsync(control, code, reason, soon.Token);
                await streams.CompleteWritesAsync(soon.Token);
            }

            return;
        }

        // The session's wheel watches over writes.
        await using var link = new QuicLink(streams, rooms.Time, Timeout.InfiniteTimeSpan);
        await QuicGreeting.AcceptAsync(control, _stop.Token);
        await ServeAsync(hello.NodeId, peer.Address, link);
    }

    /// <summary>Serves the link of a node that was checked, until it ends.</summary>
    public async Task ServeAsync(string node, string address, ILink link)
    {
        var upstream = new Upstream(rooms, _guards, _upstreams.GetValueOrDefault(node), link.IsEdgeWire, _stop.Token);
        var session = new HubSession(node, link, upstream, link.IsEdgeWire ? _limits : SessionLimits.Stock, _context);
        if (!rooms.Sync.TryRegister(session, options.NodeLimit))
        {
            await link.CloseAsync("the limit of nodes is reached");
            return;
        }

        _upstreams[node] = upstream;
        HubLog.Connected(rooms.Logger, node, address);
        links.Connected(node, address, link.HasLanes ? "QUIC" : "WebSocket");
        try
        {
            if (_stop.IsCancellationRequested)
                session.End(SessionEndReason.Stopping); // it registered after everybody was told
            if (!link.IsEdgeWire)
                rooms.Sync.OpenStock(session);
            var end = await session.RunAsync();
            rooms.Sync.Ended(session);
            rooms.Applications?.Ended(session);
            // What was received before the link went is still done: a pod's last status is true without an answer, too.
            await upstream.DrainedAsync();
            HubLog.Disconnected(rooms.Logger, node, end);
            links.Disconnected(node, end.ToString(), end == SessionEndReason.Replaced);
        }
        finally
        {
            _upstreams.TryRemove(new KeyValuePair<string, Upstream>(node, upstream));
            rooms.Sync.Unregister(session);
        }
    }

    private void Refused(int code, string address, string node, string reason)
    {
        rooms.Metrics.ConnectionRefused();
        if (code == StatusCodes.Status403Forbidden)
            rooms.Metrics.Forbidden();
        HubLog.RefusedConnection(rooms.Logger, address, node.Length > 253 ? node[..253] : node, reason);
    }

    private async ValueTask<(int Code, string Reason)> CheckAsync(HubConnection connection)
    {
        var request = connection.Request;
        var isStream = request.ConnectionUse == NodeStreamWire.ConnectionUse;
        var malformed = !isStream && request.ConnectionUse is not ("msg" or "") ? "ConnectionUse must be 'msg' or 'stream'"
            : request.Key.Length == 0 ? "this port takes WebSocket connections of edges"
            : "";
        X509Certificate2? certificate = null;
        try
        {
            var (code, reason) = await CheckAsync(request.NodeId, connection.Problem, malformed, () => certificate = connection.TakeCertificate());
            return code == 0 && isStream && !streams.IsExpected(request.NodeId, request.Stream) ? (StatusCodes.Status404NotFound, "nobody waits for this stream") : (code, reason);
        }
        finally
        {
            certificate?.Dispose();
        }
    }

    /// <param name="unreadable">Why the request cannot be read; empty when it can.</param>
    /// <param name="malformed">What else is wrong with it: told only to a node that has shown who it is.</param>
    private async ValueTask<(int Code, string Reason)> CheckAsync(string node, string unreadable, string malformed, Func<X509Certificate2?> certificateOf)
    {
        if (_stop.IsCancellationRequested)
            return (StatusCodes.Status503ServiceUnavailable, "cloudcore is stopping");
        if (unreadable.Length > 0)
            return (StatusCodes.Status400BadRequest, unreadable);
        if (node.Length == 0)
            return (StatusCodes.Status400BadRequest, "the header node_id is missing");
        if (certificateOf() is not { } certificate)
            return (StatusCodes.Status403Forbidden, "a client certificate is needed (CN=system:node:<name>, O=system:nodes)");
        if (await certificates.JudgeAsync(certificate, _stop.Token) is ({ } bad, var isFinal))
        {
            return isFinal ? (StatusCodes.Status403Forbidden, $"the client certificate is not accepted: {bad}")
                : (StatusCodes.Status503ServiceUnavailable, HubCertificates.NotKnown);
        }

        if (NodeName.Of(certificate) is not { } named)
            return (StatusCodes.Status403Forbidden, "the client certificate is not one of a node (CN=system:node:<name>, O=system:nodes)");
        if (named != node)
            return (StatusCodes.Status403Forbidden, $"node_id is '{node}', the client certificate is that of node '{named}'");
        if (malformed.Length > 0)
            return (StatusCodes.Status400BadRequest, malformed);
        return rooms.Sync.HasRoom(node, options.NodeLimit) ? (0, "")
            : (StatusCodes.Status503ServiceUnavailable, $"{options.NodeLimit} nodes are connected; the limit is modules.cloudHub.nodeLimit");
    }
}
