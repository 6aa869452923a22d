using Microsoft.Extensions.Logging;

namespace Edge.Cloud.NodeGroups;

/// <summary>Ids 1600-1609.</summary>
internal static partial class NodeGroupLog
{
    [LoggerMessage(1600, LogLevel.Information, "node {Node} joins NodeGroup {Group}; it leaves '{Left}'")]
    public static partial void Moved(ILogger logger, string node, string group, string left);

    [LoggerMessage(1601, LogLevel.Information, "pod {Namespace}/{Name} is deleted: its NodeGroup {Group} no longer has node {Node}")]
    public static partial void PodDeleted(ILogger logger, string @namespace, string name, string group, string node);

    [LoggerMessage(1602, LogLevel.Warning, "{What} failed, trying again: {Error}")]
    public static partial void Failed(ILogger logger, string what, string error);

    [LoggerMessage(1603, LogLevel.Information, "EdgeApplication {Namespace}/{Name}: {Action} {Kind} {Object}")]
    public static partial void Applied(ILogger logger, string @namespace, string name, string action, string kind, string @object);

    [LoggerMessage(1604, LogLevel.Warning, "EdgeApplication {Namespace}/{Name}: {Problem}")]
    public static partial void Problem(ILogger logger, string @namespace, string name, string problem);

    [LoggerMessage(1605, LogLevel.Error, "keeping {Kind} {Name} met a defect; it is tried again")]
    public static partial void Defect(ILogger logger, string kind, string name, Exception error);
}
