using System.Net;
using System.Net.Sockets;
using Edge.GlobalServices;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;
using Edge.Protocol.Dns.Server;
using Edge.Testing.Dns;
using Xunit;

namespace Edge.Gslb.Tests.Zones;

/// <summary>Zones, services and locations are swapped whole under load.</summary>
[Trait("Category", "Dns")]
public sealed class ReloadTests
{
    private const int Clients = 4;
    private const int QueriesEach = 1000;
    private const long SwapsMin = 1000;

    [Fact]
    public async Task Swapping_what_is_served_drops_no_query_and_mixes_no_states()
    {
        // The service has another number in each: a zone of one state with the selector of the other would give 192.0.2.99.
        var first = (Zones: TestZones.Compile(TestZones.Source("example.com", TestZones.Example, ("shop.example.com", 0))), Selector: new Numbered("192.0.2.7", "192.0.2.99"));
        var second = (Zones: TestZones.Compile(TestZones.Source("example.com", TestZones.Example, ("shop.example.com", 1))), Selector: new Numbered("192.0.2.99", "192.0.2.7"));
        var responder = TestZones.Responder(first.Zones, selector: first.Selector);
        await using var server = DnsServer.Start(new IPEndPoint(IPAddress.Loopback, 0), responder, new DnsServerOptions { UdpSockets = 2 }, TimeProvider.System);
        using var stop = new CancellationTokenSource();
        long swaps = 0;
        var swapping = Task.Factory.StartNew(
            () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    var (zones, selector) = Interlocked.Increment(ref swaps) % 2 == 0 ? second : first;
                    responder.Serve(zones, selector);
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default); // a thread of its own: the clients hold those of the pool
        try
        {
            await Task.WhenAll(Enumerable.Range(0, Clients).Select(_ => Task.Run(() =>
            {
                using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 30_000 };
                socket.Connect(server.EndPoint);
                var query = DnsPackets.Query("shop.example.com", RecordType.A);
                var answer = new byte[512];
                for (var i = 0; i < QueriesEach || Interlocked.Read(ref swaps) < SwapsMin; i++)
                {
                    socket.Send(query);
                    var length = socket.Receive(answer); // one that is dropped ends here
                    Assert.Equal(["shop.example.com. 30 A 192.0.2.7"], DnsPackets.Records(answer.AsSpan(0, length), Section.Answer));
                }
            })));
        }
        finally
        {
            await stop.CancelAsync();
            await swapping;
        }
    }

    // The address of each service.
    private sealed class Numbered(params string[] addresses) : IAddressSelector
    {
        public Selection Select(int service, bool ipv6, in ClientSubnet client, Span<UInt128> found)
        {
            found[0] = DnsRequest.ToNumber(IPAddress.Parse(addresses[service]));
            return new Selection(1, 30, 0);
        }
    }
}
