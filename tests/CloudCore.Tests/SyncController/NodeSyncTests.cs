using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Sync;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

/// <summary>What a node is told, without a wire: the watch is played by hand, the API that is asked is in memory.</summary>
[Trait("Category", "Sync")]
public sealed partial class NodeSyncTests : IAsyncLifetime
{
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly FakeKube _kube = new();
    private readonly HubMetrics _metrics = new();
    private EventRecorder _events = null!;
    private NodeSync _sync = null!;

    public Task InitializeAsync()
    {
        _events = new EventRecorder(_kube, _time, _metrics, NullLogger.Instance);
        _sync = NewSync(_kube, _events, _metrics);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _sync.DisposeAsync();
        await _events.DisposeAsync();
    }

    [Fact]
    public async Task Node_that_has_everything_is_answered_ok_and_told_nothing()
    {
        await PodAsync("web");
        var first = new TestSession("n1");
        Assert.False(await first.ConnectAsync(_sync));
        Assert.Equal(["insert default/pod/web 101"], first.Told);
        var again = new TestSession("n1", store: first.Store);
        Assert.True(await again.ConnectAsync(_sync));
        Assert.Empty(again.Told);
        Assert.True(again.IsOpen);
        Assert.Equal(SessionEndReason.Replaced, first.EndReason);
    }

    [Fact]
    public async Task What_is_wrong_with_a_device_while_its_node_is_away_is_told_when_it_connects()
    {
        var told = new List<(string Name, string Problem)>();
        _sync.ProblemsChanged = (device, problems) => told.AddRange(problems.Select(problem => (device.Name, problem)));
        var early = JsonNode.Parse(
            """{"metadata":{"name":"early","namespace":"default","uid":"u","resourceVersion":"5"},"spec":{"nodeName":"n1","deviceModelRef":{"name":"missing"},"properties":[]}}""")!.AsObject();
        _sync.Changed(ResourceKind.Device, new ObjectChange(ChangeType.Added, early, null));
        Assert.Empty(told);
        await new TestSession("n1").ConnectAsync(_sync);
        Assert.Equal(("early", "DeviceModel 'missing' does not exist in namespace 'default'; the device goes to node 'n1' once it does"), told.Single());
    }

    [Fact]
    public async Task Status_that_changed_meanwhile_is_no_difference()
    {
        await PodAsync("web");
        var first = new TestSession("n1");
        await first.ConnectAsync(_sync);
        await WatchAsync(ResourceKind.Pod, "web", """{"status":{"phase":"Running"}}""");
        Assert.True(await new TestSession("n1", store: first.Store).ConnectAsync(_sync));
    }

    [Fact]
    public async Task Missing_changed_and_surplus_objects_are_the_difference()
    {
        await PodAsync("same");
        await PodAsync("changed");
        var first = new TestSession("n1");
        await first.ConnectAsync(_sync);
        _sync.Unregister(first);
        await WatchAsync(ResourceKind.Pod, "changed", """{"metadata":{"labels":{"a":"b"}}}""");
        await PodAsync("missing");
        first.Store["default/pod/gone"] = new TestSession.Row("gone-uid", 7, 1);
        first.Store["default/configmap/left"] = new TestSession.Row("left-uid", 3, 1);
        var again = new TestSession("n1", store: first.Store);
        Assert.False(await again.ConnectAsync(_sync));
        Assert.Equal(
            [
                "delete default/configmap/left 3", "delete default/pod/gone 8", "insert default/pod/changed 103", "insert default/pod/missing 104",
            ], again.Told.Order());
    }

    [Fact]
    public async Task A_Secret_that_a_pod_names_and_that_could_not_be_read_yet_stays_at_the_edge()
    {
        _kube.OnTryGet = (plural, _) =>
        {
            if (plural == "secrets")
                throw new KubeException(503, "ServiceUnavailable", "no");
        };
        await using var secrets = new NamedSecrets(_kube, change => _sync.Changed(ResourceKind.Secret, change), _sync.Drop, TimeSpan.FromSeconds(30), _time, new Random(1), NullLogger.Instance);
        _sync.Secrets = secrets;
        var pod = JsonNode.Parse(
            """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default","uid":"u","resourceVersion":"5"},"spec":{"nodeName":"n1","containers":[{"name":"c","envFrom":[{"secretRef":{"name":"cred"}}]}]}}""")!.AsObject();
        _sync.Changed(ResourceKind.Pod, new ObjectChange(ChangeType.Added, pod, null));
        foreach (var isEdgeWire in (bool[])[true, false])
        {
            var session = new TestSession("n1", isEdgeWire);
            session.Store["default/secret/cred"] = new TestSession.Row("cred-uid", 3, 1);
            session.Store["default/secret/left"] = new TestSession.Row("left-uid", 3, 1);
            await session.ConnectAsync(_sync);
            Assert.DoesNotContain(session.Told, told => told.Contains("secret/cred", StringComparison.Ordinal));
            if (isEdgeWire)
                Assert.Contains("delete default/secret/left 3", session.Told);
        }
    }

    [Fact]
    public async Task Change_between_digest_and_part_is_not_lost_and_comes_once()
    {
        await PodAsync("one");
        await PodAsync("two");
        var session = new TestSession("n1");
        await session.ConnectAsync(_sync, between: () =>
        {
            WatchAsync(ResourceKind.Pod, "one", """{"metadata":{"labels":{"a":"b"}}}""").Wait();
            DeletedAsync(ResourceKind.Pod, "two").Wait();
            PodAsync("three").Wait();
        });
        Assert.Equal(["insert default/pod/one 103", "insert default/pod/three 105"], session.Told.Order());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Change_of_what_was_not_asked_for_passes_between_digest_and_part(int seed)
    {
        // Many objects in many buckets; one differs, all others change while it is told.
        var names = Enumerable.Range(0, 64).Select(i => $"p{seed}-{i}").ToList();
        foreach (var name in names)
            await PodAsync(name);
        var first = new TestSession("n1");
        await first.ConnectAsync(_sync, buckets: 64);
        await WatchAsync(ResourceKind.Pod, names[0], """{"metadata":{"labels":{"a":"b"}}}""");
        var again = new TestSession("n1", store: first.Store.Where(pair => pair.Key != $"default/pod/{names[0]}").ToDictionary());
        await again.ConnectAsync(_sync, buckets: 64, between: () =>
        {
            foreach (var name in names)
                WatchAsync(ResourceKind.Pod, name, """{"metadata":{"labels":{"a":"c"}}}""").Wait();
        });
        Assert.Equal(64, again.Told.Count);
        Assert.True(await new TestSession("n1", store: again.Store).ConnectAsync(_sync));
    }

    [Fact]
    public async Task Part_that_leaves_out_a_bucket_that_was_asked_for_gets_that_bucket_in_full()
    {
        foreach (var i in Enumerable.Range(0, 16))
            await PodAsync($"p{i}");
        var session = new TestSession("n1");
        Assert.True(_sync.TryRegister(session, 10));
        Assert.NotEmpty(InventoryMessages.ReadAsk(_sync.AnswerDigest(session, session.Digest(8)), 8, out _)!);
        await _sync.ApplyPartAsync(session, session.Part(8, [0]), CancellationToken.None);
        Assert.Equal(16, session.Told.Count);
    }

    [Fact]
    public async Task A_runtime_class_goes_where_a_pod_names_it_and_not_to_stock_edges()
    {
        var edge = new TestSession("n1");
        var other = new TestSession("n2");
        await edge.ConnectAsync(_sync);
        await other.ConnectAsync(_sync);
        await AddAsync(ResourceKind.RuntimeClass, JsonNode.Parse("""{"metadata":{"name":"kata"},"handler":"kata-qemu"}""")!.AsObject());
        Assert.Empty(edge.Told);
        await AddAsync(ResourceKind.Pod, JsonNode.Parse("""{"metadata":{"name":"web"},"spec":{"nodeName":"n1","runtimeClassName":"kata"}}""")!.AsObject());
        Assert.Equal(["update null/runtimeclass/kata 101", "insert default/pod/web 102"], edge.Told);
        Assert.Empty(other.Told);
        // It has both, and is told neither again.
        Assert.True(await new TestSession("n1", store: edge.Store).ConnectAsync(_sync));
        await DeletedAsync(ResourceKind.Pod, "web");
        await AddAsync(ResourceKind.Pod, JsonNode.Parse("""{"metadata":{"name":"stock"},"spec":{"nodeName":"n3","runtimeClassName":"kata"}}""")!.AsObject());
        var stock = new TestSession("n3", isEdgeWire: false);
        Assert.True(_sync.TryRegister(stock, 10));
        _sync.OpenStock(stock);
        Assert.DoesNotContain(stock.Told, told => told.Contains("runtimeclass", StringComparison.Ordinal));
        Assert.Contains(stock.Told, told => told.Contains("default/pod/stock", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Late_digest_takes_away_what_everything_left_behind()
    {
        await PodAsync("web");
        var session = new TestSession("n1", store: new() { ["default/configmap/left"] = new TestSession.Row("left-uid", 3, 1) });
        Assert.True(_sync.TryRegister(session, 10));
        _sync.OpenWithEverything(session);
        Assert.Equal(["insert default/pod/web 101"], session.Told);
        var asked = InventoryMessages.ReadAsk(_sync.AnswerDigest(session, session.Digest()), 1, out _)!;
        // It is open: nothing is held back while the edge tells.
        await PodAsync("second");
        Assert.Equal("insert default/pod/second 102", session.Told[^1]);
        await _sync.ApplyPartAsync(session, session.Part(1, asked), CancellationToken.None);
        Assert.Equal("delete default/configmap/left 3", session.Told[^1]);
        Assert.Equal(3, session.Told.Count);
        Assert.Equal(2, session.KnownUids.Count);
    }

    [Fact]
    public async Task Link_that_breaks_before_devices_are_stored_sends_them_again()
    {
        await ModelAndDeviceAsync();
        foreach (var isEdgeWire in (bool[])[true, false])
        {
            var broken = new TestSession("n1", isEdgeWire);
            await OpenAsync(broken);
            Assert.Equal(["insert default/devicemodel/m 101", "insert default/device/thermo 102"], broken.Told);
            // Nothing of it was stored or acknowledged: the word that goes before the device may have arrived.
            _sync.Unregister(broken);
            var again = new TestSession("n1", isEdgeWire);
            await OpenAsync(again);
            Assert.Equal(broken.Told, again.Told);
            _sync.Unregister(again);
        }
    }

    [Fact]
    public async Task Stock_edge_is_told_of_the_devices_that_it_has_and_not_of_those_that_are_sent()
    {
        await ModelAndDeviceAsync();
        var first = new TestSession("n1", isEdgeWire: false);
        await OpenAsync(first);
        foreach (var obj in first.Objects)
            _sync.Stored(first, obj);
        _sync.Unregister(first);
        await DeviceAsync("other");
        var again = new TestSession("n1", isEdgeWire: false);
        await OpenAsync(again);
        Assert.Equal(["has default/device/thermo", "insert default/device/other 103"], again.Told);
    }

    [Fact]
    public async Task Device_deleted_while_its_node_was_away_is_deleted_at_the_edge()
    {
        await ModelAndDeviceAsync();
        var first = new TestSession("n1");
        await first.ConnectAsync(_sync);
        _sync.Unregister(first);
        await DeletedAsync(ResourceKind.Device, "thermo");
        var again = new TestSession("n1", store: first.Store);
        await again.ConnectAsync(_sync);
        Assert.Equal(["delete default/device/thermo 103", "delete default/devicemodel/m 101"], again.Told.OrderBy(text => text.Contains("model", StringComparison.Ordinal)));
        Assert.Empty(again.Store);
    }

    [Fact]
    public async Task Nothing_is_queued_for_a_node_that_is_not_connected_here()
    {
        await PodAsync("web");
        await DeletedAsync(ResourceKind.Pod, "web");
        var session = new TestSession("n1");
        Assert.True(await session.ConnectAsync(_sync));
        Assert.Empty(session.Told);
    }

    [Fact]
    public async Task Deleted_node_ends_its_session_and_only_that()
    {
        var other = new TestSession("n2");
        await other.ConnectAsync(_sync);
        await NodeAsync("n1");
        var session = new TestSession("n1");
        await session.ConnectAsync(_sync);
        Assert.Equal(2, _sync.Connected);
        await DeletedAsync(ResourceKind.Node, "n1");
        Assert.Equal(SessionEndReason.NodeDeleted, session.EndReason);
        Assert.Equal(SessionEndReason.None, other.EndReason);
        Assert.Equal(1, _sync.Connected);
    }

    [Fact]
    public async Task Node_is_claimed_by_one_write_and_its_reconnects_write_nothing()
    {
        var writes = new System.Collections.Concurrent.ConcurrentQueue<string>();
        _kube.OnWrite = (verb, plural, name) => writes.Enqueue($"{verb} {name}");
        _sync.Identify(new CloudCoreIdentity("192.0.2.1", "a"));
        await NodeAsync("n1");
        await new TestSession("n1").ConnectAsync(_sync);
        var claimed = await ClaimedAsync("n1");
        Assert.Equal(("192.0.2.1", "a"), (claimed.Annotation("cloudcore"), claimed.Annotation("edge.kubeedge.io/cloudcore")));
        _sync.Changed(ResourceKind.Node, new ObjectChange(ChangeType.Updated, claimed, null));
        for (var i = 0; i < 10; i++)
            await new TestSession("n1").ConnectAsync(_sync);
        // A restarted CloudCore of the same name has nothing to write either.
        await using (var again = NewSync(_kube, _events, _metrics))
        {
            again.Identify(new CloudCoreIdentity("192.0.2.1", "a"));
            again.Changed(ResourceKind.Node, new ObjectChange(ChangeType.Added, claimed, null));
            await new TestSession("n1").ConnectAsync(again);
        }

        Assert.Equal(["create n1", "patch n1"], writes);
    }

    [Fact]
    public async Task Claims_of_many_nodes_go_a_few_at_a_time()
    {
        var (now, most) = (0, 0);
        var gate = new Lock();
        var slow = new SlowKube(_kube, () =>
        {
            lock (gate)
            {
                most = Math.Max(most, ++now);
            }
        }, () =>
        {
            lock (gate)
            {
                now--;
            }
        });
        await using var sync = NewSync(slow, _events, _metrics);
        sync.Identify(new CloudCoreIdentity("192.0.2.1", "a"));
        for (var i = 0; i < 200; i++)
        {
            var node = await _kube.CreateAsync(ResourceKind.Node, null, Support.Cloud.NodeOf($"n{i}"), CancellationToken.None);
            sync.Changed(ResourceKind.Node, new ObjectChange(ChangeType.Added, node, null));
            Assert.True(sync.TryRegister(new TestSession($"n{i}"), 1_000));
        }

        for (var i = 0; i < 200; i++)
            await ClaimedAsync($"n{i}");
        Assert.InRange(most, 1, 4);
    }

    [Fact]
    public async Task Session_ends_when_the_node_names_another_cloudcore_after_its_claim()
    {
        _sync.Identify(new CloudCoreIdentity("192.0.2.1", "a"));
        await NodeAsync("n1");
        var session = new TestSession("n1");
        await session.ConnectAsync(_sync);
        await ClaimedAsync("n1");
        var moved = await _kube.PatchAsync(
            ResourceKind.Node, null, "n1", PatchKind.Merge, """{"metadata":{"annotations":{"edge.kubeedge.io/cloudcore":"b"}}}"""u8.ToArray(), null, CancellationToken.None);
        _sync.Changed(ResourceKind.Node, new ObjectChange(ChangeType.Updated, moved, null));
        Assert.Equal(SessionEndReason.Moved, session.EndReason);
    }

    [Fact]
    public async Task Refused_object_is_told_once_a_minute_by_an_event_on_it()
    {
        await PodAsync("web");
        var session = new TestSession("n1");
        await session.ConnectAsync(_sync);
        var pod = session.Objects.Single();
        for (var i = 0; i < 5; i++)
            _sync.Refused(session, pod, "disk full");
        var told = await EventAsync();
        Assert.Equal(("EdgeRefused", "Pod", "web", "Warning"), (told.Text("reason"), told.Text("involvedObject", "kind"), told.Text("involvedObject", "name"), told.Text("type")));
        Assert.Equal("node 'n1' could not store default/pod/web: disk full; it is sent again, and delays nothing else", told.Text("message"));
        Assert.Equal(1, told.Number(0, "count"));
    }

    [Fact]
    public async Task Config_that_comes_back_after_its_acknowledged_delete_is_owed_its_next_delete()
    {
        // The delete is answered, the return is sent and its answer lost, and then nothing needs the ConfigMap any more.
        await AddAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await AddAsync(ResourceKind.Pod, Support.Cloud.PodOf("one", "n1", Support.Cloud.UsingConfig("app")));
        var session = new TestSession("n1", isEdgeWire: false);
        await OpenAsync(session);
        foreach (var obj in session.Objects.ToList())
            _sync.Stored(session, obj);
        await DeletedAsync(ResourceKind.Pod, "one");
        var withdrawn = session.Objects[^1];
        Assert.Equal("delete default/configmap/app 101", session.Told[^1]);
        await AddAsync(ResourceKind.Pod, Support.Cloud.PodOf("two", "n1", Support.Cloud.UsingConfig("app")));
        Assert.Contains("update default/configmap/app 101", session.Told);
        _sync.Stored(session, withdrawn);
        _sync.Unregister(session);
        await DeletedAsync(ResourceKind.Pod, "two");
        var again = new TestSession("n1", isEdgeWire: false, store: session.Store);
        await OpenAsync(again);
        Assert.Contains("delete default/configmap/app 0", again.Told);
        Assert.DoesNotContain("default/configmap/app", again.Store.Keys);
    }

    [Fact]
    public async Task Edge_peer_leaves_no_sync_records()
    {
        await PodAsync("web");
        var session = new TestSession("n1");
        await session.ConnectAsync(_sync);
        foreach (var obj in session.Objects)
            _sync.Stored(session, obj);
        Assert.Equal(0, _sync.WaitingRecords);
    }

    [Fact]
    public async Task Any_edge_and_any_cluster_are_in_step_after_one_exchange()
    {
        for (var seed = 1; seed <= 300; seed++)
        {
            var random = new Random(seed);
            var kube = new FakeKube();
            await using var events = new EventRecorder(kube, _time, _metrics, NullLogger.Instance);
            await using var sync = NewSync(kube, events, _metrics);
            var edge = new Dictionary<string, TestSession.Row>();
            var wanted = new Dictionary<string, (string Uid, ulong Fingerprint)>();
            for (var i = random.Next(30); i >= 0; i--)
            {
                var (kind, type) = random.Next(2) == 0 ? (ResourceKind.Pod, "pod") : (ResourceKind.ConfigMap, "configmap");
                var key = $"default/{type}/o{i}";
                if (random.Next(4) > 0)
                {
                    var made = await kube.CreateAsync(kind, "default", kind == ResourceKind.Pod ? Support.Cloud.PodOf($"o{i}", "n1") : Support.Cloud.Config($"o{i}"), CancellationToken.None);
                    sync.Changed(kind, new ObjectChange(ChangeType.Added, made, null));
                    if (kind == ResourceKind.ConfigMap)
                    {
                        var user = await kube.CreateAsync(ResourceKind.Pod, "default", Support.Cloud.PodOf($"user{i}", "n1", Support.Cloud.UsingConfig($"o{i}")), CancellationToken.None);
                        sync.Changed(ResourceKind.Pod, new ObjectChange(ChangeType.Added, user, null));
                        wanted[$"default/pod/user{i}"] = (user.Uid(), new ObjectBody(user).Fingerprint);
                    }

                    var body = new ObjectBody(made);
                    wanted[key] = (body.Uid, body.Fingerprint);
                    // The edge has it; or has an older or a newer one of another history, without fingerprint or not; or one of that name.
                    if (random.Next(5) is var fate and < 4)
                    {
                        edge[key] = fate switch
                        {
                            0 => new TestSession.Row(body.Uid, body.Version, body.Fingerprint),
                            1 => new TestSession.Row(body.Uid, body.Version - 1 - random.Next(50), 7),
                            2 => new TestSession.Row(body.Uid, body.Version + random.Next(50), 8),
                            _ => new TestSession.Row($"other{i}", body.Version - 25 + random.Next(50), 9),
                        };
                    }
                }
                else if (random.Next(2) == 0)
                {
                    edge[key] = new TestSession.Row($"gone{i}", random.Next(200), 10);
                }
            }

            var session = new TestSession("n1", store: edge);
            var isSame = await session.ConnectAsync(sync, 1 << random.Next(9));
            Assert.True(
                wanted.OrderBy(pair => pair.Key).SequenceEqual(edge.Select(pair => KeyValuePair.Create(pair.Key, (pair.Value.Uid, pair.Value.Fingerprint))).OrderBy(pair => pair.Key)),
                $"seed {seed}: wanted {string.Join(", ", wanted)}; has {string.Join(", ", edge)}; told {string.Join(", ", session.Told)}");
            Assert.True(!isSame || session.Told.Count == 0, $"seed {seed}");
            Assert.True(await new TestSession("n1", store: edge).ConnectAsync(sync, 1 << random.Next(9)), $"seed {seed}: not in step");
        }
    }

    private NodeSync NewSync(IKubeClient kube, EventRecorder events, HubMetrics metrics) => new(kube, _time, new Random(1), events, metrics, NullLogger.Instance);

    private async Task OpenAsync(TestSession session)
    {
        if (session.IsEdgeWire)
        {
            await session.ConnectAsync(_sync);
            return;
        }

        Assert.True(_sync.TryRegister(session, 10));
        _sync.OpenStock(session);
    }

    private Task<JsonObject> GetAsync(ResourceKind kind, string name) => _kube.GetAsync(kind, kind.Namespaced ? "default" : null, name, CancellationToken.None);

    private async Task<JsonObject> AddAsync(ResourceKind kind, JsonObject obj)
    {
        var made = await _kube.CreateAsync(kind, kind.Namespaced ? "default" : null, obj, CancellationToken.None);
        _sync.Changed(kind, new ObjectChange(ChangeType.Added, made, null));
        return made;
    }

    private Task<JsonObject> PodAsync(string name) => AddAsync(ResourceKind.Pod, Support.Cloud.PodOf(name, "n1"));

    private Task<JsonObject> NodeAsync(string name) => AddAsync(ResourceKind.Node, Support.Cloud.NodeOf(name));

    private async Task ModelAndDeviceAsync()
    {
        await AddAsync(ResourceKind.DeviceModel, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "m" }, ["spec"] = new JsonObject() });
        await DeviceAsync("thermo");
    }

    private Task<JsonObject> DeviceAsync(string name) => AddAsync(ResourceKind.Device, new JsonObject
    {
        ["metadata"] = new JsonObject { ["name"] = name },
        ["spec"] = new JsonObject { ["nodeName"] = "n1", ["deviceModelRef"] = new JsonObject { ["name"] = "m" } },
    });

    private Task<JsonObject> PatchAsync(ResourceKind kind, string name, string patch)
        => _kube.PatchAsync(kind, "default", name, PatchKind.Merge, System.Text.Encoding.UTF8.GetBytes(patch), null, CancellationToken.None);

    private async Task WatchAsync(ResourceKind kind, string name, string patch)
        => _sync.Changed(kind, new ObjectChange(ChangeType.Updated, await PatchAsync(kind, name, patch), null));

    private async Task DeletedAsync(ResourceKind kind, string name)
    {
        var last = await _kube.DeleteAsync(kind, kind.Namespaced ? "default" : null, name, null, CancellationToken.None);
        _sync.Changed(kind, new ObjectChange(ChangeType.Deleted, last, last));
    }

    private async Task<JsonObject> ClaimedAsync(string node)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await foreach (var change in _kube.WatchAsync(ResourceKind.Node, null, "0", new ListOptions(), limit.Token))
        {
            if (change.Object.Name() == node && change.Object.Annotation("edge.kubeedge.io/cloudcore") is not null)
                return change.Object;
        }

        throw new InvalidOperationException("the watch ended");
    }

    private async Task<JsonObject> EventAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await foreach (var change in _kube.WatchAsync(ResourceKind.Event, null, "0", new ListOptions(), limit.Token))
            return change.Object;
        throw new InvalidOperationException("the watch ended");
    }
}
