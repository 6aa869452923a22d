using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Threading.Channels;
using Edge.Cloud.Configuration;
using Edge.Cloud.Observability;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>How connections are admitted.</summary>
internal sealed record AdmissionLimits
{
    /// <summary>Handshakes at work at once.</summary>
    public int AtOnce { get; init; } = 64;

    /// <summary>Connections that may wait for their turn; further ones are closed at once, and their nodes try again after a pause of their own.</summary>
    public int WaitingMax { get; init; } = 16_384;

    /// <summary>TLS and the request's head must be through within this time.</summary>
    public TimeSpan HandshakeWithin { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Connections that may wait so that the last of them has its turn within <paramref name="within"/>, at most <see cref="WaitingMax"/>.</summary>
    /// <remarks>A longer queue would be served in vain: at its head would be peers that are about to give up, and a storm that comes back faster than it is admitted would never end.</remarks>
    public int WaitingAt(int perSecond, TimeSpan within) => (int)Math.Clamp(perSecond * within.TotalSeconds, 1, WaitingMax);
}

/// <summary>The hub's own server: TCP, TLS with the client's certificate asked for, and the head of one request. It then hands the connection over.</summary>
/// <remarks>Not Kestrel: an idle connection there holds pipes, a request and its feature collections for as long as it lives, which is more than the session itself
/// (docs/decisions/0007-hub-listener.md has the figures). The HTTPS ports, where connections are short, are Kestrel's.</remarks>
internal sealed class HubListener : IAsyncDisposable
{
    // An accept that fails is tried again after 0.1 s: no failure for so long means that it works again.
    private static readonly TimeSpan s_acceptRecovered = TimeSpan.FromSeconds(3);

    // Linux, netinet/tcp.h: tcpi_state is the first byte of struct tcp_info.
    private const int IpProtoTcp = 6;
    private const int TcpInfo = 11;
    private const byte TcpEstablished = 1;

    private readonly Socket _socket;
    private readonly Func<SslServerAuthenticationOptions> _tls;
    private readonly Func<HubConnection, Task> _serve;
    private readonly AdmissionLimits _limits;
    private readonly AdmissionRate _rate;
    private readonly TimeProvider _time;
    private readonly HubMetrics _metrics;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<Socket> _waiting;
    private readonly SemaphoreSlim _handshakes;
    private readonly ServedConnections _served;
    private Task[] _loops = [];
    private AcceptFailure? _acceptFailure;

    private HubListener(
        Socket socket, Func<SslServerAuthenticationOptions> tls, Func<HubConnection, Task> serve, AdmissionLimits limits, AdmissionRate rate, TimeProvider time, HubMetrics metrics,
        ILogger logger)
    {
        _socket = socket;
        _tls = tls;
        _serve = serve;
        _limits = limits;
        _rate = rate;
        _time = time;
        _metrics = metrics;
        _logger = logger;
        _served = new ServedConnections(time, logger);
        // Full means close at once: TryWrite says so. An edge dials for 30 s (its handshakeTimeout): half for the queue, half for the handshake.
        _waiting = Channel.CreateBounded<Socket>(new BoundedChannelOptions(limits.WaitingAt(rate.PerSecond, limits.HandshakeWithin)) { SingleReader = true, SingleWriter = true, FullMode = BoundedChannelFullMode.Wait });
        _handshakes = new SemaphoreSlim(limits.AtOnce, limits.AtOnce);
    }

    public int Port => ((IPEndPoint)_socket.LocalEndPoint!).Port;

    /// <summary>Why edges cannot connect; null while they can.</summary>
    public string? Problem
        => _stop.IsCancellationRequested || _loops.Any(loop => loop.IsCompleted) ? "the hub's port has been closed"
            : Volatile.Read(ref _acceptFailure) is { } failure && _time.GetElapsedTime(failure.At) < s_acceptRecovered ? $"connections cannot be accepted: {failure.Why}" : null;

    /// <summary>Connections accepted that wait for their handshake.</summary>
    public int Waiting => _waiting.Reader.Count;

    /// <summary>Takes the port; connections wait in the system's own queue until <see cref="Serve"/>.</summary>
    /// <param name="tls">Asked for each connection, so that a new certificate serves at once.</param>
    /// <param name="serve">Serves a connection until it ends.</param>
    /// <param name="rate">The pace of handshakes, shared with the other ports.</param>
    /// <exception cref="CloudCoreException">The port is in use, or the address is not this machine's.</exception>
    public static HubListener Open(
        ListenOn on, Func<SslServerAuthenticationOptions> tls, Func<HubConnection, Task> serve, AdmissionLimits limits, AdmissionRate rate, TimeProvider time, HubMetrics metrics,
        ILogger logger)
        => new(ListenProbe.Listen(on), tls, serve, limits, rate, time, metrics, logger);

    /// <summary>Begins to take connections. Call once.</summary>
    public void Serve() => _loops = [AcceptAsync(), AdmitAsync()];

    /// <summary>Takes no more connections. Those that are served go on.</summary>
    public async Task StopAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        _socket.Dispose();
        _waiting.Writer.TryComplete();
        await Task.WhenAll(_loops);
        while (_waiting.Reader.TryRead(out var socket))
            socket.Dispose();
        _served.Leave();
    }

    /// <summary>Stops, and waits up to <paramref name="deadline"/> for the connections that are still served.</summary>
    public async Task StopAsync(TimeSpan deadline)
    {
        await StopAsync();
        await _served.WaitAsync(deadline);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
        _handshakes.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            try
            {
                var socket = await _socket.AcceptAsync(_stop.Token);
                if (_waiting.Writer.TryWrite(socket))
                    continue;
                _metrics.ConnectionRefused(); // first: who sees the end of its connection finds it counted
                socket.Dispose();
            }
            catch (Exception e) when (_stop.IsCancellationRequested && e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                // Out of descriptors, or the peer went before it was accepted: neither may end the listener.
                HubLog.AcceptFailed(_logger, e.Message);
                Volatile.Write(ref _acceptFailure, new AcceptFailure(_time.GetTimestamp(), e.Message));
                await PauseAsync();
            }
        }
    }

    private sealed record AcceptFailure(long At, string Why);

    private async Task PauseAsync()
    {
        try
        {
            await Task.Delay(TimeSpan.FromMilliseconds(100), _time, _stop.Token);
        }
        catch (OperationCanceledException)
        {
            // Stopping: the next accept says so.
        }
    }

    private async Task AdmitAsync()
    {
        var hasTurn = false;
        try
        {
            while (await _waiting.Reader.WaitToReadAsync(_stop.Token))
            {
                if (!hasTurn)
                {
                    await _rate.WaitAsync(_stop.Token);
                    await _handshakes.WaitAsync(_stop.Token);
                    hasTurn = true;
                }

                if (!_waiting.Reader.TryRead(out var socket))
                    continue;
                // The turn stays with who comes next: peers that gave up while they waited would make the living wait longer and longer.
                if (!PeerIsThere(socket))
                {
                    socket.Dispose();
                    _metrics.ConnectionAbandoned();
                    continue;
                }

                hasTurn = false;
                _served.Enter();
                _ = ServeAsync(socket); // awaited through _served; it does not throw
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    /// <summary>False when the peer has closed its side, or the connection broke.</summary>
    /// <remarks>A peer that began TLS and closed has left bytes to read, so that only TCP's state tells. Elsewhere than on Linux such a one passes for living.</remarks>
    internal static bool PeerIsThere(Socket socket)
    {
        try
        {
            if (!OperatingSystem.IsLinux())
                return !(socket.Poll(0, SelectMode.SelectRead) && socket.Available == 0);
            Span<byte> state = stackalloc byte[1];
            return socket.GetRawSocketOption(IpProtoTcp, TcpInfo, state) == 1 && state[0] == TcpEstablished;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        HubConnection? connection = null;
        try
        {
            try
            {
                connection = await GreetAsync(socket);
            }
            finally
            {
                _handshakes.Release();
            }

            if (connection is not null)
                await _serve(connection);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            HubLog.ConnectionBroke(_logger, connection?.Address ?? "", e);
        }
        finally
        {
            if (connection is not null)
                await connection.DisposeAsync();
            else
                socket.Dispose();
            _served.Leave();
        }
    }

    // TLS and the request's head; null when the peer did not get through that.
    private async Task<HubConnection?> GreetAsync(Socket socket)
    {
        var address = "";
        SslStream? ssl = null;
        try
        {
            address = (socket.RemoteEndPoint as IPEndPoint)?.Address.ToString() ?? "";
            socket.NoDelay = true;
            using var deadline = new CancellationTokenSource(_limits.HandshakeWithin, _time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, _stop.Token);
            ssl = new SslStream(new NetworkStream(socket, ownsSocket: true), leaveInnerStreamOpen: false);
            await ssl.AuthenticateAsServerAsync(_tls(), both.Token);
            TlsBuffers.ReleaseWhenIdle(ssl);
            return await HubConnection.ReadRequestAsync(ssl, address, both.Token);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or SocketException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            _metrics.HandshakeFailed();
            if (!_stop.IsCancellationRequested)
                HubLog.HandshakeFailed(_logger, address, e is OperationCanceledException ? $"not through within {_limits.HandshakeWithin.TotalSeconds:0.#} s" : e.Message);
            if (ssl is not null)
                await ssl.DisposeAsync();
            return null;
        }
    }
}
