using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DynamicController;

/// <summary>Ids 1900-1909.</summary>
internal static partial class DynamicLog
{
    [LoggerMessage(1900, LogLevel.Warning, "node {Node} may not {Request}: {Reason}")]
    public static partial void Forbidden(ILogger logger, string node, string request, string reason);

    [LoggerMessage(1901, LogLevel.Warning, "the API did not answer {Request} of node {Node}: {Reason}")]
    public static partial void NotAnswered(ILogger logger, string request, string node, string reason);

    [LoggerMessage(1902, LogLevel.Error, "{Request} of node {Node} met a defect")]
    public static partial void Defect(ILogger logger, string request, string node, Exception error);
}
