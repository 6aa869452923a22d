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

    [LoggerMessage(4030, LogLevel.Warning, "the token of ServiceAccount {Account} for pod {Pod}, good until {Expires}, could not be renewed: {Reason}; the pod keeps it, and it is tried again in a minute")]
    public static partial void TokenNotRenewed(ILogger logger, string account, string pod, DateTimeOffset expires, string reason);

    [LoggerMessage(4080, LogLevel.Warning, "{What} of a pod's cgroup could not be written: {Reason}; pods run without it, and this is said once")]
    public static partial void CgroupNotWritten(ILogger logger, string what, string reason);

    [LoggerMessage(4081, LogLevel.Information, "no CAP_SYS_RESOURCE: Guaranteed and node-critical pods get OOM score 0 instead of -997")]
    public static partial void OomScoresLimited(ILogger logger);

    [LoggerMessage(4082, LogLevel.Error, "static pod {File}: {Reason}; {Effect}")]
    public static partial void StaticPodBad(ILogger logger, string file, string reason, string effect);

    [LoggerMessage(4050, LogLevel.Warning, "pod {Pod} is refused: {Reason}: {Text}")]
    public static partial void PodRefused(ILogger logger, string pod, string reason, string text);

    [LoggerMessage(4051, LogLevel.Warning, "the node's pressures are now [{Pressures}]")]
    public static partial void Pressures(ILogger logger, string pressures);

    [LoggerMessage(4052, LogLevel.Warning, "{Signal} is {Available}, below {Threshold}: making room")]
    public static partial void LowOn(ILogger logger, string signal, long available, long threshold);

    [LoggerMessage(4053, LogLevel.Warning, "{Signal} is below its threshold, and no pod may be evicted")]
    public static partial void NobodyToEvict(ILogger logger, string signal);

    [LoggerMessage(4054, LogLevel.Information, "image {Image} ({Bytes} bytes) was unused and is removed")]
    public static partial void ImageRemoved(ILogger logger, string image, long bytes);

    [LoggerMessage(4055, LogLevel.Warning, "unused image {Image} could not be removed: {Reason}")]
    public static partial void ImageNotRemoved(ILogger logger, string image, string reason);

    [LoggerMessage(4056, LogLevel.Warning, "{Wanted} bytes of unused images should go, {Freed} could: the rest of the disk is used by others or by images in use or too young")]
    public static partial void ImagesStay(ILogger logger, long wanted, long freed);

    [LoggerMessage(4057, LogLevel.Information, "{Path} was left over and is removed")]
    public static partial void LeftoverRemoved(ILogger logger, string path);

    [LoggerMessage(4058, LogLevel.Warning, "{Path} is left over and could not be removed: {Reason}")]
    public static partial void LeftoverStays(ILogger logger, string path, string reason);

    [LoggerMessage(4059, LogLevel.Information, "log {Path} is rotated at {Bytes} bytes")]
    public static partial void Rotated(ILogger logger, string path, long bytes);

    [LoggerMessage(4060, LogLevel.Warning, "log {Path} could not be rotated: {Reason}; it is tried again")]
    public static partial void NotRotated(ILogger logger, string path, string reason);

    [LoggerMessage(4061, LogLevel.Error, "{What} failed; it is tried again")]
    public static partial void KeeperFailed(ILogger logger, string what, Exception error);

    [LoggerMessage(4062, LogLevel.Warning, "container {Id} of pod {Pod} has ended and cannot be removed ({Reason}): what is left of it is ended")]
    public static partial void LeftoverTask(ILogger logger, string id, string pod, string reason);

    [LoggerMessage(4063, LogLevel.Warning, "pod {Pod} has ended, and its volumes could not be removed: {Reason}; it is tried again in a minute")]
    public static partial void VolumesStay(ILogger logger, string pod, string reason);

    [LoggerMessage(4065, LogLevel.Information, "pod {Pod}: another agent of this node has left {Sandboxes} sandboxes and {Containers} containers; they are ended, and the pod is made anew")]
    public static partial void TakenOver(ILogger logger, string pod, int sandboxes, int containers);

    [LoggerMessage(4064, LogLevel.Information, "the container runtime on {Socket} tells of changes itself; its pods are listed every 10 s beside that")]
    public static partial void EventsFollowed(ILogger logger, string socket);
}
