using System.Globalization;
using Edge.Core.Configuration;
using Edge.Core.Edged.Eviction;
using Edge.Kubernetes;

namespace Edge.Core.NodeStatus;

/// <summary>What the node has and what its pods may have of it. Pure.</summary>
internal static class NodeResources
{
    /// <summary>Everything the machine has.</summary>
    /// <param name="pods">Pods that may run at once.</param>
    public static Dictionary<string, Quantity> Capacity(NodeFacts facts, int pods)
    {
        var capacity = new Dictionary<string, Quantity>(StringComparer.Ordinal)
        {
            ["cpu"] = Quantity.FromValue(facts.Cpus),
            ["ephemeral-storage"] = Quantity.FromValue(facts.DiskBytes),
            ["hugepages-1Gi"] = Quantity.Zero,
            ["hugepages-2Mi"] = Quantity.Zero,
            ["memory"] = Quantity.FromValue(facts.MemoryBytes),
            ["pods"] = Quantity.FromValue(pods),
        };
        foreach (var (pageBytes, bytes) in facts.HugePages)
            capacity["hugepages-" + BinarySize(pageBytes)] = Quantity.FromValue(bytes);
        return capacity;
    }

    /// <summary>Capacity less systemReserved, kubeReserved and the hard eviction thresholds, never below zero. Memory in huge pages is no other memory.</summary>
    public static Dictionary<string, Quantity> Allocatable(Dictionary<string, Quantity> capacity, ResourceOptions options)
    {
        var allocatable = new Dictionary<string, Quantity>(capacity, StringComparer.Ordinal);
        void Take(string resource, Quantity amount)
        {
            if (allocatable.TryGetValue(resource, out var left))
                allocatable[resource] = left > amount ? left - amount : Quantity.Zero;
        }

        foreach (var (resource, amount) in options.SystemReserved.Concat(options.KubeReserved))
            Take(resource, amount);
        foreach (var threshold in options.Thresholds.Where(threshold => threshold.IsHard))
        {
            if (threshold.Signal == EvictionSignals.Memory)
                Take("memory", Quantity.FromValue(threshold.Amount.Of(capacity["memory"].Value)));
            else if (threshold.Signal == EvictionSignals.NodeFs)
                Take("ephemeral-storage", Quantity.FromValue(threshold.Amount.Of(capacity["ephemeral-storage"].Value)));
        }

        foreach (var (_, amount) in capacity.Where(pair => pair.Key.StartsWith("hugepages-", StringComparison.Ordinal)))
            Take("memory", amount);
        return allocatable;
    }

    /// <summary>As a kubelet writes it: memory and the disk's capacity in Ki, the rest plain.</summary>
    public static string Text(string resource, Quantity amount)
        => resource == "memory" || (resource == "ephemeral-storage" && amount.Value % 1024 == 0)
            ? string.Create(CultureInfo.InvariantCulture, $"{amount.Value / 1024}Ki")
            : resource.StartsWith("hugepages-", StringComparison.Ordinal) && !amount.IsZero ? BinarySize(amount.Value) : amount.ToString();

    /// <summary>Bytes with the largest binary suffix that leaves a whole number: <c>2Mi</c>.</summary>
    public static string BinarySize(long bytes)
    {
        foreach (var (unit, suffix) in ((long, string)[])[(1L << 40, "Ti"), (1L << 30, "Gi"), (1L << 20, "Mi"), (1L << 10, "Ki")])
        {
            if (bytes >= unit && bytes % unit == 0)
                return string.Create(CultureInfo.InvariantCulture, $"{bytes / unit}{suffix}");
        }

        return bytes.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>What eviction looks at, as far as the machine's facts tell it; <paramref name="images"/> is the file system of the images.</summary>
    public static NodeReadings Readings(NodeFacts facts, FileSystemFacts? images)
    {
        var signals = new Dictionary<string, SignalReading>(StringComparer.Ordinal);
        void Add(string signal, long available, long capacity)
        {
            if (capacity > 0)
                signals[signal] = new SignalReading(available, capacity);
        }

        Add(EvictionSignals.Memory, facts.MemoryAvailableBytes, facts.MemoryBytes);
        Add(EvictionSignals.NodeFs, facts.DiskAvailableBytes, facts.DiskBytes);
        Add(EvictionSignals.NodeFsInodes, facts.InodesFree, facts.Inodes);
        Add(EvictionSignals.ImageFs, images?.BytesAvailable ?? 0, images?.Bytes ?? 0);
        Add(EvictionSignals.ImageFsInodes, images?.InodesFree ?? 0, images?.Inodes ?? 0);
        Add(EvictionSignals.Pid, facts.ProcessesMax - facts.Processes, facts.ProcessesMax);
        return new NodeReadings(signals, images is null || images.Device == facts.DiskDevice);
    }
}
