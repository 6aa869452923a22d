using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.DynamicController;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Xunit;

namespace Edge.Cloud.Tests.DynamicController;

/// <summary>Requests of nodes' MetaServers at a whole cloudcore with its embedded API.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ApplicationServiceTests
{
    [Theory]
    [InlineData("GET", "/api/v1/nodes", true)]
    [InlineData("GET", "/api/v1/namespaces/default/services?watch=true", true)]
    [InlineData("GET", "/apis/discovery.k8s.io/v1/endpointslices", true)]
    [InlineData("GET", "/openid/v1/jwks", true)]
    [InlineData("GET", "/apis/apps/v1", true)]
    [InlineData("GET", "/api/v1/secrets", false)]
    [InlineData("GET", "/api/v1/namespaces/kubeedge/secrets/casecret", false)]
    [InlineData("GET", "/api/v1/namespaces/default/pods/web/log", false)]
    [InlineData("GET", "/", true)]
    [InlineData("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Da", true)]
    [InlineData("GET", "/api/v1/nodes/../secrets", false)]
    [InlineData("GET", @"/api/v1\secrets", false)]
    [InlineData("GET", @"/api/v1\namespaces\kubeedge\secrets\casecret", false)]
    [InlineData("GET", @"/apis/apps/v1\deployments", false)]
    [InlineData("GET", @"/api\v1/secrets", false)]
    [InlineData("GET", @"\api/v1", false)]
    [InlineData("GET", "api/v1", false)]
    [InlineData("GET", "/api/v1#/nodes", false)]
    [InlineData("GET", "/api/v1%2Fsecrets", false)]
    [InlineData("GET", "/api//v1", false)]
    [InlineData("GET", "/api/v1/", false)]
    [InlineData("GET", "/api/.", false)]
    [InlineData("GET", "/openapi/./v2", false)]
    [InlineData("GET", "/openapi/v2\t", false)]
    [InlineData("GET", "/openapi/v2 ", false)]
    [InlineData("GET", "/openapi/\u2025", false)]
    [InlineData("GET", "/api/v1/namespaces/default/services/x/proxy", false)]
    [InlineData("DELETE", "/api/v1/nodes/edge-1", false)]
    [InlineData("POST", "/api/v1/namespaces/default/services", false)]
    public void Node_in_its_own_name_reads_the_shape_of_the_cluster_and_nothing_else(string method, string target, bool isAllowed)
        => Assert.Equal(isAllowed, NodeReads.Refuse("edge-1", method, target, default) is null);

    [Fact]
    public void Node_asks_only_what_ServiceAccounts_may()
    {
        static string? Ask(string user) => NodeReads.Refuse("edge-1", "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Encoding.UTF8.GetBytes($$$"""{"spec":{"user":"{{{user}}}"}}"""));
        Assert.Null(Ask("system:serviceaccount:default:reader"));
        Assert.NotNull(Ask("admin"));
    }

    [Theory]
    [InlineData("get", "/core/v1/pods/default/web", "", "", "GET /api/v1/namespaces/default/pods/web")]
    [InlineData("list", "/apps/v1/deployments/default/null", """{"labelSelector":"a=b","limit":5}""", "", "GET /apis/apps/v1/namespaces/default/deployments?labelSelector=a%3Db&limit=5")]
    [InlineData("watch", "/core/v1/nodes/null/null", """{"resourceVersion":"7"}""", "", "GET /api/v1/nodes?resourceVersion=7&watch=true")]
    [InlineData("create", "/core/v1/pods/default/null", "", "", "POST /api/v1/namespaces/default/pods")]
    [InlineData("updatestatus", "/core/v1/pods/default/web", "", "", "PUT /api/v1/namespaces/default/pods/web/status")]
    [InlineData("patch", "/core/v1/pods/default/web", """{"Name":"web","PatchType":"application/merge-patch+json","Subresources":["status"]}""", "", "PATCH /api/v1/namespaces/default/pods/web/status")]
    [InlineData("delete", "/core/v1/pods/default/web", "", "", "DELETE /api/v1/namespaces/default/pods/web")]
    [InlineData("get", "/api/v1", "", "", "GET /api/v1")]
    [InlineData("fly", "/core/v1/pods/default/web", "", "not known", "")]
    [InlineData("list", "pods", "", "is not /GROUP", "")]
    [InlineData("list", "/core/v1/pods/null/null", "[", "the options", "")]
    public void Request_of_a_stock_edge_is_read_from_key_verb_and_options(string verb, string key, string option, string error, string request)
    {
        var http = StockRequest.Read(new ApplicationMessage { Key = key, Verb = verb, Option = Encoding.UTF8.GetBytes(option) }, out var said);
        Assert.Contains(error, said, StringComparison.Ordinal);
        Assert.Equal(request, http?.ToString() ?? "");
    }

    [Fact]
    public async Task Requests_go_to_the_API_with_the_callers_token_and_watches_come_back_line_by_line()
    {
        using var directory = new TempDirectory();
        await using var cloud = await WholeCloud.StartAsync(directory.Path, WholeCloud.Options with { IsDynamicControllerEnabled = true });
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate, isEdgeWire: true);
        var admin = (await File.ReadAllTextAsync(Path.Combine(directory.Path, "admin.token"))).Trim();

        async Task<ApplicationMessage> AskAsync(string verb, string method, string target, string token = "", string body = "", string id = "")
        {
            var application = new ApplicationMessage
            {
                Id = id.Length > 0 ? id : Guid.NewGuid().ToString("N"), Verb = verb, NodeName = "edge-1", Status = ApplicationMessage.InApplying, RequestBody = Encoding.UTF8.GetBytes(body),
                Http = new ApplicationHttp { Method = method, Target = target, Token = token, ContentType = "application/json" },
            };
            var message = Message.Create(TimeProvider.System, Sources.MetaServer, Groups.DynamicController, "null", ApplicationMessage.RequestResource, application.Write());
            await edge.SendAsync(message);
            var answer = await edge.UntilAsync(one => one.ParentId == message.Id);
            Assert.Equal((Operations.ApplicationResponse, Sources.DynamicController, ApplicationMessage.AnswerResource), (answer.Operation, answer.Source, answer.Resource));
            return ApplicationMessage.TryRead(answer.Content, out _)!;
        }

        static JsonNode Body(ApplicationMessage answer) => JsonNode.Parse(answer.ResponseBody.Span)!;

        var keys = await AskAsync("get", "GET", "/openid/v1/jwks");
        Assert.Equal("EC", Body(keys).Items("keys").Single().Text("kty"));
        Assert.Equal(403, (await AskAsync("list", "GET", "/api/v1/secrets")).Http!.Code);
        Assert.Equal(403, (await AskAsync("list", "GET", @"/api/v1\secrets")).Http!.Code);
        Assert.Equal(400, (await AskAsync("list", "GET", @"/api/v1\nodes", admin)).Http!.Code);
        Assert.Equal(401, (await AskAsync("list", "GET", "/api/v1/secrets", token: "nonsense")).Http!.Code);
        var list = await AskAsync("list", "GET", "/api/v1/namespaces/default/configmaps", admin);
        Assert.Equal((ApplicationMessage.Approved, 200, "ConfigMapList"), (list.Status, list.Http!.Code, Body(list).Text("kind")));
        Assert.Equal(201, (await AskAsync("create", "POST", "/api/v1/namespaces/default/configmaps", admin, """{"metadata":{"name":"one"},"data":{"a":"b"}}""")).Http!.Code);
        var missing = await AskAsync("get", "GET", "/api/v1/namespaces/default/configmaps/none", admin);
        Assert.Equal((ApplicationMessage.Rejected, "NotFound"), (missing.Status, missing.ErrorStatus.Text("reason")));

        // The parts come in order, each of whole lines, and stop when the node says so.
        var watch = await AskAsync("watch", "GET", $"/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={Body(list).Text("metadata", "resourceVersion")}", admin, id: "w1");
        Assert.Equal(ApplicationMessage.Approved, watch.Status);
        await AskAsync("create", "POST", "/api/v1/namespaces/default/configmaps", admin, """{"metadata":{"name":"two"}}""");
        var seen = new List<string>();
        for (var next = 0L; !seen.Contains("ADDED two"); next++)
        {
            var part = await PartAsync(next);
            Assert.Equal((byte)'\n', part.ResponseBody.Span[^1]);
            seen.AddRange(Encoding.UTF8.GetString(part.ResponseBody.Span).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonNode.Parse(line)!).Select(line => $"{line.Text("type")} {line["object"]!.AsObject().Name()}"));
        }

        Assert.Equal(["ADDED one", "ADDED two"], seen);
        await edge.SendAsync(Message.Create(
            TimeProvider.System, Sources.MetaServer, Groups.DynamicController, "null", ApplicationMessage.RequestResource, new ApplicationMessage { Id = "w1", Verb = "watch", Status = ApplicationMessage.Completed }.Write()));
        await edge.UntilAsync(one => Read(one) is { Id: "w1", Status: ApplicationMessage.Completed });

        async Task<ApplicationMessage> PartAsync(long sequence) => Read(await edge.UntilAsync(one => Read(one) is { Id: "w1", Status: ApplicationMessage.InProcessing } part && part.Http!.Sequence == sequence))!;

        static ApplicationMessage? Read(Message message)
            => message is { Operation: Operations.ApplicationResponse, ParentId.Length: 0 } ? ApplicationMessage.TryRead(message.Content, out _) : null;
    }
}
