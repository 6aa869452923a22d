using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.Lifecycle;
using Edge.Core.Edged.Probes;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Pods")]
public sealed class PodStatusBuilderTests
{
    private const string Two = """{"containers":[{"name":"a","image":"i"},{"name":"b","image":"j"}]}""";
    private const string Init = """{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}""";

    [Fact]
    public void A_pod_without_anything_is_pending_and_creating()
    {
        var status = new PodBench(Two).Status();
        Assert.Equal("Pending", Text(status, "phase"));
        Assert.Equal("ContainerCreating", Text(status, "containerStatuses", 0, "state", "waiting", "reason"));
        Assert.Equal("PodReadyToStartContainers=False Initialized=True Ready=False/ContainersNotReady ContainersReady=False/ContainersNotReady PodScheduled=True", Conditions(status));
        Assert.Equal("containers with unready status: [a b]", Text(status, "conditions", 2, "message"));
        Assert.Null(status["podIP"]);
        Assert.Equal("2030-01-01T00:00:00Z", Text(status, "startTime"));
    }

    [Fact]
    public void A_pod_whose_containers_run_is_running_and_ready()
    {
        var bench = new PodBench(Two);
        bench.Step();
        var status = bench.Status();
        Assert.Equal("Running", Text(status, "phase"));
        Assert.Equal("PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True PodScheduled=True", Conditions(status));
        Assert.Equal("10.0.0.2 192.0.2.1", $"{Text(status, "podIP")} {Text(status, "hostIP")}");
        Assert.Equal("2030-01-01T00:00:00Z", Text(status, "containerStatuses", 1, "state", "running", "startedAt"));
        Assert.Equal("containerd://c1", Text(status, "containerStatuses", 0, "containerID"));
    }

    [Fact]
    public void While_init_runs_the_others_are_initializing()
    {
        var bench = new PodBench(Init);
        bench.Step();
        var status = bench.Status();
        Assert.Equal("Pending", Text(status, "phase"));
        Assert.Equal("PodInitializing", Text(status, "containerStatuses", 0, "state", "waiting", "reason"));
        Assert.Equal("containers with incomplete status: [i]", Text(status, "conditions", 1, "message"));
        Assert.Contains("Initialized=False/ContainersNotInitialized", Conditions(status), StringComparison.Ordinal);
        bench.Exit("i", 0);
        bench.Step();
        status = bench.Status();
        Assert.Equal("Running", Text(status, "phase"));
        Assert.Equal("Completed", Text(status, "initContainerStatuses", 0, "state", "terminated", "reason"));
        Assert.True((bool)status["initContainerStatuses"]![0]!["ready"]!);
    }

    [Theory]
    [InlineData("Always", 0, 0, "Running")]
    [InlineData("Always", 1, 1, "Running")]
    [InlineData("OnFailure", 0, 0, "Succeeded")]
    [InlineData("OnFailure", 0, 1, "Running")]
    [InlineData("Never", 0, 0, "Succeeded")]
    [InlineData("Never", 0, 1, "Failed")]
    public void The_phase_of_ended_containers_follows_the_restart_policy(string policy, int first, int second, string phase)
    {
        var bench = new PodBench($$"""{"restartPolicy":"{{policy}}","containers":[{"name":"a"},{"name":"b"}]}""");
        bench.Step();
        bench.Exit("a", first);
        bench.Exit("b", second);
        Assert.Equal(phase, Text(bench.Status(), "phase"));
    }

    [Theory]
    [InlineData(0, "Succeeded", "PodCompleted")]
    [InlineData(1, "Failed", "PodFailed")]
    public void A_pod_that_ended_is_not_ready_and_says_why(int code, string phase, string reason)
    {
        var bench = new PodBench("""{"restartPolicy":"Never","containers":[{"name":"a"}]}""");
        bench.Step();
        bench.Exit("a", code);
        bench.Step();
        var status = bench.Status();
        Assert.Equal(phase, Text(status, "phase"));
        Assert.Contains($"Ready=False/{reason} ContainersReady=False/{reason}", Conditions(status), StringComparison.Ordinal);
        Assert.Equal(code == 0 ? "Completed" : "Error", Text(status, "containerStatuses", 0, "state", "terminated", "reason"));
        Assert.Equal(code, (int)status["containerStatuses"]![0]!["state"]!["terminated"]!["exitCode"]!);
    }

    [Fact]
    public void A_container_that_has_never_run_keeps_the_pod_pending_beside_one_that_runs()
    {
        var bench = new PodBench(Two);
        bench.Failing["b"] = new StartFailure("ErrImagePull", "no route");
        bench.Step();
        var status = bench.Status();
        Assert.Equal("Pending", Text(status, "phase"));
        Assert.Equal("ErrImagePull no route", $"{Text(status, "containerStatuses", 1, "state", "waiting", "reason")} {Text(status, "containerStatuses", 1, "state", "waiting", "message")}");
        Assert.Equal("containers with unready status: [b]", Text(status, "conditions", 2, "message"));
    }

    [Fact]
    public void A_container_that_was_made_and_has_not_run_is_pending_and_one_that_ran_before_is_running()
    {
        var bench = new PodBench("""{"containers":[{"name":"a"}]}""");
        bench.Step();
        bench.Change("a", view => view with { Phase = ContainerPhase.Created });
        Assert.Equal("Pending", Text(bench.Status(), "phase"));
        bench.Change("a", view => view with { Phase = ContainerPhase.Running });
        bench.Exit("a", 1);
        bench.Step();
        bench.Change("a", view => view with { Phase = ContainerPhase.Created });
        Assert.Equal("Running", Text(bench.Status(), "phase"));
    }

    [Fact]
    public void A_crashing_container_waits_in_back_off_with_its_last_end_and_its_restart_count()
    {
        var bench = new PodBench("""{"containers":[{"name":"a","image":"i"}]}""");
        bench.Step();
        bench.Exit("a", 1);
        bench.Step();
        bench.Change("a", view => view with { Message = "out of oil" });
        bench.Exit("a", 2);
        bench.Step();
        var container = bench.Status()["containerStatuses"]![0]!;
        Assert.Equal("CrashLoopBackOff", (string)container["state"]!["waiting"]!["reason"]!);
        Assert.Contains("back-off 10s restarting failed container=a", (string)container["state"]!["waiting"]!["message"]!, StringComparison.Ordinal);
        Assert.Equal("2 out of oil", $"{container["lastState"]!["terminated"]!["exitCode"]} {container["lastState"]!["terminated"]!["message"]}");
        Assert.Equal(1u, (uint)container["restartCount"]!);
        Assert.False((bool)container["ready"]!);
        bench.WaitUntilDue();
        bench.Step();
        container = bench.Status()["containerStatuses"]![0]!;
        Assert.NotNull(container["state"]!["running"]);
        Assert.Equal("2 2", $"{container["lastState"]!["terminated"]!["exitCode"]} {container["restartCount"]}");
    }

    [Theory]
    [InlineData("Failed", 0)]
    [InlineData("Succeeded", 1)]
    public void A_pod_that_the_cloud_knows_as_ended_never_looks_otherwise_again(string phase, int code)
    {
        var bench = new PodBench("""{"containers":[{"name":"a"}]}""");
        bench.Step();
        bench.Pod = PodBench.Read("""{"containers":[{"name":"a"}]}""", status: $$"""{"phase":"{{phase}}"}""");
        Assert.Equal(phase, Text(bench.Status(), "phase"));
        bench.Exit("a", code);
        Assert.Equal(phase, Text(bench.Status(), "phase"));
    }

    [Fact]
    public void Condition_times_change_with_their_status_only_and_outlive_a_restart()
    {
        var bench = new PodBench("""{"containers":[{"name":"a"}]}""");
        var builder = new PodStatusBuilder(bench.Pod.Json["status"] as System.Text.Json.Nodes.JsonObject, bench.Now);
        bench.Status(builder);
        bench.Wait(TimeSpan.FromSeconds(5));
        bench.Step();
        var running = bench.Status(builder);
        Assert.Equal("2030-01-01T00:00:05Z 2030-01-01T00:00:00Z", $"{Text(running, "conditions", 2, "lastTransitionTime")} {Text(running, "conditions", 4, "lastTransitionTime")}");
        bench.Wait(TimeSpan.FromSeconds(60));
        Assert.Equal(running.ToJsonString(), bench.Status(builder).ToJsonString());

        bench.Pod = PodBench.Read("""{"containers":[{"name":"a"}]}""", status: running.ToJsonString());
        Assert.Equal(running.ToJsonString(), bench.Status(new PodStatusBuilder(bench.Pod.Json["status"] as System.Text.Json.Nodes.JsonObject, bench.Now)).ToJsonString());
    }

    [Fact]
    public void A_patch_replaces_the_addresses_whatever_was_said_before()
    {
        var old = (JsonObject)JsonNode.Parse("""{"podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"}]}""")!;
        var moved = PodStatusBuilder.Patch("u1", old, (JsonObject)JsonNode.Parse("""{"podIP":"10.0.0.3","podIPs":[{"ip":"10.0.0.3"}]}""")!);
        Assert.Equal("""{"metadata":{"uid":"u1"},"status":{"podIP":"10.0.0.3","podIPs":[{"$patch":"replace"},{"ip":"10.0.0.3"}]}}""", moved.ToJsonString());
        // The report between the two, without an address, may never have been sent.
        var host = PodStatusBuilder.Patch("u1", null, (JsonObject)JsonNode.Parse("""{"hostIP":"192.0.2.9","hostIPs":[{"ip":"192.0.2.9"}]}""")!);
        Assert.Equal("""{"metadata":{"uid":"u1"},"status":{"hostIP":"192.0.2.9","hostIPs":[{"$patch":"replace"},{"ip":"192.0.2.9"}]}}""", host.ToJsonString());
        var between = PodStatusBuilder.Patch("u1", new JsonObject { ["phase"] = "Pending" }, (JsonObject)JsonNode.Parse("""{"podIP":"10.0.0.3","podIPs":[{"ip":"10.0.0.3"}]}""")!);
        Assert.Equal(moved.ToJsonString(), between.ToJsonString());
        var gone = PodStatusBuilder.Patch("u1", old, new JsonObject { ["phase"] = "Failed" });
        Assert.Equal("""{"metadata":{"uid":"u1"},"status":{"phase":"Failed","podIPs":[{"$patch":"replace"}],"podIP":null}}""", gone.ToJsonString());
    }

    [Fact]
    public void Ready_and_started_follow_the_probes()
    {
        var bench = new PodBench("""{"containers":[{"name":"a","startupProbe":{"exec":{}},"readinessProbe":{"exec":{}}},{"name":"b"}]}""");
        bench.Step();
        Assert.Equal("a False False b True True", Flags());
        Assert.Equal("containers with unready status: [a]", Text(bench.Status(), "conditions", 2, "message"));
        bench.Probes = new ProbeVerdicts(new Dictionary<string, ContainerVerdict> { ["c1"] = new(true, false, null) });
        Assert.Equal("a True False b True True", Flags());
        bench.Probes = new ProbeVerdicts(new Dictionary<string, ContainerVerdict> { ["c1"] = new(true, true, null) });
        Assert.Equal("a True True b True True", Flags());
        Assert.Contains(" Ready=True ContainersReady=True", Conditions(bench.Status()), StringComparison.Ordinal);

        string Flags() => string.Join(' ', bench.Status()["containerStatuses"]!.AsArray().Select(status => $"{status!["name"]} {(bool)status["started"]!} {(bool)status["ready"]!}"));
    }

    [Fact]
    public void A_sidecar_that_is_not_ready_makes_the_pod_unready()
    {
        var bench = new PodBench("""{"initContainers":[{"name":"s","restartPolicy":"Always","readinessProbe":{"exec":{}}}],"containers":[{"name":"a"}]}""");
        bench.Step();
        var status = bench.Status();
        Assert.Contains("Initialized=True Ready=False/ContainersNotReady", Conditions(status), StringComparison.Ordinal);
        Assert.Equal("containers with unready status: [s]", Text(status, "conditions", 3, "message"));
    }

    [Theory]
    [InlineData("[]", "corresponding condition of pod readiness gate \"example.com/lb\" does not exist.")]
    [InlineData("[{\"type\":\"example.com/lb\",\"status\":\"False\"}]", "the status of pod readiness gate \"example.com/lb\" is not \"True\", but False")]
    [InlineData("[{\"type\":\"example.com/lb\",\"status\":\"True\"}]", "")]
    public void A_closed_readiness_gate_keeps_the_pod_unready_though_its_containers_are_ready(string conditions, string message)
    {
        var bench = new PodBench("""{"readinessGates":[{"conditionType":"example.com/lb"}],"containers":[{"name":"a"}]}""");
        bench.Pod.Json["status"] = new JsonObject { ["conditions"] = JsonNode.Parse(conditions) };
        bench.Step();
        var status = bench.Status();
        Assert.Contains(message.Length > 0 ? "Ready=False/ReadinessGatesNotReady ContainersReady=True" : "Ready=True ContainersReady=True", Conditions(status), StringComparison.Ordinal);
        if (message.Length > 0)
            Assert.Equal(message, Text(status, "conditions", 2, "message"));
    }

    [Fact]
    public void Last_words_of_all_containers_together_stay_within_12_KiB()
    {
        var bench = new PodBench("""{"restartPolicy":"Never","containers":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]}""");
        bench.Step();
        foreach (var name in (string[])["a", "b", "c", "d"])
        {
            bench.Exit(name, 1);
            bench.Change(name, view => view with { Message = new string('x', 4096) });
        }

        Assert.All(bench.Status()["containerStatuses"]!.AsArray(), status => Assert.Equal(3072, ((string)status!["state"]!["terminated"]!["message"]!).Length));
    }

    [Fact]
    public void The_end_of_a_log_is_80_lines_and_2048_bytes_at_most()
    {
        Assert.Equal("one\ntwo\n", TerminationMessages.Tail("torn line\n2030-01-01T00:00:00Z stdout P on\n2030-01-01T00:00:00Z stdout F e\n2030-01-01T00:00:00Z stderr F two\n"));
        var lines = string.Concat(Enumerable.Range(0, 100).Select(i => $"t stdout F {i}\n"));
        Assert.Equal(string.Concat(Enumerable.Range(20, 80).Select(i => $"{i}\n")), TerminationMessages.Tail(lines));
        var wide = TerminationMessages.Tail(string.Concat(Enumerable.Range(0, 10).Select(i => $"t stdout F {new string((char)('a' + i), 999)}\n")));
        Assert.Equal(2048, wide.Length);
        Assert.EndsWith("j\n", wide, StringComparison.Ordinal);
        Assert.Equal("", TerminationMessages.Tail(""));
    }

    private static string Conditions(JsonObject status) => string.Join(' ', status["conditions"]!.AsArray().Select(condition =>
        $"{condition!["type"]}={condition["status"]}{(condition["reason"] is { } reason ? "/" + reason : "")}"));

    private static string Text(JsonObject status, params object[] path)
    {
        JsonNode? at = status;
        foreach (var step in path)
            at = step is int index ? at?[index] : at?[(string)step];
        return (string?)at ?? "";
    }
}
