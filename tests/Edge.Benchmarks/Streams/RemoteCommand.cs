using System.Net.WebSockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Streams;

/// <summary>One command in a container over a WebSocket (v4.channel.k8s.io): the same client for the API server's exec and for the runtime's own streaming server. Not for concurrent
/// reads or writes.</summary>
internal sealed class RemoteCommand : IDisposable
{
    private const int StandardInput = 0;
    private const int StandardOutput = 1;
    private const int Status = 3;

    private readonly ClientWebSocket _socket = new();
    private readonly byte[] _buffer = new byte[64 * 1024];

    /// <summary>Through the API server, as its administrator.</summary>
    public static async Task<RemoteCommand> OpenAsync(KubeClientOptions options, HttpMessageInvoker http, string pod, string container, IEnumerable<string> command, CancellationToken cancellationToken)
    {
        var query = string.Concat(command.Select(word => $"&command={Uri.EscapeDataString(word)}"));
        var target = new UriBuilder(options.Server)
        {
            Scheme = "wss", Path = $"/api/v1/namespaces/default/pods/{pod}/exec", Query = $"container={container}&stdin=1&stdout=1{query}",
        };
        return await OpenAsync(target.Uri, options.Token, http, cancellationToken);
    }

    /// <summary>To the address that the runtime answered to a CRI Exec.</summary>
    public static Task<RemoteCommand> OpenAsync(string url, HttpMessageInvoker http, CancellationToken cancellationToken)
        => OpenAsync(new UriBuilder(url) { Scheme = "ws" }.Uri, null, http, cancellationToken);

    /// <summary>A client that trusts the API server's authority and shows the administrator's certificate.</summary>
    public static HttpMessageInvoker Http(KubeClientOptions options)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(X509Certificate2.CreateFromPem(options.CertificateAuthorityPem));
        return new HttpMessageInvoker(new SocketsHttpHandler
        {
            UseProxy = false,
            SslOptions = { CertificateChainPolicy = policy, ClientCertificates = options.ClientCertificate is { } own ? [own] : [] },
        });
    }

    /// <summary>Sends one piece of standard input.</summary>
    /// <param name="piece">Its first byte is left for the channel.</param>
    public async Task SendAsync(Memory<byte> piece, CancellationToken cancellationToken)
    {
        piece.Span[0] = StandardInput;
        await _socket.SendAsync((ReadOnlyMemory<byte>)piece, WebSocketMessageType.Binary, endOfMessage: true, cancellationToken);
    }

    /// <summary>Reads standard output until <paramref name="bytes"/> of it have come.</summary>
    public async Task ReadAsync(long bytes, CancellationToken cancellationToken)
    {
        while (bytes > 0)
        {
            if (await NextAsync(cancellationToken) is not { Channel: StandardOutput } piece)
                throw new BenchException($"the command ended {bytes} bytes before its output did");
            bytes -= piece.Length;
        }
    }

    /// <summary>Reads to the end; the bytes of standard output.</summary>
    /// <exception cref="BenchException">The command failed.</exception>
    public async Task<long> EndAsync(CancellationToken cancellationToken)
    {
        long output = 0;
        while (await NextAsync(cancellationToken) is { } piece)
        {
            if (piece.Channel == StandardOutput)
                output += piece.Length;
            else if (piece.Channel == Status)
                return JsonNode.Parse(_buffer.AsSpan(0, piece.Length)).Text("status") == "Success" ? output : throw new BenchException(Encoding.UTF8.GetString(_buffer, 0, piece.Length));
        }

        throw new BenchException("the stream ended without the command's status");
    }

    public void Dispose() => _socket.Dispose();

    private static async Task<RemoteCommand> OpenAsync(Uri target, string? token, HttpMessageInvoker http, CancellationToken cancellationToken)
    {
        var made = new RemoteCommand();
        made._socket.Options.AddSubProtocol("v4.channel.k8s.io");
        made._socket.Options.KeepAliveInterval = TimeSpan.Zero;
        if (token is not null)
            made._socket.Options.SetRequestHeader("Authorization", $"Bearer {token}");
        await made._socket.ConnectAsync(target, http, cancellationToken);
        return made;
    }

    // The next piece that is not empty, without its channel, at the start of the buffer; the streams begin with empty ones.
    private async Task<(int Channel, int Length)?> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var channel = -1;
            var length = 0;
            ValueWebSocketReceiveResult got;
            do
            {
                // The channel's byte first, so that the rest begins the buffer.
                if (channel < 0)
                {
                    got = await _socket.ReceiveAsync(_buffer.AsMemory(0, 1), cancellationToken);
                    if (got.MessageType == WebSocketMessageType.Close)
                        return null;
                    channel = got.Count == 1 ? _buffer[0] : -1;
                }
                else
                {
                    got = await _socket.ReceiveAsync(_buffer.AsMemory(length), cancellationToken);
                    length += got.Count;
                }
            }
            while (!got.EndOfMessage && length < _buffer.Length);
            if (length > 0)
                return (channel, length);
        }
    }
}
