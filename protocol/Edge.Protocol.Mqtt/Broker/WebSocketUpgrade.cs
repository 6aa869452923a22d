using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>The opening handshake of RFC 6455, 4.2, for the subprotocol <c>mqtt</c> (MQTT 5.0, 6). Any path is taken.</summary>
internal static class WebSocketUpgrade
{
    private const int HeadMax = 8192;

    /// <summary>Reads the request and answers it.</summary>
    /// <exception cref="InvalidDataException">It is no such request; the client was told.</exception>
    public static async Task<Stream> AcceptAsync(Stream stream)
    {
        var head = new byte[HeadMax];
        var count = 0;
        while (true)
        {
            var read = await stream.ReadAsync(head.AsMemory(count));
            if (read == 0)
                throw new IOException("the client closed the connection before its request was whole");
            count += read;
            var end = head.AsSpan(0, count).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
            {
                var (answer, problem) = Answer(Encoding.Latin1.GetString(head, 0, end), isAlone: end + 4 == count);
                await stream.WriteAsync(Encoding.ASCII.GetBytes(answer));
                if (problem is not null)
                    throw new InvalidDataException(problem);
                return new WebSocketStreamAdapter(
                    WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true, SubProtocol = "mqtt", KeepAliveInterval = TimeSpan.Zero }), stream);
            }

            if (count == HeadMax)
            {
                await stream.WriteAsync(Encoding.ASCII.GetBytes(Refusal("431 Request Header Fields Too Large", $"the head has over {HeadMax} bytes")));
                throw new InvalidDataException($"the head of the WebSocket request has over {HeadMax} bytes");
            }
        }
    }

    /// <summary>The answer to a request's head (pure).</summary>
    /// <param name="isAlone">Nothing came behind the head: a client has to wait for the answer.</param>
    internal static (string Answer, string? Problem) Answer(string head, bool isAlone)
    {
        var lines = head.Split("\r\n");
        var request = lines[0].Split(' ');
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var line in lines.AsSpan(1))
        {
            var colon = line.IndexOf(':');
            if (colon <= 0)
                return Refuse("400 Bad Request", "a header has no name");
            var (name, value) = (line[..colon], line[(colon + 1)..].Trim());
            headers[name] = headers.TryGetValue(name, out var before) ? $"{before}, {value}" : value;
        }

        string Get(string name) => headers.GetValueOrDefault(name, "");
        bool Has(string name, string token) => Get(name).Split(',').Any(one => one.Trim().Equals(token, StringComparison.OrdinalIgnoreCase));

        if (request is not ["GET", _, "HTTP/1.1"])
            return Refuse("400 Bad Request", "this port takes WebSocket requests: GET, HTTP/1.1");
        if (!Has("Upgrade", "websocket") || !Has("Connection", "upgrade"))
            return Refuse("426 Upgrade Required", "this port speaks MQTT over WebSocket; send Upgrade: websocket and Connection: Upgrade", "Upgrade: websocket\r\n");
        if (Get("Sec-WebSocket-Version") != "13")
            return Refuse("426 Upgrade Required", "the WebSocket version is 13", "Sec-WebSocket-Version: 13\r\n");
        var key = Get("Sec-WebSocket-Key");
        if (!Convert.TryFromBase64String(key, new byte[key.Length], out var size) || size != 16)
            return Refuse("400 Bad Request", "Sec-WebSocket-Key is not 16 bytes in base64");
        if (!Get("Sec-WebSocket-Protocol").Split(',').Any(one => one.Trim() == "mqtt"))
            return Refuse("400 Bad Request", "Sec-WebSocket-Protocol has no 'mqtt' [MQTT-6.0.0-3]");
        if (!isAlone)
            return Refuse("400 Bad Request", "bytes follow the request before it is answered");
#pragma warning disable CA5350 // RFC 6455, 4.2.2 prescribes SHA-1; it guards nothing
        var accept = Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
#pragma warning restore CA5350
        return ($"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", null);
    }

    private static (string Answer, string? Problem) Refuse(string status, string problem, string header = "") => (Refusal(status, problem, header), $"no WebSocket request of MQTT: {problem}");

    private static string Refusal(string status, string problem, string header = "")
        => $"HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {problem.Length + 1}\r\n\r\n{problem}\n";
}

/// <summary>The bytes of a WebSocket's binary messages as one stream; MQTT packets need not begin with a message [MQTT-6.0.0-2].</summary>
internal sealed class WebSocketStreamAdapter(WebSocket socket, Stream below) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public Task CloseOutputAsync() => socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, CancellationToken.None);

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            var result = await socket.ReceiveAsync(buffer, cancellationToken);
            if (result.MessageType == WebSocketMessageType.Close)
                return 0;
            if (result.MessageType == WebSocketMessageType.Text)
                throw new Codec.MqttProtocolException(Codec.MqttReasonCode.ProtocolError, "a WebSocket text frame; MQTT is in binary ones [MQTT-6.0.0-1]");
            // An empty message is no end.
            if (result.Count > 0 || buffer.IsEmpty)
                return result.Count;
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        => socket.SendAsync(buffer, WebSocketMessageType.Binary, endOfMessage: true, cancellationToken);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("only asynchronously");

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("only asynchronously");

    public override void Flush()
    {
        // Every write goes out at once.
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            socket.Dispose();
            below.Dispose();
        }

        base.Dispose(disposing);
    }
}
