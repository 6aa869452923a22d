using System.Collections.Concurrent;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Configuration;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Transport;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>The main channel: takes an edge's WebSocket and checks who it is (kubeedge-wire §1.2). One that is refused gets an HTTP status
/// and the reason, and nothing it sends is read.</summary>
internal sealed class Hub(
    CloudCoreOptions options, NodeSync sync, EdgeRequests requests, DeviceReports reports, TimeProvider time, HubMetrics metrics, ILogger logger)
    : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Upstream, bool> _upstreams = new();

    /// <summary>Requests of edges that wait for the API.</summary>
    public int Waiting => _upstreams.Keys.Sum(upstream => upstream.Waiting);

    /// <summary>Ends all sessions and refuses new ones.</summary>
    public async Task StopAsync()
    {
        sync.EndAll();
        await _stop.CancelAsync();
    }

    public void Dispose() => _stop.Dispose();

    /// <summary>Serves one HTTP request on the hub's port.</summary>
    public async Task ServeAsync(HttpContext context)
    {
        var node = context.Request.Headers["node_id"].ToString();
        var (code, reason) = Check(context, node);
        if (code != 0)
        {
            HubLog.RefusedConnection(logger, AddressOf(context), node.Length > 253 ? node[..253] : node, reason);
            await Respond.RefuseAsync(context, code, reason);
            return;
        }

        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        await using var link = new WebSocketLink(socket, time, options.WriteTimeout);
        var upstream = new Upstream(sync, requests, reports, time, metrics, logger);
        var times = new SessionTimes { Keepalive = options.Keepalive, InventoryWait = options.InventoryWait };
        using var session = new HubSession(node, link, upstream, new SessionLimits(), times, time, metrics, logger);
        if (!sync.TryRegister(session, options.NodeLimit))
        {
            await link.CloseAsync("the limit of nodes is reached");
            return;
        }

        _upstreams[upstream] = true;
        HubLog.Connected(logger, node, AddressOf(context));
        try
        {
            var serving = upstream.RunAsync(session, _stop.Token);
            var end = await session.RunAsync(_stop.Token);
            // What was received before the link went is still done: a pod's last status is true without an answer, too.
            upstream.Complete();
            await serving;
            HubLog.Disconnected(logger, node, end);
        }
        finally
        {
            _upstreams.TryRemove(upstream, out _);
            sync.Unregister(session);
        }
    }

    private (int Code, string Reason) Check(HttpContext context, string node)
    {
        if (_stop.IsCancellationRequested)
            return (StatusCodes.Status503ServiceUnavailable, "cloudcore is stopping");
        if (node.Length == 0)
            return (StatusCodes.Status400BadRequest, "the header node_id is missing");
        if (context.Connection.ClientCertificate is not { } certificate || NodeName.Of(certificate) is not { } named)
            return (StatusCodes.Status403Forbidden, "the client certificate is not one of a node (CN=system:node:<name>, O=system:nodes)");
        if (named != node)
            return (StatusCodes.Status403Forbidden, $"node_id is '{node}', the client certificate is that of node '{named}'");
        if (context.Request.Headers["ConnectionUse"].ToString() is not ("msg" or ""))
            return (StatusCodes.Status400BadRequest, "ConnectionUse must be 'msg'");
        if (!context.WebSockets.IsWebSocketRequest)
            return (StatusCodes.Status400BadRequest, "this port takes WebSocket connections of edges");
        return sync.HasRoom(node, options.NodeLimit) ? (0, "")
            : (StatusCodes.Status503ServiceUnavailable, $"{options.NodeLimit} nodes are connected; the limit is modules.cloudHub.nodeLimit");
    }

    private static string AddressOf(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
