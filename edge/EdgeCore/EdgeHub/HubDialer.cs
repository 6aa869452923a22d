using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Authentication;
using Edge.Core.Configuration;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>A link just made, and whereto, for the log.</summary>
internal sealed record DialedLink(ILink Link, string Server);

/// <summary>Opens the link to CloudCore: QUIC where it is switched on and can be had, else the WebSocket (kubeedge-wire §1.2, §1.9).</summary>
/// <param name="wrap">Laid round the TCP stream, below TLS, by who counts bytes; null for none.</param>
internal sealed class HubDialer(EdgeHubOptions options, string nodeName, TimeProvider time, ILogger log, Func<Stream, Stream>? wrap = null)
{
    // As much of a refusal's reason as goes into the log, characters.
    private const int ReasonMax = 200;

    /// <summary>Where the first try goes, for the log.</summary>
    public string Server => options.Quic.Enable ? $"{options.Quic.Server} (QUIC)" : options.Server;

    /// <remarks>QUIC is tried at each call, also after it failed: what stood in its way may be gone.</remarks>
    /// <exception cref="LinkException">Not reachable, not trusted, or refused; the text says which.</exception>
    public async Task<DialedLink> DialAsync(Credentials credentials, CancellationToken cancellationToken)
    {
        if (!options.Quic.Enable)
            return await DialWebSocketAsync(credentials, cancellationToken);
        try
        {
            if (!QuicSupport.IsAvailable)
                throw new LinkException(QuicSupport.Missing);
            return new DialedLink(await QuicDialer.DialAsync(options, nodeName, credentials, time, cancellationToken), Server);
        }
        catch (LinkException e) when (options.WebSocketEnable)
        {
            HubLog.QuicFailed(log, options.Quic.Server, e.Message, options.Server);
        }

        return await DialWebSocketAsync(credentials, cancellationToken);
    }

    private async Task<DialedLink> DialWebSocketAsync(Credentials credentials, CancellationToken cancellationToken)
    {
        var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("ConnectionUse", "msg");
        socket.Options.SetRequestHeader(EdgeWire.Header, EdgeWire.Version);
        // A stock cloud answers no keepalive, but its WebSocket answers pings: a half-open connection shows within two beats (the two waits, each looked at in
        // steps of an eighth of a beat). An Edge cloud says something each beat, and so no ping is ever due.
        var beat = TimeSpan.FromSeconds(options.HeartbeatSeconds);
        socket.Options.KeepAliveInterval = beat * 1.2;
        socket.Options.KeepAliveTimeout = beat * 0.5;
        await ConnectAsync(socket, "events", credentials, cancellationToken);
        var agreed = socket.HttpResponseHeaders?.FirstOrDefault(header => header.Key.Equals(EdgeWire.Header, StringComparison.OrdinalIgnoreCase)).Value?.FirstOrDefault();
        return new DialedLink(new WebSocketLink(socket, time, TimeSpan.FromSeconds(options.WriteDeadlineSeconds), EdgeWire.Includes(agreed)), options.Server);
    }

    /// <summary>Opens a connection for one stream that CloudCore asked for (<see cref="NodeStreamWire"/>). The caller disposes it.</summary>
    /// <exception cref="LinkException">As <see cref="DialAsync"/>; also when nobody waits for the stream any more.</exception>
    public async Task<WebSocket> DialStreamAsync(string id, Credentials credentials, CancellationToken cancellationToken)
    {
        var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("ConnectionUse", NodeStreamWire.ConnectionUse);
        socket.Options.SetRequestHeader(NodeStreamWire.Header, id);
        // Pongs that nobody asked for keep a NAT's entry alive. A ping's answer would wait behind what a slow reader has not taken.
        socket.Options.KeepAliveInterval = TimeSpan.FromSeconds(options.HeartbeatSeconds);
        socket.Options.KeepAliveTimeout = Timeout.InfiniteTimeSpan;
        await ConnectAsync(socket, NodeStreamWire.ConnectionUse, credentials, cancellationToken);
        return socket;
    }

    // Connects, or disposes the socket and says why not.
    private async Task ConnectAsync(ClientWebSocket socket, string use, Credentials credentials, CancellationToken cancellationToken)
    {
        var trusted = true;
        socket.Options.CollectHttpResponseDetails = true;
        using var invoker = Invoker(credentials.TlsOptions(verdict => trusted = verdict), wrap);
        socket.Options.SetRequestHeader("node_id", nodeName);
        socket.Options.SetRequestHeader("project_id", options.ProjectId);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(options.HandshakeTimeoutSeconds), time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            await socket.ConnectAsync(new Uri($"wss://{options.Server}/{options.ProjectId}/{nodeName}/{use}"), invoker, both.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            socket.Dispose();
            throw new LinkException($"no connection within {options.HandshakeTimeoutSeconds} s");
        }
        catch (OperationCanceledException)
        {
            socket.Dispose();
            throw;
        }
        catch (WebSocketException e)
        {
            var status = socket.HttpStatusCode;
            // Edge's own hub says why in this header; a stock one sends none.
            var said = socket.HttpResponseHeaders?.FirstOrDefault(header => header.Key.Equals("X-Refused-Because", StringComparison.OrdinalIgnoreCase)).Value?.FirstOrDefault();
            socket.Dispose();
            throw new LinkException(Explain(e, status, said is { Length: > ReasonMax } ? said[..ReasonMax] : said, trusted), e);
        }
    }

    private static HttpMessageInvoker Invoker(SslClientAuthenticationOptions tls, Func<Stream, Stream>? wrap)
        => new(new SocketsHttpHandler
        {
            UseProxy = false,
            SslOptions = tls,
            ConnectCallback = async (context, cancellationToken) =>
            {
                var tcp = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                try
                {
                    await tcp.ConnectAsync(context.DnsEndPoint, cancellationToken);
                    var stream = new NetworkStream(tcp, ownsSocket: true);
                    return wrap is null ? stream : wrap(stream);
                }
                catch
                {
                    tcp.Dispose();
                    throw;
                }
            },
        });

    private string Explain(WebSocketException e, HttpStatusCode status, string? said, bool trusted)
    {
        if (!trusted)
            return $"the server's certificate is not from the CA in {options.CaFile}, or does not name {options.Server} (CloudCore's advertiseAddress or dnsNames must contain it)";
        if (status is not (0 or HttpStatusCode.SwitchingProtocols))
            return $"CloudCore refused the connection with {(int)status}{(said is null ? "" : $": {said}")}"
                + (status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden ? $"; it does not accept the certificate {options.CertificateFile} for node {nodeName}" : "");
        for (Exception? inner = e; inner is not null; inner = inner.InnerException)
        {
            if (inner is AuthenticationException)
                return $"TLS failed: {NodeIdentity.Innermost(e)}";
        }

        return NodeIdentity.Innermost(e);
    }
}
