using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Benchmarks.Mqtt;

/// <summary>A client of the load: as little as it takes, so that the two cores are mostly the broker's. Version 3.1.1, the same for both brokers.</summary>
internal sealed class LoadClient : IDisposable
{
    private readonly Socket _socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly byte[] _acks = new byte[16 * 1024];
    private int _filled;
    private long _received;
    private long _acked;

    /// <summary>PUBLISHes that came.</summary>
    public long Received => Volatile.Read(ref _received);

    /// <summary>PUBACKs that came.</summary>
    public long Acked => Volatile.Read(ref _acked);

    /// <summary>Called with the payload of each PUBLISH, where set.</summary>
    public Action<ReadOnlyMemory<byte>>? OnPublish { get; set; }

    public static async Task<LoadClient> ConnectAsync(int port, string id, CancellationToken cancellationToken, string? filter = null, MqttQos qos = MqttQos.AtMostOnce)
    {
        var client = new LoadClient();
        await client._socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), cancellationToken);
        await client.SendAsync(MqttEncoder.Connect(new MqttConnect { Version = MqttVersion.V311, ClientId = id, CleanStart = true }), cancellationToken);
        await client.ExpectAsync(MqttPacketType.ConnAck, cancellationToken);
        if (filter is null)
            return client;
        await client.SendAsync(MqttEncoder.Subscribe(new MqttSubscribe(1, [new MqttTopicFilter(filter, new(qos))], MqttProperties.None), MqttVersion.V311), cancellationToken);
        await client.ExpectAsync(MqttPacketType.SubAck, cancellationToken);
        return client;
    }

    public async Task SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (bytes.Length > 0)
            bytes = bytes[await _socket.SendAsync(bytes, cancellationToken)..];
    }

    /// <summary>Counts and acknowledges what comes, until the socket is closed.</summary>
    public async Task ReceiveAsync()
    {
        try
        {
            while (true)
            {
                var count = await _socket.ReceiveAsync(_buffer.AsMemory(_filled));
                if (count == 0)
                    throw new BenchException("the broker closed a connection of the load");
                _filled += count;
                var acks = Consume();
                if (acks > 0)
                    await SendAsync(_acks.AsMemory(0, acks), CancellationToken.None);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed by the bench.
        }
    }

    public void Dispose() => _socket.Dispose();

    private int Consume()
    {
        var at = 0;
        var acks = 0;
        var (received, acked) = (0, 0);
        while (acks + 4 <= _acks.Length && MqttFrame.TryRead(_buffer.AsSpan(at, _filled - at), uint.MaxValue, MqttVersion.V311, out var frame))
        {
            if (frame.Type == MqttPacketType.Publish)
            {
                var body = _buffer.AsMemory(at + frame.BodyStart, frame.Length - frame.BodyStart);
                var view = MqttPublishView.Read(frame.First, body.Span, MqttVersion.V311, fromClient: false);
                received++;
                OnPublish?.Invoke(body[^view.Payload.Length..]);
                if (view.Qos == MqttQos.AtLeastOnce)
                    acks += MqttEncoder.ShortAck(_acks.AsSpan(acks), MqttPacketType.PubAck, view.PacketId, MqttReasonCode.Success, MqttVersion.V311);
            }
            else if (frame.Type == MqttPacketType.PubAck)
            {
                acked++;
            }

            at += frame.Length;
        }

        _buffer.AsSpan(at, _filled - at).CopyTo(_buffer);
        _filled -= at;
        Volatile.Write(ref _received, _received + received);
        Volatile.Write(ref _acked, _acked + acked);
        return acks;
    }

    private async Task ExpectAsync(MqttPacketType type, CancellationToken cancellationToken)
    {
        var count = 0;
        MqttFrame frame;
        while (!MqttFrame.TryRead(_buffer.AsSpan(0, count), uint.MaxValue, MqttVersion.V311, out frame))
        {
            var read = await _socket.ReceiveAsync(_buffer.AsMemory(count), cancellationToken);
            if (read == 0)
                throw new BenchException($"the broker closed the connection instead of sending {type}");
            count += read;
        }

        if (frame.Type != type)
            throw new BenchException($"{type} was expected, {frame.Type} came");
    }
}
