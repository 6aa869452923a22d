using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.NodeStatus;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.Core.Edged.Eviction;

/// <summary>Chooses the pod that goes first, and says why in a kubelet's words. Pure.</summary>
internal static class EvictionRanking
{
    /// <summary>Pods of this priority and above (system-cluster-critical) are never evicted, nor are static and mirror pods.</summary>
    public const long CriticalPriority = 2_000_000_000;

    /// <summary>Whether the pod may never be evicted.</summary>
    public static bool IsCritical(JsonObject pod)
        => pod.At("spec").Number(0, "priority") >= CriticalPriority
            || pod.Annotation("kubernetes.io/config.mirror") is not null
            || pod.Annotation("kubernetes.io/config.source") is "file" or "http";

    /// <summary>The candidates that may go, first to go first: those that use more than they asked for, then by lower priority, then by how much more.
    /// For processes, by priority and number alone.</summary>
    public static IReadOnlyList<EvictionCandidate> Order(IEnumerable<EvictionCandidate> candidates, string signal)
    {
        var may = candidates.Where(candidate => !IsCritical(candidate.Json));
        return
        [
            .. may.OrderBy(candidate => signal != EvictionSignals.Pid && Excess(candidate, signal) > 0 ? 0 : 1)
                .ThenBy(candidate => candidate.Json.At("spec").Number(0, "priority"))
                .ThenByDescending(candidate => Excess(candidate, signal))
                .ThenBy(candidate => candidate.Json.Uid(), StringComparer.Ordinal),
        ];
    }

    /// <summary>The eviction of the first in order, or null when nobody may go.</summary>
    /// <param name="graceMax">The most grace for a soft threshold; a hard one gives none.</param>
    public static PodEviction? Choose(IEnumerable<EvictionCandidate> candidates, MetThreshold met, TimeSpan graceMax)
    {
        return Order(candidates, met.Threshold.Signal) is [var first, ..]
            ? new PodEviction(first.Json.Uid(), Message(first, met), met.Threshold.IsHard ? TimeSpan.Zero : graceMax)
            : null;
    }

    /// <summary>The resource that a signal is about, as messages name it.</summary>
    public static string Resource(string signal) => signal switch
    {
        EvictionSignals.Memory => "memory",
        EvictionSignals.Pid => "pids",
        EvictionSignals.NodeFsInodes or EvictionSignals.ImageFsInodes => "inodes",
        _ => "ephemeral-storage",
    };

    private static string Message(EvictionCandidate candidate, MetThreshold met)
    {
        var resource = Resource(met.Threshold.Signal);
        var wanted = met.Threshold.Amount.Of(met.Reading.Capacity);
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"The node was low on resource: {resource}. Threshold quantity: {Size(wanted)}, available: {Available(met)}. ");
        var usage = resource switch { "memory" => candidate.Usage.ContainerMemory, "ephemeral-storage" => candidate.Usage.ContainerDisk, _ => new Dictionary<string, long>() };
        foreach (var container in candidate.Json.Items("spec", "containers"))
        {
            var request = PodResources.Read(container, "resources", "requests").GetValueOrDefault(resource).Value;
            if (usage.TryGetValue(container.Text("name"), out var used) && used > request)
                text.Append(CultureInfo.InvariantCulture, $"Container {container.Text("name")} was using {Size(resource == "memory" ? used / 1024 * 1024 : used)}, request is {Size(request)}, has larger consumption of {resource}. ");
        }

        return text.ToString();

        string Size(long amount) => resource is "memory" or "ephemeral-storage" ? NodeResources.BinarySize(amount) : amount.ToString(CultureInfo.InvariantCulture);

        string Available(MetThreshold one) => resource is "memory" or "ephemeral-storage" ? $"{one.Reading.Available / 1024}Ki" : Size(one.Reading.Available);
    }

    // How much more than it asked for; what nobody can ask for counts whole.
    private static long Excess(EvictionCandidate candidate, string signal)
    {
        var asked = PodResources.Requests(candidate.Json);
        return Resource(signal) switch
        {
            "memory" => candidate.Usage.MemoryBytes - asked.GetValueOrDefault("memory").Value,
            "pids" => candidate.Usage.Processes,
            "inodes" => candidate.Usage.Inodes,
            _ => candidate.Usage.DiskBytes - asked.GetValueOrDefault("ephemeral-storage").Value,
        };
    }
}
