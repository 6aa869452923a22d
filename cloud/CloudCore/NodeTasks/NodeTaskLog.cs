using Microsoft.Extensions.Logging;

namespace Edge.Cloud.NodeTasks;

/// <summary>Ids 1650-1659.</summary>
internal static partial class NodeTaskLog
{
    [LoggerMessage(1650, LogLevel.Information, "{Kind} {Name} is {Phase} ({Nodes} nodes) {Reason}")]
    public static partial void Job(ILogger logger, string kind, string name, string phase, int nodes, string reason);

    [LoggerMessage(1651, LogLevel.Debug, "{Kind} {Name} goes to node {Node}")]
    public static partial void Sent(ILogger logger, string kind, string name, string node);

    [LoggerMessage(1652, LogLevel.Information, "{Kind} {Name}: {Action} of node {Node} succeeded: {Succeeded} {Reason}")]
    public static partial void Reported(ILogger logger, string kind, string name, string action, string node, bool succeeded, string reason);

    [LoggerMessage(1653, LogLevel.Warning, "{Kind} {Name} could not be written, trying again: {Error}")]
    public static partial void Failed(ILogger logger, string kind, string name, string error);

    [LoggerMessage(1654, LogLevel.Error, "keeping {Kind} {Name} met a defect; it is tried again")]
    public static partial void Defect(ILogger logger, string kind, string name, Exception error);
}
