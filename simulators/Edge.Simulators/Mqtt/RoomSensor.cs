using System.Globalization;
using System.Text;

namespace Edge.Simulators.Mqtt;

/// <summary>A sensor of a room that speaks plain text, a value a topic. <c>temperature</c>: degrees; <c>humidity</c>: percent; <c>led</c>: on or off, retained; <c>led/set</c> takes on or
/// off.</summary>
internal sealed class RoomSensor(Random random) : IMqttDevice
{
    private double _temperature = 21;
    private double _humidity = 45;

    public bool Led { get; private set; }

    public IReadOnlyList<string> Commands { get; } = ["led/set"];

    public void Step(double seconds)
    {
        _temperature = Math.Clamp(_temperature + ((random.NextDouble() - 0.5) * seconds / 10), 15, 30);
        _humidity = Math.Clamp(_humidity + ((random.NextDouble() - 0.5) * seconds), 20, 80);
    }

    public IEnumerable<MqttValue> Values()
    {
        yield return new MqttValue("temperature", _temperature.ToString("F1", CultureInfo.InvariantCulture));
        yield return new MqttValue("humidity", _humidity.ToString("F0", CultureInfo.InvariantCulture));
        yield return new MqttValue("led", Led ? "on" : "off", Retain: true);
    }

    public string? Command(string topic, ReadOnlyMemory<byte> payload)
    {
        var word = Encoding.UTF8.GetString(payload.Span).Trim().ToUpperInvariant();
        if (word is not ("ON" or "OFF"))
            return "must be on or off";
        Led = word == "ON";
        return null;
    }
}
