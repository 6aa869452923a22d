using Microsoft.Extensions.Logging;

namespace Edge.Core.NodeStatus;

/// <summary>Events 5000-5099.</summary>
internal static partial class NodeLog
{
    [LoggerMessage(5000, LogLevel.Information, "node {Node} is registered in the cloud (uid {Uid})")]
    public static partial void Registered(ILogger log, string node, string uid);

    [LoggerMessage(5001, LogLevel.Warning, "registering node {Node} failed: {Reason}; trying again")]
    public static partial void RegisterFailed(ILogger log, string node, string reason);

    [LoggerMessage(5002, LogLevel.Warning, "node {Node} is gone in the cloud ({Why}); registering it again")]
    public static partial void NodeGone(ILogger log, string node, string why);

    [LoggerMessage(5003, LogLevel.Warning, "renewing the lease of node {Node} failed: {Reason}")]
    public static partial void LeaseFailed(ILogger log, string node, string reason);

    [LoggerMessage(5004, LogLevel.Information, "node {Node} reports Ready={Ready}: {Message}")]
    public static partial void ReadyChanged(ILogger log, string node, string ready, string message);

    [LoggerMessage(5005, LogLevel.Error, "the node's status could not be queued: {Reason}")]
    public static partial void PostFailed(ILogger log, string reason);
}
