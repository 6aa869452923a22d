using System.Text;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>The queue on its disk.</summary>
[Trait("Category", "Sync")]
public sealed class UplinkStoreTests : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 11, 21, 0, 0, 0, TimeSpan.Zero));
    private SqliteDatabase _database;

    public UplinkStoreTests() => _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task A_batch_carries_the_version_of_each_row_to_an_Edge_cloud_and_none_to_a_stock_one()
    {
        var queue = Make(_time);
        for (var i = 0; i < 5; i++)
            await queue.PostAsync(Entry($"k{i}", $"{i}"), CancellationToken.None);
        await queue.PostAsync(Entry("k0", "9"), CancellationToken.None);
        queue.LinkUp(edgeWire: true);
        var (sends, messages) = queue.TakeBatch();
        Assert.Equal(["9", "1", "2", "3", "4"], messages.Select(message => Encoding.UTF8.GetString(message.Content.Span)));
        Assert.Equal(sends.Select(send => $"{send.Slot.Version}"), messages.Select(message => message.ResourceVersion));
        Assert.Equal(5, messages.Select(message => message.ResourceVersion).Distinct().Count());
        Assert.Equal(messages.Max(message => long.Parse(message.ResourceVersion, null)), long.Parse(messages[0].ResourceVersion, null));
        queue.LinkDown();
        queue.LinkUp(edgeWire: false);
        Assert.All(queue.TakeBatch().Messages, message => Assert.Equal("", message.ResourceVersion));
    }

    [Fact]
    public async Task Who_can_be_told_no_pushes_nothing_out_of_a_full_queue()
    {
        var queue = new UplinkQueue(new SqliteUplinkStore(_database, _time, NullLogger.Instance), new EdgeHubOptions { QueueEntriesMax = 3 }, _time, NullLogger.Instance);
        static UplinkEntry Upload(int i) => new($"user/{i}", UplinkPriority.User, UplinkRule.Every, Sources.Bus, Groups.User, Operations.Upload, "r", Encoding.UTF8.GetBytes($"{i}"));
        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(i => queue.TryPostAsync(Upload(i), CancellationToken.None).AsTask()));
        Assert.Equal(3, answers.Count(one => one));
        Assert.Equal((3, 0L), (queue.Figures().Depth[(int)UplinkPriority.User], queue.Figures().Overflowed[(int)UplinkPriority.User]));
        await queue.PostAsync(Upload(10), CancellationToken.None);
        Assert.Equal((3, 1L), (queue.Figures().Depth[(int)UplinkPriority.User], queue.Figures().Overflowed[(int)UplinkPriority.User]));
    }

    [Fact]
    public async Task Samples_of_one_device_never_push_out_the_state_of_another_over_a_restart_either()
    {
        UplinkEntry Entry(string key, UplinkRule rule) => new(key, UplinkPriority.Twin, rule, Sources.Twin, Groups.Resource, Operations.Update, "r", "{}"u8.ToArray());
        await NewQueue().PostAsync([Entry("state/default/quiet", UplinkRule.Newest), Entry("history/default/loud/0", UplinkRule.Every)], CancellationToken.None);
        var queue = NewQueue();
        for (var i = 1; i < 10; i++)
            await queue.PostAsync(Entry($"history/default/loud/{i}", UplinkRule.Every), CancellationToken.None);
        Assert.Equal(["history/default/loud/8", "history/default/loud/9", "state/default/quiet"], new SqliteUplinkStore(_database, _time, NullLogger.Instance).ReadSlots().Select(slot => slot.Key).Order());

        UplinkQueue NewQueue() => new(new SqliteUplinkStore(_database, _time, NullLogger.Instance), new EdgeHubOptions { QueueEntriesMax = 3 }, _time, NullLogger.Instance);
    }

    [Fact]
    public async Task Versions_never_go_back_over_restarts_with_an_empty_queue_and_a_clock_set_back()
    {
        var last = await NewestVersionAsync(_time);
        await ReopenAsync();
        var next = await NewestVersionAsync(new ManualTimeProvider(DateTimeOffset.UnixEpoch)); // a device without a battery for its clock
        Assert.True(next > last, $"{next} after {last}");
        await ReopenAsync();
        Assert.True(await NewestVersionAsync(_time) > next);
    }

    [Fact]
    public async Task After_the_file_was_lost_the_clock_keeps_versions_above_those_before()
    {
        var last = await NewestVersionAsync(_time);
        await _database.DisposeAsync();
        foreach (var file in Directory.GetFiles(_directory.Path))
            File.Delete(file);
        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(await NewestVersionAsync(_time) > last);
    }

    [Fact]
    public async Task After_many_starts_and_the_loss_of_the_file_the_clock_still_keeps_versions_above_those_before()
    {
        var last = 0L;
        for (var start = 0; start < 100; start++)
        {
            var version = await NewestVersionAsync(_time);
            Assert.True(version > last, $"{version} after {last}");
            last = version;
            await ReopenAsync();
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        await _database.DisposeAsync();
        foreach (var file in Directory.GetFiles(_directory.Path))
            File.Delete(file);
        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.True(await NewestVersionAsync(_time) > last);
    }

    [Fact]
    public async Task A_full_disk_fails_the_post_with_a_clear_error_and_loses_nothing_accepted_before()
    {
        var queue = Make(_time);
        await queue.PostAsync(Entry("kept", "1"), CancellationToken.None);
        await PragmaAsync("PRAGMA max_page_count = 1"); // SQLite takes the present size: not one page more
        var error = await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            for (var i = 0; i < 100; i++)
                await queue.PostAsync(Entry($"lost{i}", $"\"{new string('x', 20_000)}\""), CancellationToken.None);
        });
        Assert.IsType<StoreException>(error);
        Assert.Contains("edgecore.db", error.Message, StringComparison.Ordinal);
        Assert.Contains("full", error.Message, StringComparison.Ordinal);

        await PragmaAsync("PRAGMA max_page_count = 1000000");
        await queue.PostAsync(Entry("after", "2"), CancellationToken.None);
        await ReopenAsync();
        var again = Make(_time);
        again.LinkUp(edgeWire: true);
        var sent = again.TakeBatch().Messages.Where(message => message.Content.Length == 1).Select(message => Encoding.UTF8.GetString(message.Content.Span));
        Assert.Equal(["1", "2"], sent);
    }

    [Fact]
    public async Task Several_entries_that_are_posted_together_are_kept_together_or_not_at_all()
    {
        var queue = Make(_time);
        await queue.PostAsync([Entry("a", "1"), Entry("b", "2"), Entry("a", "3")], CancellationToken.None);
        await PragmaAsync("PRAGMA max_page_count = 1");
        await Assert.ThrowsAsync<StoreException>(
            async () => await queue.PostAsync([Entry("b", "4"), Entry("lost", $"\"{new string('x', 2_000_000)}\"")], CancellationToken.None));
        await PragmaAsync("PRAGMA max_page_count = 1000000");
        Assert.Equal(2, queue.Figures().Depth[(int)UplinkPriority.Twin]);
        queue.LinkUp(edgeWire: true);
        Assert.Equal(["3", "2"], queue.TakeBatch().Messages.Select(message => Encoding.UTF8.GetString(message.Content.Span)));
        await ReopenAsync();
        queue = Make(_time);
        queue.LinkUp(edgeWire: true);
        Assert.Equal(["2", "3"], queue.TakeBatch().Messages.Select(message => Encoding.UTF8.GetString(message.Content.Span))); // a restart orders by version
    }

    [Fact]
    public async Task A_file_that_became_read_only_fails_the_post_and_serves_what_it_has()
    {
        var queue = Make(_time);
        await queue.PostAsync(Entry("kept", "1"), CancellationToken.None);
        await PragmaAsync("PRAGMA query_only = ON");
        var error = await Assert.ThrowsAnyAsync<Exception>(async () => await queue.PostAsync(Entry("lost", "2"), CancellationToken.None));
        Assert.Contains("readonly", error.Message, StringComparison.Ordinal);
        Assert.True(error is StoreException, $"{error.GetType().Name}: callers expect a StoreException");
        queue.LinkUp(edgeWire: true);
        var batch = queue.TakeBatch();
        Assert.Equal("1", Encoding.UTF8.GetString(Assert.Single(batch.Messages).Content.Span));
        Assert.True(await queue.AnswerAsync(batch.Messages[0].Response(_time, MessageCodec.Ok)));
        await ReopenAsync();
        queue = Make(_time);
        await queue.PostAsync(Entry("after", "3"), CancellationToken.None);
        queue.LinkUp(edgeWire: true);
        Assert.Equal(["1", "3"], queue.TakeBatch().Messages.Select(message => Encoding.UTF8.GetString(message.Content.Span))); // 1 could not be removed, and goes twice
    }

    [Fact]
    public async Task What_an_Edge_cloud_has_answered_is_deleted_a_second_later_with_all_that_was_answered_meanwhile()
    {
        var queue = Make(_time);
        await AnsweredAsync(queue, edgeWire: true, ["a", "b", "c"]);
        Assert.Equal((0, 3L), (queue.Figures().Depth.Sum(), Rows()));
        _time.Advance(SqliteUplinkStore.WaitMax - TimeSpan.FromMilliseconds(1));
        await _database.WriteAsync(_ => { }); // after what a timer would have queued
        Assert.Equal(3, Rows());
        _time.Advance(TimeSpan.FromMilliseconds(1));
        await UntilAsync(() => Rows() == 0, "the rows to go");
    }

    [Fact]
    public async Task What_a_stock_cloud_has_answered_is_deleted_before_anything_else()
    {
        var queue = Make(_time);
        await AnsweredAsync(queue, edgeWire: false, ["a", "b", "c"]);
        Assert.Equal((0, 0L), (queue.Figures().Depth.Sum(), Rows()));
    }

    [Fact]
    public async Task No_more_answered_rows_wait_on_the_disk_than_the_bound()
    {
        var store = new SqliteUplinkStore(_database, _time, NullLogger.Instance);
        store.ReadSlots();
        var slots = new List<UplinkSlot>();
        foreach (var slot in Enumerable.Range(0, SqliteUplinkStore.RowsMax).Select(i => store.StoreAsync([Entry($"k{i}", "1")], CancellationToken.None).AsTask()).ToList())
            slots.AddRange(await slot);
        await store.DeleteAsync([.. slots.Skip(1).Select(slot => new UplinkRow(slot.Id, slot.Version))], canWait: true);
        Assert.Equal(SqliteUplinkStore.RowsMax, Rows());
        await store.DeleteAsync([new UplinkRow(slots[0].Id, slots[0].Version)], canWait: true);
        Assert.Equal(0, Rows());
    }

    [Fact]
    public async Task Answered_rows_are_gone_when_the_store_was_closed_in_order_and_a_killed_one_sends_them_once_more_with_their_version()
    {
        var queue = Make(_time);
        var sent = await AnsweredAsync(queue, edgeWire: true, ["a"]);
        File.Copy(_directory.File("edgecore.db"), _directory.File("killed.db"));
        File.Copy(_directory.File("edgecore.db-wal"), _directory.File("killed.db-wal"));
        await ReopenAsync();
        Assert.Equal(0, Rows());

        await using var killed = EdgeDatabase.Open(_directory.File("killed.db"), TimeProvider.System);
        queue = new UplinkQueue(new SqliteUplinkStore(killed, _time, NullLogger.Instance), new EdgeHubOptions(), _time, NullLogger.Instance);
        queue.LinkUp(edgeWire: true);
        var again = Assert.Single(queue.TakeBatch().Messages);
        Assert.Equal((sent[0].ResourceVersion, "a"), (again.ResourceVersion, Encoding.UTF8.GetString(again.Content.Span)));
    }

    [Fact]
    public async Task A_newer_value_takes_over_an_answered_row_that_waits_to_be_deleted_and_stays_when_it_is_time()
    {
        var queue = Make(_time);
        var first = await AnsweredAsync(queue, edgeWire: true, ["a"]);
        await queue.PostAsync(Entry("a", "newer"), CancellationToken.None);
        Assert.Equal(1, Rows());
        _time.Advance(SqliteUplinkStore.WaitMax);
        await _database.WriteAsync(_ => { }); // after what the timer has queued
        await ReopenAsync();
        queue = Make(_time);
        queue.LinkUp(edgeWire: true);
        var message = Assert.Single(queue.TakeBatch().Messages);
        Assert.Equal("newer", Encoding.UTF8.GetString(message.Content.Span));
        Assert.True(long.Parse(message.ResourceVersion, null) > long.Parse(first[0].ResourceVersion, null));
    }

    [Fact]
    public async Task What_is_sent_without_reading_it_again_is_what_was_stored_and_survives_a_reused_buffer()
    {
        var queue = Make(_time);
        queue.LinkUp(edgeWire: true);
        var buffer = "first"u8.ToArray();
        await queue.PostAsync(Entry("a", "") with { Content = buffer }, CancellationToken.None);
        "wrong"u8.CopyTo(buffer);
        var big = new string('x', 300_000); // beyond what is kept in memory
        await queue.PostAsync(Entry("b", big), CancellationToken.None);
        await queue.PostAsync(Entry("c", "older"), CancellationToken.None);
        await queue.PostAsync(Entry("c", "newer"), CancellationToken.None);
        var messages = new List<Message>();
        while (queue.TakeBatch().Messages is { Count: > 0 } batch)
            messages.AddRange(batch);
        Assert.Equal(["first", big, "newer"], messages.Select(message => Encoding.UTF8.GetString(message.Content.Span)));
        var stored = new SqliteUplinkStore(_database, _time, NullLogger.Instance).Load([1, 2, 3]);
        Assert.Equal(
            stored.OrderBy(row => row.Key).Select(row => (row.Value.ResourceVersion, row.Value.Group, row.Value.Source, row.Value.Operation, row.Value.Resource)),
            messages.Select(message => (message.ResourceVersion, message.Group, message.Source, message.Operation, message.Resource)));
    }

    private async Task<IReadOnlyList<Message>> AnsweredAsync(UplinkQueue queue, bool edgeWire, string[] keys)
    {
        foreach (var key in keys)
            await queue.PostAsync(Entry(key, key), CancellationToken.None);
        queue.LinkUp(edgeWire);
        var (sends, messages) = queue.TakeBatch();
        queue.Sent(sends);
        foreach (var message in messages)
            Assert.True(await queue.AnswerAsync(message.Response(_time, MessageCodec.Ok)));
        return messages;
    }

    private long Rows() => _database.Read(connection => (long)connection.Prepared("SELECT count(*) FROM uplink").ExecuteScalar()!);

    private static async Task UntilAsync(Func<bool> isTrue, string what)
    {
        var patience = System.Diagnostics.Stopwatch.StartNew();
        while (!isTrue())
        {
            Assert.True(patience.Elapsed < TimeSpan.FromSeconds(60), $"waited 60 s for {what}");
            await Task.Delay(5);
        }
    }

    private UplinkQueue Make(TimeProvider time)
        => new(new SqliteUplinkStore(_database, time, NullLogger.Instance), new EdgeHubOptions(), _time, NullLogger.Instance);

    private static UplinkEntry Entry(string key, string content)
        => new(key, UplinkPriority.Twin, UplinkRule.Newest, Sources.Twin, Groups.Resource, Operations.Update, $"device/default/{key}/twin/edge_updated", Encoding.UTF8.GetBytes(content));

    private async Task<long> NewestVersionAsync(TimeProvider time)
    {
        var queue = Make(time);
        await queue.PostAsync(Entry("k", "1"), CancellationToken.None);
        queue.LinkUp(edgeWire: true);
        var message = Assert.Single(queue.TakeBatch().Messages);
        Assert.True(await queue.AnswerAsync(message.Response(_time, MessageCodec.Ok)));
        Assert.Equal(0, queue.Figures().Depth.Sum());
        return long.Parse(message.ResourceVersion, null);
    }

    private async Task ReopenAsync()
    {
        await _database.DisposeAsync();
        _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);
    }

    // Outside the writer's transaction these do not take hold; between SAVEPOINTs they do.
    private ValueTask PragmaAsync(string pragma) => _database.WriteAsync(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = pragma;
        command.ExecuteNonQuery();
    });
}
