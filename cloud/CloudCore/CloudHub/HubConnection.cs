using System.Buffers;
using System.Net.Security;
using System.Net.WebSockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudHub;

/// <summary>One TLS connection whose request is read and not yet answered.</summary>
internal sealed class HubConnection : IAsyncDisposable
{
    private readonly SslStream _stream;

    private HubConnection(SslStream stream, string address, UpgradeRequest request, string problem)
    {
        _stream = stream;
        Address = address;
        Request = request;
        Problem = problem;
    }

    public string Address { get; }

    public UpgradeRequest Request { get; }

    /// <summary>Why the request is malformed; empty when it is not.</summary>
    public string Problem { get; }

    /// <summary>The client's certificate, not judged yet; null when it sent none. The caller disposes it.</summary>
    public X509Certificate2? TakeCertificate()
        => _stream.RemoteCertificate is { } certificate ? certificate as X509Certificate2 ?? X509CertificateLoader.LoadCertificate(certificate.GetRawCertData()) : null;

    /// <summary>Reads the head of the request that follows the handshake.</summary>
    public static async Task<HubConnection> ReadRequestAsync(SslStream stream, string address, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(UpgradeRequest.SizeMax);
        try
        {
            var count = 0;
            while (true)
            {
                var read = await stream.ReadAsync(buffer.AsMemory(count, UpgradeRequest.SizeMax - count), cancellationToken);
                if (read == 0)
                    throw new IOException("the peer closed the connection before its request was whole");
                count += read;
                var status = UpgradeRequest.TryRead(buffer.AsSpan(0, count), out var request, out var problem);
                if (status != UpgradeStatus.NeedMoreData)
                    return new HubConnection(stream, address, request, problem);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Answers 101; the WebSocket then owns the connection.</summary>
    public async Task<WebSocket> AcceptAsync(bool isEdgeWire, CancellationToken cancellationToken)
    {
        var head = $"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {Request.Accept}\r\n"
            + (isEdgeWire ? $"{EdgeWire.Header}: {EdgeWire.Version}\r\n\r\n" : "\r\n");
        await _stream.WriteAsync(Encoding.ASCII.GetBytes(head), cancellationToken);
        // KubeEdge's peers use no WebSocket pings; the protocol has its own keepalive.
        return WebSocket.CreateFromStream(_stream, new WebSocketCreationOptions { IsServer = true, KeepAliveInterval = TimeSpan.Zero });
    }

    /// <summary>Answers with a failure and the reason, as text and as a header; nothing more that the peer sends is read.</summary>
    public async Task RefuseAsync(int code, string reason, CancellationToken cancellationToken)
    {
        var body = Encoding.UTF8.GetBytes(reason + "\n");
        var head = $"HTTP/1.1 {code} {PhraseOf(code)}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {body.Length}\r\n{Respond.ReasonHeader}: {Respond.HeaderText(reason)}\r\n\r\n";
        await _stream.WriteAsync((byte[])[.. Encoding.ASCII.GetBytes(head), .. body], cancellationToken);
        await _stream.ShutdownAsync();
    }

    public ValueTask DisposeAsync() => _stream.DisposeAsync();

    private static string PhraseOf(int code) => code switch
    {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        _ => "Service Unavailable",
    };
}
