using Edge.Core.Edged;
using Edge.Core.Edged.Probes;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Pods")]
public sealed class PodCoreTests
{
    private const string One = """{"containers":[{"name":"a","image":"i"}]}""";
    private const string Two = """{"containers":[{"name":"a","image":"i"},{"name":"b","image":"j"}]}""";

    [Fact]
    public void A_pod_starts_with_its_sandbox_then_all_containers()
    {
        var bench = new PodBench(Two);
        Assert.Equal("sandbox 0, start a 0, start b 0", bench.Step());
        Assert.Equal("", bench.Step());
        Assert.Null(bench.Until);
    }

    [Fact]
    public void An_ephemeral_container_starts_once_beside_whatever_runs_and_ends_nothing()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}],"ephemeralContainers":[{"name":"e","image":"x"}]}""");
        Assert.Equal("sandbox 0, start e 0, start i 0", bench.Step());
        bench.Exit("i", 0);
        Assert.Equal("start a 0", bench.Step());
        bench.Exit("e", 7);
        Assert.Equal("", bench.Step());
        var status = bench.Status();
        Assert.Equal("Running", (string)status["phase"]!);
        Assert.Equal(7, (int)status["ephemeralContainerStatuses"]![0]!["state"]!["terminated"]!["exitCode"]!);
        Assert.Single(status["containerStatuses"]!.AsArray());
        bench.Exit("a", 0);
        Assert.Equal("start a 1", bench.Step());
    }

    [Fact]
    public void Init_containers_run_one_after_the_other_before_the_others()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"i1"},{"name":"i2"}],"containers":[{"name":"a"}]}""");
        Assert.Equal("sandbox 0, start i1 0", bench.Step());
        Assert.Equal("", bench.Step());
        bench.Exit("i1", 0);
        Assert.Equal("start i2 0", bench.Step());
        bench.Exit("i2", 0);
        Assert.Equal("start a 0", bench.Step());
        bench.Exit("a", 0);
        Assert.Equal("start a 1", bench.Step());
    }

    [Fact]
    public void A_failing_init_container_is_run_again_with_back_off_and_nothing_follows_it()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}""");
        bench.Step();
        bench.Exit("i", 1);
        Assert.Equal("start i 1", bench.Step());
        bench.Exit("i", 1);
        Assert.Equal("", bench.Step());
        bench.WaitUntilDue();
        Assert.Equal(10, bench.Seconds);
        Assert.Equal("start i 2, remove i", bench.Step());
        bench.Exit("i", 0);
        Assert.Equal("start a 0", bench.Step());
    }

    [Fact]
    public void A_failing_init_container_ends_a_pod_that_never_restarts()
    {
        var bench = new PodBench("""{"restartPolicy":"Never","initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}""");
        bench.Step();
        bench.Exit("i", 3);
        Assert.Equal("stop s0, remove volumes", bench.Step());
        Assert.True(bench.Core.HasEnded);
        Assert.Equal("Failed", (string)bench.Status()["phase"]!);
    }

    [Fact]
    public void A_sidecar_runs_before_what_follows_and_is_stopped_when_the_others_are_done()
    {
        var bench = new PodBench("""{"restartPolicy":"Never","initContainers":[{"name":"s","restartPolicy":"Always"},{"name":"i"}],"containers":[{"name":"a"}]}""");
        Assert.Equal("sandbox 0, start s 0, start i 0", bench.Step());
        bench.Exit("i", 0);
        Assert.Equal("start a 0", bench.Step());
        bench.Exit("s", 1);
        Assert.Equal("start s 1", bench.Step());
        bench.Exit("a", 0);
        Assert.Equal("stop s 30s, stop s0, remove volumes", bench.Step());
        Assert.Equal("Succeeded", (string)bench.Status()["phase"]!);
    }

    [Theory]
    [InlineData("Always", 0, true)]
    [InlineData("Always", 1, true)]
    [InlineData("OnFailure", 0, false)]
    [InlineData("OnFailure", 1, true)]
    [InlineData("Never", 0, false)]
    [InlineData("Never", 1, false)]
    public void The_restart_policy_decides_whether_an_ended_container_runs_again(string policy, int code, bool again)
    {
        var bench = new PodBench($$"""{"restartPolicy":"{{policy}}","containers":[{"name":"a"},{"name":"b"}]}""");
        bench.Step();
        bench.Exit("a", code);
        Assert.Equal(again ? "start a 1" : "", bench.Step());
        Assert.False(bench.Core.HasEnded);
    }

    [Fact]
    public void Restarts_are_at_once_then_after_10_seconds_doubling_to_5_minutes()
    {
        var bench = new PodBench(One);
        bench.Step();
        var delays = new List<double>();
        for (var i = 0; i < 9; i++)
        {
            bench.Exit("a", 1);
            var ended = bench.Now;
            if (bench.Step().Length == 0)
            {
                Assert.Equal("CrashLoopBackOff", bench.Core.Waiting["a"].Reason);
                bench.WaitUntilDue();
                bench.Wait(TimeSpan.FromTicks(-1));
                Assert.Equal("", bench.Step());
                bench.WaitUntilDue();
                Assert.StartsWith("start a", bench.Step(), StringComparison.Ordinal);
            }

            Assert.Empty(bench.Core.Waiting);
            delays.Add((bench.Now - ended).TotalSeconds);
        }

        Assert.Equal([0, 10, 20, 40, 80, 160, 300, 300, 300], delays);
    }

    [Fact]
    public void A_container_that_ran_for_10_minutes_is_restarted_at_once_and_backs_off_from_the_start()
    {
        var bench = new PodBench(One);
        bench.Step();
        for (var i = 0; i < 4; i++)
        {
            bench.Exit("a", 1);
            bench.Step();
            if (bench.Until is not null)
                bench.WaitUntilDue();
            bench.Step();
        }

        bench.Wait(TimeSpan.FromMinutes(10) - TimeSpan.FromSeconds(1));
        bench.Exit("a", 1);
        Assert.Equal("", bench.Step());
        Assert.Equal(80, (bench.Until!.Value - bench.Now).TotalSeconds);
        bench.WaitUntilDue();
        bench.Step();
        bench.Wait(TimeSpan.FromMinutes(10));
        bench.Exit("a", 1);
        Assert.Equal("start a 6, remove a", bench.Step());
        bench.Exit("a", 1);
        Assert.Equal("", bench.Step());
        Assert.Equal(10, (bench.Until!.Value - bench.Now).TotalSeconds);
    }

    [Fact]
    public void After_a_restart_of_edgecore_the_back_off_goes_on_from_the_restart_count()
    {
        var bench = new PodBench(One);
        bench.Step();
        for (var i = 0; i < 3; i++)
        {
            bench.Exit("a", 1);
            bench.Step();
            if (bench.Until is not null)
                bench.WaitUntilDue();
            bench.Step();
        }

        bench.Exit("a", 1);
        bench.Forget();
        Assert.Equal("", bench.Step());
        Assert.Equal(40, (bench.Until!.Value - bench.Now).TotalSeconds);
        Assert.Contains("back-off 40s restarting failed container=a pod=p_default(u1)", bench.Core.Waiting["a"].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void One_container_that_crashes_does_not_delay_another()
    {
        var bench = new PodBench(Two);
        bench.Step();
        bench.Exit("a", 1);
        bench.Step();
        bench.Exit("a", 1);
        bench.Exit("b", 1);
        Assert.Equal("start b 1", bench.Step());
        Assert.Equal("a", Assert.Single(bench.Core.Waiting).Key);
    }

    [Fact]
    public void A_deleted_pod_stops_its_containers_with_its_grace_then_everything_goes_sandbox_last()
    {
        var bench = new PodBench(Two);
        bench.Step();
        bench.Pod = PodBench.Read(Two, """{"deletionTimestamp":"2030-01-01T00:00:07Z","deletionGracePeriodSeconds":7}""");
        Assert.Equal("stop a 7s, stop b 7s, stop s0, remove a, remove b, remove s0, finish", bench.Step());
    }

    [Theory]
    [InlineData("""{"containers":[{"name":"a"}]}""", "{}", 30)]
    [InlineData("""{"terminationGracePeriodSeconds":5,"containers":[{"name":"a"}]}""", "{}", 5)]
    [InlineData("""{"terminationGracePeriodSeconds":5,"containers":[{"name":"a"}]}""", """{"deletionTimestamp":"2030-01-01T00:00:00Z","deletionGracePeriodSeconds":0}""", 0)]
    [InlineData("""{"terminationGracePeriodSeconds":-5,"containers":[{"name":"a"}]}""", "{}", 0)]
    [InlineData("""{"terminationGracePeriodSeconds":9000000000,"containers":[{"name":"a"}]}""", "{}", 86400)]
    public void The_grace_is_the_deletions_own_else_the_pods_else_30_seconds(string spec, string metadata, double seconds)
    {
        var bench = new PodBench(spec);
        bench.Step();
        bench.Pod = PodBench.Read(spec, metadata);
        bench.Removed = true;
        Assert.StartsWith($"stop a {seconds}s, ", bench.Step(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_removed_pod_is_never_started_again_whatever_its_containers_do()
    {
        var bench = new PodBench(One) { Removed = true };
        Assert.Equal("finish", bench.Step());
        bench = new PodBench(One);
        bench.Step();
        bench.Exit("a", 1);
        bench.Removed = true;
        Assert.Equal("stop s0, remove a, remove s0, finish", bench.Step());
    }

    [Fact]
    public void A_stop_that_failed_is_tried_again_in_2_seconds()
    {
        var bench = new PodBench(One);
        bench.Step();
        bench.Removed = true;
        bench.Core.NoteStopFailed(bench.Now);
        Assert.Equal("", bench.Step());
        bench.WaitUntilDue();
        Assert.Equal(2, bench.Seconds);
        Assert.Equal("stop a 30s, stop s0, remove a, remove s0, finish", bench.Step());
    }

    [Theory]
    [InlineData("ErrImageNeverPull")]
    [InlineData("CreateContainerConfigError")]
    [InlineData("CreateContainerError")]
    public void A_container_that_cannot_be_made_is_tried_every_3_seconds_and_delays_no_other(string reason)
    {
        var bench = new PodBench(Two);
        bench.Failing["a"] = new StartFailure(reason, "m");
        Assert.Equal("sandbox 0, failed a, start b 0", bench.Step());
        Assert.Equal(reason, bench.Core.Waiting["a"].Reason);
        bench.WaitUntilDue();
        Assert.Equal(3, bench.Seconds);
        Assert.Equal("failed a", bench.Step());
        bench.Failing.Clear();
        bench.WaitUntilDue();
        Assert.Equal(6, bench.Seconds);
        Assert.Equal("start a 0", bench.Step());
        Assert.Empty(bench.Core.Waiting);
    }

    [Fact]
    public void A_missing_ConfigMap_that_comes_is_noticed_at_once()
    {
        var bench = new PodBench(One);
        bench.Failing["a"] = new StartFailure("CreateContainerConfigError", "configmap \"c\" not found");
        bench.Step();
        bench.Failing.Clear();
        Assert.Equal("", bench.Step());
        bench.Core.NoteReferencesChanged();
        Assert.Equal("start a 0", bench.Step());
        Assert.Equal(0, bench.Seconds);
    }

    [Fact]
    public void Pulls_back_off_from_10_seconds_to_5_minutes_and_a_success_resets_them()
    {
        var bench = new PodBench(One);
        bench.Failing["a"] = new StartFailure("ErrImagePull", "no route");
        var delays = new List<double>();
        for (var i = 0; i < 7; i++)
        {
            bench.Step();
            Assert.Equal("ErrImagePull", bench.Core.Waiting["a"].Reason);
            bench.Wait(TimeSpan.FromSeconds(1));
            bench.Step();
            Assert.Equal("ImagePullBackOff", bench.Core.Waiting["a"].Reason);
            Assert.Equal("Back-off pulling image \"i\": ErrImagePull: no route", bench.Core.Waiting["a"].Message);
            delays.Add((bench.Until!.Value - bench.Now).TotalSeconds + 1);
            bench.WaitUntilDue();
        }

        Assert.Equal([10, 20, 40, 80, 160, 300, 300], delays);
        bench.Failing.Clear();
        Assert.Equal("start a 0", bench.Step());
        bench.Exit("a", 1);
        bench.Failing["a"] = new StartFailure("ErrImagePull", "no route");
        bench.Step();
        Assert.Equal(1, (bench.Until!.Value - bench.Now).TotalSeconds); // for the status to say the failure itself
        bench.WaitUntilDue();
        bench.Step();
        Assert.Equal(9, (bench.Until!.Value - bench.Now).TotalSeconds);
    }

    [Fact]
    public void A_sandbox_that_cannot_run_is_tried_after_1_second_doubling_to_60()
    {
        var core = new PodCore();
        var pod = PodBench.Read(One);
        var now = PodBench.Start;
        var delays = new List<double>();
        for (var i = 0; i < 8; i++)
        {
            Assert.Equal(new PodAction.RunSandbox(0), Assert.Single(core.Decide(pod, false, PodSnapshot.Empty, ProbeVerdicts.Empty, now)));
            core.NoteSandboxFailed(new StartFailure("ContainerCreating", "no network"), pod, now);
            var wait = Assert.IsType<PodAction.WaitUntil>(Assert.Single(core.Decide(pod, false, PodSnapshot.Empty, ProbeVerdicts.Empty, now)));
            delays.Add((wait.Time - now).TotalSeconds);
            now = wait.Time;
        }

        Assert.Equal([1, 2, 4, 8, 16, 32, 60, 60], delays);
        Assert.Equal("ContainerCreating", core.Waiting["a"].Reason);
    }

    [Fact]
    public void A_lost_sandbox_is_replaced_and_init_runs_again_in_the_new_one()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}""");
        bench.Step();
        bench.Exit("i", 0);
        bench.Step();
        bench.LoseSandbox();
        Assert.Equal("report SandboxChanged, stop s0, sandbox 1, start i 1", bench.Step());
        bench.Exit("i", 0);
        Assert.Equal("start a 1", bench.Step());
    }

    [Theory]
    [InlineData("Always")]
    [InlineData("Never")]
    public void A_container_whose_image_is_another_now_is_made_anew_at_once_and_the_others_go_on(string policy)
    {
        var bench = new PodBench($$"""{"restartPolicy":"{{policy}}","containers":[{"name":"a","image":"i"},{"name":"b","image":"j"}]}""");
        bench.Step();
        for (var attempt = 1; attempt < 3; attempt++)
        {
            bench.Pod = PodBench.Read($$"""{"restartPolicy":"{{policy}}","containers":[{"name":"a","image":"i{{attempt}}","env":[]},{"name":"b","image":"j","tty":true}]}""");
            Assert.StartsWith($"stop a 30s, start a {attempt}", bench.Step(), StringComparison.Ordinal);
            Assert.Equal("", bench.Step());
        }

        bench.Change("a", view => view with { Hash = "" }); // made by an EdgeCore that said nothing of it
        Assert.Equal("", bench.Step());
    }

    [Fact]
    public void What_runs_on_in_a_lost_sandbox_is_stopped_with_its_grace_before_a_new_one_is_made()
    {
        var bench = new PodBench(Two);
        bench.Step();
        bench.LoseSandbox(alone: true);
        Assert.Equal("report SandboxChanged, stop a 30s, stop b 30s, report SandboxChanged, stop s0, sandbox 1, start a 1, start b 1", bench.Step());
    }

    [Fact]
    public void A_pod_that_never_restarts_ends_with_its_sandbox()
    {
        var bench = new PodBench("""{"restartPolicy":"Never","containers":[{"name":"a"}]}""");
        bench.Step();
        bench.LoseSandbox(alone: true);
        Assert.Equal("report SandboxChanged, stop a 30s, remove volumes", bench.Step());
        Assert.Equal("Failed", (string)bench.Status()["phase"]!);
    }

    [Fact]
    public void What_ended_for_good_in_a_lost_sandbox_stays_ended()
    {
        var bench = new PodBench("""{"restartPolicy":"OnFailure","containers":[{"name":"a"},{"name":"b"}]}""");
        bench.Step();
        bench.Exit("a", 0);
        bench.LoseSandbox();
        Assert.Equal("report SandboxChanged, stop s0, sandbox 1, start b 1", bench.Step());
    }

    [Fact]
    public void Of_each_container_the_newest_and_the_one_before_are_kept()
    {
        var bench = new PodBench(One);
        bench.Step();
        for (var i = 0; i < 3; i++)
        {
            bench.Exit("a", 0);
            bench.Step();
            if (bench.Until is not null)
                bench.WaitUntilDue();
            bench.Step();
        }

        Assert.Equal([2u, 3u], bench.Snapshot.Containers.Select(view => view.Attempt));
    }

    [Fact]
    public void A_container_that_was_made_and_not_started_is_made_again_as_the_same_attempt()
    {
        var bench = new PodBench(One);
        bench.Step();
        bench.Change("a", view => view with { Phase = ContainerPhase.Created });
        Assert.Equal("remove a, start a 0", bench.Step());
    }

    [Fact]
    public void A_container_whose_state_is_unknown_is_stopped_before_it_runs_again()
    {
        var bench = new PodBench(One);
        bench.Step();
        bench.Change("a", view => view with { Phase = ContainerPhase.Unknown });
        Assert.Equal("stop a 0s, start a 1", bench.Step());
    }

    [Fact]
    public void A_pod_that_ended_stays_ended_after_a_restart_of_the_node()
    {
        var core = new PodCore();
        var pod = PodBench.Read("""{"restartPolicy":"Never","containers":[{"name":"a"}]}""", status: """{"phase":"Succeeded"}""");
        Assert.IsType<PodAction.RemoveVolumes>(Assert.Single(core.Decide(pod, false, PodSnapshot.Empty, ProbeVerdicts.Empty, PodBench.Start)));
        core.NoteVolumesRemoved();
        Assert.Empty(core.Decide(pod, false, PodSnapshot.Empty, ProbeVerdicts.Empty, PodBench.Start));
    }

    [Fact]
    public void Volumes_of_an_ended_pod_that_could_not_be_removed_are_tried_again_in_a_minute()
    {
        var core = new PodCore();
        var pod = PodBench.Read("""{"restartPolicy":"Never","containers":[{"name":"a"}]}""", status: """{"phase":"Succeeded"}""");
        PodAction Next(double seconds) => Assert.Single(core.Decide(pod, false, PodSnapshot.Empty, ProbeVerdicts.Empty, PodBench.Start.AddSeconds(seconds)));
        Assert.IsType<PodAction.RemoveVolumes>(Next(0));
        core.NoteVolumesStay(PodBench.Start);
        Assert.Equal(PodBench.Start.AddMinutes(1), Assert.IsType<PodAction.WaitUntil>(Next(59)).Time);
        Assert.IsType<PodAction.RemoveVolumes>(Next(60));
    }

    [Fact]
    public void What_an_evicted_pod_left_at_the_runtime_goes_when_all_of_it_has_stopped()
    {
        var bench = new PodBench(Two);
        bench.Step();
        bench.Pod = bench.Pod with { EndedPhase = "Failed", IsDiscarded = true, Grace = TimeSpan.Zero };
        Assert.Equal("stop a 0s, stop b 0s, stop s0, remove volumes, remove a, remove b, remove s0", bench.Step());
        Assert.Equal("", bench.Step());
    }

    [Theory]
    [InlineData("Always", "Container a failed liveness probe, will be restarted")]
    [InlineData("OnFailure", "Container a failed liveness probe, will be restarted")]
    [InlineData("Never", "Container a failed liveness probe")]
    public void A_failed_liveness_probe_has_the_container_killed_and_the_policy_decides_the_rest(string policy, string message)
    {
        var bench = new PodBench($$"""{"restartPolicy":"{{policy}}","containers":[{"name":"a","livenessProbe":{"exec":{},"terminationGracePeriodSeconds":4} }]}""");
        bench.Step();
        bench.Probes = new ProbeVerdicts(new Dictionary<string, ContainerVerdict> { ["c1"] = new(true, true, ProbeKind.Liveness) });
        var stop = Assert.IsType<PodAction.StopContainer>(Assert.Single(bench.Core.Decide(bench.Pod, false, bench.Snapshot, bench.Probes, bench.Now)));
        Assert.Equal((message, 4d), (stop.Message, stop.Grace.TotalSeconds));

        // Although it ends well: it was killed because it did not do well.
        bench.Exit("a", 0);
        Assert.Equal(policy == "Never" ? "stop s0, remove volumes" : "start a 1", bench.Step());
        bench.Probes = new ProbeVerdicts(new Dictionary<string, ContainerVerdict> { ["c2"] = new(true, true, ProbeKind.Liveness) });
        Assert.Equal(policy == "Never" ? "" : "stop a 4s", bench.Step());
        if (policy == "Never")
            return;
        bench.WaitUntilDue();
        Assert.Equal(10, bench.Seconds);
        Assert.StartsWith("start a 2", bench.Step(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_sidecars_startup_probe_holds_back_what_follows_and_its_failure_has_it_killed()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"s","restartPolicy":"Always","startupProbe":{"exec":{}}},{"name":"i"}],"containers":[{"name":"a"}]}""");
        Assert.Equal("sandbox 0, start s 0", bench.Step());
        Assert.Contains("containers with incomplete status: [s i]", bench.Status().ToJsonString(), StringComparison.Ordinal);
        bench.Probes = new ProbeVerdicts(new Dictionary<string, ContainerVerdict> { ["c1"] = new(false, false, ProbeKind.Startup) });
        var stop = Assert.IsType<PodAction.StopContainer>(Assert.Single(bench.Core.Decide(bench.Pod, false, bench.Snapshot, bench.Probes, bench.Now)));
        Assert.Equal("Init container s failed startup probe", stop.Message);
        Assert.Equal("stop s 30s, start s 1", bench.Step());
        bench.Probes = new ProbeVerdicts(new Dictionary<string, ContainerVerdict> { ["c2"] = new(true, true, null) });
        Assert.Equal("start i 0", bench.Step());
        bench.Exit("i", 0);
        Assert.Equal("start a 0", bench.Step());
    }

    [Fact]
    public void Sidecars_are_stopped_after_the_others_and_the_last_one_first()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"s1","restartPolicy":"Always"},{"name":"i"},{"name":"s2","restartPolicy":"Always"}],"containers":[{"name":"a"},{"name":"b"}]}""");
        bench.Step();
        bench.Exit("i", 0);
        bench.Step();
        var stops = bench.Core.Decide(bench.Pod, true, bench.Snapshot, ProbeVerdicts.Empty, bench.Now).Cast<PodAction.StopContainer>();
        Assert.Equal(["a 0", "b 0", "s2 1", "s1 2"], stops.Select(stop => $"{stop.Container.Name} {stop.Order}"));
    }

    [Fact]
    public void A_pod_is_active_no_longer_than_its_deadline()
    {
        var bench = new PodBench("""{"activeDeadlineSeconds":60,"containers":[{"name":"a"},{"name":"b"}]}""");
        bench.Step();
        Assert.Equal(60, (bench.Until!.Value - bench.Now).TotalSeconds);
        bench.Wait(TimeSpan.FromSeconds(59));
        bench.Exit("b", 1);
        Assert.Equal("start b 1", bench.Step());
        bench.WaitUntilDue();
        var builder = new PodStatusBuilder(null, PodBench.Start);
        bench.Core.Decide(bench.Pod, false, bench.Snapshot, ProbeVerdicts.Empty, bench.Now);
        Assert.Equal("Running", (string)bench.Status(builder)["phase"]!); // until what is killed has gone
        Assert.Equal("stop a 30s, stop b 30s, stop s0, remove volumes", bench.Step());
        var status = bench.Status(builder);
        Assert.Equal("Failed DeadlineExceeded Pod was active on the node longer than the specified deadline", $"{status["phase"]} {status["reason"]} {status["message"]}");

        // Known after a restart of EdgeCore too.
        bench.Forget();
        bench.Pod = bench.Pod with { EndedPhase = "Failed" };
        Assert.Equal("remove volumes", bench.Step());
        Assert.Equal("DeadlineExceeded", (string)bench.Status(new PodStatusBuilder(status, bench.Now))["reason"]!);
    }

    [Fact]
    public void A_pod_whose_image_never_comes_ends_at_its_deadline_too()
    {
        var bench = new PodBench("""{"activeDeadlineSeconds":15,"containers":[{"name":"a"}]}""");
        bench.Failing["a"] = new StartFailure("ErrImagePull", "no route");
        bench.Step();
        bench.WaitUntilDue();
        Assert.Equal("report BackOff", bench.Step());
        bench.WaitUntilDue();
        Assert.Equal("failed a", bench.Step());
        bench.WaitUntilDue();
        Assert.Equal("report BackOff", bench.Step());
        Assert.Equal(15, (bench.Until!.Value - PodBench.Start).TotalSeconds);
        bench.WaitUntilDue();
        Assert.Equal("report DeadlineExceeded, stop s0, remove volumes", bench.Step());
        Assert.Equal("Failed", (string)bench.Status()["phase"]!);
    }

    [Fact]
    public void A_restart_count_goes_on_when_the_runtime_has_lost_the_containers()
    {
        var said = (System.Text.Json.Nodes.JsonObject)System.Text.Json.Nodes.JsonNode.Parse("""{"containerStatuses":[{"name":"a","restartCount":4,"containerID":"containerd://x"},{"name":"b","restartCount":0}]}""")!;
        var core = new PodCore { LastRestarts = PodStatusBuilder.Restarts(said) };
        var sandbox = new SandboxView("s0", 0, true, PodBench.Start, []);
        var starts = core.Decide(PodBench.Read(Two), false, new PodSnapshot([sandbox], []), ProbeVerdicts.Empty, PodBench.Start).Cast<PodAction.StartContainer>();
        Assert.Equal(["a 5", "b 0"], starts.Select(start => $"{start.Container.Name} {start.Attempt}"));
    }
}
