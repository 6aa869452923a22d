using System.Globalization;
using Edge.Common.Metrics;
using Xunit;

namespace Edge.Common.Tests.Metrics;

[Trait("Category", "Unit")]
public sealed class ProcessMeterTests
{
    [Fact]
    public void Page_has_what_the_process_takes_and_what_its_collector_does()
    {
        using var meters = new MeterText();
        GC.Collect();
        var values = meters.Render().Split('\n').Where(line => line.StartsWith("process_", StringComparison.Ordinal) || line.StartsWith("edge_gc_", StringComparison.Ordinal))
            .Select(line => line.Split(' ')).ToDictionary(parts => parts[0], parts => double.Parse(parts[1], CultureInfo.InvariantCulture));
        Assert.Equal(
            ["edge_gc_allocated_bytes_total", "edge_gc_collections_total{generation=\"0\"}", "edge_gc_collections_total{generation=\"1\"}", "edge_gc_collections_total{generation=\"2\"}", "edge_gc_pause_seconds_total", "process_cpu_seconds_total", "process_resident_memory_bytes"],
            values.Keys.Order(StringComparer.Ordinal));
        Assert.All(values.Values, value => Assert.True(value > 0));
        Assert.InRange(values["process_resident_memory_bytes"], 10e6, 10e9);
    }
}
