namespace Edge.Simulators.Mqtt;

/// <summary>What a device publishes: below its own topic.</summary>
internal readonly record struct MqttValue(string Topic, string Payload, bool Retain = false);

/// <summary>A device on MQTT, without its connection: pure but for the given randomness.</summary>
internal interface IMqttDevice
{
    /// <summary>Where it takes commands, below its own topic.</summary>
    IReadOnlyList<string> Commands { get; }

    /// <summary>Moves on by some seconds.</summary>
    void Step(double seconds);

    /// <summary>All that it says of itself now.</summary>
    IEnumerable<MqttValue> Values();

    /// <summary>Carries a command out; why it does not, or null.</summary>
    string? Command(string topic, ReadOnlyMemory<byte> payload);
}
