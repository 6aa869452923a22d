using System.Text;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Tests;

/// <summary>The client against the real embedded API.</summary>
[Collection("api")]
[Trait("Category", "Kubernetes")]
public sealed class EmbeddedApiTests(ApiFixture api)
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    [Fact]
    public async Task An_object_is_created_read_replaced_patched_listed_and_deleted()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        var made = await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "1"), s_none);
        Assert.NotEmpty(made.Uid());
        made["data"]!["key"] = "2";
        var replaced = await client.UpdateAsync(ResourceKind.ConfigMap, space, made, null, s_none);
        Assert.NotEqual(made.ResourceVersion(), replaced.ResourceVersion());
        await client.PatchAsync(ResourceKind.ConfigMap, space, "a", PatchKind.Merge, """{"data":{"more":"3"}}"""u8.ToArray(), null, s_none);
        await client.PatchAsync(ResourceKind.ConfigMap, space, "a", PatchKind.Json, """[{"op":"remove","path":"/data/key"}]"""u8.ToArray(), null, s_none);
        await client.PatchAsync(ResourceKind.ConfigMap, space, "a", PatchKind.Strategic, """{"metadata":{"labels":{"x":"y"}}}"""u8.ToArray(), null, s_none);
        var read = await client.GetAsync(ResourceKind.ConfigMap, space, "a", s_none);
        Assert.Equal("""{"more":"3"}""", read["data"]!.ToJsonString());
        Assert.Single((await client.ListAsync(ResourceKind.ConfigMap, space, new ListOptions("x=y", "metadata.name=a"), s_none)).Items);
        Assert.Empty((await client.ListAsync(ResourceKind.ConfigMap, space, new ListOptions("x!=y", "metadata.name=a"), s_none)).Items);
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "a", null, s_none);
        Assert.Null(await client.TryGetAsync(ResourceKind.ConfigMap, space, "a", s_none));
    }

    [Fact]
    public async Task Writing_over_a_newer_version_is_a_conflict_and_making_a_second_time_already_exists()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        var first = await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "1"), s_none);
        var second = first.DeepClone().AsObject();
        second["data"]!["key"] = "2";
        await client.UpdateAsync(ResourceKind.ConfigMap, space, second, null, s_none);
        first["data"]!["key"] = "3";
        var conflict = await Assert.ThrowsAsync<KubeException>(() => client.UpdateAsync(ResourceKind.ConfigMap, space, first, null, s_none));
        Assert.Equal((409, "Conflict"), (conflict.Code, conflict.Reason));
        var exists = await Assert.ThrowsAsync<KubeException>(() => client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "1"), s_none));
        Assert.Equal((409, "AlreadyExists"), (exists.Code, exists.Reason));
        var other = new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = "another" } };
        Assert.Equal(409, (await Assert.ThrowsAsync<KubeException>(() => client.DeleteAsync(ResourceKind.ConfigMap, space, "a", other, s_none))).Code);
    }

    [Fact]
    public async Task A_list_longer_than_a_page_comes_whole()
    {
        using var setup = api.Client();
        var space = await ApiFixture.NamespaceAsync(setup);
        for (var i = 0; i < 25; i++)
            await setup.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap($"m{i:00}", "x"), s_none);
        using var client = new KubeClient(setup.Options with { PageSize = 10 }, TimeProvider.System);
        var list = await client.ListAsync(ResourceKind.ConfigMap, space, new ListOptions(), s_none);
        Assert.Equal(Enumerable.Range(0, 25).Select(i => $"m{i:00}"), list.Items.Select(item => item.Name()).Order());
    }

    [Fact]
    public async Task A_watch_from_a_version_no_longer_remembered_is_410()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        var first = await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "0"), s_none);
        for (var i = 0; i < ApiFixture.History * 3; i++)
            await client.PatchAsync(ResourceKind.ConfigMap, space, "a", PatchKind.Merge, Encoding.UTF8.GetBytes($$$"""{"data":{"key":"{{{i}}}"}}"""), null, s_none);
        var error = await Assert.ThrowsAsync<KubeException>(async () =>
        {
            await foreach (var _ in client.WatchAsync(ResourceKind.ConfigMap, space, first.ResourceVersion(), new ListOptions(), s_none).WithCancellation(new CancellationTokenSource(Wait.Net).Token))
                Assert.Fail("no event was expected");
        });
        Assert.Equal(410, error.Code);
    }
}
