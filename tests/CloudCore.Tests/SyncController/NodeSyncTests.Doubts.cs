using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Observability;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

/// <content>What a comparison cannot decide: clusters that were restored, watches that are behind, and an API that does not answer.</content>
public sealed partial class NodeSyncTests
{
    [Fact]
    public async Task Restored_cluster_sets_the_edge_back_by_a_repair_and_what_follows_is_taken_too()
    {
        await PodAsync("web");
        var session = new TestSession("n1", store: new() { ["default/pod/web"] = new TestSession.Row((await GetAsync(ResourceKind.Pod, "web")).Uid(), 9_000, 1) });
        await session.ConnectAsync(_sync);
        Assert.Equal(["insert default/pod/web 101 repair"], session.Told);
        await WatchAsync(ResourceKind.Pod, "web", """{"metadata":{"labels":{"a":"b"}}}""");
        Assert.Equal("update default/pod/web 102 repair", session.Told[^1]);
        Assert.True(await new TestSession("n1", store: session.Store).ConnectAsync(_sync));
    }

    [Fact]
    public async Task Pod_that_the_edge_deleted_before_the_cluster_was_restored_comes_back_on_the_APIs_word()
    {
        var pod = await PodAsync("web");
        var session = new TestSession("n1");
        session.Buried.Add(pod.Uid());
        await session.ConnectAsync(_sync);
        Assert.Equal(["insert default/pod/web 101"], session.Told);
        Assert.Empty(session.Store); // held back by its tombstone

        await session.CompareAsync(_sync);
        Assert.Equal("insert default/pod/web 101 repair", session.Told[^1]);
        Assert.Equal(["default/pod/web"], session.Store.Keys);

        // A pod that is gone by the API, but not yet by our watch, is not dug up.
        session.Store.Clear();
        await _kube.DeleteAsync(ResourceKind.Pod, "default", "web", null, CancellationToken.None);
        await session.CompareAsync(_sync);
        Assert.Equal(2, session.Told.Count);
        Assert.Empty(session.Store);
    }

    [Fact]
    public async Task Whatever_the_edge_deleted_before_the_cluster_was_restored_comes_back_by_one_repair_each()
    {
        List<(string Key, JsonObject Object)> all =
        [
            ("null/node/n1", await NodeAsync("n1")),
            ("default/configmap/app", await AddAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"))),
            ("default/secret/key", await AddAsync(ResourceKind.Secret, Support.Cloud.Config("key"))),
            ("null/runtimeclass/kata", await AddAsync(ResourceKind.RuntimeClass, JsonNode.Parse("""{"metadata":{"name":"kata"},"handler":"kata-qemu"}""")!.AsObject())),
            ("default/pod/web", await AddAsync(ResourceKind.Pod, JsonNode.Parse(
                """{"metadata":{"name":"web"},"spec":{"nodeName":"n1","runtimeClassName":"kata","containers":[{"name":"c","envFrom":[{"configMapRef":{"name":"app"}},{"secretRef":{"name":"key"}}]}]}}""")!.AsObject())),
        ];
        await ModelAndDeviceAsync();
        all.Add(("default/devicemodel/m", await GetAsync(ResourceKind.DeviceModel, "m")));
        all.Add(("default/device/thermo", await GetAsync(ResourceKind.Device, "thermo")));
        all.Add(("default/service/web", await AddAsync(ResourceKind.Service, JsonNode.Parse("""{"metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.1"}}""")!.AsObject())));
        all.Add(("default/endpointslice/web-a", await AddAsync(
            ResourceKind.EndpointSlice, JsonNode.Parse("""{"metadata":{"name":"web-a","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[]}""")!.AsObject())));
        var session = new TestSession("n1") { WantsServices = true };
        session.Buried.UnionWith(all.Select(one => one.Object.Uid()));
        await session.ConnectAsync(_sync);
        Assert.Empty(session.Store); // held back by its tombstones
        Assert.Equal(all.Count, session.Objects.Count);

        session.Objects.Clear();
        session.Told.Clear();
        Assert.False(await session.CompareAsync(_sync));
        Assert.Equal(all.Select(one => one.Key).Order(StringComparer.Ordinal), session.Objects.Select(obj => obj.Resource).Order(StringComparer.Ordinal));
        Assert.All(session.Objects, obj => Assert.True(obj.IsRepair));
        Assert.True(await session.CompareAsync(_sync)); // in step: nothing more is asked or told
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Config_that_the_API_has_no_more_or_as_another_is_not_dug_up(bool isMadeAgain)
    {
        var session = await ConfigHeldBackAsync();
        await _kube.DeleteAsync(ResourceKind.ConfigMap, "default", "app", null, CancellationToken.None);
        if (isMadeAgain)
            await _kube.CreateAsync(ResourceKind.ConfigMap, "default", Support.Cloud.Config("app"), CancellationToken.None);
        await session.CompareAsync(_sync);
        Assert.Empty(session.Objects);
        Assert.Equal(["default/pod/web"], session.Store.Keys);
    }

    [Fact]
    public async Task Config_that_no_pod_of_the_node_needs_is_not_dug_up_by_a_late_copy_of_it()
    {
        var session = await ConfigHeldBackAsync();
        await DeletedAsync(ResourceKind.Pod, "web"); // and with it goes the last need
        session.Objects.Clear();
        Assert.True(await session.CompareAsync(_sync));
        Assert.Empty(session.Objects);
        Assert.Empty(session.Store);
    }

    [Fact]
    public async Task What_still_waits_to_be_sent_is_not_asked_for()
    {
        var session = await ConfigHeldBackAsync();
        session.ToSend.UnionWith(session.Buried);
        await session.CompareAsync(_sync);
        Assert.Empty(session.Objects);
        session.ToSend.Clear();
        await session.CompareAsync(_sync);
        Assert.Equal("update default/configmap/app 101 repair", session.Told[^1]);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(403, false)]
    public async Task Held_back_config_is_asked_for_until_the_API_answers_and_once_where_it_refuses(int code, bool isAskedAgain)
    {
        var kube = new FailingKube(_kube) { Code = code };
        await using var events = new EventRecorder(kube, _time, _metrics, NullLogger.Instance);
        await using var sync = NewSync(kube, events, _metrics);
        var config = await _kube.CreateAsync(ResourceKind.ConfigMap, "default", Support.Cloud.Config("app"), CancellationToken.None);
        sync.Changed(ResourceKind.ConfigMap, new ObjectChange(ChangeType.Added, config, null));
        var pod = await _kube.CreateAsync(ResourceKind.Pod, "default", Support.Cloud.PodOf("web", "n1", Support.Cloud.UsingConfig("app")), CancellationToken.None);
        sync.Changed(ResourceKind.Pod, new ObjectChange(ChangeType.Added, pod, null));
        var session = new TestSession("n1");
        session.Buried.Add(config.Uid());
        await session.ConnectAsync(sync);
        session.Objects.Clear();
        await session.CompareAsync(sync);
        Assert.Empty(session.Objects);
        if (!isAskedAgain)
        {
            _time.Advance(TimeSpan.FromMinutes(5));
            Assert.Equal(1, kube.Calls);
            return;
        }

        kube.Answers = true;

        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (session.Objects.Count == 0)
        {
            Assert.False(limit.IsCancellationRequested, "the ConfigMap is still away");
            _time.Advance(TimeSpan.FromSeconds(30));
            await Task.Yield();
        }

        Assert.Equal("update default/configmap/app 101 repair", session.Told[^1]);
    }

    [Fact]
    public async Task Watch_that_is_behind_neither_sets_back_nor_takes_away_what_another_cloudcore_sent()
    {
        // Our watch has shown the first version of one pod, and nothing of the others.
        var old = await PodAsync("newer");
        var newer = await PatchAsync(ResourceKind.Pod, "newer", """{"metadata":{"labels":{"a":"b"}}}""");
        var unseen = await _kube.CreateAsync(ResourceKind.Pod, "default", Support.Cloud.PodOf("unseen", "n1"), CancellationToken.None);
        var before = await PodAsync("recreated");
        await _kube.DeleteAsync(ResourceKind.Pod, "default", "recreated", null, CancellationToken.None);
        var recreated = await _kube.CreateAsync(ResourceKind.Pod, "default", Support.Cloud.PodOf("recreated", "n1"), CancellationToken.None);
        Assert.NotEqual(before.Uid(), recreated.Uid());
        var session = new TestSession("n1", store: new()
        {
            ["default/pod/newer"] = new TestSession.Row(old.Uid(), newer.Version(), new ObjectBody(newer).Fingerprint),
            ["default/pod/unseen"] = new TestSession.Row(unseen.Uid(), unseen.Version(), new ObjectBody(unseen).Fingerprint),
            ["default/pod/recreated"] = new TestSession.Row(recreated.Uid(), recreated.Version(), new ObjectBody(recreated).Fingerprint),
        });
        await session.ConnectAsync(_sync);
        Assert.Empty(session.Told);
    }

    [Fact]
    public async Task Watch_that_is_behind_the_end_of_a_pod_does_not_set_it_back()
    {
        var pod = await PodAsync("web");
        await _kube.DeleteAsync(ResourceKind.Pod, "default", "web", null, CancellationToken.None);
        var session = new TestSession("n1", store: new() { ["default/pod/web"] = new TestSession.Row(pod.Uid(), 9_000, 1) });
        await session.ConnectAsync(_sync);
        Assert.Empty(session.Told);
    }

    [Fact]
    public async Task Restored_object_is_repaired_also_where_the_API_has_a_version_that_says_the_same()
    {
        var pod = await PodAsync("web");
        await PatchAsync(ResourceKind.Pod, "web", """{"status":{"phase":"Running"}}""");
        var session = new TestSession("n1", store: new() { ["default/pod/web"] = new TestSession.Row(pod.Uid(), 9_000, 1) });
        await session.ConnectAsync(_sync);
        Assert.Equal(["insert default/pod/web 101 repair"], session.Told);
    }

    [Fact]
    public async Task Api_that_cannot_be_asked_leaves_the_pod_alone()
    {
        var kube = new FailingKube();
        await using var events = new EventRecorder(kube, _time, _metrics, NullLogger.Instance);
        await using var sync = NewSync(kube, events, _metrics);
        var session = new TestSession("n1", store: new() { ["default/pod/web"] = new TestSession.Row("uid", 5, 1) });
        await session.ConnectAsync(sync);
        Assert.Empty(session.Told);
        Assert.True(session.IsOpen);
    }

    [Fact]
    public async Task Api_that_answers_later_takes_away_what_is_gone()
    {
        var kube = new FailingKube();
        await using var events = new EventRecorder(kube, _time, _metrics, NullLogger.Instance);
        await using var sync = NewSync(kube, events, _metrics);
        var session = new TestSession("n1", store: new() { ["default/pod/web"] = new TestSession.Row("uid", 5, 1) });
        await session.ConnectAsync(sync);
        Assert.Empty(session.Told);
        kube.Answers = true;
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (session.Told.Count == 0)
        {
            Assert.False(limit.IsCancellationRequested, "the pod is still there");
            _time.Advance(TimeSpan.FromSeconds(30));
            await Task.Yield();
        }

        Assert.Equal("delete default/pod/web 6", session.Told[0]);
    }

    // A ConfigMap with the pod that uses it, in an open session of an edge that has a later tombstone of the ConfigMap.
    private async Task<TestSession> ConfigHeldBackAsync()
    {
        var config = await AddAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await AddAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "n1", Support.Cloud.UsingConfig("app")));
        var session = new TestSession("n1");
        session.Buried.Add(config.Uid());
        await session.ConnectAsync(_sync);
        Assert.Equal(["default/pod/web"], session.Store.Keys);
        session.Objects.Clear();
        return session;
    }
}
