using System.Text.Json.Nodes;
using Edge.Core.Configuration;

namespace Edge.Core.Edged.Eviction;

/// <summary>How much of something is free, and of how much.</summary>
internal readonly record struct SignalReading(long Available, long Capacity);

/// <summary>One look at the node, by signal; a signal that cannot be read is absent and evicts nobody.</summary>
/// <param name="ImagesOnNodeFs">Whether images and pods share a file system.</param>
internal sealed record NodeReadings(IReadOnlyDictionary<string, SignalReading> Signals, bool ImagesOnNodeFs);

/// <summary>What a pod uses. Bytes, inodes and processes; zero where it is not known.</summary>
internal sealed record PodUsage(long MemoryBytes, long DiskBytes, long Inodes, long Processes)
{
    public static PodUsage None { get; } = new(0, 0, 0, 0);

    /// <summary>Working set of each container by name, in bytes.</summary>
    public IReadOnlyDictionary<string, long> ContainerMemory { get; init; } = new Dictionary<string, long>();

    /// <summary>What each container wrote to its own file system and to its log, by name, in bytes.</summary>
    public IReadOnlyDictionary<string, long> ContainerDisk { get; init; } = new Dictionary<string, long>();
}

/// <summary>What a container wrote to its own file system; it lies with the images.</summary>
internal sealed record LayerUse(string Container, long Bytes, long Inodes);

/// <summary>What counts as a pod's use of a disk.</summary>
/// <param name="Directories">Whether its volumes and logs lie there.</param>
/// <param name="Layers">The file systems of its containers that lie there.</param>
internal sealed record PodDisk(bool Directories, IReadOnlyList<LayerUse> Layers);

/// <summary>A pod that may be evicted.</summary>
/// <param name="Json">The pod's object.</param>
internal sealed record EvictionCandidate(JsonObject Json, PodUsage Usage);

/// <summary>A threshold that is not met, with the reading that says so.</summary>
internal sealed record MetThreshold(EvictionThreshold Threshold, SignalReading Reading);

/// <summary>What eviction wants now.</summary>
/// <param name="Pressures">The pressure conditions that are True.</param>
/// <param name="Reclaim">The threshold for which room is to be made; null when none is.</param>
internal sealed record EvictionDecision(IReadOnlySet<string> Pressures, MetThreshold? Reclaim);

/// <summary>The pod that is to go.</summary>
/// <param name="Grace">The most time that its containers get.</param>
internal sealed record PodEviction(string Uid, string Message, TimeSpan Grace);
