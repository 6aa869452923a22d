using Edge.Cloud.SyncController;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class SyncRecordBookTests
{
    private readonly SyncRecordBook _book = new(3);

    [Fact]
    public void Newest_acknowledgement_of_an_object_is_written_once()
    {
        _book.Acked(Record("a", 1));
        _book.Acked(Record("a", 3));
        _book.Acked(Record("a", 2));
        Assert.Equal(3, Take()!.Target!.Version);
        Assert.Null(_book.Take());
    }

    [Fact]
    public void Acknowledgement_that_overtakes_the_first_send_is_the_only_write()
    {
        _book.Sent(Record("a", 1));
        _book.Acked(Record("a", 1));
        Assert.Equal((1, 1), (_book.Waiting, Take()!.Target!.Version));
    }

    [Fact]
    public void Object_sent_and_not_acknowledged_is_owed_its_delete()
    {
        _book.Sent(Record("a", 5));
        Assert.Equal((0L, 0UL), Assert.Single(_book.Of("n1").Select(record => (record.Version, record.Fingerprint))));
    }

    [Fact]
    public void Acknowledgement_counts_before_it_is_written()
    {
        _book.Acked(Record("a", 5));
        Assert.Equal(5, Assert.Single(_book.Of("n1")).Version);
        Take();
        Assert.Equal(5, Assert.Single(_book.Of("n1")).Version);
    }

    [Fact]
    public void What_is_recorded_already_is_not_written_again()
    {
        _book.Observe(Record("a", 5), "100");
        _book.Acked(Record("a", 5));
        _book.Acked(Record("a", 4));
        _book.Sent(Record("a", 6));
        Assert.Null(_book.Take());
    }

    [Fact]
    public void Higher_version_of_another_cloudcore_makes_our_write_needless()
    {
        _book.Acked(Record("a", 5));
        _book.Observe(Record("a", 6), "100");
        Assert.Null(_book.Take());
        Assert.Equal(6, Assert.Single(_book.Of("n1")).Version);
    }

    [Fact]
    public void Newer_acknowledgement_during_a_write_follows_it()
    {
        _book.Acked(Record("a", 1));
        var write = Take()!;
        _book.Acked(Record("a", 2));
        Assert.Null(_book.Take());
        _book.Done(write, new RecordOutcome.Written(write.Target!, "100"));
        var next = Take()!;
        Assert.Equal((2L, "100"), (next.Target!.Version, next.SeenVersion));
        _book.Done(next, new RecordOutcome.Written(next.Target, "101"));
        Assert.Null(_book.Take());
    }

    [Fact]
    public void Failed_write_is_due_again()
    {
        _book.Acked(Record("a", 1));
        _book.Done(Take()!, new RecordOutcome.Failed());
        Assert.Equal(1, Take()!.Target!.Version);
    }

    [Fact]
    public void Refused_write_is_not()
    {
        _book.Acked(Record("a", 1));
        _book.Done(Take()!, new RecordOutcome.Refused());
        Assert.Null(_book.Take());
        Assert.Empty(_book.Nodes);
    }

    [Fact]
    public void Acknowledged_delete_takes_the_record_away()
    {
        _book.Observe(Record("a", 5), "100");
        _book.Removed(new RecordKey("n1", "a"));
        Assert.Empty(_book.Of("n1"));
        var write = Take()!;
        Assert.Null(write.Target);
        _book.Done(write, new RecordOutcome.Gone());
        // The watch tells of our own write, then of our delete.
        _book.Observe(Record("a", 5), "100");
        Assert.Empty(_book.Of("n1"));
        _book.ObserveGone(new RecordKey("n1", "a"), "101");
        Assert.Empty(_book.Nodes);
    }

    [Fact]
    public void Record_never_written_goes_without_a_write()
    {
        _book.Acked(Record("a", 5));
        _book.Removed(new RecordKey("n1", "a"));
        Assert.Null(_book.Take());
        Assert.Empty(_book.Nodes);
    }

    [Fact]
    public void Record_in_the_middle_of_its_first_write_is_deleted_after_it()
    {
        _book.Acked(Record("a", 5));
        var write = Take()!;
        _book.Removed(new RecordKey("n1", "a"));
        _book.Done(write, new RecordOutcome.Written(write.Target!, "100"));
        Assert.Null(Take()!.Target);
    }

    [Fact]
    public void Object_that_comes_back_after_its_acknowledged_delete_counts_as_not_there_whatever_was_recorded()
    {
        _book.Observe(Record("a", 5), "100");
        _book.Removed(new RecordKey("n1", "a"));
        _book.Sent(Record("a", 5));
        Assert.Equal(0, Assert.Single(_book.Of("n1")).Version);
        // The watch shows the old record once more.
        _book.Observe(Record("a", 5), "100");
        var write = Take()!;
        Assert.Equal((true, 0L), (write.IsForced, write.Target!.Version));
        _book.Done(write, new RecordOutcome.Written(write.Target, "101"));
        Assert.Equal(0, Assert.Single(_book.Of("n1")).Version);
        _book.Acked(Record("a", 5));
        Assert.False(Take()!.IsForced);
    }

    [Fact]
    public void Records_of_a_deleted_node_go_and_no_others()
    {
        _book.Observe(Record("a", 5), "100");
        _book.Observe(Record("b", 5), "101");
        _book.Observe(Record("c", 5, "n2"), "102");
        _book.RemoveNode("n1");
        Assert.Equal(["a", "b"], ((string[])[Take()!.Key.Uid, Take()!.Key.Uid]).Order());
        Assert.Null(_book.Take());
        Assert.Single(_book.Of("n2"));
    }

    [Fact]
    public void Older_news_of_a_record_is_ignored()
    {
        _book.Observe(Record("a", 5), "100");
        _book.Observe(Record("a", 4), "99");
        _book.ObserveGone(new RecordKey("n1", "a"), "98");
        Assert.Equal(5, Assert.Single(_book.Of("n1")).Version);
        _book.ObserveGone(new RecordKey("n1", "a"), "101");
        Assert.Empty(_book.Nodes);
    }

    [Fact]
    public void New_records_over_the_limit_are_refused_and_those_there_are_go_on()
    {
        _book.Observe(Record("old", 1), "100");
        Assert.Equal([true, true, true, false], ((string[])["a", "b", "c", "d"]).Select(uid => _book.Acked(Record(uid, 1))));
        Assert.True(_book.Acked(Record("a", 2)));
        Assert.True(_book.Acked(Record("old", 2)));
        while (_book.Take() is { } write)
            _book.Done(write, new RecordOutcome.Written(write.Target!, "200"));
        Assert.True(_book.Acked(Record("d", 1)));
    }

    [Theory]
    [InlineData("edge-1.6f1b2f0e-8d0c-4c1e-9a55-000000000001", "edge-1", "6f1b2f0e-8d0c-4c1e-9a55-000000000001")]
    [InlineData("edge.example.com.uid", "edge.example.com", "uid")]
    public void Name_of_a_record_is_node_and_uid(string name, string node, string uid)
    {
        Assert.True(RecordKey.TryParse(name, out var key));
        Assert.Equal((node, uid, name), (key.Node, key.Uid, key.Name));
    }

    [Theory]
    [InlineData("")]
    [InlineData("nodot")]
    [InlineData(".uid")]
    [InlineData("node.")]
    public void Other_names_are_none(string name) => Assert.False(RecordKey.TryParse(name, out _));

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Whatever_happens_the_api_ends_with_what_was_acknowledged_last(int seed)
    {
        var random = new Random(seed);
        var book = new SyncRecordBook(1_000);
        var truth = new Dictionary<string, long>();
        var api = new Dictionary<string, (SyncRecord Record, long Version)>();
        var inFlight = new List<RecordWrite>();
        var late = new Queue<Action>();
        long objectVersion = 0, apiVersion = 100;
        for (var step = 0; step < 5_000; step++)
        {
            var isQuiet = step >= 4_000;
            var uid = $"u{random.Next(6)}";
            switch (isQuiet ? 3 + random.Next(3) : random.Next(6))
            {
                case 0:
                    book.Sent(Record(uid, objectVersion + 1));
                    truth.TryAdd(uid, 0);
                    break;
                case 1:
                    truth[uid] = ++objectVersion;
                    book.Acked(Record(uid, objectVersion));
                    break;
                case 2 when random.Next(3) == 0:
                    truth.Remove(uid);
                    book.Removed(new RecordKey("n1", uid));
                    break;
                case 3 when book.Take() is { } write:
                    inFlight.Add(write);
                    break;
                case 4 when inFlight.Count > 0:
                    var done = inFlight[random.Next(inFlight.Count)];
                    inFlight.Remove(done);
                    book.Done(done, isQuiet || random.Next(3) > 0 ? Apply(done) : new RecordOutcome.Failed());
                    break;
                case 5 when late.TryDequeue(out var news):
                    news();
                    break;
            }

            // Invariant: the book itself always knows what is owed.
            Assert.Equal(truth.Keys.Order(), book.Of("n1").Select(record => record.Key.Uid).Order());
        }

        while (late.TryDequeue(out var news))
            news();
        Assert.Equal(truth.OrderBy(pair => pair.Key), api.Select(pair => KeyValuePair.Create(pair.Key, pair.Value.Record.Version)).OrderBy(pair => pair.Key));
        Assert.Equal(0, book.Waiting);

        // As the shell writes; the watch tells later.
        RecordOutcome Apply(RecordWrite write)
        {
            var version = ++apiVersion;
            var text = $"{version}";
            if (write.Target is not { } target)
            {
                api.Remove(write.Key.Uid);
                late.Enqueue(() => book.ObserveGone(write.Key, text));
                return new RecordOutcome.Gone();
            }

            if (!write.IsForced && api.TryGetValue(write.Key.Uid, out var there) && there.Record.Version > target.Version)
                return new RecordOutcome.Written(there.Record, $"{there.Version}");
            api[write.Key.Uid] = (target, version);
            late.Enqueue(() => book.Observe(target, text));
            return new RecordOutcome.Written(target, text);
        }
    }

    private static SyncRecord Record(string uid, long version, string node = "n1")
        => new(new RecordKey(node, uid), "default", "v1", "Pod", $"pod-{uid}", version, (ulong)version + 1_000);

    private RecordWrite? Take() => _book.Take();
}
