using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Router;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Cloud.Tests.Router;

/// <summary>The router on real sockets, over the embedded API: an edge that speaks the wire on the one side, HTTP on the other.</summary>
[Trait("Category", "Kubernetes")]
public sealed class RouterTests : IDisposable
{
    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Nobody_comes_in_without_the_token_and_the_token_is_not_passed_on()
    {
        await using var cloud = await StartAsync(isInsecure: false);
        await using var peer = await HttpPeer.StartAsync();
        await EndsAsync(cloud);
        await RuleAsync(cloud, "across", "rest", """{"path": "/a"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/there"}""");
        using var node = await cloud.EnrolAsync("edge-1");

        using var anonymous = FakeEdge.Http();
        Assert.Equal(HttpStatusCode.Unauthorized, (await anonymous.GetAsync(Url(cloud, "edge-1/default/a"))).StatusCode);
        using var asNode = FakeEdge.Http(node);
        Assert.Equal(HttpStatusCode.Unauthorized, (await asNode.GetAsync(Url(cloud, "edge-1/default/a"))).StatusCode);
        anonymous.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", "");
        Assert.Equal(HttpStatusCode.Unauthorized, (await anonymous.GetAsync(Url(cloud, "edge-1/default/a"))).StatusCode);
        Assert.Empty(peer.Requests);

        var secret = await cloud.Kube.GetAsync(ResourceKind.Secret, "kubeedge", "routertoken", CancellationToken.None);
        anonymous.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Encoding.UTF8.GetString(Convert.FromBase64String(secret.Text("data", "token"))));
        peer.Answer = _ => (202, "taken");
        var answer = await UntilAsync(() => anonymous.PostAsync(Url(cloud, "edge-1/default/a/b?c=1"), new StringContent("hello")), one => one.StatusCode == HttpStatusCode.Accepted);
        Assert.Equal("taken", await answer.Content.ReadAsStringAsync());
        Assert.Equal("yes", answer.Headers.GetValues("X-Peer").Single());
        var request = peer.Requests.Last();
        Assert.Equal(("POST", "/there/b?c=1", "hello"), (request.Method, request.Path, request.Body));
        Assert.False(request.Headers.ContainsKey("Authorization"));
        Assert.Equal(HttpStatusCode.NotFound, (await anonymous.GetAsync(Url(cloud, "edge-1/default/none"))).StatusCode);

        // A token of one's own, without a restart.
        await cloud.Kube.PatchAsync(ResourceKind.Secret, "kubeedge", "routertoken", PatchKind.Merge, """{"data":{"token":"bmV3"}}"""u8.ToArray(), null, CancellationToken.None);
        anonymous.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", "new");
        await UntilAsync(() => anonymous.PostAsync(Url(cloud, "edge-1/default/a"), new StringContent("hello")), one => one.StatusCode == HttpStatusCode.Accepted);
    }

    [Fact]
    public async Task Stock_edge_gets_subscriptions_publishes_and_requests_as_KubeEdge_sends_them()
    {
        await using var cloud = await StartAsync();
        await EndsAsync(cloud);
        await RuleAsync(cloud, "up", "bus", """{"topic": "sensors", "node_name": "edge-1"}""", "rest", """{"resource": "http://127.0.0.1:1/"}""");
        await RuleAsync(cloud, "down", "rest", """{"path": "/cmd"}""", "bus", """{"topic": "line/cmd"}""");
        await RuleAsync(cloud, "call", "rest", """{"path": "/svc"}""", "service", """{"path": "/api"}""");
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate);

        var subscribe = await edge.UntilAsync(Operations.Subscribe, "default/sensors");
        Assert.Equal(("router_eventbus", "user", ""), (subscribe.Source, subscribe.Group, subscribe.ParentId));

        using var http = new HttpClient();
        var sent = await UntilAsync(() => http.PostAsync(Url(cloud, "edge-1/default/cmd/press"), new StringContent("on")), one => one.StatusCode == HttpStatusCode.OK);
        Assert.Equal("message delivered", await sent.Content.ReadAsStringAsync());
        var publish = await edge.UntilAsync(Operations.Publish, "line/cmd/press");
        Assert.Equal("on", FakeEdge.Content(publish)!.GetValue<string>());

        var asking = http.PutAsync(Url(cloud, "edge-1/default/svc/x?y=1"), new StringContent("q"));
        var request = await edge.UntilAsync("PUT", "8080:/api/x?y=1");
        Assert.Equal(("router_servicebus", "user"), (request.Source, request.Group));
        await edge.SendAsync(Message.Create(
            TimeProvider.System, "servicebus", "user", Operations.Upload, "", """{"header":{"X-Own":["1"]},"status_code":418,"body":"YW5zd2Vy"}"""u8.ToArray()) with { ParentId = request.Id });
        var answer = await asking;
        Assert.Equal(("418", "answer", "1"), ($"{(int)answer.StatusCode}", await answer.Content.ReadAsStringAsync(), answer.Headers.GetValues("X-Own").Single()));

        await cloud.Kube.DeleteAsync(RuleKinds.Rule, "default", "up", null, CancellationToken.None);
        await edge.UntilAsync(Operations.Unsubscribe, "default/sensors");
        await cloud.UntilAsync(RuleKinds.Rule, "the count of 'down'", one => one.Name() == "down" && one.Number(0, "status", "successMessages") == 1);
    }

    [Fact]
    public async Task Upload_is_answered_once_its_target_took_it_and_is_not_posted_twice()
    {
        await using var cloud = await StartAsync();
        await using var peer = await HttpPeer.StartAsync();
        await EndsAsync(cloud);
        await RuleAsync(cloud, "up", "bus", """{"topic": "sensors", "node_name": "edge-1"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/in"}""");
        await using var edge = await EdgeWireAsync(cloud);
        var topics = await edge.UntilAsync(one => one is { Operation: Operations.Update, Resource: "rules/topics" } && FakeEdge.Content(one) is JsonArray { Count: > 0 });
        Assert.Equal("""["default/sensors"]""", Encoding.UTF8.GetString(topics.Content.Span));

        // The target does not work: the edge is told to keep it.
        peer.Answer = _ => (500, "");
        var upload = await UploadAsync(edge, "default/sensors", """{"t":1}""", version: 1);
        var failed = await edge.UntilAsync(one => one.ParentId == upload.Id);
        Assert.Equal("ServiceUnavailable", FakeEdge.Content(failed).Text("ErrStatus", "reason"));

        peer.Answer = _ => (200, "");
        await edge.SendAsync(upload);
        var taken = await edge.UntilAsync(one => one.ParentId == upload.Id && one != failed, orBefore: false);
        Assert.Equal("\"OK\"", Encoding.UTF8.GetString(taken.Content.Span));
        var last = peer.Requests.Last();
        Assert.Equal(("POST", "/in", """{"t":1}""", "edge-1"), (last.Method, last.Path, last.Body, last.Headers["X-Edge-Node"]));
        Assert.StartsWith("edge-1:1:", Assert.Single(peer.Requests.Select(request => request.Headers["X-Edge-Message-Id"]).Distinct()), StringComparison.Ordinal);
        Assert.StartsWith("application/json", last.Headers["Content-Type"], StringComparison.Ordinal);

        // The answer was lost, say.
        var before = peer.Requests.Count;
        await edge.SendAsync(upload);
        await edge.UntilAsync(one => one.ParentId == upload.Id, orBefore: false);
        Assert.Equal(before, peer.Requests.Count);

        // One that it will never take is not kept for ever.
        peer.Answer = _ => (422, "");
        var bad = await UploadAsync(edge, "default/sensors", "bad", version: 2);
        Assert.Equal("BadRequest", FakeEdge.Content(await edge.UntilAsync(one => one.ParentId == bad.Id)).Text("ErrStatus", "reason"));
        var none = await UploadAsync(edge, "default/nobody", "x", version: 3);
        Assert.Equal("MethodNotAllowed", FakeEdge.Content(await edge.UntilAsync(one => one.ParentId == none.Id)).Text("ErrStatus", "reason"));

        var rule = await cloud.UntilAsync(RuleKinds.Rule, "the figures", one => one.Number(0, "status", "successMessages") == 1 && one.Number(0, "status", "failMessages") == 2);
        Assert.Contains("answered 500", rule.Texts("status", "errors").First(), StringComparison.Ordinal);
        Assert.Contains("answered 422", rule.Texts("status", "errors").Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Upload_that_comes_again_under_another_id_is_posted_only_where_it_was_not_taken()
    {
        await using var cloud = await StartAsync();
        await using var ready = await HttpPeer.StartAsync();
        await using var picky = await HttpPeer.StartAsync();
        await using var broken = await HttpPeer.StartAsync();
        picky.Answer = _ => (422, "");
        broken.Answer = _ => (503, "");
        await EndsAsync(cloud);
        foreach (var (name, peer) in new[] { ("a-ready", ready), ("b-broken", broken), ("c-picky", picky) })
            await RuleAsync(cloud, name, "bus", """{"topic": "sensors", "node_name": "edge-1"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/"}""");
        await using var edge = await EdgeWireAsync(cloud);
        // Until the router has all three: each of these is another upload.
        for (var version = 1; picky.Requests.Count == 0 || ready.Requests.Count == 0 || broken.Requests.Count == 0; version++)
            await AnswerOfAsync(edge, await UploadAsync(edge, "default/sensors", "probe", version));

        // As an edge does after a failed answer and after its restart: the version stays, the id does not.
        for (var i = 0; i < 3; i++)
            Assert.Equal("ServiceUnavailable", await AnswerOfAsync(edge, await UploadAsync(edge, "default/sensors", "one", version: 1000)));
        broken.Answer = _ => (200, "");
        // The worst that happened, whenever it did.
        Assert.Equal("BadRequest", await AnswerOfAsync(edge, await UploadAsync(edge, "default/sensors", "one", version: 1000)));
        Assert.Equal("BadRequest", await AnswerOfAsync(edge, await UploadAsync(edge, "default/sensors", "one", version: 1000)));

        Assert.Equal((1, 10, 1), (Of(ready).Count, Of(broken).Count, Of(picky).Count)); // three tries at each failure
        Assert.Single(new[] { ready, picky, broken }.SelectMany(Of).Select(request => request.Headers["X-Edge-Message-Id"]).Distinct());

        // A queue that was lost, and its clock set back: another message has the version.
        picky.Answer = _ => (200, "");
        Assert.Equal("OK", await AnswerOfAsync(edge, await UploadAsync(edge, "default/sensors", "another", version: 1000)));
        Assert.Equal("another", ready.Requests.Last().Body);

        static List<PeerRequest> Of(HttpPeer peer) => [.. peer.Requests.Where(request => request.Body == "one")];
    }

    [Fact]
    public async Task Upload_that_comes_again_while_it_is_under_way_is_posted_once_and_the_last_to_send_it_is_answered()
    {
        await using var cloud = await StartAsync();
        await using var peer = await HttpPeer.StartAsync();
        using var asked = new SemaphoreSlim(0);
        using var go = new SemaphoreSlim(0);
        await EndsAsync(cloud);
        await RuleAsync(cloud, "up", "bus", """{"topic": "sensors", "node_name": "edge-1"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/"}""");
        await using var before = await EdgeWireAsync(cloud);
        await before.UntilAsync(one => one is { Operation: Operations.Update, Resource: "rules/topics" } && FakeEdge.Content(one) is JsonArray { Count: > 0 });
        peer.Answer = _ =>
        {
            asked.Release();
            Assert.True(go.Wait(TimeSpan.FromSeconds(60)), "nobody let the target answer");
            return (200, "");
        };
        await UploadAsync(before, "default/sensors", "one", version: 7);
        Assert.True(await asked.WaitAsync(TimeSpan.FromSeconds(30)), "the target was not asked");

        await using var edge = await EdgeWireAsync(cloud);
        var again = await UploadAsync(edge, "default/sensors", "one", version: 7);
        // Taken in the order in which they come, and this one is answered at once.
        var none = await UploadAsync(edge, "default/nobody", "x", version: 8);
        await AnswerOfAsync(edge, none);
        go.Release();
        Assert.Equal("OK", await AnswerOfAsync(edge, again));
        Assert.Single(peer.Requests);
    }

    [Fact]
    public async Task Application_at_the_edge_gets_the_answer_of_the_clouds_service()
    {
        await using var cloud = await StartAsync();
        await using var peer = await HttpPeer.StartAsync();
        peer.Answer = request => (200, $"got {request.Body}");
        await EndsAsync(cloud);
        await RuleAsync(cloud, "ask", "service", """{"target_url": "http://svc/x", "node_name": "edge-1"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/q"}""");
        await using var edge = await EdgeWireAsync(cloud);
        await edge.UntilAsync(one => one is { Operation: Operations.Update, Resource: "rules/urls" } && FakeEdge.Content(one) is JsonArray { Count: > 0 });

        var asked = await edge.SendAsync("servicebus", "user", Operations.Upload, "http://svc/x", JsonValue.Create("42"));
        var answer = await edge.UntilAsync(one => one.ParentId == asked.Id);
        Assert.Equal((Operations.Response, "got 42"), (answer.Operation, FakeEdge.Content(answer)!.GetValue<string>()));

        var unknown = await edge.SendAsync("servicebus", "user", Operations.Upload, "http://else/", JsonValue.Create("42"));
        Assert.Equal(Operations.Error, (await edge.UntilAsync(one => one.ParentId == unknown.Id)).Operation);
    }

    [Fact]
    public async Task Request_reaches_what_is_below_the_rules_path_and_nothing_else()
    {
        await using var cloud = await StartAsync();
        await using var peer = await HttpPeer.StartAsync();
        await EndsAsync(cloud);
        await RuleAsync(cloud, "across", "rest", """{"path": "/a"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/there"}""");
        using var http = new HttpClient();
        await UntilAsync(() => http.GetAsync(Url(cloud, "edge-1/default/a/first")), one => one.StatusCode == HttpStatusCode.OK);

        foreach (var bad in (string[])["..%5C..%5Cadmin", "%2E%2E/%2E%2E/admin", "..%2Fadmin", @"..\admin"])
            Assert.StartsWith("HTTP/1.1 400", await RawAsync(cloud, $"/edge-1/default/a/{bad}"), StringComparison.Ordinal);
        Assert.All(peer.Requests, request => Assert.Equal("/there/first", request.Path));
        Assert.StartsWith("HTTP/1.1 200", await RawAsync(cloud, "/edge-1/default/a/x%3Fy%23z?q=%2F"), StringComparison.Ordinal);
        Assert.Equal("/there/x%3Fy%23z?q=%2F", peer.Requests.Last().Path);
    }

    [Fact]
    public async Task Rule_without_its_endpoint_says_so_and_works_once_it_is_there()
    {
        await using var cloud = await StartAsync();
        await using var peer = await HttpPeer.StartAsync();
        await RuleAsync(cloud, "early", "rest", """{"path": "/a"}""", "rest", $$"""{"resource": "http://127.0.0.1:{{peer.Port}}/"}""");
        var rule = await cloud.UntilAsync(RuleKinds.Rule, "the problem", one => one.Texts("status", "errors").Any());
        Assert.Contains("not used: its source, RuleEndpoint 'rest', is not there", rule.Texts("status", "errors").Single(), StringComparison.Ordinal);

        await EndsAsync(cloud);
        using var http = new HttpClient();
        await UntilAsync(() => http.GetAsync(Url(cloud, "any/default/a")), one => one.StatusCode == HttpStatusCode.OK);
    }

    [Fact]
    public async Task Node_that_is_away_and_a_body_that_is_too_large_are_refused()
    {
        await using var cloud = await StartAsync();
        await EndsAsync(cloud);
        await RuleAsync(cloud, "down", "rest", """{"path": "/cmd"}""", "bus", """{"topic": "cmd"}""");
        using var http = new HttpClient();

        var away = await UntilAsync(() => http.PostAsync(Url(cloud, "nobody/default/cmd"), new StringContent("on")), one => one.StatusCode == HttpStatusCode.BadGateway);
        Assert.Contains("node 'nobody' is not connected", await away.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        using var large = new HttpRequestMessage(HttpMethod.Post, Url(cloud, "nobody/default/cmd")) { Content = new ByteArrayContent(new byte[RestEntry.BodyMax + 1]) };
        large.Headers.ExpectContinue = true;
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await http.SendAsync(large)).StatusCode);
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("localhost")]
    [InlineData("0.0.0.0")]
    [InlineData("[::ffff:127.0.0.1]")]
    public async Task Rule_does_not_lead_to_cloudcores_own_machine_unless_the_setting_names_it(string host)
    {
        await using var cloud = await StartAsync(allowTargets: ["elsewhere.example"]);
        await using var peer = await HttpPeer.StartAsync();
        await EndsAsync(cloud);
        await RuleAsync(cloud, "own", "rest", """{"path": "/a"}""", "rest", $$"""{"resource": "http://{{host}}:{{peer.Port}}/"}""");
        await RuleAsync(cloud, "up", "bus", """{"topic": "sensors", "node_name": "edge-1"}""", "rest", $$"""{"resource": "http://{{host}}:{{peer.Port}}/"}""");
        using var http = new HttpClient();

        var refused = await UntilAsync(() => http.GetAsync(Url(cloud, "any/default/a")), one => one.StatusCode == HttpStatusCode.BadGateway);
        Assert.Contains("list it in modules.router.allowTargets", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await using var edge = await EdgeWireAsync(cloud);
        var upload = await UploadAsync(edge, "default/sensors", "1", version: 1);
        Assert.Equal("ServiceUnavailable", FakeEdge.Content(await edge.UntilAsync(one => one.ParentId == upload.Id)).Text("ErrStatus", "reason"));
        await cloud.UntilAsync(RuleKinds.Rule, "the reason", one => one.Name() == "up" && one.Texts("status", "errors").Any(error => error.Contains("modules.router.allowTargets", StringComparison.Ordinal)));
        Assert.Empty(peer.Requests);
    }

    private Task<WholeCloud> StartAsync(bool isInsecure = true, IReadOnlyList<string>? allowTargets = null) => WholeCloud.StartAsync(_data.Path, WholeCloud.Options with
    {
        Router = new RouterOptions { Listen = new ListenOn(true, "127.0.0.1", 0, "modules.router.port"), IsInsecure = isInsecure, AllowTargets = allowTargets ?? ["127.0.0.1"] },
    });

    private static Uri Url(WholeCloud cloud, string path) => new($"{(cloud.IsRouterInsecure ? "http" : "https")}://127.0.0.1:{cloud.RouterPort}/{path}");

    private static async Task EndsAsync(WholeCloud cloud)
    {
        await cloud.CreateAsync(RuleKinds.RuleEndpoint, """{"metadata": {"name": "rest"}, "spec": {"ruleEndpointType": "rest"}}""");
        await cloud.CreateAsync(RuleKinds.RuleEndpoint, """{"metadata": {"name": "bus"}, "spec": {"ruleEndpointType": "eventbus"}}""");
        await cloud.CreateAsync(RuleKinds.RuleEndpoint, """{"metadata": {"name": "service"}, "spec": {"ruleEndpointType": "servicebus", "properties": {"service_port": "8080"}}}""");
    }

    private static Task RuleAsync(WholeCloud cloud, string name, string source, string sourceResource, string target, string targetResource)
        => cloud.CreateAsync(RuleKinds.Rule, $$"""
            {"metadata": {"name": "{{name}}"}, "spec": {"source": "{{source}}", "sourceResource": {{sourceResource}}, "target": "{{target}}", "targetResource": {{targetResource}} } }
            """);

    private static async Task<FakeEdge> EdgeWireAsync(WholeCloud cloud)
    {
        using var certificate = await cloud.EnrolAsync("edge-1");
        return await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate, isEdgeWire: true);
    }

    private static async Task<Message> UploadAsync(FakeEdge edge, string topic, string payload, long version)
    {
        var message = Message.Create(TimeProvider.System, "bus", "user", Operations.Upload, topic, MessageCodec.JsonString(payload), $"{version}");
        await edge.SendAsync(message);
        return message;
    }

    /// <summary>"OK", or the reason of the refusal.</summary>
    private static async Task<string> AnswerOfAsync(FakeEdge edge, Message upload)
    {
        var content = FakeEdge.Content(await edge.UntilAsync(one => one.ParentId == upload.Id));
        return content is JsonValue text ? text.GetValue<string>() : content.Text("ErrStatus", "reason");
    }

    // As it stands: HttpClient would resolve and escape it.
    private static async Task<string> RawAsync(WholeCloud cloud, string target)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, cloud.RouterPort, limit.Token);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"GET {target} HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\n\r\n"), limit.Token);
        using var reader = new StreamReader(client.GetStream());
        return (await reader.ReadLineAsync(limit.Token))!;
    }

    // Until the router has seen the rules.
    private static async Task<HttpResponseMessage> UntilAsync(Func<Task<HttpResponseMessage>> ask, Func<HttpResponseMessage, bool> isWanted)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            var answer = await ask();
            if (isWanted(answer))
                return answer;
            Assert.False(limit.IsCancellationRequested, $"the last answer was {(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync()}");
            await Task.Delay(20);
        }
    }
}
