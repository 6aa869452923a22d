using System.Text.Json.Nodes;
using Edge.Core.EdgeDns;
using Edge.Core.EdgeDns.Global;
using Edge.Core.MetaManager;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;
using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Hosts of GlobalServices answered from here: this node, its group, then as the cloud would.</summary>
[Trait("Category", "Dns")]
public sealed class GlobalServiceCatalogTests
{
    private readonly GlobalServiceCatalog _catalog = new("n1");

    [Fact]
    public void An_instance_here_comes_before_the_groups_and_these_before_all_others()
    {
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        Put("{}", "n1 hall 192.0.2.1 Up", "n2 hall 192.0.2.2 Up", "n3 hall 192.0.2.3 Up", "n4 far 192.0.2.4 Up");
        Assert.Equal("192.0.2.1", Ask());
        Put("{}", "n1 hall 192.0.2.1 Down", "n2 hall 192.0.2.2 Up", "n3 hall 192.0.2.3 Down", "n4 far 192.0.2.4 Up");
        Assert.Equal("192.0.2.2", Ask());
        Put("{}", "n1 hall 192.0.2.1 Down", "n2 hall 192.0.2.2 Down", "n3 hall 192.0.2.3 Drained", "n4 far 192.0.2.4 Up");
        Assert.Equal("192.0.2.4", Ask());
        // All ill: fail open, among all but the drained.
        Put("""{"policy":{"type":"multivalue"}}""", "n1 hall 192.0.2.1 Down", "n3 hall 192.0.2.3 Drained", "n4 far 192.0.2.4 Down");
        Assert.Equal("192.0.2.1 192.0.2.4", Ask());
        Put("""{"minimumHealthyPercent":0}""", "n1 hall 192.0.2.1 Down", "n4 far 192.0.2.4 Down");
        Assert.Equal("", Ask());
    }

    [Fact]
    public void On_a_node_of_no_group_no_group_is_near()
    {
        _catalog.Take(DnsObjects.Node("n1"));
        Put("""{"policy":{"type":"failover"}}""", "n2 - 192.0.2.2 Up", "n3 - 192.0.2.3 Up");
        Assert.Equal("192.0.2.2", Ask());
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        Put("""{"policy":{"type":"failover"}}""", "n2 - 192.0.2.2 Up", "n3 hall 192.0.2.3 Up");
        Assert.Equal("192.0.2.3", Ask());
    }

    [Fact]
    public void That_the_cloud_lost_this_nodes_session_is_no_reason_not_to_use_what_is_here()
    {
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        Put("{}", "n1 hall 192.0.2.1 NodeGone", "n2 hall 192.0.2.2 NodeGone", "n4 far 192.0.2.4 Up");
        Assert.Equal("192.0.2.1", Ask());
    }

    [Fact]
    public void Others_are_chosen_by_the_services_policy_for_where_the_node_is()
    {
        _catalog.Take(DnsObjects.Put("node", "null", "n1", """{"metadata":{"name":"n1","annotations":{"gslb.edge.io/latitude":"35.7","gslb.edge.io/longitude":"139.7"} } }"""));
        Put("{}", """fra - 192.0.2.1 Up {"latitude":50.1,"longitude":8.7}""", """tyo - 192.0.2.2 Up {"latitude":35.6,"longitude":139.6}""");
        Assert.Equal("192.0.2.2", Ask());
        Put("{}", """fra - 192.0.2.1 Up {"latitude":50.1,"longitude":8.7}""", """tyo - 192.0.2.2 Down {"latitude":35.6,"longitude":139.6}""");
        Assert.Equal("192.0.2.1", Ask());
    }

    [Fact]
    public void A_client_that_has_no_ipv6_address_here_is_not_sent_far_away_for_one()
    {
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        Put("{}", "n1 hall 192.0.2.1 Up", "n4 far 192.0.2.4,2001:db8::4 Up");
        Assert.Equal("192.0.2.1", Ask());
        Assert.Equal("", Ask(RecordType.AAAA));
        var answer = _catalog.Answer(new DnsQuestion(DnsName.Parse("SHOP.edge.example"), RecordType.AAAA))!;
        Assert.Equal(RecordType.SOA, Assert.Single(answer.Authority).Type); // RFC 2308: absence goes with it
        Assert.Null(_catalog.Answer(new DnsQuestion(DnsName.Parse("shop.edge.example"), RecordType.TXT)));
        Assert.Null(_catalog.Answer(new DnsQuestion(DnsName.Parse("other.edge.example"), RecordType.A)));
    }

    [Fact]
    public void Pods_here_are_answered_with_their_own_addresses_where_the_port_is_the_same()
    {
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        const string pods = """{"endpoints":[{"name":"web","pods":{"matchLabels":{"app":"web"} },"port":8080}]}""";
        Put(pods, "n1 hall 192.0.2.1 Up", "n2 hall 192.0.2.2 Up");
        Assert.Equal("192.0.2.1", Ask()); // no Edged here: the cloud's word
        _catalog.SetPods([Pod("web-1", "10.88.0.5", true), Pod("web-2", "10.88.0.6", false), Pod("db", "10.88.0.7", true, app: "db")]);
        Assert.Equal("10.88.0.5", Ask());
        // Another port than the node's: only the node's address leads there.
        _catalog.SetPods([Pod("web-1", "10.88.0.5", true, hostPort: 8080, ownPort: 80)]);
        Assert.Equal("192.0.2.1", Ask());
        // Not ready any more, whatever the cloud said last.
        _catalog.SetPods([Pod("web-1", "10.88.0.5", false)]);
        Assert.Equal("192.0.2.2", Ask());
        // One that came while the cloud was away.
        Put(pods, "n2 hall 192.0.2.2 Up");
        _catalog.SetPods([Pod("web-9", "10.88.0.9", true)]);
        Assert.Equal("10.88.0.9", Ask());
    }

    [Fact]
    public void Only_hosts_that_the_cloud_serves_are_answered_and_what_cannot_be_read_leaves_the_last_good_state()
    {
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        _catalog.Take(Service("""{"hosts":["www.bank.example"]}""", ["n1 hall 192.0.2.66 Up"], hosts: []));
        Assert.Null(_catalog.Answer(new DnsQuestion(DnsName.Parse("www.bank.example"), RecordType.A)));
        Put("{}", "n1 hall 192.0.2.1 Up");
        Put("""{"policy":{"type":"cheapest"}}""", "n1 hall 192.0.2.2 Up");
        Assert.Equal("192.0.2.1", Ask());
        _catalog.Take(DnsObjects.Put("globalservice", "default", "shop", "{"));
        Assert.Equal("192.0.2.1", Ask());
        _catalog.Take(DnsObjects.Gone("globalservice", "default", "shop"));
        Assert.Equal("none", Ask());
        Assert.Equal(0, _catalog.Hosts);
    }

    [Fact]
    public void Checks_from_here_are_asked_for_endpoints_on_this_node_alone_and_decide_about_them()
    {
        _catalog.Take(DnsObjects.Node("n1", "hall"));
        Put("""{"healthCheck":{"type":"http","from":"edge"}}""", "n1 hall 192.0.2.1 Up", "n2 hall 192.0.2.2 Up");
        var target = Assert.Single(_catalog.Targets);
        Assert.Equal(("default/shop/web.n1", 8080, "n1", false, "192.0.2.1"), (target.Endpoint, target.Port, target.Node, target.Check.FromEdge, Network.ToIPAddress(target.Address).ToString()));
        _catalog.SetChecked(new Dictionary<string, EndpointHealth> { ["default/shop/web.n1"] = new(false, "connection refused") });
        Assert.Equal("192.0.2.2", Ask());
        // What the cloud made of an older report is behind what is known here.
        _catalog.SetChecked(new Dictionary<string, EndpointHealth> { ["default/shop/web.n1"] = EndpointHealth.Up });
        Put("""{"healthCheck":{"type":"http","from":"edge"}}""", "n1 hall 192.0.2.1 Down", "n2 hall 192.0.2.2 Up");
        Assert.Equal("192.0.2.1", Ask());
        Put("""{"healthCheck":{"type":"http","from":"cloud"}}""", "n1 hall 192.0.2.1 Up");
        Assert.Empty(_catalog.Targets);
    }

    [Fact]
    public void Ways_are_measured_for_services_that_go_by_latency_where_the_node_has_a_place_and_decide_here()
    {
        const string latency = """{"policy":{"type":"latency"}}""";
        string[] endpoints = ["n2 - 192.0.2.2 Up", "n3 - 192.0.2.3 Up"];
        _catalog.Take(DnsObjects.Node("n1"));
        Put(latency, endpoints);
        Assert.Empty(_catalog.Measured); // nobody could be told from where
        _catalog.Take(DnsObjects.Put("node", "null", "n1", """{"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"muc-1"} } }"""));
        Assert.Equal(["default/shop web.n2 192.0.2.2 8080", "default/shop web.n3 192.0.2.3 8080"], _catalog.Measured.Select(one => $"{one.Service} {one.Endpoint} {Network.ToIPAddress(one.Address)} {one.Port}"));
        foreach (var (near, wanted) in new[] { ("web.n3", "192.0.2.3"), ("web.n2", "192.0.2.2") })
        {
            _catalog.SetRoundTrips("default/shop", new Dictionary<string, double> { ["web.n2"] = 50, ["web.n3"] = 50, [near] = 3 });
            Assert.Equal(wanted, Ask());
        }

        // What the user gives stands alone.
        Put("""{"policy":{"type":"latency"},"latencies":[{"from":"muc-1","to":"web.n3","milliseconds":7}]}""", endpoints);
        Assert.Equal(("192.0.2.3", 0), (Ask(), _catalog.Measured.Count));
        Put("{}", endpoints);
        Assert.Empty(_catalog.Measured);
    }

    internal static MetaChange Service(string spec, string[] endpoints, string[]? hosts = null)
    {
        var wanted = JsonNode.Parse(spec)!.AsObject();
        wanted["hosts"] ??= new JsonArray("shop.edge.example");
        wanted["endpoints"] ??= new JsonArray(new JsonObject { ["name"] = "web", ["nodeGroup"] = new JsonObject { ["name"] = "hall" }, ["port"] = 8080 });
        var told = new JsonArray([.. endpoints.Select(text =>
        {
            var words = text.Split(' ', 5);
            var one = new JsonObject { ["name"] = $"web.{words[0]}", ["node"] = words[0], ["addresses"] = words[2], ["state"] = words[3], ["reason"] = words[3], ["port"] = 8080 };
            if (words[1] != "-")
                one["nodeGroup"] = words[1];
            if (words.Length > 4)
                one["location"] = JsonNode.Parse(words[4]);
            return (JsonNode)one;
        })]);
        var obj = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "shop", ["namespace"] = "default" },
            ["spec"] = wanted,
            ["resolved"] = new JsonObject { ["hosts"] = new JsonArray([.. (hosts ?? ["shop.edge.example"]).Select(host => (JsonNode)host)]), ["endpoints"] = told },
        };
        return DnsObjects.Put("globalservice", "default", "shop", obj.ToJsonString());
    }

    private static LocalPod Pod(string name, string address, bool isReady, string app = "web", int hostPort = 0, int ownPort = 0)
    {
        Assert.True(Network.TryParseAddress(address, out var number, out _));
        return new LocalPod("default", name, new Dictionary<string, string> { ["app"] = app }, [number], isReady, hostPort > 0 ? new Dictionary<int, int> { [hostPort] = ownPort } : []);
    }

    private void Put(string spec, params string[] endpoints) => _catalog.Take(Service(spec, endpoints));

    private string Ask(RecordType type = RecordType.A)
        => _catalog.Answer(new DnsQuestion(DnsName.Parse("Shop.edge.example"), type)) is not { } answer ? "none"
            : string.Join(' ', answer.Answers.Select(row => new System.Net.IPAddress(row.Data.Span).ToString()).Order(StringComparer.Ordinal));
}
