using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Tests.LocalApi;

/// <summary>The local API with real pods on a real containerd.</summary>
[Collection("containerd")]
[Trait("Category", "Pods")]
public sealed class LocalApiOnContainerdTests(ContainerdFixture containerd)
{
    [SkippableFact]
    public async Task Logs_are_shown_from_the_end_with_times_and_followed_until_the_container_ends()
    {
        await using var edged = containerd.Run("node-logs");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-logs");
        // It ends when it is told to, so that the test decides what a follower has seen by then.
        var pod = Pod("talker", """
            {"restartPolicy":"Never","containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","stdin":true,"stdinOnce":true,
             "command":["sh","-c","echo one; echo two; echo three; read line; echo got $line"]}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        Assert.Equal("one\ntwo\nthree\n", await UntilAsync("three lines", () => api.Client.GetStringAsync("/containerLogs/default/talker/main"), text => text.Split('\n').Length == 4));
        Assert.Equal("three\n", await api.Client.GetStringAsync("/containerLogs/default/talker/main?tailLines=1"));
        Assert.Equal("one\ntw", await api.Client.GetStringAsync("/containerLogs/default/talker/main?limitBytes=6"));
        Assert.Equal("", await api.Client.GetStringAsync("/containerLogs/default/talker/main?sinceTime=2999-01-01T00:00:00Z"));
        Assert.Matches(@"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}(Z|[+-][0-9:]{5}) three\n\z", await api.Client.GetStringAsync("/containerLogs/default/talker/main?tailLines=1&timestamps=true"));

        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var following = await api.Client.GetAsync("/containerLogs/default/talker/main?follow=true&tailLines=1", HttpCompletionOption.ResponseHeadersRead, limit.Token);
        using var lines = new StreamReader(await following.Content.ReadAsStreamAsync(limit.Token));
        Assert.Equal("three", await lines.ReadLineAsync(limit.Token));
        using (var attached = await ChannelSocket.ConnectAsync(api, "/attach/default/talker/main?input=1&output=1"))
        {
            await attached.SendAsync(0, "word\n");
            Assert.Contains("got word", (await attached.ReadUntilAsync(said => said.GetValueOrDefault(1, "").Contains('\n', StringComparison.Ordinal)))[1], StringComparison.Ordinal);
        }

        Assert.Equal("got word", await lines.ReadLineAsync(limit.Token));
        Assert.Null(await lines.ReadLineAsync(limit.Token)); // the container has ended, so the stream ends by itself
        edged.Meta.Delete("pod", pod);
    }

    [SkippableFact]
    public async Task The_previous_run_of_a_container_has_its_own_log()
    {
        await using var edged = containerd.Run("node-prev");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-prev");
        var pod = Pod("again", """
            {"terminationGracePeriodSeconds":1,"volumes":[{"name":"kept","emptyDir":{}}],
             "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","volumeMounts":[{"name":"kept","mountPath":"/kept"}],
             "command":["sh","-c","if [ -e /kept/ran ]; then echo second; sleep 1000; fi; touch /kept/ran; echo first; exit 1"]}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "the second run", status => status.Items("containerStatuses").Any(one => one.Number(0, "restartCount") == 1 && one.At("state", "running") is not null));
        Assert.Equal("second\n", await UntilAsync("the second run's log", () => api.Client.GetStringAsync("/containerLogs/default/again/main"), text => text.Length > 0));
        Assert.Equal("first\n", await api.Client.GetStringAsync("/containerLogs/default/again/main?previous=true"));

        using var missing = await api.Client.GetAsync("/containerLogs/default/again/other");
        Assert.Equal((HttpStatusCode.NotFound, "container other is not in pod default/again; it has main\n"), (missing.StatusCode, await missing.Content.ReadAsStringAsync()));
        edged.Meta.Delete("pod", pod);
    }

    [SkippableFact]
    public async Task A_command_runs_in_a_container_with_its_input_output_and_exit_code()
    {
        await using var edged = containerd.Run("node-exec");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-exec");
        var pod = Pod("shell", Sleeper());
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        var command = Uri.EscapeDataString("read line; echo out $line; echo err >&2; exit 7");
        using (var exec = await ChannelSocket.ConnectAsync(api, $"/exec/default/shell/{pod.Uid()}/main?command=sh&command=-c&command={command}&input=1&output=1&error=1"))
        {
            await exec.SendAsync(0, "in\n");
            var said = await exec.ReadUntilAsync(said => said.ContainsKey(3));
            Assert.Equal(("out in\n", "err\n"), (said[1], said[2]));
            Assert.Contains("\"ExitCode\",\"message\":\"7\"", said[3], StringComparison.Ordinal);
        }

        using var gone = await api.Client.SendAsync(Upgrade(HttpMethod.Post, $"/exec/default/shell/{Guid.NewGuid()}/main?command=true&output=1"));
        Assert.Equal(HttpStatusCode.NotFound, gone.StatusCode);
        edged.Meta.Delete("pod", pod);
    }

    [SkippableFact]
    public async Task A_SPDY_connection_goes_through_byte_for_byte()
    {
        await using var edged = containerd.Run("node-spdy");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-spdy");
        var pod = Pod("spdy", Sleeper());
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, api.Port, limit.Token);
        var stream = socket.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"POST /exec/default/spdy/main?command=true&output=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.Token}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            + "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: v3.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"), limit.Token);
        var head = "";
        var one = new byte[1];
        while (!head.EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            Assert.Equal(1, await stream.ReadAsync(one, limit.Token));
            head += (char)one[0];
        }

        Assert.StartsWith("HTTP/1.1 101 ", head, StringComparison.Ordinal);
        Assert.Contains("Upgrade: SPDY/3.1\r\n", head, StringComparison.Ordinal);
        Assert.Contains("X-Stream-Protocol-Version: v4.channel.k8s.io\r\n", head, StringComparison.OrdinalIgnoreCase);
        // SPDY/3.1 PING (§2.6.5): who gets one sends the same back.
        byte[] ping = [0x80, 0x03, 0x00, 0x06, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x01];
        await stream.WriteAsync(ping, limit.Token);
        var pong = new byte[ping.Length];
        await stream.ReadExactlyAsync(pong, limit.Token);
        Assert.Equal(ping, pong);
        edged.Meta.Delete("pod", pod);
    }

    [SkippableFact]
    public async Task A_request_reaches_a_port_inside_a_pod()
    {
        await using var edged = containerd.Run("node-port");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-port");
        var pod = Pod("web", """
            {"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0",
             "command":["sh","-c","mkdir /tmp/www; echo from inside > /tmp/www/index.html; httpd -p 127.0.0.1:8080 -h /tmp/www; echo up; sleep 1000"]}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        await UntilAsync("httpd listens", () => api.Client.GetStringAsync("/containerLogs/default/web/main"), text => text.Contains("up", StringComparison.Ordinal));
        using var forward = await ChannelSocket.ConnectAsync(api, "/portForward/default/web?port=8080");
        await forward.SendAsync(0, "GET / HTTP/1.0\r\n\r\n");
        // Both channels of a port begin with its number in two bytes.
        var said = await forward.ReadUntilAsync(said => said.GetValueOrDefault(0, "").Contains("from inside", StringComparison.Ordinal), skipBytes: 2);
        Assert.Matches(@"\AHTTP/1\.[01] 200 OK\r\n", said[0]);
        edged.Meta.Delete("pod", pod);
    }

    [SkippableFact]
    [Trait("Depends", "Cgroups")]
    public async Task Figures_of_pods_and_node_are_plausible_in_every_shape()
    {
        await using var edged = containerd.Run("node-stats");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-stats");
        var pod = Pod("busy", """
            {"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sh","-c","echo hello; while true; do :; done"]}]}
            """);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);

        // containerd counts the images' bytes every 10 s. The rate needs two samples; by then the loop has used some time.
        var summary = await UntilAsync(
            "the container's rate", async () => JsonNode.Parse(await api.Client.GetStringAsync("/stats/summary"))!,
            json => json.Number(0, "node", "runtime", "imageFs", "usedBytes") > 0 && json.Items("pods").SingleOrDefault().Items("containers").SingleOrDefault().Number(0, "cpu", "usageNanoCores") > 0);
        var node = summary["node"]!;
        Assert.Equal("node-stats", node.Text("nodeName"));
        Assert.InRange(node.Number(0, "memory", "workingSetBytes"), 1 << 20, long.MaxValue);
        Assert.InRange(node.Number(0, "fs", "usedBytes"), 1, node.Number(0, "fs", "capacityBytes"));
        Assert.InRange(node.Number(0, "fs", "inodesUsed"), 1, node.Number(0, "fs", "inodes"));
        Assert.InRange(node.Number(0, "rlimit", "curproc"), 1, node.Number(0, "rlimit", "maxpid"));
        Assert.InRange(node.Number(0, "runtime", "imageFs", "usedBytes"), 1, node.Number(0, "runtime", "imageFs", "capacityBytes"));
        var one = Assert.Single(summary.Items("pods"));
        Assert.Equal(("busy", "default", pod.Uid()), (one.Text("podRef", "name"), one.Text("podRef", "namespace"), one.Text("podRef", "uid")));
        var container = Assert.Single(one.Items("containers"));
        Assert.Equal("main", container.Text("name"));
        Assert.InRange(container.Number(0, "cpu", "usageNanoCores"), 1, 64_000_000_000);
        // A shell in a loop: some pages, far from what the node has.
        Assert.InRange(container.Number(0, "memory", "workingSetBytes"), 4096, 256 << 20);
        Assert.InRange(container.Number(0, "logs", "usedBytes"), 6, 64 * 1024);
        Assert.InRange(one.Number(0, "memory", "workingSetBytes"), container.Number(0, "memory", "workingSetBytes") / 2, 512 << 20);
        Assert.Equal("eth0", one.Text("network", "name"));
        Assert.True(one.Number(-1, "network", "rxBytes") >= 0);
        Assert.False(JsonNode.Parse(await api.Client.GetStringAsync("/stats/summary?only_cpu_and_memory=true")).Items("pods").Single().ContainsKey("network"));

        var resource = await api.Client.GetStringAsync("/metrics/resource");
        Assert.Matches("""(?m)^container_cpu_usage_seconds_total\{container="main",namespace="default",pod="busy"\} [0-9.]*[1-9][0-9]* [0-9]{13}$""", resource);
        Assert.Matches("""(?m)^pod_memory_working_set_bytes\{namespace="default",pod="busy"\} [1-9][0-9]+ [0-9]{13}$""", resource);
        Assert.Matches("(?m)^node_cpu_usage_seconds_total [0-9.]+ [0-9]{13}$", resource);
        Assert.Contains("\nscrape_error 0\n", resource, StringComparison.Ordinal);
        var cadvisor = await api.Client.GetStringAsync("/metrics/cadvisor");
        Assert.Matches("""(?m)^container_memory_usage_bytes\{container="main",id="/kubepods/besteffort/pod[^"]+",image="docker.io/edge/busybox:1.0",name="[0-9a-f]{64}",namespace="default",pod="busy"\} [1-9]""", cadvisor);
        Assert.Matches("""(?m)^container_network_receive_bytes_total\{container="",id="[^"]+",image="",name="[0-9a-f]{64}",namespace="default",pod="busy",interface="eth0"\} [0-9]+""", cadvisor);
        edged.Meta.Delete("pod", pod);
    }

    [SkippableFact]
    public async Task Pods_are_listed_with_the_status_that_the_node_reported()
    {
        await using var edged = containerd.Run("node-pods");
        await using var api = await RunningLocalApi.StartAsync(edged, containerd, "node-pods");
        var pod = Pod("listed", Sleeper());
        edged.Meta.Put("pod", pod);
        var reported = await edged.StatusAsync(pod, "running", IsReady);
        var list = await UntilAsync("the status in the list", async () => JsonNode.Parse(await api.Client.GetStringAsync("/pods"))!, json => json.Items("items").SingleOrDefault().Text("status", "phase") == "Running");
        Assert.Equal("PodList", list.Text("kind"));
        var one = Assert.Single(list.Items("items"));
        Assert.Equal((pod.Uid(), reported.Text("podIP")), (one.Uid(), one.Text("status", "podIP")));
        edged.Meta.Delete("pod", pod);
    }

    private static string Sleeper()
        => """{"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"]}]}""";

    private static bool IsReady(JsonObject status)
        => status.Items("conditions").Any(condition => condition.Text("type") == "Ready" && condition.Text("status") == "True");

    private static HttpRequestMessage Upgrade(HttpMethod method, string path)
    {
        var request = new HttpRequestMessage(method, path);
        request.Headers.TryAddWithoutValidation("Connection", "Upgrade");
        request.Headers.TryAddWithoutValidation("Upgrade", "SPDY/3.1");
        return request;
    }

    private static JsonObject Pod(string name, string spec) => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "Pod",
        ["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = name, ["uid"] = Guid.NewGuid().ToString(), ["resourceVersion"] = "1" },
        ["spec"] = JsonNode.Parse(spec),
    };

    private static async Task<T> UntilAsync<T>(string what, Func<Task<T>> ask, Func<T, bool> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        T last;
        while (!condition(last = await ask()))
        {
            try
            {
                await timer.WaitForNextTickAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"{what}; last seen: {last}");
            }
        }

        return last;
    }
}
