using Edge.GlobalServices;
using Edge.Cloud.Gslb.Zones;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;
using Xunit;

namespace Edge.Gslb.Tests.Zones;

/// <summary>The zones most tests ask, and short ways to ask.</summary>
internal static class TestZones
{
    public const string Example = """
        @ 3600 SOA ns1 admin 7 7200 900 1209600 300
        @ 3600 NS ns1
        @ 3600 NS ns2.example.net.
        @ 3600 MX 10 mail
        @ 300 TXT "v=spf1 -all"
        @ 300 CAA 0 issue "ca.example.net"
        ns1 3600 A 192.0.2.53
        ns1 3600 AAAA 2001:db8::53
        www 60 A 192.0.2.1
        www 60 A 192.0.2.2
        www 60 AAAA 2001:db8::1
        mail 300 A 192.0.2.25
        alias 60 CNAME www
        alias2 60 CNAME alias
        outside 60 CNAME www.example.net.
        nowhere 60 CNAME missing
        loop1 60 CNAME loop2
        loop2 60 CNAME loop1
        todeleg 60 CNAME host.deleg
        towild 60 CNAME x.wild
        a.ent 60 TXT "below an empty non-terminal"
        *.wild 60 TXT "wild"
        *.wild 60 A 192.0.2.99
        exists.wild 60 A 192.0.2.98
        *.cwild 60 CNAME www
        deleg 3600 NS ns.deleg
        deleg 3600 NS ns2.example.net.
        ns.deleg 3600 A 192.0.2.54
        ns.deleg 3600 AAAA 2001:db8::54
        sub.deleg 3600 NS ns1
        big 60 TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        big 60 TXT "1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        big 60 TXT "2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        big 60 TXT "3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        big 60 TXT "4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        _sip._tcp 60 SRV 1 2 5060 www
        MixedCase 60 A 192.0.2.77
        opaque 60 TYPE65280 \# 3 abcdef
        ptr 60 PTR www
        """;

    public static ZoneSource Source(string apex, string text, params (string Name, int Service)[] services) => new()
    {
        Apex = DnsName.Parse(apex),
        Records = [.. ZoneText.Read(apex, text).Select(record => new ZoneRecord(record.Name, record.Type, record.Ttl, record.Data))],
        Services = [.. services.Select(service => new ZoneService(DnsName.Parse(service.Name), service.Service))],
        TransferAcl = Networks("127.0.0.0/8"),
    };

    public static ZoneSet Compile(params ZoneSource[] sources)
    {
        var zones = ZoneSet.Compile(sources, out var errors);
        Assert.Empty(errors);
        return zones;
    }

    public static AuthoritativeResponder Responder(ZoneSet zones, AuthoritativeOptions? options = null, IAddressSelector? selector = null)
    {
        var responder = new AuthoritativeResponder(options ?? new AuthoritativeOptions());
        responder.Serve(zones, selector);
        return responder;
    }

    public static NetworkList Networks(params string[] entries)
    {
        Assert.True(NetworkList.TryParse(entries, out var list, out var error), error);
        return list;
    }

    /// <summary>The answer's bytes; empty for silence.</summary>
    public static byte[] Ask(this IDnsResponder responder, byte[] query, bool tcp = false, string from = "198.51.100.7", long unixMs = 1_700_000_000_000)
    {
        var response = new byte[DnsLimits.Message];
        var length = responder.Respond(query, new DnsRequest(DnsRequest.ToNumber(System.Net.IPAddress.Parse(from)), 5353, tcp, unixMs), tcp ? response : response.AsSpan(0, 4096));
        return response[..Math.Max(length, 0)];
    }

    /// <summary>The answer in one line.</summary>
    public static string Ask(this IDnsResponder responder, string name, RecordType type, bool tcp = false, bool additional = false)
        => DnsPackets.Describe(responder.Ask(DnsPackets.Query(name, type, edns: 1232), tcp), additional);
}
