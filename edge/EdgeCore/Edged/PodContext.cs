using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.Edged.Cgroups;
using Edge.Core.Edged.Probes;
using Edge.Core.Edged.Volumes;
using Edge.Core.MetaManager;
using Edge.Core.MetaManager.MetaServer;
using Edge.Core.NodeStatus;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged;

/// <summary>What every pod's worker shares.</summary>
internal sealed class PodContext : IDisposable
{
    private static readonly TimeSpan s_callTimeout = TimeSpan.FromMinutes(2);

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

    /// <summary>Where pods find the Kubernetes API of this node; null while there is none.</summary>
    public Func<InClusterAccess?> InCluster { get; init; } = static () => null;

    public required PodEvents Events { get; init; }

    public required ILogger Log { get; init; }

    public SemaphoreSlim Creates { get; } = new(CreatesMax);

    public SemaphoreSlim Pulls { get; } = new(PullsMax);

    public SemaphoreSlim Probes { get; } = new(ProbesMax);

    /// <summary>For this node, with a runtime client of its own that goes with it.</summary>
    public static PodContext Create(EdgeServices services)
    {
        var log = services.Loggers.CreateLogger("edged");
        var options = services.Options.Edged;
        var facts = NodeFacts.Read(options);
        var cloud = new CloudQuery(services.Uplink, services.Time);
        var cri = new CriClient(options.RuntimeEndpoint, services.Time, s_callTimeout);
        var cgroups = new PodCgroups(options, log);
        var context = new PodContext
        {
            Options = options,
            NodeName = services.Options.NodeName,
            HostIp = facts.InternalIp,
            MachineMemory = facts.MemoryBytes,
            NegativeOomScore = HasSysResource(),
            HugePageSizes = Directory.Exists("/sys/fs/cgroup/hugetlb") || cgroups.IsV2
                ? [.. facts.HugePages.Select(pair => PodLimits.PageSize(NodeResources.BinarySize(pair.PageBytes)))] : [],
            Cgroups = cgroups,
            Allocatable = NodeResources.Allocatable(NodeResources.Capacity(facts, options.MaxPods), options.Resources),
            Cri = cri,
            Meta = services.Meta,
            Uplink = services.Uplink,
            Time = services.Time,
            Http = new HttpGetClient(services.Time),
            Since = services.Time.GetUtcNow(),
            Tokens = new TokenCache(services.Meta, cloud, services.Time, new Random(services.Random.Next()), log),
            InCluster = services.InCluster,
            Claims = new ClaimResolver(services.Meta, cloud, services.Options.NodeName, log),
            Events = new PodEvents(services.Uplink, services.Time, services.Options.NodeName, options.ReportEvent, log),
            Log = log,
        };
        if (!context.NegativeOomScore)
            EdgedLog.OomScoresLimited(log);
        return context;
    }

    public void Dispose()
    {
        Cri.Dispose();
        Probes.Dispose();
        Http.Dispose();
        Creates.Dispose();
        Pulls.Dispose();
    }

    // CAP_SYS_RESOURCE is bit 24.
    private static bool HasSysResource()
    {
        var line = File.Exists("/proc/self/status") ? File.ReadLines("/proc/self/status").FirstOrDefault(text => text.StartsWith("CapEff:", StringComparison.Ordinal)) : null;
        return line is not null && ulong.TryParse(line.AsSpan(7).Trim(), System.Globalization.NumberStyles.HexNumber, null, out var bits) && (bits & (1UL << 24)) != 0;
    }
}
