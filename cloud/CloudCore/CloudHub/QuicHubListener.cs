using System.Net;
using System.Net.Quic;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.Configuration;
using Edge.Cloud.Observability;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>A QUIC connection whose greeting is read and not yet answered.</summary>
/// <param name="Certificate">The client's, not judged yet; null when it sent none.</param>
internal sealed record QuicPeer(QuicHello Hello, string Address, X509Certificate2? Certificate, ILaneStreams Streams);

/// <summary>The hub's QUIC server: UDP, TLS 1.3 with the client's certificate asked for, and the greeting. It then hands the connection over.</summary>
[SupportedOSPlatform("linux")]
[SupportedOSPlatform("windows")]
[SupportedOSPlatform("macos")]
internal sealed class QuicHubListener : IAsyncDisposable
{
    // An edge dials QUIC for 5 s by default, and then the WebSocket.
    private static readonly TimeSpan s_waitWithin = TimeSpan.FromSeconds(3);

    private readonly QuicListener _listener;
    private readonly Func<QuicPeer, Task> _serve;
    private readonly AdmissionLimits _limits;
    private readonly TimeProvider _time;
    private readonly HubMetrics _metrics;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop;
    private readonly ServedConnections _served;
    private Task _accepting = Task.CompletedTask;
    private bool _isStopped;

    private QuicHubListener(
        QuicListener listener, Func<QuicPeer, Task> serve, AdmissionLimits limits, TimeProvider time, HubMetrics metrics, ILogger logger, CancellationTokenSource stop)
    {
        _listener = listener;
        _serve = serve;
        _limits = limits;
        _time = time;
        _metrics = metrics;
        _logger = logger;
        _served = new ServedConnections(time, logger);
        _stop = stop;
    }

    public int Port => _listener.LocalEndPoint.Port;

    /// <summary>Takes the port. Handshakes begin; who is through waits until <see cref="Serve"/>.</summary>
    /// <param name="tls">Asked for each connection, so that a new certificate serves at once.</param>
    /// <param name="serve">Serves a connection until it ends.</param>
    /// <param name="rate">The pace of handshakes, shared with the other ports.</param>
    /// <exception cref="CloudCoreException">The port is in use, or the address is not this machine's.</exception>
    public static async Task<QuicHubListener> OpenAsync(
        ListenOn on, Func<SslServerAuthenticationOptions> tls, Func<QuicPeer, Task> serve, AdmissionLimits limits, AdmissionRate rate, TimeProvider time, HubMetrics metrics,
        ILogger logger, CancellationToken cancellationToken)
    {
        ProbePort(on);
        var stop = new CancellationTokenSource();
        var waiting = 0;
        var waitingMax = limits.WaitingAt(rate.PerSecond, s_waitWithin);
        // Who waits for a turn here has taken nothing of the rate yet: connections that are given up meanwhile (cancelled) cost the others nothing, those of the other port included.
        var turn = new SemaphoreSlim(1, 1);
        try
        {
            var listener = await QuicListener.ListenAsync(
                new QuicListenerOptions
                {
                    ListenEndPoint = new IPEndPoint(IPAddress.Parse(on.Address), on.Port),
                    ApplicationProtocols = [new SslApplicationProtocol(QuicGreeting.Alpn)],
                    ListenBacklog = limits.AtOnce,
                    ConnectionOptionsCallback = async (_, _, cancelled) =>
                    {
                        // Throwing refuses the connection; its node tries again after a pause of its own.
                        if (Interlocked.Increment(ref waiting) > waitingMax || stop.IsCancellationRequested)
                        {
                            Interlocked.Decrement(ref waiting);
                            metrics.ConnectionRefused();
                            throw new AuthenticationException("too many connections wait, or cloudcore is stopping");
                        }

                        try
                        {
                            await turn.WaitAsync(cancelled);
                            try
                            {
                                await rate.WaitAsync(cancelled);
                            }
                            finally
                            {
                                turn.Release();
                            }
                        }
                        finally
                        {
                            Interlocked.Decrement(ref waiting);
                        }

                        return OptionsOf(tls(), limits.HandshakeWithin);
                    },
                },
                cancellationToken);
            return new QuicHubListener(listener, serve, limits, time, metrics, logger, stop);
        }
        catch (Exception e) when (e is QuicException or SocketException)
        {
            stop.Dispose();
            throw new CloudCoreException($"cannot listen on {on.Address}:{on.Port}/udp ({on.PortKey}): {e.Message}", e);
        }
    }

    /// <summary>Begins to take connections. Call once.</summary>
    public void Serve() => _accepting = AcceptAsync();

    /// <summary>Takes no more connections. Those that are served go on.</summary>
    public async Task StopAsync()
    {
        if (_isStopped)
            return;
        _isStopped = true;
        await _stop.CancelAsync();
        await _accepting;
        _served.Leave();
    }

    /// <summary>Stops, and waits up to <paramref name="deadline"/> for the connections that are still served.</summary>
    public async Task StopAsync(TimeSpan deadline)
    {
        await StopAsync();
        await _served.WaitAsync(deadline);
    }

    /// <summary>Frees the port; connections end with it.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await _listener.DisposeAsync();
        _stop.Dispose();
    }

    private static QuicServerConnectionOptions OptionsOf(SslServerAuthenticationOptions tls, TimeSpan handshakeWithin)
    {
        var options = new QuicServerConnectionOptions
        {
            // As the WebSocket hub presents itself and asks; the client is judged when its greeting is read.
            ServerAuthenticationOptions = new SslServerAuthenticationOptions
            {
                ApplicationProtocols = [new SslApplicationProtocol(QuicGreeting.Alpn)],
                ServerCertificateContext = tls.ServerCertificateContext,
                ClientCertificateRequired = true,
                CertificateChainPolicy = tls.CertificateChainPolicy,
                RemoteCertificateValidationCallback = tls.RemoteCertificateValidationCallback,
            },
            MaxInboundBidirectionalStreams = LinkLanes.Count,
        };
        QuicStreams.Configure(options, handshakeWithin);
        return options;
    }

    // The library shares a port with whoever has it already; a socket of our own does not.
    private static void ProbePort(ListenOn on)
    {
        if (on.Port == 0)
            return;
        var address = IPAddress.Parse(on.Address);
        using var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        ListenProbe.Bind(socket, on);
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            try
            {
                var connection = await _listener.AcceptConnectionAsync(_stop.Token);
                _served.Enter();
                _ = ServeAsync(connection); // awaited through _served; it does not throw
            }
            catch (Exception e) when (_stop.IsCancellationRequested && e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (Exception e) when (e is QuicException or AuthenticationException or OperationCanceledException)
            {
                // One handshake failed; the listener goes on.
                _metrics.HandshakeFailed();
                HubLog.HandshakeFailed(_logger, "", e.Message);
            }
        }
    }

    private async Task ServeAsync(QuicConnection connection)
    {
        var address = "";
        try
        {
            address = connection.RemoteEndPoint.Address.ToString();
            if (await GreetAsync(connection, address) is not { } peer)
                return;
            using (peer.Certificate)
                await _serve(peer);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // It went while it was told whether it may stay.
            HubLog.HandshakeFailed(_logger, address, e.Message);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            HubLog.ConnectionBroke(_logger, address, e);
        }
        finally
        {
            await connection.DisposeAsync();
            _served.Leave();
        }
    }

    // Null when the peer did not get through its greeting.
    private async Task<QuicPeer?> GreetAsync(QuicConnection connection, string address)
    {
        QuicStreams? streams = null;
        try
        {
            using var deadline = new CancellationTokenSource(_limits.HandshakeWithin, _time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, _stop.Token);
            streams = await QuicStreams.AcceptAsync(connection, both.Token);
            var hello = await QuicGreeting.ReadHelloAsync(streams[LinkLane.Control], both.Token);
            var certificate = connection.RemoteCertificate is { } raw ? raw as X509Certificate2 ?? X509CertificateLoader.LoadCertificate(raw.GetRawCertData()) : null;
            return new QuicPeer(hello, address, certificate, streams);
        }
        catch (Exception e) when (e is LinkException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            _metrics.HandshakeFailed();
            if (!_stop.IsCancellationRequested)
                HubLog.HandshakeFailed(_logger, address, e is OperationCanceledException ? $"not through within {_limits.HandshakeWithin.TotalSeconds:0.#} s" : e.Message);
            if (streams is not null)
                await streams.DisposeAsync();
            return null;
        }
    }
}
