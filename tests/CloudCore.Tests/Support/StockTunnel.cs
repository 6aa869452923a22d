using System.Buffers;
using System.IO.Pipelines;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Cloud.CloudStream.Tunnel;
using Edge.Protocol.Tunnel;
using Edge.Transport;

namespace Edge.Cloud.Tests.Support;

/// <summary>The edge's side of KubeEdge's tunnel, as a stock edgecore speaks it: dials with its certificate, sends messages as masked text frames that are no UTF-8, in pieces of 256 bytes.
/// What it answers is the test's.</summary>
internal sealed class StockTunnel : IAsyncDisposable
{
    /// <summary>A stock edge cuts what it sends.</summary>
    public const int PieceSize = 256;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly Stream _stream;
    private readonly PipeReader _reader;

    private StockTunnel(Stream stream)
    {
        _stream = stream;
        _reader = PipeReader.Create(stream);
    }

    /// <summary>Over a connection that stands, without a handshake.</summary>
    public static StockTunnel On(Stream stream) => new(stream);

    /// <summary>Dials; the tunnel is null when it was refused with the status.</summary>
    public static async Task<(StockTunnel? Tunnel, int Status, string Answer)> DialAsync(int port, string node, X509Certificate2? certificate)
    {
        using var limit = new CancellationTokenSource(s_patience);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync("127.0.0.1", port, limit.Token);
        var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "127.0.0.1",
                ClientCertificates = certificate is null ? [] : [certificate],
                // A stock edge does not check the cloud's certificate here.
                RemoteCertificateValidationCallback = static (_, server, _, _) => server?.Issuer.EndsWith("CN=KubeEdge", StringComparison.Ordinal) == true,
            },
            limit.Token);
        var key = Convert.ToBase64String(RandomNumberGenerator.GetBytes(16));
        await tls.WriteAsync(
            Encoding.ASCII.GetBytes(
                $"GET {TunnelServer.Path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\n"
                + $"Sec-WebSocket-Version: 13\r\nSessionHostNameOverride: {node}\r\nSessionInternalIP: 10.0.0.7\r\n\r\n"),
            limit.Token);
        var head = new StringBuilder();
        var one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal) && await tls.ReadAsync(one, limit.Token) == 1)
            head.Append((char)one[0]);
        var status = int.Parse(head.ToString().Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
        if (status == 101)
            return (new StockTunnel(tls), status, head.ToString());
        await tls.DisposeAsync();
        return (null, status, head.ToString());
    }

    public Task SendFrameAsync(WebSocketOpcode opcode, byte[] payload) => _stream.WriteAsync(WebSocketFrame.Write(opcode, payload, RandomNumberGenerator.GetBytes(4))).AsTask();

    /// <summary>Sends bytes as they are.</summary>
    public Task SendRawAsync(byte[] bytes) => _stream.WriteAsync(bytes).AsTask();

    public Task SendAsync(ulong id, TunnelMessageType type, ReadOnlyMemory<byte> data = default) => SendFrameAsync(WebSocketOpcode.Text, new TunnelMessage(id, type, data).ToBytes());

    /// <summary>Sends data in pieces, as a stock edge does.</summary>
    public async Task SendDataAsync(ulong id, ReadOnlyMemory<byte> data)
    {
        for (; data.Length > 0; data = data[Math.Min(PieceSize, data.Length)..])
            await SendAsync(id, TunnelMessageType.Data, data[..Math.Min(PieceSize, data.Length)]);
    }

    /// <summary>The next message of the cloud.</summary>
    public async Task<TunnelMessage> NextAsync()
    {
        var (opcode, payload) = await NextFrameAsync();
        Assert.Equal(WebSocketOpcode.Text, opcode);
        Assert.True(TunnelMessage.TryRead(payload, out var message, out var error), error);
        return message;
    }

    public async Task<(WebSocketOpcode Opcode, byte[] Payload)> NextFrameAsync()
    {
        using var limit = new CancellationTokenSource(s_patience);
        while (true)
        {
            var result = await _reader.ReadAsync(limit.Token);
            var buffer = result.Buffer;
            var status = WebSocketFrame.TryRead(ref buffer, isMasked: false, TunnelMessage.SizeMax, out var opcode, out _, out var payload, out var error);
            Assert.True(status != WebSocketFrameStatus.Malformed, error);
            _reader.AdvanceTo(buffer.Start, status == WebSocketFrameStatus.Complete ? buffer.Start : buffer.End);
            if (status == WebSocketFrameStatus.Complete)
                return (opcode, payload);
            if (result.IsCompleted)
                throw new EndOfStreamException("the cloud ended the tunnel");
        }
    }

    /// <summary>The next message, which is a connect message.</summary>
    public async Task<TunnelConnect> NextConnectAsync() => TunnelConnect.Read(await NextAsync(), out var problem) ?? throw new InvalidDataException(problem);

    public async ValueTask DisposeAsync()
    {
        await _reader.CompleteAsync();
        await _stream.DisposeAsync();
    }
}
