using System.Net;
using System.Net.Sockets;

namespace Edge.Protocol.Dns.Server;

/// <summary>UDP and TCP on one address and port, with one responder.</summary>
public sealed class DnsServer : IAsyncDisposable
{
    private const int PortAttempts = 20;
    private readonly DnsUdpServer _udp;
    private readonly DnsTcpServer _tcp;

    private DnsServer(DnsUdpServer udp, DnsTcpServer tcp)
    {
        _udp = udp;
        _tcp = tcp;
    }

    public IPEndPoint EndPoint => _tcp.EndPoint;

    /// <summary>TCP connections open now.</summary>
    public int TcpConnectionCount => _tcp.ConnectionCount;

    /// <summary>What was counted since the start.</summary>
    public DnsServerFigures Figures => DnsServerFigures.Sum([.. _udp.Counters, _tcp.Counters]);

    /// <summary>What was counted since the start, over TCP only.</summary>
    public DnsServerFigures TcpFigures => DnsServerFigures.Sum([_tcp.Counters]);

    /// <summary>Listens and answers until disposed.</summary>
    /// <param name="endPoint">Port 0: one that is free for both.</param>
    /// <param name="failed">Gets the exceptions of the responder, each a fault of this program, on the thread that met it.</param>
    /// <exception cref="SocketException">The address is not usable, or its port in use.</exception>
    public static DnsServer Start(IPEndPoint endPoint, IDnsResponder responder, DnsServerOptions options, TimeProvider clock, Action<Exception>? failed = null)
    {
        for (var attempt = 1; ; attempt++)
        {
            var tcp = DnsTcpServer.Start(endPoint, responder, options, clock, failed);
            try
            {
                return new DnsServer(DnsUdpServer.Start(tcp.EndPoint, responder, options, clock, failed), tcp);
            }
            catch (SocketException e) when (endPoint.Port == 0 && e.SocketErrorCode == SocketError.AddressAlreadyInUse && attempt < PortAttempts)
            {
                // The port that was free for TCP has a UDP user: another one.
                Abandon(tcp);
            }
            catch
            {
                Abandon(tcp);
                throw;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _udp.DisposeAsync();
        await _tcp.DisposeAsync();
    }

    // It has just begun: nothing runs in it but the loops, which end at once.
    private static void Abandon(DnsTcpServer tcp) => tcp.DisposeAsync().AsTask().GetAwaiter().GetResult();
}
