using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.Probes;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Pods")]
public sealed class PodProbesTests
{
    private const string Probe = """{"exec":{"command":["true"]},"periodSeconds":10,"failureThreshold":3}""";
    private static readonly DateTimeOffset s_start = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly List<ContainerView> _containers = [];
    private DateTimeOffset _now = s_start;
    private PodDescription _pod = null!;
    private PodProbes _probes = null!;

    [Fact]
    public void The_first_run_is_the_initial_delay_after_the_start_and_each_further_one_a_period_later()
    {
        Begin("\"livenessProbe\":{\"exec\":{\"command\":[\"true\"]},\"initialDelaySeconds\":5,\"periodSeconds\":7}");
        Run("c1");
        Assert.Equal(s_start.AddSeconds(5), _probes.Next);
        Assert.Equal("", Due(4.9));
        Assert.Equal("Liveness", Due(5));
        Assert.Null(_probes.Next); // one run of a probe at a time
        Assert.Equal("", Due(30));
        Note(ProbeKind.Liveness, ProbeResult.Success);
        Assert.Equal("Liveness", Due(30)); // it took longer than a period: the next is due
        Note(ProbeKind.Liveness, ProbeResult.Success);
        Assert.Equal(s_start.AddSeconds(37), _probes.Next);
    }

    [Fact]
    public void Readiness_starts_as_not_ready_and_follows_the_thresholds_both_ways()
    {
        Begin("\"readinessProbe\":{\"exec\":{\"command\":[\"true\"]},\"periodSeconds\":1,\"successThreshold\":2,\"failureThreshold\":3}");
        Run("c1");
        Assert.False(Ready);
        var seen = "";
        foreach (var (result, second) in "++--+---+-++".Select((sign, i) => (sign, i)))
        {
            Assert.Equal("Readiness", Due(second));
            Note(ProbeKind.Readiness, result == '+' ? ProbeResult.Success : ProbeResult.Failure);
            seen += Ready ? 'R' : '.';
        }

        Assert.Equal(".RRRRRR....R", seen);
    }

    [Fact]
    public void Liveness_fails_after_the_threshold_and_holds_until_there_is_a_new_container()
    {
        Begin($"\"livenessProbe\":{Probe}");
        Run("c1");
        for (var i = 0; i < 3; i++)
        {
            Assert.Null(_probes.Verdicts.Find("c1")!.Failed);
            Assert.Equal("Liveness", Due(10 * i));
            Note(ProbeKind.Liveness, ProbeResult.Failure);
        }

        Assert.Equal(ProbeKind.Liveness, _probes.Verdicts.Find("c1")!.Failed);
        Assert.Equal("", Due(1000));
        Assert.Null(_probes.Next);
        Run("c2");
        Assert.Null(_probes.Verdicts.Find("c1"));
        Assert.Null(_probes.Verdicts.Find("c2")!.Failed);
        Assert.Equal("Liveness", Due(1000));
    }

    [Fact]
    public void A_success_between_failures_starts_the_count_again_and_an_error_says_nothing()
    {
        Begin($"\"livenessProbe\":{Probe}");
        Run("c1");
        var at = 0;
        foreach (var result in (ProbeResult[])[ProbeResult.Failure, ProbeResult.Failure, ProbeResult.Success, ProbeResult.Failure, ProbeResult.Error, ProbeResult.Failure])
        {
            Assert.Equal("Liveness", Due(at));
            at += 10;
            Note(ProbeKind.Liveness, result);
            Assert.Null(_probes.Verdicts.Find("c1")!.Failed);
        }

        Due(at);
        Note(ProbeKind.Liveness, ProbeResult.Failure);
        Assert.Equal(ProbeKind.Liveness, _probes.Verdicts.Find("c1")!.Failed);
    }

    [Fact]
    public void Startup_gates_the_others_which_then_run_at_once_and_is_not_asked_again()
    {
        Begin($"\"startupProbe\":{Probe},\"livenessProbe\":{Probe},\"readinessProbe\":{Probe}");
        Run("c1");
        Assert.Equal("Startup", Due(0));
        Note(ProbeKind.Startup, ProbeResult.Failure);
        Assert.False(_probes.Verdicts.Find("c1")!.Started);
        Assert.Equal("Startup", Due(10));
        Note(ProbeKind.Startup, ProbeResult.Success);
        Assert.True(_probes.Verdicts.Find("c1")!.Started);
        Assert.False(Ready);
        Assert.Equal("Liveness Readiness", Due(10));
        Note(ProbeKind.Liveness, ProbeResult.Success);
        Note(ProbeKind.Readiness, ProbeResult.Success);
        Assert.True(Ready);
        Assert.Equal("Liveness Readiness", Due(20));
        Run("c2");
        Assert.False(_probes.Verdicts.Find("c2")!.Started);
        Assert.Equal("Startup", Due(20));
    }

    [Fact]
    public void A_startup_probe_that_fails_has_the_container_killed()
    {
        Begin("\"startupProbe\":{\"exec\":{\"command\":[\"true\"]},\"periodSeconds\":1,\"failureThreshold\":2},\"livenessProbe\":" + Probe);
        Run("c1");
        for (var i = 0; i < 2; i++)
        {
            Assert.Equal("Startup", Due(i));
            Note(ProbeKind.Startup, ProbeResult.Failure);
        }

        Assert.Equal(ProbeKind.Startup, _probes.Verdicts.Find("c1")!.Failed);
        Assert.Equal("", Due(100));
    }

    [Fact]
    public void A_result_of_a_container_that_was_replaced_meanwhile_says_nothing_of_the_new_one()
    {
        Begin("\"readinessProbe\":" + Probe);
        Run("c1");
        var old = Assert.Single(_probes.Start(_now));
        Run("c2");
        _probes.Note(old, ProbeResult.Success);
        Assert.False(_probes.Verdicts.Find("c2")!.Ready);
        Assert.Equal("Readiness", Due(0));
    }

    [Fact]
    public void Of_a_pod_that_is_being_deleted_only_readiness_is_asked()
    {
        Begin($"\"livenessProbe\":{Probe},\"readinessProbe\":{Probe}");
        Run("c1");
        _pod = _pod with { IsDeleting = true };
        _probes.Observe(_pod, new PodSnapshot([], _containers), _now);
        Assert.Equal("Readiness", Due(100));
    }

    [Fact]
    public void Nothing_is_asked_of_a_container_that_does_not_run()
    {
        Begin("\"livenessProbe\":" + Probe);
        Assert.Null(_probes.Next);
        Run("c1");
        _containers[0] = _containers[0] with { Phase = ContainerPhase.Exited };
        _probes.Observe(_pod, new PodSnapshot([], _containers), _now);
        Assert.Null(_probes.Next);
        Assert.Null(_probes.Verdicts.Find("c1"));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, false)]
    public void After_a_restart_of_EdgeCore_what_was_said_of_a_container_holds_until_its_probes_have_an_answer(bool started, bool ready)
    {
        var said = (JsonObject)JsonNode.Parse($$"""{"containerStatuses":[{"name":"a","containerID":"containerd://c1","started":{{(started ? "true" : "false")}},"ready":{{(ready ? "true" : "false")}}}]}""")!;
        Begin($"\"startupProbe\":{Probe},\"readinessProbe\":{Probe}", said);
        Assert.Equal(ready, _probes.Verdicts.Find("c1")!.Ready);
        Run("c1");
        Assert.Equal(new ContainerVerdict(started, ready, null), _probes.Verdicts.Find("c1"));
        Assert.Equal(started ? "Readiness" : "Startup", Due(0));
        if (!ready)
            return;
        foreach (var at in (int[])[10, 20, 30])
        {
            Assert.True(Ready);
            Note(ProbeKind.Readiness, ProbeResult.Failure);
            Due(at);
        }

        Assert.False(Ready);
        Run("c2");
        Assert.Equal(new ContainerVerdict(false, false, null), _probes.Verdicts.Find("c2"));
    }

    [Fact]
    public void Within_a_period_of_EdgeCores_start_the_first_run_waits_a_random_part_of_a_period()
    {
        var firsts = new HashSet<DateTimeOffset>();
        for (var seed = 0; seed < 20; seed++)
        {
            Begin("\"livenessProbe\":" + Probe, since: s_start.AddSeconds(-1), seed: seed);
            Run("c1");
            Assert.InRange(_probes.Next!.Value, s_start, s_start.AddSeconds(10));
            firsts.Add(_probes.Next.Value);
        }

        Assert.True(firsts.Count > 10);
        Begin("\"livenessProbe\":" + Probe, since: s_start.AddSeconds(-10));
        Run("c1");
        Assert.Equal(s_start, _probes.Next);
    }

    [Fact]
    public void Defaults_and_handlers_are_read_as_the_API_server_means_them()
    {
        var container = (JsonObject)JsonNode.Parse("""
            {"name":"a","env":[{"name":"DIR","value":"/x"},{"name":"SECRET","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}],"ports":[{"name":"web","containerPort":8080}],
             "startupProbe":{"exec":{"command":["test","-f","$(DIR)/ok$(SECRET)$(OTHER)"]},"terminationGracePeriodSeconds":3},
             "livenessProbe":{"httpGet":{"port":"web","path":"/h","scheme":"HTTPS","host":"h.example","httpHeaders":[{"name":"A","value":"1"},{"name":"A","value":"2"}]},"timeoutSeconds":4,"initialDelaySeconds":6},
             "readinessProbe":{"tcpSocket":{"port":"nosuch"}}}
            """)!;
        var startup = ProbeSpec.Read(container, ProbeKind.Startup)!;
        Assert.Equal(["test", "-f", "/x/ok$(OTHER)"], Assert.IsType<ProbeHandler.Exec>(startup.Handler).Command);
        Assert.Equal((0d, 10d, 1d, 1, 3, 3d), (startup.InitialDelay.TotalSeconds, startup.Period.TotalSeconds, startup.Timeout.TotalSeconds, startup.SuccessThreshold, startup.FailureThreshold, startup.Grace!.Value.TotalSeconds));
        var liveness = ProbeSpec.Read(container, ProbeKind.Liveness)!;
        var target = Assert.IsType<ProbeHandler.HttpGet>(liveness.Handler).Target;
        Assert.Equal(("https", "h.example", 8080, "/h", 2), (target.Scheme, target.Host, target.Port, target.Path, target.Headers.Count));
        Assert.Equal((6d, 4d, null), (liveness.InitialDelay.TotalSeconds, liveness.Timeout.TotalSeconds, liveness.Grace));
        Assert.Equal("couldn't find port: nosuch", Assert.IsType<ProbeHandler.Invalid>(ProbeSpec.Read(container, ProbeKind.Readiness)!.Handler).Reason);
        Assert.Null(ProbeSpec.Read([], ProbeKind.Liveness));
        Assert.Empty(new ContainerDescription(container, IsInit: true).Probes);
    }

    [Theory]
    [InlineData("70000")]
    [InlineData("0")]
    [InlineData("\"\"")]
    [InlineData("null")]
    [InlineData("{}")]
    public void A_port_that_means_nothing_is_an_error_of_the_probe_and_no_exception(string port)
    {
        var probe = ProbeSpec.Read((JsonObject)JsonNode.Parse("{\"livenessProbe\":{\"grpc\":{\"port\":" + port + "},\"periodSeconds\":-5,\"failureThreshold\":99999999999}}")!, ProbeKind.Liveness)!;
        Assert.NotEmpty(Assert.IsType<ProbeHandler.Invalid>(probe.Handler).Reason);
        Assert.Equal((10d, int.MaxValue), (probe.Period.TotalSeconds, probe.FailureThreshold));
    }

    private bool Ready => _probes.Verdicts.Find(_containers[^1].Id)!.Ready;

    private void Begin(string probes, JsonObject? said = null, DateTimeOffset? since = null, int seed = 1)
    {
        _containers.Clear();
        _now = s_start;
        _pod = PodBench.Read("{\"containers\":[{\"name\":\"a\"," + probes + "}]}");
        _probes = new PodProbes(ProbeVerdicts.Of(said), since ?? s_start.AddDays(-1), new Random(seed));
    }

    private void Run(string id)
    {
        for (var i = 0; i < _containers.Count; i++)
            _containers[i] = _containers[i] with { Phase = ContainerPhase.Exited };
        _containers.Add(new ContainerView(id, "s0", "a", (uint)_containers.Count, ContainerPhase.Running, _now, _now, default, 0, "", "", "", ""));
        _probes.Observe(_pod, new PodSnapshot([], [.. _containers]), _now);
    }

    private readonly Dictionary<ProbeKind, ProbeRun> _due = [];

    private string Due(double seconds)
    {
        _now = s_start.AddSeconds(seconds);
        var runs = _probes.Start(_now);
        foreach (var run in runs)
            _due[run.Spec.Kind] = run;
        return string.Join(' ', runs.Select(run => run.Spec.Kind.ToString()));
    }

    private void Note(ProbeKind kind, ProbeResult result) => _probes.Note(_due[kind], result);
}
