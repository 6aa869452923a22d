using Edge.GlobalServices.Zones;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class SpecTests
{
    private const string Endpoint = "endpoints: [{name: a, addresses: [192.0.2.1]}]";

    [Fact]
    public void A_global_service_has_defaults_for_all_but_hosts_and_endpoints()
    {
        var spec = Service($"hosts: [Shop.Example.COM.], {Endpoint}", out var problems)!;
        Assert.Empty(problems);
        Assert.Equal(["shop.example.com"], spec.Hosts);
        Assert.Equal((30u, PolicyKind.Nearest, 1, 1, CheckKind.None), (spec.TtlSeconds, spec.Policy.Kind, spec.Policy.MaxAnswers, spec.MinimumHealthyPercent, spec.Check.Kind));
        Assert.Null(spec.Sticky);
    }

    [Fact]
    public void Policies_nest()
        => Assert.Equal(
            "latency by country, then nearest by region, then weighted",
            Service($"hosts: [a.b], {Endpoint}, policy: {{type: latency, by: country, then: {{type: nearest, by: region, then: {{type: weighted}}}}}}", out _)!.Policy.ToString());

    [Theory]
    [InlineData("hosts: []", "spec.hosts: is empty; name at least one host, e.g. shop.example.com")]
    [InlineData("hosts: ['*.b']", "spec.hosts[0]: '*.b' has the character '*'; letters, digits, - and _ are allowed, and * only as the first label of a static record")]
    [InlineData("hosts: [a..b]", "spec.hosts[0]: 'a..b' has an empty label")]
    [InlineData("policy: {type: cheapest}", "spec.policy.type: is 'cheapest', must be nearest, latency, weighted, failover, roundRobin, multivalue")]
    [InlineData("policy: {type: nearest, by: region}", "spec.policy.by: chooses groups and needs a policy inside them: add then, e.g. then: {type: weighted}")]
    [InlineData("policy: {type: nearest, then: {type: weighted}}", "spec.policy.by: must say what then is inside of: site, region, country or priority")]
    [InlineData("policy: {type: multivalue, by: site, then: {type: weighted}}", "spec.policy.type: multivalue answers several endpoints, so nothing can come after it: leave then out, or take another policy here")]
    [InlineData("policy: {maxAnswers: 65}", "spec.policy.maxAnswers: is 65, must be a whole number from 1 to 64")]
    [InlineData("ttl: -1", "spec.ttl: is -1, must be a whole number from 0 to 86400")]
    [InlineData("minimumHealthyPercent: 101", "spec.minimumHealthyPercent: is 101, must be a whole number from 0 to 100")]
    [InlineData("endpoints: [{name: a, addresses: [192.0.2.1], nodeGroup: {name: g}}]", "spec.endpoints[0]: has 2 of addresses, service, nodeGroup and pods; must have exactly one")]
    [InlineData("endpoints: [{name: a, addresses: [localhost]}]", "spec.endpoints[0].addresses[0]: 'localhost' is not an IP address, e.g. 192.0.2.1 or 2001:db8::1")]
    [InlineData("endpoints: [{name: a, addresses: [192.0.2.1]}, {name: a, addresses: [192.0.2.2]}]", "spec.endpoints[1].name: 'a' is there twice; names tell endpoints apart")]
    [InlineData("endpoints: [{name: a, addresses: [192.0.2.1], location: {latitude: 91, longitude: 0}}]", "spec.endpoints[0].location.latitude: is 91, must be a number from -90 to 90")]
    [InlineData("endpoints: [{name: a, addresses: [192.0.2.1], location: {latitude: 9}}]", "spec.endpoints[0].location: has only one of latitude and longitude; give both, in degrees")]
    [InlineData("endpoints: [{name: a, pods: {}}]", "spec.endpoints[0].pods.matchLabels: is empty; give the labels of the pods, e.g. {app: shop}")]
    [InlineData("healthCheck: {type: icmp}", "spec.healthCheck.type: is 'icmp', must be none, tcp, http, https")]
    [InlineData("healthCheck: {type: tcp, interval: 10}", "spec.healthCheck.interval: must be text")]
    [InlineData("healthCheck: {type: tcp, interval: 1h}", "spec.healthCheck.interval: is '1h', must be a duration from 100 ms to 3600 s, e.g. 10s or 500ms")]
    [InlineData("healthCheck: {type: tcp, interval: 1s}", "spec.healthCheck.timeout: is longer than the interval (1000 ms); make it shorter, so that checks do not pile up")]
    [InlineData("healthCheck: {type: http, path: 'a b'}", "spec.healthCheck.path: 'a b' is not a path, e.g. /healthz")]
    public void What_is_wrong_in_a_global_service_is_named_with_the_fix(string wrong, string problem)
    {
        var text = wrong.StartsWith("hosts", StringComparison.Ordinal) ? $"{Endpoint}, {wrong}" : wrong.StartsWith("endpoints", StringComparison.Ordinal) ? $"hosts: [a.b], {wrong}" : $"hosts: [a.b], {Endpoint}, {wrong}";
        Assert.Null(Service(text, out var problems));
        Assert.Contains(problem, problems);
    }

    [Theory]
    [InlineData("apex: example.com", "spec.nameServers: is empty; name the servers of the zone, e.g. [ns1]")]
    [InlineData("apex: 'example .com', nameServers: [ns1]", "spec.apex: 'example .com' has the character ' '; letters, digits, - and _ are allowed")]
    [InlineData("apex: example.com, nameServers: [ns1], records: [{name: a, type: AFSDB, data: [x]}]", "spec.records[0].type: is 'AFSDB', must be A, AAAA, CNAME, MX, TXT, SRV, CAA, NS, PTR")]
    [InlineData("apex: example.com, nameServers: [ns1], records: [{name: a.example.org., type: A, data: [192.0.2.1]}]", "spec.records[0].name: 'a.example.org.' is outside of the zone example.com.; write it without the final dot to put it below")]
    [InlineData("apex: example.com, nameServers: [ns1], records: [{name: a, type: CNAME, data: [b, c]}]", "spec.records[0].data: a CNAME has one target")]
    [InlineData("apex: example.com, nameServers: [ns1], notify: [secondary]", "spec.notify[0]: 'secondary' is not an address with or without port, e.g. 192.0.2.53 or [2001:db8::53]:5353")]
    public void What_is_wrong_in_a_zone_is_named_with_the_fix(string spec, string problem)
    {
        Assert.Null(ZoneSpec.Read(EndpointResolverTests.Object($"{{metadata: {{name: z}}, spec: {{{spec}}}}}"), out var problems));
        Assert.Contains(problem, problems);
    }

    [Fact]
    public void A_record_that_cannot_be_read_is_named_with_its_place()
    {
        Assert.Null(ZoneSpec.Read(EndpointResolverTests.Object("{metadata: {name: z}, spec: {apex: example.com, nameServers: [ns1], records: [{name: ns1, type: A, data: [192.0.2.1, 192.0.2.999]}]}}"), out var problems));
        Assert.StartsWith("spec.records[0].data[1]: '192.0.2.999': ", Assert.Single(problems), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", "spec: has neither locations with networks nor mmdb.path")]
    [InlineData("{mmdb: {path: geo.mmdb}}", "spec.mmdb.path: 'geo.mmdb' is not a full path, e.g. /var/lib/edge/GeoLite2-City.mmdb")]
    [InlineData("{locations: [{site: a, networks: [192.0.2.1/24]}]}", "spec.locations[0].networks[0]: '192.0.2.1/24' has bits beyond its prefix; the network is 192.0.2.0/24")]
    public void What_is_wrong_in_a_location_map_is_named_with_the_fix(string spec, string problem)
    {
        Assert.Null(LocationMapSpec.Read(EndpointResolverTests.Object($"{{metadata: {{name: m}}, spec: {spec}}}"), out var problems));
        Assert.Contains(problem, problems);
    }

    private static GlobalServiceSpec? Service(string spec, out IReadOnlyList<string> problems)
        => GlobalServiceSpec.Read(EndpointResolverTests.Object($"{{metadata: {{name: shop, namespace: default}}, spec: {{{spec}}}}}"), out problems);
}
