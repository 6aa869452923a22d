using Microsoft.Extensions.Logging;

namespace Edge.Core;

/// <summary>Events 100-199.</summary>
internal static partial class EdgeCoreLog
{
    [LoggerMessage(100, LogLevel.Information, "edgecore starts: node {Node}, store {Database}, CloudCore {Server}")]
    public static partial void Starting(ILogger log, string node, string database, string server);

    [LoggerMessage(101, LogLevel.Information, "{Note}")]
    public static partial void Note(ILogger log, string note);

    [LoggerMessage(102, LogLevel.Error, "container runtime socket {Socket} does not exist (modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint): no pods until it is there; start containerd, name another socket, or set modules.edged.enable to false. Everything else goes on")]
    public static partial void NoRuntime(ILogger log, string socket);

    [LoggerMessage(103, LogLevel.Error, "module {Module} stopped; it is started again in {DelayMs} ms")]
    public static partial void ModuleFailed(ILogger log, string module, long delayMs, Exception? error);

    [LoggerMessage(104, LogLevel.Error, "metrics cannot be served on {Address} (commonConfig.monitorServer.bindAddress): {Reason}; everything else goes on")]
    public static partial void MetricsFailed(ILogger log, string address, string reason);

    [LoggerMessage(105, LogLevel.Warning, "{Path} cannot be written: {Reason}")]
    public static partial void PortsFileFailed(ILogger log, string path, string reason);

    [LoggerMessage(106, LogLevel.Information, "edgecore stops; containers go on")]
    public static partial void Stopping(ILogger log);

    [LoggerMessage(108, LogLevel.Warning, "a message of {Source} ({Operation} {Resource}) is not taken: {Reason}")]
    public static partial void UserMessageNotTaken(ILogger logger, string source, string operation, string resource, string reason);

    [LoggerMessage(107, LogLevel.Warning, "{Module} did not stop within {Seconds} s")]
    public static partial void SlowStop(ILogger log, string module, double seconds);
}
