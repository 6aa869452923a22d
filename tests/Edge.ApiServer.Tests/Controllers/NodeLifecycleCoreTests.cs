using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Nodes;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class NodeLifecycleCoreTests
{
    private readonly NodeLifecycleCore _core = new();
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly JsonObject _node = JsonNode.Parse("""{"metadata":{"name":"n","uid":"u"},"spec":{},"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":"h"},{"type":"MemoryPressure","status":"False"}]}}""")!.AsObject();
    private readonly JsonObject _lease = JsonNode.Parse("""{"spec":{"renewTime":"1"}}""")!.AsObject();
    private readonly List<JsonObject> _pods = [];

    [Fact]
    public void A_node_whose_lease_is_renewed_is_left_alone()
    {
        for (var i = 0; i < 20; i++)
        {
            _lease["spec"]!["renewTime"] = $"{i}";
            var plan = Step();
            Assert.Empty(plan.Actions);
            Assert.Equal(_time.GetUtcNow() + NodeLifecycleCore.Grace, plan.Next);
            _time.Advance(TimeSpan.FromSeconds(10));
        }
    }

    [Fact]
    public void A_taint_of_the_end_of_all_time_holds_up_no_other_node()
    {
        _node["spec"] = JsonNode.Parse("""{"taints":[{"key":"mine","effect":"NoExecute","timeAdded":"9999-12-31T23:59:59Z"}]}""");
        _pods.Add(JsonNode.Parse("""{"metadata":{"name":"p","namespace":"default","uid":"p"},"spec":{"nodeName":"n","tolerations":[{"key":"mine","operator":"Exists","tolerationSeconds":300}]},"status":{"phase":"Running"}}""")!.AsObject());
        var plan = Step();
        Assert.Empty(plan.Actions);
        Assert.Equal(_time.GetUtcNow() + NodeLifecycleCore.Grace, plan.Next);
    }

    [Fact]
    public void A_node_that_nothing_can_be_decided_about_holds_up_no_other()
    {
        var other = JsonNode.Parse("""{"metadata":{"name":"o","uid":"v"},"spec":{},"status":{"conditions":[{"type":"Ready","status":"False"}]}}""")!.AsObject();
        var plan = _core.Step([_node, other], name => name == "n" ? throw new InvalidOperationException(name) : null, _pods.ToLookup(pod => pod.Text("spec", "nodeName")), _time.GetUtcNow());
        Assert.Equal("n", Assert.IsType<NodeFault>(plan.Actions[0]).Node.Name());
        Assert.Contains(plan.Actions, action => action is SetTaints && action.Node == other);
    }

    [Fact]
    public void A_status_heartbeat_counts_as_well_as_the_lease()
    {
        Step();
        _time.Advance(TimeSpan.FromSeconds(39));
        _node["status"]!["conditions"]![0]!["lastHeartbeatTime"] = "later";
        Assert.Empty(Step().Actions);
        _time.Advance(TimeSpan.FromSeconds(39));
        Assert.Empty(Step().Actions);
    }

    [Fact]
    public void After_40_seconds_without_heartbeat_conditions_are_unknown_and_the_node_is_tainted()
    {
        Step();
        _time.Advance(TimeSpan.FromSeconds(39.9));
        Assert.Empty(Step().Actions);
        _time.Advance(TimeSpan.FromSeconds(0.1));
        var plan = Step();
        var unknown = Assert.IsType<MarkUnknown>(plan.Actions[0]);
        Assert.Equal(["Ready", "MemoryPressure"], unknown.Conditions.Select(condition => condition.Text("type")));
        Assert.All(unknown.Conditions, condition => Assert.Equal(
            ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.", "2026-01-01T00:00:40Z"),
            (condition.Text("status"), condition.Text("reason"), condition.Text("message"), condition.Text("lastTransitionTime"))));
        Assert.Equal("h", unknown.Conditions[0].Text("lastHeartbeatTime"));
        var taints = Assert.IsType<SetTaints>(plan.Actions[1]).Taints;
        Assert.Equal(["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"], Names(taints));

        Apply(plan);
        Assert.Empty(Step().Actions);
    }

    [Fact]
    public void A_node_that_returns_loses_the_taints_and_keeps_those_of_others()
    {
        _node["spec"]!["taints"] = JsonNode.Parse("""[{"key":"mine","effect":"NoSchedule"}]""");
        Lose();
        Assert.Equal(3, _node["spec"]!["taints"]!.AsArray().Count);
        _lease["spec"]!["renewTime"] = "2";
        _node["status"]!["conditions"] = JsonNode.Parse("""[{"type":"Ready","status":"True"}]""");
        Assert.Equal(["mine:NoSchedule"], Names(Assert.IsType<SetTaints>(Assert.Single(Step().Actions)).Taints));
    }

    [Theory]
    [InlineData("""[{"type":"Ready","status":"False"}]""", "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute")]
    [InlineData("[]", "node.kubernetes.io/not-ready:NoSchedule")]
    [InlineData("""[{"type":"Ready","status":"True"},{"type":"DiskPressure","status":"True"}]""", "node.kubernetes.io/disk-pressure:NoSchedule")]
    public void Conditions_become_taints(string conditions, string taints)
    {
        _node["status"]!["conditions"] = JsonNode.Parse(conditions);
        Assert.Equal(taints, string.Join(' ', Names(Assert.IsType<SetTaints>(Assert.Single(Step().Actions)).Taints)));
    }

    [Fact]
    public void A_cordoned_node_is_tainted_and_an_uncordoned_one_not()
    {
        _node["spec"]!["unschedulable"] = true;
        Apply(Step());
        Assert.Equal(["node.kubernetes.io/unschedulable:NoSchedule"], Names(_node["spec"]!["taints"]!.AsArray()));
        _node["spec"]!["unschedulable"] = false;
        Apply(Step());
        Assert.Empty(_node["spec"]!["taints"]!.AsArray());
    }

    [Fact]
    public void A_node_that_never_reported_has_60_seconds_to_do_so()
    {
        _node["status"]!["conditions"] = new JsonArray();
        _lease["spec"]!["renewTime"] = "";
        Apply(Step());
        _time.Advance(TimeSpan.FromSeconds(59));
        Assert.Empty(Step().Actions);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("NodeStatusNeverUpdated", Assert.IsType<MarkUnknown>(Step().Actions[0]).Conditions[0].Text("reason"));
    }

    [Theory]
    [InlineData("[]", 300)]
    [InlineData("""[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":30}]""", 30)]
    [InlineData("""[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":0}]""", 0)]
    [InlineData("""[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute"}]""", null)]
    [InlineData("""[{"operator":"Exists"}]""", null)]
    [InlineData("""[{"operator":"Exists"},{"key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":30}]""", 30)]
    public void A_pod_leaves_an_unreachable_node_when_its_toleration_ends(string tolerations, int? seconds)
    {
        _pods.Add(JsonNode.Parse($$$"""{"metadata":{"name":"p","uid":"p"},"spec":{"nodeName":"n","tolerations":{{{tolerations}}}}}""")!.AsObject());
        var plan = Lose();
        if (seconds is null)
        {
            Assert.Null(Step().Next);
            _time.Advance(TimeSpan.FromDays(100));
            Assert.Empty(Step().Actions);
            return;
        }

        if (seconds == 0)
        {
            Assert.Contains(plan.Actions, action => action is EvictPod);
            return;
        }

        Assert.DoesNotContain(plan.Actions, action => action is EvictPod);
        Assert.Equal(_time.GetUtcNow() + TimeSpan.FromSeconds(seconds.Value), plan.Next);
        _time.Advance(TimeSpan.FromSeconds(seconds.Value - 1));
        Assert.Empty(Step().Actions);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("p", Assert.IsType<EvictPod>(Assert.Single(Step().Actions)).Pod.Name());
    }

    [Fact]
    public void A_pod_with_the_autonomy_label_and_one_that_goes_already_are_never_evicted()
    {
        _pods.Add(JsonNode.Parse("""{"metadata":{"name":"a","uid":"a","labels":{"app-offline.kubeedge.io":"autonomy"}},"spec":{"nodeName":"n"}}""")!.AsObject());
        _pods.Add(JsonNode.Parse("""{"metadata":{"name":"b","uid":"b","deletionTimestamp":"t"},"spec":{"nodeName":"n"}}""")!.AsObject());
        Lose();
        _time.Advance(TimeSpan.FromDays(100));
        Assert.Empty(Step().Actions);
    }

    [Fact]
    public void A_NoExecute_taint_set_by_hand_evicts_at_once_who_does_not_tolerate_it()
    {
        _pods.Add(JsonNode.Parse("""{"metadata":{"name":"a","uid":"a"},"spec":{"nodeName":"n"}}""")!.AsObject());
        _pods.Add(JsonNode.Parse("""{"metadata":{"name":"b","uid":"b"},"spec":{"nodeName":"n","tolerations":[{"key":"k","operator":"Exists"}]}}""")!.AsObject());
        _node["spec"]!["taints"] = JsonNode.Parse("""[{"key":"k","effect":"NoExecute"}]""");
        Assert.Equal("a", Assert.IsType<EvictPod>(Assert.Single(Step().Actions)).Pod.Name());
    }

    [Fact]
    public void A_node_with_the_autonomy_label_keeps_its_pods_but_for_taints_set_by_hand()
    {
        _node["metadata"]!["labels"] = new JsonObject { ["app-offline.kubeedge.io"] = "autonomy" };
        _pods.Add(JsonNode.Parse("""{"metadata":{"name":"a","uid":"a"},"spec":{"nodeName":"n","tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":1}]}}""")!.AsObject());
        Lose();
        _time.Advance(TimeSpan.FromDays(100));
        Assert.Empty(Step().Actions);
        _node["spec"]!["taints"]!.AsArray().Add((JsonNode)new JsonObject { ["key"] = "k", ["effect"] = "NoExecute" });
        Assert.Equal("a", Assert.IsType<EvictPod>(Assert.Single(Step().Actions)).Pod.Name());
    }

    [Fact]
    public void Ready_pods_of_a_lost_node_are_marked_not_ready_and_those_of_a_node_that_came_back_are_left_alone()
    {
        _pods.Add(Pod("ready", "True", "Running"));
        _pods.Add(Pod("unready", "False", "Running"));
        _pods.Add(Pod("done", "True", "Succeeded"));
        var plan = Lose();
        Assert.Equal("ready", Assert.Single(plan.Actions.OfType<MarkPodNotReady>()).Pod.Name());

        // Its lease comes first, then a status from before: the pod is ready again, and stays so.
        _lease["spec"]!["renewTime"] = "2";
        Assert.Empty(Step().Actions.OfType<MarkPodNotReady>());
    }

    [Theory]
    [InlineData(6, 3, true)]  // 50 %
    [InlineData(6, 4, false)] // 67 %
    [InlineData(5, 3, false)] // 60 %
    [InlineData(1, 1, true)]
    [InlineData(2, 2, true)]
    public void When_most_of_more_than_two_nodes_are_lost_no_pod_leaves(int nodes, int lost, bool leaves)
    {
        var fleet = new Fleet(nodes);
        fleet.Run(TimeSpan.FromMinutes(30), lost);
        Assert.Equal(leaves ? lost : 0, fleet.Evicted.Count);
        Assert.Equal(!leaves, fleet.Core.EvictionsSuspended);
    }

    [Fact]
    public void After_most_nodes_came_back_the_others_pods_have_their_whole_time_again()
    {
        var fleet = new Fleet(6);
        fleet.Run(TimeSpan.FromMinutes(30), 5);
        Assert.Empty(fleet.Evicted);
        fleet.Run(TimeSpan.FromSeconds(295), 1);
        Assert.Empty(fleet.Evicted);
        fleet.Run(TimeSpan.FromSeconds(10), 1);
        Assert.Equal(["p0"], fleet.Evicted.Select(evicted => evicted.Pod));
    }

    [Fact]
    public void Lost_nodes_are_emptied_one_every_10_seconds()
    {
        var fleet = new Fleet(20);
        fleet.Run(TimeSpan.FromMinutes(10), 5);
        Assert.Equal(5, fleet.Evicted.Count);
        var first = fleet.Evicted[0].At;
        Assert.Equal([0, 10, 20, 30, 40], fleet.Evicted.Select(evicted => (int)(evicted.At - first).TotalSeconds));
    }

    private static JsonObject Pod(string name, string ready, string phase)
        => JsonNode.Parse($$$"""{"metadata":{"name":"{{{name}}}","uid":"{{{name}}}"},"spec":{"nodeName":"n"},"status":{"phase":"{{{phase}}}","conditions":[{"type":"Ready","status":"{{{ready}}}"}]}}""")!.AsObject();

    private NodeLifecyclePlan Lose()
    {
        Apply(Step());
        _time.Advance(NodeLifecycleCore.Grace);
        var plan = Step();
        Apply(plan);
        return plan;
    }

    [Fact]
    public void A_renewal_counts_from_when_it_came_however_late_the_next_step_is()
    {
        Step();
        _time.Advance(TimeSpan.FromSeconds(30));
        Assert.False(_core.Renewed("n", _time.GetUtcNow()));
        _lease["spec"]!["renewTime"] = "2";
        _time.Advance(TimeSpan.FromSeconds(30)); // 60 s after the first step, 30 s after the renewal
        var plan = Step();
        Assert.DoesNotContain(plan.Actions, action => action is MarkUnknown);
        Assert.Equal(_time.GetUtcNow() + NodeLifecycleCore.Grace - TimeSpan.FromSeconds(30), plan.Next);

        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.Contains(Step().Actions, action => action is MarkUnknown);
        Assert.True(_core.Renewed("n", _time.GetUtcNow())); // a lost node that is back is looked at at once
    }

    private NodeLifecyclePlan Step()
        => _core.Step([_node], name => name == "n" ? _lease : null, _pods.ToLookup(pod => pod.Text("spec", "nodeName")), _time.GetUtcNow());

    // As the API would.
    private static void Apply(NodeLifecyclePlan plan)
    {
        foreach (var action in plan.Actions)
        {
            if (action is SetTaints taints)
                action.Node["spec"]!["taints"] = taints.Taints.DeepClone();
            if (action is not MarkUnknown unknown)
                continue;
            var conditions = action.Node["status"]!["conditions"]!.AsArray();
            foreach (var condition in unknown.Conditions)
            {
                if (conditions.FirstOrDefault(known => known.Text("type") == condition.Text("type")) is { } old)
                    conditions.Remove(old);
                conditions.Add(condition!.DeepClone());
            }
        }
    }

    private static IEnumerable<string> Names(JsonArray taints) => taints.Select(taint => $"{taint.Text("key")}:{taint.Text("effect")}");

    /// <summary>Nodes with a pod each; the first ones stop their heartbeat.</summary>
    private sealed class Fleet(int count)
    {
        private readonly List<JsonObject> _nodes = [.. Enumerable.Range(0, count).Select(i => JsonNode.Parse(
            $$$$"""{"metadata":{"name":"n{{{{i}}}}","uid":"n{{{{i}}}}"},"spec":{},"status":{"conditions":[{"type":"Ready","status":"True"}]}}""")!.AsObject())];

        private readonly List<JsonObject> _pods = [.. Enumerable.Range(0, count).Select(i => JsonNode.Parse(
            $$$$"""{"metadata":{"name":"p{{{{i}}}}","uid":"p{{{{i}}}}"},"spec":{"nodeName":"n{{{{i}}}}"}}""")!.AsObject())];

        private readonly Dictionary<string, string> _renewed = new(StringComparer.Ordinal);
        private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        public NodeLifecycleCore Core { get; } = new();

        public List<(string Pod, DateTimeOffset At)> Evicted { get; } = [];

        public void Run(TimeSpan span, int lost)
        {
            for (var end = _now + span; _now < end; _now += TimeSpan.FromSeconds(1))
            {
                foreach (var node in _nodes.Skip(lost))
                {
                    _renewed[node.Name()] = $"{_now.Ticks}";
                    node["status"]!["conditions"]![0]!["status"] = "True";
                }

                var plan = Core.Step(
                    _nodes,
                    name => new JsonObject { ["spec"] = new JsonObject { ["renewTime"] = _renewed.GetValueOrDefault(name, "0") } },
                    _pods.ToLookup(pod => pod.Text("spec", "nodeName")),
                    _now);
                Apply(plan);
                foreach (var evict in plan.Actions.OfType<EvictPod>())
                {
                    Evicted.Add((evict.Pod.Name(), _now));
                    _pods.Remove(evict.Pod);
                }
            }
        }
    }
}
