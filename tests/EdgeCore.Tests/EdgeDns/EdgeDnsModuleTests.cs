using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.EdgeDns;
using Edge.Protocol.Dns;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>The resolver on real sockets, asked by dig, with upstreams of the test on loopback.</summary>
[Trait("Category", "Dns")]
public sealed class EdgeDnsModuleTests : IAsyncLifetime
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(60);
    private readonly FakeMetaStore _meta = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly List<TestUpstream> _upstreams = [];
    private EdgeDnsModule? _module;
    private Task _running = Task.CompletedTask;

    public Task InitializeAsync()
    {
        _meta.Put("node", Json("""{"metadata":{"name":"n1","namespace":"null"}}"""));
        _meta.Put("service", Json("""{"metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.96.0.7","ports":[{"name":"http","port":80}]}}"""));
        _meta.Put("service", Json("""{"metadata":{"name":"away","namespace":"shop"},"spec":{"type":"ExternalName","externalName":"www.example.com"}}"""));
        _meta.Put("service", Json("""{"metadata":{"name":"near","namespace":"shop"},"spec":{"type":"ExternalName","externalName":"web.shop.svc.cluster.local"}}"""));
        _meta.Put("service", Json("""{"metadata":{"name":"circle","namespace":"shop"},"spec":{"type":"ExternalName","externalName":"circle.shop.svc.cluster.local"}}"""));
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.WaitAsync(s_soon);
        foreach (var upstream in _upstreams)
            await upstream.DisposeAsync();
        _stop.Dispose();
    }

    [Fact]
    public async Task Dig_gets_cluster_names_and_their_absence_over_udp_and_tcp()
    {
        await StartAsync();
        foreach (var how in (string[])["+notcp", "+tcp"])
        {
            var found = await DigAsync(how, "web.shop.svc.cluster.local", "A");
            Assert.Contains("status: NOERROR", found, StringComparison.Ordinal);
            Assert.Contains("flags: qr aa rd ra;", found, StringComparison.Ordinal);
            Assert.Matches(@"web\.shop\.svc\.cluster\.local\.\s+5\s+IN\s+A\s+10\.96\.0\.7", found);
            var absent = await DigAsync(how, "none.shop.svc.cluster.local", "A");
            Assert.Contains("status: NXDOMAIN", absent, StringComparison.Ordinal);
            Assert.Matches(@"cluster\.local\.\s+5\s+IN\s+SOA\s+ns\.dns\.cluster\.local\.", absent);
        }

        Assert.Matches(@"7\.0\.96\.10\.in-addr\.arpa\.\s+5\s+IN\s+PTR\s+web\.shop\.svc\.cluster\.local\.", await DigAsync("-x", "10.96.0.7"));
    }

    [Fact]
    public async Task Odd_queries_get_the_code_that_their_rfc_says()
    {
        await StartAsync();
        Assert.Contains("status: BADVERS", await DigAsync("+edns=1", "+noednsneg", "web.shop.svc.cluster.local", "A"), StringComparison.Ordinal);
        Assert.Contains("status: REFUSED", await DigAsync("-c", "CH", "version.bind", "TXT"), StringComparison.Ordinal);
        Assert.Contains("status: NOTIMP", await DigAsync("+opcode=STATUS", "web.shop.svc.cluster.local", "A"), StringComparison.Ordinal);
        Assert.Contains("status: REFUSED", await DigAsync("www.example.com", "A"), StringComparison.Ordinal); // no upstreams
        Assert.Contains("status: NOERROR", await DigAsync("+noedns", "WeB.shop.svc.cluster.local", "A"), StringComparison.Ordinal);
        Assert.Contains("WeB.shop.svc.cluster.local.", await DigAsync("+noall", "+question", "WeB.shop.svc.cluster.local", "A"), StringComparison.Ordinal);

        using var socket = new UdpClient();
        socket.Connect(_module!.EndPoints[0]);
        await socket.SendAsync(new byte[] { 1, 2, 3 }); // less than a header: silence
        await socket.SendAsync(new byte[] { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1 }); // its name points to itself
        var answer = (await socket.ReceiveAsync().WaitAsync(s_soon)).Buffer;
        Assert.True(DnsHeader.TryRead(answer, out var header));
        Assert.Equal((0x1234, ResponseCode.FormatError, true), (header.Id, header.Rcode, header.IsResponse));
    }

    [Fact]
    public async Task What_is_not_the_clusters_comes_from_an_upstream_and_then_from_the_cache()
    {
        var upstream = Upstream(_ => TestUpstream.Address("192.0.2.80", 60));
        await StartAsync(upstream.EndPoint);
        Assert.Matches(@"www\.example\.com\.\s+60\s+IN\s+A\s+192\.0\.2\.80", await DigAsync("www.example.com", "A"));
        Assert.Matches(@"www\.example\.com\.\s+\d+\s+IN\s+A\s+192\.0\.2\.80", await DigAsync("www.example.com", "A"));
        Assert.Equal(1, upstream.Count);

        // An ExternalName is followed, outside and inside.
        var followed = await DigAsync("away.shop.svc.cluster.local", "A");
        Assert.Matches(@"away\.shop\.svc\.cluster\.local\.\s+5\s+IN\s+CNAME\s+www\.example\.com\.\s+www\.example\.com\.\s+\d+\s+IN\s+A\s+192\.0\.2\.80", followed);
        Assert.Matches(@"IN\s+CNAME\s+web\.shop\.svc\.cluster\.local\.\s+web\.shop\.svc\.cluster\.local\.\s+5\s+IN\s+A\s+10\.96\.0\.7", await DigAsync("near.shop.svc.cluster.local", "A"));
        Assert.Contains("status: SERVFAIL", await DigAsync("circle.shop.svc.cluster.local", "A"), StringComparison.Ordinal);
        Assert.Contains("edge_dns_answers_total{from=\"cache\"} ", _module!.Metrics(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_hanging_and_a_lying_upstream_are_passed_over_for_one_that_answers()
    {
        var hanging = Upstream(_ => null);
        var lying = Upstream(query => [.. query[..2].Select(b => (byte)~b), .. query[2..]]);
        var good = Upstream(_ => TestUpstream.Address("192.0.2.81", 60));
        await StartAsync(hanging.EndPoint, lying.EndPoint, good.EndPoint);
        Assert.Matches(@"a\.example\.com\.\s+60\s+IN\s+A\s+192\.0\.2\.81", await DigAsync("a.example.com", "A"));
        Assert.Equal((1, 1, 1), (hanging.Count, lying.Count, good.Count));
        Assert.Contains("edge_dns_upstream_failures_total 2", _module!.Metrics(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cut_answer_is_asked_for_again_over_tcp_and_cut_for_a_small_client()
    {
        var upstream = Upstream(_ => TestUpstream.Addresses(200, 60), cutsUdp: true);
        await StartAsync(upstream.EndPoint);
        var over = await DigAsync("+tcp", "many.example.com", "A");
        Assert.Contains("ANSWER: 200,", over, StringComparison.Ordinal);
        Assert.Equal(1, upstream.TcpCount);
        Assert.Contains("flags: qr tc rd ra;", await DigAsync("+ignore", "+notcp", "many.example.com", "A"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answers_follow_the_store_and_metrics_tell_the_services()
    {
        await StartAsync();
        Assert.Contains("edge_dns_services 4", _module!.Metrics(), StringComparison.Ordinal);
        _meta.Put("service", Json("""{"metadata":{"name":"new","namespace":"shop"},"spec":{"clusterIP":"10.96.0.44"}}"""));
        for (var found = ""; !found.Contains("10.96.0.44", StringComparison.Ordinal);)
            found = await DigAsync("new.shop.svc.cluster.local", "A");
    }

    [Fact]
    public async Task Hosts_of_global_services_are_answered_without_an_upstream_and_follow_the_store()
    {
        _meta.Put("globalservice", GlobalService("Up"));
        await StartAsync();
        var found = await DigAsync("SHOP.edge.example", "A");
        Assert.Contains("status: NOERROR", found, StringComparison.Ordinal);
        Assert.Matches(@"SHOP\.edge\.example\.\s+30\s+IN\s+A\s+192\.0\.2\.1\b", found);
        Assert.Contains("edge_dns_answers_total{from=\"global\"} 1", _module!.Metrics(), StringComparison.Ordinal);
        Assert.Contains("edge_dns_global_hosts 1", _module.Metrics(), StringComparison.Ordinal);
        _meta.Put("globalservice", GlobalService("Drained"));
        while (!found.Contains("192.0.2.2", StringComparison.Ordinal))
            found = await DigAsync("shop.edge.example", "A");
        Assert.Contains("status: REFUSED", await DigAsync("shop.edge.example", "TXT"), StringComparison.Ordinal); // the zone's, and there are no upstreams
    }

    [Fact]
    public async Task Zones_answer_with_all_their_records_follow_aliases_and_go_on_without_anybody()
    {
        var upstream = Upstream(_ => TestUpstream.Address("192.0.2.80", 60));
        _meta.Put("globalservice", GlobalService("Up"));
        _meta.Put("zone", Json("""
            {"metadata":{"name":"edge","generation":3},"resolved":{"hosts":["shop.edge.example","other.edge.example"]},"spec":{"apex":"edge.example","nameServers":["ns1"],"soa":{"minimum":20},"records":[
             {"name":"ns1","type":"A","data":["192.0.2.53"]},{"name":"www","type":"CNAME","data":["shop"]},{"name":"two","type":"CNAME","data":["www"]},{"name":"away","type":"CNAME","data":["www.example.com."]},
             {"name":"lost","type":"CNAME","data":["none"]},{"name":"loop","type":"CNAME","data":["loop"]},{"type":"MX","data":["10 ns1"]},{"name":"_http._tcp","type":"SRV","data":["0 5 80 shop"]},
             {"name":"text","type":"TXT","data":["a b"]},{"name":"child","type":"NS","data":["ns1.child"]},{"name":"ns1.child","type":"A","data":["192.0.2.54"]}]} }
            """));
        await StartAsync(upstream.EndPoint);
        Assert.Matches(@"edge\.example\.\s+300\s+IN\s+MX\s+10 ns1\.edge\.example\.", await DigAsync("edge.example", "MX"));
        Assert.Matches(@"IN\s+SRV\s+0 5 80 shop\.edge\.example\.", await DigAsync("+tcp", "_http._tcp.edge.example", "SRV"));
        Assert.Matches("IN\\s+TXT\\s+\"a b\"", await DigAsync("text.edge.example", "TXT"));
        // An alias to a GlobalService is answered local-first, also over two.
        Assert.Matches(@"two\.edge\.example\.\s+300\s+IN\s+CNAME\s+www\.edge\.example\.\s+www\.edge\.example\.\s+300\s+IN\s+CNAME\s+shop\.edge\.example\.\s+shop\.edge\.example\.\s+30\s+IN\s+A\s+192\.0\.2\.1\b", await DigAsync("two.edge.example", "A"));
        foreach (var (name, type, code) in ((string, string, string)[])[("none.edge.example", "A", "NXDOMAIN"), ("lost.edge.example", "A", "NXDOMAIN"), ("shop.edge.example", "TXT", "NOERROR"), ("shop.edge.example", "AAAA", "NOERROR")])
        {
            var absent = await DigAsync(name, type);
            Assert.Contains($"status: {code}", absent, StringComparison.Ordinal);
            Assert.Matches(@"edge\.example\.\s+20\s+IN\s+SOA\s+ns1\.edge\.example\. hostmaster\.edge\.example\. 3 ", absent);
        }

        Assert.Contains("status: SERVFAIL", await DigAsync("loop.edge.example", "A"), StringComparison.Ordinal);
        Assert.Equal(0, upstream.Count);
        // Where an alias leads out, what is delegated, and a service that is not known here, are others' to answer.
        Assert.Matches(@"away\.edge\.example\.\s+300\s+IN\s+CNAME\s+www\.example\.com\.\s+www\.example\.com\.\s+60\s+IN\s+A\s+192\.0\.2\.80", await DigAsync("away.edge.example", "A"));
        foreach (var name in (string[])["x.child.edge.example", "other.edge.example"])
            Assert.Contains("192.0.2.80", await DigAsync(name, "A"), StringComparison.Ordinal);
        Assert.Equal(3, upstream.Count);
        Assert.Contains("edge_dns_zones 1", _module!.Metrics(), StringComparison.Ordinal);
        Assert.Matches("edge_dns_answers_total{from=\"zone\"} [1-9]", _module.Metrics());
    }

    private static JsonObject GlobalService(string stateHere) => Json($$$"""
        {"metadata":{"name":"shop","namespace":"default"},"spec":{"hosts":["shop.edge.example"],"endpoints":[{"name":"web","nodeGroup":{"name":"hall"}}]},
         "resolved":{"hosts":["shop.edge.example"],"endpoints":[{"name":"web.n1","node":"n1","addresses":"192.0.2.1","state":"{{{stateHere}}}"},{"name":"web.n2","node":"n2","addresses":"192.0.2.2","state":"Up"}]} }
        """);

    [Fact]
    public void The_section_is_read_strictly_and_gives_pods_their_resolver()
    {
        var options = Parse("edgeDns: {clusterDomain: edge.test, upstreams: [192.0.2.1, '192.0.2.2:5353', '[2001:db8::1]:53'], serviceAddresses: endpoints, cache: {entriesMax: 5, staleSeconds: 0}}");
        Assert.True(options.EdgeDns.Enable);
        Assert.Equal("192.0.2.1:53 192.0.2.2:5353 [2001:db8::1]:53", string.Join(' ', options.EdgeDns.Upstreams));
        Assert.Equal("169.254.30.10:53 127.0.0.1:10053", string.Join(' ', options.EdgeDns.Listen));
        Assert.Equal((true, 5, 0), (options.EdgeDns.AnswersWithEndpoints, options.EdgeDns.CacheEntriesMax, options.EdgeDns.StaleSeconds));
        Assert.Equal(("169.254.30.10", "edge.test"), (options.Edged.ClusterDns, options.Edged.ClusterDomain));
        Assert.False(Parse("{}").EdgeDns.Enable);
        Assert.Equal("", Parse("{}").Edged.ClusterDns);
        Assert.Equal("10.96.0.10", Parse("edgeDns: {}\n  edged: {tailoredKubeletConfig: {clusterDNS: [10.96.0.10]}}").Edged.ClusterDns);

        var wrong = Assert.Throws<Edge.Common.Configuration.ConfigException>(() => Parse("edgeDns: {listen: [localhost], upstreams: ['169.254.30.10:53', nobody], serviceAddresses: pods, cache: {size: 1}, clusterDomain: 'a..b'}"));
        foreach (var part in (string[])["edgeDns.listen: has 'localhost', must be IP:PORT", "edgeDns.upstreams: has 'nobody'", "edgeDns.serviceAddresses: is 'pods'", "cache.size", "edgeDns.clusterDomain: is 'a..b'"])
            Assert.Contains(part, wrong.Message, StringComparison.Ordinal);
        Assert.Contains("where EdgeDns itself listens", Assert.Throws<Edge.Common.Configuration.ConfigException>(() => Parse("edgeDns: {upstreams: ['169.254.30.10:53']}")).Message, StringComparison.Ordinal);
    }

    private static EdgeCoreOptions Parse(string modules)
        => EdgeCoreConfig.Parse("edgecore.yaml", $"apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\nmodules:\n  {(modules == "{}" ? "edgeHub: {}" : modules)}\n", [], null, "n1");

    private static JsonObject Json(string text) => JsonNode.Parse(text)!.AsObject();

    private TestUpstream Upstream(Func<byte[], byte[]?> answer, bool cutsUdp = false)
    {
        var upstream = new TestUpstream(answer, cutsUdp);
        _upstreams.Add(upstream);
        return upstream;
    }

    private async Task StartAsync(params IPEndPoint[] upstreams)
    {
        var options = new EdgeCoreOptions
        {
            NodeName = "n1",
            EdgeDns = new EdgeDnsOptions { Enable = true, Listen = [new IPEndPoint(IPAddress.Loopback, 0)], Upstreams = upstreams, UpstreamTimeoutMs = 1000 },
        };
        _module = new EdgeDnsModule(new EdgeServices(options, _meta, new FakeUplink(), TimeProvider.System, new Random(1), NullLoggerFactory.Instance));
        var listening = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _module.Listening = listening.SetResult;
        _running = _module.RunAsync(_stop.Token);
        await await Task.WhenAny(listening.Task, _running).WaitAsync(s_soon);
    }

    private async Task<string> DigAsync(params string[] arguments)
    {
        var server = _module!.EndPoints[0];
        using var dig = Process.Start(new ProcessStartInfo("dig", ["-r", $"@{server.Address}", "-p", $"{server.Port}", "+tries=1", "+time=30", .. arguments]) { RedirectStandardOutput = true })!;
        var text = await dig.StandardOutput.ReadToEndAsync();
        await dig.WaitForExitAsync();
        return text;
    }

    /// <summary>A resolver on UDP and TCP of one port.</summary>
    private sealed class TestUpstream : IAsyncDisposable
    {
        private readonly Socket _udp = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        private readonly TcpListener _tcp;
        private readonly CancellationTokenSource _stop = new();
        private readonly Func<byte[], byte[]?> _answer;
        private readonly Task _serving;

        public TestUpstream(Func<byte[], byte[]?> answer, bool cutsUdp)
        {
            _answer = answer;
            while (true)
            {
                var tcp = new TcpListener(IPAddress.Loopback, 0);
                tcp.Start();
                try
                {
                    _udp.Bind(tcp.LocalEndpoint);
                    _tcp = tcp;
                    break;
                }
                catch (SocketException)
                {
                    tcp.Dispose(); // UDP has the port already: another one
                }
            }

            _serving = Task.WhenAll(UdpAsync(cutsUdp), TcpAsync());
        }

        public IPEndPoint EndPoint => (IPEndPoint)_udp.LocalEndPoint!;

        public int Count { get; private set; }

        public int TcpCount { get; private set; }

        public static byte[] Address(string address, uint ttl) => [.. IPAddress.Parse(address).GetAddressBytes(), .. BitConverter.GetBytes(ttl)];

        public static byte[] Addresses(int count, uint ttl) => [.. Enumerable.Range(0, count).SelectMany(i => Address($"192.0.{2 + (i / 250)}.{1 + (i % 250)}", ttl))];

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _serving;
            _udp.Dispose();
            _tcp.Dispose();
            _stop.Dispose();
        }

        private async Task UdpAsync(bool cuts)
        {
            var buffer = new byte[4096];
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    var received = await _udp.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0), _stop.Token);
                    Count++;
                    if (Answer(buffer[..received.ReceivedBytes], cuts) is { } answer)
                        await _udp.SendToAsync(answer, received.RemoteEndPoint, _stop.Token);
                }
                catch (Exception e) when (e is OperationCanceledException or SocketException)
                {
                    // Stopping, or the client has gone.
                }
            }
        }

        private async Task TcpAsync()
        {
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    using var client = await _tcp.AcceptTcpClientAsync(_stop.Token);
                    TcpCount++;
                    var stream = client.GetStream();
                    var head = new byte[2];
                    await stream.ReadExactlyAsync(head, _stop.Token);
                    var query = new byte[BinaryPrimitives.ReadUInt16BigEndian(head)];
                    await stream.ReadExactlyAsync(query, _stop.Token);
                    var answer = Answer(query, cuts: false)!;
                    BinaryPrimitives.WriteUInt16BigEndian(head, (ushort)answer.Length);
                    await stream.WriteAsync((byte[])[.. head, .. answer], _stop.Token);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
            }
        }

        // A query without question keeps: what begins like an answer of records is one, of address and ttl; anything else goes as it is.
        private byte[]? Answer(byte[] packet, bool cuts)
        {
            Assert.Equal(QueryStatus.Ok, DnsQuery.TryRead(packet, out var query));
            if (_answer(packet) is not { } records)
                return null;
            if (records.Length == packet.Length)
                return [records[0], records[1], (byte)(records[2] | 0x80), .. records[3..]];
            var buffer = new byte[DnsLimits.Message];
            var writer = new DnsWriter(buffer, buffer.Length, query.Id, (ushort)(DnsFlags.Response | DnsFlags.RecursionAvailable | (cuts ? DnsFlags.Truncated : 0)));
            writer.TryWriteQuestion(query.Question);
            for (var i = 0; !cuts && i < records.Length; i += 8)
                writer.TryWriteRecord(Section.Answer, query.Name, RecordType.A, RecordClass.IN, BitConverter.ToUInt32(records, i + 4), records.AsSpan(i, 4));
            return buffer[..writer.Finish()];
        }
    }
}
