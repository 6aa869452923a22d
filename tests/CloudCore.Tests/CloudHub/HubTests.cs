using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class HubTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private Support.Cloud _cloud = null!;

    public async Task InitializeAsync() => _cloud = await Support.Cloud.StartAsync();

    public async Task DisposeAsync() => await _cloud.DisposeAsync();

    [Fact]
    public async Task Node_id_other_than_the_certificates_is_refused_with_403()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var status = 0;
        await Assert.ThrowsAsync<WebSocketException>(() => FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-2", certificate, code => status = code));
        Assert.Equal(403, status);
    }

    [Fact]
    public async Task Refused_upgrade_says_why_in_a_header()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var (status, reason) = (0, "");
        await Assert.ThrowsAsync<WebSocketException>(
            () => FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-2", certificate, refused: (code, text) => (status, reason) = (code, text)));
        Assert.Equal((403, "node_id is 'edge-2', the client certificate is that of node 'edge-1'"), (status, reason));
    }

    [Fact]
    public void Reason_in_a_header_is_short_and_plain()
    {
        Assert.Equal("node_id is 'n?d?e'", Respond.HeaderText("node_id is 'n\u00f6d\ne'"));
        Assert.Equal(200, Respond.HeaderText(new string('x', 10_000)).Length);
        Assert.Equal("", Respond.HeaderText(""));
    }

    [Fact]
    public async Task Certificate_of_another_ca_is_refused()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var own = new CertificateRequest("O=system:nodes, CN=system:node:edge-1", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        await Assert.ThrowsAnyAsync<Exception>(() => FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", own));
    }

    [Fact]
    public async Task Node_over_the_limit_is_refused_with_503()
    {
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => options with { NodeLimit = 1 });
        await using var first = await cloud.JoinAsync("edge-1");
        using var certificate = await cloud.EnrolAsync("edge-2");
        var status = 0;
        await Assert.ThrowsAsync<WebSocketException>(() => FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, "edge-2", certificate, code => status = code));
        Assert.Equal(503, status);
    }

    [Fact]
    public async Task Second_connection_of_a_node_replaces_the_first_and_outlives_its_end()
    {
        await using var first = await _cloud.JoinAsync("edge-1");
        await using var second = await _cloud.JoinAsync("edge-1");
        Assert.Contains("again", await first.UntilClosedAsync(), StringComparison.Ordinal);
        await first.DisposeAsync();
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        await second.UntilAsync(Operations.Insert, "default/pod/web");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_node_that_is_in_the_middle_of_a_large_first_sync_keeps_no_other_waiting(bool isEdgeWire)
    {
        const int Pods = 3_000;
        for (var i = 0; i < Pods; i++)
            await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf($"many-{i}", "edge-1"));
        await using var other = await _cloud.JoinAsync("edge-2");
        using var certificate = await _cloud.EnrolAsync("edge-1");
        await using var busy = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: isEdgeWire);
        if (isEdgeWire)
        {
            // It has nothing.
            await busy.SendAsync(
                Sources.MetaManager, Groups.Resource, Operations.Get, InventoryMessages.PartResource, JsonNode.Parse(InventoryMessages.WritePart(new InventoryPart(1, [0], [])).Span));
        }

        var (read, middle, served) = (0, new TaskCompletionSource(), new TaskCompletionSource());
        var sync = Task.Run(async () =>
        {
            while (read < Pods)
            {
                if (await busy.ReceiveAsync() is { Operation: Operations.Insert, Resource: var resource } && resource.StartsWith("default/pod/many-", StringComparison.Ordinal) && ++read == Pods / 3)
                {
                    middle.SetResult();
                    await served.Task;
                }
            }
        });
        await middle.Task.WaitAsync(s_patience);

        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-2"));
        await other.UntilAsync(Operations.Insert, "default/pod/web");
        await other.AskAsync(Operations.Query, "null/node/edge-2");
        Assert.Equal(Pods / 3, read);
        served.SetResult();
        await sync.WaitAsync(s_patience);
    }

    [Fact]
    public async Task A_node_is_sent_no_more_than_the_window_before_it_answers()
    {
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => options with { Window = 5 });
        for (var i = 0; i < 20; i++)
            await cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf($"web-{i}", "edge-1"));
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        edge.Acks = false;
        await edge.SendAsync(
            Sources.MetaManager, Groups.Resource, Operations.Get, InventoryMessages.PartResource, JsonNode.Parse(InventoryMessages.WritePart(new InventoryPart(1, [0], [])).Span));
        for (var i = 0; i < 5; i++)
            await edge.UntilAsync(message => message.Operation == Operations.Insert, orBefore: false);

        // The answer to what is asked now comes after whatever else was to go.
        await edge.FlushAsync();
        Assert.Equal(5, edge.Received.Count(message => message.Operation == Operations.Insert));
        edge.Acks = true;
        foreach (var message in edge.Received.Where(message => message.Operation == Operations.Insert).ToList())
            await edge.AckAsync(message);
        for (var i = 5; i < 20; i++)
            await edge.UntilAsync(message => message.Operation == Operations.Insert, orBefore: false);
    }

    [Fact]
    public async Task Silent_node_is_disconnected_after_the_keepalive_interval()
    {
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => options with { Keepalive = TimeSpan.FromMilliseconds(700) });
        await using var edge = await cloud.JoinAsync("edge-1");
        edge.Acks = false;
        Assert.Contains("keepaliveInterval", await edge.UntilClosedAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_node_that_says_how_often_it_beats_is_disconnected_when_two_beats_are_missed()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        // A stock edge says no such thing.
        await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        var began = System.Diagnostics.Stopwatch.StartNew();
        edge.Acks = false;
        await edge.SendAsync(
            Sources.MetaManager, Groups.Resource, Operations.Get, InventoryMessages.DigestResource,
            JsonNode.Parse(InventoryMessages.WriteDigest(0, new InventoryDigest(1), beatMs: 200).Span));
        Assert.Contains("two beats", await edge.UntilClosedAsync(), StringComparison.Ordinal);
        // Without the beat it would be the keepaliveInterval, 30 s.
        Assert.InRange(began.Elapsed, TimeSpan.FromMilliseconds(400), TimeSpan.FromSeconds(15));
    }

    [Fact]
    public async Task Ping_is_answered_with_ack()
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        var ping = await edge.SendAsync("websocket", "resource", "ping", "node");
        var answer = await edge.UntilAsync(message => message.ParentId == ping.Id);
        Assert.Equal("ack", FakeEdge.Content(answer)!.GetValue<string>());
    }

    // kubeedge-wire §2.6. Nobody may speak for the cloud's own rooms, nor to a group that is none.
    [Theory]
    [InlineData(Sources.Edged, "wonders", Operations.Query)]
    [InlineData(Sources.Edged, "", Operations.Query)]
    [InlineData(Sources.Edged, "META", Operations.Query)]
    [InlineData(Sources.Edged, Groups.Twin, Operations.Query)]
    [InlineData(Sources.Edged, Groups.Stream, Operations.Query)]
    [InlineData(Sources.MetaServer, Groups.DynamicController, Operations.Query)]
    [InlineData(Sources.Bus, Groups.User, Operations.Upload)]
    [InlineData(Sources.CloudHub, Groups.Meta, Operations.Query)]
    [InlineData(Sources.EdgeController, Groups.Meta, Operations.Query)]
    [InlineData(Sources.DeviceController, Groups.Resource, Operations.Query)]
    [InlineData(Sources.DynamicController, Groups.Resource, Operations.Query)]
    [InlineData("synccontroller", Groups.Resource, Operations.Query)]
    [InlineData("cloudStream", Groups.Meta, Operations.Query)]
    public async Task What_nobody_takes_is_counted_and_the_next_request_is_answered(string source, string group, string operation)
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var dropped = 0;
        foreach (var isEdgeWire in (bool[])[false, true])
        {
            await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: isEdgeWire);
            // What would be answered otherwise, were it edged's.
            var unrouted = await edge.SendAsync(source, group, operation, "default/volumeattachment/data");
            Assert.Contains("does not serve", (await edge.AskAsync(Operations.Query, "default/volumeattachment/data")).Text("ErrStatus", "message"), StringComparison.Ordinal);
            Assert.Contains($"\nedge_cloudhub_queue_drops_total{{queue=\"upstream\"}} {++dropped}\n", _cloud.Host.Metrics.Render(), StringComparison.Ordinal);
            var answer = edge.Received.SingleOrDefault(message => message.ParentId == unrouted.Id);
            Assert.Equal(isEdgeWire, answer is not null);
            if (answer is null)
                continue;
            // Final, so that the queue of an Edge peer lets go of it.
            Assert.Contains("no taker", FakeEdge.Content(answer).Text("ErrStatus", "message"), StringComparison.Ordinal);
            Assert.Equal(405, FakeEdge.Content(answer).Number(0, "ErrStatus", "code"));
        }
    }

    [Fact]
    public async Task Registered_node_carries_the_address_of_its_cloudcore()
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        var node = await _cloud.Kube.GetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None);
        Assert.Equal("127.0.0.1", node.Annotation("cloudcore"));
        await edge.UntilAsync(Operations.Update, "null/node/edge-1");
    }

    [Fact]
    public async Task Node_that_exists_is_answered_with_already_exists_and_gets_its_new_labels()
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        var again = Support.Cloud.NodeOf("edge-1");
        again["metadata"]!["labels"]!["zone"] = "b";
        var answer = await edge.AskAsync("insert", "null/node/edge-1", again);
        Assert.Null(answer!["Object"]);
        Assert.Equal("AlreadyExists", answer.Text("Err", "ErrStatus", "reason"));
        Assert.Equal("b", (await _cloud.Kube.GetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None)).Label("zone"));
    }

    [Theory]
    [InlineData(Operations.Insert)]
    [InlineData(Operations.Update)]
    public async Task A_late_registration_does_not_take_a_node_back_from_the_cloudcore_that_it_moved_to(string operation)
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        var hasMoved = false;
        _cloud.Kube.OnWrite = (verb, plural, name) =>
        {
            if (hasMoved || (verb, plural) != ("patch", "nodes"))
                return;
            hasMoved = true;
            Assert.True(_cloud.Kube.PatchAsync(ResourceKind.Node, null, name, PatchKind.Merge, Claim("10.9.9.9", "other"), null, CancellationToken.None).IsCompletedSuccessfully);
        };
        var again = Support.Cloud.NodeOf("edge-1");
        again["metadata"]!["labels"]!["zone"] = "b";
        // The edge tells what it once read, too.
        again["metadata"]!["annotations"] = new JsonObject { ["cloudcore"] = "10.8.8.8", ["edge.kubeedge.io/cloudcore"] = "yet another", ["note"] = "kept" };
        await edge.SendAsync(Sources.Edged, Groups.Meta, operation, "null/node/edge-1", again);
        Assert.Contains("another cloudcore", await edge.UntilClosedAsync(), StringComparison.Ordinal);
        JsonObject node;
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while ((node = await _cloud.Kube.GetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None)).Label("zone") != "b")
            await Task.Delay(10, limit.Token);
        Assert.Equal(("10.9.9.9", "other", "kept"), (node.Annotation("cloudcore"), node.Annotation("edge.kubeedge.io/cloudcore"), node.Annotation("note")));

        static byte[] Claim(string address, string id)
            => Encoding.UTF8.GetBytes($$"""{"metadata":{"annotations":{"cloudcore":"{{address}}","edge.kubeedge.io/cloudcore":"{{id}}"} } }""");
    }

    [Fact]
    public async Task Pod_goes_down_after_the_config_it_uses()
    {
        await _cloud.CreateAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await using var edge = await _cloud.JoinAsync("edge-1");
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1", Support.Cloud.UsingConfig("app")));
        var pod = await edge.UntilAsync(Operations.Insert, "default/pod/web");
        var config = edge.Received.Single(message => message.Resource == "default/configmap/app");
        Assert.True(edge.Received.IndexOf(config) < edge.Received.IndexOf(pod));
        Assert.Equal((Sources.EdgeController, Groups.Resource), (pod.Source, pod.Group));
        var content = FakeEdge.Content(pod)!.AsObject();
        Assert.Equal(("Pod", "v1", pod.ResourceVersion), (content.Kind(), content.ApiVersion(), content.ResourceVersion()));
    }

    [Fact]
    public async Task Unused_config_of_others_is_neither_sent_nor_readable()
    {
        await _cloud.CreateAsync(ResourceKind.Secret, Support.Cloud.Config("foreign"));
        await using var edge = await _cloud.JoinAsync("edge-1");
        var answer = await edge.AskAsync("query", "default/secret/foreign");
        Assert.Equal("Forbidden", answer.Text("ErrStatus", "reason"));
        Assert.DoesNotContain(edge.Received, message => message.Resource == "default/secret/foreign" && message.ParentId.Length == 0);
    }

    [Fact]
    public async Task Config_of_the_last_user_goes_when_the_pod_goes()
    {
        await _cloud.CreateAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await using var edge = await _cloud.JoinAsync("edge-1");
        var pod = await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1", Support.Cloud.UsingConfig("app")));
        await edge.UntilAsync(Operations.Insert, "default/pod/web");
        await edge.SendAsync("edged", "meta", "delete", "default/pod/web", new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = pod.Uid() } });
        var gone = await edge.UntilAsync(Operations.Delete, "default/pod/web");
        Assert.Equal(pod.Uid(), FakeEdge.Content(gone)!.AsObject().Uid());
        await edge.UntilAsync(Operations.Delete, "default/configmap/app");
    }

    [Fact]
    public async Task Unacked_object_is_sent_again_on_the_next_connection()
    {
        await using (var edge = await _cloud.JoinAsync("edge-1"))
        {
            edge.Acks = false;
            await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
            await edge.UntilAsync(Operations.Insert, "default/pod/web");
        }

        await using var again = await _cloud.JoinAsync("edge-1");
        await again.UntilAsync(Operations.Insert, "default/pod/web");
    }

    [Fact]
    public async Task Pod_deleted_while_a_stock_edge_is_away_is_deleted_when_it_returns()
    {
        JsonObject pod;
        await using (var edge = await _cloud.JoinAsync("edge-1"))
        {
            pod = await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
            await edge.UntilAsync(Operations.Insert, "default/pod/web");
        }

        await _cloud.Kube.DeleteAsync(ResourceKind.Pod, "default", "web", null, CancellationToken.None);
        await using var again = await _cloud.JoinAsync("edge-1");
        var gone = await again.UntilAsync(Operations.Delete, "default/pod/web");
        Assert.Equal(pod.Uid(), FakeEdge.Content(gone)!.AsObject().Uid());
    }

    [Fact]
    public async Task Object_the_edge_refuses_does_not_hold_others_back()
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        edge.Acks = false;
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("bad", "edge-1"));
        var bad = await edge.UntilAsync(Operations.Insert, "default/pod/bad");
        await edge.SendAsync(bad.Error(TimeProvider.System, "disk full") with { Source = Sources.MetaManager });
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("good", "edge-1"));
        await edge.UntilAsync(Operations.Insert, "default/pod/good");
    }

    [Fact]
    public async Task Metrics_tell_connected_nodes_and_acks()
    {
        await using var edge = await _cloud.JoinAsync("edge-1");
        await edge.UntilAsync(Operations.Update, "null/node/edge-1");
        await edge.FlushAsync();
        using var http = new HttpClient();
        var text = await http.GetStringAsync($"http://127.0.0.1:{_cloud.Host.MonitorPort}/metrics");
        Assert.Contains("\nKubeEdge_CloudHub_connected_nodes 1\n", text, StringComparison.Ordinal);
        Assert.Contains("edge_cloudhub_acks_total 1", text, StringComparison.Ordinal);
        Assert.Equal("ok\n", await http.GetStringAsync($"http://127.0.0.1:{_cloud.Host.MonitorPort}/healthz"));
    }

    [Fact]
    public async Task Port_in_use_is_an_error_that_names_port_and_key()
    {
        var port = _cloud.Host.WebSocketPort;
        var error = await Assert.ThrowsAsync<CloudCoreException>(() => Support.Cloud.StartAsync(
            _cloud.Kube, options => options with { WebSocket = options.WebSocket with { Port = port } }));
        Assert.Contains($"port {port}", error.Message, StringComparison.Ordinal);
        Assert.Contains("modules.cloudHub.websocket.port", error.Message, StringComparison.Ordinal);
    }
}
