using System.Text.Json.Nodes;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Storage;

[Trait("Category", "Kubernetes")]
public sealed class ObjectStoreTests : IAsyncDisposable
{
    private static readonly ResourceId s_maps = ResourceId.Of(ResourceKind.ConfigMap);
    private readonly string _directory = Directory.CreateTempSubdirectory("edge-store-").FullName;
    private ObjectStore _store;

    public ObjectStoreTests() => _store = Open();

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Versions_grow_by_one_over_all_resources()
    {
        var a = await _store.CreateAsync(s_maps, Map("a"), default);
        var b = await _store.CreateAsync(ResourceId.Of(ResourceKind.Pod), Map("b"), default);
        var c = await _store.ReplaceAsync(a!, Map("a", "2"), default);
        Assert.Equal([1L, 2L, 3L], [a!.Version, b!.Version, c!.Version]);
        Assert.Equal("3", c.Parse().ResourceVersion());
        Assert.Equal(3, _store.Version);
    }

    [Fact]
    public async Task A_taken_name_and_a_stale_state_are_refused_and_use_no_version()
    {
        var first = await _store.CreateAsync(s_maps, Map("a"), default);
        Assert.Null(await _store.CreateAsync(s_maps, Map("a"), default));
        await _store.ReplaceAsync(first!, Map("a", "2"), default);
        Assert.Null(await _store.ReplaceAsync(first!, Map("a", "3"), default));
        Assert.Null(await _store.DeleteAsync(first!, Map("a"), default));
        Assert.Equal(2, _store.Version);
    }

    [Fact]
    public async Task Of_many_writers_of_one_state_exactly_one_wins()
    {
        var first = await _store.CreateAsync(s_maps, Map("a"), default);
        var results = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => _store.ReplaceAsync(first!, Map("a", $"{i}"), default).AsTask()));
        Assert.Single(results, r => r is not null);
    }

    [Fact]
    public async Task Concurrent_writes_reach_a_watcher_in_version_order_and_are_visible_before_they_are_answered()
    {
        using var watcher = _store.Watch(s_maps, "", null, 0)!;
        await Task.WhenAll(Enumerable.Range(0, 500).Select(i => Task.Run(async () =>
        {
            var stored = await _store.CreateAsync(s_maps, Map($"m{i}"), default);
            Assert.Same(stored, _store.Get(s_maps, "default", $"m{i}"));
        })));
        var versions = new List<long>();
        while (watcher.Queue.TryRead(out var item))
            versions.Add(item.Version);
        Assert.Equal(Enumerable.Range(1, 500).Select(i => (long)i), versions);
    }

    [Fact]
    public async Task After_a_restart_objects_versions_and_watch_history_are_there()
    {
        var a = await _store.CreateAsync(s_maps, Map("a"), default);
        var b = await _store.CreateAsync(s_maps, Map("b"), default);
        await _store.ReplaceAsync(a!, Map("a", "2"), default);
        await _store.DeleteAsync(b!, Map("b"), default);
        await ReopenAsync();
        Assert.Equal(4, _store.Version);
        Assert.Equal(["a"], _store.Snapshot(s_maps).Items.Select(o => o.Name));
        Assert.Equal("2", _store.Get(s_maps, "default", "a")!.Field("data.k"));
        using var watcher = _store.Watch(s_maps, "", null, 1)!;
        Assert.Equal([(WatchEventType.Added, "b"), (WatchEventType.Modified, "a"), (WatchEventType.Deleted, "b")], watcher.Replay.Select(e => (e.Type, e.Object.Name)));
        Assert.Equal(["a", "b"], _store.SnapshotAt(s_maps, 2)!.Select(o => o.Name));
        Assert.Equal(5, (await _store.CreateAsync(s_maps, Map("c"), default))!.Version);
    }

    [Fact]
    public async Task A_watch_from_before_the_kept_history_is_refused_also_after_a_restart()
    {
        await ReopenAsync(historyMax: 10);
        var stored = (await _store.CreateAsync(s_maps, Map("a"), default))!;
        for (var i = 0; i < 600; i++)
            stored = (await _store.ReplaceAsync(stored, Map("a", $"{i}"), default))!;
        Assert.Null(_store.Watch(s_maps, "", null, 1));
        Assert.NotNull(_store.Watch(s_maps, "", null, 591));
        await ReopenAsync(historyMax: 10);
        Assert.Null(_store.Watch(s_maps, "", null, 1));
        Assert.NotNull(_store.Watch(s_maps, "", null, 591));
        Assert.NotNull(_store.Watch(ResourceId.Of(ResourceKind.Pod), "", null, 1)); // another resource has lost nothing
        Assert.Null(_store.Watch(s_maps, "", null, 602)); // a version that is not reached yet
    }

    [Fact]
    public async Task The_past_can_be_listed_while_the_history_reaches_it()
    {
        var a = await _store.CreateAsync(s_maps, Map("a"), default);
        await _store.CreateAsync(s_maps, Map("b"), default);
        await _store.DeleteAsync(a!, Map("a"), default);
        await _store.CreateAsync(s_maps, Map("c"), default);
        Assert.Equal(["a", "b"], _store.SnapshotAt(s_maps, 2)!.Select(o => o.Name));
        Assert.Equal(["b"], _store.SnapshotAt(s_maps, 3)!.Select(o => o.Name));
        Assert.Equal(["b", "c"], _store.Snapshot(s_maps).Items.Select(o => o.Name));
    }

    [Fact]
    public async Task Watchers_get_a_change_that_a_follower_fails_at()
    {
        using var watcher = _store.Watch(s_maps, "", null, 0)!;
        _store.Applied = change => throw new InvalidOperationException(change.Object.Name);
        await Assert.ThrowsAsync<InvalidOperationException>(() => _store.CreateAsync(s_maps, Map("a"), default).AsTask());
        _store.Applied = null;
        await _store.CreateAsync(s_maps, Map("b"), default);
        var seen = new List<string>();
        while (watcher.Queue.TryRead(out var item))
            seen.Add(item.Change!.Object.Name);
        Assert.Equal(["a", "b"], seen);
    }

    [Fact]
    public async Task A_watcher_that_does_not_read_is_closed_and_the_others_go_on()
    {
        using var slow = _store.Watch(s_maps, "", null, 0)!;
        using var quick = _store.Watch(s_maps, "", null, 0)!;
        for (var batch = 0; batch < 10; batch++)
        {
            await Task.WhenAll(Enumerable.Range(0, 500).Select(i => _store.CreateAsync(s_maps, Map($"m{batch}-{i}"), default).AsTask()));
            while (quick.Queue.TryRead(out _))
            {
            }
        }

        var read = 0;
        while (slow.Queue.TryRead(out _))
            read++;
        Assert.Equal(ObjectWatcher.QueueCapacity, read);
        Assert.False(await slow.Queue.WaitToReadAsync()); // closed: the client resumes by version
        await _store.CreateAsync(s_maps, Map("last"), default);
        Assert.True(quick.Queue.TryRead(out _));
    }

    [Fact]
    public async Task A_watcher_that_does_not_read_keeps_no_more_bytes_than_its_queue_may()
    {
        using var slow = _store.Watch(s_maps, "", null, 0)!;
        using var quick = _store.Watch(s_maps, "", null, 0)!;
        var text = new string('x', 1 << 20);
        for (var i = 0; i < 40; i++)
        {
            await _store.CreateAsync(s_maps, Map($"m{i}", text), default);
            if (i == 9)
                Assert.Equal((2, 10, 0L), _store.WatchFigures());
            Assert.True(quick.TryRead(out _));
        }

        Assert.Equal((1, 0, 1L), _store.WatchFigures());
        Assert.True(slow.Overflow.IsCancellationRequested);
        Assert.False(quick.Overflow.IsCancellationRequested);
        var bytes = 0L;
        while (slow.TryRead(out var item))
            bytes += item.Change!.Object.Json.Length;
        Assert.InRange(bytes, 1, ObjectWatcher.QueueBytesMax);
        Assert.False(await slow.Queue.WaitToReadAsync());
    }

    [Fact]
    public void The_version_goes_into_the_metadata_wherever_else_the_word_stands()
    {
        var obj = Map("a");
        obj.Child("metadata")["annotations"] = new JsonObject { ["x"] = "\"resourceVersion\":\"\"" };
        obj.Child("metadata")["resourceVersion"] = "7";
        obj["resourceVersion"] = "outside";
        var read = JsonNode.Parse(ObjectJson.Serialize(obj).At(1234567890123))!.AsObject();
        Assert.Equal("1234567890123", read.ResourceVersion());
        Assert.Equal("outside", read.Text("resourceVersion"));
        Assert.Equal("\"resourceVersion\":\"\"", read.Annotation("x"));
    }

    private static JsonObject Map(string name, string value = "1") => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "ConfigMap",
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = "u-" + name },
        ["data"] = new JsonObject { ["k"] = value },
    };

    private ObjectStore Open(int historyMax = 1000) => ObjectStore.Open(Path.Combine(_directory, "api.db"), historyMax, TimeProvider.System);

    private async Task ReopenAsync(int historyMax = 1000)
    {
        await _store.DisposeAsync();
        _store = Open(historyMax);
    }
}
