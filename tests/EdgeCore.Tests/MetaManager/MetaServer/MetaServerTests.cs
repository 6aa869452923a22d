using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.MetaManager.MetaServer;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests.MetaManager.MetaServer;

/// <summary>A whole EdgeCore with MetaServer on a real socket, a cloud on another, with and without the link between them.</summary>
[Trait("Category", "Kubernetes")]
public sealed class MetaServerTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly TempDirectory _directory = new();
    private readonly TokenIssuer _issuer = new();
    private readonly ConcurrentQueue<ApplicationMessage> _asked = new();
    private readonly ConcurrentDictionary<string, ApplicationMessage> _watches = new();
    private readonly FakeCloud _cloud = new() { EdgeWire = true };
    private volatile bool _isAllowed = true;
    private readonly string _deployments = """{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"50"},"items":[{"metadata":{"name":"one","namespace":"default","resourceVersion":"40"}}]}""";
    private RunningEdge? _edge;
    private string[] _settings = [];

    public async ValueTask DisposeAsync()
    {
        if (_edge is not null)
            await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
        _issuer.Dispose();
        _directory.Dispose();
    }

    private string Token => _issuer.Make(DateTimeOffset.UtcNow.AddMinutes(30));

    private int Port => (int)JsonNode.Parse(File.ReadAllText(_directory.File("edgecore.ports.json"))).Number(0, "metaServer");

    [Fact]
    public async Task What_the_node_holds_is_listed_got_and_watched_with_and_without_the_cloud()
    {
        await StartAsync();
        await DownAsync("insert", "default/configmap/settings", Config("settings", 10, "one"), 10);
        await DownAsync("insert", "default/configmap/other", Config("other", 5, "one"), 5);
        using var http = Client();

        var list = await UntilAsync(http, "/api/v1/namespaces/default/configmaps", body => body.Items("items").Count() == 2);
        var version = list.Text("metadata", "resourceVersion");
        Assert.Equal("node", list.Text("edgeSource"));
        Assert.Equal("other settings", string.Join(' ', list.Items("items").Select(item => item.Name())));
        Assert.Equal("settings", (await GetAsync(http, "/api/v1/configmaps?labelSelector=app%3Dsettings")).Items("items").Single().Name());
        Assert.Equal("Name Data Age", string.Join(' ', (await GetAsync(http, "/api/v1/configmaps", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")).Items("columnDefinitions").Select(one => one.Text("name"))));

        // From the list's version on, nothing is missed, not what arrives with an older version than the newest.
        await DownAsync("insert", "default/configmap/late", Config("late", 3, "one"), 3);
        using var watch = await OpenAsync(http, $"/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={version}");
        Assert.Equal("ADDED late", await NextAsync(watch));
        await DownAsync("update", "default/configmap/settings", Config("settings", 11, "two"), 11);
        Assert.Equal("MODIFIED settings", await NextAsync(watch));

        await _cloud.StopAsync();
        await OfflineAsync();
        var offline = await GetAsync(http, "/api/v1/namespaces/default/configmaps/settings");
        Assert.Equal("two", offline.Text("data", "stage"));
        Assert.Contains("the cloud is not connected", offline.Text("edgeWarning"), StringComparison.Ordinal);
        Assert.Equal(3, (await GetAsync(http, "/api/v1/namespaces/default/configmaps")).Items("items").Count());
        var write = await SendAsync(http, HttpMethod.Delete, "/api/v1/namespaces/default/configmaps/settings");
        Assert.Equal((503, "ServiceUnavailable"), ((int)write.Number(0, "code"), write.Text("reason")));
        Assert.Contains("Nothing was changed", write.Text("message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_asks_must_show_a_token_and_be_allowed_which_the_cloud_says_once_and_the_node_remembers()
    {
        await StartAsync();
        await DownAsync("insert", "default/configmap/settings", Config("settings", 10, "one"), 10);
        using var http = Client();
        await UntilAsync(http, "/api/v1/namespaces/default/configmaps", body => body.Items("items").Any());
        using var nobody = Client("");
        Assert.Equal(401, (await GetAsync(nobody, "/api/v1/configmaps")).Number(0, "code"));
        using var bound = Client(_issuer.Make(DateTimeOffset.UtcNow.AddMinutes(30), pod: ("gone", "u")));
        Assert.Contains("not on this node", (await GetAsync(bound, "/api/v1/configmaps")).Text("message"), StringComparison.Ordinal);

        for (var i = 0; i < 3; i++)
            await GetAsync(http, "/api/v1/namespaces/default/configmaps/settings");
        Assert.Single(_asked, one => one.Key.Contains("subjectaccessreviews", StringComparison.Ordinal) && Encoding.UTF8.GetString(one.RequestBody.Span).Contains("\"verb\":\"get\"", StringComparison.Ordinal));

        _isAllowed = false;
        var refused = await GetAsync(http, "/api/v1/namespaces/default/secrets?x=1");
        Assert.Equal(403, refused.Number(0, "code"));
        Assert.Contains("User \"system:serviceaccount:default:reader\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\": no rule", refused.Text("message"), StringComparison.Ordinal);

        await _cloud.StopAsync();
        await OfflineAsync();
        await RestartAsync();
        using var after = Client();
        Assert.Equal("settings", (await GetAsync(after, "/api/v1/namespaces/default/configmaps/settings")).Name());
        Assert.Contains("no rule", (await GetAsync(after, "/api/v1/namespaces/default/secrets")).Text("message"), StringComparison.Ordinal);
        Assert.Contains("was never asked about this while it was connected", (await GetAsync(after, "/api/v1/nodes")).Text("message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_the_node_does_not_hold_comes_through_the_cloud_with_the_callers_token_and_is_kept()
    {
        await StartAsync();
        using var http = Client();
        var list = await UntilAsync(http, "/apis/apps/v1/namespaces/default/deployments", body => body.Text("edgeSource") == "cloud");
        Assert.Equal("one", list.Items("items").Single().Name());
        var passed = _asked.First(one => one.Key == "/apps/v1/deployments/default/null");
        Assert.Equal(("list", "edge-node"), (passed.Verb, passed.NodeName));
        Assert.StartsWith("ey", passed.Http!.Token, StringComparison.Ordinal);

        using var watch = await OpenAsync(http, "/apis/apps/v1/namespaces/default/deployments?watch=true&resourceVersion=50");
        var open = await WaitForWatchAsync();
        await EventAsync(open, 0, """{"type":"ADDED","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"two","namespace":"default","resourceVersion":"51"}}}""");
        Assert.Equal("ADDED two", await NextAsync(watch));
        await EventAsync(open, 1, """{"type":"BOOKMARK","object":{"kind":"Deployment","metadata":{"resourceVersion":"60"}}}""", """{"type":"DELETED","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"one","namespace":"default","resourceVersion":"61"}}}""");
        Assert.Equal("DELETED one", await NextAsync(watch)); // the bookmark was not asked for

        var created = await SendAsync(http, HttpMethod.Post, "/apis/apps/v1/namespaces/default/deployments", """{"metadata":{"name":"three"}}""");
        Assert.Equal("three", created.Name());
        Assert.Equal(413, (await SendAsync(http, HttpMethod.Post, "/apis/apps/v1/namespaces/default/deployments", new string(' ', (3 << 20) + 1))).Number(0, "code"));

        await _cloud.StopAsync();
        await OfflineAsync();
        var before = await UntilAsync(http, "/apis/apps/v1/namespaces/default/deployments", body => string.Join(' ', body.Items("items").Select(item => item.Name())) == "two"); // what the watch brought is written behind it
        Assert.Equal(("cache", "61"), (before.Text("edgeSource"), before.Text("metadata", "resourceVersion")));
        Assert.Equal("two", string.Join(' ', before.Items("items").Select(item => item.Name())));
        Assert.Contains("read at", before.Text("edgeWarning"), StringComparison.Ordinal);
        Assert.Equal("two", (await GetAsync(http, "/apis/apps/v1/namespaces/default/deployments/two")).Name());
        var unknown = await GetAsync(http, "/apis/batch/v1/namespaces/default/jobs");
        Assert.Equal(503, unknown.Number(0, "code"));

        // The watch was never closed, and goes on from where it was.
        _watches.Clear();
        await _cloud.StartAsync();
        var again = await WaitForWatchAsync();
        Assert.Contains("resourceVersion=61", again.Http!.Target, StringComparison.Ordinal);
        await EventAsync(again, 0, """{"type":"MODIFIED","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"two","namespace":"default","resourceVersion":"70"}}}""");
        Assert.Equal("MODIFIED two", await NextAsync(watch));
    }

    [Fact]
    public async Task Who_was_let_list_or_watch_may_watch_while_the_cloud_is_away()
    {
        await StartAsync();
        using var http = Client();
        await UntilAsync(http, "/apis/apps/v1/namespaces/default/deployments", body => body.Text("edgeSource") == "cloud");
        using (await OpenAsync(http, "/apis/apps/v1/namespaces/other/deployments?watch=true&resourceVersion=50"))
            await WaitForWatchAsync();

        await _cloud.StopAsync();
        await OfflineAsync();
        using var listed = await OpenAsync(http, "/apis/apps/v1/namespaces/default/deployments?watch=true");
        Assert.Equal("ADDED one", await NextAsync(listed));
        using var watched = await OpenAsync(http, "/apis/apps/v1/namespaces/other/deployments?watch=true&resourceVersion=50");
        Assert.Equal(403, (await GetAsync(http, "/apis/apps/v1/namespaces/third/deployments?watch=true&resourceVersion=50")).Number(0, "code"));
    }

    [Fact]
    public async Task Version_of_this_node_is_put_back_into_the_clusters_before_a_write()
    {
        await StartAsync();
        await DownAsync("insert", "default/configmap/settings", Config("settings", 10, "one"), 10);
        using var http = Client();
        var seen = await UntilAsync(http, "/api/v1/namespaces/default/configmaps/settings", body => body.Name() == "settings");
        var body = $$$"""{"metadata":{"name":"settings","resourceVersion":"{{{seen.ResourceVersion()}}}"},"data":{}}""";
        await SendAsync(http, HttpMethod.Put, "/api/v1/namespaces/default/configmaps/settings", body);
        var put = _asked.Last(one => one.Verb == "update");
        Assert.Equal("10", JsonNode.Parse(put.RequestBody.Span).Text("metadata", "resourceVersion"));

        await DownAsync("update", "default/configmap/settings", Config("settings", 12, "two"), 12);
        await UntilAsync(http, "/api/v1/namespaces/default/configmaps/settings", now => now.Text("data", "stage") == "two");
        Assert.Equal(409, (await SendAsync(http, HttpMethod.Put, "/api/v1/namespaces/default/configmaps/settings", body)).Number(0, "code"));
    }

    [Fact]
    public async Task Logs_of_this_nodes_pods_are_followed_while_the_cloud_is_away_by_who_may()
    {
        await StartAsync(
            "modules.edged.enable=true", $"modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=unix://{_directory.File("no.sock")}",
            "modules.edged.tailoredKubeletConfig.port=0", $"modules.edged.tailoredKubeletConfig.podLogsDir={_directory.File("podlogs")}");
        await DownAsync("insert", "default/pod/web", Pod("web"), 20);
        var logs = _directory.File("podlogs/default_web_u-web/main");
        Directory.CreateDirectory(logs);
        await File.WriteAllTextAsync(Path.Combine(logs, "0.log"), "2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:06Z stdout F two\n");
        using var http = Client();
        await UntilAsync(http, "/api/v1/namespaces/default/pods/web", body => body.Name() == "web");
        Assert.Equal("two\n", await http.GetStringAsync("/api/v1/namespaces/default/pods/web/log?tailLines=1"));
        Assert.Contains(_asked, one => one.Key.Contains("subjectaccessreviews", StringComparison.Ordinal) && Encoding.UTF8.GetString(one.RequestBody.Span).Contains("\"subresource\":\"log\"", StringComparison.Ordinal));

        // What cannot be is said in the API's own words; an exec that asks for no upgrade gets no further than here.
        Assert.Contains("container side is not valid for pod web", (await GetAsync(http, "/api/v1/namespaces/default/pods/web/log?container=side")).Text("message"), StringComparison.Ordinal);
        Assert.Contains("Upgrade request required", (await SendAsync(http, HttpMethod.Post, "/api/v1/namespaces/default/pods/web/exec?command=ls&stdout=1")).Text("message"), StringComparison.Ordinal);
        Assert.Contains(_asked, one => Encoding.UTF8.GetString(one.RequestBody.Span) is var body && body.Contains("\"subresource\":\"exec\"", StringComparison.Ordinal) && body.Contains("\"verb\":\"create\"", StringComparison.Ordinal));
        Assert.Equal("BadRequest", (await GetAsync(http, "/api/v1/namespaces/default/pods/web/log?tailLines=x")).Text("reason"));
        var other = await GetAsync(http, "/api/v1/namespaces/default/pods/elsewhere/log?follow=true");
        Assert.Equal((404, true), (other.Number(0, "code"), other.Text("message").Contains("is not on this node", StringComparison.Ordinal)));

        await _cloud.StopAsync();
        await OfflineAsync();
        using var following = await OpenAsync(http, "/api/v1/namespaces/default/pods/web/log?follow=true");
        Assert.Equal("one", await following.ReadLineAsync().WaitAsync(s_patience));
        Assert.Equal("two", await following.ReadLineAsync().WaitAsync(s_patience));
        await File.AppendAllTextAsync(Path.Combine(logs, "0.log"), "2026-01-02T03:04:07Z stdout F three\n");
        Assert.Equal("three", await following.ReadLineAsync().WaitAsync(s_patience));

        // The local API's refusal of an upgraded request is the caller's: the runtime is not there.
        using var socket = new System.Net.WebSockets.ClientWebSocket();
        socket.Options.AddSubProtocol("v4.channel.k8s.io");
        socket.Options.CollectHttpResponseDetails = true;
        socket.Options.SetRequestHeader("Authorization", $"Bearer {(await File.ReadAllTextAsync(_directory.File("localapi.token"))).Trim()}");
        socket.Options.RemoteCertificateValidationCallback = (_, shown, _, _) => shown is not null;
        await Assert.ThrowsAsync<System.Net.WebSockets.WebSocketException>(() => socket.ConnectAsync(new Uri($"wss://127.0.0.1:{Port}/api/v1/namespaces/default/pods/web/exec?command=ls&stdout=1"), CancellationToken.None));
        Assert.NotEqual(HttpStatusCode.SwitchingProtocols, socket.HttpStatusCode);
        Assert.NotEqual(HttpStatusCode.NotImplemented, socket.HttpStatusCode);
    }

    [Fact]
    public async Task Without_a_local_API_there_are_no_logs_and_who_may_not_read_them_is_told()
    {
        await StartAsync();
        await DownAsync("insert", "default/pod/web", Pod("web"), 20);
        using var http = Client();
        await UntilAsync(http, "/api/v1/namespaces/default/pods/web", body => body.Name() == "web");
        Assert.Contains("local API is not served", (await GetAsync(http, "/api/v1/namespaces/default/pods/web/log?follow=true")).Text("message"), StringComparison.Ordinal);
        _isAllowed = false;
        Assert.Contains("cannot create resource \"pods/attach\"", (await SendAsync(http, HttpMethod.Post, "/api/v1/namespaces/default/pods/web/attach?stdout=1")).Text("message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plain_HTTP_without_a_token_is_answered_beside_HTTPS_where_an_account_is_configured_for_it()
    {
        await StartAsync("modules.metaManager.metaServer.httpServiceAccount=default/mesh");
        await _edge!.Log.WaitForAsync("MetaServer also answers plain HTTP on 127.0.0.1:");
        using var http = PlainClient();
        Assert.Contains("no pod of it", (await GetAsync(http, "/api/v1/configmaps")).Text("message"), StringComparison.Ordinal);
        await DownAsync("insert", "default/pod/web", Pod("web"), 20);
        await DownAsync("insert", "default/configmap/settings", Config("settings", 10, "one"), 10);
        var token = _issuer.Make(DateTimeOffset.UtcNow.AddMinutes(30), "mesh", pod: ("web", "u-web"));
        await new Edge.Core.MetaManager.LocalRows("serviceaccounttoken").PutAsync(_edge.Host.Meta, "u-web/token", new JsonObject { ["status"] = new JsonObject { ["token"] = token } }, CancellationToken.None);

        // A connection that says nothing keeps nobody from being answered.
        using var silent = new System.Net.Sockets.TcpClient();
        await silent.ConnectAsync(IPAddress.Loopback, Port);
        await UntilAsync(http, "/api/v1/namespaces/default/configmaps", body => body.Items("items").Any());
        Assert.Contains(_asked, one => one.Key.Contains("subjectaccessreviews", StringComparison.Ordinal) && Encoding.UTF8.GetString(one.RequestBody.Span).Contains("\"user\":\"system:serviceaccount:default:mesh\"", StringComparison.Ordinal));
        var list = await UntilAsync(http, "/apis/apps/v1/namespaces/default/deployments", body => body.Text("edgeSource") == "cloud");
        Assert.Equal("one", list.Items("items").Single().Name());
        Assert.Equal(token, _asked.Last(one => one.Key == "/apps/v1/deployments/default/null").Http!.Token);
        using (var watch = await OpenAsync(http, "/api/v1/namespaces/default/configmaps?watch=true"))
            Assert.Equal("ADDED settings", await NextAsync(watch));

        // Rights are the account's; a token is asked for by HTTPS as ever; a page in a browser is no program on the machine.
        using var https = Client("");
        Assert.Equal(401, (await GetAsync(https, "/api/v1/configmaps")).Number(0, "code"));
        using var named = Client();
        Assert.Equal("settings", (await GetAsync(named, "/api/v1/namespaces/default/configmaps/settings")).Name());
        foreach (var (header, value) in ((string, string)[])[("Host", "rebound.example.com"), ("Origin", "http://127.0.0.1")])
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/configmaps");
            request.Headers.Add(header, value);
            using var response = await http.SendAsync(request);
            Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
        }

        _isAllowed = false;
        Assert.Contains("User \"system:serviceaccount:default:mesh\" cannot list resource \"secrets\"", (await GetAsync(http, "/api/v1/namespaces/default/secrets")).Text("message"), StringComparison.Ordinal);

        _settings = [];
        await RestartAsync();
        using var closed = PlainClient();
        await Assert.ThrowsAsync<HttpRequestException>(() => closed.GetAsync("/api/v1/configmaps"));
    }

    private HttpClient PlainClient() => new() { BaseAddress = new Uri($"http://127.0.0.1:{Port}"), Timeout = s_patience };

    private async Task StartAsync(params string[] settings)
    {
        _settings = settings;
        _cloud.Answer = Answer;
        await _cloud.StartAsync();
        await RestartAsync();
        await Eventually.HoldsAsync("the link and the keys", () => _edge!.Hub.IsConnected && _asked.Any(one => one.Key == "/version"));
    }

    private async Task RestartAsync()
    {
        if (_edge is not null)
            await _edge.DisposeAsync();
        File.Delete(_directory.File("edgecore.ports.json"));
        _edge = new RunningEdge(RunningEdge.Options(_cloud, _directory, ["modules.metaManager.metaServer.enable=true", "modules.metaManager.metaServer.server=127.0.0.1:0", .. _settings]));
        await _edge.Log.WaitForAsync("MetaServer answers on");
        await Eventually.HoldsAsync("the port", () => File.Exists(_directory.File("edgecore.ports.json")) && Port > 0);
    }

    private Task OfflineAsync() => Eventually.HoldsAsync("the link is down", () => !_edge!.Hub.IsConnected);

    private Message? Answer(Message message)
    {
        if (message.Source != Sources.MetaServer)
            return _cloud.DefaultAnswer(message);
        var application = ApplicationMessage.TryRead(message.Content, out var error) ?? throw new InvalidOperationException(error);
        if (application.Status == ApplicationMessage.Completed)
            return null;
        _asked.Enqueue(application);
        var http = application.Http!;
        if (application.Verb == "watch")
            _watches[application.Id] = application;
        var (code, body) = (http.Method, http.Target.Split('?')[0]) switch
        {
            (_, "/openid/v1/jwks") => (200, _issuer.KeySet.ToJsonString()),
            ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews") => (201, _isAllowed ? """{"status":{"allowed":true}}""" : """{"status":{"allowed":false,"reason":"no rule"}}"""),
            ("GET", "/apis/apps/v1/namespaces/default/deployments" or "/apis/apps/v1/namespaces/other/deployments") => (200, application.Verb == "watch" ? "" : _deployments),
            ("POST" or "PUT", _) => (201, Encoding.UTF8.GetString(application.RequestBody.Span)),
            ("GET", "/version" or "/api" or "/apis" or "/api/v1") => (200, """{"kind":"any"}"""),
            _ => (404, """{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"not found","code":404}"""),
        };
        return Part(application, message.Id, ApplicationMessage.Approved, 0, body, code);
    }

    private static Message Part(ApplicationMessage application, string parent, string status, long sequence, string body, int code = 200)
        => Message.Create(
            TimeProvider.System, Sources.DynamicController, Groups.Resource, Operations.ApplicationResponse, ApplicationMessage.AnswerResource,
            (application with { Status = status, RequestBody = default, ResponseBody = Encoding.UTF8.GetBytes(body), Http = new ApplicationHttp { Code = code, ContentType = "application/json", Sequence = sequence } }).Write()) with { ParentId = parent };

    private Task EventAsync(ApplicationMessage watch, long sequence, params string[] lines)
        => _cloud.SendAsync(Part(watch, "", ApplicationMessage.InProcessing, sequence, string.Concat(lines.Select(line => line + "\n"))));

    private async Task<ApplicationMessage> WaitForWatchAsync()
    {
        await Eventually.HoldsAsync("a watch at the cloud", () => !_watches.IsEmpty);
        return _watches.Values.Single();
    }

    private Task DownAsync(string operation, string resource, string content, long version) => _cloud.SendAsync(FakeCloud.Down(operation, resource, content, $"{version}"));

    private static string Config(string name, long version, string stage)
        => $$$"""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"default","uid":"u-{{{name}}}","resourceVersion":"{{{version}}}","labels":{"app":"{{{name}}}"}},"data":{"stage":"{{{stage}}}"}}""";

    private static string Pod(string name)
        => $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"default","uid":"u-{{{name}}}","resourceVersion":"20"},"spec":{"nodeName":"edge-node","containers":[{"name":"main","image":"example.com/web:1"}]}}""";

    // Trusts only the CA that the node made.
    private HttpClient Client(string? token = null)
    {
        var options = new KubeClientOptions { Server = new Uri($"https://127.0.0.1:{Port}"), CertificateAuthorityPem = File.ReadAllText(_directory.File("pki/metaserver/ca.crt")) };
        var policy = new System.Security.Cryptography.X509Certificates.X509ChainPolicy
        {
            TrustMode = System.Security.Cryptography.X509Certificates.X509ChainTrustMode.CustomRootTrust, RevocationMode = System.Security.Cryptography.X509Certificates.X509RevocationMode.NoCheck,
        };
        policy.CustomTrustStore.ImportFromPem(options.CertificateAuthorityPem);
        var handler = new SocketsHttpHandler { SslOptions = { CertificateChainPolicy = policy } };
        var http = new HttpClient(handler) { BaseAddress = options.Server, Timeout = s_patience };
        if (token != "")
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token ?? Token);
        return http;
    }

    private static Task<JsonObject> GetAsync(HttpClient http, string path, string accept = "application/json") => SendAsync(http, HttpMethod.Get, path, null, accept);

    // The body, with where it came from.
    private static async Task<JsonObject> SendAsync(HttpClient http, HttpMethod method, string path, string? body = null, string accept = "application/json")
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.TryAddWithoutValidation("Accept", accept);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using var response = await http.SendAsync(request);
        var json = JsonNode.Parse(await response.Content.ReadAsStringAsync())!.AsObject();
        json["edgeSource"] = response.Headers.TryGetValues("Edge-Source", out var source) ? source.Single() : "";
        json["edgeWarning"] = response.Headers.TryGetValues("Warning", out var warning) ? warning.First() : "";
        return json;
    }

    private static async Task<JsonObject> UntilAsync(HttpClient http, string path, Func<JsonObject, bool> fits)
    {
        JsonObject last = [];
        await Eventually.HoldsAsync(path, async () => fits(last = await GetAsync(http, path)));
        return last;
    }

    private static async Task<StreamReader> OpenAsync(HttpClient http, string path)
    {
        var response = await http.GetAsync(path, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return new StreamReader(await response.Content.ReadAsStreamAsync());
    }

    private static async Task<string> NextAsync(StreamReader watch)
    {
        var line = await watch.ReadLineAsync().WaitAsync(s_patience);
        var change = JsonNode.Parse(line ?? throw new EndOfStreamException("the watch ended"))!;
        return $"{change.Text("type")} {change.At("object").Text("metadata", "name")}";
    }
}
