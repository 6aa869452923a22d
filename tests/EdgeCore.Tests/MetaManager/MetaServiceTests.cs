using System.Text;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Sync")]
public sealed class MetaServiceTests : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private SqliteDatabase _database;
    private MetaService _meta;

    public MetaServiceTests()
    {
        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
        _meta = Make();
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        _directory.Dispose();
    }

    private MetaService Make() => new(new MetaManagerOptions(), _database, new OfflineHub(), TimeProvider.System, NullLoggerFactory.Instance);

    private async Task RestartAsync()
    {
        await _database.DisposeAsync();
        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
        _meta = Make();
    }

    private static string Pod(string uid, long version, string extra = "") => $$$"""{"kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"{{{uid}}}","resourceVersion":"{{{version}}}"}{{{extra}}}}""";

    private Task<Message?> SendAsync(string operation, string uid, long version, string extra = "")
        => _meta.HandleAsync(FakeCloud.Down(operation, "default/pod/web", Pod(uid, version, extra), $"{version}"));

    private static void AssertOk(Message? answer)
    {
        Assert.Equal(Operations.Response, answer!.Operation);
        Assert.Equal("\"OK\"", Encoding.UTF8.GetString(answer.Content.Span));
    }

    [Fact]
    public async Task A_stale_version_is_acknowledged_and_never_stored()
    {
        AssertOk(await SendAsync(Operations.Insert, "u1", 5));
        AssertOk(await SendAsync(Operations.Update, "u1", 4));
        Assert.Equal(5, _meta.Get("pod", "default", "web")!.ResourceVersion);
        AssertOk(await SendAsync(Operations.Update, "u1", 6, ""","spec":{"x":1}"""));
        Assert.Equal(6, _meta.Get("pod", "default", "web")!.ResourceVersion);
    }

    [Fact]
    public async Task Another_object_of_the_same_name_replaces_the_old_one_whatever_its_version()
    {
        await SendAsync(Operations.Insert, "u1", 50);
        await SendAsync(Operations.Insert, "u2", 3);
        Assert.Equal(("u2", 3L), (_meta.Get("pod", "default", "web")!.Uid, _meta.Get("pod", "default", "web")!.ResourceVersion));
    }

    [Fact]
    public async Task A_delete_that_names_another_object_is_acknowledged_and_ignored()
    {
        await SendAsync(Operations.Insert, "u2", 5);
        AssertOk(await SendAsync(Operations.Delete, "u1", 9));
        Assert.NotNull(_meta.Get("pod", "default", "web"));
        AssertOk(await SendAsync(Operations.Delete, "u2", 9));
        Assert.Null(_meta.Get("pod", "default", "web"));
        AssertOk(await SendAsync(Operations.Delete, "u2", 9));
    }

    [Fact]
    public async Task A_deleted_object_does_not_come_back_by_a_late_message_even_after_a_restart()
    {
        await SendAsync(Operations.Insert, "u1", 5);
        await SendAsync(Operations.Delete, "u1", 6);
        await RestartAsync();
        AssertOk(await SendAsync(Operations.Update, "u1", 5));
        Assert.Null(_meta.Get("pod", "default", "web"));
        await SendAsync(Operations.Insert, "u2", 7);
        Assert.Equal("u2", _meta.Get("pod", "default", "web")!.Uid);
    }

    [Fact]
    public async Task What_was_stored_is_there_after_a_restart()
    {
        await SendAsync(Operations.Insert, "u1", 5);
        await _meta.PutLocalAsync("twins", "a", "{}"u8.ToArray(), CancellationToken.None);
        await RestartAsync();
        Assert.Equal("default/pod/web", Assert.Single(_meta.List("pod")).Key);
        Assert.Equal("{}", Encoding.UTF8.GetString(_meta.ListLocal("twins")["a"].Span));
        await _meta.DeleteLocalAsync("twins", "a", CancellationToken.None);
        Assert.Empty(_meta.ListLocal("twins"));
        Assert.Empty(_meta.ListLocal("pods"));
    }

    [Fact]
    public async Task A_subscriber_gets_what_is_stored_then_changes_in_order_of_its_types_only()
    {
        await SendAsync(Operations.Insert, "u1", 1);
        var changes = _meta.Subscribe("pod");
        Assert.True(changes.TryRead(out var first));
        Assert.Equal((1L, false), (first.Object.ResourceVersion, first.Deleted));
        await _meta.HandleAsync(FakeCloud.Down(Operations.Update, "default/configmap/a", Pod("c", 1), "1"));
        Assert.False(changes.TryRead(out _));
        await SendAsync(Operations.Update, "u1", 2);
        await SendAsync(Operations.Update, "u1", 3);
        Assert.True(await changes.WaitToReadAsync());
        Assert.True(changes.TryRead(out var newest));
        Assert.Equal(3, newest.Object.ResourceVersion); // 2 was never read: coalesced
        await SendAsync(Operations.Delete, "u1", 4);
        Assert.True(changes.TryRead(out var gone));
        Assert.True(gone.Deleted);
        Assert.Equal(3, gone.Object.ResourceVersion);
    }

    [Fact]
    public async Task Under_concurrent_writers_a_subscriber_never_sees_versions_go_back_and_ends_at_the_newest()
    {
        var changes = _meta.Subscribe("pod");
        var seen = new List<long>();
        var reader = Task.Run(async () =>
        {
            while (seen.LastOrDefault() < 400 && await changes.WaitToReadAsync())
            {
                while (changes.TryRead(out var change))
                    seen.Add(change.Object.ResourceVersion);
            }
        });
        await Task.WhenAll(Enumerable.Range(1, 400).Select(version => SendAsync(Operations.Update, "u1", version)));
        await reader.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal(seen.Order(), seen);
        Assert.Equal(400, seen[^1]);
    }

    [Fact]
    public async Task Cluster_objects_are_found_under_null_and_under_no_namespace()
    {
        await _meta.HandleAsync(FakeCloud.Down(Operations.Update, "null/node/n1", Pod("n", 3), "3"));
        Assert.Equal("null/node/n1", _meta.Get("node", "", "n1")!.Key);
        Assert.NotNull(_meta.Get("node", "null", "n1"));
    }

    [Fact]
    public async Task A_write_that_fails_is_answered_with_error_so_that_the_cloud_sends_again()
    {
        await _database.DisposeAsync();
        var answer = await SendAsync(Operations.Insert, "u1", 1);
        Assert.Equal((Operations.Error, Sources.MetaManager), (answer!.Operation, answer.Source));
    }

    [Fact]
    public async Task A_corrupt_database_is_kept_aside_and_an_empty_one_serves()
    {
        await SendAsync(Operations.Insert, "u1", 1);
        await _database.DisposeAsync();
        foreach (var file in Directory.GetFiles(_directory.Path, "edgecore.db*"))
            await File.WriteAllBytesAsync(file, Encoding.ASCII.GetBytes(new string('x', 8192)));
        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
        _meta = Make();
        Assert.NotNull(_database.CorruptBackup);
        Assert.True(File.Exists(_database.CorruptBackup));
        AssertOk(await SendAsync(Operations.Insert, "u1", 1));
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("{\"kind\":\"Pod\",\"metadata\":{\"name\":\"we")]
    [InlineData("[]")]
    [InlineData("")]
    public async Task A_row_that_is_no_object_any_more_counts_as_missing_until_the_cloud_has_sent_it_again(string damaged)
    {
        AssertOk(await SendAsync(Operations.Insert, "u1", 5));
        AssertOk(await _meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/configmap/kept", """{"metadata":{"name":"kept","namespace":"default","uid":"u2","resourceVersion":"9"}}""", "9")));
        var (_, before) = _meta.InventoryDigest();
        await DamageAsync("default/pod/web", damaged);
        Assert.Null(_meta.Get("pod", "default", "web"));
        Assert.Empty(_meta.List("pod"));
        Assert.False(_meta.Subscribe("pod").TryRead(out _));
        Assert.Equal("u1", Assert.Single(_meta.UnreadableUids("pod")));
        Assert.Equal(9, _meta.Get("configmap", "default", "kept")!.ResourceVersion);
        Assert.Empty(_meta.UnreadableUids("configmap"));

        // The cloud is told of a version that is older than any.
        Assert.NotEmpty(before.Differences(_meta.InventoryDigest().Digest));
        Assert.Equal([("default/configmap/kept", 9L), ("default/pod/web", 0L)], _meta.InventoryPart(1, [0]).Items.Select(item => (item.Key, item.Version)).Order());
        AssertOk(await SendAsync(Operations.Insert, "u1", 5));
        Assert.Equal(5, _meta.Get("pod", "default", "web")!.ResourceVersion);
        Assert.Empty(_meta.UnreadableUids("pod"));
        Assert.Empty(before.Differences(_meta.InventoryDigest().Digest));
        await RestartAsync();
        Assert.Empty(_meta.UnreadableUids("pod"));
    }

    [Fact]
    public async Task A_row_that_is_no_object_any_more_goes_when_the_cloud_deletes_it()
    {
        AssertOk(await SendAsync(Operations.Insert, "u1", 5));
        await DamageAsync("default/pod/web", "x");
        var changes = _meta.Subscribe("pod");
        AssertOk(await SendAsync(Operations.Delete, "u1", 6));
        Assert.True(changes.TryRead(out var change) && change is { Deleted: true, Object.Key: "default/pod/web", Object.Uid: "u1" });
        Assert.Empty(_meta.UnreadableUids("pod"));
    }

    [Fact]
    public async Task A_row_that_is_another_object_than_was_stored_serves_and_is_told_as_what_it_is()
    {
        AssertOk(await SendAsync(Operations.Insert, "u1", 5, ""","spec":{"x":1}"""));
        var (_, before) = _meta.InventoryDigest();
        await DamageAsync("default/pod/web", Pod("u1", 5, ""","spec":{"x":3}"""));
        Assert.NotNull(_meta.Get("pod", "default", "web"));
        Assert.NotEmpty(before.Differences(_meta.InventoryDigest().Digest));
    }

    private async Task DamageAsync(string key, string json)
    {
        await _database.WriteAsync(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "UPDATE objects SET json = $json WHERE key = $key";
            command.Parameters.AddWithValue("$json", Encoding.UTF8.GetBytes(json));
            command.Parameters.AddWithValue("$key", key);
            Assert.Equal(1, command.ExecuteNonQuery());
        });
        await RestartAsync();
    }

    [Fact]
    public async Task The_digest_changes_with_the_content_and_not_with_the_bookkeeping()
    {
        await SendAsync(Operations.Insert, "u1", 1, ""","spec":{"a":1}""");
        var (count, first) = _meta.InventoryDigest();
        Assert.Equal(1, count);
        await SendAsync(Operations.Update, "u1", 2, ""","spec":{"a":1},"status":{"phase":"Running"}""");
        Assert.Empty(first.Differences(_meta.InventoryDigest().Digest));
        await SendAsync(Operations.Update, "u1", 3, ""","spec":{"a":2}""");
        Assert.Equal([0], first.Differences(_meta.InventoryDigest().Digest));
        await RestartAsync();
        Assert.Equal([0], first.Differences(_meta.InventoryDigest().Digest));
    }

    [Fact]
    public async Task A_part_names_key_uid_version_and_fingerprint_of_its_buckets_and_of_types_kept_in_step_only()
    {
        for (var i = 0; i < 40; i++)
            await _meta.HandleAsync(FakeCloud.Down(Operations.Update, $"default/configmap/c{i}", $$$"""{"metadata":{"uid":"u{{{i}}}"},"data":{"i":"{{{i}}}"}}""", $"{i + 1}"));
        await _meta.HandleAsync(FakeCloud.Down(Operations.Update, "default/endpoints/s", """{"metadata":{"uid":"s"}}""", "1"));
        var (count, digest) = _meta.InventoryDigest();
        Assert.Equal((40, 4), (count, digest.Buckets));
        var part = _meta.InventoryPart(4, [1, 2]);
        Assert.NotEmpty(part.Items);
        Assert.All(part.Items, item => Assert.True(part.Covers(item.Key)));
        var one = part.Items[0];
        var number = int.Parse(one.Uid[1..], null);
        Assert.True(ObjectFingerprint.TryOf(Encoding.UTF8.GetBytes($$$"""{"data":{"i":"{{{number}}}"},"metadata":{"uid":"u{{{number}}}"}}"""), out var expected));
        Assert.Equal(new InventoryItem($"default/configmap/c{number}", $"u{number}", number + 1, expected), one);
        Assert.Equal(40, _meta.InventoryPart(4, [0, 1, 2, 3]).Items.Count);
    }

    [Fact]
    public async Task A_store_of_an_older_release_gets_its_fingerprints_when_it_is_opened()
    {
        await SendAsync(Operations.Insert, "u1", 5, ""","spec":{"a":1}""");
        await SendAsync(Operations.Delete, "u0", 4);
        var digest = _meta.InventoryDigest().Digest;
        await _database.DisposeAsync();
        using (var old = new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={_directory.File("edgecore.db")};Pooling=false"))
        {
            old.Open();
            using var command = old.CreateCommand();
            command.CommandText = """
                CREATE TABLE before(key TEXT PRIMARY KEY, type TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, rv INTEGER NOT NULL, seq INTEGER NOT NULL, json BLOB NOT NULL);
                INSERT INTO before SELECT key, type, ns, name, uid, rv, seq, json FROM objects;
                DROP TABLE objects; ALTER TABLE before RENAME TO objects; CREATE INDEX objects_type ON objects(type, key);
                DROP INDEX tombstones_seq; ALTER TABLE tombstones DROP COLUMN rv; PRAGMA user_version = 1;
                """;
            command.ExecuteNonQuery();
        }

        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
        _meta = Make();
        Assert.Empty(digest.Differences(_meta.InventoryDigest().Digest));
        Assert.Equal(5, _meta.Get("pod", "default", "web")!.ResourceVersion);
        AssertOk(await SendAsync(Operations.Insert, "u0", 9));
        Assert.Equal("u1", _meta.Get("pod", "default", "web")!.Uid);
    }

    [Fact]
    public async Task A_repair_is_taken_whatever_its_version_and_later_versions_go_on_from_there()
    {
        await SendAsync(Operations.Insert, "u1", 50, ""","spec":{"a":1}""");
        AssertOk(await SendAsync(Operations.Update, "u1", 7, ""","spec":{"a":2}"""));
        Assert.Equal(50, _meta.Get("pod", "default", "web")!.ResourceVersion);
        AssertOk(await RepairAsync("u1", 7));
        Assert.Equal(7, _meta.Get("pod", "default", "web")!.ResourceVersion);
        AssertOk(await SendAsync(Operations.Update, "u1", 8));
        Assert.Equal(8, _meta.Get("pod", "default", "web")!.ResourceVersion);

        // A pod that was deleted after the backup is there again after the restore, with its old uid.
        await SendAsync(Operations.Delete, "u1", 9);
        AssertOk(await SendAsync(Operations.Insert, "u1", 8));
        Assert.Null(_meta.Get("pod", "default", "web"));
        Assert.Equal(2, _meta.Doubts); // one more, so that the cloud learns of it
        AssertOk(await RepairAsync("u1", 8));
        AssertOk(await SendAsync(Operations.Update, "u1", 9));
        Assert.Equal(9, _meta.Get("pod", "default", "web")!.ResourceVersion);
    }

    [Fact]
    public async Task An_older_version_that_says_something_else_raises_a_doubt_and_a_mere_resend_does_not()
    {
        await SendAsync(Operations.Insert, "u1", 50, ""","spec":{"a":1}""");
        await SendAsync(Operations.Insert, "u1", 50, ""","spec":{"a":1}""");
        await SendAsync(Operations.Update, "u1", 40, ""","spec":{"a":1}""");
        Assert.Equal(0, _meta.Doubts);
        await SendAsync(Operations.Update, "u1", 41, ""","spec":{"a":2}""");
        Assert.Equal(1, _meta.Doubts);
    }

    [Fact]
    public async Task A_resend_after_a_restart_between_commit_and_acknowledgement_is_acknowledged_and_changes_nothing()
    {
        await SendAsync(Operations.Insert, "u1", 5); // its acknowledgement is never sent
        await RestartAsync();
        var changes = _meta.Subscribe("pod");
        Assert.True(changes.TryRead(out _));
        AssertOk(await SendAsync(Operations.Insert, "u1", 5));
        Assert.False(changes.TryRead(out _));
        await SendAsync(Operations.Delete, "u1", 6);
        await RestartAsync();
        AssertOk(await SendAsync(Operations.Delete, "u1", 6));
        Assert.Null(_meta.Get("pod", "default", "web"));
    }

    [Fact]
    public async Task A_ConfigMap_that_was_taken_away_comes_back_as_it_was_but_not_in_an_older_version()
    {
        const string Resource = "default/configmap/app";
        static string App(int version) => $$$"""{"metadata":{"uid":"u1","resourceVersion":"{{{version}}}"},"data":{"v":"{{{version}}}"}}""";
        await _meta.HandleAsync(FakeCloud.Down(Operations.Insert, Resource, App(5), "5"));
        await _meta.HandleAsync(FakeCloud.Down(Operations.Delete, Resource, App(5), "5"));
        AssertOk(await _meta.HandleAsync(FakeCloud.Down(Operations.Update, Resource, App(4), "4")));
        Assert.Null(_meta.Get("configmap", "default", "app"));
        AssertOk(await _meta.HandleAsync(FakeCloud.Down(Operations.Insert, Resource, App(5), "5")));
        Assert.Equal(5, _meta.Get("configmap", "default", "app")!.ResourceVersion);
    }

    [Fact]
    public async Task An_object_that_another_of_its_name_replaced_does_not_come_back()
    {
        await SendAsync(Operations.Insert, "u1", 5);
        await SendAsync(Operations.Insert, "u2", 6);
        AssertOk(await SendAsync(Operations.Update, "u1", 7));
        Assert.Equal("u2", _meta.Get("pod", "default", "web")!.Uid);
    }

    [Fact]
    public async Task Tombstones_are_bounded_and_the_newest_stay()
    {
        for (var i = 0; i < 4200; i += 100)
            await Task.WhenAll(Enumerable.Range(i, 100).Select(n => _meta.HandleAsync(FakeCloud.Down(Operations.Delete, $"default/pod/p{n}", $$$"""{"metadata":{"uid":"d{{{n}}}"}}""", "1"))));
        Assert.Equal(4096L, _database.Read(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SELECT count(*) FROM tombstones";
            return (long)command.ExecuteScalar()!;
        }));
        await _meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/pod/p4199", """{"metadata":{"uid":"d4199"}}""", "9"));
        Assert.Null(_meta.Get("pod", "default", "p4199"));
        await _meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/pod/p0", """{"metadata":{"uid":"d0"}}""", "9"));
        Assert.NotNull(_meta.Get("pod", "default", "p0"));
    }

    [Theory]
    [InlineData("abc", "7", 7)]
    [InlineData("-3", "7", 7)]
    [InlineData("9", "abc", 9)]
    [InlineData("99999999999999999999", "abc", 0)]
    [InlineData("1e3", "", 0)]
    public async Task A_version_that_is_no_number_is_read_from_the_object_or_taken_as_unknown(string header, string inside, long expected)
    {
        AssertOk(await _meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/pod/web", Pod("u1", 0).Replace("\"0\"", $"\"{inside}\"", StringComparison.Ordinal), header)));
        Assert.Equal(expected, _meta.Get("pod", "default", "web")!.ResourceVersion);
        AssertOk(await SendAsync(Operations.Update, "u1", 100));
        Assert.Equal(100, _meta.Get("pod", "default", "web")!.ResourceVersion);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("{\"metadata\":{\"uid\":\"u1\"}")]
    [InlineData("{\"metadata\":{\"uid\":\"\\ud800\"}}")]
    [InlineData("{\"a\":1}{}")]
    public async Task Content_that_is_no_whole_object_is_refused_with_the_reason(string content)
    {
        foreach (var operation in (string[])[Operations.Insert, Operations.Delete])
        {
            var answer = await _meta.HandleAsync(FakeCloud.Down(operation, "default/pod/web", content, "1"));
            Assert.Equal(Operations.Error, answer!.Operation);
            Assert.Contains("one JSON object", Encoding.UTF8.GetString(answer.Content.Span), StringComparison.Ordinal);
        }
    }

    private Task<Message?> RepairAsync(string uid, long version)
        => _meta.HandleAsync(FakeCloud.Down(Operations.Update, "default/pod/web", Pod(uid, version), $"{version}") with { Destination = InventoryMessages.RepairDestination });

    internal sealed class OfflineHub : IHubLink
    {
        public event Action<UplinkRejection>? EntryRejected
        {
            add { }
            remove { }
        }

        public event Action<bool>? LinkChanged
        {
            add { }
            remove { }
        }

        public bool IsConnected => false;

        public bool IsEdgeWire => false;

        public long Generation => 0;

        public Task<long> ConnectedAfterAsync(long generation, CancellationToken cancellationToken) => Task.FromCanceled<long>(new CancellationToken(true));

        public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken) => ValueTask.FromResult(true);

        public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("offline");

        public Task<Message> RequestUnacknowledgedAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("offline");

        public ValueTask SendAsync(Message message, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask AcknowledgeAsync(Message answer, CancellationToken cancellationToken) => ValueTask.CompletedTask;
    }
}
