using Microsoft.Extensions.Logging;

namespace Edge.Core.MetaManager;

/// <summary>Events 2000-2099.</summary>
internal static partial class MetaLog
{
    [LoggerMessage(2000, LogLevel.Debug, "stored {Key} version {Version}")]
    public static partial void Stored(ILogger log, string key, long version);

    [LoggerMessage(2001, LogLevel.Debug, "removed {Key}")]
    public static partial void Removed(ILogger log, string key);

    [LoggerMessage(2002, LogLevel.Debug, "{Operation} {Key} version {Version} changes nothing here")]
    public static partial void Ignored(ILogger log, string operation, string key, long version);

    [LoggerMessage(2003, LogLevel.Error, "{Operation} {Resource} could not be stored: {Reason}; the cloud will send it again")]
    public static partial void StoreFailed(ILogger log, string operation, string resource, string reason);

    [LoggerMessage(2004, LogLevel.Warning, "{Operation} {Resource} cannot be used: {Reason}")]
    public static partial void BadMessage(ILogger log, string operation, string resource, string reason);

    [LoggerMessage(2005, LogLevel.Warning, "asking the cloud for {Key} failed: {Reason}")]
    public static partial void QueryFailed(ILogger log, string key, string reason);

    [LoggerMessage(2006, LogLevel.Error, "{Path} was corrupt; it is kept as {Backup}, and an empty one is filled again from the cloud")]
    public static partial void Corrupt(ILogger log, string path, string backup);

    [LoggerMessage(2007, LogLevel.Error, "the row of {Key} in {Path} is no object any more (a damaged disk?); it counts as missing until the cloud has sent it again")]
    public static partial void Unreadable(ILogger log, string key, string path);
}
