using Edge.Core.EdgeDns;
using Edge.Core.EdgeDns.Global;
using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>What a node says of zones that the cloud sent, without asking anybody.</summary>
[Trait("Category", "Dns")]
public sealed class ZoneCatalogTests
{
    private const string Records = """
        [{"name":"ns1","type":"A","data":["192.0.2.53"]},{"name":"www","type":"A","ttl":60,"data":["192.0.2.1","192.0.2.2"]},{"name":"alias","type":"CNAME","data":["www"]},
         {"name":"out","type":"CNAME","data":["www.example.net."]},{"type":"MX","data":["10 mail"]},{"name":"_sip._tcp","type":"SRV","data":["1 2 5060 www"]},{"name":"text","type":"TXT","data":["hello there"]},
         {"type":"CAA","data":["0 issue \"ca.example\""]},{"name":"ptr","type":"PTR","data":["www"]},{"name":"*.wild","type":"A","data":["192.0.2.9"]},{"name":"a.b.c","type":"AAAA","data":["2001:db8::1"]},
         {"name":"child","type":"NS","data":["ns.child"]},{"name":"ns.child","type":"A","data":["192.0.2.60"]}]
        """;

    private readonly List<string> _leftOut = [];

    [Theory]
    [InlineData("www", "A", "60 A 192.0.2.1; 60 A 192.0.2.2")]
    [InlineData("WWW", "A", "60 A 192.0.2.1; 60 A 192.0.2.2")]
    [InlineData("alias", "A", "300 CNAME www.edge.example.")]
    [InlineData("alias", "CNAME", "300 CNAME www.edge.example.")]
    [InlineData("out", "A", "300 CNAME www.example.net.")]
    [InlineData("@", "MX", "300 MX 10 mail.edge.example.")]
    [InlineData("@", "CAA", "300 CAA 0 issue \"ca.example\"")]
    [InlineData("@", "NS", "300 NS ns1.edge.example.")]
    [InlineData("@", "SOA", "300 SOA ns1.edge.example. hostmaster.edge.example. 7 3600 600 604800 60")]
    [InlineData("_sip._tcp", "SRV", "300 SRV 1 2 5060 www.edge.example.")]
    [InlineData("text", "TXT", "300 TXT \"hello there\"")]
    [InlineData("ptr", "PTR", "300 PTR www.edge.example.")]
    [InlineData("any.wild", "A", "300 A 192.0.2.9")]
    [InlineData("deep.any.wild", "A", "300 A 192.0.2.9")]
    [InlineData("any.wild", "AAAA", "NODATA 60")]
    [InlineData("wild", "A", "NODATA 60")]
    [InlineData("b.c", "A", "NODATA 60")]
    [InlineData("www", "TXT", "NODATA 60")]
    [InlineData("none", "A", "NXDOMAIN 60")]
    [InlineData("x.www", "A", "NXDOMAIN 60")]
    [InlineData("www", "ANY", "60 A 192.0.2.1; 60 A 192.0.2.2")]
    [InlineData("child", "A", "others")] // delegated
    [InlineData("deep.child", "TXT", "others")]
    [InlineData("ns.child", "A", "others")]
    [InlineData("child", "DS", "NODATA 60")] // the parent's (RFC 4035 §3.1.4.1)
    [InlineData("shop", "A", "chosen for shop.edge.example.")]
    [InlineData("shop", "AAAA", "chosen for shop.edge.example.")]
    [InlineData("shop", "TXT", "NODATA 60")]
    [InlineData("a.many", "A", "chosen for *.many.edge.example.")]
    [InlineData("example.net.", "A", "others")]
    public void Static_records_their_absence_and_what_others_know(string name, string type, string expected)
    {
        var zones = With(Zone("edge", "edge.example", Records, """["shop.edge.example","*.many.edge.example"]"""));
        Assert.Equal(expected, Ask(zones, name == "@" ? "edge.example." : name.EndsWith('.') ? name : $"{name}.edge.example.", type));
        Assert.Equal(1, zones.Count);
    }

    [Fact]
    public void The_nearest_zone_answers_and_one_that_goes_leaves_its_names_to_others()
    {
        var zones = With(Zone("edge", "edge.example", """[{"name":"www.sub","type":"A","data":["192.0.2.1"]}]"""), Zone("sub", "sub.edge.example", """[{"name":"www","type":"A","data":["192.0.2.2"]}]"""));
        Assert.Equal("300 A 192.0.2.2", Ask(zones, "www.sub.edge.example.", "A"));
        zones.Take(DnsObjects.Gone("zone", "null", "sub"));
        zones.Publish();
        Assert.Equal("300 A 192.0.2.1", Ask(zones, "www.sub.edge.example.", "A"));
        zones.Take(DnsObjects.Gone("zone", "null", "edge"));
        zones.Publish();
        Assert.Equal("others", Ask(zones, "www.sub.edge.example.", "A"));
        Assert.Equal(0, zones.Count);
    }

    [Fact]
    public void What_cannot_be_read_leaves_the_last_good_state()
    {
        var zones = With(Zone("edge", "edge.example", """[{"name":"www","type":"A","data":["192.0.2.1"]}]"""), Zone("edge", "edge.example", """[{"name":"www","type":"A","data":["nobody"]}]"""));
        Assert.Equal("300 A 192.0.2.1", Ask(zones, "www.edge.example.", "A"));
    }

    [Fact]
    public void What_does_not_compile_leaves_the_last_good_state_and_is_said()
    {
        const string Good = """[{"name":"www","type":"A","data":["192.0.2.1"]}]""";
        // The CNAME stands beside an address: each record is sound by itself.
        const string Bad = """[{"name":"www","type":"A","data":["192.0.2.2"]},{"name":"www","type":"CNAME","data":["away"]}]""";
        var zones = With(Zone("edge", "edge.example", Good), Zone("edge", "edge.example", Bad));
        Assert.Equal("300 A 192.0.2.1", Ask(zones, "www.edge.example.", "A"));
        Assert.Contains("edge: www.edge.example.: CNAME stands beside other records", Assert.Single(_leftOut), StringComparison.Ordinal);
        zones.Take(Zone("edge", "edge.example", Good.Replace("2.1", "2.3", StringComparison.Ordinal)));
        zones.Publish();
        Assert.Equal("300 A 192.0.2.3", Ask(zones, "www.edge.example.", "A"));
        // Of one that was never good nothing is known here, and the zone above it does not deny it.
        zones.Take(Zone("sub", "sub.edge.example", Bad));
        zones.Publish();
        Assert.Equal(("others", "others", "NXDOMAIN 60"), (Ask(zones, "www.sub.edge.example.", "A"), Ask(zones, "sub.edge.example.", "SOA"), Ask(zones, "none.edge.example.", "A")));
        zones.Take(DnsObjects.Gone("zone", "null", "sub"));
        zones.Publish();
        Assert.Equal("NXDOMAIN 60", Ask(zones, "www.sub.edge.example.", "A"));
    }

    [Fact]
    public void A_zone_beyond_the_bound_is_not_denied_by_the_one_above_it()
    {
        var zones = new ZoneCatalog(5, _leftOut.Add);
        zones.Take(Zone("a", "edge.example", """[{"name":"www","type":"A","data":["192.0.2.1"]}]"""));
        zones.Take(Zone("b", "sub.edge.example", """[{"name":"www","type":"A","data":["192.0.2.2"]}]"""));
        zones.Publish();
        Assert.Equal(("300 A 192.0.2.1", "others", "NXDOMAIN 60"), (Ask(zones, "www.edge.example.", "A"), Ask(zones, "www.sub.edge.example.", "A"), Ask(zones, "www.other.edge.example.", "A")));
    }

    [Fact]
    public void Zones_beyond_the_bound_are_left_to_others_and_said_once()
    {
        // With SOA and NS three records each.
        var zones = new ZoneCatalog(7, _leftOut.Add);
        foreach (var name in (string[])["a", "b", "c"])
        {
            zones.Take(Zone(name, $"{name}.example", """[{"name":"www","type":"A","data":["192.0.2.1"]}]"""));
            zones.Publish();
        }

        Assert.Equal(("300 A 192.0.2.1", "300 A 192.0.2.1", "others"), (Ask(zones, "www.a.example.", "A"), Ask(zones, "www.b.example.", "A"), Ask(zones, "www.c.example.", "A")));
        Assert.Equal("c: 3 records are more than the 1 left of 7", Assert.Single(_leftOut));
        zones.Take(Zone("d", "d.example", "[]"));
        zones.Take(DnsObjects.Gone("zone", "null", "a"));
        zones.Publish();
        Assert.Equal("300 A 192.0.2.1", Ask(zones, "www.c.example.", "A"));
    }

    private ZoneCatalog With(params Edge.Core.MetaManager.MetaChange[] changes)
    {
        var zones = new ZoneCatalog(ZoneCatalog.RecordsMaxDefault, _leftOut.Add);
        foreach (var change in changes)
            zones.Take(change);
        zones.Publish();
        return zones;
    }

    private static Edge.Core.MetaManager.MetaChange Zone(string name, string apex, string records, string hosts = "[]") => DnsObjects.Put(
        "zone", "null", name,
        $$$"""{"metadata":{"name":"{{{name}}}","generation":7},"spec":{"apex":"{{{apex}}}","nameServers":["ns1"],"records":{{{records}}} },"resolved":{"hosts":{{{hosts}}} } }""");

    private static string Ask(ZoneCatalog zones, string name, string type)
    {
        Assert.True(RecordData.TryParseType(type, out var parsed) || Enum.TryParse(type, out parsed));
        var chosenFor = "";
        var answer = zones.Answer(new DnsQuestion(DnsName.Parse(name), parsed), (host, _) =>
        {
            chosenFor = $"chosen for {host}";
            return null;
        });
        if (answer is null)
            return chosenFor.Length > 0 ? chosenFor : "others";
        Assert.All(answer.Answers, row => Assert.Equal(DnsName.Parse(name), row.Owner));
        if (answer.Answers.Count > 0)
            return string.Join("; ", answer.Answers.Select(row => $"{row.Ttl} {RecordData.TypeName(row.Type)} {RecordData.ToText(row.Type, row.Data.Span)}"));
        var soa = Assert.Single(answer.Authority);
        return $"{(answer.Code == ResponseCode.NameError ? "NXDOMAIN" : "NODATA")} {soa.Ttl}";
    }
}
