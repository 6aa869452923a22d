using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Router;

/// <summary>Ids 1700-1709.</summary>
internal static partial class RouterLog
{
    [LoggerMessage(1700, LogLevel.Information, "the router takes requests for edges at port {Port} ({How})")]
    public static partial void Serving(ILogger logger, int port, string how);

    [LoggerMessage(1701, LogLevel.Warning, "modules.router.insecure is true: whoever reaches port {Port} can send to every edge, and what is sent can be read on the way")]
    public static partial void Insecure(ILogger logger, int port);

    [LoggerMessage(1702, LogLevel.Warning, "Rule {Namespace}/{Name} is not used: {Problem}")]
    public static partial void NotUsed(ILogger logger, string @namespace, string name, string problem);

    [LoggerMessage(1703, LogLevel.Warning, "Rule {Namespace}/{Name}: a message of node {Node} was not taken by its target: {Error}")]
    public static partial void NotDelivered(ILogger logger, string @namespace, string name, string node, string error);

    [LoggerMessage(1704, LogLevel.Warning, "the status of Rule {Namespace}/{Name} could not be written: {Error}; trying again")]
    public static partial void StatusNotWritten(ILogger logger, string @namespace, string name, string error);

    [LoggerMessage(1705, LogLevel.Error, "the router met a defect; it goes on")]
    public static partial void Defect(ILogger logger, Exception error);
}
