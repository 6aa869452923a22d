namespace Edge.Protocol.Mqtt.Client;

/// <summary>Where an MQTT server is.</summary>
public sealed record MqttAddress(string Host, int Port, bool IsTls)
{
    /// <summary>Reads <c>tcp://HOST[:PORT]</c> (1883), <c>ssl://HOST[:PORT]</c> (8883), their synonyms mqtt, mqtts and tls, or a bare <c>HOST[:PORT]</c>; null when it is none of these.</summary>
    public static MqttAddress? TryParse(string text)
    {
        var whole = text.Contains("://", StringComparison.Ordinal) ? text : $"tcp://{text}";
        if (!Uri.TryCreate(whole, UriKind.Absolute, out var uri) || uri.Host.Length == 0 || uri.AbsolutePath != "/" || uri.Scheme is not ("tcp" or "mqtt" or "ssl" or "tls" or "mqtts"))
            return null;
        var isTls = uri.Scheme is "ssl" or "tls" or "mqtts";
        return new MqttAddress(uri.Host, uri.Port >= 0 ? uri.Port : isTls ? 8883 : 1883, isTls);
    }

    public override string ToString() => $"{(IsTls ? "ssl" : "tcp")}://{Host}:{Port}";
}
