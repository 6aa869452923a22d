using Microsoft.Extensions.Logging;

namespace Edge.Devices.Push;

internal static partial class PushLog
{
    [LoggerMessage(5250, LogLevel.Warning, "{Target} did not take samples: {Reason}; trying again, of the {Max} newest that wait")]
    public static partial void Failed(ILogger logger, string target, string reason, int max);

    [LoggerMessage(5251, LogLevel.Information, "{Target} takes samples again, after {Failures} failures")]
    public static partial void Recovered(ILogger logger, string target, int failures);

    [LoggerMessage(5252, LogLevel.Error, "{Target} refused {Count} samples for good, they are dropped: {Reason}")]
    public static partial void Refused(ILogger logger, string target, int count, string reason);

    [LoggerMessage(5255, LogLevel.Error, "{Target} met a defect with {Count} samples, they are dropped; the next ones are sent")]
    public static partial void Broken(ILogger logger, string target, int count, Exception exception);

    [LoggerMessage(5253, LogLevel.Information, "the local API and /metrics answer on {Address}")]
    public static partial void Listening(ILogger logger, string address);

    [LoggerMessage(5254, LogLevel.Error, "the local API cannot be served on {Address} (common.address and common.http_port): {Reason}; devices go on")]
    public static partial void NotListening(ILogger logger, string address, string reason);
}
