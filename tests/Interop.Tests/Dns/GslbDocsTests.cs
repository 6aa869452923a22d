using System.Globalization;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Dns;

/// <summary>What docs/gslb.md shows of <c>edgectl up --dns</c>, and that a node answers for the zone as cloudcore does, also when that is gone.</summary>
[Trait("Category", "Dns")]
[Collection(nameof(EdgeCollection))]
public sealed class GslbDocsTests
{
    [SkippableFact]
    public async Task The_commands_of_the_page_work_and_a_node_goes_on_answering_for_the_zone_without_the_cloud()
    {
        Requires.Dig();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Dns = true, EdgeCoreSettings = ["modules.edgeDns.upstreams=[]"] });
        var node = edge.Local.Nodes[0];
        var (name, type) = ("edge.example", "MX");
        await edge.WaitForAsync("cloudcore serves the zone", async () => (await AskAsync(edge.Local.Ports.Dns, name, type)).Contains("mail", StringComparison.Ordinal));
        await edge.WaitForAsync("the node has it", async () => (await AskAsync(node.DnsPort, name, type)).Contains("mail", StringComparison.Ordinal));
        await edge.WaitForAsync("the node has the GlobalService", async () => (await AskAsync(node.DnsPort, "shop.edge.example", "A")).Contains("192.0.2.", StringComparison.Ordinal));

        var commands = File.ReadLines(Path.Combine(Executables.SourceTree!, "docs/gslb.md"))
            .Where(line => line.StartsWith("dig ", StringComparison.Ordinal) || line.StartsWith("edgectl ", StringComparison.Ordinal)).ToList();
        Assert.True(commands.Count >= 5, $"only {commands.Count} commands found in docs/gslb.md");
        foreach (var line in commands)
        {
            var parts = line.Split('#', 2);
            var command = parts[0].Replace("-p 5300", $"-p {edge.Local.Ports.Dns}", StringComparison.Ordinal).Replace("-p 10053", $"-p {node.DnsPort}", StringComparison.Ordinal);
            var result = await Tool.TryRunAsync(
                "sh", ["-c", $"PATH='{Path.GetDirectoryName(Executables.Find("edgectl"))}':$PATH; KUBECONFIG='{edge.Local.Kubeconfig}'; export PATH KUBECONFIG; {command}"],
                new ToolOptions(TimeProvider.System), CancellationToken.None);
            Assert.True(result.ExitCode == 0, $"{command}\nended with {result.ExitCode}: {result.Error}{result.Output}");
            Assert.Contains(parts[1].Split(',')[0].Trim(), result.Output, StringComparison.Ordinal);
        }

        (string Name, string Type)[] questions =
        [
            ("edge.example", "MX"), ("edge.example", "TXT"), ("edge.example", "NS"), ("edge.example", "SOA"), ("mail.edge.example", "A"), ("MAIL.edge.example", "AAAA"), ("a.b.old.edge.example", "A"),
            ("old.edge.example", "A"), ("www.edge.example", "CNAME"), ("none.edge.example", "A"), ("shop.edge.example", "TXT"), ("x.shop.edge.example", "A"),
        ];
        var told = new List<string>();
        foreach (var question in questions)
            told.Add(await AskAsync(edge.Local.Ports.Dns, question.Name, question.Type));
        Assert.Contains(told, one => one.StartsWith("NXDOMAIN", StringComparison.Ordinal) && one.Contains("SOA", StringComparison.Ordinal));
        await SameAsync("with the cloud");

        await edge.Local.KillCloudCoreAsync();
        await LocalEdge.KillEdgeCoreAsync(node);
        edge.Local.RestartEdgeCore(node);
        await edge.WaitForAsync("the resolver is back", async () => LocalEdge.FindDnsPort(node) > 0 && (await AskAsync(node.DnsPort, name, type)).Contains("mail", StringComparison.Ordinal));
        await SameAsync("without the cloud and after a restart");
        Assert.Contains("192.0.2.", await AskAsync(node.DnsPort, "www.edge.example", "A"), StringComparison.Ordinal);

        async Task SameAsync(string when)
        {
            foreach (var (question, expected) in questions.Zip(told))
                Assert.Equal((when, question, expected), (when, question, await AskAsync(node.DnsPort, question.Name, question.Type)));
        }
    }

    // The code and the records of answer and authority, in order of their text; empty where nobody answers.
    private static async Task<string> AskAsync(int port, string name, string type)
    {
        var result = await Tool.TryRunAsync(
            "dig",
            ["-r", "@127.0.0.1", "-p", port.ToString(CultureInfo.InvariantCulture), name, type, "+noall", "+comments", "+answer", "+authority", "+tries=1", "+time=5"],
            new ToolOptions(TimeProvider.System), CancellationToken.None);
        var lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var status = lines.FirstOrDefault(line => line.Contains("status: ", StringComparison.Ordinal));
        return status is null ? "" : $"{status.Split("status: ")[1].Split(',')[0]} {string.Join("; ", lines.Where(line => !line.StartsWith(';')).Order(StringComparer.Ordinal))}";
    }
}
