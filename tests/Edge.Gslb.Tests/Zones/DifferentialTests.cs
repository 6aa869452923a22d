using System.Net;
using System.Net.Sockets;
using Edge.Cloud.Gslb.Zones;
using Edge.Local.Processes;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;
using Xunit.Abstractions;

namespace Edge.Gslb.Tests.Zones;

/// <summary>Generated queries to us and to Knot, PowerDNS and gdnsd with the same zone: response code, AA, TC, answer and authority are the same, but for the differences
/// listed here, each with its reason.</summary>
[Trait("Category", "Dns")]
public sealed class DifferentialTests(ITestOutputHelper output)
{
    private const int Queries = 3000;

    private static readonly RecordType[] s_types =
    [
        RecordType.A, RecordType.AAAA, RecordType.TXT, RecordType.MX, RecordType.NS, RecordType.SOA, RecordType.CNAME, RecordType.SRV, RecordType.CAA, RecordType.PTR, RecordType.DS, RecordType.ANY,
        RecordType.HINFO, (RecordType)65280, (RecordType)65281,
    ];

    // A list of its own, so that a new difference is a failure: (which, when, why).
    private static readonly (string Peer, Func<Difference, bool> When, string Why)[] s_allowed =
    [
        ("", d => d.Type == RecordType.ANY, "RFC 8482 §4: ANY may be answered by one set, by all, by HINFO, or with TC"),
        ("", d => Loops(d.Name), "RFC 1034 §3.6.2: a loop of aliases is an error; each server stops following at another place, and gdnsd's and PowerDNS' zones come without"),
        ("pdns_server", d => Below(d.Name, "sub.deleg.example.com"), "RFC 2181 §6: what is below the topmost cut is not the zone's to give; PowerDNS refers by the lowest NS"),
        ("gdnsd", d => d.Ours.StartsWith($"{d.Theirs} |", StringComparison.Ordinal) || d.Ours.StartsWith($"{d.Theirs} Authority", StringComparison.Ordinal) || (d.Theirs.Contains(" CNAME ", StringComparison.Ordinal) && d.Ours.Contains(d.Theirs["NoError aa Answer: ".Length..], StringComparison.Ordinal)),
            "RFC 1034 §4.3.2 3a: an alias is followed within the zone; gdnsd leaves that to the resolver"),
        ("pdns_server", d => d.Type == RecordType.CNAME && d.Theirs.StartsWith($"{d.Ours} Authority: ", StringComparison.Ordinal), "RFC 2308 §2: SOA is for negative answers; PowerDNS adds it to a wildcard's alias that was asked for"),
        ("gdnsd", d => d.Type == RecordType.SOA && d.Ours.Replace(" 3600 SOA", " 300 SOA", StringComparison.Ordinal) == d.Theirs, "RFC 2308 §3: gdnsd gives SOA the negative TTL also when it is asked for"),
        ("gdnsd", d => d.Type == RecordType.DS && Below(d.Name, "deleg.example.com"), "RFC 4035 §3.1.4.1: DS at the delegation is the parent's; gdnsd knows no DS and refers"),
    ];

    [SkippableTheory]
    [InlineData("knotd", "knot", 1)]
    [InlineData("pdns_server", "pdns-server, pdns-backend-bind", 2)]
    [InlineData("gdnsd", "gdnsd", 3)]
    public async Task Answers_are_those_of_other_servers(string program, string package, int seed)
    {
        Skip.If(Tool.OnPath(program) is null, $"{program} (Debian: {package})");
        var zone = program == "knotd" ? TestZones.Example : Without(TestZones.Example, program == "gdnsd" ? ["loop", "opaque", "sub.deleg", "nowhere"] : ["loop"]);
        await using var peer = await DnsPeer.StartAsync(program, "example.com", zone);
        var responder = TestZones.Responder(TestZones.Compile(TestZones.Source("example.com", zone)));
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(IPAddress.Loopback, peer.Port);
        var random = new Random(seed);
        var names = Names(zone);
        var explained = new Dictionary<string, int>();
        var unexplained = new Dictionary<string, string>();
        for (var i = 0; i < Queries; i++)
        {
            var name = Generate(random, names);
            var type = s_types[random.Next(s_types.Length)];
            var edns = random.Next(4) == 0 ? 0 : 1232;
            var query = DnsPackets.Query(name, type, (ushort)i, edns, dnssecOk: edns > 0 && random.Next(3) == 0, flags: random.Next(2) == 0 ? DnsFlags.RecursionDesired : (ushort)0);
            var ours = DnsPackets.Describe(responder.Ask(query));
            var theirs = DnsPackets.Describe(await AskAsync(socket, query));
            if (ours == theirs)
                continue;
            var difference = new Difference(name.ToLowerInvariant(), type, ours, theirs);
            var why = s_allowed.FirstOrDefault(one => (one.Peer.Length == 0 || one.Peer == program) && one.When(difference)).Why;
            if (why is null)
                unexplained.TryAdd($"  ours   {ours}\n  theirs {theirs}", $"{difference.Name} {RecordData.TypeName(type)} edns {edns}");
            else
                explained[why] = explained.GetValueOrDefault(why) + 1;
        }

        foreach (var (why, count) in explained)
            output.WriteLine($"{count} of {Queries}: {why}");
        Assert.True(unexplained.Count == 0, $"{program}: {unexplained.Count} differences\n{string.Join('\n', unexplained.Take(25).Select(one => $"{one.Value}\n{one.Key}"))}");
    }

    [SkippableFact]
    public async Task Dig_reads_our_answers_over_UDP_and_TCP_and_transfers_the_zone()
    {
        Skip.If(Tool.OnPath("dig") is null, "dig (Debian: bind9-dnsutils)");
        var responder = TestZones.Responder(TestZones.Compile(TestZones.Source("example.com", TestZones.Example)), new AuthoritativeOptions { Nsid = "n1", Cookies = new DnsCookies(new byte[16]) });
        await using var server = Protocol.Dns.Server.DnsServer.Start(new IPEndPoint(IPAddress.Loopback, 0), responder, new Protocol.Dns.Server.DnsServerOptions(), TimeProvider.System);
        async Task<string> DigAsync(params string[] arguments)
        {
            var start = new System.Diagnostics.ProcessStartInfo("dig", ["@127.0.0.1", "-p", $"{server.EndPoint.Port}", "+time=20", "+tries=3", "+norec", .. arguments]) { RedirectStandardOutput = true };
            using var dig = System.Diagnostics.Process.Start(start)!;
            var text = await dig.StandardOutput.ReadToEndAsync();
            await dig.WaitForExitAsync();
            Assert.True(dig.ExitCode == 0, text);
            Assert.DoesNotContain("malformed", text, StringComparison.OrdinalIgnoreCase);
            return text.ReplaceLineEndings("\n");
        }

        Assert.Equal("192.0.2.1\n192.0.2.2\n", await DigAsync("+short", "www.example.com", "A"));
        Assert.Equal("192.0.2.1\n192.0.2.2\n", await DigAsync("+short", "+tcp", "www.example.com", "A"));
        Assert.Equal(5, (await DigAsync("+short", "+bufsize=512", "big.example.com", "TXT")).Split('\n').Length - 1); // by TCP after TC
        var whole = await DigAsync("+nsid", "+dnssec", "missing.example.com", "A");
        Assert.Contains("status: NXDOMAIN", whole, StringComparison.Ordinal);
        Assert.Contains("(\"n1\")", whole, StringComparison.Ordinal);
        Assert.Contains("(good)", whole, StringComparison.Ordinal); // dig's word for a sound cookie
        Assert.Contains("flags: do; udp: 1232", whole, StringComparison.Ordinal);
        var transfer = await DigAsync("+onesoa", "+nocmd", "+nostats", "example.com", "AXFR");
        Assert.Equal(TestZones.Example.Split('\n').Length, transfer.Split('\n').Count(line => line.Length > 0 && line[0] != ';'));
        Assert.Contains("BADVERS", await DigAsync("+edns=5", "+noednsnegotiation", "www.example.com", "A"), StringComparison.Ordinal);
        Assert.Contains("NOTIMP", await DigAsync("+opcode=15", "+header-only", "+noedns", "example.com"), StringComparison.Ordinal);
    }

    private static async Task<byte[]> AskAsync(Socket socket, byte[] query)
    {
        var buffer = new byte[65535];
        for (var attempt = 0; attempt < 10; attempt++)
        {
            await socket.SendAsync(query);
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(3));
            try
            {
                while (true)
                {
                    var length = await socket.ReceiveAsync(buffer, deadline.Token);
                    if (buffer.AsSpan(0, 2).SequenceEqual(query.AsSpan(0, 2)))
                        return buffer[..length];
                }
            }
            catch (OperationCanceledException)
            {
                // Lost, as UDP may: once more.
            }
        }

        Assert.Fail($"no answer to {Convert.ToHexString(query)}");
        return [];
    }

    private static string[] Names(string zone)
        => [.. zone.Split('\n').Select(line => line.Split(' ')[0]).Distinct().Select(name => name == "@" ? "example.com" : $"{name}.example.com"), "ent.example.com", "wild.example.com", "_tcp.example.com"];

    private static string Generate(Random random, string[] names)
    {
        var name = names[random.Next(names.Length)];
        switch (random.Next(6))
        {
            case 0:
                name = $"n{random.Next(5)}.{name}";
                break;
            case 1:
                name = $"a.b.{name}";
                break;
            case 2:
                name = new string([.. name.Select(letter => random.Next(2) == 0 ? char.ToUpperInvariant(letter) : letter)]);
                break;
            case 3:
                name = $"x{name}";
                break;
        }

        return name;
    }

    private static string Without(string zone, string[] names) => string.Join('\n', zone.Split('\n').Where(line => !names.Any(name => line.StartsWith(name, StringComparison.Ordinal))));

    private static bool Loops(string name) => name is "loop1.example.com" or "loop2.example.com";

    private static bool Below(string name, string zone) => name == zone || name.EndsWith("." + zone, StringComparison.Ordinal);

    private sealed record Difference(string Name, RecordType Type, string Ours, string Theirs);
}
