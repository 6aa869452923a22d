using System.Text.Json.Nodes;
using Edge.ApiServer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Kubernetes.Tests;

/// <summary>The client on a connection inside the process, which is what cloudcore itself uses.</summary>
[Collection("api")]
[Trait("Category", "Kubernetes")]
public sealed class InProcessTests(ApiFixture api)
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    [Fact]
    public async Task Writes_are_read_listed_and_watched_more_than_the_pipes_hold_included()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var value = new string('v', 700_000); // six of them are above what one side may send unread
        for (var i = 0; i < 6; i++)
            await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap($"m{i}", value), s_none);
        var list = await client.ListAsync(ResourceKind.ConfigMap, space, new ListOptions("", "metadata.name!=kube-root-ca.crt"), s_none);
        Assert.Equal(6, list.Items.Count);
        Assert.All(list.Items, item => Assert.Equal(value, item.Text("data", "key")));

        using var deadline = new CancellationTokenSource(Wait.Net);
        await using var watch = client.WatchAsync(ResourceKind.ConfigMap, space, list.ResourceVersion, new ListOptions(), deadline.Token).GetAsyncEnumerator(deadline.Token);
        var next = watch.MoveNextAsync();
        using var outside = api.Client();
        await outside.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("late", value), s_none);
        Assert.True(await next);
        Assert.Equal("late", watch.Current.Object.Name());
    }

    [Fact]
    public async Task Being_inside_the_process_is_no_right_a_request_without_the_token_is_refused()
    {
        using var client = new KubeClient(api.Inside with { Token = null }, TimeProvider.System);
        var refused = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Namespace, null, "default", s_none));
        Assert.Equal(401, refused.Code);
    }

    [Fact]
    public async Task All_watches_inside_get_the_same_object_of_a_change()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        using var other = new KubeClient(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var version = (await client.ListAsync(ResourceKind.Secret, space, new ListOptions(), s_none)).ResourceVersion;
        using var deadline = new CancellationTokenSource(Wait.Net);
        await using var one = client.WatchAsync(ResourceKind.Secret, space, version, new ListOptions(), deadline.Token).GetAsyncEnumerator(deadline.Token);
        await using var two = other.WatchAsync(ResourceKind.Secret, null, version, new ListOptions(), deadline.Token).GetAsyncEnumerator(deadline.Token);
        var (first, second) = (one.MoveNextAsync().AsTask(), two.MoveNextAsync().AsTask());
        await client.CreateAsync(ResourceKind.Secret, space, Secret("shared", "a"), s_none);
        Assert.True(await first);
        Assert.True(await second);
        Assert.Equal((WatchEventType.Added, "shared", "Secret"), (one.Current.Type, one.Current.Object.Name(), one.Current.Object.Kind()));
        Assert.Same(one.Current.Object, two.Current.Object);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Who_asks_for_metadata_alone_gets_no_more(bool isInside)
    {
        using var client = isInside ? new KubeClient(api.Inside, TimeProvider.System) : api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await client.CreateAsync(ResourceKind.Secret, space, Secret("known", "a"), s_none);
        var options = new ListOptions { IsMetadataOnly = true };
        var list = await client.ListAsync(ResourceKind.Secret, space, options, s_none);
        var known = Assert.Single(list.Items);
        Assert.Equal(("known", "a", "PartialObjectMetadata"), (known.Name(), known.Label("app"), known.Kind()));
        Assert.Equal(["apiVersion", "kind", "metadata"], known.Select(member => member.Key).Order());

        using var deadline = new CancellationTokenSource(Wait.Net);
        await using var watch = client.WatchAsync(ResourceKind.Secret, space, list.ResourceVersion, options, deadline.Token).GetAsyncEnumerator(deadline.Token);
        var next = watch.MoveNextAsync();
        await client.CreateAsync(ResourceKind.Secret, space, Secret("late", "b"), s_none);
        Assert.True(await next);
        Assert.Equal((WatchEventType.Added, "late", "PartialObjectMetadata"), (watch.Current.Type, watch.Current.Object.Name(), watch.Current.Object.Kind()));
        Assert.Equal(["apiVersion", "kind", "metadata"], watch.Current.Object.Select(member => member.Key).Order());
    }

    [Fact]
    public async Task Who_watches_metadata_inside_is_not_told_of_the_status_and_all_others_are()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        var group = $"g{Guid.NewGuid():n}.example";
        var kind = new ResourceKind(group, "v1", "things", "Thing", true);
        await client.CreateAsync(ResourceKind.CustomResourceDefinition, null, JsonNode.Parse($$$"""
            {"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.{{{group}}}"},"spec":{"group":"{{{group}}}","scope":"Namespaced",
             "names":{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{} },
             "schema":{"openAPIV3Schema":{"type":"object","properties":{"status":{"type":"object","properties":{"count":{"type":"integer"} } } } } } }]}}
            """)!.AsObject(), s_none);
        var space = await ApiFixture.NamespaceAsync(client);
        await client.CreateAsync(kind, space, JsonNode.Parse($$"""{"apiVersion":"{{group}}/v1","kind":"Thing","metadata":{"name":"a"} }""")!.AsObject(), s_none);
        Task<JsonObject> Count(int count) => client.PatchAsync(kind, space, "a", PatchKind.Merge, System.Text.Encoding.UTF8.GetBytes($$$"""{"status":{"count":{{{count}}} } }"""), "status", s_none);
        var version = (await Count(0)).ResourceVersion(); // the schema has judged this state

        using var deadline = new CancellationTokenSource(Wait.Net);
        // Of what was before the watch began, and what comes after.
        var replayed = (await Count(1)).ResourceVersion();
        await using var metadata = client.WatchAsync(kind, space, version, new ListOptions { IsMetadataOnly = true }, deadline.Token).GetAsyncEnumerator(deadline.Token);
        await using var whole = client.WatchAsync(kind, space, version, new ListOptions(), deadline.Token).GetAsyncEnumerator(deadline.Token);
        var (first, second) = (metadata.MoveNextAsync().AsTask(), whole.MoveNextAsync().AsTask());
        Assert.True(await second);
        Assert.Equal((replayed, 1), (whole.Current.Object.ResourceVersion(), whole.Current.Object.Number(0, "status", "count")));
        second = whole.MoveNextAsync().AsTask();
        await Count(2);
        Assert.True(await second);
        Assert.Equal(2, whole.Current.Object.Number(0, "status", "count"));
        await client.PatchAsync(kind, space, "a", PatchKind.Merge, """{"metadata":{"labels":{"app":"x"}}}"""u8.ToArray(), null, s_none);
        Assert.True(await first);
        Assert.Equal((WatchEventType.Modified, "x"), (metadata.Current.Type, metadata.Current.Object.Label("app")));
    }

    [Fact]
    public async Task A_watch_inside_sees_an_object_enter_and_leave_its_selection()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var version = (await client.ListAsync(ResourceKind.Secret, space, new ListOptions(), s_none)).ResourceVersion;
        using var deadline = new CancellationTokenSource(Wait.Net);
        await using var watch = client.WatchAsync(ResourceKind.Secret, space, version, new ListOptions("app=b"), deadline.Token).GetAsyncEnumerator(deadline.Token);
        var next = watch.MoveNextAsync();
        await client.CreateAsync(ResourceKind.Secret, space, Secret("moving", "a"), s_none);
        foreach (var app in (string[])["b", "b", "c"])
        {
            var patch = new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { ["app"] = app }, ["annotations"] = new JsonObject { ["n"] = Guid.NewGuid().ToString() } } };
            await client.PatchAsync(ResourceKind.Secret, space, "moving", PatchKind.Merge, System.Text.Encoding.UTF8.GetBytes(patch.ToJsonString()), null, s_none);
        }

        var seen = new List<(WatchEventType, string?)>();
        for (; seen.Count < 3; next = watch.MoveNextAsync())
        {
            Assert.True(await next);
            seen.Add((watch.Current.Type, watch.Current.Object.Label("app")));
            if (seen.Count == 3)
                break;
        }

        Assert.Equal([(WatchEventType.Added, "b"), (WatchEventType.Modified, "b"), (WatchEventType.Deleted, "b")], seen);
    }

    [Fact]
    public async Task A_version_too_old_to_watch_from_is_the_same_failure_as_from_outside()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var first = await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("first", "v"), s_none);
        for (var i = 0; i < ApiFixture.History + 5; i++)
            await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap($"m{i}", "v"), s_none);
        await using var watch = client.WatchAsync(ResourceKind.ConfigMap, space, first.ResourceVersion(), new ListOptions(), s_none).GetAsyncEnumerator(s_none);
        var failed = await Assert.ThrowsAsync<KubeException>(async () => await watch.MoveNextAsync());
        Assert.Equal((410, "Expired"), (failed.Code, failed.Reason));
    }

    [Fact]
    public async Task A_slash_in_a_name_stays_inside_the_name()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        using var outside = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("here", "v"), s_none);
        var name = $"x/../../../namespaces/{space}/configmaps/here";
        var (inside, without) = (await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.ConfigMap, "default", name, s_none)),
            await Assert.ThrowsAsync<KubeException>(() => outside.GetAsync(ResourceKind.ConfigMap, "default", name, s_none)));
        Assert.Equal(404, inside.Code);
        Assert.Equal(without.Message, inside.Message);
    }

    [Fact]
    public async Task A_cancelled_watch_and_a_cancelled_request_leave_the_API_serving()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var version = (await client.ListAsync(ResourceKind.Secret, space, new ListOptions(), s_none)).ResourceVersion;
        using (var stop = new CancellationTokenSource())
        {
            await using var watch = client.WatchAsync(ResourceKind.Secret, space, version, new ListOptions(), stop.Token).GetAsyncEnumerator(stop.Token);
            var next = watch.MoveNextAsync().AsTask();
            await stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next.WaitAsync(Wait.Net));
        }

        using (var stopped = new CancellationTokenSource())
        {
            await stopped.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.CreateAsync(ResourceKind.Secret, space, Secret("never", "a"), stopped.Token));
        }

        await client.CreateAsync(ResourceKind.Secret, space, Secret("after", "a"), s_none);
        Assert.Equal("after", (await client.GetAsync(ResourceKind.Secret, space, "after", s_none)).Name());
    }

    [Fact]
    public async Task A_proxy_inside_gets_a_watch_as_lines()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        using var proxy = new KubeProxy(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var version = (await client.ListAsync(ResourceKind.Secret, space, new ListOptions(), s_none)).ResourceVersion;
        using var deadline = new CancellationTokenSource(Wait.Net);
        using var answer = await proxy.SendAsync(HttpMethod.Get, $"/api/v1/namespaces/{space}/secrets?watch=true&resourceVersion={version}", "", "", default, "", deadline.Token);
        Assert.Equal(System.Net.HttpStatusCode.OK, answer.StatusCode);
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync(deadline.Token));
        var line = lines.ReadLineAsync(deadline.Token);
        await client.CreateAsync(ResourceKind.Secret, space, Secret("line", "a"), s_none);
        var read = JsonNode.Parse((await line)!)!;
        Assert.Equal(("ADDED", "line"), (read.Text("type"), read.Text("object", "metadata", "name")));
    }

    private static JsonObject Secret(string name, string app) => new()
    {
        ["apiVersion"] = "v1", ["kind"] = "Secret", ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = new JsonObject { ["app"] = app } },
    };

    [Fact]
    public async Task Once_the_API_has_ended_its_watches_end_and_requests_fail_with_the_reason()
    {
        var directory = Directory.CreateTempSubdirectory("edge-inside-");
        try
        {
            var server = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = directory.FullName, Port = 0 }, TimeProvider.System, NullLoggerFactory.Instance, s_none);
            using var client = new KubeClient(server.Inside, TimeProvider.System);
            var list = await client.ListAsync(ResourceKind.Namespace, null, new ListOptions(), s_none);
            await using var watch = client.WatchAsync(ResourceKind.Namespace, null, list.ResourceVersion, new ListOptions(), s_none).GetAsyncEnumerator(s_none);
            var next = watch.MoveNextAsync().AsTask();
            await server.DisposeAsync();
            Assert.False(await next.WaitAsync(Wait.Net));
            var failed = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Namespace, null, "default", s_none).WaitAsync(Wait.Net));
            Assert.Contains("the embedded API has ended", failed.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }
}
