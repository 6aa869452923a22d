using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DeviceController;

/// <summary>Ids 1100-1119.</summary>
internal static partial class DeviceLog
{
    [LoggerMessage(1100, LogLevel.Warning, "a report of device {Namespace}/{Name} was not accepted by the API and is dropped: {Error}")]
    public static partial void NotAccepted(ILogger logger, string @namespace, string name, string error);

    [LoggerMessage(1101, LogLevel.Warning, "the status of device {Namespace}/{Name} could not be written: {Error}; trying again in {Seconds} s")]
    public static partial void NotWritten(ILogger logger, string @namespace, string name, string error, double seconds);

    [LoggerMessage(1102, LogLevel.Warning, "device {Namespace}/{Name} reports more than {Max} properties; the rest is dropped")]
    public static partial void TooManyTwins(ILogger logger, string @namespace, string name, int max);

    [LoggerMessage(1103, LogLevel.Warning, "node {Node} reported on device {Namespace}/{Name}, which is not its own; refused")]
    public static partial void NotOwn(ILogger logger, string node, string @namespace, string name);

    [LoggerMessage(1104, LogLevel.Warning, "node {Node} sent a device report that cannot be used: {Error}")]
    public static partial void BadReport(ILogger logger, string node, string error);

    [LoggerMessage(1105, LogLevel.Debug, "node {Node} reported on device {Namespace}/{Name}, which is unknown; ignored")]
    public static partial void Unknown(ILogger logger, string node, string @namespace, string name);

    [LoggerMessage(1106, LogLevel.Error, "the writer of device {Namespace}/{Name} met a defect; trying again in {Seconds} s")]
    public static partial void WriterBroke(ILogger logger, string @namespace, string name, double seconds, Exception exception);

    [LoggerMessage(1107, LogLevel.Warning, "node {Node} reported on device {Namespace}/{Name}, which the watch has not shown as its own; the API could not be asked: {Error}; the node keeps the report")]
    public static partial void NotAsked(ILogger logger, string node, string @namespace, string name, string error);
}
