using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Edge.Cloud.Gslb.Zones;
using Edge.Local.Processes;
using Edge.Protocol.Dns;
using Edge.Protocol.Dns.Server;
using Edge.Testing;

namespace Edge.Gslb.Tests.Zones;

/// <summary>The server asked by programs that others wrote: dig with the queries of RFC 8906 §8 (which public compliance checkers send), kdig, and the C library's resolver.</summary>
[Trait("Category", "Dns")]
public sealed class ComplianceTests : IAsyncLifetime
{
    private static readonly ToolOptions s_tool = new(TimeProvider.System) { Deadline = TimeSpan.FromMinutes(2) };
    private AuthoritativeResponder _responder = null!;
    private DnsServer _server = null!;

    public Task InitializeAsync()
    {
        _responder = TestZones.Responder(TestZones.Compile(TestZones.Source("example.com", TestZones.Example)), new AuthoritativeOptions { Nsid = "test-1", Cookies = new DnsCookies(new byte[16]) });
        _server = DnsServer.Start(new IPEndPoint(IPAddress.Loopback, 0), _responder, new DnsServerOptions(), TimeProvider.System);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync() => await _server.DisposeAsync();

    /// <param name="query">dig's options; the flags that the query has are what is asked, the answer is what is judged.</param>
    /// <param name="wanted">Patterns that the answer has, parted by blanks; one behind ! it has not.</param>
    [SkippableTheory]
    // RFC 8906 §8.1: without EDNS.
    [InlineData("+noedns +noad SOA example.com", "status:.NOERROR flags:.qr.aa; IN\\s+SOA !OPT")]
    [InlineData("+noedns +noad TYPE1000 example.com", "status:.NOERROR flags:.qr.aa; ANSWER:.0 AUTHORITY:.1 !OPT")] // §8.1.2: an unknown type is no error
    [InlineData("+noedns +noad +cd SOA example.com", "status:.NOERROR !flags:[^;]*ad IN\\s+SOA")] // §8.1.3
    [InlineData("+noedns +ad SOA example.com", "status:.NOERROR !flags:[^;]*ad; IN\\s+SOA")]
    [InlineData("+noedns +noad +zflag SOA example.com", "status:.NOERROR !MBZ IN\\s+SOA")] // §8.1.3.1: the reserved bit is ignored and not copied
    [InlineData("+noedns +noad +rec SOA example.com", "status:.NOERROR flags:.qr.aa.rd; IN\\s+SOA")] // §8.1.3.2
    [InlineData("+noedns +noad +opcode=15 +header-only", "status:.NOTIMP opcode:.RESERVED15 !aa")] // §8.1.4
    [InlineData("+noedns +ad +cd +rec +zflag +opcode=15 +header-only", "status:.NOTIMP opcode:.RESERVED15 flags:.qr; !MBZ")] // an unknown opcode's flags are not answered
    [InlineData("+noedns +noad +tcp SOA example.com", "status:.NOERROR flags:.qr.aa; IN\\s+SOA")] // §8.1.5
    // §8.2: with EDNS.
    [InlineData("+edns=0 +nocookie SOA example.com", "status:.NOERROR EDNS:.version:.0 flags:.qr.aa; IN\\s+SOA")]
    [InlineData("+edns=100 +noednsneg +nocookie SOA example.com", "status:.BADVERS EDNS:.version:.0 !IN\\s+SOA\\s+ns1")] // §8.2.2
    [InlineData("+edns=1 +noednsneg +nocookie SOA example.com", "status:.BADVERS EDNS:.version:.0 !IN\\s+SOA\\s+ns1")]
    [InlineData("+ednsopt=100 +nocookie SOA example.com", "status:.NOERROR EDNS:.version:.0 IN\\s+SOA !OPT=100")] // §8.2.3: ignored, not echoed
    [InlineData("+ednsflags=0x80 +nocookie SOA example.com", "status:.NOERROR EDNS:.version:.0 IN\\s+SOA !MBZ")] // §8.2.4
    [InlineData("+edns=100 +noednsneg +ednsflags=0x80 +nocookie SOA example.com", "status:.BADVERS EDNS:.version:.0 !MBZ")] // §8.2.5
    [InlineData("+edns=100 +noednsneg +ednsopt=100 +nocookie SOA example.com", "status:.BADVERS EDNS:.version:.0 !OPT=100")] // §8.2.6
    [InlineData("+dnssec +nocookie SOA example.com", "status:.NOERROR flags:.do IN\\s+SOA")]
    [InlineData("+bufsize=512 +ignore +notcp +nocookie +dnssec TXT big.example.com", "status:.NOERROR flags:.qr.aa.tc EDNS:.version:.0 flags:.do")] // §8.2.7: cut, and still with OPT
    [InlineData("+noedns +ignore +notcp +noad TXT big.example.com", "status:.NOERROR flags:.qr.aa.tc !OPT")]
    [InlineData("+bufsize=512 +nocookie TXT big.example.com", "ANSWER:.5 \\(TCP\\)")] // dig comes again over TCP
    [InlineData("+edns=0 +tcp +nocookie SOA example.com", "status:.NOERROR EDNS:.version:.0 IN\\s+SOA")]
    [InlineData("+cookie SOA example.com", "status:.NOERROR COOKIE:.[0-9a-f]{32,} \\(good\\)")] // RFC 7873
    [InlineData("+nocookie +nsid SOA example.com", "status:.NOERROR NSID: test-1")] // RFC 5001
    [InlineData("+nocookie +expire +keepalive +padding=64 SOA example.com", "status:.NOERROR EDNS:.version:.0 IN\\s+SOA")]
    [InlineData("+nocookie +subnet=0.0.0.0/0 SOA example.com", "status:.NOERROR EDNS:.version:.0 IN\\s+SOA")]
    // §3, and what resolvers meet in the wild.
    [InlineData("+nocookie ANY example.com", "status:.NOERROR flags:.qr.aa;")] // RFC 8482
    [InlineData("+nocookie A wWw.eXaMpLe.CoM", "status:.NOERROR ^wWw\\.eXaMpLe\\.CoM")] // 0x20
    [InlineData("+nocookie A none.example.com", "status:.NXDOMAIN flags:.qr.aa; AUTHORITY:.1 IN\\s+SOA")] // RFC 2308
    [InlineData("+nocookie A ent.example.com", "status:.NOERROR ANSWER:.0 IN\\s+SOA")] // RFC 8020: an empty non-terminal is there
    [InlineData("+nocookie A www.example.org", "status:.REFUSED !flags:[^;]*aa")]
    [InlineData("+nocookie -c CH TXT version.bind", "status:.REFUSED")]
    [InlineData("+nocookie IXFR=7 example.org", "Transfer.failed|status:.REFUSED")]
    public async Task Dig_gets_what_the_rfcs_say(string query, string wanted)
    {
        Requires.Dig();
        var words = query.Split(' ');
        var text = (await Tool.TryRunAsync(
            "dig", ["-r", "@127.0.0.1", "-p", Port, "+tries=1", "+time=30", "+norec", "+qr", .. words], s_tool, CancellationToken.None)).Output;
        // Behind the query that dig shows first.
        var answer = text.LastIndexOf(";; Got answer:", StringComparison.Ordinal) is >= 0 and var at ? text[at..] : text;
        foreach (var pattern in wanted.Split(' '))
        {
            var isAbsent = pattern.StartsWith('!');
            var isThere = Regex.IsMatch(answer, isAbsent ? pattern[1..] : pattern, RegexOptions.Multiline, TimeSpan.FromSeconds(10));
            Assert.True(isThere != isAbsent, $"{(isAbsent ? "has" : "lacks")} {pattern}:\n{text}");
        }
    }

    /// <summary>All tests of ISC's checker (the one behind ednscomp.isc.org): EDNS, flags and opcodes, types, what resolvers commonly send.</summary>
    [SkippableTheory]
    [InlineData("-f")]
    [InlineData("-c")]
    [InlineData("-t")]
    public async Task The_public_compliance_checker_finds_nothing(string tests)
    {
        Skip.If(Tool.OnPath("genreport") is null, "genreport (gitlab.isc.org/isc-projects/DNS-Compliance-Testing; no Debian package)");
        var said = await Tool.RunAsync("genreport", ["-4", "-P", Port, tests], s_tool with { Input = "example.com ns1.example.com 127.0.0.1\n" }, CancellationToken.None);
        var results = said.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(word => word.Contains('=', StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(results);
        // Behind ok come options that it names, no faults: opt=ok,nsid,cookie.
        Assert.All(results, result => Assert.Matches(@"^[\w@-]+=ok(,(nsid|cookie|subnet))*$", result));
    }

    [SkippableFact]
    public async Task Kdig_pipelines_over_tcp_and_reads_options_and_transfers()
    {
        Requires.Kdig();
        var several = await KdigAsync("+tcp", "+keepopen", "www.example.com", "A", "mail.example.com", "A", "none.example.com", "A");
        Assert.Contains("192.0.2.25", several, StringComparison.Ordinal);
        Assert.Contains("status: NXDOMAIN", several, StringComparison.Ordinal);
        Assert.Equal(3, Regex.Count(several, "->>HEADER<<-"));
        var options = await KdigAsync("+edns", "+nsid", "+cookie", "+padding=128", "www.example.com", "AAAA");
        Assert.Matches("NSID:.*(test-1|746573742D31)", options);
        Assert.Contains("2001:db8::1", options, StringComparison.Ordinal);
        Assert.Contains("ext-rcode: NOERROR", options, StringComparison.Ordinal);
        Assert.DoesNotContain("Malformed", options, StringComparison.OrdinalIgnoreCase);
        // Every record of the zone, the SOA twice (RFC 5936 §2.2).
        var transfer = await KdigAsync("example.com", "AXFR");
        Assert.Equal(2, Regex.Count(transfer, @"\sSOA\s"));
        Assert.Contains("MixedCase.example.com.", transfer, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task The_c_librarys_resolver_takes_the_answers()
    {
        Requires.Root();
        Skip.If(Tool.OnPath("unshare") is null || Tool.OnPath("getent") is null, "unshare, getent (Debian: util-linux, libc-bin)");
        // A resolv.conf knows no port: an address of its own on loopback, whose port 53 nobody has.
        var address = new IPAddress([127, 53, (byte)(Environment.ProcessId >> 8), (byte)Math.Max(1, Environment.ProcessId & 0xfe)]);
        DnsServer server;
        try
        {
            server = DnsServer.Start(new IPEndPoint(address, 53), _responder, new DnsServerOptions(), TimeProvider.System);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            throw new SkipException($"port 53 of all addresses is taken on this machine ({address}: {e.Message})");
        }

        await using (server)
        {
            using var directory = new TempDirectory();
            var (conf, order) = (directory.File("resolv.conf"), directory.File("nsswitch.conf"));
            await File.WriteAllTextAsync(conf, $"nameserver {address}\nsearch example.com\noptions timeout:30 attempts:1 ndots:1\n");
            await File.WriteAllTextAsync(order, "hosts: dns\n");
            var script = $"mount --bind {conf} /etc/resolv.conf && mount --bind {order} /etc/nsswitch.conf || exit 9; for name in \"$@\"; do echo \"$name: $(getent ahosts \"$name\" | cut -d ' ' -f 1 | sort -u | tr '\\n' ' ')\"; done";
            var said = await Tool.RunAsync(
                "unshare", ["--mount", "sh", "-c", script, "sh", "www.example.com", "www", "alias2.example.com", "x.wild.example.com", "none.example.com", "MIXEDCASE.example.com"], s_tool, CancellationToken.None);
            Assert.Equal(
                [
                    "www.example.com: 192.0.2.1 192.0.2.2 2001:db8::1", "www: 192.0.2.1 192.0.2.2 2001:db8::1", "alias2.example.com: 192.0.2.1 192.0.2.2 2001:db8::1",
                    "x.wild.example.com: 192.0.2.99", "none.example.com:", "MIXEDCASE.example.com: 192.0.2.77",
                ],
                said.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Trim()));
        }
    }

    private string Port => _server.EndPoint.Port.ToString(CultureInfo.InvariantCulture);

    private Task<string> KdigAsync(params string[] arguments)
        => Tool.RunAsync("kdig", ["@127.0.0.1", "-p", Port, "+norec", "+timeout=30", "+retry=0", .. arguments], s_tool, CancellationToken.None);
}
