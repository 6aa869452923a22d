using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.Cloud.Gslb.Module;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;
using Edge.Kubernetes;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class GslbBuilderTests
{
    private const string Zone = "{metadata: {name: z, uid: z, generation: 1}, spec: {apex: example.com, nameServers: [ns1], records: [{name: ns1, type: A, data: [192.0.2.53]}, {name: taken, type: A, data: [192.0.2.9]}, {name: Away, type: NS, data: [ns.example.net.]}]}}";

    private readonly GslbBuilder _builder = new();

    public GslbBuilderTests() => Put(GslbKinds.Zone, Zone);

    [Fact]
    public void A_host_is_bound_to_its_service_in_the_zone()
    {
        Put(GslbKinds.GlobalService, Service("shop", "Shop.example.com"));
        var snapshot = _builder.Build();
        Assert.Equal(("192.0.2.1", 1), (Ask(snapshot, "shop.example.com"), snapshot.Zones.ZoneCount));
        Assert.All(snapshot.Statuses.Values, status => Assert.True(status is { IsAccepted: true, IsReady: true }, status.ToString()));
        Assert.Equal(["Unknown", "Unknown"], Status(snapshot, "GlobalService", "default/shop").Endpoints.Select(one => one.State));
        Assert.Equal(["shop.example.com"], Status(snapshot, "Zone", "z").Hosts);
        // Another host, and nothing else of the zone changed.
        Put(GslbKinds.GlobalService, Service("second", "Second.example.com"));
        Assert.Equal(["second.example.com", "shop.example.com"], Status(_builder.Build(), "Zone", "z").Hosts);
    }

    [Theory]
    [InlineData("shop.example.org", "NoZone", "spec.hosts: no Zone has 'shop.example.org'; make one with its apex, e.g. example.org")]
    [InlineData("taken.example.com", "HostTaken", "spec.hosts: the Zone z has address records of its own for 'taken.example.com'; remove them there, or the host here")]
    [InlineData("away.example.com", "HostTaken", "spec.hosts: the Zone z delegates 'away.example.com' to other servers, so 'away.example.com' is theirs to answer; remove the NS records there, or the host here")]
    [InlineData("deep.away.example.com", "HostTaken", "spec.hosts: the Zone z delegates 'away.example.com' to other servers, so 'deep.away.example.com' is theirs to answer; remove the NS records there, or the host here")]
    [InlineData("first.example.com", "HostTaken", "spec.hosts: 'first.example.com' belongs to the GlobalService default/first already")]
    public void A_host_that_cannot_be_bound_is_told_with_the_fix(string host, string reason, string message)
    {
        Put(GslbKinds.GlobalService, Service("first", "first.example.com"));
        Put(GslbKinds.GlobalService, Service("late", host, "2026-01-02T00:00:00Z"));
        var snapshot = _builder.Build();
        Assert.Equal((true, false, reason, message), Status(snapshot, "GlobalService", "default/late") is var status ? (status.IsAccepted, status.IsReady, status.ReadyReason, status.ReadyMessage) : default);
        Assert.True(Status(snapshot, "GlobalService", "default/first").IsReady);
        Assert.True(Status(snapshot, "Zone", "z") is { IsAccepted: true, IsReady: true }); // the zone has no part in it
    }

    [Fact]
    public void The_last_good_spec_serves_until_the_object_is_mended_and_not_for_another_of_its_name()
    {
        Put(GslbKinds.GlobalService, Service("shop", "shop.example.com"));
        _builder.Build();
        const string Bad = "{metadata: {name: shop, namespace: default, uid: shop, generation: 2}, spec: {hosts: [shop.example.com], policy: {type: cheapest}, endpoints: [{name: b, addresses: [192.0.2.2]}]}}";
        Put(GslbKinds.GlobalService, Bad);
        var snapshot = _builder.Build();
        var status = Status(snapshot, "GlobalService", "default/shop");
        Assert.Equal(("192.0.2.1", false, true, "LastGood", 2L), (Ask(snapshot, "shop.example.com"), status.IsAccepted, status.IsReady, status.ReadyReason, status.Generation));
        Put(GslbKinds.GlobalService, Bad.Replace("uid: shop", "uid: another", StringComparison.Ordinal));
        Assert.Equal("", Ask(_builder.Build(), "shop.example.com"));
        Put(GslbKinds.GlobalService, Bad.Replace("cheapest", "nearest", StringComparison.Ordinal));
        Assert.Equal("192.0.2.2", Ask(_builder.Build(), "shop.example.com"));
    }

    [Fact]
    public void A_zone_that_does_not_compile_serves_as_it_was()
    {
        _builder.Build();
        Put(GslbKinds.Zone, "{metadata: {name: z, uid: z, generation: 2}, spec: {apex: example.com, nameServers: [ns1], records: [{type: CNAME, data: [elsewhere.example.]}]}}");
        var snapshot = _builder.Build();
        var status = Status(snapshot, "Zone", "z");
        Assert.Equal((1, false, "BadCname", true), (snapshot.Zones.ZoneCount, status.IsAccepted, status.Reason, status.IsReady));
    }

    [Fact]
    public void A_file_that_cannot_be_read_any_more_serves_as_it_was_read()
    {
        Put(GslbKinds.LocationMap, "{metadata: {name: m, uid: m}, spec: {mmdb: {path: /world.mmdb}}}");
        Assert.Equal("the file is being read", Status(_builder.Build(), "LocationMap", "m").Message);
        _builder.SetDatabase("/world.mmdb", MaxMindFile.Open(MaxMindWriter.Write([(MaxMindFileTests.Net("192.0.2.0/24"), MaxMindFileTests.City("DE", "HE", 50, 8))])).Locations().Compile(), "");
        Assert.True(Status(_builder.Build(), "LocationMap", "m").IsAccepted);
        _builder.SetDatabase("/world.mmdb", null, "/world.mmdb: it is cut off");
        var snapshot = _builder.Build();
        Assert.Equal(("/world.mmdb: it is cut off", "LastGood"), Status(snapshot, "LocationMap", "m") is var status ? (status.Message, status.ReadyReason) : default);
        Assert.Equal("DE", snapshot.Selector.Locations.Find(World.Client("192.0.2.1/32"), out _)?.Country);
    }

    [Fact]
    public void Health_takes_an_endpoint_out_and_leaves_other_services_as_they_are_compiled()
    {
        Put(GslbKinds.GlobalService, Service("shop", "shop.example.com"));
        Put(GslbKinds.GlobalService, Service("other", "other.example.com"));
        var before = _builder.Build();
        _builder.SetHealth([KeyValuePair.Create("default/shop/a", HealthState.Told(HealthStatus.Down, "connection refused"))]);
        var after = _builder.Build();
        // Another one is there: without it, it would be fail open.
        Assert.Equal(("192.0.2.1", "192.0.2.7"), (Ask(before, "shop.example.com"), Ask(after, "shop.example.com")));
        Assert.Same(before.Selector.Services[before.ServiceOf("other.example.com")], after.Selector.Services[after.ServiceOf("other.example.com")]);
        Assert.Same(before.Zones, after.Zones);
    }

    [Fact]
    public void Round_trips_that_nodes_measured_decide_by_where_the_node_and_the_client_are()
    {
        static System.Text.Json.Nodes.JsonObject Node(string name, string site, string region) => EndpointResolverTests.Object(
            $$"""{metadata: {name: {{name}}, labels: {node-role.kubernetes.io/edge: "", topology.kubernetes.io/zone: {{site}}, topology.kubernetes.io/region: {{region}}} } }""");
        _builder.SetCluster(new ClusterState([Node("n1", "muc-1", "bavaria"), Node("n2", "nue-1", "bavaria"), Node("n3", "ham-1", "hamburg")], [], []));
        Put(GslbKinds.LocationMap, "{metadata: {name: m, uid: m}, spec: {locations: [{region: bavaria, site: aug-1, networks: [198.51.100.0/24]}]}}");
        const string shop = "{metadata: {name: fast, namespace: default, uid: f}, spec: {hosts: [fast.example.com], policy: {type: latency}, endpoints: [{name: a, addresses: [192.0.2.1], weight: 9}, {name: b, addresses: [192.0.2.2]}]LATENCIES} }";
        Put(GslbKinds.GlobalService, shop.Replace("LATENCIES", "", StringComparison.Ordinal));
        void Say(string node, double a, double b) => _builder.SetRoundTrips(node, "default/fast", new Dictionary<string, double> { ["a"] = a, ["b"] = b });

        // The best of the client's region, as nobody measured in its site.
        Say("n1", 40, 30);
        Say("n2", 20, 35);
        Say("n3", 1, 1);
        Assert.Equal("192.0.2.1", Ask(_builder.Build(), "fast.example.com"));
        Say("n2", 45, 35);
        Assert.Equal("192.0.2.2", Ask(_builder.Build(), "fast.example.com"));
        Say("n1", 2, 30);
        Assert.Equal("192.0.2.1", Ask(_builder.Build(), "fast.example.com"));
        // A node that is gone says nothing any more.
        _builder.SetCluster(new ClusterState([Node("n2", "nue-1", "bavaria")], [], []));
        Assert.Equal("192.0.2.2", Ask(_builder.Build(), "fast.example.com"));
        // What the user gives stands alone.
        Put(GslbKinds.GlobalService, shop.Replace("LATENCIES", ", latencies: [{from: bavaria, to: a, milliseconds: 5}]", StringComparison.Ordinal));
        Assert.Equal("192.0.2.1", Ask(_builder.Build(), "fast.example.com"));
    }

    private static string Service(string name, string host, string created = "2026-01-01T00:00:00Z")
        => $$"""
            {metadata: {name: {{name}}, namespace: default, uid: {{name}}, generation: 1, creationTimestamp: "{{created}}"}, spec: {hosts: [{{host}}], policy: {type: failover},
             endpoints: [{name: a, addresses: [192.0.2.1]}{{(name == "shop" ? ", {name: spare, addresses: [192.0.2.7], priority: 1, drain: false}" : "")}}] } }
            """;

    private static ObjectStatus Status(GslbSnapshot snapshot, string kind, string key) => snapshot.Statuses[(kind, key)];

    private static string Ask(GslbSnapshot snapshot, string host)
    {
        var number = snapshot.ServiceOf(host);
        if (number < 0)
            return "";
        var addresses = new UInt128[4];
        var selection = snapshot.Selector.Select(number, false, World.Client("198.51.100.1/32"), addresses);
        return string.Join(' ', addresses[..selection.Count].Select(address => Network.ToIPAddress(address).ToString()));
    }

    private void Put(ResourceKind kind, string yaml) => _builder.Put(kind, EndpointResolverTests.Object(yaml));
}
