using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>One address, UDP and TCP (RFC 7766).</summary>
/// <remarks>What the resolver knows is answered on the receiving loop; what has to be asked for runs beside it, at most <see cref="WaitingMax"/> at once over UDP, beyond which
/// queries are dropped and counted: a client asks again.</remarks>
internal sealed class EdgeDnsServer : IDisposable
{
    public const int WaitingMax = 1024;
    private const int ConnectionsMax = 128;
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(10);

    // After a failure of the socket: it may last (no more descriptors, an interface that went), and must not take a core meanwhile.
    private static readonly TimeSpan s_rest = TimeSpan.FromMilliseconds(20);

    private readonly Socket _udp;
    private readonly Socket _tcp;
    private readonly Resolver _resolver;
    private readonly EdgeDnsCounters _counters;
    private readonly Action<Exception> _broke;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _connections = new(ConnectionsMax);
    private int _waiting;

    private EdgeDnsServer(Socket udp, Socket tcp, Resolver resolver, EdgeDnsCounters counters, Action<Exception> broke, TimeProvider time)
    {
        _udp = udp;
        _tcp = tcp;
        _resolver = resolver;
        _counters = counters;
        _broke = broke;
        _time = time;
    }

    public IPEndPoint EndPoint => (IPEndPoint)_udp.LocalEndPoint!;

    /// <summary>Queries over UDP that wait for an upstream.</summary>
    public int Waiting => Volatile.Read(ref _waiting);

    /// <param name="broke">Told of a defect met while answering; the client gets nothing.</param>
    /// <exception cref="SocketException">The address is not this machine's, or in use.</exception>
    public static EdgeDnsServer Open(IPEndPoint address, Resolver resolver, EdgeDnsCounters counters, Action<Exception> broke, TimeProvider time)
    {
        // With port 0 the one that UDP gets may be taken for TCP.
        for (var attempt = 0; ; attempt++)
        {
            Socket? udp = null;
            Socket? tcp = null;
            try
            {
                udp = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 1 << 20 };
                udp.Bind(address);
                tcp = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                tcp.Bind(new IPEndPoint(address.Address, ((IPEndPoint)udp.LocalEndPoint!).Port));
                tcp.Listen(64);
                return new EdgeDnsServer(udp, tcp, resolver, counters, broke, time);
            }
            catch (SocketException e)
            {
                udp?.Dispose();
                tcp?.Dispose();
                if (address.Port != 0 || attempt >= 20 || e.SocketErrorCode != SocketError.AddressAlreadyInUse)
                    throw;
            }
        }
    }

    /// <summary>Serves until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(ServeUdpAsync(cancellationToken), ServeTcpAsync(cancellationToken));

    public void Dispose()
    {
        _udp.Dispose();
        _tcp.Dispose();
        _connections.Dispose();
    }

    private async Task ServeUdpAsync(CancellationToken cancellationToken)
    {
        var buffer = GC.AllocateUninitializedArray<byte>(DnsLimits.Message);
        var anyone = new IPEndPoint(_udp.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
        while (true)
        {
            SocketReceiveFromResult received;
            try
            {
                received = await _udp.ReceiveFromAsync(buffer, anyone, cancellationToken);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (SocketException)
            {
                // A client that went before its answer came (ECONNREFUSED); the next one is served.
                Interlocked.Increment(ref _counters.Dropped);
                await RestAsync(cancellationToken);
                continue;
            }

            var answer = _resolver.TryResolve(buffer.AsSpan(0, received.ReceivedBytes), isTcp: false, out var question);
            if (answer is not null)
                await SendAsync(answer, received.RemoteEndPoint, cancellationToken);
            else if (Interlocked.Increment(ref _waiting) <= WaitingMax)
                _ = AnswerLaterAsync(buffer[..received.ReceivedBytes], question, received.RemoteEndPoint, cancellationToken); // ends with the forwarder's answer, which always comes
            else
                Drop();
        }
    }

    private async Task RestAsync(CancellationToken cancellationToken)
    {
        try
        {
            await Task.Delay(s_rest, _time, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping; the loop sees it.
        }
    }

    private void Drop()
    {
        Interlocked.Decrement(ref _waiting);
        Interlocked.Increment(ref _counters.Dropped);
    }

    private async Task AnswerLaterAsync(byte[] query, DnsQuestion question, EndPoint client, CancellationToken cancellationToken)
    {
        try
        {
            await SendAsync(await _resolver.ResolveAsync(query, isTcp: false, question), client, cancellationToken);
        }
        catch (Exception e) // the outermost frame of a query
        {
            _broke(e);
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    private async Task SendAsync(byte[] answer, EndPoint client, CancellationToken cancellationToken)
    {
        if (answer.Length == 0)
            return;
        try
        {
            await _udp.SendToAsync(answer, client, cancellationToken);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            Interlocked.Increment(ref _counters.Dropped);
        }
    }

    private async Task ServeTcpAsync(CancellationToken cancellationToken)
    {
        var serving = new List<Task>();
        try
        {
            while (true)
            {
                await _connections.WaitAsync(cancellationToken);
                try
                {
                    var socket = await _tcp.AcceptAsync(cancellationToken);
                    serving.RemoveAll(task => task.IsCompleted);
                    serving.Add(ServeConnectionAsync(socket, cancellationToken));
                }
                catch (SocketException)
                {
                    // It went before it was taken.
                    _connections.Release();
                    Interlocked.Increment(ref _counters.Dropped);
                    await RestAsync(cancellationToken);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await Task.WhenAll(serving);
        }
    }

    private async Task ServeConnectionAsync(Socket socket, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = new NetworkStream(socket, ownsSocket: true);
            socket.NoDelay = true;
            var head = new byte[2];
            while (true)
            {
                using var idle = new CancellationTokenSource(s_idle, _time);
                using var both = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, cancellationToken);
                await stream.ReadExactlyAsync(head, both.Token);
                var query = new byte[BinaryPrimitives.ReadUInt16BigEndian(head)];
                await stream.ReadExactlyAsync(query, both.Token);
                var answer = _resolver.TryResolve(query, isTcp: true, out var question) ?? await _resolver.ResolveAsync(query, isTcp: true, question);
                if (answer.Length == 0)
                    return; // what is no query ends the connection
                var framed = new byte[answer.Length + 2];
                BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)answer.Length);
                answer.CopyTo(framed, 2);
                using var slow = new CancellationTokenSource(s_idle, _time);
                using var writing = CancellationTokenSource.CreateLinkedTokenSource(slow.Token, cancellationToken);
                await stream.WriteAsync(framed, writing.Token);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // The client is done, too slow, or we stop.
            if (e is not (EndOfStreamException or OperationCanceledException))
                Interlocked.Increment(ref _counters.Dropped);
        }
        finally
        {
            _connections.Release();
        }
    }
}
