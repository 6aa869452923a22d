using Edge.Cloud.Gslb.Zones;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;

namespace Edge.Gslb.Tests.Zones;

/// <summary>A fixture for each rule; the whole message is compared.</summary>
[Trait("Category", "Dns")]
public sealed class ZoneAnswerTests
{
    private const string Soa = "Authority: example.com. 300 SOA ns1.example.com. admin.example.com. 7 7200 900 1209600 300";
    private const string Www = "www.example.com. 60 A 192.0.2.1 | www.example.com. 60 A 192.0.2.2";
    private const string Referral = "Authority: deleg.example.com. 3600 NS ns.deleg.example.com. | deleg.example.com. 3600 NS ns2.example.net.";
    private const string DelegGlue = "Additional: ns.deleg.example.com. 3600 A 192.0.2.54 | ns.deleg.example.com. 3600 AAAA 2001:db8::54";
    private readonly AuthoritativeResponder _responder = TestZones.Responder(TestZones.Compile(TestZones.Source("example.com", TestZones.Example)));

    [Theory]
    [InlineData("www.example.com", RecordType.A, "NoError aa Answer: " + Www, "RFC 1034 §4.3.2 3a; minimal: no authority, no additional")]
    [InlineData("WWW.EXAMPLE.COM", RecordType.A, "NoError aa Answer: " + Www, "RFC 4343")]
    [InlineData("www.example.com", RecordType.MX, "NoError aa " + Soa, "RFC 2308 §2.2: NODATA has the SOA")]
    [InlineData("missing.example.com", RecordType.A, "NameError aa " + Soa, "RFC 2308 §2.1, §5: TTL is the SOA's MINIMUM")]
    [InlineData("a.missing.example.com", RecordType.A, "NameError aa " + Soa, "RFC 8020")]
    [InlineData("x.www.example.com", RecordType.A, "NameError aa " + Soa, "below a name with records")]
    [InlineData("ent.example.com", RecordType.A, "NoError aa " + Soa, "RFC 4592 §2.2.2: an empty non-terminal exists")]
    [InlineData("b.ent.example.com", RecordType.A, "NameError aa " + Soa, "no wildcard below it")]
    [InlineData("alias.example.com", RecordType.A, "NoError aa Answer: alias.example.com. 60 CNAME www.example.com. | " + Www, "RFC 1034 §3.6.2")]
    [InlineData("alias2.example.com", RecordType.A, "NoError aa Answer: alias.example.com. 60 CNAME www.example.com. | alias2.example.com. 60 CNAME alias.example.com. | " + Www, "a chain")]
    [InlineData("alias.example.com", RecordType.CNAME, "NoError aa Answer: alias.example.com. 60 CNAME www.example.com.", "CNAME itself")]
    [InlineData("alias.example.com", RecordType.MX, "NoError aa Answer: alias.example.com. 60 CNAME www.example.com. " + Soa, "NODATA at the end of the chain")]
    [InlineData("outside.example.com", RecordType.A, "NoError aa Answer: outside.example.com. 60 CNAME www.example.net.", "the chain leaves the zone")]
    [InlineData("nowhere.example.com", RecordType.A, "NameError aa Answer: nowhere.example.com. 60 CNAME missing.example.com. " + Soa, "RFC 6604 §3: the code is of the last name")]
    [InlineData("todeleg.example.com", RecordType.A, "NoError aa Answer: todeleg.example.com. 60 CNAME host.deleg.example.com. " + Referral + " " + DelegGlue, "AA is of the first name")]
    [InlineData("anything.wild.example.com", RecordType.TXT, "NoError aa Answer: anything.wild.example.com. 60 TXT \"wild\"", "RFC 4592")]
    [InlineData("a.b.wild.example.com", RecordType.A, "NoError aa Answer: a.b.wild.example.com. 60 A 192.0.2.99", "several labels")]
    [InlineData("x.wild.example.com", RecordType.MX, "NoError aa " + Soa, "RFC 4592 §2.2.1: NODATA at a wildcard")]
    [InlineData("exists.wild.example.com", RecordType.TXT, "NoError aa " + Soa, "a name that exists is not wild")]
    [InlineData("x.exists.wild.example.com", RecordType.A, "NameError aa " + Soa, "nor what is below it: its closest encloser has no wildcard")]
    [InlineData("*.wild.example.com", RecordType.A, "NoError aa Answer: *.wild.example.com. 60 A 192.0.2.99", "the wildcard itself")]
    [InlineData("q.cwild.example.com", RecordType.A, "NoError aa Answer: q.cwild.example.com. 60 CNAME www.example.com. | " + Www, "RFC 4592 §4.5")]
    [InlineData("towild.example.com", RecordType.A, "NoError aa Answer: towild.example.com. 60 CNAME x.wild.example.com. | x.wild.example.com. 60 A 192.0.2.99", "a chain into a wildcard")]
    [InlineData("host.deleg.example.com", RecordType.A, "NoError " + Referral + " " + DelegGlue, "RFC 1034 §4.3.2 3b: a referral, not authoritative, with glue")]
    [InlineData("deleg.example.com", RecordType.NS, "NoError " + Referral + " " + DelegGlue, "the delegation itself is a referral")]
    [InlineData("ns.deleg.example.com", RecordType.A, "NoError " + Referral + " " + DelegGlue, "glue is no answer (RFC 2181 §5.4.1)")]
    [InlineData("x.sub.deleg.example.com", RecordType.A, "NoError " + Referral + " " + DelegGlue, "the topmost cut counts")]
    [InlineData("deleg.example.com", RecordType.DS, "NoError aa " + Soa, "RFC 4035 §3.1.4.1: DS is the parent's")]
    [InlineData("example.com", RecordType.SOA, "NoError aa Answer: example.com. 3600 SOA ns1.example.com. admin.example.com. 7 7200 900 1209600 300", "the apex")]
    [InlineData("example.com", RecordType.NS, "NoError aa Answer: example.com. 3600 NS ns1.example.com. | example.com. 3600 NS ns2.example.net.", "minimal")]
    [InlineData("example.com", RecordType.MX, "NoError aa Answer: example.com. 3600 MX 10 mail.example.com.", "minimal")]
    [InlineData("example.com", RecordType.CAA, "NoError aa Answer: example.com. 300 CAA 0 issue \"ca.example.net\"", "RFC 8659")]
    [InlineData("example.com", RecordType.DS, "NoError aa " + Soa, "no parent here: NODATA")]
    [InlineData("_sip._tcp.example.com", RecordType.SRV, "NoError aa Answer: _sip._tcp.example.com. 60 SRV 1 2 5060 www.example.com.", "RFC 2782")]
    [InlineData("opaque.example.com", (RecordType)65280, "NoError aa Answer: opaque.example.com. 60 TYPE65280 \\# 3 abcdef", "RFC 3597")]
    [InlineData("opaque.example.com", (RecordType)65281, "NoError aa " + Soa, "RFC 8906 §3.1.1: unknown types are answered")]
    [InlineData("www.example.com", RecordType.ANY, "NoError aa Answer: " + Www, "RFC 8482 §4.1: one set")]
    [InlineData("ent.example.com", RecordType.ANY, "NoError aa " + Soa, "ANY of nothing")]
    [InlineData("alias.example.com", RecordType.ANY, "NoError aa Answer: alias.example.com. 60 CNAME www.example.com.", "ANY does not follow")]
    [InlineData("www.example.net", RecordType.A, "Refused", "not our zone")]
    [InlineData("com", RecordType.NS, "Refused", "above our zone")]
    [InlineData(".", RecordType.NS, "Refused", "the root")]
    public void Answers(string name, RecordType type, string expected, string rule)
    {
        var answer = _responder.Ask(name, type, additional: true);
        Assert.True(expected == answer, $"{rule}\nexpected {expected}\nfound    {answer}");
        Assert.Equal(answer, _responder.Ask(name, type, tcp: true, additional: true));
    }

    [Fact]
    public void A_loop_of_aliases_ends_with_what_was_found()
    {
        var answer = _responder.Ask(DnsPackets.Query("loop1.example.com", RecordType.A, edns: 1232));
        Assert.Equal(ResponseCode.NoError, DnsPackets.Rcode(answer));
        Assert.Contains("loop1.example.com. 60 CNAME loop2.example.com.", DnsPackets.Records(answer, Section.Answer));
    }

    [Fact]
    public void DS_of_an_apex_is_the_parents_also_where_an_alias_in_the_child_leads_to_it()
    {
        const string Child = "@ 60 SOA ns1 admin 1 2 3 4 5\n@ 60 NS ns1\nself 60 CNAME @";
        var responder = TestZones.Responder(TestZones.Compile(TestZones.Source("example.com", TestZones.Example), TestZones.Source("sub.example.com", Child)));
        Assert.Equal("NoError aa " + Soa, responder.Ask("sub.example.com", RecordType.DS));
        // RFC 4035 §3.1.4.1: not what the child says of it; the resolver goes on, as where an alias leaves the zone.
        Assert.Equal("NoError aa Answer: self.sub.example.com. 60 CNAME sub.example.com.", responder.Ask("self.sub.example.com", RecordType.DS));
        Assert.Equal("NoError aa Answer: self.sub.example.com. 60 CNAME sub.example.com. | sub.example.com. 60 NS ns1.sub.example.com.", responder.Ask("self.sub.example.com", RecordType.NS));
    }

    [Fact]
    public void The_question_and_the_owner_keep_the_case_of_the_query()
    {
        var query = DnsPackets.Query("wWw.eXample.COM", RecordType.A);
        var answer = _responder.Ask(query);
        Assert.Equal(query.AsSpan(12).ToArray(), answer.AsSpan(12, query.Length - 12).ToArray());
        Assert.StartsWith("wWw.eXample.COM. ", DnsPackets.Records(answer, Section.Answer)[0], StringComparison.Ordinal);
    }

    [Fact]
    public void What_does_not_fit_is_left_out_whole_with_TC_and_comes_over_TCP()
    {
        var plain = _responder.Ask(DnsPackets.Query("big.example.com", RecordType.TXT));
        Assert.True(DnsPackets.Header(plain).IsTruncated);
        Assert.Empty(DnsPackets.Records(plain, Section.Answer)); // RFC 2181 §9
        Assert.True(plain.Length <= 512);
        var edns = _responder.Ask(DnsPackets.Query("big.example.com", RecordType.TXT, edns: 1232));
        Assert.Equal(5, DnsPackets.Records(edns, Section.Answer).Length);
        var little = _responder.Ask(DnsPackets.Query("big.example.com", RecordType.TXT, edns: 513));
        Assert.True(DnsPackets.Header(little).IsTruncated);
        var tcp = _responder.Ask(DnsPackets.Query("big.example.com", RecordType.TXT), tcp: true);
        Assert.False(DnsPackets.Header(tcp).IsTruncated);
        Assert.Equal(5, DnsPackets.Records(tcp, Section.Answer).Length);
    }

    [Fact]
    public void Glue_that_a_referral_needs_is_not_left_out_silently()
    {
        var text = string.Concat(Enumerable.Range(0, 12).Select(i => $"d 60 NS n{i}.with-a-long-label-to-fill-the-message.d\nn{i}.with-a-long-label-to-fill-the-message.d 60 AAAA 2001:db8::{i}\n"));
        var responder = TestZones.Responder(TestZones.Compile(TestZones.Source("z", $"@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.x.\n{text}")));
        var answer = responder.Ask(DnsPackets.Query("d.z", RecordType.A));
        Assert.True(DnsPackets.Header(answer).IsTruncated); // RFC 9471 §3.1
        Assert.Equal(12, DnsPackets.Records(answer, Section.Authority).Length);
        Assert.Equal(12, DnsPackets.Records(responder.Ask(DnsPackets.Query("d.z", RecordType.A), tcp: true), Section.Additional).Length);
    }

    [Fact]
    public void The_nearest_of_nested_zones_answers_and_DS_is_the_parents()
    {
        const string Head = "@ 60 SOA ns admin 1 2 3 4 60\n@ 60 NS ns.x.\n";
        var zones = TestZones.Compile(
            TestZones.Source("p", Head + "c 60 NS ns.c\nns.c 60 A 192.0.2.1\nother 60 A 192.0.2.2\nc 60 TYPE43 \\# 4 00010801"),
            TestZones.Source("c.p", Head + "www 60 A 192.0.2.3"), TestZones.Source("x.y.p", Head));
        var responder = TestZones.Responder(zones);
        Assert.Equal("NoError aa Answer: www.c.p. 60 A 192.0.2.3", responder.Ask("www.c.p", RecordType.A));
        Assert.Equal("NameError aa Authority: c.p. 60 SOA ns.c.p. admin.c.p. 1 2 3 4 60", responder.Ask("ns.c.p", RecordType.A));
        Assert.Equal("NoError aa Answer: c.p. 60 NS ns.x.", responder.Ask("c.p", RecordType.NS));
        Assert.Equal("NoError aa Answer: c.p. 60 DS \\# 4 00010801", responder.Ask("c.p", RecordType.DS));
        Assert.Equal("NoError aa Authority: p. 60 SOA ns.p. admin.p. 1 2 3 4 60", responder.Ask("x.y.p", RecordType.DS));
        Assert.Equal("NameError aa Authority: p. 60 SOA ns.p. admin.p. 1 2 3 4 60", responder.Ask("y.p", RecordType.A));
        Assert.Equal("NoError aa Answer: other.p. 60 A 192.0.2.2", responder.Ask("other.p", RecordType.A));
    }

    [Theory]
    [InlineData("@ 60 CNAME www.example.net.", "CNAME stands beside other records (the apex has SOA and NS)")]
    [InlineData("www 60 CNAME a\nwww 60 A 192.0.2.1", "CNAME stands beside other records")]
    [InlineData("www 60 CNAME a\nwww 60 CNAME b", "2 CNAME records; a name has one")]
    [InlineData("www.example.net. 60 A 192.0.2.1", "is not in the zone example.com.")]
    [InlineData("www 60 A 192.0.2.1\nwww 61 A 192.0.2.2", "different TTLs (60, 61)")]
    [InlineData("www 2147483648 A 192.0.2.1", "over 2147483647")]
    [InlineData("*.w 60 NS a", "a wildcard cannot be delegated")]
    [InlineData("sub 60 SOA a b 1 2 3 4 5", "SOA belongs to the apex")]
    [InlineData("@ 60 SOA a b 1 2 3 4 5", "exactly one SOA")]
    [InlineData("x 60 ANY \\# 0", "not served")]
    public void A_zone_that_cannot_be_served_says_why_and_leaves_the_others(string more, string part)
    {
        var good = TestZones.Source("good", "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a");
        var zones = ZoneSet.Compile([TestZones.Source("example.com", $"@ 3600 SOA ns admin 1 2 3 4 5\n@ 3600 NS ns\n{more}"), good], out var errors);
        Assert.Contains(errors, error => error.Message.Contains(part, StringComparison.Ordinal));
        Assert.Equal(1, zones.ZoneCount);
        Assert.True(zones.TryGetSerial(DnsName.Parse("good"), out var serial));
        Assert.Equal(1u, serial);
    }

    [Fact]
    public void Two_zones_with_one_apex_and_a_zone_without_NS_are_errors()
    {
        var one = TestZones.Source("a", "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a");
        var zones = ZoneSet.Compile([one, TestZones.Source("A", "@ 60 SOA a b 2 2 3 4 5\n@ 60 NS a"), TestZones.Source("b", "@ 60 SOA a b 2 2 3 4 5")], out var errors);
        Assert.Equal(2, errors.Count);
        Assert.Contains("same apex", errors[0].Message, StringComparison.Ordinal);
        Assert.Contains("at least one NS", errors[1].Message, StringComparison.Ordinal);
        Assert.Equal(1, zones.ZoneCount);
        Assert.Empty(zones.NewerThan(zones));
        Assert.Single(zones.NewerThan(ZoneSet.Empty));
    }

    [Fact]
    public void A_hundred_thousand_names_are_each_found_and_others_not()
    {
        var records = string.Concat(Enumerable.Range(0, 100_000).Select(i => $"h{i} 60 A 10.{i >> 16}.{(i >> 8) & 255}.{i & 255}\n"));
        var responder = TestZones.Responder(TestZones.Compile(TestZones.Source("big", $"@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a\n{records}")));
        for (var i = 0; i < 100_000; i += 97)
        {
            Assert.Equal($"NoError aa Answer: h{i}.big. 60 A 10.{i >> 16}.{(i >> 8) & 255}.{i & 255}", responder.Ask($"h{i}.big", RecordType.A));
            Assert.StartsWith("NameError", responder.Ask($"g{i}.big", RecordType.A), StringComparison.Ordinal);
        }
    }
}
