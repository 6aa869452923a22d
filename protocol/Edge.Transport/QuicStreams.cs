using System.Net;
using System.Net.Quic;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Security.Authentication;

namespace Edge.Transport;

/// <summary>Whether this machine can speak QUIC at all.</summary>
public static class QuicSupport
{
    /// <summary>Why not, and what to do about it; for logs.</summary>
    public const string Missing = "libmsquic was not found: install the package libmsquic of packages.microsoft.com (on Alpine, libmsquic of community), version 2.2 or newer, and start again";

    /// <summary>True when libmsquic, with a TLS that knows QUIC, could be loaded. The first question loads it.</summary>
    public static bool IsAvailable
        => (OperatingSystem.IsLinux() || OperatingSystem.IsWindows() || OperatingSystem.IsMacOS()) && QuicListener.IsSupported && QuicConnection.IsSupported;
}

/// <summary>The lanes of one QUIC connection (RFC 9000).</summary>
[SupportedOSPlatform("linux")]
[SupportedOSPlatform("windows")]
[SupportedOSPlatform("macos")]
public sealed class QuicStreams : ILaneStreams
{
    // Of our protocol: everything is said in frames, so one code is enough.
    private const long Cut = 1;

    private readonly QuicConnection _connection;
    private readonly QuicStream[] _streams;

    private QuicStreams(QuicConnection connection, QuicStream[] streams)
    {
        _connection = connection;
        _streams = streams;
    }

    public Stream this[LinkLane lane] => _streams[(int)lane];

    /// <summary>What both sides of a connection have in common.</summary>
    /// <param name="handshakeWithin">For the handshake.</param>
    /// <remarks>The session has keepalives of its own and cuts a silent peer; QUIC's idle timeout would only cut earlier.</remarks>
    public static void Configure(QuicConnectionOptions options, TimeSpan handshakeWithin)
    {
        options.DefaultCloseErrorCode = 0;
        options.DefaultStreamErrorCode = Cut;
        options.HandshakeTimeout = handshakeWithin;
        options.IdleTimeout = Timeout.InfiniteTimeSpan;
        options.MaxInboundUnidirectionalStreams = 0;
    }

    /// <summary>The edge's side: connects and greets.</summary>
    /// <param name="server">Host, which the certificate must name, and port.</param>
    /// <param name="tls">The node's certificate and how the server's is judged; the protocol is set here.</param>
    /// <exception cref="LinkException">CloudCore refused; the text has its code and reason.</exception>
    /// <exception cref="AuthenticationException">TLS failed, or the server's certificate was not accepted.</exception>
    /// <exception cref="IOException">Not reachable, or the connection broke.</exception>
    /// <exception cref="SocketException">The host's name is not known.</exception>
    public static async Task<QuicStreams> ConnectAsync(
        DnsEndPoint server, SslClientAuthenticationOptions tls, QuicHello hello, TimeSpan handshakeWithin, CancellationToken cancellationToken)
    {
        tls.ApplicationProtocols = [new SslApplicationProtocol(QuicGreeting.Alpn)];
        tls.TargetHost = server.Host;
        var options = new QuicClientConnectionOptions { RemoteEndPoint = IPAddress.TryParse(server.Host, out var address) ? new IPEndPoint(address, server.Port) : server, ClientAuthenticationOptions = tls };
        Configure(options, handshakeWithin);
        options.MaxInboundBidirectionalStreams = 0;
        var connection = await QuicConnection.ConnectAsync(options, cancellationToken);
        var streams = new QuicStream[LinkLanes.Count];
        try
        {
            for (var lane = 0; lane < streams.Length; lane++)
                streams[lane] = await connection.OpenOutboundStreamAsync(QuicStreamType.Bidirectional, cancellationToken);
            var made = new QuicStreams(connection, streams);
            await QuicGreeting.ConnectAsync(made, hello, cancellationToken);
            return made;
        }
        catch
        {
            await DisposeAsync(connection, streams);
            throw;
        }
    }

    /// <summary>CloudCore's side: takes the lanes that an edge opens. The greeting is then to be read from <see cref="LinkLane.Control"/>.</summary>
    /// <exception cref="LinkException">The peer opens other streams than ours.</exception>
    /// <exception cref="IOException">The connection broke.</exception>
    /// <remarks>On failure the connection is left to the caller.</remarks>
    public static async Task<QuicStreams> AcceptAsync(QuicConnection connection, CancellationToken cancellationToken)
    {
        var streams = new QuicStream?[LinkLanes.Count];
        try
        {
            for (var i = 0; i < streams.Length; i++)
            {
                var stream = await connection.AcceptInboundStreamAsync(cancellationToken);
                if (await QuicGreeting.ReadLaneAsync(stream, cancellationToken) is { } lane && streams[(int)lane] is null)
                {
                    streams[(int)lane] = stream;
                    continue;
                }

                await stream.DisposeAsync();
                throw new LinkException("the peer opened a stream that is no lane, or one lane twice");
            }

            return new QuicStreams(connection, streams!);
        }
        catch
        {
            foreach (var stream in streams)
            {
                if (stream is not null)
                    await stream.DisposeAsync();
            }

            throw;
        }
    }

    public async Task CompleteWritesAsync(CancellationToken cancellationToken)
    {
        foreach (var stream in _streams)
            stream.CompleteWrites();
        foreach (var stream in _streams)
            await stream.WritesClosed.WaitAsync(cancellationToken);
    }

    public void Abort()
    {
        foreach (var stream in _streams)
        {
            try
            {
                stream.Abort(QuicAbortDirection.Both, Cut);
            }
            catch (ObjectDisposedException)
            {
                // Disposed meanwhile: it is cut.
            }
        }
    }

    public ValueTask DisposeAsync() => DisposeAsync(_connection, _streams);

    private static async ValueTask DisposeAsync(QuicConnection connection, QuicStream?[] streams)
    {
        // The connection first: its end is then in order, and the streams have nothing left to say.
        await connection.DisposeAsync();
        foreach (var stream in streams)
        {
            if (stream is not null)
                await stream.DisposeAsync();
        }
    }
}
