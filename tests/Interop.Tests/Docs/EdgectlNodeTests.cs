using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Docs;

/// <summary>docs/edgectl-node.md is true: each of its commands on a node that runs a pod, with the cloud and without it.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class EdgectlNodeTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(2);

    private const string Pod = """
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","labels":{"app":"web"}},"spec":{"nodeName":"edge-1","tolerations":[{"operator":"Exists"}],"terminationGracePeriodSeconds":1,
          "containers":[{"name":"main","image":"edge.local/busybox:1","command":["sh","-c","echo hello from the edge; sleep 1000"]}]}}
        """;

    [SkippableFact]
    public async Task Every_command_of_the_page_works_with_the_cloud_and_without_it()
    {
        Requires.Containerd();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Pods = true,
            CloudCoreSettings = ["modules.dynamicController.enable=true"],
            EdgeCoreSettings = ["modules.metaManager.metaServer.enable=true", "modules.metaManager.metaServer.server=127.0.0.1:0", "modules.metaManager.metaServer.dummyServer="],
        });
        await edge.KubectlAsync("apply -f -", Pod);
        await edge.WaitForAsync("the pod runs at the node", async () => (await RunAsync(edge, "edgectl get pods")).Output.Contains("Running", StringComparison.Ordinal), s_long);
        foreach (var isOnline in (bool[])[true, false])
        {
            if (!isOnline)
            {
                await edge.Local.KillCloudCoreAsync();
                await edge.WaitForAsync("the node knows", async () => (await RunAsync(edge, "edgectl debug diagnose")).Output.Contains("network", StringComparison.Ordinal), s_long);
            }

            var commands = ShellLines(Path.Combine(Executables.SourceTree!, "docs/edgectl-node.md")).ToList();
            Assert.True(commands.Count >= 11, $"only {commands.Count} commands found");
            foreach (var command in commands)
            {
                var result = await RunAsync(edge, command);
                var findsFaults = command.Contains("debug check", StringComparison.Ordinal) || command.Contains("debug diagnose", StringComparison.Ordinal);
                Assert.True(result.ExitCode == 0 || findsFaults, $"{command}\nended with {result.ExitCode}: {result.Error}{result.Output}");
                Assert.NotEmpty(result.Output);
            }

            Assert.Contains("hello from the edge", (await RunAsync(edge, "edgectl logs web")).Output, StringComparison.Ordinal);
            Assert.Equal(7, (await RunAsync(edge, "edgectl exec web -- sh -c 'exit 7'")).ExitCode);
            var check = (await RunAsync(edge, "edgectl debug check")).Output;
            foreach (var good in (string[])["runtime +ok +containerd", "certificate +ok", "database +ok", "edgecore +ok", isOnline ? "network +ok" : "network +WRONG"])
                Assert.Matches(good, check);
        }
    }

    private static Task<ToolResult> RunAsync(TestEdge edge, string command)
        => Tool.TryRunAsync(
            "sh",
            ["-c", $"PATH='{Path.GetDirectoryName(Executables.Find("edgectl"))}':$PATH; EDGECORE_DATA_DIR='{edge.Local.Nodes[0].DataDirectory}'; export PATH EDGECORE_DATA_DIR; cd '{edge.Local.Directory}'; "
                + (command.Contains(" debug ", StringComparison.Ordinal) ? $"{command} --config '{edge.Local.Nodes[0].ConfigPath}'" : command)],
            new ToolOptions(TimeProvider.System) { Deadline = s_long }, CancellationToken.None);

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
}
