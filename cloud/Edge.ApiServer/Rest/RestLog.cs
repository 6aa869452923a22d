using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Rest;

internal static partial class RestLog
{
    [LoggerMessage(EventId = 7001, Level = LogLevel.Error, Message = "StoreFailed: {Method} {Path}")]
    public static partial void StoreFailed(ILogger logger, string method, string path, Exception error);

    [LoggerMessage(EventId = 7002, Level = LogLevel.Error, Message = "RequestFailed: {Method} {Path}")]
    public static partial void RequestFailed(ILogger logger, string method, string path, Exception error);
}
