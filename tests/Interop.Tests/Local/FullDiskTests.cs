using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Local;

/// <summary>The disk of a node's edgecore has no room, or cannot be written: a real file system of few megabytes.</summary>
[Trait("Category", "Sync")]
[Collection(nameof(EdgeCollection))]
public sealed class FullDiskTests
{
    // As large as a ConfigMap may be, so that none fits into what the database has set aside already.
    private const int Large = 1_000_000;

    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(3); // a refused object is sent again after up to a minute

    [SkippableFact]
    public async Task What_a_full_disk_refuses_comes_when_there_is_room_and_nothing_accepted_before_is_lost()
    {
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions());
        var node = edge.Local.Nodes[0];
        await LocalEdge.KillEdgeCoreAsync(node);
        await PutOnSmallDiskAsync(node.DataDirectory);
        edge.Local.RestartEdgeCore(node);
        await edge.KubectlAsync("apply -f -", Pod("first", "small") + ConfigMap("small", "one"));
        await edge.WaitForAsync("the first is at the edge", () => Task.FromResult(Version(node, "small") is not null), s_long);

        var filler = Path.Combine(node.DataDirectory, "filler");
        Fill(filler);
        for (var i = 0; i < 4; i++)
            await edge.KubectlAsync(["create", "-f", "-"], ConfigMap($"large{i}", new string((char)('a' + i), Large)));
        await edge.KubectlAsync("apply -f -", Pod("second", "large0", "large1", "large2", "large3"));
        await edge.WaitForAsync("the operator is told why", async () => (await RefusalsAsync(edge)).Contains("full", StringComparison.Ordinal), s_long);

        // Only what has no room is kept away, and the node is there.
        Assert.NotNull(Version(node, "small"));
        Assert.True(await edge.Local.IsNodeReadyAsync(node.Name, CancellationToken.None));
        Assert.False(node.Process!.Exited.IsCompleted);

        File.Delete(filler);
        await edge.WaitForAsync("all are at the edge", () => Task.FromResult(Enumerable.Range(0, 4).All(i => Version(node, $"large{i}") is not null)), s_long);

        // The same disk, read-only at the next start: the node goes on with what it has, and says what it cannot take.
        await LocalEdge.KillEdgeCoreAsync(node);
        await MountAsync("remount,ro", node.DataDirectory);
        edge.Local.RestartEdgeCore(node);
        await edge.KubectlAsync(["patch", "configmap", "small", "-p", """{"data":{"value":"two"} }"""]);
        await edge.WaitForAsync("the operator is told why", async () => (await RefusalsAsync(edge)).Contains("readonly", StringComparison.Ordinal), s_long);
        Assert.True(await edge.Local.IsNodeReadyAsync(node.Name, CancellationToken.None));

        await LocalEdge.KillEdgeCoreAsync(node);
        await MountAsync("remount,rw", node.DataDirectory);
        edge.Local.RestartEdgeCore(node);
        var changed = (await edge.KubectlAsync("get configmap small -o jsonpath={.metadata.resourceVersion}")).Trim();
        await edge.WaitForAsync("a change is at the edge", () => Task.FromResult(Version(node, "small") == changed), s_long);
        Assert.NotNull(Version(node, "large3"));
    }

    private static string ConfigMap(string name, string value) => $$"""
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: {{name}}, namespace: default}
        data: {value: {{value}}}

        """;

    private static string Pod(string name, params string[] configMaps) => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}}, namespace: default}
        spec:
          nodeName: edge-1
          containers:
          - {name: c, image: "example.invalid/{{name}}:1", envFrom: [{{string.Join(", ", configMaps.Select(one => $"{{configMapRef: {{name: {one}}}}}"))}}]}
        ---

        """;

    private static async Task<string> RefusalsAsync(TestEdge edge)
        => await edge.KubectlAsync("get events --field-selector reason=EdgeRefused -o jsonpath={.items[*].message}");

    private static async Task PutOnSmallDiskAsync(string directory)
    {
        var aside = directory + ".aside";
        Directory.Move(directory, aside);
        Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await MountAsync("size=24m,mode=0700", directory);
        await Tool.RunAsync("cp", ["-a", aside + "/.", directory], new ToolOptions(TimeProvider.System), CancellationToken.None);
        Directory.Delete(aside, recursive: true);
    }

    private static Task MountAsync(string options, string path)
        => Tool.RunAsync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], new ToolOptions(TimeProvider.System), CancellationToken.None);

    private static void Fill(string path)
    {
        using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        var block = new byte[4096];
        try
        {
            while (true)
                file.Write(block);
        }
        catch (IOException)
        {
            // Full: what this is for.
        }
    }

    private static string? Version(LocalNode node, string configMap) => EdgeRows.Version(node, $"default/configmap/{configMap}");
}
