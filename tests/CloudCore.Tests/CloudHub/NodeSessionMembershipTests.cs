using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

/// <summary>Of its devices a stock edge is told by messages that it does not answer (kubeedge-wire §4.2): before the devices, as often as these, and never more than it can hold.</summary>
[Trait("Category", "Sync")]
public sealed class NodeSessionMembershipTests
{
    private readonly SessionLimits _limits = new() { Window = 8, UnansweredMax = 8, ResendMs = 5_000, ResendMsMax = 20_000, ObjectsMax = 1_000, TellsMembers = true };
    private readonly List<SessionOutput> _outputs = [];
    private int _ids;
    private NodeSession? _session;

    private NodeSession Session => _session ??= new NodeSession(_limits, () => $"m{++_ids}");

    [Fact]
    public void Devices_that_are_sent_at_once_are_told_in_one_message_before_all_objects()
    {
        Deliver("m", "devicemodel");
        Deliver("a");
        Deliver("b");
        Assert.Empty(Tick(0));
        Open();
        Assert.Equal(["+ a b", "insert m", "insert a", "insert b"], Tick(0));
        Deliver("c");
        Assert.Equal(["+ c", "insert c"], Tick(1));
        Assert.Empty(Tick(2));
    }

    [Fact]
    public void Device_waits_for_the_answer_to_its_model_where_the_edge_may_reorder()
    {
        _session = new NodeSession(_limits with { MayReorder = true }, () => $"m{++_ids}");
        Open();
        Deliver("m", "devicemodel");
        Session.Step(new SessionInput.Deliver(Object("a", "device", Operations.Insert, 1, "a", isFinal: true) with { Needs = Object("m", "devicemodel", Operations.Insert, 1, "m", isFinal: true).Resource }), _outputs);
        Deliver("config", "configmap");
        Assert.Equal(["insert m", "insert config"], Tick(0));
        Assert.Empty(Tick(1));
        Ack("m1");
        Assert.Equal(["+ a", "insert a"], Tick(2));
    }

    [Fact]
    public void Device_without_an_ack_is_told_again_before_it_is_sent_again_and_what_was_answered_is_not()
    {
        Open();
        Deliver("config", "configmap");
        Deliver("a");
        Deliver("b");
        Deliver("c");
        Tick(0);
        Ack("m2");
        Refuse("m3");
        Assert.Equal(["+ c", "insert config", "insert b", "insert c"], Tick(5_000));
        Ack("m4");
        Assert.Equal(["+ b", "insert config", "insert b"], Tick(15_000));
        Ack("m1");
        Ack("m3");
        Assert.Empty(Tick(100_000));
        Assert.Equal(long.MaxValue, Session.NextDueMs);
    }

    [Fact]
    public void Changed_device_is_told_only_while_its_first_state_has_no_ack()
    {
        Open();
        Deliver("a");
        Tick(0);
        Deliver("a", operation: Operations.Update, version: 2);
        Assert.Equal(["+ a", "update a"], Tick(5_000));
        Ack("m2");
        Deliver("a", operation: Operations.Update, version: 3);
        Assert.Equal(["update a"], Tick(5_001));
    }

    [Fact]
    public void Deleted_device_leaves_before_its_delete_and_again_while_that_has_no_ack()
    {
        Open();
        Deliver("a", operation: Operations.Delete, version: 2);
        Assert.Equal(["- a", "delete a"], Tick(0));
        Assert.Equal(["- a", "delete a"], Tick(5_000));
        Ack("m1");
        Assert.Empty(Tick(100_000));
    }

    [Fact]
    public void Device_made_again_is_not_told_to_be_gone_by_the_late_delete_of_the_one_before()
    {
        Open();
        Deliver("a", operation: Operations.Delete, version: 2);
        Assert.Equal(["- a", "delete a"], Tick(0));
        Deliver("a", version: 3, uid: "another");
        // Within one message it would mean nothing which was said first.
        Assert.Equal(["- a", "delete a", "+ a", "insert a"], Tick(5_000));
        Ack("m2"); // the new one's
        Assert.Equal(["delete a"], Tick(15_000));
    }

    [Fact]
    public void Device_deleted_and_made_again_behind_its_first_state_leaves_before_it_comes()
    {
        Open();
        Deliver("a");
        Tick(0);
        Deliver("a", operation: Operations.Delete, version: 2);
        Deliver("a", version: 3, uid: "another");
        Ack("m1");
        Assert.Equal(["- a", "delete a"], Tick(1));
        Ack("m2");
        Assert.Equal(["+ a", "insert a"], Tick(2));
    }

    [Fact]
    public void Device_that_comes_back_and_changes_while_its_delete_has_no_ack_is_told()
    {
        Open();
        Deliver("a", operation: Operations.Delete, version: 2, isFinal: false);
        Tick(0);
        Deliver("a", version: 3);
        Deliver("a", operation: Operations.Update, version: 4);
        Ack("m1");
        Assert.Equal(["+ a", "insert a"], Tick(1));
        Ack("m2");
        Assert.Empty(Tick(100_000));
    }

    [Fact]
    public void Delete_that_comes_after_the_newer_device_of_the_name_says_nothing()
    {
        Open();
        Deliver("a", version: 3, uid: "new");
        Tick(0);
        Tick(5_000);
        Deliver("a", operation: Operations.Delete, version: 2, uid: "old");
        Assert.Equal(["delete a"], Tick(5_001));
        Assert.Equal(["delete a"], Tick(10_001));
        Ack("m2");
        Assert.Equal(["+ a", "insert a"], Tick(15_000));
    }

    [Fact]
    public void What_may_not_have_been_looked_at_takes_places_until_something_sent_after_it_is_answered_or_its_time_is_over()
    {
        Open();
        Deliver("a");
        for (var i = 0; i < 20; i++)
            Deliver($"c{i}", "configmap");
        Assert.Equal(8, Tick(0).Count);
        Assert.False(Session.HasReady(SendPart.All));
        Ack("m2");
        Assert.Equal(["insert c6", "insert c7"], Tick(1));
        Ack("m1");
        Session.Step(new SessionInput.Members(["default/device/x"]), _outputs);
        Assert.Equal(["+ x"], Tick(2)); // before the objects that wait
        Assert.False(Session.HasReady(SendPart.All));
        for (var id = 3; id <= 9; id++)
            Ack($"m{id}");
        Assert.Equal(7, Tick(3).Count);
        Assert.Empty(Tick(4));
        Assert.Equal(["insert c15"], Tick(5_002));
    }

    [Fact]
    public void List_of_the_devices_that_the_edge_has_goes_in_parts_no_faster_than_it_can_be_looked_at()
    {
        Session.Step(new SessionInput.Members([.. Enumerable.Range(0, 950).Select(i => $"default/device/d{i}")]), _outputs);
        Deliver("d0", operation: Operations.Delete);
        Assert.Empty(Tick(0));
        Open();
        Tick(0);
        var parts = _outputs.Cast<SessionOutput.SendMembers>().ToList();
        Assert.Equal((8, 800, 0), (_outputs.Count, parts.Sum(part => part.Added.Count), parts.Sum(part => part.Removed.Count)));
        Assert.False(Session.HasReady(SendPart.All));
        Assert.Equal(5_000, Session.NextDueMs);
        Assert.Equal(["- d0", "delete d0"], Tick(5_000)[2..]);
        parts.AddRange(_outputs.OfType<SessionOutput.SendMembers>());
        Assert.Equal(950, parts.SelectMany(part => part.Added).Distinct().Count());
        // An idle session keeps nothing and asks for no more time.
        Ack("m1");
        Tick(10_000);
        Assert.Equal((0, 0, long.MaxValue), (Session.MessageDepth, Session.ObjectDepth, Session.NextDueMs));
    }

    [Fact]
    public void List_that_is_longer_than_the_queue_of_objects_ends_the_session()
    {
        Session.Step(new SessionInput.Members([.. Enumerable.Range(0, 1_001).Select(i => $"default/device/d{i}")]), _outputs);
        Assert.Equal(new SessionOutput.Drop("membership", DropReason.ObjectQueueFull), Assert.Single(_outputs));
    }

    [Fact]
    public void Edge_peer_is_told_nothing()
    {
        var session = new NodeSession(new SessionLimits(), () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), _outputs);
        session.Step(new SessionInput.Members(["default/device/b"]), _outputs);
        session.Step(new SessionInput.Deliver(Object("a", "device", Operations.Insert, 1, "a")), _outputs);
        foreach (var nowMs in (long[])[0, 5_000])
        {
            _outputs.Clear();
            session.Step(new SessionInput.Tick(nowMs, 10), _outputs);
            Assert.IsType<SessionOutput.SendObject>(Assert.Single(_outputs));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Stock_edge_behind_a_line_that_loses_what_is_sent_together_knows_each_device_that_it_acknowledges(int seed)
    {
        // 500 new devices, of which some leave and come back, at 30 answers a second. What goes out in one write is lost as a whole: it is one segment.
        var random = new Random(seed);
        var session = new NodeSession(SessionLimits.Stock, () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), []);
        var (edge, known, has) = (new Queue<SessionOutput>(), new HashSet<string>(), new Dictionary<string, string>());
        var truth = new Dictionary<string, string>();
        var (version, most, nowMs) = (0L, 0, 0L);
        void Change(int device)
        {
            var name = $"d{device}";
            version++;
            if (truth.Remove(name, out var uid))
            {
                session.Step(new SessionInput.Deliver(Object(name, "device", Operations.Delete, version, uid)), []);
                return;
            }

            session.Step(new SessionInput.Deliver(Object(name, "device", Operations.Insert, version, truth[name] = $"u{version}")), []);
        }

        for (var i = 0; i < 500; i++)
            Change(i);
        for (; session.ObjectDepth > 0 || session.MessageDepth > 0; nowMs += 10)
        {
            Assert.True(nowMs < 1_000_000, "it did not come to an end");
            if (nowMs < 20_000 && random.Next(20) == 0)
                Change(random.Next(500));
            var outputs = new List<SessionOutput>();
            session.Step(new SessionInput.Tick(nowMs, 64), outputs);
            if (seed == 0 || nowMs > 60_000 || random.Next(10) > 0)
                outputs.ForEach(edge.Enqueue);
            most = Math.Max(most, edge.Count);
            var isAnswering = nowMs / 10 % 10 is 0 or 3 or 6;
            while (isAnswering && edge.TryDequeue(out var message))
            {
                if (message is SessionOutput.SendMembers members)
                {
                    known.UnionWith(members.Added);
                    known.ExceptWith(members.Removed);
                    continue;
                }

                isAnswering = false;
                var send = (SessionOutput.SendObject)message;
                if (!send.Object.IsDelete)
                {
                    has[send.Object.Resource] = send.Object.Uid;
                    Assert.True(known.Contains(send.Object.Resource) || truth.GetValueOrDefault(send.Object.Resource.Split('/')[2]) != send.Object.Uid, $"seed {seed}: {send.Object.Resource} at {nowMs} ms");
                }
                else if (has.GetValueOrDefault(send.Object.Resource) == send.Object.Uid)
                {
                    has.Remove(send.Object.Resource);
                }

                session.Step(new SessionInput.Ack(send.MessageId), []);
            }
        }

        Assert.True(most <= SessionLimits.Stock.UnansweredMax + 1, $"seed {seed}: {most} messages waited unread");
        Assert.Equal(truth.Keys.Select(name => $"default/device/{name}").Order(), has.Keys.Order());
        Assert.Equal(has.Keys.Order(), known.Order());
    }

    private static DownObject Object(string name, string type, string operation, long version, string uid, bool isFinal = true)
        => new($"default/{type}/{name}", operation, uid, version, Sources.DeviceController, new ObjectBody(new JsonObject()), isFinal && operation == Operations.Delete);

    private void Open() => Session.Step(new SessionInput.Open(), _outputs);

    private void Deliver(string name, string type = "device", string operation = Operations.Insert, long version = 1, string? uid = null, bool isFinal = true)
        => Session.Step(new SessionInput.Deliver(Object(name, type, operation, version, uid ?? name, isFinal)), _outputs);

    private void Ack(string id) => Session.Step(new SessionInput.Ack(id), _outputs);

    private void Refuse(string id) => Session.Step(new SessionInput.Refused(id, "bad"), _outputs);

    // `+ NAMES` and `- NAMES` for devices that came and left.
    private List<string> Tick(long nowMs)
    {
        _outputs.Clear();
        Session.Step(new SessionInput.Tick(nowMs, 100), _outputs);
        return [.. _outputs.Select(output => output switch
        {
            SessionOutput.SendObject send => $"{send.Object.Operation} {Name(send.Object.Resource)}",
            SessionOutput.SendMembers members => string.Join(' ', Words("+", members.Added).Concat(Words("-", members.Removed))),
            _ => output.ToString(),
        })];
    }

    private static IEnumerable<string> Words(string sign, List<string> devices) => devices.Count == 0 ? [] : devices.Select(Name).Prepend(sign);

    private static string Name(string path) => path.Split('/')[2];
}
