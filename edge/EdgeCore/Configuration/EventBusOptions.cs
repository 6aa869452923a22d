using System.Net;
using System.Text.RegularExpressions;
using Edge.Common.Configuration;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Core.Configuration;

/// <summary>Section <c>modules.eventBus</c>: MQTT for the applications at this edge. Off where the section is missing.</summary>
public sealed partial record EventBusOptions
{
    public bool Enable { get; init; }

    /// <summary>KubeEdge's <c>mqttMode</c>: 0 the embedded broker, 1 both, 2 an external one.</summary>
    public int Mode { get; init; } = 2;

    public bool HasInternal => Mode is 0 or 1;

    public bool HasExternal => Mode is 1 or 2;

    /// <summary>Where the embedded broker listens; port 0 takes a free one, which edgecore.ports.json names.</summary>
    public IPEndPoint Internal { get; init; } = new(IPAddress.Loopback, 1884);

    /// <summary>Where the embedded broker listens with TLS; null: it does not.</summary>
    public IPEndPoint? InternalTls { get; init; }

    /// <summary>Where the embedded broker listens for WebSockets; null: it does not.</summary>
    public IPEndPoint? InternalWebSocket { get; init; }

    /// <summary>Where it listens for WebSockets with TLS; null: it does not.</summary>
    public IPEndPoint? InternalWebSocketTls { get; init; }

    /// <summary>The embedded broker's certificate, PEM, and its key.</summary>
    public string ServerCertFile { get; init; } = "";

    public string ServerKeyFile { get; init; } = "";

    /// <summary>Clients of the TLS ports show a certificate of this authority, whose common name is then their user name; empty: they show none.</summary>
    public string ServerClientCaFile { get; init; } = "";

    /// <summary>Clients of the TLS ports may come without a certificate; they are then who their password says.</summary>
    public bool IsClientCertificateOptional { get; init; }

    public MqttAddress External { get; init; } = new("127.0.0.1", 1883, false);

    /// <summary>QoS with which the embedded broker publishes, 0 to 2.</summary>
    public int Qos { get; init; }

    /// <summary>Whether the embedded broker retains what EdgeCore publishes.</summary>
    public bool Retain { get; init; }

    /// <summary>Messages that wait for a client of the embedded broker.</summary>
    public int SessionQueueSize { get; init; } = 100;

    /// <summary>The embedded broker's limits; what this section has a member of its own for is not read from it.</summary>
    public MqttBrokerOptions Broker { get; init; } = new();

    /// <summary>Clients without user name are served; by default only where the embedded broker is on this machine alone.</summary>
    public bool AllowAnonymous { get; init; } = true;

    public IReadOnlyList<MqttUser> Users { get; init; } = [];

    public IReadOnlyList<MqttAclRule> Acl { get; init; } = [];

    /// <summary>At the external broker; empty for one of the node's name.</summary>
    public string ClientId { get; init; } = "";

    public string UserName { get; init; } = "";

    /// <summary>A secret: never logged.</summary>
    public string Password { get; init; } = "";

    public string TlsCaFile { get; init; } = "";

    public string TlsCertFile { get; init; } = "";

    public string TlsKeyFile { get; init; } = "";

    /// <summary>Reads the section; what is wrong is said to it.</summary>
    internal static EventBusOptions Read(ConfigSection bus)
    {
        bus.Ignore("eventBusTLS", "mqttPubClientID");
        var server = bus.Text("mqttServerInternal", "tcp://127.0.0.1:1884");
        var ip = IPAddress.Loopback;
        if (MqttAddress.TryParse(server) is not { IsTls: false } address || !server.StartsWith("tcp://", StringComparison.Ordinal) || !IPAddress.TryParse(address.Host.Trim('[', ']'), out ip))
        {
            bus.Problem("mqttServerInternal", $"is '{server}', must be tcp://IP:PORT, e.g. tcp://127.0.0.1:1884");
            (ip, address) = (IPAddress.Loopback, new MqttAddress("", 0, false));
        }

        var serverTls = bus.Section("serverTLS");
        var (certFile, keyFile, clientCaFile) = (serverTls.Text("certFile", ""), serverTls.Text("keyFile", ""), serverTls.Text("clientCAFile", ""));
        var isOptional = serverTls.Bool("clientCertificateOptional", false);
        if (isOptional && clientCaFile.Length == 0)
            serverTls.Problem("clientCertificateOptional", "is true without clientCAFile, the authority of the certificates; name its file, or leave this key out");
        var withTlsAt = Listener(bus, "mqttServerInternalTLS", "ssl://", "ssl://0.0.0.0:8883");
        var withWebSocketAt = Listener(bus, "mqttServerInternalWebSocket", "ws://", "ws://127.0.0.1:9001");
        var withSecureWebSocketAt = Listener(bus, "mqttServerInternalWebSocketTLS", "wss://", "wss://0.0.0.0:9443");
        if ((withTlsAt ?? withSecureWebSocketAt) is not null && (certFile.Length == 0 || keyFile.Length == 0))
            bus.Problem("serverTLS", $"needs certFile and keyFile for {(withTlsAt is null ? "mqttServerInternalWebSocketTLS" : "mqttServerInternalTLS")}");
        var external = bus.Text("mqttServerExternal", "tcp://127.0.0.1:1883");
        var there = external.Contains("://", StringComparison.Ordinal) ? MqttAddress.TryParse(external) : null;
        if (there is null)
            bus.Problem("mqttServerExternal", $"is '{external}', must be tcp://HOST:PORT, or ssl://HOST:PORT with TLS");
        var users = bus.Map("users").Select(pair => new MqttUser(pair.Key, pair.Value)).ToList();
        foreach (var user in users.Where(user => !MqttPassword.IsHash(user.PasswordHash)))
            bus.Problem("users", $"has no hash for '{user.Name}', must be one that 'edgectl mqtt hash' makes, with or without --scram"); // what stands there may be the password
        var allowAnonymous = bus.Bool("allowAnonymous", users.Count == 0 && new[] { ip, withTlsAt?.Address, withWebSocketAt?.Address, withSecureWebSocketAt?.Address }.All(one => one is null || IPAddress.IsLoopback(one)));
        var mode = bus.Int("mqttMode", 2, 0, 2);
        var enable = bus.Bool("enable", true);
        if (enable && mode < 2 && users.Count == 0 && !allowAnonymous && clientCaFile.Length == 0)
            bus.Problem("users", $"is missing: a broker that others than this machine reach serves nobody without users; name some ('edgectl mqtt hash' makes the hash), give serverTLS.clientCAFile, or set allowAnonymous");
        if (bus.Text("mqttPassword", "").Length > 0 && bus.Text("mqttUsername", "").Length == 0)
            bus.Problem("mqttUsername", "is missing: MQTT 3.1.1 takes no password without a user name");
        var tls = bus.Section("tls");
        var withTls = tls.Bool("enable", false);
        return new EventBusOptions
        {
            Enable = enable,
            Mode = mode,
            Internal = new IPEndPoint(ip, address.Port),
            InternalTls = withTlsAt,
            InternalWebSocket = withWebSocketAt,
            InternalWebSocketTls = withSecureWebSocketAt,
            ServerCertFile = certFile,
            ServerKeyFile = keyFile,
            ServerClientCaFile = clientCaFile,
            IsClientCertificateOptional = isOptional,
            External = (there ?? new MqttAddress("", 0, false)) with { IsTls = there?.IsTls == true || withTls },
            Qos = bus.Int("mqttQOS", 0, 0, 2),
            Retain = bus.Bool("mqttRetain", false),
            SessionQueueSize = bus.Int("mqttSessionQueueSize", 100, 1, 1_000_000),
            Broker = ReadLimits(bus.Section("broker")),
            AllowAnonymous = allowAnonymous,
            Users = users,
            Acl = [.. bus.Texts("acl", []).Select(line => ReadRule(bus, line)).OfType<MqttAclRule>()],
            ClientId = bus.Text("mqttSubClientID", ""),
            UserName = bus.Text("mqttUsername", ""),
            Password = bus.Text("mqttPassword", ""),
            TlsCaFile = tls.Text("tlsMqttCAFile", ""),
            TlsCertFile = tls.Text("tlsMqttCertFile", ""),
            TlsKeyFile = tls.Text("tlsMqttPrivateKeyFile", ""),
        };
    }

    private static IPEndPoint? Listener(ConfigSection bus, string key, string scheme, string example)
    {
        var text = bus.Text(key, "");
        if (text.Length == 0)
            return null;
        if (text.StartsWith(scheme, StringComparison.Ordinal) && IPEndPoint.TryParse(text[scheme.Length..], out var endpoint))
            return endpoint;
        bus.Problem(key, $"is '{text}', must be {scheme}IP:PORT, e.g. {example}");
        return null;
    }

    private static MqttBrokerOptions ReadLimits(ConfigSection broker)
    {
        var absent = new MqttBrokerOptions();
        return absent with
        {
            ConnectionsMax = broker.Int("connectionsMax", absent.ConnectionsMax, 1, 1_000_000),
            SessionsMax = broker.Int("sessionsMax", absent.SessionsMax, 1, 1_000_000),
            PacketSizeMax = broker.Int("packetSizeMax", absent.PacketSizeMax, 128, 268_435_455), // MQTT 5.0, 1.5.5: the largest length there is
            ReceiveMaximum = (ushort)broker.Int("receiveMaximum", absent.ReceiveMaximum, 1, ushort.MaxValue),
            InFlightMax = (ushort)broker.Int("inFlightMax", absent.InFlightMax, 1, 32_767),
            TopicAliasMaximum = (ushort)broker.Int("topicAliasMaximum", absent.TopicAliasMaximum, 0, ushort.MaxValue),
            KeepAliveMaxSeconds = (ushort)broker.Int("keepAliveMaxSeconds", absent.KeepAliveMaxSeconds, 0, ushort.MaxValue),
            SessionExpiryMaxSeconds = (uint)broker.Int("sessionExpiryMaxSeconds", (int)absent.SessionExpiryMaxSeconds, 0),
            QueuedBytesMax = broker.Int("queuedBytesMax", absent.QueuedBytesMax, 1),
            OutgoingBytesMax = broker.Int("outgoingBytesMax", absent.OutgoingBytesMax, 4096),
            SubscriptionsPerSessionMax = broker.Int("subscriptionsPerSessionMax", absent.SubscriptionsPerSessionMax, 1),
            RetainedMax = broker.Int("retainedMax", absent.RetainedMax, 0),
            SysPeriod = TimeSpan.FromSeconds(broker.Int("sysPeriodSeconds", (int)absent.SysPeriod.TotalSeconds, 0, 86_400)),
            HideDenials = broker.Bool("hideDenials", absent.HideDenials),
        };
    }

    // USER FILTER read|write|readwrite|deny; the user '-' is who has no name.
    private static MqttAclRule? ReadRule(ConfigSection bus, string line)
    {
        var match = RulePattern().Match(line);
        if (!match.Success)
        {
            bus.Problem("acl", $"has '{line}', must be 'USER FILTER read|write|readwrite|deny', e.g. 'press1 line/%u/# readwrite'; '*' is everybody, '-' who has no name, and a user or filter with spaces stands in double quotes");
            return null;
        }

        var (user, filter, word) = (match.Groups["user"].Value, match.Groups["filter"].Value, match.Groups["access"].Value);
        if (MqttTopic.ProblemOfFilter(filter) is { } problem)
        {
            bus.Problem("acl", $"has '{line}', with a filter that fits no topic: {problem}");
            return null;
        }

        return new MqttAclRule(user == "-" ? "" : user, filter, word switch { "read" => MqttAccess.Read, "write" => MqttAccess.Write, _ => MqttAccess.ReadWrite }, word != "deny");
    }

    [GeneratedRegex("""\A\s*(?:"(?<user>[^"]+)"|(?<user>[^"\s]+))\s+(?:"(?<filter>[^"]+)"|(?<filter>[^"\s]+))\s+(?<access>read|write|readwrite|deny)\s*\z""")]
    private static partial Regex RulePattern();
}
