using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudStream;

/// <summary>What happens at the kubelet's endpoint; ids 1800-1849.</summary>
internal static partial class CloudStreamLog
{
    [LoggerMessage(1800, LogLevel.Information, "API servers may reach pods of edges at port {Port}; their client certificates are checked against {Authorities}")]
    public static partial void Serving(ILogger logger, int port, string authorities);

    [LoggerMessage(1801, LogLevel.Warning, "a request of {Address} for {Path} was refused: {Reason}")]
    public static partial void Refused(ILogger logger, string address, string path, string reason);

    [LoggerMessage(1802, LogLevel.Warning, "node {Node} could not be reached for an API server: {Reason}")]
    public static partial void NotReached(ILogger logger, string node, string reason);

    [LoggerMessage(1803, LogLevel.Information, "{Verb} of pod {Pod} on node {Node} by {Client}")]
    public static partial void Stream(ILogger logger, string verb, string pod, string node, string client);

    [LoggerMessage(1804, LogLevel.Information, "stock edges may dial their tunnel at port {Port}")]
    public static partial void TunnelServing(ILogger logger, int port);

    [LoggerMessage(1805, LogLevel.Information, "node {Node} dialed its tunnel")]
    public static partial void TunnelOpened(ILogger logger, string node);

    [LoggerMessage(1806, LogLevel.Information, "the tunnel of node {Node} ended: {Reason}")]
    public static partial void TunnelEnded(ILogger logger, string node, string reason);

    [LoggerMessage(1807, LogLevel.Warning, "a tunnel of {Address} for node {Node} was refused: {Reason}")]
    public static partial void TunnelRefused(ILogger logger, string address, string node, string reason);

    [LoggerMessage(1808, LogLevel.Warning, "a stream of node {Node} was ended: its reader stood still and held up the others in the node's tunnel")]
    public static partial void TunnelStalled(ILogger logger, string node);
}
