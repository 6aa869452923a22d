using Microsoft.Extensions.Logging;

namespace Edge.Core.TaskManager;

/// <summary>Ids 3650-3659.</summary>
internal static partial class TaskLog
{
    [LoggerMessage(3650, LogLevel.Information, "{Resource} begins")]
    public static partial void Begins(ILogger logger, string resource);

    [LoggerMessage(3651, LogLevel.Information, "{Resource}: {Action} is done")]
    public static partial void Done(ILogger logger, string resource, string action);

    [LoggerMessage(3652, LogLevel.Warning, "{Resource}: {Action} failed: {Reason}")]
    public static partial void Failed(ILogger logger, string resource, string action, string reason);

    [LoggerMessage(3653, LogLevel.Warning, "{Resource} is not taken: {Reason}")]
    public static partial void NotTaken(ILogger logger, string resource, string reason);

    [LoggerMessage(3654, LogLevel.Warning, "edgecore starts again with a changed config; the former one is {Backup}")]
    public static partial void ConfigChanged(ILogger logger, string backup);

    [LoggerMessage(3655, LogLevel.Error, "the changed config is taken back: {Reason}")]
    public static partial void ConfigTakenBack(ILogger logger, string reason);

    [LoggerMessage(3656, LogLevel.Error, "{Resource} met a defect")]
    public static partial void Defect(ILogger logger, string resource, Exception error);
}
