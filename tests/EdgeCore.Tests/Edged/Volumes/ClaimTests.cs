using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.Volumes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class ClaimTests
{
    private const string Local = """{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"local":{"path":"/data/one"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["node-1"]}]}]}}}}""";
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly ConcurrentDictionary<string, string> _cloud = new();

    public ClaimTests() => _uplink.Answer = request => _cloud.TryGetValue(request.Resource, out var json) ? JsonNode.Parse(json) : NotFound(request.Resource);

    [Theory]
    [InlineData("""{"metadata":{"name":"data","uid":"c-1"},"spec":{},"status":{"phase":"Pending"}}""", "PVC is not bound")]
    [InlineData("""{"metadata":{"name":"data","uid":"c-1"},"spec":{"volumeName":"pv-1"},"status":{"phase":"Lost"}}""", "PVC is not bound")]
    [InlineData("""{"metadata":{"name":"data","uid":"c-1","deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"volumeName":"pv-1"},"status":{"phase":"Bound"}}""", "PVC is being deleted")]
    [InlineData("""{"metadata":{"name":"data","uid":"c-1"},"spec":{},"status":{"phase":"Bound"}}""", "PVC has empty pvc.Spec.VolumeName")]
    [InlineData("""{"metadata":{"name":"data","uid":"c-2"},"spec":{"volumeName":"pv-1"},"status":{"phase":"Bound"}}""", "found PV object pv-1 but its pvc.Spec.ClaimRef.UID c-1 does not point to claim.UID c-2")]
    [InlineData("""{"metadata":{"name":"data","uid":"c-1"},"spec":{"volumeName":"pv-2"},"status":{"phase":"Bound"}}""", "failed to fetch PV pv-2 from API server: null/persistentvolume/pv-2 not found")]
    [InlineData(null, "failed to fetch PVC from API server: default/persistentvolumeclaim/data not found")]
    public async Task A_claim_that_has_no_volume_says_why(string? claim, string problem)
    {
        if (claim is not null)
            _cloud["default/persistentvolumeclaim/data"] = claim;
        _cloud["null/persistentvolume/pv-1"] = Local;
        var found = (await Resolver().ResolveAsync(Pod(), true, default))["data"];
        Assert.True(found.IsUnresolved);
        Assert.Equal("error processing PVC default/data: " + problem, found.Problem);
    }

    [Theory]
    [InlineData(Local, "node-1", "/data/one", "")]
    [InlineData(Local, "node-2", "", "MountVolume.NodeAffinity check failed for volume \"pv-1\" : no matching NodeSelectorTerms")]
    [InlineData("""{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"hostPath":{"path":"/srv","type":"Directory"}}}""", "node-2", "/srv", "")]
    [InlineData("""{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"hostPath":{"path":"/srv/../etc"}}}""", "node-1", "", "MountVolume.SetUp failed for volume \"pv-1\" : path \"/srv/../etc\" must be absolute and without ..")]
    [InlineData("""{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"volumeMode":"Block","local":{"path":"/dev/sdb"}}}""", "node-1", "", "MapVolume failed for volume \"pv-1\" : raw block volumes are not supported on this node")]
    [InlineData("""{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"nfs":{"server":"s","path":"/"}}}""", "node-1", "", "MountVolume.SetUp failed for volume \"pv-1\" : a node of Edge has volumes of kind local and hostPath only")]
    public async Task A_bound_volume_lies_where_it_says_when_the_node_may_have_it(string volume, string node, string path, string problem)
    {
        _cloud["default/persistentvolumeclaim/data"] = Bound("c-1", "pv-1");
        _cloud["null/persistentvolume/pv-1"] = volume;
        _meta.Put("node", (JsonObject)JsonNode.Parse("""{"metadata":{"namespace":"null","name":"NODE","uid":"n","labels":{"kubernetes.io/hostname":"NODE"}}}""".Replace("NODE", node, StringComparison.Ordinal))!);
        var found = (await Resolver(node).ResolveAsync(Pod(), true, default))["data"];
        Assert.Equal((path, problem, false), (found.Path, found.Problem, found.IsUnresolved));
    }

    [Fact]
    public async Task Claims_are_kept_for_when_the_cloud_is_away_and_asked_anew_for_a_new_pod()
    {
        _cloud["default/persistentvolumeclaim/data"] = Bound("c-1", "pv-1");
        _cloud["null/persistentvolume/pv-1"] = """{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"hostPath":{"path":"/one"}}}""";
        Assert.Equal("/one", (await Resolver().ResolveAsync(Pod(), true, default))["data"].Path);
        Assert.Equal(2, _uplink.Requests.Count);
        Assert.Equal("/one", (await Resolver().ResolveAsync(Pod(), false, default))["data"].Path);
        Assert.Equal(2, _uplink.Requests.Count);
        _uplink.IsConnected = false;
        Assert.Equal("/one", (await Resolver().ResolveAsync(Pod(), true, default))["data"].Path);

        // Another claim of the same name, bound to another volume.
        _uplink.IsConnected = true;
        _cloud["default/persistentvolumeclaim/data"] = Bound("c-2", "pv-2");
        _cloud["null/persistentvolume/pv-2"] = """{"metadata":{"name":"pv-2"},"spec":{"claimRef":{"uid":"c-2"},"hostPath":{"path":"/two"}}}""";
        Assert.Equal("/two", (await Resolver().ResolveAsync(Pod(), true, default))["data"].Path);
        await Resolver().ForgetUnusedAsync([Pod().Json], default);
        Assert.Equal(["default/persistentvolumeclaim/data", "null/persistentvolume/pv-2"], _meta.ListLocal("persistentvolume").Keys.Order());
        await Resolver().ForgetUnusedAsync([], default);
        Assert.Empty(_meta.ListLocal("persistentvolume"));

        // The cloud says that it is gone: what was kept counts no more.
        await Resolver().ResolveAsync(Pod(), true, default);
        _cloud.Clear();
        Assert.True((await Resolver().ResolveAsync(Pod(), true, default))["data"].IsUnresolved);
        _uplink.IsConnected = false;
        Assert.Equal("error processing PVC default/data: failed to fetch PVC from API server: the cloud is not connected", (await Resolver().ResolveAsync(Pod(), false, default))["data"].Problem);
    }

    internal static string Bound(string uid, string volume)
        => """{"metadata":{"namespace":"default","name":"data","uid":"UID"},"spec":{"volumeName":"PV"},"status":{"phase":"Bound"}}""".Replace("UID", uid, StringComparison.Ordinal).Replace("PV", volume, StringComparison.Ordinal);

    internal static JsonNode NotFound(string resource)
        => new JsonObject { ["ErrStatus"] = new JsonObject { ["status"] = "Failure", ["reason"] = "NotFound", ["message"] = $"{resource} not found", ["code"] = 404 } };

    private ClaimResolver Resolver(string node = "node-1") => new(_meta, new CloudQuery(_uplink, TimeProvider.System), node, NullLogger.Instance);

    private static PodDescription Pod()
    {
        Assert.True(PodDescription.TryRead(PodsOnContainerdTests.Pod("web", """{"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data"}}],"containers":[{"name":"main","image":"x"}]}"""), out var pod, out _));
        return pod;
    }
}
