using Edge.GlobalServices.Health;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class HealthCoreTests
{
    private static readonly HealthCheckSpec s_check = HealthCheckSpec.None with { Kind = CheckKind.Tcp, IntervalMs = 10_000, Rise = 2, Fall = 3 };

    private readonly HealthCore _core = new(new Random(1));
    private readonly HashSet<string> _changed = [];
    private long _now;

    [Theory]
    [InlineData(null, true)]
    [InlineData("refused", false)]
    public void Before_the_first_check_an_endpoint_counts_as_up_and_the_first_result_decides(string? error, bool isUp)
    {
        Set(Target("a"));
        Assert.True(IsUp("a"));
        Check("a", error);
        Assert.Equal(isUp, IsUp("a"));
    }

    [Fact]
    public void A_check_that_could_not_be_made_says_nothing_and_the_next_one_comes()
    {
        Set(Target("a"));
        Check("a", null);
        for (var i = 0; i < 5; i++)
        {
            _now += 20_000;
            var probes = new List<HealthProbe>();
            _core.TakeDue(_now, 10, probes);
            _core.Skipped(Assert.Single(probes));
        }

        Assert.Equal((true, 0), (IsUp("a"), _core.Running));
    }

    [Theory]
    [InlineData("+ - - + - - -", "1 1 1 1 1 1 0")]
    [InlineData("- + - + +", "0 0 0 0 1")]
    [InlineData("+ + + +", "1 1 1 1")]
    public void Rise_and_fall_are_counted_in_a_row(string results, string states)
    {
        Set(Target("a"));
        var seen = new List<string>();
        foreach (var result in results.Split(' '))
        {
            Check("a", result == "+" ? null : "refused");
            seen.Add(IsUp("a") ? "1" : "0");
        }

        Assert.Equal(states, string.Join(' ', seen));
    }

    [Fact]
    public void A_node_that_is_gone_takes_its_endpoints_at_once_and_they_are_back_after_rise_checks()
    {
        Set(Target("a", node: "edge-1"), Target("b", node: "edge-2"));
        Check("a", null);
        _core.Session("edge-1", true, _now, _changed);
        _changed.Clear();
        _core.Session("edge-1", false, _now, _changed);
        Assert.Equal(["a"], _changed);
        Assert.Equal((false, "the session of node edge-1 ended"), (IsUp("a"), _core.StateOf("a")!.Value.Reason));
        Assert.True(IsUp("b"));

        // What it sent before it went is no sign of life.
        _core.NodeObserved("edge-1", true, "12:00:01", _now += 500, _changed);
        Assert.False(IsUp("a"));

        _core.Session("edge-1", true, _now, _changed);
        Assert.False(IsUp("a"));
        Check("a", null);
        Assert.False(IsUp("a"));
        Check("a", null);
        Assert.True(IsUp("a"));
    }

    [Fact]
    public void A_node_that_is_not_checked_is_back_with_its_session()
    {
        Set(Target("a", node: "edge-1", check: HealthCheckSpec.None));
        _core.Session("edge-1", false, _now, _changed);
        Assert.False(IsUp("a"));
        _core.Session("edge-1", true, _now, _changed);
        Assert.True(IsUp("a"));
    }

    [Fact]
    public void A_node_that_is_with_another_cloudcore_now_is_known_by_later_signs_of_life()
    {
        Set(Target("a", node: "edge-1", check: HealthCheckSpec.None));
        _core.NodeObserved("edge-1", true, "1", _now, _changed);
        _core.Session("edge-1", false, _now, _changed);
        _core.NodeObserved("edge-1", true, "1", _now += 60_000, _changed);
        Assert.False(IsUp("a"));
        _core.NodeObserved("edge-1", true, "2", _now += 1_000, _changed);
        Assert.True(IsUp("a"));
        _core.NodeObserved("edge-1", false, "2", _now += 1_000, _changed);
        Assert.Equal("node edge-1 is not ready", _core.StateOf("a")!.Value.Reason);
    }

    [Fact]
    public void A_new_endpoint_of_a_node_that_is_gone_begins_as_gone()
    {
        _core.Session("edge-1", false, _now, _changed);
        Set(Target("a", node: "edge-1"));
        Assert.False(IsUp("a"));
        Assert.Empty(Due(60_000));
    }

    [Fact]
    public void One_that_flaps_is_held_back_until_it_is_quiet()
    {
        Set(Target("a", check: s_check with { Rise = 1, Fall = 1, IntervalMs = 1_000 }));
        Check("a", null);
        for (var i = 0; i < 3; i++)
        {
            Check("a", "refused");
            Check("a", null);
        }

        Assert.Equal((false, "it flaps, and is held back until it stays well"), (IsUp("a"), _core.StateOf("a")!.Value.Reason));
        var before = _now;
        while (!IsUp("a"))
            Check("a", null);
        // From just under 3,000 to 1,500: a half-life of a minute.
        Assert.InRange(_now - before, 50_000, 65_000);
    }

    [Fact]
    public void Each_target_is_checked_once_in_an_interval_give_or_take_a_tenth_and_not_in_step()
    {
        Set([.. Enumerable.Range(0, 2_000).Select(i => Target($"t{i}"))]);
        var at = new Dictionary<string, List<long>>();
        var busiest = 0;
        for (; _now < 100_000; _now += 50)
        {
            var probes = Due(0);
            busiest = Math.Max(busiest, probes.Count);
            foreach (var probe in probes)
            {
                (at.TryGetValue(probe.Target.Endpoint, out var times) ? times : at[probe.Target.Endpoint] = []).Add(_now);
                _core.Checked(probe, null, _now, _changed);
            }
        }

        Assert.Equal(2_000, at.Count);
        Assert.All(at.Values, times => Assert.All(times.Zip(times.Skip(1)), pair => Assert.InRange(pair.Second - pair.First, 8_950, 11_050)));
        // 10 in 50 ms on average.
        Assert.InRange(busiest, 10, 40);
    }

    [Fact]
    public void The_same_seed_gives_the_same_plan()
    {
        static List<(long, string)> Plan()
        {
            var (core, plan, probes) = (new HealthCore(new Random(5)), new List<(long, string)>(), new List<HealthProbe>());
            core.SetTargets([.. Enumerable.Range(0, 20).Select(i => Target($"t{i}"))], 0, new HashSet<string>());
            for (var now = 0L; now < 60_000; now += 10)
            {
                probes.Clear();
                core.TakeDue(now, 100, probes);
                foreach (var probe in probes)
                {
                    plan.Add((now, probe.Target.Endpoint));
                    core.Checked(probe, null, now, new HashSet<string>());
                }
            }

            return plan;
        }

        Assert.Equal(Plan(), Plan());
        Assert.True(Plan().Count > 100);
    }

    [Fact]
    public void No_check_begins_before_the_one_before_has_ended()
    {
        Set(Target("a"));
        var first = Assert.Single(Due(1_000));
        Assert.Empty(Due(100_000));
        _core.Checked(first, null, _now, _changed);
        Assert.Single(Due(11_000));
    }

    [Fact]
    public void A_result_about_what_a_target_no_longer_is_does_not_count()
    {
        Set(Target("a"));
        var probe = Assert.Single(Due(1_000));
        Set(Target("a") with { Address = 77 });
        _core.Checked(probe, "refused", _now, _changed);
        Assert.True(IsUp("a"));
    }

    [Fact]
    public void Reports_of_the_edge_count_where_the_edge_checks_and_only_from_the_endpoints_node()
    {
        Set(Target("a", node: "edge-1", check: s_check with { FromEdge = true, Fall = 1 }));
        Assert.Empty(Due(60_000));
        _core.Reported(new NodeReport("edge-2", "a", "refused"), _changed);
        Assert.True(IsUp("a"));
        _core.Reported(new NodeReport("edge-1", "a", "refused"), _changed);
        Assert.False(IsUp("a"));
        _core.Reported(new NodeReport("edge-1", "a", null), _changed); // the edge has counted
        Assert.True(IsUp("a"));
    }

    [Fact]
    public void A_report_that_comes_before_its_endpoint_or_its_nodes_session_counts_once_they_are_there()
    {
        var check = s_check with { FromEdge = true };
        _core.Reported(new NodeReport("edge-1", "a", "refused"), _changed);
        _core.Reported(new NodeReport("edge-2", "a", null), _changed); // not its own, nor in the other's place
        Set(Target("a", node: "edge-1", check: check));
        Assert.False(IsUp("a"));

        _core.Session("edge-1", isConnected: false, _now, _changed);
        _core.Reported(new NodeReport("edge-1", "a", null), _changed);
        Assert.Equal(HealthStatus.NodeGone, _core.StateOf("a")!.Value.Status);
        _core.Session("edge-1", isConnected: true, _now, _changed);
        Assert.Equal(HealthStatus.Up, _core.StateOf("a")!.Value.Status);

        // What a session told before its end says nothing about the next.
        _core.Session("edge-1", isConnected: false, _now, _changed);
        _core.Session("edge-1", isConnected: true, _now, _changed);
        Assert.False(IsUp("a"));
    }

    private static HealthTarget Target(string endpoint, string node = "", HealthCheckSpec? check = null) => new(endpoint, 1, 80, node, check ?? s_check);

    private void Set(params HealthTarget[] targets) => _core.SetTargets(targets, _now, _changed);

    private bool IsUp(string endpoint) => _core.StateOf(endpoint)!.Value.IsUp;

    private List<HealthProbe> Due(long afterMs)
    {
        var probes = new List<HealthProbe>();
        _core.TakeDue(_now += afterMs, 1_000, probes);
        return probes;
    }

    // Waits for the target's next check and answers it.
    private void Check(string endpoint, string? error)
    {
        while (true)
        {
            var probes = Due(100);
            foreach (var probe in probes)
                _core.Checked(probe, probe.Target.Endpoint == endpoint ? error : null, _now, _changed);
            if (probes.Any(probe => probe.Target.Endpoint == endpoint))
                return;
        }
    }
}
