using Edge.Protocol.Dns;
using Edge.Testing;
using Edge.Testing.Dns;
using Xunit;

namespace Edge.Protocol.Tests.Dns;

[Trait("Category", "Dns")]
public sealed class DnsQueryTests
{
    [Fact]
    public void A_query_with_every_option_is_read()
    {
        byte[] options =
        [
            .. DnsPackets.Option(3), .. DnsPackets.Option(8, 0, 1, 22, 0, 192, 0, 0), .. DnsPackets.Option(10, 1, 2, 3, 4, 5, 6, 7, 8), .. DnsPackets.Option(11),
            .. DnsPackets.Option(12, 0, 0), .. DnsPackets.Option(65001, 9),
        ];
        var packet = DnsPackets.Query("WWW.example.com", RecordType.AAAA, 0xabcd, 4096, options, dnssecOk: true, flags: DnsFlags.RecursionDesired);
        Assert.Equal(QueryStatus.Ok, DnsQuery.TryRead(packet, out var query));
        Assert.Equal(0xabcd, query.Id);
        Assert.Equal(DnsFlags.RecursionDesired, query.Flags);
        Assert.Equal("WWW.example.com.", WireName.ToText(query.Name));
        Assert.Equal(RecordType.AAAA, query.Type);
        Assert.Equal(RecordClass.IN, query.Class);
        Assert.Equal(packet.AsSpan(12, query.Name.Length + 4).ToArray(), query.Question.ToArray());
        Assert.True(query is { HasEdns: true, DnssecOk: true, WantsNsid: true, HasSubnet: true, HasKeepalive: true, HasPadding: true });
        Assert.Equal(4096, query.UdpPayloadSize);
        Assert.Equal(new EdnsSubnet(1, 22, 0, DnsRequest.Map(0xc0000000)), query.Subnet);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], query.Cookie.ToArray());
    }

    [Fact]
    public void Every_prefix_of_a_query_is_malformed_or_too_short_to_answer()
    {
        var packet = DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: DnsPackets.Option(10, 1, 2, 3, 4, 5, 6, 7, 8));
        for (var length = 0; length < packet.Length; length++)
            Assert.Equal(length < 12 ? QueryStatus.Ignore : QueryStatus.Malformed, DnsQuery.TryRead(packet.AsSpan(0, length), out _));
    }

    [Fact]
    public void A_response_is_not_answered()
        => Assert.Equal(QueryStatus.Ignore, DnsQuery.TryRead(DnsPackets.Query("x", RecordType.A, flags: DnsFlags.Response), out _));

    [Theory]
    [InlineData("", "000100020000000000000000", "two questions, one there (RFC 9619)")]
    [InlineData("", "000100000000000000000000", "no question and no cookie")]
    [InlineData("", "0001000000000001000000000000010001", "an answer counted that is not there")]
    [InlineData("ff", null, "a trailing byte")]
    [InlineData("00002904d0000000000000", null, "a record that is not counted")]
    public void Malformed_packets_are_told(string tail, string? whole, string what)
    {
        byte[] packet = whole is null ? [.. DnsPackets.Query("x", RecordType.A), .. Convert.FromHexString(tail)] : Convert.FromHexString(whole);
        Assert.True(DnsQuery.TryRead(packet, out _) == QueryStatus.Malformed, what);
    }

    [Theory]
    [InlineData("0008000500011900c0000280", "a bit behind the prefix")]
    [InlineData("000800040003", "half an option")]
    [InlineData("0008000400030000", "family 3")]
    [InlineData("0008000900012100c000020000", "33 bits of IPv4")]
    [InlineData("0008000700011818c00002", "a scope in a query")]
    [InlineData("0008000600011800c000", "an address shorter than the prefix")]
    [InlineData("0008000800011800c0000200", "an address longer than the prefix")]
    [InlineData("000a000701020304050607", "a cookie of 7 bytes")]
    [InlineData("000a0009010203040506070809", "a cookie of 9 bytes")]
    [InlineData("0003ffff", "a length beyond the record")]
    public void Malformed_options_are_told_with_the_OPT_seen(string hex, string what)
    {
        var packet = DnsPackets.Query("x", RecordType.A, edns: 1232, options: Convert.FromHexString(hex));
        Assert.True(DnsQuery.TryRead(packet, out var query) == QueryStatus.Malformed, what);
        Assert.True(query.HasEdns);
    }

    [Fact]
    public void Two_OPT_records_and_an_OPT_with_a_name_are_malformed()
    {
        var packet = DnsPackets.Query("x", RecordType.A, edns: 1232);
        byte[] twice = [.. packet, .. packet.AsSpan(packet.Length - 11)];
        twice[11] = 2;
        Assert.Equal(QueryStatus.Malformed, DnsQuery.TryRead(twice, out _));
        byte[] named = [.. packet.AsSpan(0, packet.Length - 11), 1, (byte)'a', .. packet.AsSpan(packet.Length - 11)];
        Assert.Equal(QueryStatus.Malformed, DnsQuery.TryRead(named, out _));
    }

    [Fact]
    public void A_question_may_be_missing_when_a_cookie_is_there()
    {
        byte[] packet = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 12, .. DnsPackets.Option(10, 1, 2, 3, 4, 5, 6, 7, 8)];
        Assert.Equal(QueryStatus.Ok, DnsQuery.TryRead(packet, out var query)); // RFC 7873 §5.4
        Assert.False(query.HasQuestion);
    }

    [Fact]
    public void An_unknown_EDNS_version_is_not_read_further()
    {
        var packet = DnsPackets.Query("x", RecordType.A, edns: 300, options: [1, 2, 3], version: 7);
        Assert.Equal(QueryStatus.Ok, DnsQuery.TryRead(packet, out var query));
        Assert.Equal(7, query.EdnsVersion);
        Assert.Equal(512, query.UdpPayloadSize); // never below 512
    }

    [Fact]
    public void Records_in_a_query_may_point_only_to_sound_names()
    {
        byte[] good = [.. DnsPackets.Query("x", RecordType.IXFR), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
        good[9] = 1;
        Assert.Equal(QueryStatus.Ok, DnsQuery.TryRead(good, out _));
        good[good.Length - 11] = 19; // points to itself
        Assert.Equal(QueryStatus.Malformed, DnsQuery.TryRead(good, out _));
    }

    [Fact]
    public void Reading_allocates_nothing()
    {
        var packet = DnsPackets.Query("www.example.com", RecordType.A, edns: 1232, options: [.. DnsPackets.Option(10, 1, 2, 3, 4, 5, 6, 7, 8), .. DnsPackets.Option(8, 0, 1, 24, 0, 192, 0, 2)]);
        var bad = 0;
        Assert.Equal(0, Allocation.Of(() => bad += DnsQuery.TryRead(packet, out _) == QueryStatus.Ok ? 0 : 1, warmUp: 1000));
        Assert.Equal(0, bad);
    }

    // RFC 9018 appendix A.1 and A.2.
    [Fact]
    public void Cookies_are_those_of_RFC_9018()
    {
        var cookies = new DnsCookies(Convert.FromHexString("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        var client = Convert.FromHexString("2464c4abcf10c957");
        var address = DnsRequest.Map(0xc6336464); // 198.51.100.100
        var made = new byte[24];
        cookies.Write(client, address, 1559731985, made);
        Assert.Equal("2464c4abcf10c957010000005cf79f111f8130c3eee29480", Convert.ToHexStringLower(made));
        Assert.True(cookies.IsValid(made, address, 1559731985 + 3599));
        Assert.False(cookies.IsValid(made, address, 1559731985 + 3601));
        Assert.False(cookies.IsValid(made, address, 1559731985 - 301));
        Assert.False(cookies.IsValid(made, address + 1, 1559731985));
        Assert.True(new DnsCookies(new byte[16], Convert.FromHexString("e5e973e5a6b2a43f48e7dc849e37bfcf")).IsValid(made, address, 1559731985));
        made[23] ^= 1;
        Assert.False(cookies.IsValid(made, address, 1559731985));
    }

    [Fact]
    public void SipHash_gives_its_authors_test_vector()
    {
        var key = Enumerable.Range(0, 16).Select(i => (byte)i).ToArray();
        Assert.Equal(0xa129ca6149be45e5, SipHash.Compute(key, Enumerable.Range(0, 15).Select(i => (byte)i).ToArray()));
    }
}
