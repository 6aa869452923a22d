using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>Events 2100-2199.</summary>
internal static partial class HubLog
{
    [LoggerMessage(2100, LogLevel.Information, "connected to {Server} as node {Node}")]
    public static partial void Connected(ILogger log, string server, string node);

    [LoggerMessage(2101, LogLevel.Warning, "the link to {Server} ended: {Reason}; next try in {DelayMs} ms")]
    public static partial void LinkEnded(ILogger log, string server, string reason, long delayMs);

    [LoggerMessage(2102, LogLevel.Warning, "cannot connect to {Server}: {Reason}; next try in {DelayMs} ms")]
    public static partial void ConnectFailed(ILogger log, string server, string reason, long delayMs);

    [LoggerMessage(2103, LogLevel.Error, "enrolment at {Url} failed: {Reason}; next try in {DelayMs} ms")]
    public static partial void EnrolFailed(ILogger log, string url, string reason, long delayMs);

    [LoggerMessage(2104, LogLevel.Information, "enrolled as node {Node}; certificate {File} is valid until {NotAfter}")]
    public static partial void Enrolled(ILogger log, string node, string file, string notAfter);

    [LoggerMessage(2105, LogLevel.Information, "certificate renewed, valid until {NotAfter}; reconnecting with it")]
    public static partial void Renewed(ILogger log, string notAfter);

    [LoggerMessage(2106, LogLevel.Warning, "renewing the certificate at {Url} failed: {Reason}; next try in {DelayMs} ms")]
    public static partial void RenewFailed(ILogger log, string url, string reason, long delayMs);

    [LoggerMessage(2107, LogLevel.Warning, "{Reason}; enrolling again with the token")]
    public static partial void IdentityUnusable(ILogger log, string reason);

    [LoggerMessage(2108, LogLevel.Error, "the certificate {File} expired at {NotAfter} and modules.edgeHub.token is empty: the cloud will refuse this node. Put a new token from 'edgectl gettoken' there and start again; what runs here goes on")]
    public static partial void CertificateExpired(ILogger log, string file, string notAfter);

    [LoggerMessage(2109, LogLevel.Error, "{Reason}, and modules.edgeHub.token is empty: the cloud does not take this node. Put a new token from 'edgectl gettoken' there and start again; what runs here goes on")]
    public static partial void TokenNeeded(ILogger log, string reason);

    [LoggerMessage(2117, LogLevel.Error, "{Reason}, and the token cannot be used either: {Problem}; what runs here goes on")]
    public static partial void TokenUnusable(ILogger log, string reason, string problem);

    [LoggerMessage(2110, LogLevel.Warning, "malformed message from the cloud dropped: {Reason}")]
    public static partial void Malformed(ILogger log, string reason);

    [LoggerMessage(2111, LogLevel.Debug, "message {Id} of group {Group}, {Operation} {Resource}, has no receiver here")]
    public static partial void NoReceiver(ILogger log, string id, string group, string operation, string resource);

    [LoggerMessage(2118, LogLevel.Warning, "message {Id} of the cloud is dropped: no group '{Group}' is known here ({Operation} {Resource})")]
    public static partial void UnknownGroup(ILogger log, string id, string group, string operation, string resource);

    [LoggerMessage(2112, LogLevel.Debug, "received {Operation} {Resource} ({Id})")]
    public static partial void Received(ILogger log, string operation, string resource, string id);

    [LoggerMessage(2113, LogLevel.Error, "handling {Operation} {Resource} failed")]
    public static partial void HandlerFailed(ILogger log, string operation, string resource, Exception error);

    [LoggerMessage(2114, LogLevel.Debug, "answer to {Resource} not sent: {Reason}")]
    public static partial void AckNotSent(ILogger log, string resource, string reason);

    [LoggerMessage(2120, LogLevel.Warning, "the queue to the cloud is full for priority {Priority}: {Count} oldest entries dropped")]
    public static partial void QueueOverflow(ILogger log, UplinkPriority priority, int count);

    [LoggerMessage(2121, LogLevel.Warning, "the cloud refused {Key}: {Reason}: {Text}; dropped")]
    public static partial void EntryRejected(ILogger log, string key, string reason, string text);

    [LoggerMessage(2122, LogLevel.Warning, "the cloud could not take {Key}: {Text}; it is sent again later")]
    public static partial void EntryFailed(ILogger log, string key, string text);

    [LoggerMessage(2123, LogLevel.Warning, "entries that the cloud has taken could not be removed from the queue: {Reason}")]
    public static partial void DeleteFailed(ILogger log, string reason);

    [LoggerMessage(2115, LogLevel.Information, "the cloud asks for {Buckets} of {Of} parts of the inventory: {Objects} objects")]
    public static partial void InventoryAsked(ILogger log, int buckets, int of, int objects);

    [LoggerMessage(2116, LogLevel.Warning, "the cloud's answer to the inventory cannot be used: {Reason}; it sends what changes from now on")]
    public static partial void BadInventoryAnswer(ILogger log, string reason);

    [LoggerMessage(2125, LogLevel.Warning, "no QUIC connection to {Server}: {Reason}; connecting to {Fallback} over WebSocket, and the next link tries QUIC again")]
    public static partial void QuicFailed(ILogger log, string server, string reason, string fallback);
}
