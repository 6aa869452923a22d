using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Benchmarks.Mqtt;

/// <summary>A client over TLS or WebSocket that subscribes and says no more.</summary>
internal sealed class IdleClient : IAsyncDisposable
{
    private readonly Stream? _tls;
    private readonly ClientWebSocket? _webSocket;

    private IdleClient(Stream? tls, ClientWebSocket? webSocket) => (_tls, _webSocket) = (tls, webSocket);

    public static async Task<IdleClient> ConnectAsync(string kind, int port, string id, string filter, CancellationToken cancellationToken)
    {
        IdleClient client;
        if (kind == "ws")
        {
            var webSocket = new ClientWebSocket();
            webSocket.Options.AddSubProtocol("mqtt");
            await webSocket.ConnectAsync(new Uri($"ws://127.0.0.1:{port}/mqtt"), cancellationToken);
            client = new IdleClient(null, webSocket);
        }
        else
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), cancellationToken);
            var tls = new SslStream(new NetworkStream(socket, ownsSocket: true), leaveInnerStreamOpen: false);
            var options = new SslClientAuthenticationOptions { TargetHost = "localhost" };
            options.RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.Subject == "CN=localhost"; // the bench's own broker, whose certificate no authority knows
            await tls.AuthenticateAsClientAsync(options, cancellationToken);
            client = new IdleClient(tls, null);
        }

        await client.AskAsync(MqttEncoder.Connect(new MqttConnect { Version = MqttVersion.V311, ClientId = id, CleanStart = true }), MqttPacketType.ConnAck, cancellationToken);
        await client.AskAsync(MqttEncoder.Subscribe(new MqttSubscribe(1, [new MqttTopicFilter(filter, new(MqttQos.AtMostOnce))], MqttProperties.None), MqttVersion.V311), MqttPacketType.SubAck, cancellationToken);
        return client;
    }

    public async ValueTask DisposeAsync()
    {
        _webSocket?.Dispose();
        if (_tls is not null)
            await _tls.DisposeAsync();
    }

    // Answers are so short that each comes in one piece.
    private async Task AskAsync(byte[] packet, MqttPacketType answer, CancellationToken cancellationToken)
    {
        var buffer = new byte[64];
        int count;
        if (_webSocket is not null)
        {
            await _webSocket.SendAsync(packet, WebSocketMessageType.Binary, endOfMessage: true, cancellationToken);
            count = (await _webSocket.ReceiveAsync(buffer.AsMemory(), cancellationToken)).Count;
        }
        else
        {
            await _tls!.WriteAsync(packet, cancellationToken);
            count = await _tls.ReadAsync(buffer, cancellationToken);
        }

        if (count == 0 || buffer[0] >> 4 != (int)answer)
            throw new BenchException($"{answer} was expected, {(count == 0 ? "the end" : $"packet type {buffer[0] >> 4}")} came");
    }
}
