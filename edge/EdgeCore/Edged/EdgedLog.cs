using Edge.Core.Edged.Probes;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged;

internal static partial class EdgedLog
{
    [LoggerMessage(4000, LogLevel.Information, "container runtime {Name} {Version} answers on {Socket}")]
    public static partial void RuntimeReady(ILogger logger, string name, string version, string socket);

    [LoggerMessage(4001, LogLevel.Warning, "container runtime does not answer on {Socket}: {Reason}; pods wait. The socket is set by modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint")]
    public static partial void RuntimeMissing(ILogger logger, string socket, string reason);

    [LoggerMessage(4002, LogLevel.Information, "pod {Pod} ({Uid}) is to run")]
    public static partial void PodWanted(ILogger logger, string pod, string uid);

    [LoggerMessage(4003, LogLevel.Information, "pod {Pod} ({Uid}) is gone")]
    public static partial void PodGone(ILogger logger, string pod, string uid);

    [LoggerMessage(4004, LogLevel.Warning, "pod {Key} cannot be run: {Reason}")]
    public static partial void PodInvalid(ILogger logger, string key, string reason);

    [LoggerMessage(4005, LogLevel.Information, "pod {Pod}: {Reason}: {Text}")]
    public static partial void PodEvent(ILogger logger, string pod, string reason, string text);

    [LoggerMessage(4006, LogLevel.Warning, "pod {Pod}: {Reason}: {Text}")]
    public static partial void PodWarning(ILogger logger, string pod, string reason, string text);

    [LoggerMessage(4007, LogLevel.Warning, "removing pod {Pod} ({Uid}), which runs here and is wanted by nobody")]
    public static partial void Orphan(ILogger logger, string pod, string uid);

    [LoggerMessage(4008, LogLevel.Error, "pod {Pod} failed to sync; it is tried again")]
    public static partial void SyncFailed(ILogger logger, string pod, Exception error);

    [LoggerMessage(4009, LogLevel.Error, "{What} of pod {Pod} could not be stored: {Reason}; its containers go on, and it is tried again")]
    public static partial void NotKept(ILogger log, string what, string pod, string reason);

    [LoggerMessage(4010, LogLevel.Error, "the {Kind} probe of container {Container} met a defect; this run says nothing of the container")]
    public static partial void ProbeBroke(ILogger logger, ProbeKind kind, string container, Exception error);

    [LoggerMessage(4011, LogLevel.Warning, "the {Hook} hook of container {Container} of pod {Pod} failed: {Reason}")]
    public static partial void HookFailed(ILogger logger, string hook, string container, string pod, string reason);
}
