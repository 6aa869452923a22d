using Edge.Core.EdgeDns;
using Edge.Protocol.Dns;
using Xunit;
using static Edge.Core.Tests.DnsObjects;

namespace Edge.Core.Tests;

/// <summary>Kubernetes' DNS-Based Service Discovery 1.1, line by line.</summary>
[Trait("Category", "Dns")]
public sealed class ClusterZoneTests
{
    private const string Web = """[{"name":"http","port":8080,"protocol":"TCP"}]""";
    private static readonly ClusterZone s_zone = new("cluster.local", 5, answersWithEndpoints: false);
    private static readonly ServiceCatalog s_catalog = Catalog(
        Node("n1"),
        Service("shop/web", """{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"ports":[{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]}"""),
        Slice("shop/web-a", "web", Web, "10.1.0.1 node=n1"),
        Service("shop/single", """{"clusterIP":"10.96.0.8","ports":[{"port":80}]}"""),
        Service("shop/db", """{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"""),
        Slice("shop/db-a", "db", """[{"name":"sql","port":5432,"protocol":"TCP"}]""", "10.1.0.2 hostname=db-0", "10.1.0.3", "10.1.0.4 hostname=db-2 notready"),
        Slice("shop/db-b", "db", """[{"name":"sql","port":5432,"protocol":"TCP"}]""", "2001:db8::2 hostname=db-0"),
        Service("shop/empty", """{"clusterIP":"None","ports":[]}"""),
        Service("shop/early", """{"clusterIP":"None","publishNotReadyAddresses":true}"""),
        Slice("shop/early-a", "early", "[]", "10.1.0.9 hostname=e-0 notready"),
        Service("shop/away", """{"type":"ExternalName","externalName":"www.example.com."}"""));

    [Theory]
    // 2.2 schema version
    [InlineData("dns-version.cluster.local", RecordType.TXT, "TXT \"1.1.0\"")]
    [InlineData("dns-version.cluster.local", RecordType.A, "NODATA")]
    // 2.3.1 A and AAAA of a Service with clusterIPs
    [InlineData("web.shop.svc.cluster.local", RecordType.A, "A 10.96.0.7")]
    [InlineData("WEB.Shop.SVC.cluster.LOCAL", RecordType.A, "A 10.96.0.7")]
    [InlineData("web.shop.svc.cluster.local", RecordType.AAAA, "AAAA fd00::7")]
    [InlineData("single.shop.svc.cluster.local", RecordType.AAAA, "NODATA")]
    [InlineData("web.shop.svc.cluster.local", RecordType.MX, "NODATA")]
    [InlineData("web.shop.svc.cluster.local", RecordType.ANY, "A 10.96.0.7")]
    // 2.3.2 SRV of named ports
    [InlineData("_http._tcp.web.shop.svc.cluster.local", RecordType.SRV, "SRV 0 100 80 web.shop.svc.cluster.local.")]
    [InlineData("_dns._udp.web.shop.svc.cluster.local", RecordType.SRV, "SRV 0 100 53 web.shop.svc.cluster.local.")]
    [InlineData("_http._udp.web.shop.svc.cluster.local", RecordType.SRV, "NXDOMAIN")]
    [InlineData("_http._tcp.web.shop.svc.cluster.local", RecordType.A, "NODATA")]
    [InlineData("_._tcp.single.shop.svc.cluster.local", RecordType.SRV, "NXDOMAIN")]
    [InlineData("_tcp.web.shop.svc.cluster.local", RecordType.A, "NODATA")]
    // 2.3.3 PTR
    [InlineData("7.0.96.10.in-addr.arpa", RecordType.PTR, "PTR web.shop.svc.cluster.local.")]
    [InlineData("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", RecordType.PTR, "PTR web.shop.svc.cluster.local.")]
    [InlineData("1.1.1.1.in-addr.arpa", RecordType.PTR, "none")]
    // 2.4.1 headless: the ready endpoints, and those with a hostname by it
    [InlineData("db.shop.svc.cluster.local", RecordType.A, "A 10.1.0.2; A 10.1.0.3")]
    [InlineData("db.shop.svc.cluster.local", RecordType.AAAA, "AAAA 2001:db8::2")]
    [InlineData("db-0.db.shop.svc.cluster.local", RecordType.A, "A 10.1.0.2")]
    [InlineData("db-0.db.shop.svc.cluster.local", RecordType.AAAA, "AAAA 2001:db8::2")]
    [InlineData("db-2.db.shop.svc.cluster.local", RecordType.A, "NXDOMAIN")]
    [InlineData("10-1-0-3.db.shop.svc.cluster.local", RecordType.A, "A 10.1.0.3")]
    [InlineData("10-1-0-3.db.shop.svc.cluster.local", RecordType.AAAA, "NODATA")]
    [InlineData("empty.shop.svc.cluster.local", RecordType.A, "NXDOMAIN")]
    [InlineData("early.shop.svc.cluster.local", RecordType.A, "A 10.1.0.9")]
    [InlineData("e-0.early.shop.svc.cluster.local", RecordType.A, "A 10.1.0.9")]
    // 2.4.2 SRV of a headless Service: one an endpoint
    [InlineData("_sql._tcp.db.shop.svc.cluster.local", RecordType.SRV, "SRV 0 50 5432 10-1-0-3.db.shop.svc.cluster.local.; SRV 0 50 5432 db-0.db.shop.svc.cluster.local.")]
    // 2.4.3 PTR of endpoints
    [InlineData("2.0.1.10.in-addr.arpa", RecordType.PTR, "PTR db-0.db.shop.svc.cluster.local.")]
    [InlineData("4.0.1.10.in-addr.arpa", RecordType.PTR, "none")]
    // 2.5 ExternalName
    [InlineData("away.shop.svc.cluster.local", RecordType.CNAME, "CNAME www.example.com.")]
    [InlineData("away.shop.svc.cluster.local", RecordType.A, "CNAME www.example.com.")]
    [InlineData("x.away.shop.svc.cluster.local", RecordType.A, "NXDOMAIN")]
    // pods by their address
    [InlineData("10-1-0-44.shop.pod.cluster.local", RecordType.A, "A 10.1.0.44")]
    [InlineData("2001-db8--5.shop.pod.cluster.local", RecordType.AAAA, "AAAA 2001:db8::5")]
    [InlineData("10-1-0.shop.pod.cluster.local", RecordType.A, "NXDOMAIN")]
    [InlineData("10-1-0-256.shop.pod.cluster.local", RecordType.A, "NXDOMAIN")]
    // names between, and names that are not
    [InlineData("cluster.local", RecordType.A, "NODATA")]
    [InlineData("svc.cluster.local", RecordType.A, "NODATA")]
    [InlineData("shop.svc.cluster.local", RecordType.A, "NODATA")]
    [InlineData("nowhere.svc.cluster.local", RecordType.A, "NXDOMAIN")]
    [InlineData("none.shop.svc.cluster.local", RecordType.A, "NXDOMAIN")]
    [InlineData("a.b.c.d.shop.svc.cluster.local", RecordType.A, "NXDOMAIN")]
    [InlineData("web.shop", RecordType.A, "none")]
    [InlineData("www.example.com", RecordType.A, "none")]
    [InlineData("xcluster.local", RecordType.A, "none")]
    public void A_name_has_the_records_of_the_specification(string name, RecordType type, string expected) => Assert.Equal(expected, s_zone.Ask(s_catalog, name, type));

    [Fact]
    public void Absence_comes_with_the_soa_that_says_how_long()
    {
        foreach (var name in (string[])["none.shop.svc.cluster.local", "svc.cluster.local"])
        {
            var answer = s_zone.Answer(new DnsQuestion(DnsName.Parse(name), RecordType.A), s_catalog)!;
            var soa = Assert.Single(answer.Authority);
            Assert.Equal("cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5", soa.ToString());
            Assert.True(answer.IsAuthoritative);
        }
    }

    [Fact]
    public void Srv_brings_the_addresses_of_its_targets()
    {
        var answer = s_zone.Answer(new DnsQuestion(DnsName.Parse("_http._tcp.web.shop.svc.cluster.local"), RecordType.SRV), s_catalog)!;
        Assert.Equal(["web.shop.svc.cluster.local. 5 A 10.96.0.7", "web.shop.svc.cluster.local. 5 AAAA fd00::7"], answer.Additional.Select(row => row.ToString()));
    }

    [Fact]
    public void Before_the_cloud_has_told_anything_a_cluster_name_fails_and_is_not_denied()
        => Assert.Equal("ServerFailure", s_zone.Ask(ServiceCatalog.Empty, "web.shop.svc.cluster.local", RecordType.A));

    [Fact]
    public void Topology_keeps_answers_in_the_node_group_or_on_the_node()
    {
        var spec = """{"clusterIP":"10.96.0.9","ports":[{"name":"http","port":8080}]}""";
        var catalog = Catalog(
            Node("n1", "east"),
            Service("a/group", spec, """{"apps.kubeedge.io/service-topology":"range-nodegroup"}"""),
            Service("a/node", spec, """{"apps.kubeedge.io/service-topology":"range-node"}"""),
            Service("a/local", """{"clusterIP":"10.96.0.9","internalTrafficPolicy":"Local"}"""),
            Service("a/all", spec));
        foreach (var name in (string[])["group", "node", "local", "all"])
            catalog = catalog.With(Slice($"a/{name}-1", name, Web, "10.1.0.1 node=n1 group=east", "10.1.0.2 node=n2 group=east", "10.1.0.3 node=n3 group=west", "10.1.0.4 node=n4"));
        Assert.Equal("A 10.1.0.1; A 10.1.0.2", s_zone.Ask(catalog, "group.a.svc.cluster.local", RecordType.A));
        Assert.Equal("A 10.1.0.1", s_zone.Ask(catalog, "node.a.svc.cluster.local", RecordType.A));
        Assert.Equal("A 10.1.0.1", s_zone.Ask(catalog, "local.a.svc.cluster.local", RecordType.A));
        Assert.Equal("A 10.96.0.9", s_zone.Ask(catalog, "all.a.svc.cluster.local", RecordType.A));
        Assert.Equal("SRV 0 50 8080 10-1-0-1.group.a.svc.cluster.local.; SRV 0 50 8080 10-1-0-2.group.a.svc.cluster.local.", s_zone.Ask(catalog, "_http._tcp.group.a.svc.cluster.local", RecordType.SRV));

        // The node moves to another group, and out of all.
        Assert.Equal("A 10.1.0.3", s_zone.Ask(catalog.With(Node("n1", "west")), "group.a.svc.cluster.local", RecordType.A));
        Assert.Equal("A 10.1.0.4", s_zone.Ask(catalog.With(Node("n1")), "group.a.svc.cluster.local", RecordType.A));
        // Nothing there: the name exists and has no address here.
        Assert.Equal("NODATA", s_zone.Ask(catalog.With(Node("n1", "north")), "group.a.svc.cluster.local", RecordType.A));
        Assert.Equal("NODATA", s_zone.Ask(catalog with { Node = "n9" }, "node.a.svc.cluster.local", RecordType.A));
    }

    [Fact]
    public void Without_a_proxy_on_the_node_names_give_endpoints()
    {
        var zone = new ClusterZone("cluster.local", 5, answersWithEndpoints: true);
        Assert.Equal("A 10.1.0.1", zone.Ask(s_catalog, "web.shop.svc.cluster.local", RecordType.A));
        Assert.Equal("SRV 0 100 8080 10-1-0-1.web.shop.svc.cluster.local.", zone.Ask(s_catalog, "_http._tcp.web.shop.svc.cluster.local", RecordType.SRV));
        Assert.Equal("NODATA", zone.Ask(s_catalog, "single.shop.svc.cluster.local", RecordType.A));
    }

    [Fact]
    public void The_catalog_follows_every_change()
    {
        var catalog = s_catalog.With(Slice("shop/db-a", "db", "[]", "10.1.0.30"));
        Assert.Equal("A 10.1.0.30", s_zone.Ask(catalog, "db.shop.svc.cluster.local", RecordType.A));
        Assert.Equal("none", s_zone.Ask(catalog, "2.0.1.10.in-addr.arpa", RecordType.PTR));
        Assert.Equal("PTR 10-1-0-30.db.shop.svc.cluster.local.", s_zone.Ask(catalog, "30.0.1.10.in-addr.arpa", RecordType.PTR));
        catalog = catalog.With(Gone("endpointslice", "shop", "db-a"));
        Assert.Equal("NODATA", s_zone.Ask(catalog, "db.shop.svc.cluster.local", RecordType.A)); // the one of IPv6 is still there
        Assert.Equal("none", s_zone.Ask(catalog, "30.0.1.10.in-addr.arpa", RecordType.PTR));
        catalog = catalog.With(Service("shop/web", """{"clusterIP":"10.96.0.70"}"""));
        Assert.Equal("PTR web.shop.svc.cluster.local.", s_zone.Ask(catalog, "70.0.96.10.in-addr.arpa", RecordType.PTR));
        Assert.Equal("none", s_zone.Ask(catalog, "7.0.96.10.in-addr.arpa", RecordType.PTR));
        foreach (var name in (string[])["web", "single", "db", "empty", "early", "away"])
            catalog = catalog.With(Gone("service", "shop", name));
        Assert.Equal("NXDOMAIN", s_zone.Ask(catalog, "web.shop.svc.cluster.local", RecordType.A));
        Assert.Equal("NXDOMAIN", s_zone.Ask(catalog, "shop.svc.cluster.local", RecordType.A));
        Assert.Equal(0, catalog.Services);
    }

    [Fact]
    public void Damaged_objects_are_as_if_they_were_not_there()
    {
        var catalog = s_catalog.With(Put("service", "shop", "web", "{\"spec\":")).With(Put("endpointslice", "shop", "db-b", """{"metadata":{"labels":{"kubernetes.io/service-name":"db"}},"endpoints":[{"addresses":["no"]},{"addresses":[]},7],"ports":"x"}"""));
        Assert.Equal("NXDOMAIN", s_zone.Ask(catalog, "web.shop.svc.cluster.local", RecordType.A));
        Assert.Equal("NODATA", s_zone.Ask(catalog, "db.shop.svc.cluster.local", RecordType.AAAA));
    }
}
