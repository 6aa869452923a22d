using Microsoft.Extensions.Logging;

namespace Edge.Cloud.SyncController;

/// <summary>What the sync controller tells the operator; ids 1300-1319.</summary>
internal static partial class SyncLog
{
    [LoggerMessage(1300, LogLevel.Debug, "node {Node} is in step: {Count} objects")]
    public static partial void InStep(ILogger logger, string node, int count);

    [LoggerMessage(1301, LogLevel.Information, "node {Node} is a stock edge: {Records} records, {Missing} objects to send, {Surplus} to delete, {Doubts} to look at")]
    public static partial void StockOpened(ILogger logger, string node, int records, int missing, int surplus, int doubts);

    [LoggerMessage(1302, LogLevel.Warning, "{Count} sync records could not be written: {Error}; trying again in {Seconds} s")]
    public static partial void RecordsNotWritten(ILogger logger, int count, string error, double seconds);

    [LoggerMessage(1303, LogLevel.Warning, "the sync record {Namespace}/{Name} was not accepted by the API and is dropped: {Error}")]
    public static partial void RecordRefused(ILogger logger, string @namespace, string name, string error);

    [LoggerMessage(1304, LogLevel.Error, "{Max} sync records wait to be made; one of node {Node} is dropped: what the node has may be sent again, and a delete that it then misses stays behind")]
    public static partial void RecordsFull(ILogger logger, string node, int max);

    [LoggerMessage(1305, LogLevel.Information, "node {Node} is connected to {Instance} now; its session here ends")]
    public static partial void Moved(ILogger logger, string node, string instance);

    [LoggerMessage(1306, LogLevel.Warning, "the address of this cloudcore could not be written to node {Node}: {Error}; trying again in {Seconds} s")]
    public static partial void NotClaimed(ILogger logger, string node, string error, double seconds);

    [LoggerMessage(1307, LogLevel.Warning, "whether node {Node} should still have {Resource} could not be asked: {Error}")]
    public static partial void NotAsked(ILogger logger, string node, string resource, string error);

    [LoggerMessage(1308, LogLevel.Error, "a task of the sync controller met a defect")]
    public static partial void WorkBroke(ILogger logger, Exception exception);

    [LoggerMessage(1309, LogLevel.Warning, "node {Node} has {Resource} as of another history (the cluster was restored?); it is sent as it is now")]
    public static partial void Repaired(ILogger logger, string node, string resource);

    [LoggerMessage(1311, LogLevel.Warning, "the Secret {Namespace}/{Name}, which a pod on an edge names, could not be read: {Error}; edges keep what was read last")]
    public static partial void SecretNotRead(ILogger logger, string @namespace, string name, string error);

    [LoggerMessage(1310, LogLevel.Information, "node {Node} was deleted; its session and {Records} sync records go")]
    public static partial void NodeDeleted(ILogger logger, string node, int records);
}
