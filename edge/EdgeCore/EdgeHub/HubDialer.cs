using System.Net;
using System.Net.WebSockets;
using System.Security.Authentication;
using Edge.Core.Configuration;
using Edge.Transport;

namespace Edge.Core.EdgeHub;

/// <summary>A link just made, and the socket below it, which knows why the peer closed.</summary>
internal sealed record DialedLink(ILink Link, WebSocket Socket);

/// <summary>Opens the WebSocket to CloudCore (kubeedge-wire §1.2, §1.9).</summary>
internal sealed class HubDialer(EdgeHubOptions options, string nodeName, TimeProvider time)
{
    // As much of a refusal's reason as goes into the log, characters.
    private const int ReasonMax = 200;

    /// <exception cref="LinkException">Not reachable, not trusted, or refused; the text says which.</exception>
    public async Task<DialedLink> DialAsync(Credentials credentials, CancellationToken cancellationToken)
    {
        var socket = new ClientWebSocket();
        var trusted = true;
        socket.Options.CollectHttpResponseDetails = true;
        socket.Options.Proxy = null;
        socket.Options.ClientCertificates.Add(credentials.Certificate);
        socket.Options.RemoteCertificateValidationCallback = (_, certificate, _, errors) => trusted = credentials.IsTrusted(certificate, errors);
        socket.Options.SetRequestHeader("node_id", nodeName);
        socket.Options.SetRequestHeader("project_id", options.ProjectId);
        socket.Options.SetRequestHeader("ConnectionUse", "msg");
        // A half-open connection shows within PingSeconds + KeepAliveTimeout; WebSocket peers answer pings by themselves.
        socket.Options.KeepAliveInterval = TimeSpan.FromSeconds(options.PingSeconds);
        socket.Options.KeepAliveTimeout = TimeSpan.FromSeconds(options.PingSeconds + 5);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(options.HandshakeTimeoutSeconds), time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            await socket.ConnectAsync(new Uri($"wss://{options.Server}/{options.ProjectId}/{nodeName}/events"), both.Token);
            return new DialedLink(new WebSocketLink(socket, time, TimeSpan.FromSeconds(options.WriteDeadlineSeconds)), socket);
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
