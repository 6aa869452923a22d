using System.Net.Security;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Client;

/// <summary>What happens to a message when the client's queue is full.</summary>
public enum MqttQueueFullRule
{
    /// <summary>The oldest that was not sent makes room; its call fails. For telemetry, where the newest counts.</summary>
    DropOldest,

    /// <summary>The new one's call fails.</summary>
    RefuseNew,
}

/// <summary>Settings of <see cref="MqttClient"/>.</summary>
public sealed record MqttClientOptions
{
    public required string Host { get; init; }

    public int Port { get; init; } = 1883;

    public MqttVersion Version { get; init; } = MqttVersion.V5;

    /// <summary>Null: no TLS. Client certificates and how the server is checked are members of it.</summary>
    public SslClientAuthenticationOptions? Tls { get; init; }

    /// <summary>Empty: the server chooses one, and the session ends with the connection.</summary>
    public string ClientId { get; init; } = "";

    /// <summary>The first connection begins a new session. Later ones always go on with the session, where the server still has it.</summary>
    public bool CleanStart { get; init; } = true;

    /// <summary>Seconds that the server keeps the session while the client is away. In version 3.1.1: 0 is a clean session on every connection.</summary>
    public uint SessionExpirySeconds { get; init; }

    /// <summary>Seconds; 0: none, and a dead server is found only by TCP. A server of version 5.0 may set another.</summary>
    public ushort KeepAliveSeconds { get; init; } = 30;

    public string? UserName { get; init; }

    public ReadOnlyMemory<byte>? Password { get; init; }

    /// <summary>Shows that it knows the password with SCRAM-SHA-256 (version 5.0, 4.12), and does not send it. The server must show the same; where it cannot, it is not connected to.</summary>
    public bool IsScram { get; init; }

    public MqttWill? Will { get; init; }

    /// <summary>TCP, TLS and CONNACK must be through by then.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>The first wait after a failure; each further one doubles it, with full jitter, until a connection has stood for 5 s.</summary>
    public TimeSpan RetryFirst { get; init; } = TimeSpan.FromSeconds(1);

    public TimeSpan RetryMost { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Messages that may wait: for a connection, for the window, or for the socket.</summary>
    public int QueueMax { get; init; } = 1000;

    public MqttQueueFullRule QueueFull { get; init; } = MqttQueueFullRule.DropOldest;

    /// <summary>Outgoing QoS 1 and 2 messages open at once, unless the server allows fewer.</summary>
    public ushort InFlightMax { get; init; } = 100;

    /// <summary>Incoming QoS 1 and 2 messages that the server may have open (version 5.0).</summary>
    public ushort ReceiveMaximum { get; init; } = 100;

    /// <summary>Aliases that the server may set (version 5.0).</summary>
    public ushort TopicAliasMaximum { get; init; } = 32;

    /// <summary>The largest packet taken, bytes.</summary>
    public uint PacketSizeMax { get; init; } = 4 * 1024 * 1024;

    // Records print their members; this one holds a password.
    public override string ToString() => $"{(Tls is null ? "mqtt" : "mqtts")}://{Host}:{Port}";

    /// <exception cref="ArgumentException">A setting cannot be used; it names which.</exception>
    internal void Validate()
    {
        if (Host.Length == 0)
            throw new ArgumentException($"{nameof(Host)} is empty");
        if (Version is not (MqttVersion.V311 or MqttVersion.V5))
            throw new ArgumentException($"{nameof(Version)} is {Version}; 3.1.1 and 5.0 are spoken");
        if (QueueMax < 1 || InFlightMax < 1 || ReceiveMaximum < 1)
            throw new ArgumentException($"{nameof(QueueMax)}, {nameof(InFlightMax)} and {nameof(ReceiveMaximum)} are at least 1");
        if (SessionExpirySeconds > 0 && ClientId.Length == 0)
            throw new ArgumentException($"a session that outlives the connection ({nameof(SessionExpirySeconds)}) needs a {nameof(ClientId)}");
        if (IsScram && (Version != MqttVersion.V5 || UserName is not { Length: > 0 } || Password is null))
            throw new ArgumentException($"{nameof(IsScram)} needs version 5.0, a {nameof(UserName)} and a {nameof(Password)}");
        if (Version == MqttVersion.V311 && Password is not null && UserName is null)
            throw new ArgumentException("version 3.1.1 takes no password without a user name");
    }
}

/// <summary>A call of <see cref="MqttClient"/> did not come to its end: the server refused it, it was dropped, or the client was disposed.</summary>
public sealed class MqttClientException(string message, MqttReasonCode code = MqttReasonCode.UnspecifiedError) : Exception(message)
{
    /// <summary>The server's reason where it gave one.</summary>
    public MqttReasonCode Code { get; } = code;
}

/// <summary>What <see cref="MqttClient.Changed"/> tells.</summary>
/// <param name="Reason">Why it is not connected; empty when it is.</param>
public sealed record MqttClientState(bool IsConnected, bool SessionPresent, string Reason);
