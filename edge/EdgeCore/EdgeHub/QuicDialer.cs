using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Security.Authentication;
using Edge.Core.Configuration;
using Edge.Protocol.Messages;
using Edge.Transport;

namespace Edge.Core.EdgeHub;

/// <summary>Opens the QUIC connection to CloudCore: the same identity and the same trust as the WebSocket's.</summary>
[SupportedOSPlatform("linux")]
[SupportedOSPlatform("windows")]
[SupportedOSPlatform("macos")]
internal static class QuicDialer
{
    /// <exception cref="LinkException">Not reachable, not trusted, or refused; the text says which.</exception>
    public static async Task<ILink> DialAsync(EdgeHubOptions options, string nodeName, Credentials credentials, TimeProvider time, CancellationToken cancellationToken)
    {
        var quic = options.Quic;
        var within = TimeSpan.FromSeconds(quic.HandshakeTimeoutSeconds);
        var trusted = true;
        var tls = credentials.TlsOptions(verdict => trusted = verdict);
        using var deadline = new CancellationTokenSource(within, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            var colon = quic.Server.LastIndexOf(':');
            var server = new DnsEndPoint(quic.Server[..colon].Trim('[', ']'), int.Parse(quic.Server.AsSpan(colon + 1), null));
            var streams = await QuicStreams.ConnectAsync(server, tls, new QuicHello(nodeName, options.ProjectId, EdgeWire.Version), within, both.Token);
            return new QuicLink(streams, time, TimeSpan.FromSeconds(quic.WriteDeadlineSeconds));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new LinkException($"no connection within {quic.HandshakeTimeoutSeconds} s; does the network let UDP through?");
        }
        catch (AuthenticationException e)
        {
            throw new LinkException(
                trusted ? $"TLS failed: {NodeIdentity.Innermost(e)}"
                    : $"the server's certificate is not from the CA in {options.CaFile}, or does not name {quic.Server} (CloudCore's advertiseAddress or dnsNames must contain it)",
                e);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            throw new LinkException(NodeIdentity.Innermost(e), e);
        }
    }
}
