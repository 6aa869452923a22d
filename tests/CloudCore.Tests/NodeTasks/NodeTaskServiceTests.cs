using System.Text.Json.Nodes;
using Edge.Cloud.NodeTasks;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Cloud.Tests.NodeTasks;

/// <summary>Jobs in a whole cloudcore, with edges on real sockets.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeTaskServiceTests
{
    private const string Job = """{"metadata": {"name": "warm"}, "spec": {"imagePrePullTemplate": {"images": ["x:1"], "nodeNames": ["edge-1"], "imageSecrets": "default/cred"}}}""";
    private const string Resource = "operations.kubeedge.io/v1alpha2/imageprepulljob/warm/node/edge-1";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Job_goes_to_its_node_and_what_that_tells_stands_in_the_status(bool isEdgeWire)
    {
        using var data = new TempDirectory();
        await using var cloud = await WholeCloud.StartAsync(data.Path, WholeCloud.Options with { IsTaskManagerEnabled = true });
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate, isEdgeWire: isEdgeWire);
        await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
        await cloud.CreateAsync(ResourceKind.Secret, """{"metadata": {"name": "cred"}, "stringData": {"key": "1"}}""");
        Assert.Equal("Forbidden", (await edge.AskAsync("query", "default/secret/cred")).Text("ErrStatus", "reason"));

        var job = await cloud.CreateAsync(TaskKind.ImagePrePull.Resource, Job);

        var task = await edge.UntilAsync("Check", Resource);
        Assert.Equal(("taskmanager", "taskmanager"), (task.Source, task.Group));
        Assert.Equal("x:1", FakeEdge.Content(task)!["imagePrePullTemplate"].Texts("images").Single());
        Assert.Equal(isEdgeWire ? job.Uid() : "", FakeEdge.Content(task).Text(NodeTaskWire.JobUid));
        // While it has the task, and only then, the node may read the Secret that the task names.
        Assert.Equal("cred", (await edge.AskAsync("query", "default/secret/cred")).Text("metadata", "name"));

        await ReportAsync(edge, Resource, new NodeTaskReport("Check", true, "2026-01-01T00:00:00Z", "", ""));
        await ReportAsync(edge, Resource, new NodeTaskReport("Pull", true, "2026-01-01T00:00:01Z", "", """[{"image":"x:1","status":"True"}]"""));

        var done = await cloud.UntilAsync(TaskKind.ImagePrePull.Resource, "the job completes", one => one.Text("status", "phase") == "Completed");
        var node = done["status"].Items("nodeStatus").Single();
        Assert.Equal(("edge-1", "Successful"), (node.Text("nodeName"), node.Text("phase")));
        Assert.Equal("Check True 2026-01-01T00:00:00Z, Pull True 2026-01-01T00:00:01Z", string.Join(", ", node.Items("actionFlow").Select(one => $"{one.Text("action")} {one.Text("status")} {one.Text("time")}")));
        Assert.Equal("x:1 True", string.Join(", ", node.Items("imageStatus").Select(one => $"{one.Text("image")} {one.Text("status")}")));
        Assert.Equal("Forbidden", (await edge.AskAsync("query", "default/secret/cred")).Text("ErrStatus", "reason"));
        var refused = await Assert.ThrowsAsync<KubeException>(() => cloud.MergeAsync(TaskKind.ImagePrePull.Resource, "warm", """{"spec": {"imagePrePullTemplate": {"images": ["y:1"]}}}"""));
        Assert.Contains("the spec of a job that has begun cannot change", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Task_goes_on_after_a_lost_link_and_a_restart_of_cloudcore()
    {
        using var data = new TempDirectory();
        var options = WholeCloud.Options with { IsTaskManagerEnabled = true };
        using (var first = await FirstRunAsync(data.Path, options))
        {
            await using var cloud = await WholeCloud.StartAsync(data.Path, options);
            await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", first, isEdgeWire: true);
            await edge.UntilAsync("Check", Resource);
            await ReportAsync(edge, Resource, new NodeTaskReport("Check", false, "", "disk is full", ""));

            var failed = await cloud.UntilAsync(TaskKind.ImagePrePull.Resource, "the job fails", one => one.Text("status", "phase") == "Failure");
            Assert.Equal("Check failed: disk is full", failed["status"].Items("nodeStatus").Single().Text("reason"));
        }
    }

    [Fact]
    public async Task Node_may_not_report_for_another_one()
    {
        using var data = new TempDirectory();
        await using var cloud = await WholeCloud.StartAsync(data.Path, WholeCloud.Options with { IsTaskManagerEnabled = true });
        using var certificate = await cloud.EnrolAsync("edge-2");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-2", certificate, isEdgeWire: true);
        var answer = await ReportAsync(edge, Resource, new NodeTaskReport("Pull", true, "", "", ""));
        Assert.Equal("Forbidden", FakeEdge.Content(answer!).Text("ErrStatus", "reason"));
    }

    private static async Task<System.Security.Cryptography.X509Certificates.X509Certificate2> FirstRunAsync(string data, Configuration.CloudCoreOptions options)
    {
        await using var cloud = await WholeCloud.StartAsync(data, options);
        var certificate = await cloud.EnrolAsync("edge-1");
        await using (var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate, isEdgeWire: true))
        {
            await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
            await cloud.CreateAsync(TaskKind.ImagePrePull.Resource, Job);
            await edge.UntilAsync("Check", Resource);
        }

        // The link is lost, and the next one brings it again.
        await using (var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate, isEdgeWire: true))
            await edge.UntilAsync("Check", Resource);
        return certificate;
    }

    // An Edge peer's report is answered once it is stored.
    private static async Task<Message?> ReportAsync(FakeEdge edge, string resource, NodeTaskReport report)
    {
        var message = await edge.SendAsync(Sources.WebSocket, NodeTaskWire.HubGroup, NodeTaskWire.Report, resource, JsonNode.Parse(report.Write()));
        return edge.IsEdgeWire ? await edge.UntilAsync(one => one.ParentId == message.Id) : null;
    }
}
