namespace Edge.Core.Edged.LocalApi;

/// <summary>CPU time used since the start of what is measured.</summary>
/// <param name="NanoCores">Use now, in billionths of a core; null until two samples are there.</param>
internal sealed record CpuUse(DateTimeOffset Time, ulong CoreNanoseconds, ulong? NanoCores);

/// <summary>Memory in bytes; null where it cannot be known.</summary>
/// <param name="WorkingSet">What cannot be given back under pressure: use without the inactive file cache.</param>
internal sealed record MemoryUse(DateTimeOffset Time, ulong? Usage, ulong WorkingSet, ulong? Available, ulong? Rss, ulong? PageFaults, ulong? MajorPageFaults);

/// <summary>A file system, or a part of one, in bytes and inodes.</summary>
internal sealed record DiskUse(DateTimeOffset Time, ulong? Capacity, ulong? Available, ulong? Used, ulong? Inodes, ulong? InodesFree, ulong? InodesUsed);

/// <summary>Counters of a network interface.</summary>
internal sealed record InterfaceUse(
    string Name, ulong RxBytes, ulong RxPackets, ulong RxErrors, ulong RxDropped, ulong TxBytes, ulong TxPackets, ulong TxErrors, ulong TxDropped);

internal sealed record ContainerUse
{
    public required string Name { get; init; }

    public required string Id { get; init; }

    public string Image { get; init; } = "";

    public DateTimeOffset Started { get; init; }

    public CpuUse? Cpu { get; init; }

    public MemoryUse? Memory { get; init; }

    public ulong? SwapBytes { get; init; }

    public ulong? Processes { get; init; }

    /// <summary>The container's writable layer; capacity is of the file system below it.</summary>
    public DiskUse? Rootfs { get; init; }

    /// <summary>The container's log files.</summary>
    public DiskUse? Logs { get; init; }
}

internal sealed record PodUse
{
    public required string Namespace { get; init; }

    public required string Name { get; init; }

    public required string Uid { get; init; }

    public string SandboxId { get; init; } = "";

    /// <summary>The pod's cgroup as it is seen from the root of the hierarchies.</summary>
    public string Cgroup { get; init; } = "";

    public DateTimeOffset Started { get; init; }

    public CpuUse? Cpu { get; init; }

    public MemoryUse? Memory { get; init; }

    /// <summary>Empty for pods on the node's own network.</summary>
    public IReadOnlyList<InterfaceUse> Network { get; init; } = [];

    public ulong? Processes { get; init; }

    public IReadOnlyList<ContainerUse> Containers { get; init; } = [];
}

internal sealed record NodeUse
{
    public required string Name { get; init; }

    public DateTimeOffset Booted { get; init; }

    public CpuUse? Cpu { get; init; }

    public MemoryUse? Memory { get; init; }

    public ulong? SwapBytes { get; init; }

    public ulong? SwapAvailableBytes { get; init; }

    public IReadOnlyList<InterfaceUse> Network { get; init; } = [];

    /// <summary>The interface of the default route; empty when there is none.</summary>
    public string DefaultInterface { get; init; } = "";

    /// <summary>The file system below the kubelet's root.</summary>
    public DiskUse? Disk { get; init; }

    /// <summary>The file system with the images; used is what the images take.</summary>
    public DiskUse? Images { get; init; }

    public int Cpus { get; init; }

    public ulong MemoryBytes { get; init; }

    public long Processes { get; init; }

    public long ProcessesMax { get; init; }
}

/// <summary>What the node and its pods use, measured at one time.</summary>
/// <param name="Error">Why the pods could not be measured; empty when they were.</param>
internal sealed record UsageReport(DateTimeOffset Time, NodeUse Node, IReadOnlyList<PodUse> Pods, string Error);
