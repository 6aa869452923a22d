namespace Edge.Protocol.Mqtt.Codec;

/// <summary>The protocol level of CONNECT (MQTT 5.0, 3.1.2.2).</summary>
public enum MqttVersion : byte
{
    V311 = 4,
    V5 = 5,
}

/// <summary>How surely a message arrives (MQTT 5.0, 4.3).</summary>
public enum MqttQos : byte
{
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

/// <summary>Control packet types (MQTT 5.0, 2.1.2).</summary>
public enum MqttPacketType : byte
{
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// <summary>Reason codes (MQTT 5.0, 2.4). A peer of version 3.1.1 sees only the few that its acknowledgements know.</summary>
public enum MqttReasonCode : byte
{
    /// <summary>Also: normal disconnection, granted QoS 0.</summary>
    Success = 0x00,
    GrantedQos1 = 0x01,
    GrantedQos2 = 0x02,
    DisconnectWithWill = 0x04,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    ContinueAuthentication = 0x18,
    ReAuthenticate = 0x19,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdentifierInUse = 0x91,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QosNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    ServerMoved = 0x9D,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    MaximumConnectTime = 0xA0,
    SubscriptionIdentifiersNotSupported = 0xA1,
    WildcardSubscriptionsNotSupported = 0xA2,
}

/// <summary>The peer broke the protocol; its connection ends. The message says what, and the clause of the specification (of version 5.0 unless it says otherwise).</summary>
public sealed class MqttProtocolException(MqttReasonCode code, string message) : Exception(message)
{
    /// <summary>What a DISCONNECT to the peer carries.</summary>
    public MqttReasonCode Code { get; } = code;
}

/// <summary>The will of CONNECT (MQTT 5.0, 3.1.2.5): published when the connection ends without DISCONNECT.</summary>
public sealed record MqttWill(string Topic, ReadOnlyMemory<byte> Payload, MqttQos Qos, bool Retain)
{
    /// <summary>Version 5.0 only; among them the delay. Null where there are none.</summary>
    public MqttProperties? Properties { get; init; }
}

/// <summary>CONNECT (MQTT 5.0, 3.1).</summary>
internal sealed record MqttConnect
{
    public required MqttVersion Version { get; init; }

    /// <summary>Version 3.1 (level 3, "MQIsdp"): as 3.1.1, but without an empty client identifier and without the session present flag.</summary>
    public bool IsOld { get; init; }

    /// <summary>A bridge of another broker, by the high bit of the protocol level in versions 3.1 and 3.1.1 (mosquitto's "try_private"; no part of the specification): it gets retain flags as
    /// published, and nothing back that it published.</summary>
    public bool IsBridge { get; init; }

    public required string ClientId { get; init; }

    /// <summary>Clean session in version 3.1.1.</summary>
    public bool CleanStart { get; init; }

    public ushort KeepAliveSeconds { get; init; }

    public MqttWill? Will { get; init; }

    public string? UserName { get; init; }

    public ReadOnlyMemory<byte>? Password { get; init; }

    public MqttProperties Properties { get; init; } = MqttProperties.None;

    // Records print their members; this one holds a password.
    public override string ToString() => $"CONNECT of '{ClientId}'";
}

/// <summary>CONNACK (3.2). In version 3.1.1 the code is a return code of 0 to 5.</summary>
internal sealed record MqttConnAck(bool SessionPresent, MqttReasonCode Code, MqttProperties Properties);

/// <summary>PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).</summary>
internal readonly record struct MqttAck(ushort PacketId, MqttReasonCode Code, MqttProperties? Properties = null);

/// <summary>Subscription options (3.8.3.1). What version 3.1.1 does not have is at its default.</summary>
public readonly record struct MqttSubscriptionOptions(MqttQos Qos, bool NoLocal = false, bool RetainAsPublished = false, byte RetainHandling = 0)
{
    internal byte ToByte() => (byte)((int)Qos | (NoLocal ? 4 : 0) | (RetainAsPublished ? 8 : 0) | (RetainHandling << 4));

    internal static MqttSubscriptionOptions FromByte(int value) => new((MqttQos)(value & 3), (value & 4) != 0, (value & 8) != 0, (byte)((value >> 4) & 3));
}

/// <summary>One filter of a SUBSCRIBE.</summary>
public readonly record struct MqttTopicFilter(string Filter, MqttSubscriptionOptions Options);

/// <summary>SUBSCRIBE (3.8).</summary>
internal sealed record MqttSubscribe(ushort PacketId, IReadOnlyList<MqttTopicFilter> Filters, MqttProperties Properties);

/// <summary>SUBACK and UNSUBACK (3.9, 3.11).</summary>
internal sealed record MqttSubAck(ushort PacketId, IReadOnlyList<MqttReasonCode> Codes, MqttProperties Properties);

/// <summary>UNSUBSCRIBE (3.10).</summary>
internal sealed record MqttUnsubscribe(ushort PacketId, IReadOnlyList<string> Filters, MqttProperties Properties);

/// <summary>DISCONNECT and AUTH (3.14, 3.15).</summary>
internal sealed record MqttDisconnect(MqttReasonCode Code, MqttProperties Properties);
