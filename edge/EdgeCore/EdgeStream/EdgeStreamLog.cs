using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeStream;

internal static partial class EdgeStreamLog
{
    [LoggerMessage(2200, LogLevel.Warning, "a stream that CloudCore asked for broke: {Reason}")]
    public static partial void Failed(ILogger logger, string reason);

    [LoggerMessage(2201, LogLevel.Warning, "CloudCore asked for a stream beside {Count} others, which is the limit; it is not opened")]
    public static partial void TooMany(ILogger logger, int count);

    [LoggerMessage(2202, LogLevel.Warning, "CloudCore asked for a stream with the id '{Id}', which is none")]
    public static partial void BadId(ILogger logger, string id);

    [LoggerMessage(2203, LogLevel.Information, "the tunnel to {Server} stands")]
    public static partial void TunnelOpened(ILogger logger, string server);

    [LoggerMessage(2204, LogLevel.Information, "the tunnel to {Server} ended: {Reason}; it is dialed again")]
    public static partial void TunnelEnded(ILogger logger, string server, string reason);

    [LoggerMessage(2205, LogLevel.Warning, "no tunnel to {Server} (modules.edgeStream.server): {Reason}; it is tried again")]
    public static partial void TunnelFailed(ILogger logger, string server, string reason);
}
