using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Gslb.Module;

internal static partial class GslbLog
{
    [LoggerMessage(1500, LogLevel.Information, "DNS answers at {EndPoint}, UDP and TCP")]
    public static partial void Serving(ILogger logger, string endPoint);

    [LoggerMessage(1501, LogLevel.Warning, "{Kind} {Key} is not used as it stands: {Message}")]
    public static partial void NotAccepted(ILogger logger, string kind, string key, string message);

    [LoggerMessage(1502, LogLevel.Information, "endpoint {Endpoint} is {Status} {Reason}")]
    public static partial void HealthChanged(ILogger logger, string endpoint, string status, string reason);

    [LoggerMessage(1503, LogLevel.Warning, "the status of {Kind} {Key} could not be written: {Error}; trying again")]
    public static partial void StatusNotWritten(ILogger logger, string kind, string key, string error);

    [LoggerMessage(1504, LogLevel.Information, "read {Path}: {Ranges} ranges of addresses")]
    public static partial void DatabaseRead(ILogger logger, string path, int ranges);

    [LoggerMessage(1505, LogLevel.Warning, "the file {Path} of a LocationMap cannot be used: {Error}")]
    public static partial void BadDatabase(ILogger logger, string path, string error);

    [LoggerMessage(1506, LogLevel.Error, "answering a query met a defect")]
    public static partial void QueryFailed(ILogger logger, Exception exception);

    [LoggerMessage(1507, LogLevel.Error, "making the state to serve met a defect; the last one goes on")]
    public static partial void BuildFailed(ILogger logger, Exception exception);

    [LoggerMessage(1508, LogLevel.Warning, "secondary {Target} of zone {Apex} did not take the NOTIFY: {Error}")]
    public static partial void NotNotified(ILogger logger, string target, string apex, string error);
}
