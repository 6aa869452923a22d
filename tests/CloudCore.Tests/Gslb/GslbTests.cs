using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Gslb.Module;
using Edge.Cloud.Host;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Edge.Testing.Dns;
using Xunit.Abstractions;

namespace Edge.Cloud.Tests.Gslb;

/// <summary>cloudcore with modules.gslb over its own API: manifests by kubectl, questions by dig, sessions of edges over the real hub.</summary>
[Trait("Category", "Dns")]
public sealed class GslbTests(ITestOutputHelper output) : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private static readonly CloudCoreOptions s_options = WholeCloud.Options with
    {
        Gslb = new GslbOptions { IsEnabled = true, Address = "127.0.0.1", Port = 0, EcsResolvers = ["127.0.0.0/8"], Nsid = "test-1" },
    };

    private static readonly string s_examples = Path.Combine(Executables.SourceTree!, "docs/examples/gslb");

    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [SkippableFact]
    public async Task The_examples_answer_each_client_from_its_region_with_the_scope_of_its_network()
    {
        Requires.Kubectl();
        Requires.Dig();
        await using var cloud = await WholeCloud.StartAsync(_data.Path, s_options);
        await KubectlAsync(cloud, "apply", "-f", s_examples);
        await cloud.UntilAsync(Kind("globalservices", "GlobalService", true), "shop is ready", one => one.Name() == "shop" && Condition(one, "Ready") == "True");
        await AnswersAsync(cloud, "192.0.2.1", "shop.edge.example", "A", "+subnet=198.51.100.7/32");
        await AnswersAsync(cloud, "192.0.2.3", "shop.edge.example", "A", "+subnet=198.51.100.200/32");
        await AnswersAsync(cloud, "192.0.2.4", "SHOP.edge.example", "A", "+subnet=203.0.113.0/24");
        await AnswersAsync(cloud, "2001:db8::1", "shop.edge.example", "AAAA", "+subnet=2001:db8:100::/48");
        await AnswersAsync(cloud, "shop.edge.example. 192.0.2.4", "www.edge.example", "A", "+subnet=203.0.113.0/24", "+tcp");
        await AnswersAsync(cloud, "10 mail.edge.example.", "edge.example", "MX");
        await AnswersAsync(cloud, "192.0.2.80", "any.thing.old.edge.example", "A");

        var full = await DigAsync(cloud, "shop.edge.example", "A", "+subnet=198.51.100.7/32", "+nsid", "+norecurse");
        Assert.Contains("CLIENT-SUBNET: 198.51.100.7/32/25", full, StringComparison.Ordinal);
        Assert.Contains("test-1", full, StringComparison.Ordinal);
        Assert.Contains(" aa", full, StringComparison.Ordinal);
        Assert.Contains("\t20\tIN\tA\t192.0.2.1", full.Replace(" ", "\t", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("status: NXDOMAIN", await DigAsync(cloud, "nothing.edge.example", "A"), StringComparison.Ordinal);
        Assert.Contains("status: REFUSED", await DigAsync(cloud, "example.org", "A"), StringComparison.Ordinal);

        var shop = await cloud.GetAsync(Kind("globalservices", "GlobalService", true), "shop");
        Assert.Equal("3 of 4 endpoints are eligible", shop.Items("status", "conditions").Single(one => one.Text("type") == "Ready").Text("message"));
        Assert.Contains(shop.Items("status", "endpoints"), one => one.Text("name") == "fra-2" && one.Text("state") == "Drained");
    }

    [SkippableFact]
    public async Task A_node_whose_session_ends_leaves_the_answers_though_nothing_checks_it_and_its_return_brings_it_back()
    {
        Requires.Kubectl();
        Requires.Dig();
        await using var cloud = await WholeCloud.StartAsync(_data.Path, s_options);
        await KubectlAsync(cloud, "apply", "-f", s_examples);
        await NodeAsync(cloud, "edge-1", "hall", "192.0.2.101");
        await NodeAsync(cloud, "edge-2", "hall", "192.0.2.102");
        await NodeAsync(cloud, "edge-3", "spare", "192.0.2.103");
        var certificate = await cloud.EnrolAsync("edge-1");
        await using var second = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-2", await cloud.EnrolAsync("edge-2"));
        await using var third = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-3", await cloud.EnrolAsync("edge-3"));
        var first = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate);
        await AnswersAsync(cloud, "192.0.2.101 192.0.2.102", "cameras.edge.example", "A");

        // Unplugged: the socket is gone without a word of the edge's.
        var gone = Stopwatch.GetTimestamp();
        await first.DisposeAsync();
        await AnswersAsync(cloud, "192.0.2.102", "cameras.edge.example", "A");
        // Two seconds are the promise; on a busy machine dig alone may take that. Without the hub's word it would be the 40 s after which a Node is called unknown.
        var took = Stopwatch.GetElapsedTime(gone);
        output.WriteLine($"out of the answers {took.TotalMilliseconds:0} ms after its socket was closed, dig's start included");
        Assert.InRange(took.TotalSeconds, 0, 20);
        await second.DisposeAsync();
        await AnswersAsync(cloud, "192.0.2.103", "cameras.edge.example", "A");

        await using var again = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate);
        await AnswersAsync(cloud, "192.0.2.101", "cameras.edge.example", "A");
        Assert.Contains(cloud.Log.Lines, line => line.Contains("endpoint default/cameras/hall.edge-1 is NodeGone the session of node edge-1 ended", StringComparison.Ordinal));
        using var http = new HttpClient();
        Assert.Contains("edge_gslb_health_targets 7", await http.GetStringAsync($"http://127.0.0.1:{cloud.Ports.Metrics}/metrics"), StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task What_a_node_measures_decides_for_clients_of_its_region()
    {
        Requires.Kubectl();
        Requires.Dig();
        await using var cloud = await WholeCloud.StartAsync(_data.Path, s_options);
        await KubectlAsync(cloud, "apply", "-f", s_examples);
        await cloud.CreateAsync(ResourceKind.Node, """{"metadata": {"name": "edge-1", "labels": {"node-role.kubernetes.io/edge": "", "topology.kubernetes.io/region": "measured"} } }""");
        var manifest = Path.Combine(_data.Path, "fast.yaml");
        await File.WriteAllTextAsync(manifest, """
            apiVersion: gslb.edge.io/v1alpha1
            kind: LocationMap
            metadata: {name: measured}
            spec: {locations: [{region: measured, networks: [192.88.99.0/24]}]}
            ---
            apiVersion: gslb.edge.io/v1alpha1
            kind: GlobalService
            metadata: {name: fast, namespace: default}
            spec:
              hosts: [fast.edge.example]
              policy: {type: latency}
              endpoints: [{name: a, addresses: [192.0.2.201], port: 80}, {name: b, addresses: [192.0.2.202], port: 80}]
            """);
        await KubectlAsync(cloud, "apply", "-f", manifest);
        await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", await cloud.EnrolAsync("edge-1"));
        foreach (var (a, b, wanted) in new[] { (5, 90, "192.0.2.201"), (95, 90, "192.0.2.202") })
        {
            await edge.SendAsync("edgedns", "resource", "update", "default/roundtrips/fast", System.Text.Json.Nodes.JsonNode.Parse($$$"""{"service":"default/fast","milliseconds":{"a":{{{a}}},"b":{{{b}}}} }"""));
            await AnswersAsync(cloud, wanted, "fast.edge.example", "A", "+subnet=192.88.99.0/24");
        }

        // edgectl dns explain reads them there.
        await cloud.UntilAsync(Kind("globalservices", "GlobalService", true), "the figures on the status", one => one.Name() == "fast"
            && string.Join(' ', one.Items("status", "latencies").Select(way => $"{way.Text("from")}-{way.Text("to")}-{way["milliseconds"]}")) == "measured-a-95 measured-b-90");
    }

    [SkippableFact]
    public async Task A_secondary_is_told_of_a_change_and_transfers_the_zone()
    {
        Requires.Dig();
        Skip.If(Tool.OnPath("knotd") is null, "knotd is not installed (Debian: knot)");
        await using var cloud = await WholeCloud.StartAsync(_data.Path, s_options);
        // It would come by itself after an hour.
        await cloud.CreateAsync(Kind("zones", "Zone", false), """
            {"metadata": {"name": "told"}, "spec": {"apex": "told.example", "nameServers": ["ns1"], "soa": {"refresh": 3600}, "transfer": {"allow": ["127.0.0.0/8"]}, "records": [{"name": "ns1", "type": "A", "data": ["192.0.2.53"]}]}}
            """);
        await AnswersAsync(cloud, "192.0.2.53", "ns1.told.example", "A");
        await using var secondary = await DnsPeer.StartSecondaryAsync("told.example", cloud.DnsPort);
        await AnswersAsync(secondary.Port, "192.0.2.53", "ns1.told.example", "A");
        await cloud.MergeAsync(Kind("zones", "Zone", false), "told", $$$"""
            {"spec": {"notify": ["127.0.0.1:{{{secondary.Port}}}"], "records": [{"name": "ns1", "type": "A", "data": ["192.0.2.53"]}, {"name": "new", "type": "A", "data": ["192.0.2.54"]}]}}
            """);
        await AnswersAsync(secondary.Port, "192.0.2.54", "new.told.example", "A");
    }

    [SkippableFact]
    public async Task What_cannot_be_used_is_told_on_the_object_and_the_last_good_state_serves()
    {
        Requires.Kubectl();
        Requires.Dig();
        await using var cloud = await WholeCloud.StartAsync(_data.Path, s_options);
        await KubectlAsync(cloud, "apply", "-f", s_examples);
        await AnswersAsync(cloud, "192.0.2.25", "mail.edge.example", "A");
        var (zones, services, maps) = (Kind("zones", "Zone", false), Kind("globalservices", "GlobalService", true), Kind("locationmaps", "LocationMap", false));

        // A CNAME at the apex.
        await cloud.MergeAsync(zones, "edge-example", """{"spec": {"records": [{"type": "CNAME", "data": ["elsewhere.example."]}]}}""");
        await ConditionAsync(cloud, zones, "edge-example", "Accepted", "False", "CNAME");
        await AnswersAsync(cloud, "192.0.2.25", "mail.edge.example", "A");

        // Another zone with the same apex.
        await cloud.CreateAsync(zones, """{"metadata": {"name": "twin"}, "spec": {"apex": "Edge.Example.", "nameServers": ["ns1.elsewhere.example."]}}""");
        await ConditionAsync(cloud, zones, "twin", "Accepted", "False", "the Zone edge-example has the apex edge.example already");

        // An unknown policy.
        await cloud.MergeAsync(services, "shop", """{"spec": {"policy": {"type": "cheapest", "by": null, "then": null}}}""");
        await ConditionAsync(cloud, services, "shop", "Accepted", "False", "spec.policy.type: is 'cheapest', must be nearest, latency, weighted, failover, roundRobin, multivalue");
        await AnswersAsync(cloud, "192.0.2.4", "shop.edge.example", "A", "+subnet=203.0.113.0/24");

        // An .mmdb file that is none.
        await File.WriteAllTextAsync(_data.File("bad.mmdb"), "not a database");
        await cloud.CreateAsync(maps, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "world" }, ["spec"] = new JsonObject { ["mmdb"] = new JsonObject { ["path"] = _data.File("bad.mmdb") } } });
        await ConditionAsync(cloud, maps, "world", "Accepted", "False", "it is not an .mmdb file, or it is cut off");

        // Mended.
        await cloud.MergeAsync(services, "shop", """{"spec": {"policy": {"type": "failover"}}}""");
        await ConditionAsync(cloud, services, "shop", "Accepted", "True", "");
        await AnswersAsync(cloud, "192.0.2.1", "shop.edge.example", "A", "+subnet=203.0.113.0/24");
    }

    [SkippableFact]
    public async Task It_runs_alone_beside_a_cluster()
    {
        Requires.Dig();
        await using var cloud = await WholeCloud.StartAsync(_data.Path);
        var options = CloudCoreProcess.Restrict(s_options with { ApiServer = s_options.ApiServer with { IsEnabled = false }, Kubeconfig = cloud.Ports.Kubeconfig, Gslb = s_options.Gslb with { IsEnabled = false } }, "gslb")!;
        using var loggers = new Microsoft.Extensions.Logging.LoggerFactory();
        await using var alone = await CloudCoreProcess.StartAsync(options, _data.Path, TimeProvider.System, new Random(2), loggers, CancellationToken.None);
        Assert.Equal((0, 0, 0), (alone.Ports.WebSocket, alone.Ports.Https, alone.Ports.Metrics));
        foreach (var file in (string[])["zone.yaml", "shop.yaml", "cameras.yaml"])
        {
            var obj = Manifests.Parse(await File.ReadAllTextAsync(Path.Combine(s_examples, file))).Single();
            await cloud.CreateAsync(obj.Kind() == "Zone" ? Kind("zones", "Zone", false) : Kind("globalservices", "GlobalService", true), obj);
        }

        // Without a hub here, the Ready condition says whether a node is there.
        await NodeAsync(cloud, "edge-1", "hall", "192.0.2.101");
        await NodeAsync(cloud, "edge-3", "spare", "192.0.2.103");
        await AnswersAsync(alone.DnsPort, "192.0.2.101", "cameras.edge.example", "A");
        await ReadyAsync(cloud, "edge-1", "192.0.2.101", "False");
        await AnswersAsync(alone.DnsPort, "192.0.2.103", "cameras.edge.example", "A");
        Assert.Null(CloudCoreProcess.Restrict(options, "router"));
    }

    [Fact]
    public async Task Of_two_one_writes_statuses_and_the_other_goes_on_when_it_ends()
    {
        await using var cloud = await WholeCloud.StartAsync(_data.Path);
        var options = CloudCoreProcess.Restrict(s_options with { ApiServer = s_options.ApiServer with { IsEnabled = false }, Kubeconfig = cloud.Ports.Kubeconfig }, "gslb")!;
        using var loggers = new Microsoft.Extensions.Logging.LoggerFactory();
        var first = await CloudCoreProcess.StartAsync(options, _data.Path, TimeProvider.System, new Random(2), loggers, CancellationToken.None);
        var zones = Kind("zones", "Zone", false);
        var zone = Manifests.Parse(await File.ReadAllTextAsync(Path.Combine(s_examples, "zone.yaml"))).Single();
        await cloud.CreateAsync(zones, zone);
        await SeenAsync(1);
        var writer = await HolderAsync();

        await using var second = await CloudCoreProcess.StartAsync(options, _data.Path, TimeProvider.System, new Random(3), loggers, CancellationToken.None);
        await PatchAsync(61);
        await SeenAsync(2);
        Assert.Equal(writer, await HolderAsync());

        await first.DisposeAsync();
        await PatchAsync(62);
        await SeenAsync(3);
        Assert.NotEqual(writer, await HolderAsync());

        Task PatchAsync(int minimum)
            => cloud.Kube.PatchAsync(zones, null, zone.Name(), PatchKind.Merge, System.Text.Encoding.UTF8.GetBytes($$$"""{"spec":{"soa":{"minimum":{{{minimum}}} } } }"""), null, CancellationToken.None);

        Task SeenAsync(int generation)
            => cloud.UntilAsync(zones, $"the status of generation {generation}", one => one.Name() == zone.Name() && one.Number(0, "status", "observedGeneration") == generation);

        async Task<string> HolderAsync() => (await cloud.Kube.GetAsync(ResourceKind.Lease, "kubeedge", "cloudcore-gslb", CancellationToken.None)).Text("spec", "holderIdentity");
    }

    private static ResourceKind Kind(string plural, string kind, bool isNamespaced) => new("gslb.edge.io", "v1alpha1", plural, kind, isNamespaced);

    private static string Condition(JsonObject obj, string type) => obj.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == type).Text("status");

    private static Task ConditionAsync(WholeCloud cloud, ResourceKind kind, string name, string type, string status, string message)
        => cloud.UntilAsync(kind, $"{name} {type}={status} with '{message}'", one => one.Name() == name && one.Items("status", "conditions").Any(
            condition => condition.Text("type") == type && condition.Text("status") == status && condition.Text("message").Contains(message, StringComparison.Ordinal)));

    private static async Task NodeAsync(WholeCloud cloud, string name, string group, string address)
    {
        await cloud.CreateAsync(ResourceKind.Node, $$$"""{"metadata": {"name": "{{{name}}}", "labels": {"node-role.kubernetes.io/edge": "", "apps.kubeedge.io/belonging-to": "{{{group}}}"} } }""");
        await ReadyAsync(cloud, name, address, "True");
    }

    private static Task ReadyAsync(WholeCloud cloud, string name, string address, string ready)
        => cloud.Kube.PatchAsync(
            ResourceKind.Node, null, name, PatchKind.Merge,
            System.Text.Encoding.UTF8.GetBytes($$$"""
                {"status": {"addresses": [{"type": "ExternalIP", "address": "{{{address}}}"}],
                 "conditions": [{"type": "Ready", "status": "{{{ready}}}", "lastHeartbeatTime": "{{{KubeObject.Time(TimeProvider.System.GetUtcNow())}}}", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
                """),
            "status", CancellationToken.None);

    private static async Task KubectlAsync(WholeCloud cloud, params string[] arguments)
    {
        var result = await Tool.TryRunAsync("kubectl", ["--kubeconfig", cloud.Ports.Kubeconfig, .. arguments], new ToolOptions(TimeProvider.System), CancellationToken.None);
        Assert.True(result.ExitCode == 0, result.Error);
    }

    private static Task AnswersAsync(WholeCloud cloud, string wanted, string name, string type, params string[] options) => AnswersAsync(cloud.DnsPort, wanted, name, type, options);

    // Asks until the answer, its lines in order, is as wanted.
    private static async Task AnswersAsync(int port, string wanted, string name, string type, params string[] options)
    {
        var last = "";
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < s_patience;)
        {
            var output = await DigAsync(port, name, type, [.. options, "+short"]);
            last = string.Join(' ', output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal).OrderBy(line => !line.StartsWith("shop.", StringComparison.Ordinal)));
            if (last == wanted)
                return;
        }

        Assert.Fail($"{name} {type} {string.Join(' ', options)}: answered '{last}', wanted '{wanted}'");
    }

    private static Task<string> DigAsync(WholeCloud cloud, string name, string type, params string[] options) => DigAsync(cloud.DnsPort, name, type, options);

    private static Task<string> DigAsync(int port, string name, string type, params string[] options)
        => Tool.RunAsync(
            "dig", ["@127.0.0.1", "-p", port.ToString(CultureInfo.InvariantCulture), name, type, "+norecurse", .. options], new ToolOptions(TimeProvider.System), CancellationToken.None);
}
