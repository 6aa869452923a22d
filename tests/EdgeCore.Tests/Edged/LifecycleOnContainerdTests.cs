using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Xunit;
using static Edge.Core.Tests.PodsOnContainerdTests;
using static Edge.Core.Tests.ProbesOnContainerdTests;

namespace Edge.Core.Tests;

/// <summary>How real containers begin and end: hooks, sidecars, last words, deadlines, terminals.</summary>
[Collection("containerd-2")]
[Trait("Category", "Pods")]
public sealed class LifecycleOnContainerdTests(ContainerdFixture containerd)
{
    private const string Image = "\"image\":\"docker.io/edge/busybox:1.0\"";

    [SkippableFact]
    public async Task PostStart_runs_after_the_start_and_preStop_before_the_end()
    {
        await using var edged = containerd.Run("hooks");
        using var client = containerd.Client();
        var agents = new List<string>();
        await using var server = await ServeAsync(agents);
        var port = new Uri(server.Urls.Single()).Port;
        var shared = Directory.CreateDirectory(Path.Combine(edged.Root, "shared")).FullName;
        var pod = Pod("hooks", $$$"""
            {"terminationGracePeriodSeconds":60,"volumes":[{"name":"s","hostPath":{"path":"{{{shared}}}"}}],"containers":[
              {"name":"main",{{{Image}}},"command":["sh","-c","trap 'echo term >> /s/log; exit 0' TERM; while true; do sleep 1 & wait $!; done"],"volumeMounts":[{"name":"s","mountPath":"/s"}],
               "lifecycle":{"postStart":{"exec":{"command":["sh","-c","echo started >> /s/log"]}},"preStop":{"exec":{"command":["sh","-c","echo stopping >> /s/log"]}} }},
              {"name":"web",{{{Image}}},"command":["sh","-c","trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"],
               "lifecycle":{"postStart":{"sleep":{"seconds":1}},"preStop":{"httpGet":{"host":"127.0.0.1","port":{{{port}}},"path":"/bye","httpHeaders":[{"name":"X-Why","value":"end"}]}} }}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "ready", IsReady);
        var log = Path.Combine(shared, "log");
        Assert.Equal("started\n", File.ReadAllText(log));
        await GoneAsync(edged, client, pod);
        Assert.Equal("started\nstopping\nterm\n", File.ReadAllText(log));
        Assert.Equal(["/bye kube-lifecycle/1.32 end"], agents);
        await edged.EventAsync("Killing", "Stopping container main");
        Assert.DoesNotContain(edged.Uplink.Entries, entry => entry.Resource.Contains("/event/", StringComparison.Ordinal) && FakeUplink.Content(entry).Text("reason").StartsWith("Failed", StringComparison.Ordinal));
    }

    [SkippableTheory]
    [InlineData("exec", """{"exec":{"command":["sh","-c","until grep -q sleep /proc/1/cmdline; do :; done; false"]}}""")]
    [InlineData("tcp", """{"tcpSocket":{"port":1}}""")]
    [InlineData("http", """{"httpGet":{"host":"127.0.0.1","port":1}}""")]
    public async Task A_failed_postStart_kills_the_container(string name, string hook)
    {
        await using var edged = containerd.Run("post-" + name);
        using var client = containerd.Client();
        var pod = Pod("post-" + name, $$$"""{"restartPolicy":"Never","terminationGracePeriodSeconds":1,"containers":[{"name":"main",{{{Image}}},"command":["sleep","1000"],"lifecycle":{"postStart":{{{hook}}}}}]}""");
        edged.Meta.Put("pod", pod);
        await edged.EventAsync("FailedPostStartHook", "PostStartHook failed");
        await edged.EventAsync("Killing", "FailedPostStartHook");
        var status = await edged.StatusAsync(pod, "failed", status => status.Text("phase") == "Failed");

        // The hook that runs in the container waits for the command there, which ends with the KILL. The others may fail before runc has become the command; 2 was
        // seen then, with which a Go program ends that a SIGTERM cannot kill because it is the first process of its namespace.
        Assert.Contains(First(status).Number(0, "state", "terminated", "exitCode"), name == "exec" ? (IEnumerable<long>)[137] : [137, 2]);
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task A_preStop_that_does_not_end_or_fails_has_no_more_than_the_grace()
    {
        await using var edged = containerd.Run("prestop");
        using var client = containerd.Client();
        var pod = Pod("prestop", $$$"""
            {"terminationGracePeriodSeconds":2,"containers":[
              {"name":"main",{{{Image}}},"command":["sleep","1000"],"lifecycle":{"preStop":{"exec":{"command":["sleep","100000"]}} }},
              {"name":"other",{{{Image}}},"command":["sleep","1000"],"lifecycle":{"preStop":{"exec":{"command":["false"]}} }}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "ready", IsReady);
        await GoneAsync(edged, client, pod);
        var failed = edged.Uplink.Entries.Where(entry => entry.Resource.Contains("/event/", StringComparison.Ordinal)).Select(FakeUplink.Content)
            .Where(content => content.Text("reason") == "FailedPreStopHook").Select(content => $"{content.Text("message")} {content.Text("involvedObject", "fieldPath")}").Order();
        Assert.Equal(["PreStopHook failed spec.containers{main}", "PreStopHook failed spec.containers{other}"], failed);
    }

    [SkippableFact]
    public async Task Sidecars_start_in_order_gated_by_their_startup_probes_and_end_last_in_reverse_order()
    {
        await using var edged = containerd.Run("sidecars");
        using var client = containerd.Client();
        var shared = Directory.CreateDirectory(Path.Combine(edged.Root, "shared")).FullName;
        string Container(string name, string before, string more) => $$$"""
            {"name":"{{{name}}}",{{{Image}}},"command":["sh","-c","{{{before}}} trap 'sleep 1; echo end {{{name}}} >> /s/log; exit 0' TERM; echo start {{{name}}} >> /s/log; touch /tmp/up; while true; do sleep 1 & wait $!; done"],
             "volumeMounts":[{"name":"s","mountPath":"/s"}]{{{more}}}}
            """;
        const string Sidecar = """,  "restartPolicy":"Always","startupProbe":{"exec":{"command":["test","-f","/tmp/up"]},"periodSeconds":1,"timeoutSeconds":10,"failureThreshold":100}""";
        var pod = Pod("sidecars", $$$"""
            {"terminationGracePeriodSeconds":100,"volumes":[{"name":"s","hostPath":{"path":"{{{shared}}}"}}],
             "initContainers":[{{{Container("s1", "sleep 2;", Sidecar)}}},{"name":"init",{{{Image}}},"command":["sh","-c","echo init >> /s/log"],"volumeMounts":[{"name":"s","mountPath":"/s"}]},{{{Container("s2", "", Sidecar)}}}],
             "containers":[{{{Container("main", "", "")}}}]}
            """);
        edged.Meta.Put("pod", pod);
        var first = await edged.StatusAsync(pod, "the first sidecar runs and has not started", status => Of(status, "s1").At("state", "running") is not null && !Of(status, "s1").Flag(true, "started"));
        Assert.Equal("Pending", first.Text("phase"));
        await edged.StatusAsync(pod, "ready", IsReady);
        await UntilAsync("main has started", () => Task.FromResult(File.ReadAllText(Path.Combine(shared, "log")).Contains("start main", StringComparison.Ordinal)));
        await GoneAsync(edged, client, pod);
        Assert.Equal("start s1\ninit\nstart s2\nstart main\nend main\nend s2\nend s1\n", File.ReadAllText(Path.Combine(shared, "log")));
    }

    [SkippableFact]
    public async Task A_pod_with_a_sidecar_succeeds_when_its_work_is_done_and_the_sidecar_has_gone()
    {
        await using var edged = containerd.Run("jobside");
        using var client = containerd.Client();
        var pod = Pod("jobside", $$$"""
            {"restartPolicy":"Never","terminationGracePeriodSeconds":1,"initContainers":[{"name":"side",{{{Image}}},"restartPolicy":"Always","command":["sleep","1000"]}],
             "containers":[{"name":"main",{{{Image}}},"command":["true"]}]}
            """);
        edged.Meta.Put("pod", pod);
        var done = await edged.StatusAsync(pod, "succeeded", status => status.Text("phase") == "Succeeded");
        Assert.NotNull(Of(done, "side").At("state", "terminated"));
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task Last_words_come_from_the_file_or_the_end_of_the_log_and_are_cut()
    {
        await using var edged = containerd.Run("words");
        using var client = containerd.Client();
        var pod = Pod("words", $$$"""
            {"restartPolicy":"Never","containers":[
              {"name":"main",{{{Image}}},"command":["sh","-c","echo from the file > /run/words; exit 1"],"terminationMessagePath":"/run/words"},
              {"name":"log",{{{Image}}},"command":["sh","-c","for i in $(seq 1 100); do echo line $i; done; exit 1"],"terminationMessagePolicy":"FallbackToLogsOnError"},
              {"name":"well",{{{Image}}},"command":["sh","-c","echo all is well"],"terminationMessagePolicy":"FallbackToLogsOnError"},
              {"name":"quiet",{{{Image}}},"command":["sh","-c","echo unheard; exit 1"]},
              {"name":"long",{{{Image}}},"command":["sh","-c","yes | head -c 100000 > /dev/termination-log; exit 1"]}]}
            """);
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "failed", status => status.Text("phase") == "Failed");
        Assert.Equal("from the file\n", Message("main"));
        Assert.Equal(string.Concat(Enumerable.Range(21, 80).Select(i => $"line {i}\n")), Message("log"));
        Assert.Equal(" ", $"{Message("well")} {Message("quiet")}");
        Assert.Equal(12 * 1024 / 5, Message("long").Length);
        await GoneAsync(edged, client, pod);

        string Message(string name) => Of(status, name).Text("state", "terminated", "message");
    }

    [SkippableFact]
    public async Task A_pod_over_its_deadline_is_ended_and_stays_failed_after_a_restart_of_EdgeCore()
    {
        var meta = new FakeMetaStore();
        using var client = containerd.Client();
        var pod = Pod("deadline", $$$"""{"activeDeadlineSeconds":3,"terminationGracePeriodSeconds":1,"containers":[{"name":"main",{{{Image}}},"command":["sleep","1000"]}]}""");
        await using (var first = containerd.Run("deadline", meta))
        {
            meta.Put("pod", pod);
            await first.EventAsync("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
            var status = await first.StatusAsync(pod, "failed", status => status.Text("phase") == "Failed");
            Assert.Equal("DeadlineExceeded", status.Text("reason"));
            Assert.NotNull(First(status).At("state", "terminated"));
        }

        await using var second = containerd.Run("deadline", meta);
        var again = await second.StatusAsync(pod, "failed still", status => status.Text("phase") == "Failed");
        Assert.Equal("DeadlineExceeded 0", $"{again.Text("reason")} {First(again).Number(-1, "restartCount")}");
        await GoneAsync(second, client, pod);
    }

    [SkippableFact]
    public async Task Stdin_and_tty_are_the_containers_own()
    {
        await using var edged = containerd.Run("tty");
        using var client = containerd.Client();
        var pod = Pod("tty", $$$"""
            {"restartPolicy":"Never","terminationGracePeriodSeconds":1,"containers":[
              {"name":"main",{{{Image}}},"stdin":true,"stdinOnce":true,"tty":true,"command":["sh","-c","tty; exec cat"]},
              {"name":"closed",{{{Image}}},"command":["sh","-c","tty; exec cat"]}]}
            """);
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "the one without stdin has ended", status => Of(status, "closed").At("state", "terminated") is not null && First(status).At("state", "running") is not null);
        Assert.Equal("Running", status.Text("phase"));
        await UntilAsync("the terminal is named", () => Task.FromResult(edged.Log(pod, "main", 0).Contains("/dev/pts/0", StringComparison.Ordinal)));
        Assert.Contains("not a tty", edged.Log(pod, "closed", 0), StringComparison.Ordinal);
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task A_forced_deletion_ends_a_graceful_one_that_takes_too_long()
    {
        await using var edged = containerd.Run("force");
        using var client = containerd.Client();
        var pod = Pod("force", $$$"""{"terminationGracePeriodSeconds":100000,"containers":[{"name":"main",{{{Image}}},"command":["sleep","1000"],"lifecycle":{"preStop":{"sleep":{"seconds":50000}} }}]}""");
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "ready", IsReady);
        var deleting = (JsonObject)pod.DeepClone();
        deleting["metadata"]!["deletionTimestamp"] = "2026-01-01T00:00:00Z";
        deleting["metadata"]!["deletionGracePeriodSeconds"] = 100000;
        edged.Meta.Put("pod", deleting);
        await edged.EventAsync("Killing", "Stopping container main");
        Assert.Single(await SandboxesAsync(client, pod.Uid()));
        var forced = (JsonObject)deleting.DeepClone();
        forced["metadata"]!["deletionGracePeriodSeconds"] = 0;
        edged.Meta.Put("pod", forced);
        await edged.Uplink.WaitAsync("pod delete", entry => entry.Operation == "delete" && entry.Resource == "default/pod/force");
        Assert.Empty(await SandboxesAsync(client, pod.Uid()));
        edged.Meta.Delete("pod", forced);
    }

    private static async Task<WebApplication> ServeAsync(List<string> agents)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options => options.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1));
        var app = builder.Build();
        app.MapGet("/bye", (HttpContext context) => agents.Add($"{context.Request.Path} {context.Request.Headers.UserAgent} {context.Request.Headers["X-Why"]}"));
        await app.StartAsync();
        return app;
    }
}
