using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudStream;

/// <summary>Where the node of a request is: connected here, or at another cloudcore, whose endpoint then gets the request with a certificate of the hub's CA.</summary>
internal sealed class KubeletNodes(NodeStreams streams, NodeSync sync, HubCertificates certificates, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan s_connectWithin = TimeSpan.FromSeconds(10);

    // Renewed when half of it is over.
    private static readonly TimeSpan s_lifetime = TimeSpan.FromHours(2);

    private readonly Lock _gate = new();
    private (X509Certificate2 Certificate, string Stamp, DateTimeOffset Until)? _own;

    /// <summary>Opens a stream on which HTTP/1.1 is spoken with the node's local API, or with the endpoint of the cloudcore that has the node.</summary>
    /// <param name="isForwarded">Another cloudcore asks: it does not go on to a third.</param>
    /// <exception cref="IOException">The node cannot be reached; the message says why and is meant for who asked.</exception>
    public async ValueTask<Stream> OpenAsync(string node, bool isForwarded, CancellationToken cancellationToken)
    {
        if (sync.SessionOf(node) is not null || streams.TunnelOf(node) is not null || isForwarded)
            return await streams.OpenAsync(node, cancellationToken);
        var at = sync.Node(node)?.Annotation(CloudCoreIdentity.StreamAnnotation);
        if (at is null || at == sync.Identity?.Stream || !IPEndPoint.TryParse(at, out var peer))
            throw new NodeStreamException($"node \"{node}\" is not connected to a cloudcore{(at is null ? "" : $" (it was last at {at})")}");
        using var limit = new CancellationTokenSource(s_connectWithin, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var socket = new Socket(peer.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        SslStream? tls = null;
        try
        {
            await socket.ConnectAsync(peer, both.Token);
            tls = new SslStream(new NetworkStream(socket, ownsSocket: true), leaveInnerStreamOpen: false);
            await tls.AuthenticateAsClientAsync(PeerTls(), both.Token);
            return tls;
        }
        catch (Exception e) when (e is SocketException or IOException or AuthenticationException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            await CloseAsync(tls, socket);
            throw new NodeStreamException($"node \"{node}\" is connected to the cloudcore at {peer}, which cannot be reached: {(e is OperationCanceledException ? $"no answer within {s_connectWithin.TotalSeconds:0} s" : e.Message)}");
        }
        catch
        {
            await CloseAsync(tls, socket);
            throw;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _own?.Certificate.Dispose();
        }
    }

    private static async ValueTask CloseAsync(SslStream? tls, Socket socket)
    {
        if (tls is not null)
            await tls.DisposeAsync();
        socket.Dispose();
    }

    private SslClientAuthenticationOptions PeerTls()
    {
        var authorities = certificates.Authorities;
        return new SslClientAuthenticationOptions
        {
            TargetHost = "cloudcore",
            ClientCertificateContext = SslStreamCertificateContext.Create(Own(authorities), additionalCertificates: null, offline: true),
            // Cloudcores come and go at addresses that are in no certificate: a serving certificate of the hub's CA is one.
            RemoteCertificateValidationCallback = (_, shown, _, _) => shown is X509Certificate2 server && authorities.IsServer(server, time.GetUtcNow()),
        };
    }

    private X509Certificate2 Own(AuthoritySet authorities)
    {
        lock (_gate)
        {
            var now = time.GetUtcNow();
            if (_own is { } own && own.Stamp == authorities.Stamp && now < own.Until)
                return own.Certificate;
            // The one before is left to the collector: handshakes under way use it.
            var made = authorities.Active.IssueClient($"O=KubeEdge, CN={KubeletAccess.PeerName}", s_lifetime);
            _own = (made, authorities.Stamp, now + (s_lifetime / 2));
            return made;
        }
    }
}
