using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Testing;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Sync")]
public sealed class HubServiceTests
{
    private static readonly TimeSpan s_patience = Patience.Of(TimeSpan.FromSeconds(20));

    private static bool IsAckOf(Message message, Message of) => message.Operation == Operations.Response && message.ParentId == of.Id;

    private static string ConfigMap(string uid, string version, string value)
        => $$$"""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"app","namespace":"default","uid":"{{{uid}}}","resourceVersion":"{{{version}}}"},"data":{"k":"{{{value}}}"}}""";

    private static UplinkEntry PodStatus(string value) => new(
        "podpatch/default/web", UplinkPriority.PodStatus, UplinkRule.Newest, Sources.Edged, Groups.Meta, Operations.Patch, "default/podpatch/web", MessageCodec.JsonString($"{{\"v\":{value}}}"));

    [Fact]
    public async Task A_new_node_enrols_connects_with_its_headers_and_greets_a_stock_cloud_with_a_keepalive_and_no_inventory()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        var context = await cloud.Connects.ReadAsync();
        Assert.Equal("/e632aba927ea4ac2b575ec1603d56f10/edge-node/events", context.Path);
        Assert.Equal("edge-node", context.Headers["node_id"]);
        Assert.Equal("e632aba927ea4ac2b575ec1603d56f10", context.Headers["project_id"]);
        Assert.Equal("msg", context.Headers["ConnectionUse"]);
        Assert.False(context.Headers.ContainsKey("Origin"));
        Assert.Equal("CN=system:node:edge-node, S=Zhejiang, L=Hangzhou, O=system:nodes, C=CN", context.Subject);
        await WaitUntilAsync(() => cloud.Objects.ContainsKey("kube-node-lease/lease/edge-node"));
        var first = cloud.Seen();
        Assert.Equal((Operations.Keepalive, "node", Sources.WebSocket, "\"ping\""), (first[0].Operation, first[0].Resource, first[0].Source, Encoding.UTF8.GetString(first[0].Content.Span)));
        Assert.DoesNotContain(first, message => message.Source == Sources.MetaManager);
        Assert.False(edge.Hub.IsEdgeWire);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(directory.File("certs/server.key")));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(directory.File("edgecore.db")));
        Assert.StartsWith("-----BEGIN EC PRIVATE KEY-----", await File.ReadAllTextAsync(directory.File("certs/server.key")), StringComparison.Ordinal);
        Assert.DoesNotContain(cloud.Bearer, edge.Log.All(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_restart_needs_no_token()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using (var edge = new RunningEdge(RunningEdge.Options(cloud, directory)))
            await edge.Log.WaitForAsync("connected to");
        await using (var edge = new RunningEdge(RunningEdge.Options(cloud, directory, "modules.edgeHub.token=")))
            await edge.Log.WaitForAsync("connected to");
        Assert.Equal(1, cloud.Enrolments);
    }

    [Fact]
    public async Task Neither_certificate_nor_token_is_a_config_error()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory, "modules.edgeHub.token=", "modules.edgeHub.websocket.server=127.0.0.1:9", "modules.edgeHub.httpServer=https://127.0.0.1:9"));
        var error = await Assert.ThrowsAsync<ConfigException>(() => edge.Running);
        Assert.Contains("modules.edgeHub.token", error.Message, StringComparison.Ordinal);
        Assert.Contains("edgectl gettoken", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_token_is_said_and_tried_again_until_the_cloud_takes_it()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        var options = RunningEdge.Options(cloud, directory);
        cloud.Bearer = "other.other.other";
        await using var edge = new RunningEdge(options);
        var line = await edge.Log.WaitForAsync("refused the token");
        Assert.Contains("401", line, StringComparison.Ordinal);
        Assert.Contains("Error: ", line, StringComparison.Ordinal);
        cloud.Bearer = "eyJ.eyJ.sig";
        await edge.Log.WaitForAsync("connected to");
    }

    [Fact]
    public async Task A_cloud_with_another_CA_than_the_token_names_gets_no_token()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await using var impostor = new FakeCloud();
        await cloud.StartAsync();
        await impostor.StartAsync();
        var options = RunningEdge.Options(cloud, directory, $"modules.edgeHub.httpServer=https://127.0.0.1:{impostor.Port}");
        await using var edge = new RunningEdge(options);
        await edge.Log.WaitForAsync("is not the one the token names");
        Assert.Equal(0, impostor.Enrolments);
    }

    [Fact]
    public async Task A_refused_connection_is_logged_with_the_reason_and_tried_again()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud { Refuse = 403, RefusedBecause = $"the limit of nodes is reached {new string('x', 500)}" };
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        var line = await edge.Log.WaitForAsync("refused the connection with 403: the limit of nodes is reached");
        Assert.DoesNotContain(new string('x', 200), line, StringComparison.Ordinal);
        cloud.RefusedBecause = "";
        await edge.Log.WaitForAsync("refused the connection with 403; it does not accept the certificate");
        cloud.Refuse = 0;
        await edge.Log.WaitForAsync("connected to");
        Assert.True(edge.Hub.FailedConnects > 0);
    }

    [Fact]
    public async Task An_object_is_on_disk_before_it_is_acknowledged()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await cloud.NextAsync(message => message.Operation == Operations.Keepalive, "greeting");
        var down = FakeCloud.Down(Operations.Update, "default/configmap/app", ConfigMap("u1", "7", "a"), "7");
        await cloud.SendAsync(down);
        var ack = await cloud.NextAsync(message => IsAckOf(message, down), "ack");
        Assert.Equal((Sources.EdgeController, Groups.Resource, "default/configmap/app", "\"OK\""), (ack.Source, ack.Group, ack.Resource, Encoding.UTF8.GetString(ack.Content.Span)));
        Assert.Equal(7, edge.Host.Meta.Get("configmap", "default", "app")!.ResourceVersion);

        // What was acknowledged survives the end of the process.
        await edge.DisposeAsync();
        await using var again = new RunningEdge(RunningEdge.Options(cloud, directory));
        Assert.Equal(7, again.Host.Meta.Get("configmap", "default", "app")!.ResourceVersion);
    }

    [Fact]
    public async Task A_message_that_cannot_be_used_is_answered_with_error_and_the_link_stays()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await cloud.NextAsync(message => message.Operation == Operations.Keepalive, "greeting");
        var bad = FakeCloud.Down(Operations.Update, "nonsense", "{}");
        await cloud.SendAsync(bad);
        var error = await cloud.NextAsync(message => message.ParentId == bad.Id, "error");
        Assert.Equal(Operations.Error, error.Operation);
        var good = FakeCloud.Down(Operations.Update, "default/configmap/app", ConfigMap("u1", "1", "a"), "1");
        await cloud.SendAsync(good);
        await cloud.NextAsync(message => IsAckOf(message, good), "ack");
        Assert.Equal(1, edge.Hub.Connections);
    }

    [Theory]
    [InlineData("wonders", false)]
    [InlineData("wonders", true)]
    [InlineData("", false)]
    [InlineData("Resource", false)]
    [InlineData(Groups.Meta, false)]
    public async Task A_message_of_an_unknown_group_is_dropped_with_a_warning_and_the_link_stays(string group, bool isEdgeWire)
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud { EdgeWire = isEdgeWire };
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await cloud.NextAsync(message => message.Operation == Operations.Keepalive, "greeting");
        var unknown = FakeCloud.Down(Operations.Update, "default/configmap/app", ConfigMap("u1", "7", "a"), "7") with { Group = group };
        await cloud.SendAsync(unknown);
        var warning = await edge.Log.WaitForAsync(unknown.Id + " of the cloud");
        Assert.StartsWith("Warning: ", warning, StringComparison.Ordinal);
        Assert.Contains($"'{group}'", warning, StringComparison.Ordinal);
        var good = FakeCloud.Down(Operations.Update, "default/configmap/next", ConfigMap("u2", "8", "a").Replace("\"app\"", "\"next\"", StringComparison.Ordinal), "8");
        await cloud.SendAsync(good);
        await cloud.NextAsync(message => IsAckOf(message, good), "ack");
        Assert.Equal(8, edge.Host.Meta.Get("configmap", "default", "next")!.ResourceVersion);
        Assert.Null(edge.Host.Meta.Get("configmap", "default", "app"));
        Assert.DoesNotContain(cloud.Seen(), message => message.ParentId == unknown.Id);
        Assert.Equal(1, edge.Hub.Connections);
    }

    [Fact]
    public async Task A_message_for_a_module_that_is_off_is_dropped_without_a_warning()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await cloud.NextAsync(message => message.Operation == Operations.Keepalive, "greeting");
        var message = FakeCloud.Down(Operations.Update, "membership", "{}") with { Group = Groups.Twin };
        await cloud.SendAsync(message);
        Assert.StartsWith("Debug: ", await edge.Log.WaitForAsync($"{message.Id} of group {Groups.Twin}"), StringComparison.Ordinal);
        Assert.Equal(1, edge.Hub.Connections);
    }

    [Fact]
    public async Task Entries_posted_offline_survive_a_restart_and_drain_newest_only_after_reconnect()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using (var edge = new RunningEdge(RunningEdge.Options(cloud, directory)))
        {
            await edge.Log.WaitForAsync("connected to");
            await cloud.StopAsync();
            await edge.Log.WaitForAsync("the link to");
            await edge.Host.Uplink.PostAsync(PodStatus("1"), CancellationToken.None);
            await edge.Host.Uplink.PostAsync(PodStatus("2"), CancellationToken.None);
        }

        await cloud.StartAsync();
        await using var again = new RunningEdge(RunningEdge.Options(cloud, directory));
        var sent = await cloud.NextAsync(message => message.Resource == "default/podpatch/web", "pod status");
        Assert.Equal("\"{\\\"v\\\":2}\"", Encoding.UTF8.GetString(sent.Content.Span));
        Assert.Single(cloud.Seen(), message => message.Resource == "default/podpatch/web");
        await WaitUntilAsync(() => again.Hub.Figures().Depth[(int)UplinkPriority.PodStatus] == 0);
    }

    [Fact]
    public async Task An_entry_whose_answer_was_cut_off_is_sent_again_with_the_same_id()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        var cut = true;
        cloud.Answer = message =>
        {
            if (message.Resource != "default/podpatch/web" || !cut)
                return cloud.DefaultAnswer(message);
            cut = false;
            cloud.Cut();
            return null;
        };
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await edge.Log.WaitForAsync("connected to");
        await edge.Host.Uplink.PostAsync(PodStatus("1"), CancellationToken.None);
        var first = await cloud.NextAsync(message => message.Resource == "default/podpatch/web", "pod status");
        var second = await cloud.NextAsync(message => message.Resource == "default/podpatch/web", "pod status again");
        Assert.Equal(first.Id, second.Id);
        await WaitUntilAsync(() => edge.Hub.Figures().Depth[(int)UplinkPriority.PodStatus] == 0);
        Assert.Equal(2, edge.Hub.Connections);
    }

    [Fact]
    public async Task A_final_refusal_drops_the_entry_and_counts_it()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        cloud.Answer = message => message.Resource == "default/podpatch/web" ? FakeCloud.Reply(message, FakeCloud.Failure("NotFound", 404)) : cloud.DefaultAnswer(message);
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await edge.Log.WaitForAsync("connected to");
        await edge.Host.Uplink.PostAsync(PodStatus("1"), CancellationToken.None);
        await edge.Log.WaitForAsync("the cloud refused podpatch/default/web: NotFound");
        await WaitUntilAsync(() => edge.Hub.Figures() is { Rejected: 1 } figures && figures.Depth[(int)UplinkPriority.PodStatus] == 0);
    }

    [Fact]
    public async Task A_query_stores_the_answer_before_it_is_acknowledged_and_offline_it_gives_what_is_held()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        cloud.Objects["default/configmap/app"] = (JsonObject)JsonNode.Parse(ConfigMap("u1", "9", "x"))!;
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await edge.Log.WaitForAsync("connected to");
        var got = await edge.Host.Meta.GetOrQueryAsync("configmap", "default", "app", CancellationToken.None);
        Assert.Equal(9, got!.ResourceVersion);
        await cloud.NextAsync(message => message is { Operation: Operations.Response, Resource: "default/configmap/app" }, "ack of the answer");
        Assert.Null(await edge.Host.Meta.GetOrQueryAsync("secret", "default", "none", CancellationToken.None));
        await cloud.StopAsync();
        await edge.Log.WaitForAsync("the link to");
        Assert.NotNull(await edge.Host.Meta.GetOrQueryAsync("configmap", "default", "app", CancellationToken.None));
        Assert.Null(await edge.Host.Meta.GetOrQueryAsync("configmap", "default", "other", CancellationToken.None));
    }

    [Fact]
    public async Task A_certificate_past_its_renewal_time_is_renewed_over_mTLS_and_the_link_made_anew()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud { Validity = (TimeSpan.FromDays(-95), TimeSpan.FromDays(5)) };
        await cloud.StartAsync();
        var options = RunningEdge.Options(cloud, directory);
        cloud.Answer = message =>
        {
            cloud.Validity = (TimeSpan.FromDays(-1), TimeSpan.FromDays(365));
            return cloud.DefaultAnswer(message);
        };
        await using var edge = new RunningEdge(options);
        await edge.Log.WaitForAsync("certificate renewed");
        await WaitUntilAsync(() => cloud.Renewals >= 1 && edge.Hub.IsConnected);
        Assert.Equal(1, cloud.Enrolments);
        Assert.False(File.Exists(directory.File("certs/server.key.new")));
    }

    [Fact]
    public async Task Metrics_and_health_are_served_on_the_port_that_the_ports_file_names()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(cloud, directory));
        await edge.Log.WaitForAsync("connected to");
        var ports = JsonNode.Parse(await File.ReadAllTextAsync(directory.File("edgecore.ports.json")))!;
        Assert.Equal(directory.File("dmi.sock"), ports["dmi"]!.GetValue<string>());
        using var http = new HttpClient();
        var text = await http.GetStringAsync($"http://127.0.0.1:{ports["metrics"]}/metrics");
        Assert.Contains("edgecore_link_up 1", text, StringComparison.Ordinal);
        Assert.Contains("edgecore_uplink_entries{priority=\"event\"} 0", text, StringComparison.Ordinal);
        Assert.Equal("ok\n", await http.GetStringAsync($"http://127.0.0.1:{ports["metrics"]}/healthz"));
    }

    [Fact]
    public async Task A_session_that_breaks_by_a_defect_leaves_no_link_and_nobody_waiting_for_an_answer()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud { Answer = _ => null };
        await cloud.StartAsync();
        await using var database = EdgeDatabase.Open(directory.File("edgecore.db"), TimeProvider.System);
        using var loggers = LoggerFactory.Create(builder => builder.AddProvider(new LogLines()));
        var hub = new HubService(RunningEdge.Options(cloud, directory), database, TimeProvider.System, new Random(7), loggers);
        var changes = new List<bool>();
        hub.LinkChanged += changes.Add;
        var running = hub.RunAsync(new BrokenMeta(), null, CancellationToken.None);
        await hub.ConnectedAfterAsync(0, CancellationToken.None).WaitAsync(s_patience);
        var query = Message.Create(TimeProvider.System, Sources.Edged, Groups.Meta, Operations.Query, "default/configmap/app");
        var asked = hub.RequestAsync(query, TimeSpan.FromHours(1), CancellationToken.None);
        await cloud.NextAsync(message => message.Id == query.Id, "the request");
        await cloud.SendAsync(FakeCloud.Down(Operations.Update, "default/configmap/app", ConfigMap("u1", "1", "a"), "1"));
        Assert.Equal("a defect", (await Assert.ThrowsAsync<InvalidOperationException>(() => running.WaitAsync(s_patience))).Message);
        Assert.False(hub.IsConnected);
        Assert.Equal([true, false], changes);
        Assert.Contains("the session broke", (await Assert.ThrowsAsync<UplinkException>(() => asked.WaitAsync(s_patience))).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<UplinkException>(() => hub.RequestAsync(query, TimeSpan.FromHours(1), CancellationToken.None).WaitAsync(s_patience));
    }

    private sealed class BrokenMeta : IMetaMessages
    {
        public long Doubts => 0;

        public Task<Message?> HandleAsync(Message message) => throw new InvalidOperationException("a defect");

        public (int Count, InventoryDigest Digest) InventoryDigest() => (0, new InventoryDigest(1));

        public InventoryPart InventoryPart(int of, IReadOnlyList<int> buckets) => new(of, buckets, []);
    }

    internal static async Task WaitUntilAsync(Func<bool> condition)
    {
        var deadline = DateTime.UtcNow.AddSeconds(20);
        while (!condition())
        {
            Assert.True(DateTime.UtcNow < deadline, "the condition did not come true within 20 s");
            await Task.Yield();
            await Task.Delay(5);
        }
    }
}
