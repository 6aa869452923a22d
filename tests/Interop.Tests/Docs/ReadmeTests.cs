using System.Text.RegularExpressions;
using Edge.Local;
using Edge.Local.Processes;

namespace Edge.Interop.Tests.Docs;

/// <summary>What the README says is true.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed partial class ReadmeTests(SharedEdge shared)
{
    private static readonly string s_root = Executables.SourceTree ?? throw new InvalidOperationException("the tests run outside a source tree");

    [SkippableFact]
    public async Task Every_kubectl_command_of_the_README_works()
    {
        var edge = await shared.GetAsync();
        var commands = ShellLines(Path.Combine(s_root, "README.md")).Where(line => line.StartsWith("kubectl ", StringComparison.Ordinal)).ToList();
        Assert.True(commands.Count >= 4, $"only {commands.Count} kubectl commands found in README.md");
        foreach (var command in commands)
        {
            var result = await Tool.TryRunAsync("sh", ["-c", $"KUBECONFIG='{edge.Local.Kubeconfig}'; export KUBECONFIG; {command}"], new ToolOptions(TimeProvider.System), CancellationToken.None);
            Assert.True(result.ExitCode == 0, $"{command}\nended with {result.ExitCode}: {result.Error}");
        }
    }

    [SkippableFact]
    public async Task Pod_without_a_node_is_scheduled_and_runs()
    {
        var edge = await shared.GetAsync();
        await edge.KubectlAsync(["apply", "-f", "-"], """
            apiVersion: v1
            kind: Pod
            metadata: {name: anywhere}
            spec:
              terminationGracePeriodSeconds: 1
              nodeSelector: {kubernetes.io/os: linux}
              containers:
                - {name: main, image: "edge.local/busybox:1", imagePullPolicy: Never, command: [sleep, "3600"], resources: {requests: {cpu: 10m}}}
            """);
        try
        {
            await edge.KubectlAsync("wait pod/anywhere --for=condition=Ready --timeout=30s");
            Assert.Equal("edge-1", await edge.KubectlAsync("get pod anywhere -o jsonpath={.spec.nodeName}"));
        }
        finally
        {
            await edge.KubectlAsync("delete pod anywhere --ignore-not-found --timeout=30s");
        }
    }

    [Fact]
    public void Every_link_of_the_README_leads_somewhere()
    {
        var links = Link().Matches(File.ReadAllText(Path.Combine(s_root, "README.md"))).Select(match => match.Groups[1].Value)
            .Where(link => !link.StartsWith("http", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(links);
        Assert.All(links, link => Assert.True(Path.Exists(Path.Combine(s_root, link)), $"README.md links to {link}, which is not there"));
    }

    [Theory]
    [InlineData("cloudcore")]
    [InlineData("edgecore")]
    [InlineData("edgectl")]
    [InlineData("modbus-mapper")]
    [InlineData("edge-simulator")]
    public async Task Help_of_every_executable_has_examples(string name)
    {
        var help = await Tool.RunAsync(Executables.Find(name), ["--help"], new ToolOptions(TimeProvider.System), CancellationToken.None);
        Assert.Contains("Examples:", help, StringComparison.Ordinal);
    }

    private static IEnumerable<string> ShellLines(string path)
    {
        var inside = false;
        foreach (var line in File.ReadLines(path))
        {
            if (line.StartsWith("```", StringComparison.Ordinal))
                inside = !inside && line.StartsWith("```sh", StringComparison.Ordinal);
            else if (inside)
                yield return line.Trim();
        }
    }

    [GeneratedRegex(@"\]\(([^)#]+)\)")]
    private static partial Regex Link();
}
