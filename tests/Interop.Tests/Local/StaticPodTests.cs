using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>A static pod, seen with kubectl.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class StaticPodTests(SharedEdge shared)
{
    private const string Text = """
        apiVersion: v1
        kind: Pod
        metadata:
          name: fixed
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: main
            image: IMAGE
            command: [sleep, "1000"]
        """;

    [SkippableFact]
    public async Task A_static_pod_has_a_mirror_that_comes_back_when_deleted_and_goes_with_the_file()
    {
        var edge = await shared.GetAsync();
        var image = Examples.Read("pods/web.yaml").Split('\n').First(line => line.Contains("image:", StringComparison.Ordinal)).Split("image:")[1].Trim();
        var folder = Directory.CreateDirectory(Path.Combine(edge.Local.Nodes[0].DataDirectory, "manifests")).FullName;
        var file = Path.Combine(folder, "fixed.yaml");
        await File.WriteAllTextAsync(file, Text.Replace("IMAGE", image, StringComparison.Ordinal));
        try
        {
            var limit = TimeSpan.FromMinutes(2);
            await edge.WaitForAsync("the mirror is ready", () => edge.Local.IsPodReadyAsync("default", "fixed-edge-1", CancellationToken.None), limit);
            Assert.StartsWith("fixed-edge-1 1/1 Running 0 ", string.Join(' ', (await edge.KubectlAsync("get pod fixed-edge-1 --no-headers")).Split(' ', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
            var before = (await MirrorAsync(edge))!;
            Assert.Equal("Node", before.Items("metadata", "ownerReferences").Single().Text("kind"));

            await edge.KubectlAsync("delete pod fixed-edge-1 --timeout=60s");
            await edge.WaitForAsync("another mirror is ready", async () => await MirrorAsync(edge) is { } now && now.Uid() != before.Uid() && ContainerId(now) == ContainerId(before), limit);

            File.Delete(file);
            await edge.WaitForAsync("the mirror is gone", async () => await MirrorAsync(edge) is null, limit);
            Assert.DoesNotContain(ContainerId(before), await edge.CtrAsync("containers", "ls", "-q"), StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static Task<JsonObject?> MirrorAsync(TestEdge edge) => edge.Client.TryGetAsync(ResourceKind.Pod, "default", "fixed-edge-1", CancellationToken.None);

    private static string ContainerId(JsonObject pod)
        => pod.Items("status", "containerStatuses").FirstOrDefault().Text("containerID").Replace("containerd://", "", StringComparison.Ordinal);
}
