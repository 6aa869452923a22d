using Edge.Core.EdgeHub;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Sync")]
public sealed class UplinkCoreTests
{
    private readonly UplinkCore _core = new(new UplinkLimits(EntriesMax: 5, BytesMax: 1000, Qps: 10, Burst: 3));
    private readonly List<UplinkRow> _done = [];
    private int _ids;

    private static UplinkSlot Slot(long id, UplinkPriority priority = UplinkPriority.PodStatus, long version = 0, int size = 1, bool? answered = null)
        => new(id, version == 0 ? id : version, $"k{id}", priority, answered ?? priority < UplinkPriority.Event, size);

    private UplinkSend? Next(long nowMs = 0)
    {
        if (!_core.TryNext(nowMs, $"m{++_ids}", out var send))
            return null;
        _core.Sent(send);
        return send;
    }

    private UplinkSlot? Answer(string id, UplinkOutcome outcome = UplinkOutcome.Accepted, long nowMs = 0) => _core.Answer(id, outcome, nowMs, _done);

    [Fact]
    public void Nothing_is_sent_while_the_link_is_down()
    {
        _core.Apply(Slot(1));
        Assert.Null(Next());
        Assert.Null(_core.NextDueMs(0));
        _core.LinkUp(0, edgeWire: false);
        Assert.Equal(1, Next()!.Slot.Id);
    }

    [Fact]
    public void The_queue_drains_by_priority_then_by_age()
    {
        _core.Apply(Slot(1, UplinkPriority.Event));
        _core.Apply(Slot(2, UplinkPriority.Twin));
        _core.Apply(Slot(3, UplinkPriority.NodeStatus));
        _core.Apply(Slot(4, UplinkPriority.Lease));
        _core.Apply(Slot(5, UplinkPriority.NodeStatus));
        _core.LinkUp(0, edgeWire: false);
        Assert.Equal([4L, 3, 5, 2], Enumerable.Range(0, 4).Select(_ => Next()!.Slot.Id));
    }

    [Fact]
    public void A_newer_value_that_takes_over_the_row_of_an_answered_one_goes_behind_what_waited_meanwhile()
    {
        _core.LinkUp(0, edgeWire: true);
        _core.Apply(Slot(1, version: 11));
        var first = Next()!;
        _core.Apply(Slot(2, version: 12));
        Answer(first.MessageId);
        _core.Apply(Slot(1, version: 13));
        Assert.Equal([2L, 1], Enumerable.Range(0, 2).Select(_ => Next()!.Slot.Id));
    }

    [Fact]
    public void The_bucket_paces_everything_but_leases()
    {
        for (var id = 1; id <= 5; id++)
            _core.Apply(Slot(id));
        _core.LinkUp(0, edgeWire: false);
        Assert.NotNull(Next());
        Assert.NotNull(Next());
        Assert.NotNull(Next());
        Assert.Null(Next());
        Assert.Equal(100, _core.NextDueMs(0));
        _core.Apply(Slot(9, UplinkPriority.Lease));
        Assert.Equal(9, Next()!.Slot.Id);
        Assert.Null(Next(99));
        Assert.Equal(4, Next(100)!.Slot.Id);
    }

    [Fact]
    public void A_newer_value_waits_for_the_answer_to_the_older_one_and_the_older_answer_does_not_remove_it()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1, version: 1));
        Assert.Equal("m1", Next()!.MessageId);
        _core.Apply(Slot(1, version: 2));
        Assert.Null(Next());
        Assert.NotNull(Answer("m1"));
        Assert.Empty(_done);
        var second = Next()!;
        Assert.Equal((2L, "m3"), (second.Slot.Version, second.MessageId));
        Answer("m3");
        Assert.Equal([new UplinkRow(1, 2)], _done);
        Assert.Equal(0, _core.Depth(UplinkPriority.PodStatus));
    }

    [Fact]
    public void A_late_answer_to_a_replaced_value_does_not_count_for_the_new_one()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1, version: 1));
        Assert.Equal("m1", Next()!.MessageId);
        _core.Apply(Slot(1, version: 2));
        Assert.Equal(2, Next(10_000)!.Slot.Version); // no answer for 10 s: the newer value goes
        Assert.Null(Answer("m1", nowMs: 10_001));
        Assert.Empty(_done);
        Assert.Equal(1, _core.Depth(UplinkPriority.PodStatus));
    }

    [Fact]
    public void An_older_version_that_arrives_late_changes_nothing()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1, version: 5));
        _core.Apply(Slot(1, version: 4));
        Assert.Equal(5, Next()!.Slot.Version);
    }

    [Fact]
    public void No_answer_brings_the_same_message_again_after_ten_seconds_then_twenty()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1));
        Assert.Equal("m1", Next()!.MessageId);
        Assert.Equal(10_000, _core.NextDueMs(0));
        Assert.Null(Next(9_999));
        Assert.Equal("m1", Next(10_000)!.MessageId);
        Assert.Null(Next(29_999));
        Assert.Equal("m1", Next(30_000)!.MessageId);
        Answer("m1", nowMs: 30_001);
        Assert.Equal([new UplinkRow(1, 1)], _done);
    }

    [Fact]
    public void A_failed_answer_is_tried_again_with_growing_pauses_and_a_new_id()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1));
        Next();
        Answer("m1", UplinkOutcome.Failed);
        Assert.Null(Next(999));
        Assert.Equal("m3", Next(1_000)!.MessageId);
        Answer("m3", UplinkOutcome.Failed, 1_000);
        Assert.Null(Next(2_999));
        Assert.NotNull(Next(3_000));
        Assert.Empty(_done);
    }

    [Fact]
    public void A_refusal_for_good_removes_the_entry_and_is_counted()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1));
        Next();
        Assert.NotNull(Answer("m1", UplinkOutcome.Rejected));
        Assert.Equal([new UplinkRow(1, 1)], _done);
        Assert.Equal(1, _core.Rejected);
    }

    [Fact]
    public void After_a_cut_everything_unanswered_goes_again_with_its_id()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1));
        _core.Apply(Slot(2, UplinkPriority.Event));
        Assert.Equal("m1", Next()!.MessageId);
        Assert.Equal("m2", Next()!.MessageId);
        _core.LinkDown();
        Assert.Null(Answer("m1"));
        _core.LinkUp(1_000, edgeWire: false);
        Assert.Equal("m1", Next(1_000)!.MessageId);
        Assert.Equal("m2", Next(1_000)!.MessageId);
    }

    [Fact]
    public void An_answer_to_a_message_that_was_sent_twice_proves_only_what_was_sent_before_the_first()
    {
        _core.Apply(Slot(1));
        _core.LinkUp(0, edgeWire: false);
        var first = Next()!;
        _core.Apply(Slot(2, UplinkPriority.User));
        Assert.Equal(2, Next()!.Slot.Id);
        // No answer in time: the same message goes out again, after the one that nobody answers.
        Assert.Equal(first.MessageId, Next(10_000)!.MessageId);
        Assert.Equal(1, Answer(first.MessageId, nowMs: 10_001)!.Id);
        Assert.Equal([new UplinkRow(1, 1)], _done);
    }

    [Fact]
    public void What_nobody_answers_leaves_once_something_sent_later_is_answered()
    {
        _core.LinkUp(0, edgeWire: false);
        _core.Apply(Slot(1, UplinkPriority.Event));
        Next();
        Assert.Equal(1, _core.Depth(UplinkPriority.Event));
        _core.Apply(Slot(2));
        var status = Next()!;
        _core.Apply(Slot(3, UplinkPriority.Event));
        Next();
        Answer(status.MessageId);
        Assert.Equal([new UplinkRow(1, 1), new UplinkRow(2, 2)], _done);
        Assert.Equal(1, _core.Depth(UplinkPriority.Event)); // 3 went after the status: not proved yet
        _core.Proved(_core.NextSequence(), _done);
        Assert.Equal(0, _core.Depth(UplinkPriority.Event));
    }

    [Fact]
    public void Samples_go_before_the_newest_values_when_a_bound_is_reached()
    {
        Assert.Empty(_core.Apply(Slot(1, UplinkPriority.Twin)));
        for (var id = 2; id <= 5; id++)
            Assert.Empty(_core.Apply(Slot(id, UplinkPriority.Twin) with { Rule = id == 3 ? UplinkRule.Newest : UplinkRule.Every }));

        // Samples that come push out older samples, and so does a newest value; a sample on its way counts like the others.
        _core.LinkUp(0, edgeWire: true);
        Assert.Equal([1L, 2L], Enumerable.Range(0, 2).Select(_ => Next()!.Slot.Id));
        Assert.Equal([new UplinkRow(2, 2)], _core.Apply(Slot(6, UplinkPriority.Twin) with { Rule = UplinkRule.Every }));
        Assert.Equal([new UplinkRow(4, 4)], _core.Apply(Slot(7, UplinkPriority.Twin)));
        Assert.Equal([new UplinkRow(5, 5), new UplinkRow(6, 6)], _core.Apply(Slot(8, UplinkPriority.Twin, size: 997)));
        Assert.Equal(4, _core.Depth(UplinkPriority.Twin));

        // Where there are none, the oldest values.
        Assert.Equal([new UplinkRow(1, 1)], _core.Apply(Slot(9, UplinkPriority.Twin)));
    }

    [Fact]
    public void The_oldest_entries_go_when_a_bound_is_reached_and_are_counted()
    {
        for (var id = 1; id <= 5; id++)
            Assert.Empty(_core.Apply(Slot(id, UplinkPriority.Event)));
        Assert.Equal([new UplinkRow(1, 1)], _core.Apply(Slot(6, UplinkPriority.Event)));
        Assert.Equal(4, _core.Apply(Slot(7, UplinkPriority.Event, size: 999)).Count);
        Assert.Equal((2, 5L), (_core.Depth(UplinkPriority.Event), _core.Overflowed(UplinkPriority.Event)));
        Assert.Empty(_core.Apply(Slot(8, UplinkPriority.User)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Under_loss_cuts_and_late_answers_no_newest_value_is_lost_or_removed_by_an_older_answer(int seed)
    {
        var random = new Random(seed);
        var core = new UplinkCore(new UplinkLimits(Qps: 1000, Burst: 1000));
        var newest = new Dictionary<long, long>(); // what the edge wants the cloud to hold
        var held = new Dictionary<long, long>(); // what the cloud holds
        var answers = new List<string>();
        var rows = new Dictionary<long, long>(); // the disk
        long version = 0;
        long now = 0;
        var up = false;
        void Settle(List<UplinkRow> done)
        {
            foreach (var row in done)
            {
                if (rows.TryGetValue(row.Id, out var stored) && stored == row.Version)
                    rows.Remove(row.Id);
            }
        }

        for (var step = 0; step < 4000; step++)
        {
            var faulty = step < 3500;
            now += random.Next(500);
            switch (random.Next(6))
            {
                case 0 when faulty:
                    var id = random.Next(1, 20);
                    newest[id] = rows[id] = ++version;
                    core.Apply(new UplinkSlot(id, version, $"k{id}", UplinkPriority.Twin, true, 1));
                    break;
                case 1 when faulty && random.Next(10) == 0:
                    core.LinkDown();
                    (up, answers) = (false, faulty && random.Next(2) == 0 ? answers : []);
                    break;
                case 2 when !up:
                    core.LinkUp(now, edgeWire: false);
                    up = true;
                    break;
                case 3 when answers.Count > 0:
                    var at = random.Next(answers.Count);
                    var done = new List<UplinkRow>();
                    core.Answer(answers[at], faulty && random.Next(5) == 0 ? UplinkOutcome.Failed : UplinkOutcome.Accepted, now, done);
                    answers.RemoveAt(at);
                    Settle(done);
                    break;
                default:
                    if (core.TryNext(now, $"{step}", out var send) && (!faulty || random.Next(5) > 0))
                    {
                        held[send.Slot.Id] = send.Slot.Version;
                        answers.Add(send.MessageId);
                    }

                    break;
            }

            foreach (var (key, wanted) in newest)
                Assert.True(rows.ContainsKey(key) || held.GetValueOrDefault(key) == wanted, $"seed {seed} step {step}: version {wanted} of {key} is neither on disk nor in the cloud");
        }

        for (var rest = 0; rest < 500; rest++)
        {
            now += 10_000;
            if (!up)
                core.LinkUp(now, edgeWire: false);
            up = true;
            while (core.TryNext(now, $"r{rest}-{now}-{answers.Count}", out var send))
            {
                held[send.Slot.Id] = send.Slot.Version;
                var done = new List<UplinkRow>();
                core.Answer(send.MessageId, UplinkOutcome.Accepted, now, done);
                Settle(done);
            }
        }

        Assert.Equal(newest.OrderBy(one => one.Key), held.OrderBy(one => one.Key));
        Assert.Empty(rows);
    }

    [Fact]
    public void An_Edge_cloud_answers_events_too_and_nothing_else_proves_them()
    {
        _core.Apply(Slot(1, UplinkPriority.Event));
        _core.Apply(Slot(2, UplinkPriority.Twin));
        _core.LinkUp(0, edgeWire: true);
        Assert.Equal(2, Next()!.Slot.Id);
        var sent = Next()!;
        Assert.Equal(1, sent.Slot.Id);
        _core.Proved(_core.NextSequence(), _done);
        Assert.Empty(_done); // at a stock cloud this would have been proof
        Assert.NotNull(Answer(sent.MessageId));
        Assert.Equal([new UplinkRow(1, 1)], _done);
    }

    [Fact]
    public void An_event_without_an_answer_goes_again_to_an_Edge_cloud_and_keeps_its_id()
    {
        _core.Apply(Slot(1, UplinkPriority.Event));
        _core.LinkUp(0, edgeWire: true);
        var first = Next()!;
        Assert.Null(Next(9_999));
        Assert.Equal(first.MessageId, Next(10_000)!.MessageId);
        _core.LinkDown();
        _core.LinkUp(20_000, edgeWire: true);
        Assert.Equal(first.MessageId, Next(20_000)!.MessageId);
    }

    [Fact]
    public void What_an_Edge_cloud_left_unanswered_a_stock_one_may_prove_and_the_other_way_round()
    {
        _core.Apply(Slot(1, UplinkPriority.Event));
        _core.LinkUp(0, edgeWire: true);
        Next();
        _core.LinkDown();
        _core.LinkUp(0, edgeWire: false);
        Next();
        _core.Proved(_core.NextSequence(), _done);
        Assert.Equal([new UplinkRow(1, 1)], _done);

        _core.Apply(Slot(2, UplinkPriority.Event));
        Next();
        _core.LinkDown();
        _core.LinkUp(0, edgeWire: true);
        var again = Next()!;
        Assert.Equal(2, again.Slot.Id);
        Answer(again.MessageId);
        Assert.Equal(2, _done.Count);
    }

    [Fact]
    public void An_Edge_cloud_has_a_pace_of_its_own_with_twice_as_much_at_once()
    {
        var core = new UplinkCore(new UplinkLimits(EntriesMax: 100, Qps: 10, Burst: 3) { EdgeWireQps = 20, EdgeWireInFlightMax = 100 });
        for (var id = 1; id <= 60; id++)
            core.Apply(Slot(id));
        core.LinkUp(0, edgeWire: true);
        Assert.Equal(40, Burst(0));
        Assert.Equal(50, core.NextDueMs(0));
        Assert.Equal(1, Burst(50));
        core.LinkDown();
        core.LinkUp(50, edgeWire: true);
        Assert.Equal(0, Burst(50)); // a link that flaps gets no new purse
        core.LinkDown();
        core.LinkUp(50, edgeWire: false);
        Assert.Equal(3, Burst(50));
        Assert.Equal(150, core.NextDueMs(50));

        int Burst(long nowMs)
        {
            var sent = 0;
            while (core.TryNext(nowMs, $"b{++_ids}", out _))
                sent++;
            return sent;
        }
    }

    [Fact]
    public void A_window_holds_back_one_priority_and_no_other_until_answers_come()
    {
        var core = new UplinkCore(new UplinkLimits(EntriesMax: 100) { EdgeWireInFlightMax = 2 });
        core.Apply(Slot(1, UplinkPriority.PodStatus));
        core.Apply(Slot(2, UplinkPriority.PodStatus));
        core.Apply(Slot(3, UplinkPriority.PodStatus));
        core.Apply(Slot(4, UplinkPriority.User));
        core.LinkUp(0, edgeWire: true);
        Assert.Equal([1L, 2, 4], Take());
        Assert.Equal(10_000, core.NextDueMs(0)); // the resends alone
        core.Answer("w1", UplinkOutcome.Accepted, 0, _done);
        Assert.Equal([3L], Take());
        core.Answer("w2", UplinkOutcome.Failed, 0, _done);
        Assert.Empty(Take());
        core.LinkDown();
        core.LinkUp(0, edgeWire: true);
        Assert.Equal([3L, 4], Take()); // 2 has its pause

        List<long> Take()
        {
            var ids = new List<long>();
            while (core.TryNext(0, $"w{++_ids}", out var send))
                ids.Add(send.Slot.Id);
            _ids--;
            return ids;
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void With_clouds_of_both_kinds_in_turn_every_entry_leaves_by_an_answer_or_proof_of_its_own_send(int seed)
    {
        var random = new Random(seed);
        var core = new UplinkCore(new UplinkLimits(EntriesMax: 1000) { EdgeWireInFlightMax = 4 });
        var arrived = new HashSet<long>(); // ids that the cloud has taken
        var flying = new List<UplinkSend>();
        var done = new List<UplinkRow>();
        var (edge, up, now, posted) = (false, false, 0L, 0L);
        for (var step = 0; step < 5000; step++)
        {
            now += random.Next(300);
            switch (random.Next(6))
            {
                case 0 when posted < 300:
                    core.Apply(Slot(++posted, (UplinkPriority)random.Next(1, 6)));
                    break;
                case 1 when random.Next(20) == 0:
                    if (up)
                        core.LinkDown();
                    flying.Clear();
                    (up, edge) = (true, random.Next(2) == 0);
                    core.LinkUp(now, edge);
                    break;
                case 2 when flying.Count > 0: // the cloud reads in order, and answers what its kind answers
                    var read = flying[0];
                    flying.RemoveAt(0);
                    arrived.Add(read.Slot.Id);
                    if (edge || read.Slot.Answered)
                        core.Answer(read.MessageId, random.Next(10) == 0 ? UplinkOutcome.Failed : UplinkOutcome.Accepted, now, done);
                    break;
                default:
                    if (core.TryNext(now, $"r{++_ids}", out var send))
                    {
                        flying.Add(send);
                        core.Sent(send);
                    }

                    break;
            }

            Assert.All(done, row => Assert.Contains(row.Id, arrived));
        }

        Assert.True(done.Count > 50, $"only {done.Count} were done");
        Assert.Equal(done.Count, done.Select(row => row.Id).Distinct().Count());
    }
}
