using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Dashboard;
using Edge.Cloud.Tests.Support;
using Edge.Common.Configuration;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.Cloud.Tests.Dashboard;

/// <summary>Who gets the page, and what goes with it; the page itself is tested in a browser.</summary>
[Trait("Category", "Kubernetes")]
public sealed class DashboardServerTests : IDisposable
{
    private const string Token = "0123456789abcdef0123";

    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Loopback_serves_without_a_login_but_not_under_a_foreign_name_and_nothing_may_be_written()
    {
        await using var cloud = await Support.Cloud.StartAsync();
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{cloud.Host.MonitorPort}") };
        using (var page = await http.GetAsync("/"))
        {
            Assert.Equal(HttpStatusCode.OK, page.StatusCode);
            Assert.Contains("default-src 'none'", page.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
            Assert.DoesNotContain("unsafe", page.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
            Assert.Equal("nosniff", page.Headers.GetValues("X-Content-Type-Options").Single());
            using var again = new HttpRequestMessage(HttpMethod.Get, "/");
            again.Headers.IfNoneMatch.Add(page.Headers.ETag!);
            using var same = await http.SendAsync(again);
            Assert.Equal(HttpStatusCode.NotModified, same.StatusCode);
        }

        foreach (var path in PageFiles.Paths)
        {
            using var file = await http.GetAsync(path);
            Assert.Equal(HttpStatusCode.OK, file.StatusCode);
            var text = await file.Content.ReadAsStringAsync();
            // Works offline, and under the policy above: nothing of elsewhere, no inline script.
            Assert.DoesNotContain("https://", text, StringComparison.Ordinal);
            Assert.DoesNotContain("innerHTML", text, StringComparison.Ordinal);
            Assert.DoesNotContain("style=\"", text, StringComparison.Ordinal);
        }

        using (var rebound = new HttpRequestMessage(HttpMethod.Get, "/api/v1/nodes") { Headers = { Host = "evil.example" } })
        using (var refused = await http.SendAsync(rebound))
            Assert.Equal(HttpStatusCode.Forbidden, refused.StatusCode);
        using (var post = await http.PostAsync("/api/v1/nodes", new StringContent("{}")))
            Assert.Equal(HttpStatusCode.MethodNotAllowed, post.StatusCode);
        using (var none = await http.GetAsync("/style.css.map"))
            Assert.Equal(HttpStatusCode.NotFound, none.StatusCode);
        using (var none = await http.GetAsync("/api/v1/nodes/..%2f..%2fetc"))
            Assert.Equal(HttpStatusCode.NotFound, none.StatusCode);
    }

    [Fact]
    public async Task Token_file_asks_for_a_bearer_token_or_a_basic_login()
    {
        var file = _data.File("token");
        await File.WriteAllTextAsync(file, Token + "\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await using var cloud = await Support.Cloud.StartAsync(change: options => options with { Dashboard = new DashboardOptions { TokenFile = file } });
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{cloud.Host.MonitorPort}") };
        async Task<HttpStatusCode> AskAsync(string path, AuthenticationHeaderValue? login)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.Authorization = login;
            using var answer = await http.SendAsync(request);
            if (answer.StatusCode == HttpStatusCode.Unauthorized)
                Assert.Equal("Basic", answer.Headers.WwwAuthenticate.Single().Scheme);
            return answer.StatusCode;
        }

        static AuthenticationHeaderValue Basic(string pair) => new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(pair)));
        foreach (var path in (string[])["/", "/app.js", "/api/v1/overview"])
        {
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(path, null));
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(path, new AuthenticationHeaderValue("Bearer", Token + "4")));
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(path, Basic("x:" + Token[1..])));
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(path, new AuthenticationHeaderValue("Basic", "%%%")));
            Assert.Equal(HttpStatusCode.OK, await AskAsync(path, new AuthenticationHeaderValue("Bearer", Token)));
            Assert.Equal(HttpStatusCode.OK, await AskAsync(path, Basic("anybody:" + Token)));
        }

        Assert.Equal(HttpStatusCode.OK, await AskAsync("/healthz", null));
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/metrics", null));
    }

    [Theory]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.OtherRead, Token, "chmod 600")]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.GroupWrite, Token, "chmod 600")]
    [InlineData(UnixFileMode.UserRead, "short", "at least 16")]
    [InlineData(UnixFileMode.UserRead, null, "cannot be read")]
    public async Task Token_file_that_is_no_good_stops_the_start_and_is_named(UnixFileMode mode, string? text, string complaint)
    {
        var file = _data.File("token");
        if (text is not null)
        {
            await File.WriteAllTextAsync(file, text);
            File.SetUnixFileMode(file, mode);
        }

        var error = await Assert.ThrowsAsync<CloudCoreException>(() => Support.Cloud.StartAsync(change: options => options with { Dashboard = new DashboardOptions { TokenFile = file } }));
        Assert.Contains(complaint, error.Message, StringComparison.Ordinal);
        Assert.Contains("modules.dashboard.tokenFile", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Beyond_loopback_a_token_is_needed_or_the_page_is_off()
    {
        static CloudCoreOptions Read(string yaml)
        {
            var file = ConfigFile.Parse("test", yaml, []);
            var options = CloudCoreOptions.Read(file);
            file.ThrowIfInvalid();
            return options;
        }

        Assert.True(Read("").Dashboard.IsEnabled);
        Assert.False(Read("commonConfig: {monitorServer: {bindAddress: \"0.0.0.0:9091\"}}").Dashboard.IsEnabled);
        Assert.True(Read("{commonConfig: {monitorServer: {bindAddress: \"0.0.0.0:9091\"}}, modules: {dashboard: {tokenFile: /etc/edge/token}}}").Dashboard.IsEnabled);
        Assert.False(Read("modules: {dashboard: {enable: false}}").Dashboard.IsEnabled);
        var error = Assert.Throws<ConfigException>(() => Read("{commonConfig: {monitorServer: {bindAddress: \"0.0.0.0:9091\"}}, modules: {dashboard: {enable: true}}}"));
        Assert.Contains("modules.dashboard.tokenFile", error.Message + string.Join(' ', error.Problems), StringComparison.Ordinal);
        Assert.Throws<ConfigException>(() => Read("modules: {dashboard: {tokenfile: x}}"));
    }

    [Fact]
    public async Task Listeners_are_bounded_and_a_place_is_free_again_when_one_goes()
    {
        await using var cloud = await Support.Cloud.StartAsync();
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{cloud.Host.MonitorPort}") };
        var open = new List<HttpResponseMessage>();
        for (var i = 0; i < DashboardServer.ListenersMax; i++)
        {
            open.Add(await http.GetAsync("/api/v1/stream", HttpCompletionOption.ResponseHeadersRead));
            Assert.Equal(HttpStatusCode.OK, open[^1].StatusCode);
        }

        using (var refused = await http.GetAsync("/api/v1/stream", HttpCompletionOption.ResponseHeadersRead))
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.Contains("edge_dashboard_listeners 64\n", await http.GetStringAsync("/metrics"), StringComparison.Ordinal);
        open[0].Dispose();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        HttpStatusCode code;
        do
        {
            using var again = await http.GetAsync("/api/v1/stream", HttpCompletionOption.ResponseHeadersRead, limit.Token);
            code = again.StatusCode;
        }
        while (code != HttpStatusCode.OK);
        foreach (var one in open)
            one.Dispose();
    }

    [Fact]
    public void History_keeps_the_newest_and_forgets_nodes_that_are_away_with_their_events()
    {
        var time = new ManualTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var links = new LinkHistory(time);
        links.Connected("a", "10.0.0.1", "WebSocket");
        links.Connected("stays", "10.0.0.2", "QUIC");
        links.Disconnected("a", "Silent", isReplaced: false);
        links.Connected("b", "10.0.0.3", "WebSocket");
        links.Connected("b", "10.0.0.3", "WebSocket");
        links.Disconnected("b", "Replaced", isReplaced: true);
        Assert.Equal([("Silent", false), ("from 10.0.0.1 over WebSocket", true)], links.Of("a", 10).Select(one => (one.Detail, one.IsConnect)));
        Assert.False(links.Last("a")!.IsConnect);
        Assert.True(links.Last("b")!.IsConnect);
        for (var i = 0; i < LinkHistory.EventsMax; i++)
            links.Connected("many", "10.0.0.4", "WebSocket");
        Assert.Empty(links.Of("a", 10));
        Assert.Null(links.Last("a"));
        Assert.True(links.Last("stays")!.IsConnect);
        Assert.Equal(5, links.Of("many", 5).Count);
    }

    [Fact]
    public void Model_tells_what_changed_after_a_number_and_heartbeats_change_nothing()
    {
        var links = new LinkHistory(TimeProvider.System);
        var model = new FleetModel(links);
        links.Changed = model.Touch;
        static JsonObject Node(string name, string ready, string heartbeat) => new()
        {
            ["metadata"] = new JsonObject { ["name"] = name },
            ["status"] = new JsonObject { ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = ready, ["lastHeartbeatTime"] = heartbeat }) },
        };
        void Put(JsonObject node, ChangeType type = ChangeType.Updated) => model.Changed(ResourceKind.Node, new ObjectChange(type, node, null));
        Put(Node("a", "True", "1"));
        Put(Node("b", "False", "1"));
        var (all, _, order) = model.NodesAfter(-1)!.Value;
        Assert.Equal([("a", "ready"), ("b", "notReady")], all.Select(one => (one.Row.Name, one.Health)));
        Put(Node("a", "True", "2"));
        Assert.Empty(model.NodesAfter(order)!.Value.Changed);
        links.Connected("a", "10.0.0.1", "WebSocket");
        links.Disconnected("a", "Silent", isReplaced: false);
        Assert.Equal(("a", "offline"), model.NodesAfter(order)!.Value.Changed.Select(one => (one.Row.Name, one.Health)).Single());
        Put(Node("b", "False", "3"), ChangeType.Deleted);
        Assert.Equal(["b"], model.NodesAfter(order)!.Value.Gone);
        for (var i = 0; i < 5000; i++)
            Put(Node($"gone-{i}", "True", "1"), ChangeType.Deleted);
        Assert.Null(model.NodesAfter(order));
    }
}
