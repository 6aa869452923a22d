using Edge.Cloud.Observability;
using Xunit;

namespace Edge.Cloud.Tests;

/// <summary>The metrics page as Prometheus' text format wants it.</summary>
[Trait("Category", "Unit")]
public sealed class HubMetricsTests
{
    [Fact]
    public void All_lines_of_a_metric_stand_together_behind_its_help_and_type()
    {
        var families = new List<string>();
        foreach (var line in new HubMetrics().Render().TrimEnd('\n').Split('\n'))
        {
            var name = line.StartsWith('#') ? line.Split(' ')[2] : line.Split('{', ' ')[0];
            if (line.StartsWith("# HELP ", StringComparison.Ordinal))
                families.Add(name);
            Assert.True(families.Count > 0 && families[^1] == name, $"'{line}' stands apart from its metric");
        }

        Assert.Equal(families.Distinct(), families);
        Assert.Contains("edge_cloudstream_streams", families);
    }
}
