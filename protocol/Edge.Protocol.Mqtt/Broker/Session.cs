using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A message that is kept: for sessions, or as retained. It never changes, so that all share it.</summary>
/// <param name="Forwarded">Properties of version 5.0 that go on, encoded.</param>
/// <param name="ExpiresAtMs">By the core's clock; <see cref="long.MaxValue"/>: never.</param>
internal sealed record StoredMessage(byte[] TopicBytes, string Topic, byte[] Payload, byte[] Forwarded, MqttQos Qos, bool Retain, long ExpiresAtMs)
{
    /// <summary>In the store; 0: not there.</summary>
    public long StoreId { get; set; }

    /// <summary>How many deliveries in the store need it.</summary>
    public int StoreUses { get; set; }

    public int Size => Payload.Length + TopicBytes.Length + Forwarded.Length;

    /// <summary>What it counts in a session's queue: its bytes, and about what the objects around them take.</summary>
    public int QueuedSize => Size + 128;
}

/// <summary>Where an outgoing QoS 1 or 2 message is (4.3).</summary>
internal enum DeliveryState : byte
{
    /// <summary>Not sent on this connection.</summary>
    Waiting = 0,

    /// <summary>PUBACK or PUBREC is awaited.</summary>
    Published = 1,

    /// <summary>PUBCOMP is awaited.</summary>
    Released = 2,
}

/// <summary>One QoS 1 or 2 message on its way to one session.</summary>
internal sealed class Delivery(StoredMessage message, MqttQos qos, bool retain, uint[]? ids, long sequence)
{
    public StoredMessage Message { get; } = message;

    public MqttQos Qos { get; } = qos;

    public bool Retain { get; } = retain;

    public uint[]? Ids { get; } = ids;

    /// <summary>Rises with time; the order of delivery.</summary>
    public long Sequence { get; } = sequence;

    /// <summary>0 until it is first sent.</summary>
    public ushort PacketId { get; set; }

    public DeliveryState State { get; set; }

    public bool IsStored { get; set; }
}

/// <summary>A client's session (4.1). Empty collections are not there at all: most sessions have few.</summary>
internal sealed class Session(string clientId, Acl acl) : Subscriber
{
    public string ClientId { get; } = clientId;

    public string? UserName { get; set; }

    /// <summary>Null while the client is away.</summary>
    public Connection? Connection { get; set; }

    /// <summary>Seconds that it outlives its connection; 0: not at all, <see cref="uint.MaxValue"/>: for ever.</summary>
    public uint ExpirySeconds { get; set; }

    /// <summary>When it ends, while the client is away.</summary>
    public long ExpiresAtMs { get; set; } = long.MaxValue;

    public MqttWill? Will { get; set; }

    /// <summary>When the will is published, once the connection is lost.</summary>
    public long WillAtMs { get; set; } = long.MaxValue;

    /// <summary>By the full filter, the share's part included.</summary>
    public Dictionary<string, Subscription>? Subscriptions { get; set; }

    /// <summary>Deliveries that were never sent, in the order of their sequence.</summary>
    public Queue<Delivery>? Pending { get; set; }

    /// <summary>Sum of their <see cref="StoredMessage.QueuedSize"/>.</summary>
    public long PendingBytes { get; set; }

    /// <summary>Retained messages that a subscription asked for and that were never sent, in the order of their sequence. They are no part of <see cref="Pending"/>'s bounds.</summary>
    public Queue<Delivery>? Replay { get; set; }

    /// <summary>Deliveries that have an identifier.</summary>
    public Dictionary<ushort, Delivery>? InFlight { get; set; }

    /// <summary>Those of <see cref="InFlight"/> that were sent on an earlier connection and are not sent again yet.</summary>
    public Queue<Delivery>? Again { get; set; }

    /// <summary>When the client last showed that it keeps up: an acknowledgement, its socket empty, or nothing waiting for it.</summary>
    public long ProgressMs { get; set; }

    /// <summary>Something waits for the window or the socket.</summary>
    public bool HasWaiting => Again is { Count: > 0 } || Replay is { Count: > 0 } || Pending is { Count: > 0 };

    /// <summary>Everything that is on its way to the client, each once.</summary>
    public IEnumerable<Delivery> Deliveries
        => (InFlight?.Values ?? Enumerable.Empty<Delivery>()).Concat(Replay ?? Enumerable.Empty<Delivery>()).Concat(Pending ?? Enumerable.Empty<Delivery>());

    /// <summary>How many of them are open on this connection.</summary>
    public int Open { get; set; }

    /// <summary>QoS 2 packet identifiers of the client that are not released.</summary>
    public HashSet<ushort>? Incoming { get; set; }

    /// <summary>Those that takers have not kept yet.</summary>
    public Dictionary<ushort, HeldPublish>? HeldIncoming { get; set; }

    public bool IsPersistent => ExpirySeconds > 0;

    public bool IsGone { get; set; }

    private ushort _lastPacketId;

    public override bool MayRead(string topic) => acl.Allows(UserName, ClientId, topic, MqttAccess.Read);

    /// <summary>An identifier that is not in flight. There is one: the window is far smaller than 65535.</summary>
    public ushort NextPacketId()
    {
        do
        {
            _lastPacketId++;
        }
        while (_lastPacketId == 0 || (InFlight?.ContainsKey(_lastPacketId) ?? false));
        return _lastPacketId;
    }
}

/// <summary>One network connection, as the core sees it. The shell derives from it and owns the socket.</summary>
internal class Connection : Timed
{
    public string Address { get; init; } = "";

    public MqttVersion Version { get; set; } = MqttVersion.V311;

    /// <summary>Null before CONNECT was accepted, and after the end.</summary>
    public Session? Session { get; set; }

    /// <summary>How the client shows who it is (4.12); null: by CONNECT alone.</summary>
    public string? AuthenticationMethod { get; set; }

    /// <summary>The last word of that, for CONNACK.</summary>
    public byte[]? AuthenticationData { get; set; }

    public OutQueue Out { get; } = new();

    /// <summary>Outgoing QoS 1 and 2 messages at once.</summary>
    public int Window { get; set; }

    /// <summary>The largest packet that the client takes, bytes.</summary>
    public uint PacketSizeMax { get; set; } = uint.MaxValue;

    public ushort AliasOutMax { get; set; }

    public Dictionary<byte[], ushort>? AliasOut { get; set; }

    /// <summary>Topics by the client's aliases, from 1.</summary>
    public byte[]?[]? AliasIn { get; set; }

    /// <summary>Acknowledgements that wait for takers, and those behind them.</summary>
    public Queue<HeldPublish>? Held { get; set; }

    public bool WantsReasons { get; set; } = true;

    /// <inheritdoc cref="MqttConnect.IsBridge"/>
    public bool IsBridge { get; set; }

    /// <summary>QoS 2 messages of the client that came on this connection and are not released.</summary>
    public int IncomingOpen { get; set; }

    /// <summary>The session expiry of CONNECT: DISCONNECT may not raise it from 0.</summary>
    public bool MayRaiseExpiry { get; set; }

    /// <summary>Silence that ends the connection, ms; 0: none does.</summary>
    public long SilenceMaxMs { get; set; }

    /// <summary>When the last whole packet came.</summary>
    public long LastPacketMs { get; set; }

    /// <summary>When the packet was begun that is not whole; <see cref="long.MaxValue"/>: none is.</summary>
    public long PartialSinceMs { get; set; } = long.MaxValue;

    /// <summary>The last topic published to: mostly the next is the same.</summary>
    public RouteList? LastRoutes { get; set; }

    public bool LastMayWrite { get; set; }

    /// <summary>Nothing more is read; what is queued goes out, then the socket closes.</summary>
    public bool IsClosing { get; set; }

    /// <summary>It ends because the client said so: there is nothing left to tell it.</summary>
    public bool IsEndedByClient { get; set; }

    /// <summary>Why it ends, for the log.</summary>
    public string EndReason { get; set; } = "";

    public bool IsDirty { get; set; }

    /// <summary>The step of the core that last queued something.</summary>
    public long Step { get; set; }

    /// <summary>What is queued goes out only when so many of the core's writes are on disk.</summary>
    public long FlushAfter { get; set; }

    /// <summary>What CONNECT says about the packets that may be sent to this client; also before it is accepted, for the packet that refuses it.</summary>
    public void Heed(MqttConnect connect)
    {
        Version = connect.Version;
        IsBridge = connect.IsBridge;
        PacketSizeMax = connect.Properties.MaximumPacketSize ?? uint.MaxValue;
        WantsReasons = connect.Properties.RequestProblemInformation != 0;
    }
}
