using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt;

/// <summary>One application message, to or from a broker.</summary>
/// <param name="Topic">A topic name, without wildcards.</param>
/// <param name="Qos">Of a received message: that of its delivery.</param>
/// <param name="Retain">To publish: the broker keeps it. Received: it was kept before the subscription (or the subscription asked for the flag as it was published).</param>
public sealed record MqttMessage(string Topic, ReadOnlyMemory<byte> Payload, MqttQos Qos = MqttQos.AtMostOnce, bool Retain = false)
{
    /// <summary>Version 5.0 only. Alias and subscription identifiers are the sender's to set, and are ignored when publishing.</summary>
    public MqttProperties Properties { get; init; } = MqttProperties.None;
}
