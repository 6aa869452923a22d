using Edge.Kubernetes;

namespace Edge.Core.Configuration;

/// <summary>What of <c>modules.edged.tailoredKubeletConfig</c> says how the node's resources are shared out and kept free; kubelet's keys and defaults
/// (KubeletConfiguration, kubelet.config.k8s.io/v1beta1).</summary>
public sealed record ResourceOptions
{
    /// <summary>Taken from capacity for the system outside of pods (key systemReserved): <c>cpu</c>, <c>memory</c>, <c>ephemeral-storage</c>, <c>pid</c>.</summary>
    public IReadOnlyDictionary<string, Quantity> SystemReserved { get; init; } = new Dictionary<string, Quantity>();

    /// <summary>Taken from capacity for EdgeCore and the container runtime (key kubeReserved).</summary>
    public IReadOnlyDictionary<string, Quantity> KubeReserved { get; init; } = new Dictionary<string, Quantity>();

    /// <summary>Below which free amounts pods are evicted (keys evictionHard, evictionSoft, evictionSoftGracePeriod, evictionMinimumReclaim).</summary>
    public IReadOnlyList<EvictionThreshold> Thresholds { get; init; } = EvictionThreshold.Defaults;

    /// <summary>How long a pressure condition stays after its signal is good again (key evictionPressureTransitionPeriod). Too short: the condition flaps, and
    /// pods come and go with it.</summary>
    public TimeSpan PressureTransition { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The most grace that a pod gets when a soft threshold evicts it (key evictionMaxPodGracePeriod); hard thresholds give none.</summary>
    public TimeSpan EvictionPodGraceMax { get; init; }

    /// <summary>Percentage of the images' disk in use above which unused images are removed (key imageGCHighThresholdPercent); 100 removes none for space.</summary>
    public int ImageGcHighPercent { get; init; } = 85;

    /// <summary>Percentage in use down to which they are removed (key imageGCLowThresholdPercent).</summary>
    public int ImageGcLowPercent { get; init; } = 80;

    /// <summary>An image unused for less than this stays (key imageMinimumGCAge).</summary>
    public TimeSpan ImageAgeMin { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>An image unused for longer goes, however much room there is (key imageMaximumGCAge); zero: no limit.</summary>
    public TimeSpan ImageAgeMax { get; init; }

    /// <summary>Bytes at which a container's log is rotated (key containerLogMaxSize).</summary>
    public long LogSizeMax { get; init; } = 10 * 1024 * 1024;

    /// <summary>Log files kept for a container, the current one among them; at least 2 (key containerLogMaxFiles).</summary>
    public int LogFilesMax { get; init; } = 5;

    /// <summary>How often the sizes of logs are looked at (key containerLogMonitorInterval).</summary>
    public TimeSpan LogPeriod { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>An amount of a resource: an absolute one, or a share of the capacity where <paramref name="Fraction"/> is above 0.</summary>
public readonly record struct EvictionAmount(long Value, double Fraction)
{
    /// <summary>The amount, of this capacity.</summary>
    public long Of(long capacity) => Fraction > 0 ? (long)(capacity * Fraction) : Value;
}

/// <summary>Pods are evicted while less than <paramref name="Amount"/> is free.</summary>
/// <param name="Signal">Kubelet's name, one of <see cref="EvictionSignals"/>.</param>
/// <param name="Grace">How long less must be free before pods go; zero for a hard threshold.</param>
/// <param name="Reclaim">What must be free beyond the threshold once pods have been evicted for it.</param>
public sealed record EvictionThreshold(string Signal, EvictionAmount Amount, TimeSpan Grace = default, EvictionAmount Reclaim = default)
{
    /// <summary>Kubelet's evictionHard on Linux.</summary>
    public static IReadOnlyList<EvictionThreshold> Defaults { get; } =
    [
        new(EvictionSignals.Memory, new EvictionAmount(100 * 1024 * 1024, 0)),
        new(EvictionSignals.NodeFs, new EvictionAmount(0, 0.10)),
        new(EvictionSignals.NodeFsInodes, new EvictionAmount(0, 0.05)),
        new(EvictionSignals.ImageFs, new EvictionAmount(0, 0.15)),
        new(EvictionSignals.ImageFsInodes, new EvictionAmount(0, 0.05)),
    ];

    public bool IsHard => Grace == TimeSpan.Zero;
}

/// <summary>Names of what eviction looks at.</summary>
public static class EvictionSignals
{
    public const string Memory = "memory.available";
    public const string NodeFs = "nodefs.available";
    public const string NodeFsInodes = "nodefs.inodesFree";
    public const string ImageFs = "imagefs.available";
    public const string ImageFsInodes = "imagefs.inodesFree";
    public const string Pid = "pid.available";

    public static IReadOnlyList<string> All { get; } = [Memory, NodeFs, NodeFsInodes, ImageFs, ImageFsInodes, Pid];
}
