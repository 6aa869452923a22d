using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>A packet that the broker sent.</summary>
internal sealed record Sent(MqttPacketType Type)
{
    public string Topic { get; init; } = "";

    public string Payload { get; init; } = "";

    public MqttQos Qos { get; init; }

    public bool Retain { get; init; }

    public bool Duplicate { get; init; }

    public ushort PacketId { get; init; }

    public MqttProperties Properties { get; init; } = MqttProperties.None;

    public MqttReasonCode Code { get; init; }

    public IReadOnlyList<MqttReasonCode> Codes { get; init; } = [];

    public MqttConnAck? ConnAck { get; init; }

    public MqttDisconnect? Disconnect { get; init; }
}

/// <summary>A broker's core under a clock that the test moves.</summary>
internal sealed class MqttCoreHarness
{
    public const long Start = 1_000_000;

    private readonly MqttBrokerOptions _options;
    private readonly Dictionary<Connection, List<byte>> _out = [];

    public MqttCoreHarness(MqttBrokerOptions? options = null, bool hasStore = false, IReadOnlyList<MqttStoreChange>? load = null, long now = Start)
    {
        _options = options ?? new MqttBrokerOptions { AllowAnonymous = true, SysPeriod = TimeSpan.Zero };
        Core = new BrokerCore(_options, new Random(1), hasStore, now, 0);
        if (load is not null)
            Core.Load(load);
    }

    public BrokerCore Core { get; }

    public MqttProtocolException LastError { get; private set; } = new(MqttReasonCode.Success, "");

    public Connection Open()
    {
        var connection = new TestConnection();
        Core.Accepted(connection);
        return connection;
    }

    public Connection Connect(string id, MqttVersion version = MqttVersion.V5, bool clean = true, uint expiry = 0, MqttProperties? properties = null, MqttWill? will = null, ushort keepAlive = 0, string? user = null)
    {
        var connection = Open();
        ((TestConnection)connection).HasConnect = true;
        Core.Connect(connection, new MqttConnect
        {
            Version = version, ClientId = id, CleanStart = clean, Will = will, KeepAliveSeconds = keepAlive,
            Properties = version == MqttVersion.V5 ? (properties ?? MqttProperties.None) with { SessionExpiryInterval = expiry } : MqttProperties.None,
        }, user);
        return connection;
    }

    /// <summary>As the shell does it.</summary>
    public void Feed(Connection connection, ReadOnlySpan<byte> bytes)
    {
        var test = (TestConnection)connection;
        try
        {
            while (!connection.IsClosing && MqttFrame.TryRead(bytes, (uint)_options.PacketSizeMax, test.HasConnect ? connection.Version : null, out var frame))
            {
                var body = bytes[frame.BodyStart..frame.Length];
                bytes = bytes[frame.Length..];
                if (test.HasConnect)
                {
                    Core.Receive(connection, frame, body);
                    continue;
                }

                test.HasConnect = true;
                if (frame.Type != MqttPacketType.Connect)
                    throw new MqttProtocolException(MqttReasonCode.ProtocolError, "no CONNECT");
                try
                {
                    Core.Connect(connection, MqttDecoder.Connect(body), null);
                }
                catch (MqttProtocolException e) when (MqttDecoder.PeekLevel(body) >= 5)
                {
                    LastError = e;
                    Core.Refuse(connection, MqttVersion.V5, e.Code, e.Message);
                }
            }
        }
        catch (MqttProtocolException e)
        {
            LastError = e;
            Core.Fail(connection, e);
        }
    }

    public void Subscribe(Connection connection, string filter, MqttQos qos = MqttQos.AtMostOnce, uint id = 0, MqttSubscriptionOptions? options = null)
        => Feed(connection, MqttEncoder.Subscribe(
            new MqttSubscribe(1, [new(filter, options ?? new(qos))], id == 0 ? MqttProperties.None : new MqttProperties { SubscriptionIdentifiers = [id] }), connection.Version));

    public void Publish(string topic, string payload, MqttQos qos = MqttQos.AtMostOnce, bool retain = false, MqttProperties? properties = null)
        => Core.Publish(new MqttMessage(topic, Encoding.UTF8.GetBytes(payload), qos, retain) { Properties = properties ?? MqttProperties.None });

    public void PublishFrom(Connection connection, string topic, string payload, MqttQos qos = MqttQos.AtMostOnce, ushort id = 0, bool retain = false, ushort alias = 0, bool duplicate = false)
        => Feed(connection, MqttPublishWriter.ToPacket(new MqttPublishOut
        {
            Version = connection.Version, Topic = Encoding.UTF8.GetBytes(topic), Payload = Encoding.UTF8.GetBytes(payload), Qos = qos, PacketId = id, Retain = retain, TopicAlias = alias, Duplicate = duplicate,
        }));

    public void Ack(Connection connection, MqttPacketType type, ushort id, MqttReasonCode code = MqttReasonCode.Success)
        => Feed(connection, MqttEncoder.Ack(type, new MqttAck(id, code), connection.Version));

    public void Disconnect(Connection connection, MqttReasonCode code = MqttReasonCode.Success, uint? expiry = null)
        => Feed(connection, MqttEncoder.Disconnect(
            MqttPacketType.Disconnect, new MqttDisconnect(code, expiry is null ? MqttProperties.None : new MqttProperties { SessionExpiryInterval = expiry }), connection.Version));

    public void Advance(double seconds)
    {
        var end = Core.NowMs + (long)(seconds * 1000);
        while (Core.NowMs < end)
        {
            Core.NowMs = Math.Min(end, Core.NowMs + 250);
            Core.Tick();
        }
    }

    /// <summary>What was queued for this connection since the last call; the socket has taken it.</summary>
    public List<Sent> Take(Connection connection, MqttVersion? version = null)
    {
        Core.Dirty.ForEach(one => one.IsDirty = false);
        Core.Dirty.Clear();
        var segments = new List<OutSegment>();
        connection.Out.TakeAll(segments);
        var bytes = segments.SelectMany(one => one.Array.Take(one.Length)).ToArray();
        connection.Out.Written(bytes.Length);
        var result = new List<Sent>();
        ReadOnlySpan<byte> rest = bytes;
        while (MqttFrame.TryRead(rest, uint.MaxValue, version ?? connection.Version, out var frame))
        {
            result.Add(Decode(frame, rest[frame.BodyStart..frame.Length], version ?? connection.Version));
            rest = rest[frame.Length..];
        }

        Assert.Equal(0, rest.Length);
        return result;
    }

    public List<Sent> Publishes(Connection connection) => [.. Take(connection).Where(one => one.Type == MqttPacketType.Publish)];

    private static Sent Decode(in MqttFrame frame, ReadOnlySpan<byte> body, MqttVersion version)
    {
        if (frame.Type == MqttPacketType.Publish)
        {
            var view = MqttPublishView.Read(frame.First, body, version, fromClient: false);
            var properties = MqttPropertyCodec.ReadBody(view.Properties, MqttPacketType.Publish, MqttPacketType.Publish);
            return new Sent(frame.Type)
            {
                Topic = Encoding.UTF8.GetString(view.Topic), Payload = Encoding.UTF8.GetString(view.Payload), Qos = view.Qos, Retain = view.Retain, Duplicate = view.Duplicate, PacketId = view.PacketId,
                Properties = properties,
            };
        }

        return MqttCodecTests.Decode(frame, body, version) switch
        {
            MqttConnAck ack => new Sent(frame.Type) { ConnAck = ack, Code = ack.Code },
            MqttAck ack => new Sent(frame.Type) { PacketId = ack.PacketId, Code = ack.Code },
            MqttSubAck ack => new Sent(frame.Type) { PacketId = ack.PacketId, Codes = ack.Codes },
            MqttDisconnect disconnect => new Sent(frame.Type) { Disconnect = disconnect, Code = disconnect.Code },
            _ => new Sent(frame.Type),
        };
    }
}

internal sealed class TestConnection : Connection
{
    public bool HasConnect { get; set; }
}
