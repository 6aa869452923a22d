using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Edge.Protocol.Dns.Server;

/// <summary>Answers over UDP: several sockets on one port with a thread each, and on Linux many datagrams a system call.</summary>
public sealed class DnsUdpServer : IAsyncDisposable
{
    /// <summary>The longest query taken, bytes; a longer one gets no answer.</summary>
    public const int QueryMax = 4096;

    private readonly Socket[] _sockets;
    private readonly UdpWorker[] _workers;
    private readonly Thread[] _threads;

    private DnsUdpServer(Socket[] sockets, UdpWorker[] workers)
    {
        _sockets = sockets;
        _workers = workers;
        _threads = [.. workers.Select((worker, i) => new Thread(worker.Run) { IsBackground = true, Name = $"dns-udp-{i}" })];
        foreach (var thread in _threads)
            thread.Start();
    }

    /// <summary>Where it listens; the port is the real one when 0 was asked for.</summary>
    public IPEndPoint EndPoint => (IPEndPoint)_sockets[0].LocalEndPoint!;

    internal IEnumerable<DnsServerCounters> Counters => _workers.Select(worker => worker.Counters);

    /// <summary>Listens and answers until disposed.</summary>
    /// <param name="failed">Gets the exceptions of the responder, on the thread that met them.</param>
    /// <exception cref="SocketException">The address is not usable, e.g. the port is in use.</exception>
    public static DnsUdpServer Start(IPEndPoint endPoint, IDnsResponder responder, DnsServerOptions options, TimeProvider clock, Action<Exception>? failed = null)
    {
        var many = OperatingSystem.IsLinux() && nint.Size == 8;
        var batching = many && options.UdpBatching;
        // On all addresses, the answer has to leave from the one that was asked.
        var anyAddress = endPoint.Address.Equals(IPAddress.Any) || endPoint.Address.Equals(IPAddress.IPv6Any);
        var count = many ? (options.UdpSockets > 0 ? options.UdpSockets : Environment.ProcessorCount) : 1;
        var sockets = UdpSockets.Open(endPoint, count, options.UdpReceiveBuffer, batching && anyAddress);
        return new DnsUdpServer(
            sockets,
            [.. sockets.Select(UdpWorker (socket) => batching
                ? new BatchUdpWorker(socket, responder, options.UdpBatch, anyAddress, clock, failed)
                : new PlainUdpWorker(socket, responder, clock, failed))]);
    }

    /// <summary>Stops within a second: queries already taken are answered.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var worker in _workers)
            worker.Stop();
        await Task.Run(() =>
        {
            foreach (var thread in _threads)
                thread.Join();
        });
        foreach (var socket in _sockets)
            socket.Dispose();
    }
}

/// <summary>One socket's thread.</summary>
internal abstract class UdpWorker(Socket socket)
{
    private volatile bool _stopped;

    public DnsServerCounters Counters { get; } = new();

    protected Socket Socket { get; } = socket;

    protected bool IsStopped => _stopped;

    public abstract void Run();

    public void Stop()
    {
        _stopped = true;
        try
        {
            // Wakes the thread at once on Linux; elsewhere it wakes by its time-out.
            Socket.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
            // ENOTCONN: said of every UDP socket without a peer, after the thread was woken.
        }
    }
}

/// <summary>One datagram a system call: where there is no recvmmsg.</summary>
internal sealed class PlainUdpWorker(Socket socket, IDnsResponder responder, TimeProvider clock, Action<Exception>? failed) : UdpWorker(socket)
{
    public override void Run()
    {
        var query = new byte[DnsUdpServer.QueryMax];
        var response = new byte[DnsUdpServer.QueryMax];
        var from = new SocketAddress(Socket.AddressFamily);
        while (!IsStopped)
        {
            try
            {
                var length = Socket.ReceiveFrom(query, SocketFlags.None, from);
                if (IsStopped || !SocketAddresses.TryRead(from.Buffer.Span, out var address, out var port))
                    continue;
                var request = new DnsRequest(address, port, IsTcp: false, clock.GetUtcNow().ToUnixTimeMilliseconds());
                var answer = ResponderCall.Respond(responder, query.AsSpan(0, length), request, response, Counters, failed);
                Counters.Count(response.AsSpan(0, answer));
                if (answer > 0)
                    Socket.SendTo(response.AsSpan(0, answer), SocketFlags.None, from);
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock or SocketError.Interrupted or SocketError.Shutdown)
            {
                // Time to look whether to stop.
            }
            catch (SocketException)
            {
                // A datagram too long for the buffer, an ICMP error of an earlier answer, or an answer the kernel did not take: one query is lost, as UDP may.
                Counters.SendFailures++;
            }
        }
    }
}

/// <summary>Reads the kernel's socket addresses.</summary>
internal static class SocketAddresses
{
    /// <returns>False for other families, and for port 0, which cannot be answered.</returns>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out UInt128 address, out ushort port)
    {
        (address, port) = (default, 0);
        if (bytes.Length < 8)
            return false;
        var family = MemoryMarshal.Read<ushort>(bytes);
        port = System.Buffers.Binary.BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        if (family == 2)
            address = DnsRequest.Map(System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]));
        else if (bytes.Length >= 24)
            address = System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(bytes[8..]);
        else
            return false;
        return port != 0;
    }
}
