using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>docs/grafana/edge.json against the /metrics of a cloudcore and an edgecore that run.</summary>
[Trait("Category", "Interop")]
public sealed partial class GrafanaTests
{
    [SkippableFact]
    public async Task Every_metric_that_the_dashboard_asks_for_exists_on_one_side_and_every_one_there_is_stands_in_the_docs()
    {
        Requires.Kubectl();
        Requires.Dig();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Simulator = true,
            CloudCoreSettings = ["modules.gslb.enable=true", "modules.gslb.address=127.0.0.1", "modules.gslb.port=0"],
            EdgeCoreSettings = ["modules.edgeDns.enable=true", "modules.edgeDns.listen=[127.0.0.1:0]", "modules.eventBus.enable=true", "modules.eventBus.mqttMode=0", "modules.eventBus.mqttServerInternal=tcp://127.0.0.1:0"],
        });
        var dashboard = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(Executables.SourceTree!, "docs/grafana/edge.json")))!;
        var queries = dashboard.Items("panels").SelectMany(panel => panel.Items("targets")).Select(target => target.Text("expr")).ToList();
        Assert.True(queries.Count > 20);
        var wanted = queries.SelectMany(query => Names().Matches(query).Select(match => match.Value)).ToHashSet();
        using var http = new HttpClient();
        var ports = Directory.GetFiles(edge.Local.Directory, "*.ports.json", SearchOption.AllDirectories)
            .Select(file => JsonNode.Parse(File.ReadAllText(file)).Number(0, "metrics")).Where(port => port > 0).ToList();
        Assert.Equal(2, ports.Count);
        var page = await File.ReadAllTextAsync(Path.Combine(Executables.SourceTree!, "docs/metrics.md"));
        var unknown = new SortedSet<string>(StringComparer.Ordinal);
        var missing = wanted;
        // The first commits and calls take a moment.
        await edge.WaitForAsync("every series that the dashboard asks for", async () =>
        {
            var there = new HashSet<string>();
            foreach (var port in ports)
            {
                foreach (Match name in Declared().Matches(await http.GetStringAsync($"http://127.0.0.1:{port}/metrics")))
                {
                    if (!page.Contains($"| `{name.Groups[1].Value}` | {name.Groups[2].Value} |", StringComparison.Ordinal))
                        unknown.Add(name.Groups[1].Value);
                    there.UnionWith(name.Groups[2].Value == "histogram" ? [name.Groups[1].Value + "_bucket", name.Groups[1].Value + "_sum", name.Groups[1].Value + "_count"] : [name.Groups[1].Value]);
                }
            }

            // A commit has not failed here, and this one appears with its first failure.
            missing = wanted.Where(name => !there.Contains(name) && name != "edge_store_commit_failures_total").ToHashSet();
            return missing.Count == 0;
        });
        Assert.Empty(unknown); // docs/metrics.md has them all
    }

    [GeneratedRegex(@"\b(?:edge|edgecore|KubeEdge)_\w+")]
    private static partial Regex Names();

    [GeneratedRegex(@"^# TYPE (\S+) (\S+)$", RegexOptions.Multiline)]
    private static partial Regex Declared();
}
