using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class NodeSessionTests
{
    private readonly SessionLimits _limits = new() { Window = 4, ResendMs = 5_000, ResendMsMax = 20_000, ObjectsMax = 10, MessagesMax = 3 };
    private readonly List<SessionOutput> _outputs = [];
    private int _ids;
    private NodeSession? _session;

    private NodeSession Session => _session ??= new NodeSession(_limits, () => $"m{++_ids}");

    [Fact]
    public void Objects_wait_until_the_session_is_opened()
    {
        Deliver("a", 1);
        Assert.Empty(Tick(0));
        Session.Step(new SessionInput.Open(), _outputs);
        Assert.Equal("insert a 1", Assert.Single(Tick(0)));
    }

    [Fact]
    public void Different_objects_are_in_flight_at_once_up_to_the_window()
    {
        Open();
        foreach (var uid in (string[])["a", "b", "c", "d", "e"])
            Deliver(uid, 1);
        Assert.Equal(["insert a 1", "insert b 1", "insert c 1", "insert d 1"], Tick(0));
        Ack("m2");
        Assert.Equal(["insert e 1"], Tick(1));
    }

    [Fact]
    public void Newest_state_replaces_a_waiting_one()
    {
        Open();
        Deliver("a", 1);
        Deliver("a", 3, Operations.Update);
        Deliver("a", 2, Operations.Update);
        Assert.Equal(["insert a 3"], Tick(0));
    }

    [Fact]
    public void Newer_state_of_a_sent_object_follows_its_ack_under_a_new_id()
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Deliver("a", 2, Operations.Update);
        Assert.Empty(Tick(1));
        Ack("m1");
        Assert.Equal(["update a 2"], Tick(2));
        // An old ack that comes twice must not confirm the newer state.
        Ack("m1");
        Assert.Equal(1, Session.ObjectDepth);
        Ack("m2");
        Assert.Equal(0, Session.ObjectDepth);
    }

    [Fact]
    public void Final_delete_wins_over_what_comes_after()
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Deliver("a", 5, Operations.Delete, isFinal: true);
        Deliver("a", 6, Operations.Update);
        Ack("m1");
        Assert.Equal(["delete a 5"], Tick(1));
        Ack("m2");
        Assert.Equal(0, Session.ObjectDepth);
    }

    [Fact]
    public void Withdrawn_object_comes_back_with_the_same_version()
    {
        Open();
        Deliver("a", 4);
        Tick(0);
        Ack("m1");
        Deliver("a", 4, Operations.Delete);
        Assert.Equal(["delete a 4"], Tick(1));
        Deliver("a", 4);
        Ack("m2");
        Assert.Equal(["insert a 4"], Tick(2));
    }

    [Fact]
    public void Repair_of_the_version_on_its_way_follows_its_ack()
    {
        // The edge has held it back, and its ack is on the way, too.
        Open();
        Deliver("a", 4);
        Tick(0);
        var repair = Object("a", 4, Operations.Insert, false, "a") with { IsRepair = true };
        Session.Step(new SessionInput.Deliver(repair), _outputs);
        Session.Step(new SessionInput.Deliver(repair), _outputs);
        Ack("m1");
        Assert.Equal(["insert a 4"], Tick(1));
        Assert.True(_outputs.OfType<SessionOutput.SendObject>().Single().Object.IsRepair);
        Ack("m2");
        Assert.Equal(0, Session.ObjectDepth);
    }

    [Fact]
    public void What_will_be_sent_is_what_has_not_gone_in_its_newest_state()
    {
        Deliver("a", 4);
        Assert.Equal((true, false), (Session.WillSend("a"), Session.WillSend("b")));
        Open();
        Tick(0);
        Assert.False(Session.WillSend("a"));
        Deliver("a", 5, Operations.Update);
        Assert.True(Session.WillSend("a"));
        Ack("m1");
        Assert.True(Session.WillSend("a"));
        Tick(1);
        Ack("m2");
        Assert.False(Session.WillSend("a"));
    }

    [Fact]
    public void Session_with_nothing_on_its_way_remembers_no_object()
    {
        Open();
        Deliver("a", 4);
        Tick(0);
        Ack("m1");
        Assert.Equal((0, 0, long.MaxValue, false), (Session.ObjectDepth, Session.InFlight, Session.NextDueMs, Session.HasReady(SendPart.All)));
        Deliver("a", 5, Operations.Update);
        Assert.Equal(["update a 5"], Tick(1));
    }

    [Fact]
    public void Known_version_is_not_sent_even_when_it_already_waits()
    {
        Deliver("a", 4);
        Deliver("b", 4);
        Session.Step(new SessionInput.Known("a", 4), _outputs);
        Session.Step(new SessionInput.Known("b", 3), _outputs);
        Open();
        Assert.Equal(["insert b 4"], Tick(0));
    }

    [Fact]
    public void Unanswered_object_is_sent_again_under_its_id_at_growing_times()
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Assert.Empty(Tick(4_999));
        Assert.Equal(5_000, Session.NextDueMs);
        Assert.Equal("m1", SentId(5_000));
        Assert.Equal(15_000, Session.NextDueMs);
        Assert.Equal("m1", SentId(15_000));
        Assert.Equal("m1", SentId(35_000));
        Assert.Equal(55_000, Session.NextDueMs);
    }

    [Fact]
    public void Newer_state_replaces_an_unanswered_one_when_it_falls_due()
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Deliver("a", 2, Operations.Update);
        Assert.Equal(["update a 2"], Tick(5_000));
        Ack("m1");
        Assert.Equal(1, Session.ObjectDepth);
        Ack("m2");
        Assert.Equal(0, Session.ObjectDepth);
    }

    [Fact]
    public void Refused_objects_free_the_window_and_delay_only_themselves()
    {
        Open();
        foreach (var uid in (string[])["a", "b", "c", "d", "e", "f"])
            Deliver(uid, 1);
        Tick(0);
        foreach (var id in (string[])["m1", "m2", "m3", "m4"])
            Session.Step(new SessionInput.Refused(id, "no room"), _outputs);
        Assert.Equal(4, _outputs.OfType<SessionOutput.Delayed>().Count(delayed => delayed.Reason == "no room" && delayed.RetryAtMs == 5_000));
        Assert.Equal(["insert e 1", "insert f 1"], Tick(1));
        Assert.Equal(["insert a 1", "insert b 1", "insert c 1", "insert d 1"], Tick(5_000));
    }

    [Fact]
    public void Refused_object_is_replaced_by_its_newer_state_at_once()
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Deliver("a", 2, Operations.Update);
        Session.Step(new SessionInput.Refused("m1", "bad"), _outputs);
        Assert.Equal(["update a 2"], Tick(1));
    }

    [Theory]
    [InlineData(Operations.Update)]
    [InlineData(Operations.Delete)]
    public void What_comes_after_a_refusal_replaces_the_refused_state_with_the_next_tick(string operation)
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Refuse("m1");
        Deliver("a", 2, operation, isFinal: operation == Operations.Delete);
        Assert.Equal((1, 0), (Session.ObjectDepth, Session.InFlight));
        Assert.True(Session.HasReady(SendPart.All));
        Assert.Equal([$"{operation} a 2"], Tick(1));
        // The refused one's timer and a late ack of it are forgotten; the new one has the first wait of its own.
        Ack("m1");
        Assert.Equal((1, 1), (Session.ObjectDepth, Session.InFlight));
        Assert.Equal(5_001, Session.NextDueMs);
        Assert.Empty(Tick(5_000));
        Assert.Equal("m2", SentId(5_001));
        Ack("m2");
        Assert.Equal((0, 0, long.MaxValue), (Session.ObjectDepth, Session.InFlight, Session.NextDueMs));
    }

    [Fact]
    public void Newest_of_what_comes_after_a_refusal_is_sent_once()
    {
        Open();
        Deliver("a", 1);
        Tick(0);
        Refuse("m1");
        Deliver("a", 1, Operations.Update);
        Assert.Empty(Tick(1));
        Deliver("a", 2, Operations.Update);
        Deliver("a", 4, Operations.Update);
        Deliver("a", 3, Operations.Update);
        Assert.Equal(["update a 4"], Tick(2));
        Assert.Empty(Tick(5_001));
        Ack("m2");
        Assert.Equal(0, Session.ObjectDepth);
    }

    [Fact]
    public void Delete_after_a_refusal_lets_the_recreated_object_of_the_same_name_follow_it()
    {
        Open();
        Deliver("old", 1, name: "web");
        Tick(0);
        Refuse("m1");
        Deliver("old", 5, Operations.Delete, isFinal: true, name: "web");
        Deliver("new", 6, name: "web");
        Assert.Equal(["delete web 5"], Tick(1));
        Assert.Empty(Tick(2));
        Ack("m2");
        Assert.Equal(["insert web 6"], Tick(3));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Delete_of_a_sent_object_goes_before_the_recreated_object_of_the_same_name(bool isAcked)
    {
        // A stock edge deletes by the name: the other way round it would lose the new one.
        Open();
        Deliver("old", 1, name: "web");
        Tick(0);
        Deliver("old", 5, Operations.Delete, isFinal: true, name: "web");
        Deliver("new", 6, name: "web");
        if (isAcked)
            Ack("m1");
        else
            Refuse("m1");
        Assert.Equal(["delete web 5"], Tick(1));
        Assert.Empty(Tick(2));
        Ack("m2");
        Assert.Equal(["insert web 6"], Tick(3));
    }

    [Fact]
    public void State_that_need_not_go_any_more_holds_up_no_other_object_of_its_name()
    {
        Open();
        Deliver("a", 1, name: "web");
        Tick(0);
        Deliver("a", 2, Operations.Update, name: "web");
        Deliver("b", 3, name: "web");
        Ack("m1");
        Session.Step(new SessionInput.Known("a", 2), _outputs);
        Assert.Equal(["insert web 3"], Tick(1));
    }

    [Fact]
    public void Window_and_room_for_unanswered_hold_as_many_after_refusals_and_their_newer_states_as_before()
    {
        var session = new NodeSession(new SessionLimits { Window = 4, UnansweredMax = 4 }, () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), _outputs);
        for (var round = 0; round < 3; round++)
        {
            // Four are sent and refused, and newer states of all come after it, with four objects more: only four of the eight are under way.
            for (var i = 0; i < 4; i++)
                session.Step(new SessionInput.Deliver(Object($"u{i}", (round * 2) + 1, Operations.Update, false, $"u{i}")), _outputs);
            foreach (var id in Sent(round * 10))
                session.Step(new SessionInput.Refused(id, "no"), _outputs);
            for (var i = 0; i < 8; i++)
                session.Step(new SessionInput.Deliver(Object($"u{i}", (round * 2) + 2, Operations.Update, false, $"u{i}")), _outputs);
            var newer = Sent((round * 10) + 1);
            Assert.Equal((8, 4), (session.ObjectDepth, session.InFlight));
            Assert.False(session.HasReady(SendPart.All));
            newer.ForEach(id => session.Step(new SessionInput.Ack(id), _outputs));
            Sent((round * 10) + 2).ForEach(id => session.Step(new SessionInput.Ack(id), _outputs));
            Assert.Equal((0, 0), (session.ObjectDepth, session.InFlight));
        }

        List<string> Sent(long nowMs)
        {
            _outputs.Clear();
            session.Step(new SessionInput.Tick(nowMs, 100), _outputs);
            var ids = _outputs.OfType<SessionOutput.SendObject>().Select(send => send.MessageId).ToList();
            Assert.Equal(4, ids.Count);
            return ids;
        }
    }

    [Fact]
    public void Unanswered_objects_do_not_hold_the_window_after_their_first_wait()
    {
        Open();
        foreach (var uid in (string[])["a", "b", "c", "d", "e"])
            Deliver(uid, 1);
        Tick(0);
        Assert.Equal(["insert a 1", "insert b 1", "insert c 1", "insert d 1", "insert e 1"], Tick(5_000));
    }

    [Fact]
    public void Recreated_object_of_the_same_name_waits_for_the_delete_of_the_old_one()
    {
        Open();
        Deliver("old", 5, Operations.Delete, isFinal: true, name: "web");
        Deliver("new", 6, Operations.Insert, name: "web");
        Assert.Equal(["delete web 5"], Tick(0));
        Assert.Empty(Tick(1));
        Ack("m1");
        Assert.Equal(["insert web 6"], Tick(2));
    }

    [Fact]
    public void Recreated_object_goes_on_when_the_delete_of_the_old_one_stays_unanswered()
    {
        Open();
        Deliver("old", 5, Operations.Delete, isFinal: true, name: "web");
        Deliver("new", 6, Operations.Insert, name: "web");
        Tick(0);
        Assert.Equal(["delete web 5", "insert web 6"], Tick(5_000));
    }

    [Fact]
    public void Urgent_answers_go_before_messages_and_messages_before_objects()
    {
        Open();
        Deliver("a", 1);
        Send("twin");
        Send("lease", isUrgent: true);
        Assert.Equal(["lease", "twin", "insert a 1"], Tick(0));
    }

    [Fact]
    public void Answers_flow_before_the_session_is_opened()
    {
        Send("lease", isUrgent: true);
        Assert.Equal(["lease"], Tick(0));
    }

    [Fact]
    public void Oldest_message_is_dropped_when_too_many_wait_and_that_is_told()
    {
        foreach (var text in (string[])["1", "2", "3", "4"])
            Send(text);
        Assert.Equal(new SessionOutput.Drop("1", DropReason.MessageQueueFull), Assert.Single(_outputs));
        Assert.Equal(["2", "3", "4"], Tick(0));
    }

    [Fact]
    public void Too_many_objects_are_told_once()
    {
        for (var i = 0; i < 13; i++)
            Deliver($"u{i}", 1);
        Assert.Equal(new SessionOutput.Drop("default/configmap/u10", DropReason.ObjectQueueFull), Assert.Single(_outputs));
    }

    [Fact]
    public void A_tick_sends_no_more_than_the_link_takes()
    {
        Open();
        Deliver("a", 1);
        Deliver("b", 1);
        Session.Step(new SessionInput.Tick(0, 1), _outputs);
        Assert.Single(_outputs);
    }

    [Fact]
    public void Stock_edge_that_answers_30_a_second_is_never_overrun_and_nothing_is_sent_twice()
    {
        // KubeEdge's edge: 30 answers a second after a burst of 60; what it has not looked at waits in a queue of 100, of which the oldest is dropped.
        var session = new NodeSession(SessionLimits.Stock, () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), []);
        for (var i = 0; i < 3_000; i++)
            session.Step(new SessionInput.Deliver(Object($"u{i}", 1, Operations.Insert, false, $"u{i}")), []);
        var edge = new Queue<string>();
        var (most, sends, nowMs) = (0, 0, 0L);
        for (; session.ObjectDepth > 0; nowMs += 10)
        {
            var outputs = new List<SessionOutput>();
            session.Step(new SessionInput.Tick(nowMs, 1_000), outputs);
            foreach (var send in outputs.OfType<SessionOutput.SendObject>())
            {
                Assert.Equal(1, send.Attempt);
                edge.Enqueue(send.MessageId);
                sends++;
            }

            most = Math.Max(most, edge.Count);
            if (nowMs / 10 % 10 is 0 or 3 or 6 && edge.TryDequeue(out var id))
                session.Step(new SessionInput.Ack(id), []);
            Assert.True(nowMs < 200_000, "it did not come to an end");
        }

        Assert.Equal((3_000, 32), (sends, most));
    }

    [Fact]
    public void Stock_edge_that_says_nothing_never_has_more_than_60_unanswered()
    {
        var session = new NodeSession(SessionLimits.Stock, () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), []);
        for (var i = 0; i < 300; i++)
            session.Step(new SessionInput.Deliver(Object($"u{i}", 1, Operations.Insert, false, $"u{i}")), []);
        var unanswered = new HashSet<string>();
        var firstResendMs = long.MaxValue;
        for (var nowMs = 0L; nowMs <= 200_000; nowMs += 500)
        {
            var outputs = new List<SessionOutput>();
            session.Step(new SessionInput.Tick(nowMs, 1_000), outputs);
            foreach (var send in outputs.OfType<SessionOutput.SendObject>())
            {
                if (!unanswered.Add(send.MessageId))
                    firstResendMs = Math.Min(firstResendMs, nowMs);
            }
        }

        Assert.Equal((60, 15_000L), (unanswered.Count, firstResendMs));
        // Refusals are answers: they make room, and their own return waits for room.
        var outputs2 = new List<SessionOutput>();
        foreach (var id in unanswered)
            session.Step(new SessionInput.Refused(id, "no"), outputs2);
        outputs2.Clear();
        session.Step(new SessionInput.Tick(300_000, 1_000), outputs2);
        Assert.Equal(60, outputs2.OfType<SessionOutput.SendObject>().Count());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Under_loss_and_refusal_every_object_ends_at_its_newest_state(int seed)
    {
        // Invariant after every step: the edge's version of an object never goes back.
        var random = new Random(seed);
        var session = new NodeSession(new SessionLimits { Window = 3 }, () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), []);
        var truth = new Dictionary<string, long>();
        var edge = new Dictionary<string, long>();
        var now = 0L;
        var version = 0L;
        for (var step = 0; step < 3_000; step++)
        {
            var outputs = new List<SessionOutput>();
            var isQuiet = step >= 2_000;
            now += isQuiet ? 6_000 : random.Next(400);
            if (!isQuiet && random.Next(3) == 0)
            {
                var uid = $"u{random.Next(8)}";
                truth[uid] = ++version;
                session.Step(new SessionInput.Deliver(Object(uid, version, truth.ContainsKey(uid) ? Operations.Update : Operations.Insert, false, uid)), outputs);
            }

            session.Step(new SessionInput.Tick(now, 8), outputs);
            foreach (var send in outputs.OfType<SessionOutput.SendObject>().ToList())
            {
                var fate = isQuiet ? 9 : random.Next(10);
                if (fate < 3)
                    continue;
                if (fate == 3)
                {
                    session.Step(new SessionInput.Refused(send.MessageId, "no"), outputs);
                    continue;
                }

                Assert.True(send.Object.Version >= edge.GetValueOrDefault(send.Object.Uid), $"seed {seed} step {step}: {send.Object.Uid} went back");
                edge[send.Object.Uid] = send.Object.Version;
                if (fate > 4)
                    session.Step(new SessionInput.Ack(send.MessageId), outputs);
            }
        }

        Assert.Equal(truth.OrderBy(pair => pair.Key), edge.OrderBy(pair => pair.Key));
        Assert.Equal(0, session.ObjectDepth);
    }

    private static DownObject Object(string uid, long version, string operation, bool isFinal, string name)
        => new($"default/configmap/{name}", operation, uid, version, Sources.EdgeController, new ObjectBody(new JsonObject()), isFinal);

    private void Open() => Session.Step(new SessionInput.Open(), _outputs);

    private void Deliver(string uid, long version, string operation = Operations.Insert, bool isFinal = false, string? name = null)
        => Session.Step(new SessionInput.Deliver(Object(uid, version, operation, isFinal, name ?? uid)), _outputs);

    private void Send(string resource, bool isUrgent = false)
        => Session.Step(new SessionInput.Send(new Message { Id = resource, Resource = resource, Operation = Operations.Response }, isUrgent), _outputs);

    private void Refuse(string id) => Session.Step(new SessionInput.Refused(id, "bad"), _outputs);

    private void Ack(string id) => Session.Step(new SessionInput.Ack(id), _outputs);

    private List<string> Tick(long nowMs)
    {
        _outputs.Clear();
        Session.Step(new SessionInput.Tick(nowMs, 100), _outputs);
        return [.. _outputs.Select(output => output switch
        {
            SessionOutput.SendObject send => $"{send.Object.Operation} {send.Object.Resource.Split('/')[2]} {send.Object.Version}",
            SessionOutput.SendMessage send => send.Message.Resource,
            _ => output.ToString(),
        })];
    }

    private string SentId(long nowMs)
    {
        Tick(nowMs);
        return Assert.IsType<SessionOutput.SendObject>(Assert.Single(_outputs)).MessageId;
    }
}
