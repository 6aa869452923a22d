using System.Net;
using System.Net.Security;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>What a listener speaks below MQTT.</summary>
public enum MqttListenerKind
{
    Tcp,
    WebSocket,
}

/// <summary>One port of the broker.</summary>
public sealed record MqttListenerOptions
{
    /// <summary>Where to listen; port 0 takes a free one. The default is not reachable from other machines.</summary>
    public IPEndPoint EndPoint { get; init; } = new(IPAddress.Loopback, 1884);

    public MqttListenerKind Kind { get; init; } = MqttListenerKind.Tcp;

    /// <summary>Asked for each connection, so that a new certificate serves at once. Null: no TLS.</summary>
    /// <remarks>Whether a client certificate is asked for and how it is checked are members of it.</remarks>
    public Func<SslServerAuthenticationOptions>? Tls { get; init; }

    /// <summary>The common name of a client's certificate is its user name, and no password is asked for.</summary>
    public bool CertificateIsUser { get; init; }
}

/// <summary>A user of the broker.</summary>
/// <param name="PasswordHash">As <see cref="MqttPassword.Hash"/> or <see cref="MqttPassword.HashForScram"/> makes it.</param>
public sealed record MqttUser(string Name, string PasswordHash);

/// <summary>What a rule is about.</summary>
[Flags]
public enum MqttAccess
{
    /// <summary>Subscribing, and getting messages.</summary>
    Read = 1,

    /// <summary>Publishing, wills included.</summary>
    Write = 2,
    ReadWrite = 3,
}

/// <summary>One rule of who may do what. The first rule that fits decides; where there are rules and none fits, it is refused.</summary>
/// <param name="User">A user's name; <c>*</c> for everybody, and empty for who is anonymous.</param>
/// <param name="Pattern">A topic filter; <c>%u</c> stands for the user's name, <c>%c</c> for the client identifier. A name with a wildcard or slash fits no such pattern.</param>
public sealed record MqttAclRule(string User, string Pattern, MqttAccess Access, bool Allow = true);

/// <summary>Settings of <see cref="MqttBroker"/>. Sizes are bytes.</summary>
public sealed record MqttBrokerOptions
{
    public IReadOnlyList<MqttListenerOptions> Listeners { get; init; } = [new()];

    /// <summary>Clients without user name are served.</summary>
    public bool AllowAnonymous { get; init; }

    public IReadOnlyList<MqttUser> Users { get; init; } = [];

    /// <summary>Empty: who is let in may do everything but publish below <c>$SYS/</c>.</summary>
    public IReadOnlyList<MqttAclRule> Acl { get; init; } = [];

    /// <summary>What this process keeps of what is published, before its publishers hear that it arrived.</summary>
    public IReadOnlyList<MqttTaker> Takers { get; init; } = [];

    /// <summary>A refused SUBSCRIBE is answered with "unspecified error" (0x80) instead of "not authorized" (0x87), so that a client cannot find out what there is.</summary>
    public bool HideDenials { get; init; }

    /// <summary>Connections at once; a further one is closed at once. Each takes a file descriptor.</summary>
    public int ConnectionsMax { get; init; } = 10_000;

    /// <summary>Sessions, connected ones included; a further client is refused with 0x97.</summary>
    public int SessionsMax { get; init; } = 20_000;

    /// <summary>The largest packet taken; a larger one ends the connection with 0x95.</summary>
    public int PacketSizeMax { get; init; } = 1024 * 1024;

    /// <summary>Incoming QoS 2 messages that a client may have open (receive maximum); more ends the connection with 0x93.</summary>
    public ushort ReceiveMaximum { get; init; } = 100;

    /// <summary>Outgoing QoS 1 and 2 messages open to a client at once, unless its own receive maximum is lower. Version 3.1.1 cannot say its own.</summary>
    public ushort InFlightMax { get; init; } = 100;

    /// <summary>Aliases that a client may set; and that the broker sets where the client allows it.</summary>
    public ushort TopicAliasMaximum { get; init; } = 32;

    /// <summary>Seconds; a client of version 5.0 that asks for more, or for none, is given this. 0: it has its way.</summary>
    public ushort KeepAliveMaxSeconds { get; init; }

    /// <summary>Seconds that a session may outlive its connection at most. A session of version 3.1.1 that is not clean has this.</summary>
    public uint SessionExpiryMaxSeconds { get; init; } = 30 * 24 * 3600;

    /// <summary>QoS 1 and 2 messages that wait for a session beyond those in flight, while its client is away or has acknowledged nothing for 5 s. Full: the oldest is dropped and counted.</summary>
    public int QueuedMessagesMax { get; init; } = 1000;

    /// <summary>Bytes that wait for a session, whether its client keeps up or not; a message counts with its topic and properties and 128 bytes more. Full: as above.</summary>
    public int QueuedBytesMax { get; init; } = 16 * 1024 * 1024;

    /// <summary>Bytes that wait for a connection's socket. Above it QoS 0 messages are dropped and counted, and QoS 1 and 2 wait in the session's queue.</summary>
    public int OutgoingBytesMax { get; init; } = 1024 * 1024;

    public int SubscriptionsPerSessionMax { get; init; } = 10_000;

    /// <summary>Retained messages; a further one is refused with 0x97. As many may wait for one session that has subscribed to them.</summary>
    public int RetainedMax { get; init; } = 100_000;

    /// <summary>Levels of a topic or filter; deeper ones are refused with 0x90 or 0x8F.</summary>
    public int TopicLevelsMax { get; init; } = 128;

    /// <summary>A connection that has not sent its CONNECT by then, TLS included, is closed.</summary>
    public TimeSpan ConnectWithin { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A packet that is begun must be whole by then.</summary>
    public TimeSpan PacketWithin { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How often <c>$SYS/</c> is published; zero: never.</summary>
    public TimeSpan SysPeriod { get; init; } = TimeSpan.FromSeconds(10);

    /// <exception cref="ArgumentException">A setting cannot be used; it names which.</exception>
    public void Validate()
    {
        foreach (var (name, value, least) in (ReadOnlySpan<(string, long, long)>)[
            (nameof(ConnectionsMax), ConnectionsMax, 1), (nameof(SessionsMax), SessionsMax, 1), (nameof(PacketSizeMax), PacketSizeMax, 128), (nameof(ReceiveMaximum), ReceiveMaximum, 1),
            (nameof(InFlightMax), InFlightMax, 1), (nameof(QueuedMessagesMax), QueuedMessagesMax, 1), (nameof(QueuedBytesMax), QueuedBytesMax, 1), (nameof(OutgoingBytesMax), OutgoingBytesMax, 4096),
            (nameof(SubscriptionsPerSessionMax), SubscriptionsPerSessionMax, 1), (nameof(RetainedMax), RetainedMax, 0), (nameof(TopicLevelsMax), TopicLevelsMax, 1)])
        {
            if (value < least)
                throw new ArgumentException($"{name} is {value}; it is at least {least}");
        }

        if (PacketSizeMax > MqttWriter.VarIntMax)
            throw new ArgumentException($"{nameof(PacketSizeMax)} is {PacketSizeMax}; a packet of MQTT has at most {MqttWriter.VarIntMax} bytes");
        if (InFlightMax > 32_767)
            throw new ArgumentException($"{nameof(InFlightMax)} is {InFlightMax}; it is at most 32767, half of the packet identifiers");
        if (TopicLevelsMax > 1024)
            throw new ArgumentException($"{nameof(TopicLevelsMax)} is {TopicLevelsMax}; it is at most 1024, since the topic tree is as deep");
        if (!AllowAnonymous && Users.Count == 0 && !Listeners.Any(one => one.CertificateIsUser))
            throw new ArgumentException($"nobody could connect: set {nameof(AllowAnonymous)}, or give {nameof(Users)}, or a listener with {nameof(MqttListenerOptions.CertificateIsUser)}");
        foreach (var rule in Acl)
        {
            if (MqttTopic.ProblemOfFilter(rule.Pattern) is { } problem)
                throw new ArgumentException($"the ACL pattern '{rule.Pattern}' of user '{rule.User}': {problem}");
        }

        foreach (var taker in Takers)
        {
            if ((MqttTopic.ProblemOfFilter(taker.Filter) ?? (MqttTopic.SplitShare(taker.Filter).Share.Length > 0 ? "a taker has no shared subscription" : null)) is { } problem)
                throw new ArgumentException($"the filter '{taker.Filter}' of a taker: {problem}");
            if (taker.Capacity < 1)
                throw new ArgumentException($"the capacity of the taker of '{taker.Filter}' is {taker.Capacity}; it is at least 1");
        }

        foreach (var user in Users)
        {
            if (!MqttPassword.IsHash(user.PasswordHash))
                throw new ArgumentException($"the password of user '{user.Name}' is no hash as {nameof(MqttPassword)}.{nameof(MqttPassword.Hash)} makes it");
        }
    }
}
