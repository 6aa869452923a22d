using System.Net;
using System.Net.Security;
using System.Net.Sockets;

namespace Edge.Core.EdgeStream;

/// <summary>The local API as other parts of this process reach it.</summary>
/// <param name="Port">0 while it is not served.</param>
internal sealed record LocalApiAt(IPAddress Address, int Port, string Token, byte[]? Certificate)
{
    /// <summary>Why there is no local API to lead a request to; for who asked.</summary>
    public const string NotServed = "the node's local API is not served (modules.edged.tailoredKubeletConfig.enableServer, or pods are off)";

    /// <summary>A connection to it, with TLS where it has TLS: then it must show the very certificate that it is configured with, which this process knows.</summary>
    /// <exception cref="SocketException">It does not answer.</exception>
    /// <exception cref="System.Security.Authentication.AuthenticationException">It showed another certificate.</exception>
    public async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(Address, Port, cancellationToken);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        var plain = new NetworkStream(socket, ownsSocket: true);
        if (Certificate is not { } expected)
            return plain;
        var tls = new SslStream(plain, leaveInnerStreamOpen: false);
        try
        {
            await tls.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions
                {
                    TargetHost = Address.ToString(),
                    RemoteCertificateValidationCallback = (_, shown, _, _) => shown is not null && shown.GetRawCertData().AsSpan().SequenceEqual(expected),
                },
                cancellationToken);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }
}
