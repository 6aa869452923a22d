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
}
