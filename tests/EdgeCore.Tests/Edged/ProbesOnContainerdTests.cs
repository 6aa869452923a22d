using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Xunit;
using static Edge.Core.Tests.PodsOnContainerdTests;

namespace Edge.Core.Tests;

/// <summary>Probes against real containers of busybox.</summary>
[Collection("containerd")]
[Trait("Category", "Pods")]
public sealed class ProbesOnContainerdTests(ContainerdFixture containerd)
{
    private const string Image = "\"image\":\"docker.io/edge/busybox:1.0\"";
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    [SkippableFact]
    public async Task Readiness_by_httpGet_follows_what_the_container_serves()
    {
        await using var edged = containerd.Run("probe-http");
        using var client = containerd.Client();
        var pod = Pod("http", $$$"""
            {"terminationGracePeriodSeconds":1,"containers":[{"name":"main",{{{Image}}},"ports":[{"name":"web","containerPort":8080}],
              "command":["sh","-c","mkdir /www; exec httpd -f -p 8080 -h /www"],
              "readinessProbe":{"httpGet":{"path":"/ok","port":"web"},"periodSeconds":1,"timeoutSeconds":5,"failureThreshold":2}}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.EventAsync("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404");
        var running = await edged.StatusAsync(pod, "running", status => First(status).At("state", "running") is not null);
        Assert.Equal("True False False", $"{First(running).Flag(false, "started")} {First(running).Flag(false, "ready")} {IsReady(running)}");
        var id = Id(running);
        await client.ExecSyncAsync(id, ["touch", "/www/ok"], s_limit, default);
        await edged.StatusAsync(pod, "ready", IsReady);
        var from = edged.Uplink.Entries.Count;
        await client.ExecSyncAsync(id, ["rm", "/www/ok"], s_limit, default);
        var last = await edged.StatusAsync(pod, "unready again", status => !IsReady(status), from);
        Assert.Equal((id, 0L), (Id(last), First(last).Number(-1, "restartCount"))); // readiness kills nothing
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task A_failed_liveness_probe_restarts_the_container_with_its_own_grace()
    {
        await using var edged = containerd.Run("probe-live");
        using var client = containerd.Client();
        var pod = Pod("live", $$$"""
            {"terminationGracePeriodSeconds":1000,"containers":[{"name":"main",{{{Image}}},"command":["sh","-c","touch /tmp/healthy; while true; do sleep 1000; done"],
              "livenessProbe":{"exec":{"command":["cat","/tmp/healthy"]},"periodSeconds":1,"timeoutSeconds":10,"failureThreshold":2,"terminationGracePeriodSeconds":1}}]}
            """);
        edged.Meta.Put("pod", pod);
        var id = Id(await edged.StatusAsync(pod, "ready", IsReady));
        await client.ExecSyncAsync(id, ["rm", "/tmp/healthy"], s_limit, default);
        await edged.EventAsync("Unhealthy", "Liveness probe failed: cat: can't open '/tmp/healthy': No such file or directory");
        await edged.EventAsync("Killing", "Container main failed liveness probe, will be restarted");
        var again = await edged.StatusAsync(pod, "restarted", status => IsReady(status) && First(status).Number(0, "restartCount") == 1);
        Assert.Equal(137, First(again).Number(0, "lastState", "terminated", "exitCode")); // the shell does not heed TERM; 1000 s have not passed
        Assert.NotEqual(id, Id(again));
        pod["metadata"]!["deletionTimestamp"] = "2026-01-01T00:00:00Z";
        pod["metadata"]!["deletionGracePeriodSeconds"] = 0;
        edged.Meta.Put("pod", pod);
        await edged.Uplink.WaitAsync("pod delete", entry => entry.Operation == "delete" && entry.Resource == "default/pod/live");
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task A_startup_probe_holds_the_others_back_and_one_that_hangs_is_a_failure()
    {
        await using var edged = containerd.Run("probe-start");
        using var client = containerd.Client();
        var pod = Pod("start", $$$"""
            {"terminationGracePeriodSeconds":1,"containers":[{"name":"main",{{{Image}}},"command":["sleep","1000"],
              "startupProbe":{"exec":{"command":["sh","-c","test -f /tmp/up || sleep 1000"]},"periodSeconds":1,"timeoutSeconds":1,"failureThreshold":1000},
              "livenessProbe":{"exec":{"command":["false"]},"periodSeconds":1,"timeoutSeconds":10,"failureThreshold":1}}]}
            """);
        edged.Meta.Put("pod", pod);
        var running = await edged.StatusAsync(pod, "running", status => First(status).At("state", "running") is not null);
        Assert.False(First(running).Flag(true, "started"));
        await edged.EventAsync("Unhealthy", "Startup probe failed: command timed out: \"sh -c test -f /tmp/up || sleep 1000\" timed out after 1s");
        Assert.DoesNotContain(edged.Uplink.Entries, entry => entry.Resource.Contains("/event/", StringComparison.Ordinal) && FakeUplink.Content(entry).Text("message").StartsWith("Liveness", StringComparison.Ordinal));
        await client.ExecSyncAsync(Id(running), ["touch", "/tmp/up"], s_limit, default);
        await edged.EventAsync("Unhealthy", "Liveness probe failed");
        await edged.StatusAsync(pod, "restarted, not started", status => First(status).Number(0, "restartCount") == 1 && First(status).At("state", "running") is not null && !First(status).Flag(true, "started"));
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task TcpSocket_and_grpc_probes_ask_the_pods_own_address()
    {
        await using var edged = containerd.Run("probe-tcp");
        using var client = containerd.Client();
        var serving = 2; // NOT_SERVING
        var asked = "";
        await using var health = await HealthAsync(request =>
        {
            asked = request;
            return Volatile.Read(ref serving);
        });
        var port = new Uri(health.Urls.Single()).Port;

        // The container passes what comes to its port on to the health service of this test, on the bridge's address.
        var pod = Pod("tcp", $$$"""
            {"terminationGracePeriodSeconds":1,"containers":[
              {"name":"main",{{{Image}}},"command":["sh","-c","HOST=$(ip route | awk '/default/{print $3}'); exec nc -ll -p 5000 -e nc $HOST {{{port}}}"],
               "readinessProbe":{"grpc":{"port":5000,"service":"my.service"},"periodSeconds":1,"timeoutSeconds":10,"failureThreshold":1}},
              {"name":"open",{{{Image}}},"command":["nc","-ll","-p","5001","-e","true"],"readinessProbe":{"tcpSocket":{"port":5001},"periodSeconds":1,"timeoutSeconds":10}},
              {"name":"closed",{{{Image}}},"command":["sleep","1000"],"readinessProbe":{"tcpSocket":{"port":5002},"periodSeconds":1,"timeoutSeconds":10}}]}
            """);
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "the open port is ready", status => Of(status, "open").Flag(false, "ready"));
        await edged.EventAsync("Unhealthy", $"Readiness probe failed: dial tcp {status.Text("podIP")}:5002: connect: connection refused");
        await edged.EventAsync("Unhealthy", "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")");
        Assert.False(First(status).Flag(true, "ready"));
        Volatile.Write(ref serving, 1);
        var up = await edged.StatusAsync(pod, "the service is ready", status => First(status).Flag(false, "ready"));
        Assert.False(Of(up, "closed").Flag(true, "ready"));
        Assert.Equal("my.service kube-probe/1.32", asked);
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task A_restarted_EdgeCore_keeps_ready_what_was_ready_and_goes_on_probing()
    {
        var meta = new FakeMetaStore();
        using var client = containerd.Client();
        var pod = Pod("adopted", $$$"""
            {"terminationGracePeriodSeconds":1,"containers":[{"name":"main",{{{Image}}},"command":["sh","-c","touch /tmp/a /tmp/b; exec sleep 1000"],
              "startupProbe":{"exec":{"command":["test","-f","/tmp/a"]},"periodSeconds":1,"timeoutSeconds":10},
              "readinessProbe":{"exec":{"command":["test","-f","/tmp/b"]},"periodSeconds":1,"timeoutSeconds":10,"failureThreshold":1}}]}
            """);
        string id;
        await using (var first = containerd.Run("probe-adopt", meta))
        {
            meta.Put("pod", pod);
            id = Id(await first.StatusAsync(pod, "ready", IsReady));
        }

        // Were the startup probe asked again, the container would now be taken for one that has not come up.
        await client.ExecSyncAsync(id, ["rm", "/tmp/a"], s_limit, default);
        await using var second = containerd.Run("probe-adopt", meta);
        await second.StatusAsync(pod, "ready", IsReady);
        await client.ExecSyncAsync(id, ["rm", "/tmp/b"], s_limit, default);
        var unready = await second.StatusAsync(pod, "unready", status => !IsReady(status));
        Assert.Equal((id, 0L, true), (Id(unready), First(unready).Number(-1, "restartCount"), First(unready).Flag(false, "started")));
        var statuses = second.Uplink.Entries.Where(entry => entry.Resource == "default/podpatch/adopted").Select(entry => IsReady((JsonObject)FakeUplink.Content(entry)["status"]!));
        Assert.Equal([true, false], statuses.Take(2)); // no dip before
        await GoneAsync(second, client, pod);
    }

    [SkippableFact]
    public async Task A_readiness_gate_opens_when_its_condition_comes_with_the_pod()
    {
        await using var edged = containerd.Run("probe-gate");
        using var client = containerd.Client();
        var pod = Pod("gate", $$$"""{"terminationGracePeriodSeconds":1,"readinessGates":[{"conditionType":"example.com/lb"}],"containers":[{"name":"main",{{{Image}}},"command":["sleep","1000"]}]}""");
        edged.Meta.Put("pod", pod);
        var closed = await edged.StatusAsync(pod, "gate closed", status => status.Items("conditions").Any(condition => condition.Text("reason") == "ReadinessGatesNotReady"));
        Assert.True(First(closed).Flag(false, "ready"));
        var open = (JsonObject)pod.DeepClone();
        open["metadata"]!["resourceVersion"] = "2";
        open["status"] = JsonNode.Parse("""{"conditions":[{"type":"example.com/lb","status":"True"}]}""");
        edged.Meta.Put("pod", open);
        await edged.StatusAsync(pod, "gate open", IsReady);
        await GoneAsync(edged, client, pod);
    }

    internal static JsonObject First(JsonObject status) => Of(status, "main");

    internal static JsonObject Of(JsonObject status, string container)
        => status.Items("initContainerStatuses").Concat(status.Items("containerStatuses")).Single(item => item.Text("name") == container);

    internal static string Id(JsonObject status) => First(status).Text("containerID")["containerd://".Length..];

    internal static async Task GoneAsync(RunningEdged edged, CriClient client, JsonObject pod)
    {
        edged.Meta.Delete("pod", pod);
        await UntilAsync($"{pod.Name()} is gone", async () => (await SandboxesAsync(client, pod.Uid())).Count == 0);
    }

    // grpc.health.v1 by hand: prefix, field 1 = status; the answer's status goes in the trailers.
    private static async Task<WebApplication> HealthAsync(Func<string, int> answer)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options => options.Listen(IPAddress.Any, 0, listen => listen.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        app.MapPost("/grpc.health.v1.Health/Check", async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body);
            var request = System.Text.Encoding.UTF8.GetString(body.ToArray().AsSpan(7));
            context.Response.ContentType = "application/grpc";
            context.Response.AppendTrailer("grpc-status", "0");
            await context.Response.Body.WriteAsync(new byte[] { 0, 0, 0, 0, 2, 8, (byte)answer($"{request} {context.Request.Headers.UserAgent}") });
        });
        await app.StartAsync();
        return app;
    }
}
