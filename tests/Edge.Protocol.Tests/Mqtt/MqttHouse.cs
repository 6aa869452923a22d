using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Protocol.Tests;

/// <summary>Brokers, clients and raw sockets for tests.</summary>
internal static class MqttHouse
{
    /// <summary>A net for waits, long enough for a busy machine.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static MqttBrokerOptions Options(params MqttListenerOptions[] listeners) => new()
    {
        Listeners = listeners.Length == 0 ? [new MqttListenerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0) }] : listeners,
        AllowAnonymous = true,
    };

    public static MqttBroker Start(MqttBrokerOptions? options = null, IMqttStore? store = null)
        => MqttBroker.Start(options ?? Options(), store, TimeProvider.System, new Random(1), NullLoggerFactory.Instance);

    public static MqttClientOptions To(int port, MqttVersion version = MqttVersion.V5) => new()
    {
        Host = "127.0.0.1", Port = port, Version = version, RetryFirst = TimeSpan.FromMilliseconds(50), RetryMost = TimeSpan.FromMilliseconds(500),
    };

    public static TestClient Client(MqttClientOptions options) => new(options);

    public static async Task WaitAsync(Func<bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed < Patience, $"waited {Patience.TotalSeconds} s for: {what}");
            await Task.Delay(5);
        }
    }

    public static async Task<RawClient> RawAsync(int port, string id, MqttVersion version = MqttVersion.V5, int receiveBuffer = 0)
    {
        var raw = await RawClient.OpenAsync(port, version, receiveBuffer);
        await raw.SendAsync(MqttEncoder.Connect(new MqttConnect { Version = version, ClientId = id, CleanStart = true }));
        Assert.Equal(MqttReasonCode.Success, MqttDecoder.ConnAck((await raw.ReadAsync()).Body, version).Code);
        return raw;
    }
}

/// <summary>A client that keeps what it got.</summary>
internal sealed class TestClient : IAsyncDisposable
{
    public TestClient(MqttClientOptions options)
        => Mqtt = MqttClient.Start(
            options,
            message =>
            {
                Got.Enqueue(message);
                return ValueTask.CompletedTask;
            },
            TimeProvider.System, new Random(2), NullLoggerFactory.Instance);

    public MqttClient Mqtt { get; }

    public ConcurrentQueue<MqttMessage> Got { get; } = new();

    public string[] Payloads => [.. Got.Select(one => System.Text.Encoding.UTF8.GetString(one.Payload.Span))];

    public async Task<TestClient> ConnectedAsync()
    {
        await Mqtt.WaitConnectedAsync(CancellationToken.None).WaitAsync(MqttHouse.Patience);
        return this;
    }

    public Task SubscribeAsync(string filter, MqttQos qos = MqttQos.AtMostOnce) => Mqtt.SubscribeAsync(new MqttTopicFilter(filter, new(qos))).WaitAsync(MqttHouse.Patience);

    public Task<MqttReasonCode> PublishAsync(string topic, string payload, MqttQos qos = MqttQos.AtMostOnce, bool retain = false, MqttProperties? properties = null)
        => Mqtt.PublishAsync(new MqttMessage(topic, System.Text.Encoding.UTF8.GetBytes(payload), qos, retain) { Properties = properties ?? MqttProperties.None }).WaitAsync(MqttHouse.Patience);

    public Task WaitForAsync(int count) => MqttHouse.WaitAsync(() => Got.Count >= count, $"{count} messages");

    public ValueTask DisposeAsync() => Mqtt.DisposeAsync();
}

/// <summary>A socket that sends what the test says.</summary>
internal sealed class RawClient : IDisposable
{
    private readonly Socket _socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly MqttVersion _version;
    private byte[] _left = [];

    private RawClient(MqttVersion version) => _version = version;

    public static async Task<RawClient> OpenAsync(int port, MqttVersion version = MqttVersion.V5, int receiveBuffer = 0)
    {
        var raw = new RawClient(version);
        if (receiveBuffer > 0)
            raw._socket.ReceiveBufferSize = receiveBuffer;
        await raw._socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port));
        return raw;
    }

    public async Task SendAsync(byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
            sent += await _socket.SendAsync(bytes.AsMemory(sent)).AsTask().WaitAsync(MqttHouse.Patience);
    }

    /// <summary>The next packet; fails the test when the broker closes first.</summary>
    public async Task<(MqttPacketType Type, byte First, byte[] Body)> ReadAsync()
    {
        var buffer = new byte[64 * 1024];
        while (true)
        {
            if (MqttFrame.TryRead(_left, uint.MaxValue, _version, out var frame))
            {
                var body = _left[frame.BodyStart..frame.Length];
                _left = _left[frame.Length..];
                return (frame.Type, frame.First, body);
            }

            var count = await _socket.ReceiveAsync(buffer).WaitAsync(MqttHouse.Patience);
            Assert.True(count > 0, "the broker closed the connection");
            _left = [.. _left, .. buffer[..count]];
        }
    }

    /// <summary>Nothing but the end comes.</summary>
    public async Task ExpectEndAsync()
    {
        Assert.Empty(_left);
        Assert.Equal(0, await _socket.ReceiveAsync(new byte[100]).WaitAsync(MqttHouse.Patience));
    }

    public void Dispose() => _socket.Dispose();
}
