using System.Text;
using Edge.Cloud.NodeGroups;
using Edge.Cloud.Observability;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.NodeGroups;

/// <summary>The controller: over an API in memory where Deployments are wanted, and over the embedded one.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeGroupControllerTests
{
    private const string App = """
        {"metadata": {"name": "web"}, "spec": {
          "workloadTemplate": {"manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}, "data": {"a": "1"}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}]},
          "workloadScope": {"targetNodeGroups": [{"name": "town"}]}}}
        """;

    [Fact]
    public async Task Group_labels_its_nodes_and_lets_them_go_with_their_pods_when_it_is_deleted()
    {
        using var data = new TempDirectory();
        await using var cloud = await WholeCloud.StartAsync(data.Path);
        await cloud.CreateAsync(ResourceKind.Node, """{"metadata": {"name": "edge-1"}}""");
        await cloud.CreateAsync(AppKinds.NodeGroup, """{"metadata": {"name": "town"}, "spec": {"nodes": ["edge-1", "edge-9"]}}""");
        await cloud.UntilAsync(ResourceKind.Node, "the label of edge-1", node => node.Label(AppKinds.BelongingTo) == "town");
        var group = await cloud.UntilAsync(AppKinds.NodeGroup, "the status", one => one.Items("status", "nodeStatuses").Count() == 2);
        Assert.Equal(["edge-1 Succeeded", "edge-9 Failed"], group.Items("status", "nodeStatuses").Select(one => $"{one.Text("nodeName")} {one.Text("selectionStatus")}"));
        await cloud.CreateAsync(ResourceKind.Pod, """
            {"metadata": {"name": "inside"}, "spec": {"nodeName": "edge-1", "nodeSelector": {"apps.kubeedge.io/belonging-to": "town"}, "containers": [{"name": "c", "image": "x"}]}}
            """);
        await cloud.CreateAsync(ResourceKind.Pod, """{"metadata": {"name": "anywhere"}, "spec": {"nodeName": "edge-1", "containers": [{"name": "c", "image": "x"}]}}""");

        await cloud.Kube.DeleteAsync(AppKinds.NodeGroup, null, "town", null, CancellationToken.None);

        await cloud.UntilAsync(ResourceKind.Node, "edge-1 without label", node => node.Name() == "edge-1" && node.Label(AppKinds.BelongingTo) is null);
        await Eventually.HoldsAsync("the group is gone", async () => await cloud.Kube.TryGetAsync(AppKinds.NodeGroup, null, "town", CancellationToken.None) is null);
        await Eventually.HoldsAsync("the pod of the group goes", async () => await cloud.Kube.TryGetAsync(ResourceKind.Pod, "default", "inside", CancellationToken.None) is not { } pod || pod.IsDeleting());
        Assert.False((await cloud.GetAsync(ResourceKind.Pod, "anywhere")).IsDeleting());
    }

    [Fact]
    public async Task Application_makes_changes_removes_and_at_last_leaves_nothing()
    {
        using var data = new TempDirectory();
        await using var cloud = await WholeCloud.StartAsync(data.Path);
        await cloud.CreateAsync(AppKinds.EdgeApplication, App);
        await cloud.UntilAsync(ResourceKind.ConfigMap, "the ConfigMap", one => one.Name() == "page" && one.Text("data", "a") == "1");
        await cloud.UntilAsync(ResourceKind.Service, "the Service", one => one.Name() == "web" && one.Annotation(AppKinds.Topology) == "range-nodegroup");
        await cloud.UntilAsync(AppKinds.EdgeApplication, "both are available", one => one.Items("status", "workloadStatus").Count(state => state.Text("conditions") == "Available") == 2);

        await cloud.MergeAsync(AppKinds.EdgeApplication, "web", """
            {"spec": {"workloadTemplate": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}, "data": {"b": "2"}}]}}}
            """);
        await cloud.UntilAsync(ResourceKind.ConfigMap, "the changed ConfigMap", one => one.Name() == "page" && one.Text("data", "b") == "2" && one.Text("data", "a").Length == 0);
        await Eventually.HoldsAsync("the Service goes", async () => await cloud.Kube.TryGetAsync(ResourceKind.Service, "default", "web", CancellationToken.None) is null);

        await cloud.Kube.DeleteAsync(AppKinds.EdgeApplication, "default", "web", null, CancellationToken.None);
        await Eventually.HoldsAsync("the ConfigMap goes", async () => await cloud.Kube.TryGetAsync(ResourceKind.ConfigMap, "default", "page", CancellationToken.None) is null);
    }

    [Fact]
    public async Task Object_of_somebody_else_is_not_taken_over_and_the_user_is_told()
    {
        using var data = new TempDirectory();
        await using var cloud = await WholeCloud.StartAsync(data.Path);
        await cloud.CreateAsync(ResourceKind.ConfigMap, """{"metadata": {"name": "page"}, "data": {"a": "mine"}}""");

        await cloud.CreateAsync(AppKinds.EdgeApplication, App);

        var told = await cloud.UntilAsync(ResourceKind.Event, "the event", one => one.Text("reason") == "NotApplied");
        Assert.Contains("manifests[0], ConfigMap 'page': exists and is not this EdgeApplication's", told.Text("message"), StringComparison.Ordinal);
        Assert.Equal("mine", (await cloud.GetAsync(ResourceKind.ConfigMap, "page")).Text("data", "a"));
        await cloud.UntilAsync(AppKinds.EdgeApplication, "one of two", one => string.Join(' ', one.Items("status", "workloadStatus").Select(state => state.Text("conditions"))) == "Processing Available");
    }

    [Fact]
    public async Task Deployment_of_each_group_is_kept_and_its_state_is_the_applications()
    {
        var kube = new FakeKube();
        await using var events = new EventRecorder(kube, TimeProvider.System, new HubMetrics(), NullLogger.Instance);
        using var stop = new CancellationTokenSource();
        var running = new NodeGroupController(kube, events, TimeProvider.System, new Random(1), NullLogger.Instance).RunAsync(stop.Token);
        var app = Manifests.Parse(await File.ReadAllTextAsync(Path.Combine(Edge.Local.Processes.Executables.SourceTree!, "docs", "examples", "nodegroups", "edgeapplication.yaml"))).Single();
        await kube.CreateAsync(AppKinds.EdgeApplication, "default", app, CancellationToken.None);

        await Eventually.HoldsAsync("the Deployments", async () => (await kube.ListAsync(AppKinds.Deployment, "default", new ListOptions(), CancellationToken.None)).Items.Count == 2);
        var hangzhou = await kube.GetAsync(AppKinds.Deployment, "default", "web-hangzhou", CancellationToken.None);
        Assert.Equal(2, hangzhou.Number(0, "spec", "replicas"));
        Assert.Equal("TOWN", hangzhou.Items("spec", "template", "spec", "containers").Single().Items("env").Single().Text("name"));
        var beijing = await kube.GetAsync(AppKinds.Deployment, "default", "web-beijing", CancellationToken.None);
        Assert.Equal("registry.beijing.example:5000/busybox:1.36", beijing.Items("spec", "template", "spec", "containers").Single().Text("image"));
        async Task<string> StateAsync(string name)
            => (await kube.GetAsync(AppKinds.EdgeApplication, "default", "web", CancellationToken.None)).Items("status", "workloadStatus")
                .FirstOrDefault(one => one.Text("identifier", "name") == name).Text("conditions");
        await Eventually.HoldsAsync("processing", async () => await StateAsync("web-beijing") == "Processing");

        await kube.PatchAsync(
            AppKinds.Deployment, "default", "web-beijing", PatchKind.Merge, Encoding.UTF8.GetBytes("""{"status": {"availableReplicas": 1}}"""), "status", CancellationToken.None);

        await Eventually.HoldsAsync("available", async () => await StateAsync("web-beijing") == "Available");
        Assert.Equal("Processing", await StateAsync("web-hangzhou"));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }
}
