using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Rules;

/// <summary>Rules, NodeGroups and EdgeApplications on whole processes, with kubectl, curl and mosquitto; and docs/router.md and docs/nodegroups.md are true.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class RouterTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(2);

    private static readonly string[] s_edgeSettings =
    [
        "modules.eventBus.mqttMode=0", "modules.eventBus.mqttServerInternal=tcp://127.0.0.1:0", "modules.serviceBus.enable=true", "modules.serviceBus.port=0",
    ];

    [SkippableFact]
    public async Task Rules_carry_messages_both_ways_and_what_is_published_while_the_cloud_is_away_arrives()
    {
        Requires.Kubectl();
        Mosquitto.RequireClients();
        Skip.If(Tool.OnPath("curl") is null, "curl (Debian: curl)");
        Skip.If(Tool.OnPath("openssl") is null, "openssl (Debian: openssl)");
        await using var cloud = await HttpPeer.StartAsync(); // services in the cloud
        await using var atEdge = await HttpPeer.StartAsync(); // a service at the edge
        cloud.Answer = request => (200, request.Path == "/prices" ? $"{request.Body} costs 3" : "");
        atEdge.Answer = request => (200, $"picture {request.Path}");
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            CloudCoreSettings = ["modules.router.enable=true", "modules.router.address=127.0.0.1", "modules.router.port=0"], EdgeCoreSettings = s_edgeSettings,
        });
        foreach (var file in (string[])["endpoints", "rules"])
        {
            var manifest = (await File.ReadAllTextAsync(Source($"docs/examples/router/{file}.yaml"))).Replace("8090", $"{cloud.Port}", StringComparison.Ordinal).Replace("8080", $"{atEdge.Port}", StringComparison.Ordinal);
            await edge.KubectlAsync("apply -f -", manifest);
        }

        var ports = JsonNode.Parse(await File.ReadAllTextAsync(PortsOf(edge)));
        var (mqtt, bus) = ((int)ports.Number(0, "mqtt"), (int)ports.Number(0, "serviceBus"));
        await using var sub = await MosquittoSub.StartAsync(mqtt, "-t", "line/#", "-v");
        // The rules reach the node in their own time.
        await edge.WaitForAsync("the ServiceBus knows the rule", async () => (await ShellAsync(edge, mqtt, bus, """curl -s -d '{"method": "POST", "targetURL": "http://prices", "payload": "milk"}' http://127.0.0.1:$BUS_PORT/""")).Output.Contains("milk costs 3", StringComparison.Ordinal), s_long);
        await edge.WaitForAsync("the EventBus knows the rule", async () =>
        {
            await ShellAsync(edge, mqtt, bus, "mosquitto_pub -p $MQTT_PORT -q 1 -t default/sensors -m probe");
            return cloud.Requests.Any(request => request.Body == "probe");
        }, s_long);

        // The page's own lines, in one shell.
        var lines = ShellLines(Source("docs/router.md"));
        Assert.True(lines.Count >= 7, $"only {lines.Count} lines of shell found in docs/router.md");
        var said = await ShellAsync(edge, mqtt, bus, "set -e\n" + string.Join('\n', lines));
        Assert.True(said.ExitCode == 0, said.Error + said.Output);
        Assert.Contains("message delivered", said.Output, StringComparison.Ordinal);
        Assert.Contains("picture /camera/picture?size=small", said.Output, StringComparison.Ordinal);
        Assert.Contains("bread costs 3", said.Output, StringComparison.Ordinal);
        await sub.WaitForAsync(1);
        Assert.Equal("line/commands/press1 start", sub.Lines[0]);
        await edge.WaitForAsync("the reading is in the cloud", () => Task.FromResult(cloud.Requests.Any(request => request is { Path: "/sensors", Body: """{"temperature": 21}""" })), s_long);

        // Without the cloud, and with a restart of edgecore in between.
        await edge.Local.KillCloudCoreAsync();
        await PublishAsync("away 1");
        mqtt = await KillAndRestartEdgeCoreAsync(edge);
        await PublishAsync("away 2");
        Assert.DoesNotContain(cloud.Requests, request => request.Body.StartsWith("away", StringComparison.Ordinal));
        await edge.Local.RestartCloudCoreAsync(CancellationToken.None);
        await edge.WaitForAsync(
            "both are in the cloud", () => Task.FromResult(cloud.Requests.Any(request => request.Body == "away 1") && cloud.Requests.Any(request => request.Body == "away 2")), s_long);
        await edge.WaitForAsync("the rule's figures", async () => int.TryParse(await edge.KubectlAsync("get rule sensors -o jsonpath={.status.successMessages}"), out var count) && count >= 2, s_long); // those of the last second before the kill are not counted

        async Task PublishAsync(string payload)
        {
            var published = await ShellAsync(edge, mqtt, bus, $"mosquitto_pub -p $MQTT_PORT -q 1 -t default/sensors -m '{payload}'");
            Assert.True(published.ExitCode == 0, published.Error);
        }
    }

    [SkippableFact]
    public async Task Each_message_is_posted_once_to_each_target_that_takes_it_although_edgecore_is_killed_and_another_target_fails()
    {
        Requires.Kubectl();
        Mosquitto.RequireClients();
        await using var good = await HttpPeer.StartAsync();
        await using var bad = await HttpPeer.StartAsync();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            CloudCoreSettings = ["modules.router.enable=true", "modules.router.address=127.0.0.1", "modules.router.port=0"], EdgeCoreSettings = s_edgeSettings,
        });
        await edge.KubectlAsync("apply -f -", await File.ReadAllTextAsync(Source("docs/examples/router/endpoints.yaml")));
        foreach (var (name, peer) in new[] { ("good", good), ("bad", bad) })
        {
            await edge.KubectlAsync("apply -f -", $$"""
                {"apiVersion": "rules.kubeedge.io/v1", "kind": "Rule", "metadata": {"name": "{{name}}", "namespace": "default"},
                 "spec": {"source": "edge-mqtt", "sourceResource": {"topic": "sensors", "node_name": "edge-1"}, "target": "cloud-rest", "targetResource": {"resource": "http://127.0.0.1:{{peer.Port}}/"} } }
                """);
        }

        var mqtt = (int)JsonNode.Parse(await File.ReadAllTextAsync(PortsOf(edge))).Number(0, "mqtt");
        await edge.WaitForAsync("both Rules take messages", async () =>
        {
            await PublishAsync("probe");
            return good.Requests.Count > 0 && bad.Requests.Count > 0;
        }, s_long);

        bad.Answer = _ => (503, "");
        for (var i = 0; i < 5; i++)
            await PublishAsync($"kept {i}");
        await edge.WaitForAsync("the edge has sent them again", () => Task.FromResult(Of(bad, "kept").GroupBy(request => request.Body).Count(one => one.Count() > 3) == 5), s_long); // three tries each time
        mqtt = await KillAndRestartEdgeCoreAsync(edge);
        var before = Of(bad, "kept").Count;
        await edge.WaitForAsync("the edge has sent them after its restart", () => Task.FromResult(Of(bad, "kept").Count > before), s_long);
        bad.Answer = _ => (200, "");

        // What was answered in the last second is on its disk still.
        for (var i = 0; i < 10; i++)
            await PublishAsync($"answered {i}");
        await edge.WaitForAsync("they are in the cloud", () => Task.FromResult(Of(bad, "answered 9").Count > 0), s_long);
        mqtt = await KillAndRestartEdgeCoreAsync(edge);
        // Behind all that it has on its disk.
        await PublishAsync("last");
        await edge.WaitForAsync("the last one is there", () => Task.FromResult(Of(good, "last").Count > 0 && Of(bad, "last").Count > 0), s_long);

        foreach (var body in Enumerable.Range(0, 5).Select(i => $"kept {i}"))
        {
            Assert.Single(Of(good, body));
            Assert.Single(Of(good, body).Concat(Of(bad, body)).Select(request => request.Headers["X-Edge-Message-Id"]).Distinct());
        }

        foreach (var body in Enumerable.Range(0, 10).Select(i => $"answered {i}"))
            Assert.Equal((1, 1), (Of(good, body).Count, Of(bad, body).Count));

        async Task PublishAsync(string payload)
        {
            var published = await ShellAsync(edge, mqtt, 0, $"mosquitto_pub -p $MQTT_PORT -q 1 -t default/sensors -m '{payload}'");
            Assert.True(published.ExitCode == 0, published.Error);
        }

        static List<PeerRequest> Of(HttpPeer peer, string start) => [.. peer.Requests.Where(request => request.Body.StartsWith(start, StringComparison.Ordinal))];
    }

    [SkippableFact]
    public async Task NodeGroup_and_EdgeApplication_of_the_page_are_kept()
    {
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions());
        foreach (var line in ShellLines(Source("docs/nodegroups.md")))
        {
            var done = new ToolResult(1, "", "");
            // What is asked for comes about in its own time.
            await edge.WaitForAsync(line, async () => (done = await ShellAsync(edge, 0, 0, $"cd '{Executables.SourceTree}'; {line}")) is { ExitCode: 0, Output.Length: > 0 } && !done.Error.Contains("No resources", StringComparison.Ordinal), s_long);
        }

        await edge.WaitForAsync("the node is of the group", async () => (await edge.KubectlAsync("get node edge-1 -o jsonpath={.metadata.labels}")).Contains("\"apps.kubeedge.io/belonging-to\":\"hangzhou\"", StringComparison.Ordinal), s_long);
        await edge.WaitForAsync("the status", async () => (await edge.KubectlAsync("get ng hangzhou -o jsonpath={.status.nodeStatuses[0].selectionStatus}")) == "Succeeded", s_long);
        await edge.WaitForAsync("the Service", async () => (await edge.KubectlAsync("get service --ignore-not-found web -o jsonpath={.metadata.annotations}")).Contains("range-nodegroup", StringComparison.Ordinal), s_long);

        await edge.KubectlAsync("delete eapp web");
        await edge.KubectlAsync("delete ng hangzhou --timeout=60s");

        Assert.DoesNotContain("belonging-to", await edge.KubectlAsync("get node edge-1 -o jsonpath={.metadata.labels}"), StringComparison.Ordinal);
        await edge.WaitForAsync("what it made goes", async () => (await edge.KubectlAsync("get configmap,service --ignore-not-found web-page web -o name", "")).Length == 0 || !(await edge.KubectlAsync("get configmap -o name")).Contains("web-page", StringComparison.Ordinal), s_long);
    }

    private static string PortsOf(TestEdge edge) => Path.Combine(edge.Local.Nodes[0].DataDirectory, "edgecore.ports.json");

    /// <summary>Returns the broker's port once it is back.</summary>
    private static async Task<int> KillAndRestartEdgeCoreAsync(TestEdge edge)
    {
        await LocalEdge.KillEdgeCoreAsync(edge.Local.Nodes[0]);
        File.Delete(PortsOf(edge));
        edge.Local.RestartEdgeCore(edge.Local.Nodes[0]);
        var mqtt = 0;
        await edge.WaitForAsync("the broker is back", async () =>
        {
            mqtt = File.Exists(PortsOf(edge)) ? (int)JsonNode.Parse(await File.ReadAllTextAsync(PortsOf(edge))).Number(0, "mqtt") : 0;
            return mqtt > 0;
        }, s_long);
        return mqtt;
    }

    private static async Task<ToolResult> ShellAsync(TestEdge edge, int mqtt, int bus, string script)
    {
        var router = 0;
        var file = Path.Combine(Path.GetDirectoryName(edge.Local.Kubeconfig)!, "cloudcore.ports.json");
        if (File.Exists(file))
            router = (int)JsonNode.Parse(await File.ReadAllTextAsync(file)).Number(0, "router");
        return await Tool.TryRunAsync(
            "sh", ["-c", $"cd '{Path.GetDirectoryName(edge.Local.Nodes[0].DataDirectory)}'; {script}"],
            new ToolOptions(TimeProvider.System)
            {
                Deadline = s_long,
                Environment = new Dictionary<string, string>
                {
                    ["KUBECONFIG"] = edge.Local.Kubeconfig, ["ROUTER"] = $"https://127.0.0.1:{router}", ["ENROL"] = $"https://127.0.0.1:{edge.Local.Ports.Https}", ["MQTT_PORT"] = $"{mqtt}", ["BUS_PORT"] = $"{bus}",
                },
            },
            CancellationToken.None);
    }

    private static string Source(string path) => Path.Combine(Executables.SourceTree!, path);

    private static List<string> ShellLines(string path)
    {
        var lines = new List<string>();
        var inside = false;
        foreach (var line in File.ReadLines(path))
        {
            if (line.StartsWith("```", StringComparison.Ordinal))
                inside = !inside && line.StartsWith("```sh", StringComparison.Ordinal);
            else if (inside)
                lines.Add(line.Trim());
        }

        return lines;
    }
}
