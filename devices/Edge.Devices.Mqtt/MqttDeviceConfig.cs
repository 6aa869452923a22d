using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Devices.Mqtt;

/// <summary>Which broker: devices that agree on all of it share a connection.</summary>
internal sealed record MqttBrokerKey(MqttAddress Address, MqttVersion Version, string UserName, string PasswordFile, string CaFile, string CertFile, string KeyFile, string ClientId);

/// <summary><c>protocol.configData</c> of an MQTT device (docs/mqtt-mapper.md). Pure.</summary>
internal sealed record MqttDeviceConfig
{
    public const string DefaultBroker = "tcp://127.0.0.1:1884";

    public required MqttBrokerKey Broker { get; init; }

    /// <summary>A topic on which the device, or its will, says whether it is there; empty when there is none.</summary>
    public string StatusTopic { get; init; } = "";

    /// <summary>What it says there when it is.</summary>
    public string OnlinePayload { get; init; } = "online";

    /// <summary>Without any message for so long the device counts as offline, ms; 0: never.</summary>
    public int SilenceMs { get; init; }

    /// <exception cref="DeviceConfigException">A key cannot be used.</exception>
    public static MqttDeviceConfig Read(JsonObject config)
    {
        string[] known = ["broker", "version", "username", "passwordFile", "caFile", "certFile", "keyFile", "clientID", "statusTopic", "onlinePayload", "silenceMs"];
        if (config.FirstOrDefault(pair => !known.Contains(pair.Key)).Key is { } unknown)
            throw new DeviceConfigException($"protocol.configData.{unknown} is no key of this protocol; there are {string.Join(", ", known)}");
        var broker = Text(config, "broker") is { Length: > 0 } text ? text : DefaultBroker;
        var status = Text(config, "statusTopic");
        if (status.Length > 0 && MqttTopic.ProblemOfFilter(status) is { } problem)
            throw new DeviceConfigException($"protocol.configData.statusTopic: {problem}");
        var silence = Text(config, "silenceMs");
        if (silence.Length > 0 && !(int.TryParse(silence, out var given) && given >= 0))
            throw new DeviceConfigException($"protocol.configData.silenceMs is {silence}, must be a number of milliseconds, 0 for none");
        var address = MqttAddress.TryParse(broker) ?? throw new DeviceConfigException($"protocol.configData.broker is '{broker}', must be tcp://HOST:PORT, or ssl://HOST:PORT with TLS");
        var (certificate, key) = (Text(config, "certFile"), Text(config, "keyFile"));
        if (certificate.Length > 0 != key.Length > 0)
            throw new DeviceConfigException($"protocol.configData.{(key.Length > 0 ? "certFile" : "keyFile")} is missing: a client certificate needs certFile and keyFile, both PEM");
        if (certificate.Length > 0 && !address.IsTls)
            throw new DeviceConfigException($"protocol.configData.certFile needs TLS; the broker is {address}, must be ssl://HOST:PORT");
        return new MqttDeviceConfig
        {
            Broker = new MqttBrokerKey(
                address,
                Text(config, "version") switch
                {
                    "" or "3.1.1" or "4" => MqttVersion.V311,
                    "5" or "5.0" => MqttVersion.V5,
                    var other => throw new DeviceConfigException($"protocol.configData.version is {other}, must be 3.1.1 or 5"),
                },
                Text(config, "username"), Text(config, "passwordFile"), Text(config, "caFile"), certificate, key, Text(config, "clientID")),
            StatusTopic = status,
            OnlinePayload = config.ContainsKey("onlinePayload") ? Text(config, "onlinePayload") : "online",
            SilenceMs = silence.Length > 0 ? int.Parse(silence, System.Globalization.CultureInfo.InvariantCulture) : 0,
        };
    }

    private static string Text(JsonObject config, string key) => config[key] switch
    {
        null => "",
        JsonValue value when value.GetValueKind() == JsonValueKind.String => value.GetValue<string>(),
        var other => other.ToJsonString(),
    };
}
