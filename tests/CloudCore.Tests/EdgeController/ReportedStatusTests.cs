using System.Text.Json.Nodes;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Xunit;

namespace Edge.Cloud.Tests;

/// <summary>Two CloudCores that write what one edge reports of one pod: A had its report in hand when the node went to B.</summary>
[Trait("Category", "Sync")]
public sealed class ReportedStatusTests
{
    private readonly FakeKube _kube = new();

    [Fact]
    public async Task A_late_older_report_changes_nothing()
    {
        var seenByA = await PodAsync();
        await WriteAsync(seenByA, "Running", version: 6);
        var after = await WriteAsync(seenByA, "Pending", version: 5);
        Assert.Equal("Running", after.Text("status", "phase"));
        Assert.Equal("Running", (await StoredAsync()).Text("status", "phase"));
        Assert.Equal(6, ReportedStatus.VersionOf(await StoredAsync()));
    }

    [Fact]
    public async Task An_older_report_whose_write_was_under_way_is_refused_by_the_API_and_given_up()
    {
        var seenByA = await PodAsync();
        var isFirst = true;
        _kube.OnWrite = (_, _, _) =>
        {
            if (!isFirst)
                return;
            // B writes after A has looked and before A's write arrives.
            isFirst = false;
            WriteAsync(seenByA, "Running", version: 6).GetAwaiter().GetResult();
        };
        await WriteAsync(seenByA, "Pending", version: 5);
        Assert.False(isFirst);
        Assert.Equal("Running", (await StoredAsync()).Text("status", "phase"));
    }

    [Fact]
    public async Task A_newer_report_is_written_whoever_changed_the_pod_meanwhile()
    {
        var seen = await PodAsync();
        await _kube.PatchAsync(ResourceKind.Pod, "default", "web", PatchKind.Merge, """{"metadata":{"labels":{"a":"b"}}}"""u8.ToArray(), null, default);
        await WriteAsync(seen, "Running", version: 5);
        Assert.Equal("Running", (await StoredAsync()).Text("status", "phase"));
        Assert.Equal("b", (await StoredAsync()).Label("a"));
    }

    [Fact]
    public async Task The_same_report_is_written_again()
    {
        var seen = await PodAsync();
        await WriteAsync(seen, "Running", version: 5);
        await _kube.PatchAsync(ResourceKind.Pod, "default", "web", PatchKind.Merge, """{"status":{"phase":"Unknown"}}"""u8.ToArray(), "status", default);
        await WriteAsync(await StoredAsync(), "Running", version: 5);
        Assert.Equal("Running", (await StoredAsync()).Text("status", "phase"));
    }

    [Fact]
    public async Task A_report_of_a_pod_that_was_made_again_is_a_conflict()
    {
        var seen = await PodAsync();
        await _kube.DeleteAsync(ResourceKind.Pod, "default", "web", null, default);
        await PodAsync();
        var refusal = await Assert.ThrowsAsync<KubeException>(() => WriteAsync(seen, "Failed", version: 5));
        Assert.Equal(409, refusal.Code);
        Assert.Equal("", (await StoredAsync()).Text("status", "phase"));
    }

    [Fact]
    public async Task A_pod_that_others_change_each_time_is_to_be_reported_again()
    {
        var seen = await PodAsync();
        var number = 0;
        var isInner = false;
        _kube.OnWrite = (_, _, _) =>
        {
            if (isInner)
                return;
            isInner = true;
            var patch = new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { ["n"] = $"{++number}" } } };
            _kube.PatchAsync(ResourceKind.Pod, "default", "web", PatchKind.Merge, JsonBytes.Of(patch), null, default).GetAwaiter().GetResult();
            isInner = false;
        };
        var refusal = await Assert.ThrowsAsync<KubeException>(() => WriteAsync(seen, "Running", version: 5));
        Assert.Equal(503, refusal.Code);
    }

    [Fact]
    public async Task A_report_without_a_version_leaves_no_mark()
    {
        await WriteAsync(await PodAsync(), "Running", version: 0);
        Assert.Equal("Running", (await StoredAsync()).Text("status", "phase"));
        Assert.Empty((await StoredAsync()).Items("status", "conditions"));
    }

    private Task<JsonObject> PodAsync() => _kube.CreateAsync(ResourceKind.Pod, "default", Support.Cloud.PodOf("web", "edge-1"), default);

    private Task<JsonObject> StoredAsync() => _kube.GetAsync(ResourceKind.Pod, "default", "web", default);

    private Task<JsonObject> WriteAsync(JsonObject known, string phase, long version) => ReportedStatus.PatchAsync(
        _kube, ResourceKind.Pod, known, new JsonObject { ["status"] = new JsonObject { ["phase"] = phase } }, version, default);
}
