using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Events 4100-4199.</summary>
internal static partial class LocalApiLog
{
    [LoggerMessage(4100, LogLevel.Information, "the local API answers on {Address}; its token is in {TokenFile}")]
    public static partial void Listening(ILogger log, string address, string tokenFile);

    [LoggerMessage(4101, LogLevel.Error, "the local API cannot be served on {Address} (modules.edged.tailoredKubeletConfig.address and readOnlyPort): {Reason}; everything else goes on, and it is tried again every {Seconds} s")]
    public static partial void NotListening(ILogger log, string address, string reason, double seconds);

    [LoggerMessage(4102, LogLevel.Information, "{Verb} for {Client} in pod {Pod} {Container}")]
    public static partial void Stream(ILogger log, string verb, string client, string pod, string container);

    [LoggerMessage(4103, LogLevel.Debug, "refused {Method} {Path} of {Client} with {Status}: {Reason}")]
    public static partial void Refused(ILogger log, string method, string path, string client, int status, string reason);

    [LoggerMessage(4104, LogLevel.Error, "a request for {Path} met a defect")]
    public static partial void Defect(ILogger log, string path, Exception error);

    [LoggerMessage(4105, LogLevel.Warning, "{Count} lines of {Path} are no lines of a CRI log and were left out")]
    public static partial void MalformedLog(ILogger log, long count, string path);
}
