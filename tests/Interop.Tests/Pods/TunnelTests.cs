using System.Text.Json.Nodes;
using Edge.Common.Configuration;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>KubeEdge's tunnel with both ends real: edgecore dials it and knows no other way to the cloud, kubectl asks cloudcore, which has no session of the node.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class TunnelTests
{
    [SkippableFact]
    public async Task Logs_exec_and_cp_go_over_the_tunnel_where_there_is_no_other_connection()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true, CloudCoreSettings = ["modules.cloudStream.tunnel=true", "modules.cloudStream.tunnelPort=0"] });
        await edge.ApplyAsync(PodSteps.Manifest("talk", $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","echo one; echo two; trap 'exit 0' TERM; sleep 100000 & wait"]}"""));
        await edge.ReadyAsync("talk");
        var node = edge.Local.Nodes[0];
        var port = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(edge.Local.Directory, "cloud", "cloudcore.ports.json"))).Number(0, "tunnel");
        Assert.NotEqual(0, port);

        await node.Process!.StopAsync(TimeSpan.FromSeconds(20));
        await File.WriteAllTextAsync(node.ConfigPath, SetKeys.Apply(await File.ReadAllTextAsync(node.ConfigPath), ["modules.edgeHub.websocket.server=127.0.0.1:1", $"modules.edgeStream.server=127.0.0.1:{port}"]));
        var kubectl = edge.Local.Kubectl;
        await edge.WaitForAsync("the node is away", async () => (await kubectl.TryRunAsync(["logs", "talk"], CancellationToken.None)).Error.Contains("node \"edge-1\" is not connected", StringComparison.Ordinal), PodSteps.Long);
        edge.Local.RestartEdgeCore(node);
        await edge.WaitForAsync("the log comes over the tunnel", async () => (await kubectl.TryRunAsync(["logs", "talk"], CancellationToken.None)).Output == "one\ntwo\n", PodSteps.Long);

        Assert.Equal("two\n", await edge.KubectlAsync("logs talk --tail=1"));
        var failed = await kubectl.TryRunAsync(["exec", "talk", "--", "sh", "-c", "echo out; echo wrong >&2; exit 7"], CancellationToken.None);
        Assert.Equal((7, "out\n"), (failed.ExitCode, failed.Output));
        Assert.Contains("wrong", failed.Error, StringComparison.Ordinal);
        Assert.Equal("FROM STDIN", (await edge.KubectlAsync(["exec", "-i", "talk", "--", "tr", "a-z", "A-Z"], "from stdin")).TrimEnd());

        using var directory = new TempDirectory();
        var big = new byte[600_000];
        new Random(1).NextBytes(big);
        var (there, back) = (Path.Combine(directory.Path, "there"), Path.Combine(directory.Path, "back"));
        await File.WriteAllBytesAsync(there, big);
        await edge.KubectlAsync(["cp", there, "talk:/tmp/file"]);
        await edge.KubectlAsync(["cp", "talk:/tmp/file", back]);
        Assert.Equal(big, await File.ReadAllBytesAsync(back));

        // It was the tunnel, and nothing else.
        Assert.Contains("the tunnel to 127.0.0.1", await File.ReadAllTextAsync(node.Process!.LogPath), StringComparison.Ordinal);
    }
}
