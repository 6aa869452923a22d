using System.Text.RegularExpressions;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Edge.Interop.Tests.Dns;

/// <summary>The demo of docs/examples/gslb as it stands: three regions, a real stub resolver, and what the client sees when a node is unplugged.</summary>
[Trait("Category", "Dns")]
public sealed partial class GslbDemoTests(ITestOutputHelper output)
{
    [SkippableFact]
    public async Task A_clients_traffic_moves_when_its_regions_node_is_unplugged_and_comes_back()
    {
        Requires.NetworkNamespaces();
        Requires.Dig();
        Requires.Kubectl();
        using var executables = new TempDirectory();
        foreach (var name in (string[])["cloudcore", "edgecore", "edgectl"])
            File.CreateSymbolicLink(executables.File(name), Executables.Find(name));
        var script = Path.Combine(Executables.SourceTree!, "docs/examples/gslb/demo.sh");
        var result = await Tool.TryRunAsync(
            "env", [$"EDGE_BIN_DIR={executables.Path}", "bash", script], new ToolOptions(TimeProvider.System) { Deadline = TimeSpan.FromMinutes(10) }, CancellationToken.None);
        output.WriteLine(result.Output + result.Error);
        Assert.True(result.ExitCode == 0, result.Output + result.Error);
        Assert.Contains("asked with dig:       10.77.1.10", result.Output, StringComparison.Ordinal);
        Assert.Contains("asked by getaddrinfo: 10.77.1.10", result.Output, StringComparison.Ordinal);
        Assert.Contains("fetched from:         eu", result.Output, StringComparison.Ordinal);
        // The nearest of those that are left, each time.
        Assert.Equal(3, Moved().Count(result.Output));
        Assert.Equal(3, Back().Count(result.Output));
        Assert.Contains("edge-eu found: connection refused", result.Output, StringComparison.Ordinal);
        Assert.Contains("on edge-eu: 10.77.1.10", result.Output, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"the client's traffic moved from eu to us within \d+ ms")]
    private static partial Regex Moved();

    [GeneratedRegex("is back, and so is the traffic")]
    private static partial Regex Back();
}
