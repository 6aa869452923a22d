using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>The client's half of a session, without a socket; and the client with a server that says what the test wants.</summary>
[Trait("Category", "Devices")]
public sealed class MqttClientTests
{
    private static readonly MqttClientOptions s_options = new() { Host = "x", ClientId = "c", SessionExpirySeconds = 100 };

    [Theory]
    [InlineData(MqttQos.AtLeastOnce)]
    [InlineData(MqttQos.ExactlyOnce)]
    public void What_a_smaller_window_did_not_send_again_goes_out_once_after_the_next_cut(MqttQos qos)
    {
        var session = new ClientSession(s_options);
        var messages = Enumerable.Range(0, 120).Select(i => Message($"{i}", qos)).ToArray();
        session.Connected(Ack(window: 100, isPresent: false));
        foreach (var message in messages)
            session.Publish(message);
        Assert.Equal((100, 100, 20), (Take(session).Count, session.InFlight, session.Waiting));
        session.Disconnected();
        session.Connected(Ack(window: 10));
        Assert.Equal(10, Take(session).Count);
        session.Disconnected();
        session.Connected(Ack(window: 100));
        Assert.Equal((100, 20), (session.InFlight, session.Waiting));
        Assert.Equal(Enumerable.Range(0, 120).Select(i => $"{i}"), AnswerAll(session, qos));
        Assert.Equal((0, 0), (session.InFlight, session.Waiting));
        Assert.All(messages, one => Assert.True(one.Done.Task.IsCompletedSuccessfully));
    }

    [Fact]
    public void What_the_socket_did_not_take_before_a_cut_goes_out_once_and_the_window_stays_whole()
    {
        var session = new ClientSession(s_options);
        session.Connected(Ack(window: 50, isPresent: false));
        var messages = Enumerable.Range(0, 50).Select(i => Message($"{i}".PadRight(20_000), MqttQos.ExactlyOnce)).ToArray();
        var got = new List<string>();
        foreach (var message in messages)
            session.Publish(message);
        for (var i = 0; i < 5; i++)
        {
            session.Disconnected();
            session.Connected(Ack(window: 50));
            Assert.InRange(session.InFlight, 13, 50); // 256 KiB of them are with the socket
        }

        got.AddRange(AnswerAll(session, MqttQos.ExactlyOnce).Select(one => one.TrimEnd()));
        Assert.Equal(Enumerable.Range(0, 50).Select(i => $"{i}"), got);
        for (var i = 0; i < 60; i++)
            session.Publish(Message("x", MqttQos.AtLeastOnce));
        Assert.Equal(50, Take(session).Count);
    }

    [Fact]
    public void What_is_sent_again_does_not_count_as_waiting()
    {
        var session = new ClientSession(s_options with { QueueMax = 2 });
        session.Connected(Ack(window: 10, isPresent: false));
        for (var i = 0; i < 10; i++)
            session.Publish(Message($"{i}", MqttQos.AtLeastOnce));
        session.Disconnected();
        session.Connected(Ack(window: 1));
        session.Publish(Message("10", MqttQos.AtLeastOnce));
        session.Publish(Message("11", MqttQos.AtLeastOnce));
        Assert.Equal(0, session.DroppedCount);
        Assert.Equal(Enumerable.Range(0, 12).Select(i => $"{i}"), AnswerAll(session, MqttQos.AtLeastOnce));
    }

    [Fact]
    public void More_open_qos_2_messages_of_the_server_than_the_receive_maximum_end_the_connection()
    {
        var session = new ClientSession(s_options with { ReceiveMaximum = 2 });
        session.Connected(Ack(window: 10));
        foreach (var id in (ushort[])[1, 2])
        {
            Assert.True(session.IsNew(id));
            session.Received(id);
        }

        Assert.False(session.IsNew(2)); // again, and not a further one
        Assert.Equal(MqttReasonCode.ReceiveMaximumExceeded, Assert.Throws<MqttProtocolException>(() => session.IsNew(3)).Code);
        session.Acknowledged(MqttPacketType.PubRel, new MqttAck(1, MqttReasonCode.Success));
        Assert.True(session.IsNew(3));
        // Those of an earlier connection do not count (4.9).
        session.Disconnected();
        session.Connected(Ack(window: 10));
        Assert.False(session.IsNew(2));
        Assert.True(session.IsNew(3));
    }

    [Theory]
    [InlineData("2000", "CONNACK: the packet ends inside")]
    [InlineData("2003020000", "reserved acknowledge flags")]
    [InlineData("2003010000", "session present, after a CONNECT that asked for a new session")]
    [InlineData("2003000005", "5 bytes of properties are announced")]
    [InlineData("20060000032100 00", "ReceiveMaximum is 0")]
    [InlineData("2006000003230001", "TopicAlias does not belong")]
    [InlineData("D000", "first packet is PingResp, not CONNACK")]
    [InlineData("485454502F312E312034", "flags of the fixed header")]
    [InlineData("20FFFFFF7F", "the packet has")]
    [InlineData("OK 2FFF", "flags of the fixed header")]
    [InlineData("OK 36050001610001", "both QoS bits")]
    [InlineData("OK 3005000161015A", "there is no property 0x5A")]
    [InlineData("OK 300400012300", "wildcard")]
    [InlineData("OK 30060000 03230001", "topic alias 1 was not set")]
    [InlineData("OK 300700016103230021", "topic alias 33")]
    [InlineData("OK 4003000101", "no reason code of this packet")]
    [InlineData("OK 900400010003", "no reason code of this packet")]
    [InlineData("OK D00100", "bytes follow the last field")]
    [InlineData("OK 8207000100000161 00", "a server does not send this packet")]
    [InlineData("OK E00104", "0x04 is no reason code of this packet")]
    [InlineData("OK E00700051100000005", "SessionExpiryInterval does not belong into this packet of a server")]
    [InlineData("OK F000", "a server does not send this packet")]
    public async Task What_is_malformed_from_a_server_ends_the_connection_with_a_reason_and_it_is_tried_again(string hex, string reason)
    {
        var isNonsense = true;
        using var server = new Server(async stream =>
        {
            var says = isNonsense;
            if (!says || hex.StartsWith("OK", StringComparison.Ordinal))
                await stream.WriteAsync(MqttEncoder.ConnAck(new MqttConnAck(false, MqttReasonCode.Success, MqttProperties.None), MqttVersion.V5));
            if (says)
                await stream.WriteAsync(Convert.FromHexString(hex.Replace("OK", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal)));
        });
        var reasons = new ConcurrentQueue<string>();
        await using var client = MqttHouse.Client(MqttHouse.To(server.Port) with { RetryMost = TimeSpan.FromMilliseconds(100) });
        client.Mqtt.Changed += state => reasons.Enqueue(state.Reason);
        await MqttHouse.WaitAsync(() => reasons.Count(one => one.Contains(reason, StringComparison.Ordinal)) >= 2, $"'{reason}' twice; so far: {string.Join(" | ", reasons)}");
        isNonsense = false;
        await client.ConnectedAsync();
        await MqttHouse.WaitAsync(() => client.Mqtt.IsConnected, "a connection that stands");
    }

    [Fact]
    public async Task A_server_that_accepts_and_breaks_at_once_is_asked_ever_more_seldom()
    {
        using var server = new Server(async stream => await stream.WriteAsync(new byte[] { 0x20, 3, 0, 0, 0, 0xD1, 0 }));
        var delays = new DelayLog();
        await using var client = MqttClient.Start(
            MqttHouse.To(server.Port) with { RetryFirst = TimeSpan.FromMilliseconds(10), RetryMost = TimeSpan.FromMilliseconds(80) }, _ => ValueTask.CompletedTask, TimeProvider.System, new NearlyOne(), delays);
        await MqttHouse.WaitAsync(() => delays.All.Count >= 6, "six tries");
        Assert.Equal([10, 20, 40, 80, 80, 80], delays.All.Take(6).Select(one => (int)Math.Round(one / 10.0) * 10));
    }

    private static OutMessage Message(string payload, MqttQos qos) => new(new MqttMessage("t", Encoding.UTF8.GetBytes(payload), qos), "t"u8.ToArray(), []);

    private static MqttConnAck Ack(ushort window, bool isPresent = true) => new(isPresent, MqttReasonCode.Success, new MqttProperties { ReceiveMaximum = window });

    // What was queued for the socket; it has taken it.
    private static List<(MqttPacketType Type, ushort Id, string Payload)> Take(ClientSession session)
    {
        var segments = new List<OutSegment>();
        session.Out.TakeAll(segments);
        var bytes = segments.SelectMany(one => one.Array.Take(one.Length)).ToArray();
        session.Out.Written(bytes.Length);
        session.Pump();
        var result = new List<(MqttPacketType, ushort, string)>();
        ReadOnlySpan<byte> rest = bytes;
        while (MqttFrame.TryRead(rest, uint.MaxValue, MqttVersion.V5, out var frame))
        {
            var body = rest[frame.BodyStart..frame.Length];
            rest = rest[frame.Length..];
            if (frame.Type == MqttPacketType.Publish)
            {
                var view = MqttPublishView.Read(frame.First, body, MqttVersion.V5, fromClient: true);
                result.Add((frame.Type, view.PacketId, Encoding.UTF8.GetString(view.Payload)));
            }
            else
            {
                result.Add((frame.Type, MqttDecoder.Ack(frame.Type, body, MqttVersion.V5).PacketId, ""));
            }
        }

        return result;
    }

    private static List<string> AnswerAll(ClientSession session, MqttQos qos)
    {
        var got = new List<string>();
        for (var packets = Take(session); packets.Count > 0; packets = Take(session))
        {
            foreach (var (type, id, payload) in packets)
            {
                if (type == MqttPacketType.Publish)
                    got.Add(payload);
                session.Acknowledged(type == MqttPacketType.PubRel ? MqttPacketType.PubComp : qos == MqttQos.AtLeastOnce ? MqttPacketType.PubAck : MqttPacketType.PubRec, new MqttAck(id, MqttReasonCode.Success));
            }
        }

        return got;
    }

    /// <summary>Takes connections one after the other, reads CONNECT and says what the test says; the client ends the connection.</summary>
    private sealed class Server : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _loop;

        public Server(Func<NetworkStream, Task> talk)
        {
            _listener.Start();
            _loop = RunAsync(talk);
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public void Dispose()
        {
            _stop.Cancel();
            Assert.True(_loop.Wait(MqttHouse.Patience), "the server did not end");
            _listener.Dispose();
            _stop.Dispose();
        }

        private async Task RunAsync(Func<NetworkStream, Task> talk)
        {
            var buffer = new byte[4096];
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    using var socket = await _listener.AcceptSocketAsync(_stop.Token);
                    await using var stream = new NetworkStream(socket, ownsSocket: false);
                    if (await stream.ReadAsync(buffer) == 0)
                        continue;
                    await talk(stream);
                    while (await stream.ReadAsync(buffer) > 0)
                    {
                        // Until the client ends it.
                    }
                }
                catch (IOException)
                {
                    // The client was faster.
                }
                catch (OperationCanceledException)
                {
                    // The test ends.
                }
            }
        }
    }

    private sealed class NearlyOne : Random
    {
        public override double NextDouble() => 0.999;
    }

    /// <summary>Keeps the waits that the client logs.</summary>
    private sealed class DelayLog : Microsoft.Extensions.Logging.ILoggerFactory, Microsoft.Extensions.Logging.ILogger
    {
        public ConcurrentQueue<long> All { get; } = new();

        public Microsoft.Extensions.Logging.ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(Microsoft.Extensions.Logging.ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => null;

        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (state is IEnumerable<KeyValuePair<string, object?>> values && values.FirstOrDefault(one => one.Key == "DelayMs").Value is long delay)
                All.Enqueue(delay);
        }
    }
}
