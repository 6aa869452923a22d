using System.Diagnostics.Metrics;

namespace Edge.Common.Metrics;

/// <summary>What the process itself takes, under the names that Prometheus' clients give it, and what its garbage collector does: a full collection stops all of it.</summary>
internal static class ProcessMeter
{
    private static readonly Meter s_meter = new("Edge.Process");
    private static readonly KeyValuePair<string, object?>[] s_generations = [.. Enumerable.Range(0, 3).Select(generation => new KeyValuePair<string, object?>("generation", generation))];

    static ProcessMeter()
    {
        s_meter.CreateObservableCounter("process_cpu_seconds", () => Environment.CpuUsage.TotalTime.TotalSeconds, "s", "Processor time, user and system");
        s_meter.CreateObservableGauge("process_resident_memory_bytes", () => Environment.WorkingSet, "By", "Resident memory");
        s_meter.CreateObservableCounter("edge_gc_pause_seconds", () => GC.GetTotalPauseDuration().TotalSeconds, "s", "Time for which garbage collections stopped the process");
        s_meter.CreateObservableCounter("edge_gc_allocated_bytes", () => GC.GetTotalAllocatedBytes(), "By", "Managed memory allocated");
        s_meter.CreateObservableCounter(
            "edge_gc_collections", () => s_generations.Select((label, generation) => new Measurement<long>(GC.CollectionCount(generation), label)), description: "Garbage collections, by generation; each counts for those below it, too");
    }

    /// <summary>Makes the instruments, if that was not done.</summary>
    public static void Register() => _ = s_meter;
}
