using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.StaticPods;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class StaticPodTests : IDisposable
{
    private const string Good = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  uid: mine\n  labels: {app: web}\nspec:\n  containers:\n  - {name: main, image: busybox}\n";
    private static readonly DateTimeOffset s_now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private readonly string _folder = Directory.CreateTempSubdirectory("static").FullName;
    private readonly FakeMetaStore _meta = new();
    private readonly Lines _log = new();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_file_makes_a_pod_of_this_node_with_a_uid_of_its_content()
    {
        var (read, error) = StaticPodFile.Read(Good, "/m/web.yaml", "edge-1", s_now);
        Assert.Equal("", error);
        var pod = Assert.IsType<JsonObject>(read);
        Assert.Equal(("web-edge-1", "default", "edge-1"), (pod.Name(), pod.Namespace(), pod.Text("spec", "nodeName")));
        Assert.Matches("^[0-9a-f]{32}$", pod.Uid());
        Assert.Equal(pod.Uid(), pod.Annotation("kubernetes.io/config.hash"));
        Assert.Equal("file", pod.Annotation("kubernetes.io/config.source"));
        Assert.StartsWith("2026-01-02T03:04:05", pod.Annotation("kubernetes.io/config.seen"), StringComparison.Ordinal);
        Assert.Equal("web", pod.Label("app"));
        Assert.Equal("NoExecute", pod.Items("spec", "tolerations").Single().Text("effect"));
        Assert.True(StaticPodFile.IsStatic(pod));

        string Uid(string text, string file = "/m/web.yaml", string node = "edge-1") => StaticPodFile.Read(text, file, node, s_now.AddDays(1)).Pod!.Uid();
        Assert.Equal(pod.Uid(), Uid(Good + "# a remark\n"));
        Assert.NotEqual(pod.Uid(), Uid(Good.Replace("busybox", "busybox:2", StringComparison.Ordinal)));
        Assert.NotEqual(pod.Uid(), Uid(Good, file: "/m/other.yaml"));
        Assert.NotEqual(pod.Uid(), Uid(Good, node: "edge-2"));

        var mirror = StaticPodFile.Mirror(pod, "edge-1", "node-uid");
        Assert.Equal((pod.Uid(), "", "node-uid"), (mirror.Annotation("kubernetes.io/config.mirror"), mirror.Uid(), mirror.Items("metadata", "ownerReferences").Single().Text("uid")));
        Assert.True(StaticPodFile.IsMirror(mirror));
        Assert.False(StaticPodFile.IsStatic(mirror));
    }

    [Theory]
    [InlineData("", "it is empty")]
    [InlineData("kind: [", "line")]
    [InlineData("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", "must be one Pod of apiVersion v1, and is kind 'Deployment' of apiVersion 'apps/v1'")]
    [InlineData(Good + "---\n" + Good, "has 2 documents")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "it has no spec")]
    [InlineData("apiVersion: v1\nkind: Pod\nspec: {containers: [{name: m, image: i}]}\n", "it has no metadata.name")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}\nspec: {containers: [{name: m, image: i}]}\n", "metadata.name 'A_b'")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ../b}\nspec: {containers: [{name: m, image: i}]}\n", "metadata.namespace is '../b'")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n", "spec.containers is empty")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: ../m, image: i}]}\n", "container's name is '../m'")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: m, image: i}, {name: m, image: i}]}\n", "two containers are named 'm'")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: m}]}\n", "container 'm' has no image")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {serviceAccountName: s, containers: [{name: m, image: i}]}\n", "may not refer to API objects, and it refers to serviceaccount \"s\"")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {serviceAccount: s, containers: [{name: m, image: i}]}\n", "may not refer to API objects, and it refers to serviceaccount \"s\"")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {volumes: [{name: v, ephemeral: {volumeClaimTemplate: {}}}], containers: [{name: m, image: i}]}\n", "may not refer to API objects, and it refers to the claim of volume \"v\"")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: m, image: i, envFrom: [{secretRef: {name: s}}]}]}\n", "refers to secret \"s\"")]
    public void A_bad_file_is_named_with_its_fault(string text, string expected)
    {
        var (pod, error) = StaticPodFile.Read(text, "/m/a.yaml", "edge-1", s_now);
        Assert.Null(pod);
        Assert.Contains(expected, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, null, false, false, "Nothing")]
    [InlineData("h", null, false, true, "Create")]
    [InlineData("h", "h", false, true, "Nothing")]
    [InlineData("h", "h", true, true, "Delete")]
    [InlineData("h", "old", false, true, "Delete")]
    [InlineData("h", "", false, true, "Nothing")] // somebody's own pod
    [InlineData(null, "", false, false, "Nothing")]
    [InlineData(null, "h", false, true, "Nothing")] // until the pod has ended
    [InlineData(null, "h", true, true, "Nothing")]
    [InlineData(null, "h", false, false, "Delete")]
    public void A_mirror_is_there_as_long_as_its_pod(string? wanted, string? seen, bool deleting, bool here, string expected)
        => Assert.Equal(expected, MirrorCore.Decide(wanted, seen is null ? null : new MirrorView("u", seen.Length > 0 ? seen : null, deleting), here).ToString());

    [Fact]
    public async Task A_file_that_turns_bad_stands_for_what_it_was_also_after_a_restart()
    {
        Write("web.yaml", Good);
        Write("second.yaml", Good.Replace("busybox", "busybox:2", StringComparison.Ordinal)); // the same name
        Write(".web.yaml.swp", "kind: [");
        Write("notes.txt", "kind: [");
        Directory.CreateDirectory(Path.Combine(_folder, "folder.yaml"));
        File.CreateSymbolicLink(Path.Combine(_folder, "device.yaml"), "/dev/zero"); // would never end
        Write("big.yaml", new string('#', StaticPodFile.LengthMax + 1));
        using var folder = Folder();
        var uid = Assert.Single(await folder.ReadAsync(default)).Value.Uid();
        Assert.Equal(3, _log.All.Count);
        Assert.Contains(_log.All, line => line.Contains("device.yaml: it is not a regular file", StringComparison.Ordinal));
        Assert.Contains(_log.All, line => line.Contains("web.yaml: another file has a pod default/web-edge-1 already", StringComparison.Ordinal));
        Assert.Contains(_log.All, line => line.Contains("big.yaml: it has 1048577 bytes", StringComparison.Ordinal));

        File.Delete(Path.Combine(_folder, "web.yaml"));
        Write("second.yaml", "kind: [");
        await folder.ReadAsync(default);
        Assert.Equal(uid, Assert.Single(await folder.ReadAsync(default)).Value.Uid());
        Assert.Equal(4, _log.All.Count); // said once
        Assert.Contains("second.yaml", _log.All[3], StringComparison.Ordinal);
        Assert.EndsWith("the pod that it had before goes on", _log.All[3], StringComparison.Ordinal);

        using var restarted = Folder();
        Assert.Equal(uid, Assert.Single(await restarted.ReadAsync(default)).Value.Uid());
        File.Delete(Path.Combine(_folder, "second.yaml"));
        Assert.Empty(await restarted.ReadAsync(default));
        Assert.Empty(_meta.ListLocal("staticpod"));
    }

    [Fact]
    public async Task The_kernel_tells_of_a_change_and_a_folder_may_come_and_go()
    {
        var path = Path.Combine(_folder, "later");
        using var folder = new StaticPodFolder(path, "edge-1", TimeSpan.FromHours(1), _meta, TimeProvider.System, _log);
        Assert.True(folder.IsDue);
        Assert.Empty(await folder.ReadAsync(default));
        Assert.False(folder.IsDue);
        Directory.CreateDirectory(path);
        Assert.Empty(await folder.ReadAsync(default)); // the slow look finds it
        await File.WriteAllTextAsync(Path.Combine(path, "web.yml"), Good);
        await PodsOnContainerdTests.UntilAsync("the change is noticed", () => Task.FromResult(folder.IsDue));
        Assert.Single(await folder.ReadAsync(default));
        Directory.Delete(path, recursive: true);
        Assert.Empty(await folder.ReadAsync(default));
        Assert.Empty(_log.All);
    }

    private StaticPodFolder Folder() => new(_folder, "edge-1", TimeSpan.FromSeconds(20), _meta, TimeProvider.System, _log);

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);

    private sealed class Lines : ILogger
    {
        public List<string> All { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            => All.Add(formatter(state, exception));
    }
}
