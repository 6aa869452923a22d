using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.ApiServer.Tests.Rest;

[Trait("Category", "Kubernetes")]
public sealed class WatchTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    [Fact]
    public async Task A_watch_ahead_of_the_server_is_told_so()
    {
        using var watch = await api.WatchAsync("/api/v1/configmaps?watch=true&resourceVersion=999999999");
        var (type, status) = (await watch.NextAsync())!.Value;
        Assert.Equal(("ERROR", 410), (type, (int)status.Number(0, "code")));
        Assert.StartsWith("resource version 999999999 is ahead of the newest, ", status.Text("message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_takes_nothing_loses_its_connection()
    {
        var ns = await api.NamespaceAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/namespaces/{ns}/configmaps?watch=true");
        using var response = await api.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        for (var i = 0; i < 60; i++)
            await api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", new JsonObject { ["metadata"] = new JsonObject { ["name"] = $"m{i}" }, ["data"] = new JsonObject { ["k"] = new string('x', 900_000) } }.ToJsonString());
        await using var stream = await response.Content.ReadAsStreamAsync();
        await Assert.ThrowsAnyAsync<IOException>(() => stream.CopyToAsync(Stream.Null).WaitAsync(TimeSpan.FromSeconds(20)));
    }

    [Fact]
    public async Task A_watch_resumes_after_the_version_of_a_list_and_sees_each_change_once()
    {
        var maps = await CollectionAsync();
        await CreateAsync(maps, "a");
        var version = (await api.GetAsync(maps)).ResourceVersion();
        await CreateAsync(maps, "b");
        using var watch = await api.WatchAsync($"{maps}?watch=true&resourceVersion={version}");
        await watch.ExpectAsync("ADDED", "b");
        await api.PatchAsync(maps + "/a", "merge", """{"data":{"k":"2"}}""");
        await watch.ExpectAsync("MODIFIED", "a");
        await api.DeleteAsync(maps + "/a");
        var deleted = await watch.NextAsync();
        Assert.Equal(("DELETED", "a", "2"), (deleted!.Value.Type, deleted.Value.Object.Name(), deleted.Value.Object.Text("data", "k")));
        Assert.True(deleted.Value.Object.Version() > long.Parse(version, null) + 2);
    }

    [Fact]
    public async Task Many_watchers_each_see_every_change_once_and_in_order()
    {
        const int watchers = 60, changes = 100; // enough watchers that each gathers changes before it writes
        var maps = await CollectionAsync();
        var version = (await api.GetAsync(maps)).ResourceVersion();
        var readers = new List<Task<List<string>>>();
        for (var i = 0; i < watchers; i++)
            readers.Add(ReadAsync(await api.WatchAsync($"{maps}?watch=true&resourceVersion={version}")));
        for (var i = 0; i < changes; i++)
            await CreateAsync(maps, $"c{i:d3}");
        var expected = Enumerable.Range(0, changes).Select(i => $"c{i:d3}").ToList();
        foreach (var seen in await Task.WhenAll(readers))
            Assert.Equal(expected, seen);

        static async Task<List<string>> ReadAsync(WatchReader watch)
        {
            using (watch)
            {
                var seen = new List<string>();
                while (seen.Count < changes)
                    seen.Add((await watch.NextAsync())!.Value.Object.Name());
                return seen;
            }
        }
    }

    [Fact]
    public async Task A_watch_without_a_version_begins_with_what_is_there()
    {
        var maps = await CollectionAsync();
        await CreateAsync(maps, "a");
        using var watch = await api.WatchAsync($"{maps}?watch=1");
        await watch.ExpectAsync("ADDED", "a");
        await CreateAsync(maps, "b");
        await watch.ExpectAsync("ADDED", "b");
    }

    [Fact]
    public async Task With_a_label_selector_entering_is_ADDED_and_leaving_is_DELETED()
    {
        var maps = await CollectionAsync();
        await CreateAsync(maps, "a");
        using var watch = await api.WatchAsync($"{maps}?watch=true&labelSelector=on%3Dyes");
        await api.PatchAsync(maps + "/a", "merge", """{"metadata":{"labels":{"on":"yes"}}}""");
        await watch.ExpectAsync("ADDED", "a");
        await api.PatchAsync(maps + "/a", "merge", """{"data":{"k":"2"}}""");
        await watch.ExpectAsync("MODIFIED", "a");
        var left = await api.PatchAsync(maps + "/a", "merge", """{"metadata":{"labels":{"on":"no"}}}""");
        var gone = await watch.NextAsync();
        Assert.Equal(("DELETED", "yes", left.ResourceVersion()), (gone!.Value.Type, gone.Value.Object.Label("on"), gone.Value.Object.ResourceVersion()));
        await api.DeleteAsync(maps + "/a"); // outside the selection: not seen
        await api.PostAsync(maps, """{"metadata":{"name":"b","labels":{"on":"yes"}}}""");
        await watch.ExpectAsync("ADDED", "b");
    }

    [Fact]
    public async Task A_field_selector_by_name_sees_that_object_only()
    {
        var maps = await CollectionAsync();
        using var watch = await api.WatchAsync($"{maps}?watch=true&fieldSelector=metadata.name%3Db");
        await CreateAsync(maps, "a");
        await CreateAsync(maps, "b");
        await watch.ExpectAsync("ADDED", "b");
    }

    [Fact]
    public async Task SendInitialEvents_marks_where_the_initial_objects_end()
    {
        var maps = await CollectionAsync();
        await CreateAsync(maps, "a");
        using var watch = await api.WatchAsync($"{maps}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        await watch.ExpectAsync("ADDED", "a");
        var mark = await watch.NextAsync();
        Assert.Equal(("BOOKMARK", "true", "ConfigMap"), (mark!.Value.Type, mark.Value.Object.Annotation("k8s.io/initial-events-end"), mark.Value.Object.Kind()));
    }

    [Fact]
    public async Task TimeoutSeconds_ends_the_watch_in_order()
    {
        var maps = await CollectionAsync();
        using var watch = await api.WatchAsync($"{maps}?watch=true&timeoutSeconds=1");
        Assert.Null(await watch.NextAsync());
    }

    [Fact]
    public async Task Metadata_only_watches_and_lists_carry_nothing_else()
    {
        var maps = await CollectionAsync();
        await api.PostAsync(maps, """{"metadata":{"name":"a"},"data":{"k":"v"}}""");
        const string accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        using var watch = await api.WatchAsync($"{maps}?watch=true", accept);
        var first = (await watch.NextAsync())!.Value.Object;
        Assert.Equal(("PartialObjectMetadata", "a"), (first.Kind(), first.Name()));
        Assert.Null(first["data"]);
        var list = await api.SendAsync(HttpMethod.Get, maps, HttpStatusCode.OK, accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
        Assert.Equal("PartialObjectMetadataList", list.Kind());
        Assert.Null(list.Items("items").Single()["data"]);
    }

    [Fact]
    public async Task Pages_show_one_version_even_when_objects_change_between_them()
    {
        var maps = await CollectionAsync();
        foreach (var name in (string[])["a", "b", "c", "d", "e"])
            await CreateAsync(maps, name);
        var first = await api.GetAsync(maps + "?limit=2");
        Assert.Equal(["a", "b"], first.Items("items").Select(o => o.Name()));
        Assert.Equal(3, first.Number(0, "metadata", "remainingItemCount"));
        await api.DeleteAsync(maps + "/c");
        await CreateAsync(maps, "bb");
        await api.PatchAsync(maps + "/d", "merge", """{"data":{"k":"new"}}""");
        var second = await api.GetAsync($"{maps}?limit=2&continue={first.Text("metadata", "continue")}");
        Assert.Equal(["c", "d"], second.Items("items").Select(o => o.Name()));
        Assert.Equal("1", second.Items("items").Last().Text("data", "k"));
        Assert.Equal(first.ResourceVersion(), second.ResourceVersion());
        var third = await api.GetAsync($"{maps}?limit=2&continue={second.Text("metadata", "continue")}");
        Assert.Equal(["e"], third.Items("items").Select(o => o.Name()));
        Assert.Equal("", third.Text("metadata", "continue"));
        Assert.Equal(["a", "b", "c", "d", "e"], (await api.GetAsync($"{maps}?resourceVersion={first.ResourceVersion()}&resourceVersionMatch=Exact")).Items("items").Select(o => o.Name()));
    }

    [Fact]
    public async Task A_list_from_the_future_is_refused_and_set_based_selectors_select()
    {
        var maps = await CollectionAsync();
        await api.PostAsync(maps, """{"metadata":{"name":"a","labels":{"t":"x"}}}""");
        await api.PostAsync(maps, """{"metadata":{"name":"b","labels":{"t":"y"}}}""");
        await CreateAsync(maps, "c");
        Assert.Equal("Timeout", (await api.GetAsync(maps + "?resourceVersion=999999999", HttpStatusCode.GatewayTimeout)).Text("reason"));
        Assert.Equal(["a", "b"], await NamesAsync(maps, "labelSelector=t%20in%20(x,y)"));
        Assert.Equal(["b", "c"], await NamesAsync(maps, "labelSelector=t%20notin%20(x)"));
        Assert.Equal(["c"], await NamesAsync(maps, "labelSelector=!t"));
        Assert.Equal(["a"], await NamesAsync(maps, "fieldSelector=metadata.name%3Da"));
        Assert.Equal(["b", "c"], await NamesAsync(maps, "fieldSelector=metadata.name!%3Da"));
        Assert.Equal("BadRequest", (await api.GetAsync(maps + "?labelSelector=a%3D%3D%3Db", HttpStatusCode.BadRequest)).Text("reason"));
    }

    [Fact]
    public async Task Bookmarks_come_each_minute_and_a_version_too_old_is_410_Expired()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UtcNow);
        var own = new ApiFixture();
        await own.StartAsync(time, historyMax: 5);
        try
        {
            const string maps = "/api/v1/namespaces/default/configmaps";
            using (var watch = await own.WatchAsync(maps + "?watch=true&allowWatchBookmarks=true&resourceVersion=3"))
            {
                await own.PostAsync(maps, """{"metadata":{"name":"a"}}""");
                await watch.ExpectAsync("ADDED", "a");
                var other = await own.PostAsync("/api/v1/nodes", """{"metadata":{"name":"n"}}""");
                time.Advance(TimeSpan.FromSeconds(61));
                var mark = await watch.NextAsync();
                Assert.Equal(("BOOKMARK", other.ResourceVersion()), (mark!.Value.Type, mark.Value.Object.ResourceVersion()));
            }

            for (var i = 0; i < 7; i++)
                await own.PatchAsync(maps + "/a", "merge", $$$"""{"data":{"k":"{{{i}}}"}}""");
            using var late = await own.WatchAsync(maps + "?watch=true&resourceVersion=3");
            var error = await late.NextAsync();
            Assert.Equal(("ERROR", 410L, "Expired"), (error!.Value.Type, error.Value.Object.Number(0, "code"), error.Value.Object.Text("reason")));
            Assert.Null(await late.NextAsync());
            var page = await own.GetAsync("/api/v1/namespaces?limit=1");
            Assert.NotEmpty(page.Text("metadata", "continue"));
        }
        finally
        {
            await own.DisposeAsync();
        }
    }

    private async Task<string> CollectionAsync() => $"/api/v1/namespaces/{await api.NamespaceAsync()}/configmaps";

    private Task<JsonObject> CreateAsync(string collection, string name) => api.PostAsync(collection, $$$"""{"metadata":{"name":"{{{name}}}"},"data":{"k":"1"}}""");

    private async Task<IEnumerable<string>> NamesAsync(string collection, string query) => (await api.GetAsync($"{collection}?{query}")).Items("items").Select(o => o.Name());
}
