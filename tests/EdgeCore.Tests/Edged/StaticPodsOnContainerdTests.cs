using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Xunit;
using static Edge.Core.Tests.PodsOnContainerdTests;

namespace Edge.Core.Tests;

[Collection("containerd")]
[Trait("Category", "Pods")]
public sealed class StaticPodsOnContainerdTests(ContainerdFixture containerd)
{
    private const string Text = """
        apiVersion: v1
        kind: Pod
        metadata: {name: local}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - {name: main, image: "docker.io/edge/busybox:1.0", command: [sleep, "1000"]}
        """;

    [SkippableFact]
    public async Task A_static_pod_runs_without_the_cloud_and_is_mirrored_once_there_is_one()
    {
        var folder = Path.Combine(containerd.Directory, "manifests-a");
        var file = Path.Combine(folder, "local.yaml");
        var meta = new FakeMetaStore();
        var pod = Object("local-static-a", "{}");
        string id;
        await using (var edged = Run(folder, meta))
        {
            // The folder comes later than EdgeCore, and nothing is known of a cloud or a Node.
            Directory.CreateDirectory(folder);
            await File.WriteAllTextAsync(file, Text);
            id = Id(await edged.StatusAsync(pod, "running", IsReady));
            Assert.DoesNotContain(edged.Uplink.Entries, entry => entry.Operation == "insert" && entry.Resource == "default/pod/local-static-a");
            Assert.Null(FakeUplink.Content(edged.Uplink.Entries.First(IsStatus)).At("metadata", "uid")); // the API's uid is another

            // The Node is known: the mirror is asked for, and gets the status when it is there.
            meta.Put("node", Node());
            var asked = await edged.Uplink.WaitAsync("the mirror", IsInsert);
            var mirror = FakeUplink.Content(asked);
            Assert.Equal("static-a", mirror.Text("spec", "nodeName"));
            Assert.Equal(("Node", "static-a", "uid-of-node"), Owner(mirror));
            var hash = mirror.Annotation("kubernetes.io/config.mirror")!;
            Assert.Equal(hash, mirror.Annotation("kubernetes.io/config.hash"));
            var before = edged.Uplink.Entries.Count;
            mirror["metadata"]!["uid"] = "uid-of-mirror";
            meta.Put("pod", mirror);
            await edged.StatusAsync(pod, "the status again", IsReady, before);

            // Deleted at the API: let go, and made again once it is gone. The pod itself does not notice.
            before = edged.Uplink.Entries.Count;
            var deleting = (JsonObject)mirror.DeepClone();
            deleting["metadata"]!["deletionTimestamp"] = "2026-01-01T00:00:00Z";
            meta.Put("pod", deleting);
            var delete = await edged.Uplink.WaitAsync("the delete", IsDelete, before);
            Assert.Equal("uid-of-mirror", FakeUplink.Content(delete).Text("preconditions", "uid"));
            Assert.DoesNotContain(edged.Uplink.Entries.Skip(before), IsInsert);
            meta.Delete("pod", deleting);
            Assert.Equal(hash, FakeUplink.Content(await edged.Uplink.WaitAsync("the mirror again", IsInsert, before)).Annotation("kubernetes.io/config.mirror"));
            mirror["metadata"]!["uid"] = "uid-of-second";
            meta.Put("pod", mirror);

            // A bad file changes nothing.
            await File.WriteAllTextAsync(file, "kind: [");
        }

        await using var second = Run(folder, meta);
        second.ReportAll();
        Assert.Equal(id, Id(await second.StatusAsync(pod, "running after a restart with a bad file", IsReady)));

        // Other content: another pod, and the mirror of the old one goes.
        var from = second.Uplink.Entries.Count;
        await File.WriteAllTextAsync(file, Text.Replace("1000", "2000", StringComparison.Ordinal));
        var gone = await second.Uplink.WaitAsync("the old mirror's delete", IsDelete, from);
        Assert.Equal("uid-of-second", FakeUplink.Content(gone).Text("preconditions", "uid"));
        await second.StatusAsync(pod, "the new pod", status => IsReady(status) && Id(status) != id, from);
        meta.Delete("pod", meta.List("pod").Select(stored => (JsonObject)JsonNode.Parse(stored.Json.Span)!).Single());
        var third = FakeUplink.Content(await second.Uplink.WaitAsync("the new mirror", IsInsert, from));
        third["metadata"]!["uid"] = "uid-of-third";
        meta.Put("pod", third);

        // Without the file both end, the pod first.
        from = second.Uplink.Entries.Count;
        File.Delete(file);
        gone = await second.Uplink.WaitAsync("the last mirror's delete", IsDelete, from);
        Assert.Equal("uid-of-third", FakeUplink.Content(gone).Text("preconditions", "uid"));
        using var client = containerd.Client();
        Assert.Empty(await SandboxesAsync(client, third.Annotation("kubernetes.io/config.hash")!));
    }

    [SkippableFact]
    public async Task A_pod_that_went_from_the_folder_while_EdgeCore_was_away_ends_with_its_mirror()
    {
        var folder = Directory.CreateDirectory(Path.Combine(containerd.Directory, "manifests-b")).FullName;
        var file = Path.Combine(folder, "local.json");
        await File.WriteAllTextAsync(file, """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"local"},"spec":{"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"]}],"terminationGracePeriodSeconds":1}}""");
        var meta = new FakeMetaStore();
        meta.Put("node", Node());
        JsonObject mirror;
        await using (var first = Run(folder, meta))
        {
            await first.StatusAsync(Object("local-static-a", "{}"), "running", IsReady);
            mirror = FakeUplink.Content(await first.Uplink.WaitAsync("the mirror", IsInsert));
            mirror["metadata"]!["uid"] = "uid-of-mirror";
            meta.Put("pod", mirror);
        }

        File.Delete(file);
        await using var second = Run(folder, meta);
        var gone = await second.Uplink.WaitAsync("the mirror's delete", IsDelete);
        Assert.Equal("uid-of-mirror", FakeUplink.Content(gone).Text("preconditions", "uid"));
        using var client = containerd.Client();
        await UntilAsync("nothing runs", async () => (await SandboxesAsync(client, mirror.Annotation("kubernetes.io/config.hash")!)).Count == 0);
    }

    private RunningEdged Run(string folder, FakeMetaStore meta)
        => containerd.Run("static-a", meta, edged: options => options with { StaticPodPath = folder, FileCheckFrequencySeconds = 1 });

    private static JsonObject Node()
        => new() { ["metadata"] = new JsonObject { ["namespace"] = "null", ["name"] = "static-a", ["uid"] = "uid-of-node", ["resourceVersion"] = "1" } };

    private static bool IsInsert(UplinkEntry entry) => entry is { Operation: "insert", Resource: "default/pod/local-static-a" };

    private static bool IsDelete(UplinkEntry entry) => entry is { Operation: "delete", Resource: "default/pod/local-static-a" };

    private static bool IsStatus(UplinkEntry entry) => entry.Resource == "default/podpatch/local-static-a";

    private static (string, string, string) Owner(JsonObject mirror)
    {
        var owner = mirror.Items("metadata", "ownerReferences").Single();
        return (owner.Text("kind"), owner.Text("name"), owner.Text("uid"));
    }

    private static string Id(JsonObject status) => status.Items("containerStatuses").Single().Text("containerID");
}
