using System.Text;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
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

    private sealed class OfflineHub : IHubLink
    {
        public event Action<UplinkRejection>? EntryRejected
        {
            add { }
            remove { }
        }

        public bool IsConnected => false;

        public long Generation => 0;

        public Task<long> ConnectedAfterAsync(long generation, CancellationToken cancellationToken) => Task.FromCanceled<long>(new CancellationToken(true));

        public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("offline");

        public Task<Message> RequestUnacknowledgedAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("offline");

        public ValueTask AcknowledgeAsync(Message answer, CancellationToken cancellationToken) => ValueTask.CompletedTask;
    }
}
