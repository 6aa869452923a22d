using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>What the hub tells the operator; ids 1000-1099.</summary>
internal static partial class HubLog
{
    [LoggerMessage(1000, LogLevel.Information, "node {Node} connected from {Address}")]
    public static partial void Connected(ILogger logger, string node, string address);

    [LoggerMessage(1001, LogLevel.Information, "node {Node} disconnected: {Reason}")]
    public static partial void Disconnected(ILogger logger, string node, Sessions.SessionEndReason reason);

    [LoggerMessage(1002, LogLevel.Warning, "refused a connection from {Address} with node_id '{Node}': {Reason}")]
    public static partial void RefusedConnection(ILogger logger, string address, string node, string reason);

    [LoggerMessage(1003, LogLevel.Warning, "node {Node} sent a frame that is no message: {Error}")]
    public static partial void Malformed(ILogger logger, string node, string error);

    [LoggerMessage(1004, LogLevel.Warning, "node {Node} could not store {Resource}: {Reason}; it is sent again later")]
    public static partial void Refused(ILogger logger, string node, string resource, string reason);

    [LoggerMessage(1005, LogLevel.Error, "too many objects wait for node {Node} (at {Resource}); the connection is closed and starts afresh")]
    public static partial void QueueFull(ILogger logger, string node, string resource);

    [LoggerMessage(1006, LogLevel.Warning, "a message {Resource} for node {Node} was dropped: too many wait")]
    public static partial void MessageDropped(ILogger logger, string node, string resource);

    [LoggerMessage(1007, LogLevel.Debug, "the link to node {Node} broke: {Error}")]
    public static partial void LinkBroke(ILogger logger, string node, string error);

    [LoggerMessage(1008, LogLevel.Information, "node {Node}: inventory of {Count} objects, {Missing} to send, {Surplus} to delete")]
    public static partial void Inventory(ILogger logger, string node, int count, int missing, int surplus);

    [LoggerMessage(1009, LogLevel.Warning, "node {Node} sent an inventory that cannot be used: {Error}; it gets everything")]
    public static partial void BadInventory(ILogger logger, string node, string error);

    [LoggerMessage(1010, LogLevel.Warning, "node {Node}: no route for a message of source '{Source}', group '{Group}', operation '{Operation}', resource '{Resource}'")]
    public static partial void NoRoute(ILogger logger, string node, string source, string group, string operation, string resource);

    [LoggerMessage(1011, LogLevel.Information, "issued a certificate to node {Node} ({By}), valid until {Until}")]
    public static partial void Issued(ILogger logger, string node, string by, DateTimeOffset until);

    [LoggerMessage(1012, LogLevel.Warning, "refused a certificate to '{Node}' at {Address}: {Reason}")]
    public static partial void NotIssued(ILogger logger, string node, string address, string reason);

    [LoggerMessage(1013, LogLevel.Error, "the request {Path} failed: {Error}")]
    public static partial void RequestFailed(ILogger logger, string path, string error);

    [LoggerMessage(1014, LogLevel.Warning, "the join token could not be renewed: {Error}; trying again in {Seconds} s")]
    public static partial void TokenNotRenewed(ILogger logger, string error, int seconds);

    [LoggerMessage(1015, LogLevel.Information, "the join token was renewed, valid until {Until}")]
    public static partial void TokenRenewed(ILogger logger, DateTimeOffset until);

    [LoggerMessage(1016, LogLevel.Warning, "the request {Operation} {Resource} of node {Node} failed: {Error}")]
    public static partial void UpstreamFailed(ILogger logger, string node, string operation, string resource, string error);

    [LoggerMessage(1017, LogLevel.Warning, "node {Node} may not {Operation} {Resource}: {Reason}")]
    public static partial void Forbidden(ILogger logger, string node, string operation, string resource, string reason);

    [LoggerMessage(1018, LogLevel.Error, "a request of node {Node} met a defect; its connection is closed")]
    public static partial void LaneBroke(ILogger logger, string node, Exception error);

    [LoggerMessage(1019, LogLevel.Debug, "a connection from {Address} did not get through its handshake: {Error}")]
    public static partial void HandshakeFailed(ILogger logger, string address, string error);

    [LoggerMessage(1020, LogLevel.Error, "serving a connection from {Address} met a defect; it is closed")]
    public static partial void ConnectionBroke(ILogger logger, string address, Exception error);

    [LoggerMessage(1021, LogLevel.Warning, "a connection could not be accepted: {Error}")]
    public static partial void AcceptFailed(ILogger logger, string error);

    [LoggerMessage(1022, LogLevel.Warning, "{Count} connections were still open when the hub stopped")]
    public static partial void SlowStop(ILogger logger, int count);

    [LoggerMessage(1023, LogLevel.Warning, "modules.cloudHub.quic.enable is true, but QUIC cannot be served: {Reason}; edges are served over WebSocket meanwhile")]
    public static partial void QuicMissing(ILogger logger, string reason);

    [LoggerMessage(1024, LogLevel.Information, "edges may connect over QUIC on port {Port}/udp")]
    public static partial void QuicServed(ILogger logger, int port);
}
