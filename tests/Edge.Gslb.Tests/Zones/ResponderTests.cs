using Edge.Cloud.Gslb.Zones;
using Edge.GlobalServices;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;
using Edge.Testing;
using Edge.Testing.Dns;

namespace Edge.Gslb.Tests.Zones;

/// <summary>What is about the message and not the zone: EDNS, cookies, opcodes, classes, rates.</summary>
[Trait("Category", "Dns")]
public sealed class ResponderTests
{
    private static readonly byte[] s_clientCookie = [1, 2, 3, 4, 5, 6, 7, 8];
    private readonly ZoneSet _zones = TestZones.Compile(TestZones.Source("example.com", TestZones.Example, ("svc.example.com", 3), ("*.any.example.com", 4)));
    private readonly AuthoritativeResponder _responder;

    public ResponderTests() => _responder = TestZones.Responder(
        _zones,
        new AuthoritativeOptions { Nsid = "node-1", Version = "edge", Cookies = new DnsCookies(new byte[16]), EcsResolvers = TestZones.Networks("198.51.100.0/24", "2001:db8::/32") },
        new TwoPlaces());

    [Fact]
    public void Silence_only_for_responses_and_fragments()
    {
        Assert.Empty(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, flags: DnsFlags.Response)));
        Assert.Empty(_responder.Ask(new byte[11]));
        for (var length = 12; length < 40; length++)
            Assert.Equal(ResponseCode.FormatError, DnsPackets.Rcode(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232)[..length])));
    }

    [Fact]
    public void Every_opcode_class_and_type_gets_an_answer_with_the_right_id_and_QR()
    {
        for (var opcode = 0; opcode < 16; opcode++)
        {
            var answer = _responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, flags: (ushort)(opcode << 11)));
            Assert.Equal(opcode switch { 0 => ResponseCode.NoError, 4 => ResponseCode.FormatError, _ => ResponseCode.NotImplemented }, DnsPackets.Rcode(answer));
            Assert.Equal((Opcode)opcode, DnsPackets.Header(answer).Opcode);
            Assert.True(DnsPackets.Header(answer).IsResponse);
            Assert.Equal(0x1234, DnsPackets.Header(answer).Id);
        }

        foreach (var recordClass in new ushort[] { 0, 2, 3, 4, 254, 255, 65535 })
            Assert.Equal(ResponseCode.Refused, DnsPackets.Rcode(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, recordClass: (RecordClass)recordClass))));
        for (var type = 0; type < 65536; type += type < 300 ? 1 : 97)
        {
            var code = DnsPackets.Rcode(_responder.Ask(DnsPackets.Query("www.example.com", (RecordType)type)));
            Assert.Equal((RecordType)type switch
            {
                RecordType.None or RecordType.OPT or RecordType.TKEY or RecordType.TSIG => ResponseCode.FormatError,
                RecordType.AXFR or RecordType.IXFR => ResponseCode.NotAuthoritative,
                _ => ResponseCode.NoError,
            }, code);
        }
    }

    [Fact]
    public void Flags_are_copied_or_cleared_as_they_should()
    {
        for (var bit = 0; bit < 7; bit++)
        {
            var flags = (ushort)(1 << (bit + 4)); // CD AD Z RA RD TC AA
            var answer = DnsPackets.Header(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, flags: flags)));
            Assert.Equal(DnsFlags.Response | DnsFlags.Authoritative | (flags & (DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled)), answer.Flags);
        }
    }

    [Fact]
    public void EDNS_is_answered_with_EDNS_and_never_without_being_asked()
    {
        Assert.Null(DnsPackets.Opt(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A))));
        var opt = DnsPackets.Opt(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 4096, options: DnsPackets.Option(65001, 1, 2), dnssecOk: true)))!.Value;
        Assert.Equal((1232, 0, 0x8000), (opt.Size, opt.Version, opt.Flags)); // RFC 3225 §3: DO is copied
        Assert.Empty(opt.Options); // RFC 6891 §6.1.2: the unknown one is not echoed
        var refused = _responder.Ask(DnsPackets.Query("www.example.net", RecordType.A, edns: 1232));
        Assert.NotNull(DnsPackets.Opt(refused));
        var malformed = _responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(8, 0, 9, 0, 0)));
        Assert.Equal(ResponseCode.FormatError, DnsPackets.Rcode(malformed));
        Assert.NotNull(DnsPackets.Opt(malformed));
    }

    [Fact]
    public void Another_version_of_EDNS_is_BADVERS_without_an_answer()
    {
        var answer = _responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, version: 1, options: [1, 2, 3]));
        Assert.Equal(ResponseCode.BadVersion, DnsPackets.Rcode(answer)); // RFC 6891 §6.1.3
        Assert.Equal(0, DnsPackets.Opt(answer)!.Value.Version);
        Assert.Empty(DnsPackets.Records(answer, Section.Answer));
    }

    [Fact]
    public void NSID_and_CHAOS_names_are_answered_when_configured()
    {
        var answer = _responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(3)));
        Assert.Equal("node-1"u8.ToArray(), DnsPackets.Opt(answer)!.Value.Options[3]); // RFC 5001
        foreach (var (name, text) in new[] { ("version.bind", "edge"), ("VERSION.server", "edge"), ("id.server", "node-1"), ("hostname.bind", "node-1") })
            Assert.Equal($"NoError aa Answer: {name.ToLowerInvariant()}. 0 TXT \"{text}\"", DnsPackets.Describe(_responder.Ask(DnsPackets.Query(name, RecordType.TXT, recordClass: RecordClass.CH))));
        Assert.Equal("Refused", DnsPackets.Describe(_responder.Ask(DnsPackets.Query("authors.bind", RecordType.TXT, recordClass: RecordClass.CH))));
        Assert.Equal("Refused", DnsPackets.Describe(TestZones.Responder(_zones).Ask(DnsPackets.Query("version.bind", RecordType.TXT, recordClass: RecordClass.CH))));
    }

    [Fact]
    public void A_cookie_comes_back_with_ours_which_is_then_valid_for_this_client_only()
    {
        var cookie = DnsPackets.Opt(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(10, s_clientCookie))))!.Value.Options[10];
        Assert.Equal(s_clientCookie, cookie[..8]);
        var cookies = new DnsCookies(new byte[16]);
        Assert.True(cookies.IsValid(cookie, DnsRequest.ToNumber(System.Net.IPAddress.Parse("198.51.100.7")), 1_700_000_000));
        Assert.False(cookies.IsValid(cookie, DnsRequest.ToNumber(System.Net.IPAddress.Parse("198.51.100.8")), 1_700_000_000));
        byte[] only = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 12, .. DnsPackets.Option(10, s_clientCookie)];
        var answer = _responder.Ask(only); // RFC 7873 §5.4
        Assert.Equal(ResponseCode.NoError, DnsPackets.Rcode(answer));
        Assert.True(DnsPackets.Opt(answer)!.Value.Options.ContainsKey(10));
        Assert.Equal(0, DnsPackets.Header(answer).Questions);
    }

    [Fact]
    public void Keepalive_is_answered_over_TCP_only()
    {
        var query = DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(11));
        Assert.Equal([0, 100], DnsPackets.Opt(_responder.Ask(query, tcp: true))!.Value.Options[11]); // RFC 7828: units of 100 ms
        Assert.Empty(DnsPackets.Opt(_responder.Ask(query))!.Value.Options);
    }

    [Fact]
    public void A_service_is_chosen_by_a_trusted_client_subnet_and_the_scope_told()
    {
        var subnet = DnsPackets.Option(8, 0, 1, 24, 0, 10, 1, 2);
        var trusted = _responder.Ask(DnsPackets.Query("svc.example.com", RecordType.A, edns: 1232, options: subnet));
        Assert.Equal("NoError aa Answer: svc.example.com. 30 A 203.0.113.1", DnsPackets.Describe(trusted));
        Assert.Equal([0, 1, 24, 16, 10, 1, 2], DnsPackets.Opt(trusted)!.Value.Options[8]);

        // Not trusted: as if there were no option, and no echo of it.
        var other = _responder.Ask(DnsPackets.Query("svc.example.com", RecordType.A, edns: 1232, options: subnet), from: "192.0.2.1");
        Assert.Equal("NoError aa Answer: svc.example.com. 30 A 203.0.113.2", DnsPackets.Describe(other));
        Assert.Empty(DnsPackets.Opt(other)!.Value.Options);

        // A static name does not depend on the client: scope 0 (RFC 7871 §7.2.1).
        Assert.Equal([0, 1, 24, 0, 10, 1, 2], DnsPackets.Opt(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: subnet)))!.Value.Options[8]);

        // No bits: not to be located by it; the resolver is, and the scope stays 0.
        var none = _responder.Ask(DnsPackets.Query("svc.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(8, 0, 1, 0, 0)));
        Assert.Equal("NoError aa Answer: svc.example.com. 30 A 203.0.113.2", DnsPackets.Describe(none));
        Assert.Equal([0, 1, 0, 0], DnsPackets.Opt(none)!.Value.Options[8]);

        var ipv6 = _responder.Ask(DnsPackets.Query("svc.example.com", RecordType.AAAA, edns: 1232, options: DnsPackets.Option(8, 0, 2, 32, 0, 0x20, 1, 0xd, 0xb8)));
        Assert.Equal("NoError aa Answer: svc.example.com. 30 AAAA 2001:db8::2", DnsPackets.Describe(ipv6));
        Assert.Equal(48, DnsPackets.Opt(ipv6)!.Value.Options[8][3]);
    }

    [Fact]
    public void A_service_answers_for_wildcards_aliases_other_types_and_having_nobody()
    {
        Assert.Equal("NoError aa Answer: x.any.example.com. 30 A 203.0.113.2", _responder.Ask("x.any.example.com", RecordType.A));
        Assert.StartsWith("NoError aa Authority: example.com. 300 SOA", _responder.Ask("x.any.example.com", RecordType.AAAA), StringComparison.Ordinal); // service 4 has no IPv6
        Assert.StartsWith("NoError aa Authority: example.com. 300 SOA", _responder.Ask("svc.example.com", RecordType.TXT), StringComparison.Ordinal);
        var zones = TestZones.Compile(TestZones.Source("z", "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a\nwww 60 CNAME svc", ("svc.z", 3)));
        Assert.Equal("NoError aa Answer: svc.z. 30 A 203.0.113.2 | www.z. 60 CNAME svc.z.", TestZones.Responder(zones, selector: new TwoPlaces()).Ask("www.z", RecordType.A));
    }

    [Fact]
    public void A_service_name_with_addresses_of_its_own_is_an_error()
    {
        ZoneSet.Compile([TestZones.Source("z", "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a\nsvc 60 A 192.0.2.1", ("svc.z", 3))], out var errors);
        Assert.Contains("beside a global service", Assert.Single(errors).Message, StringComparison.Ordinal);
        ZoneSet.Compile([TestZones.Source("z", "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a", ("svc.y", 3))], out errors);
        Assert.Contains("not in the zone", Assert.Single(errors).Message, StringComparison.Ordinal);
        ZoneSet.Compile([TestZones.Source("z", "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a", ("svc.z", 3), ("svc.z", 4))], out errors);
        Assert.Contains("two global services", Assert.Single(errors).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NOTIFY_is_acknowledged_for_our_zones_and_NOTAUTH_for_others()
    {
        ushort notify = (int)Opcode.Notify << 11;
        Assert.Equal(ResponseCode.NoError, DnsPackets.Rcode(_responder.Ask(DnsPackets.Query("example.com", RecordType.SOA, flags: notify))));
        Assert.Equal(ResponseCode.NotAuthoritative, DnsPackets.Rcode(_responder.Ask(DnsPackets.Query("www.example.com", RecordType.SOA, flags: notify))));
        Assert.Equal(ResponseCode.FormatError, DnsPackets.Rcode(_responder.Ask(DnsPackets.Query("example.com", RecordType.A, flags: notify))));
    }

    [Fact]
    public void Transfers_need_TCP_and_the_list()
    {
        var response = new byte[DnsLimits.Message];
        Assert.Equal("FormatError", _responder.Ask("example.com", RecordType.AXFR));
        Assert.StartsWith("NoError aa Answer: example.com. 3600 SOA", _responder.Ask("example.com", RecordType.IXFR), StringComparison.Ordinal);
        Assert.Equal("Refused", _responder.Ask("example.com", RecordType.AXFR, tcp: true));
        var request = new DnsRequest(DnsRequest.Map(0x7f000001), 1, true, 0);
        var query = DnsPackets.Query("example.com", RecordType.AXFR);
        Assert.Equal(IDnsResponder.Transfer, _responder.Respond(query, request, response));
        var transfer = _responder.BeginTransfer(query, request);
        var records = new List<string>();
        for (var length = transfer.Next(response); length > 0; length = transfer.Next(response))
            records.AddRange(DnsPackets.Records(response.AsSpan(0, length), Section.Answer));
        Assert.Equal(records[0], records[^1]);
        Assert.Contains(" SOA ", records[0], StringComparison.Ordinal);
        Assert.Equal(TestZones.Example.Split('\n').Length + 4, records.Count); // the second SOA, two addresses of svc, one of the wildcard
        Assert.Contains("svc.example.com. 30 A 203.0.113.2", records);
        Assert.Contains("ns.deleg.example.com. 3600 A 192.0.2.54", records);
    }

    [Fact]
    public void Equal_answers_are_limited_but_not_to_clients_with_a_cookie_nor_over_TCP()
    {
        var limiter = new ResponseRateLimiter(5, slip: 2, sizeLog2: 12, seed: 1);
        var responder = TestZones.Responder(_zones, new AuthoritativeOptions { RateLimiter = limiter, Cookies = new DnsCookies(new byte[16]) });
        var query = DnsPackets.Query("www.example.com", RecordType.A, edns: 1232);
        var kinds = new Dictionary<string, int>();
        for (var i = 0; i < 60; i++)
        {
            var answer = responder.Ask(query);
            var kind = answer.Length == 0 ? "dropped" : DnsPackets.Header(answer).IsTruncated ? "slipped" : "sent";
            kinds[kind] = kinds.GetValueOrDefault(kind) + 1;
            if (kind == "slipped")
                Assert.Empty(DnsPackets.Records(answer, Section.Answer));
        }

        Assert.Equal((20, 20, 20), (kinds["sent"], kinds["slipped"], kinds["dropped"]));
        Assert.NotEmpty(responder.Ask(query, tcp: true));
        Assert.NotEmpty(responder.Ask(query, from: "203.0.113.9"));
        // Random names below one zone count together.
        var negative = Enumerable.Range(0, 60).Count(i => responder.Ask(DnsPackets.Query($"n{i}.example.com", RecordType.A), from: "203.0.113.9").Length > 12 + 20 + 40);
        Assert.Equal(20, negative);
        var cookie = DnsPackets.Opt(responder.Ask(DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(10, s_clientCookie)), tcp: true))!.Value.Options[10];
        var known = DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(10, cookie));
        Assert.All(Enumerable.Range(0, 60), _ => Assert.NotEmpty(DnsPackets.Records(responder.Ask(known), Section.Answer)));
        // A second later five more are allowed.
        Assert.Equal(5, Enumerable.Range(0, 20).Count(_ => responder.Ask(query, unixMs: 1_700_000_001_000) is { Length: > 0 } answer && !DnsPackets.Header(answer).IsTruncated));
        Assert.True(limiter.Dropped > 0 && limiter.Slipped > 0);
    }

    [Fact]
    public void Nothing_is_allocated_for_a_query()
    {
        var options = new AuthoritativeOptions
        {
            Nsid = "n", Cookies = new DnsCookies(new byte[16]), EcsResolvers = TestZones.Networks("198.51.100.0/24"), RateLimiter = new ResponseRateLimiter(10_000, 2, 16, 7),
        };
        var responder = TestZones.Responder(_zones, options, new TwoPlaces());
        byte[] edns = [.. DnsPackets.Option(3), .. DnsPackets.Option(10, s_clientCookie), .. DnsPackets.Option(8, 0, 1, 24, 0, 10, 1, 2)];
        byte[][] queries =
        [
            DnsPackets.Query("www.example.com", RecordType.A), DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: edns), DnsPackets.Query("svc.example.com", RecordType.A, edns: 1232, options: edns),
            DnsPackets.Query("missing.example.com", RecordType.A, edns: 1232), DnsPackets.Query("alias2.example.com", RecordType.A), DnsPackets.Query("x.deleg.example.com", RecordType.A),
            DnsPackets.Query("big.example.com", RecordType.TXT), DnsPackets.Query("x.wild.example.com", RecordType.A), DnsPackets.Query("example.com", RecordType.MX), DnsPackets.Query("example.net", RecordType.A),
            DnsPackets.Query("www.example.com", RecordType.A)[..20], DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, version: 3),
        ];
        var response = new byte[4096];
        var request = new DnsRequest(DnsRequest.Map(0xc6336407), 5353, false, 1_700_000_000_000);
        var answers = 0;
        void Ask()
        {
            foreach (var query in queries)
                answers += responder.Respond(query, request, response) > 0 ? 1 : 0;
        }

        Assert.Equal(0, Allocation.Of(Ask, warmUp: 400));
        Assert.True(answers > 0);
    }

    /// <summary>10.1.0.0/16 gets the first place, everyone else the second; service 4 has no IPv6.</summary>
    private sealed class TwoPlaces : IAddressSelector
    {
        public Selection Select(int service, bool ipv6, in ClientSubnet client, Span<UInt128> addresses)
        {
            if (service == 4 && ipv6)
                return new Selection(0, 0, 0);
            var first = !client.IsIPv6 && client.PrefixLength >= 16 && (uint)client.Address >> 16 == 0x0a01;
            addresses[0] = ipv6 ? new UInt128(0x20010db8_00000000, first ? 1ul : 2ul) : DnsRequest.Map(0xcb007100u | (first ? 1u : 2u));
            return new Selection(1, 30, client.IsIPv6 ? (byte)48 : (byte)16);
        }
    }
}
