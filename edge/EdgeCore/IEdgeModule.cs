using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Microsoft.Extensions.Logging;

namespace Edge.Core;

/// <summary>A room of EdgeCore that the host runs: Edged, DeviceTwin.</summary>
public interface IEdgeModule
{
    /// <summary>One word for logs and metrics, e.g. <c>edged</c>.</summary>
    string Name { get; }

    /// <summary>Runs until the token is cancelled, then stops within 4 s and returns. What it throws is logged and the module is run again
    /// after a growing delay; a <see cref="Common.Configuration.ConfigException"/> stops the whole program, since waiting cannot mend it.</summary>
    Task RunAsync(CancellationToken cancellationToken);
}

/// <summary>A module that also gives the state of the container runtime.</summary>
public interface IPodModule : IEdgeModule
{
    IRuntimeState Runtime { get; }

    /// <summary>Sends every pod's status again, though it is the one sent last: the cluster may have written another meanwhile. From any thread.</summary>
    void ReportAll();
}

/// <summary>What a module may use; handed to the function that makes it.</summary>
public sealed record EdgeServices(
    EdgeCoreOptions Options, IMetaStore Meta, IUplink Uplink, TimeProvider Time, Random Random, ILoggerFactory Loggers)
{
    /// <summary>Where pods find the Kubernetes API of this node; null while there is none.</summary>
    internal Func<MetaManager.MetaServer.InClusterAccess?> InCluster { get; init; } = static () => null;

    /// <summary>Sends an answer to the cloud once, where there is a link; what waits for it there has its own time-out.</summary>
    public Func<Protocol.Messages.Message, CancellationToken, ValueTask> Answer { get; init; } = static (_, _) => ValueTask.CompletedTask;
}
