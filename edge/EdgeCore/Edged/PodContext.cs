using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.Edged.Cgroups;
using Edge.Core.Edged.Probes;
using Edge.Core.Edged.Volumes;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged;

/// <summary>What every pod's worker shares.</summary>
internal sealed class PodContext : IDisposable
{
    /// <summary>Sandboxes and containers that are being made at once on this node.</summary>
    private const int CreatesMax = 8;

    /// <summary>Images that are being pulled at once.</summary>
    private const int PullsMax = 4;

    /// <summary>Probes that are asked at once.</summary>
    private const int ProbesMax = 32;

    public required EdgedOptions Options { get; init; }

    public required string NodeName { get; init; }

    public required string HostIp { get; init; }

    public required long MachineMemory { get; init; }

    /// <summary>What pods may have of this node.</summary>
    public required IReadOnlyDictionary<string, Quantity> Allocatable { get; init; }

    /// <summary>Whether OOM scores below zero can be set (CAP_SYS_RESOURCE).</summary>
    public required bool NegativeOomScore { get; init; }

    /// <summary>Page sizes (<c>2MB</c>) that the runtime can limit here; containers that ask for none of them get none.</summary>
    public required IReadOnlyList<string> HugePageSizes { get; init; }

    public required PodCgroups Cgroups { get; init; }

    public required CriClient Cri { get; init; }

    /// <summary>For httpGet of probes and hooks.</summary>
    public required HttpGetClient Http { get; init; }

    /// <summary>When this EdgeCore started.</summary>
    public required DateTimeOffset Since { get; init; }

    public required IMetaStore Meta { get; init; }

    public required IUplink Uplink { get; init; }

    public required TimeProvider Time { get; init; }

    /// <summary>Tokens of the pods' ServiceAccounts.</summary>
    public required TokenCache Tokens { get; init; }

    /// <summary>Where the pods' claims lie.</summary>
    public required ClaimResolver Claims { get; init; }

    public required PodEvents Events { get; init; }

    public required ILogger Log { get; init; }

    public SemaphoreSlim Creates { get; } = new(CreatesMax);

    public SemaphoreSlim Pulls { get; } = new(PullsMax);

    public SemaphoreSlim Probes { get; } = new(ProbesMax);

    public void Dispose()
    {
        Probes.Dispose();
        Http.Dispose();
        Creates.Dispose();
        Pulls.Dispose();
    }
}
