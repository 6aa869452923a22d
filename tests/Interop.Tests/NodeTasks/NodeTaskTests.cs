using Edge.Local.Images;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.NodeTasks;

/// <summary>Jobs for nodes with the stock kubectl, from the command to containerd and edgecore.yaml.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class NodeTaskTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(3);

    [SkippableFact]
    public async Task Images_are_pulled_and_configs_changed_and_a_config_that_does_not_connect_is_taken_back()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var registry = await PrivateRegistry.StartAsync(Busybox.PauseImage("edge.test/prepull:1"));
        registry.Users["team/app"] = "team:s3cret";
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Pods = true,
            CloudCoreSettings = ["modules.taskManager.enable=true"],
            EdgeCoreSettings = ["modules.taskManager.enable=true", "modules.taskManager.connectWithin=20", "modules.taskManager.checkPercentMax=100"],
        });
        await edge.KubectlAsync(["create", "secret", "docker-registry", "registry", $"--docker-server={registry.Host}", "--docker-username=team", "--docker-password=s3cret"]);

        await edge.KubectlAsync("apply -f -", (await ExampleAsync("imageprepulljob.yaml")).Replace("registry.example", registry.Host, StringComparison.Ordinal));
        await EndsAsync(edge, "imageprepulljob/warm-shop", "Completed");
        Assert.Contains($"{registry.Host}/team/app:1", await edge.CtrAsync("images", "ls", "-q"), StringComparison.Ordinal);
        Assert.Matches(@"NAME +PHASE +REASON +AGE\s+warm-shop +Completed", await edge.KubectlAsync("get imageprepulljobs"));
        Assert.Equal("edge-1 Successful Check True Pull True", await edge.KubectlAsync(["get", "imageprepulljob", "warm-shop", "-o",
            "jsonpath={.status.nodeStatus[0].nodeName} {.status.nodeStatus[0].phase}{range .status.nodeStatus[0].actionFlow[*]} {.action} {.status}{end}"]));
        var changed = await edge.Local.Kubectl.TryRunAsync(["patch", "imageprepulljob", "warm-shop", "--type=merge", "-p", """{"spec":{"imagePrePullTemplate":{"images":["other:1"]}}}"""], CancellationToken.None);
        Assert.Contains("the spec of a job that has begun cannot change", changed.Error, StringComparison.Ordinal);

        var node = edge.Local.Nodes[0];
        var process = node.Process!.Id;
        await edge.KubectlAsync("apply -f -", await ExampleAsync("configupdatejob.yaml"));
        await EndsAsync(edge, "configupdatejob/slower-heartbeat", "Completed");
        Assert.Contains("heartbeat: 20", await File.ReadAllTextAsync(node.ConfigPath), StringComparison.Ordinal);
        Assert.Equal(process, node.Process!.Id);

        await edge.KubectlAsync("apply -f -", """
            {"apiVersion": "operations.kubeedge.io/v1alpha2", "kind": "ConfigUpdateJob", "metadata": {"name": "astray"},
             "spec": {"nodeNames": ["edge-1"], "updateFields": {"modules.edgeHub.websocket.server": "127.0.0.1:1"}}}
            """);
        await EndsAsync(edge, "configupdatejob/astray", "Failure");
        var reason = await edge.KubectlAsync(["get", "configupdatejob", "astray", "-o", "jsonpath={.status.nodeStatus[0].reason}"]);
        Assert.Matches(@"^Update failed: with the changed config edgecore did not connect to the cloud within 20 s.*; the node was rolled back$", reason);
        Assert.DoesNotContain("127.0.0.1:1\n", await File.ReadAllTextAsync(node.ConfigPath), StringComparison.Ordinal);
        Assert.False(node.Process!.Exited.IsCompleted);
        await edge.WaitForAsync("the node is ready again", () => edge.Local.IsNodeReadyAsync("edge-1", CancellationToken.None), s_long);
    }

    private static async Task EndsAsync(TestEdge edge, string job, string phase)
    {
        await edge.WaitForAsync($"{job} ends", async () => await edge.KubectlAsync(["get", job, "-o", "jsonpath={.status.phase}"]) is "Completed" or "Failure", s_long);
        var status = await edge.KubectlAsync(["get", job, "-o", "jsonpath={.status}"]);
        Assert.Contains($"\"phase\":\"{phase}\"", status, StringComparison.Ordinal);
        Assert.Equal(phase, await edge.KubectlAsync(["get", job, "-o", "jsonpath={.status.phase}"]));
    }

    private static Task<string> ExampleAsync(string name) => File.ReadAllTextAsync(Path.Combine(Executables.SourceTree!, "docs", "examples", "nodetasks", name));
}
