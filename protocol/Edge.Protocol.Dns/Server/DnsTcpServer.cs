using System.Net;
using System.Net.Sockets;

namespace Edge.Protocol.Dns.Server;

/// <summary>Answers over TCP (RFC 7766): queries of a connection one after another without waiting for the client, several answers in one write.</summary>
public sealed class DnsTcpServer : IAsyncDisposable
{
    private static readonly TimeSpan s_sweep = TimeSpan.FromMilliseconds(250);
    private readonly DnsServerCounters _closed = new(); // under the gate
    private readonly IDnsResponder _responder;
    private readonly DnsServerOptions _options;
    private readonly TimeProvider _clock;
    private readonly Action<Exception>? _failed;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _transfers;
    private readonly Lock _gate = new();
    private readonly Dictionary<TcpConnection, Task> _connections = [];
    private readonly Dictionary<UInt128, int> _clients = [];
    private Task _running = Task.CompletedTask;

    private DnsTcpServer(Socket listener, IDnsResponder responder, DnsServerOptions options, TimeProvider clock, Action<Exception>? failed)
    {
        _listener = listener;
        _responder = responder;
        _options = options;
        _clock = clock;
        _failed = failed;
        _transfers = new SemaphoreSlim(options.TransfersMax);
    }

    /// <summary>Where it listens; the port is the real one when 0 was asked for.</summary>
    public IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndPoint!;

    /// <summary>Connections open now.</summary>
    public int ConnectionCount
    {
        get
        {
            lock (_gate)
                return _connections.Count;
        }
    }

    /// <summary>Those of closed connections together with those of the open ones.</summary>
    internal DnsServerCounters Counters
    {
        get
        {
            var sum = new DnsServerCounters();
            lock (_gate)
            {
                _closed.AddTo(sum);
                foreach (var connection in _connections.Keys)
                    connection.Counters.AddTo(sum);
            }

            return sum;
        }
    }

    /// <summary>Listens and answers until disposed.</summary>
    /// <param name="failed">Gets the exceptions of the responder.</param>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    /// <exception cref="SocketException">The address is not usable, e.g. the port is in use.</exception>
    public static DnsTcpServer Start(IPEndPoint endPoint, IDnsResponder responder, DnsServerOptions options, TimeProvider clock, Action<Exception>? failed = null)
    {
        options.Check();
        var listener = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (endPoint.Address.Equals(IPAddress.IPv6Any))
                listener.DualMode = true;
            listener.Bind(endPoint);
            listener.Listen(512);
        }
        catch
        {
            listener.Dispose();
            throw;
        }

        var server = new DnsTcpServer(listener, responder, options, clock, failed);
        server._running = Task.WhenAll(server.AcceptAsync(), server.SweepAsync());
        return server;
    }

    /// <summary>Milliseconds on the clock that a set wall clock does not move: deadlines must not jump with it.</summary>
    internal static long NowMs(TimeProvider clock) => (long)clock.GetElapsedTime(0).TotalMilliseconds;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _running;
        Task[] open;
        lock (_gate)
        {
            foreach (var connection in _connections.Keys)
                connection.Close();
            open = [.. _connections.Values];
        }

        await Task.WhenAll(open);
        _transfers.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync(_stop.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // The peer gave up before it was accepted, or this process has no file left: a rest, lest it spins.
                await Task.Delay(s_sweep, _clock, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                continue;
            }

            Take(socket);
        }
    }

    private void Take(Socket socket)
    {
        if (socket.RemoteEndPoint is not IPEndPoint peer)
        {
            socket.Dispose();
            return;
        }

        var address = DnsRequest.ToNumber(peer.Address);
        // A host of IPv6 has a whole /64 of addresses.
        var client = DnsRequest.IsMapped(address) ? address : address >> 64;
        lock (_gate)
        {
            var already = _clients.GetValueOrDefault(client);
            if (_connections.Count >= _options.TcpConnectionsMax || already >= _options.TcpConnectionsPerClientMax)
            {
                _closed.TcpRefused++;
                socket.Dispose();
                return;
            }

            _closed.TcpConnections++;
            _clients[client] = already + 1;
            var connection = new TcpConnection(socket, address, (ushort)peer.Port, _responder, _options, _clock, _transfers, _failed);
            _connections[connection] = Task.Run(() => ServeAsync(connection, client));
        }
    }

    private async Task ServeAsync(TcpConnection connection, UInt128 client)
    {
        try
        {
            await connection.ServeAsync(_stop.Token);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // The peer went away, the sweep closed it, or the server stops: the connection ends, which is all there is to do.
        }
        catch (Exception e) // a fault of a transfer; the server goes on
        {
            connection.Counters.Failures++;
            _failed?.Invoke(e);
        }
        finally
        {
            connection.Close();
            lock (_gate)
            {
                _connections.Remove(connection);
                connection.Counters.AddTo(_closed);
                if (_clients[client] == 1)
                    _clients.Remove(client);
                else
                    _clients[client]--;
            }
        }
    }

    // One clock for all connections: a timer for each read would cost more than the answers.
    private async Task SweepAsync()
    {
        using var timer = new PeriodicTimer(s_sweep, _clock);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                var now = NowMs(_clock);
                lock (_gate)
                {
                    foreach (var connection in _connections.Keys)
                    {
                        if (now < connection.DeadlineMs || !connection.Close())
                            continue;
                        _closed.TcpTimedOut++;
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The server stops.
        }
    }
}
