using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Simulators.Mqtt;

/// <summary>An oven that speaks JSON. <c>state</c>: <c>{"sensors":[{"t":21.5}],"setpoint":180}</c>, degrees; <c>program</c>: idle, preheat or hold, as text, retained; <c>set</c> takes
/// <c>{"setpoint":180}</c>, 0 to 250.</summary>
internal sealed class Oven(Random random) : IMqttDevice
{
    private const double SetpointMax = 250;
    private const double SettleSeconds = 1;
    private double _temperature = 21;

    /// <summary>Degrees.</summary>
    public double Setpoint { get; private set; }

    public IReadOnlyList<string> Commands { get; } = ["set"];

    public void Step(double seconds) => _temperature += (Math.Max(Setpoint, 20) - _temperature) * (1 - Math.Exp(-seconds / SettleSeconds));

    public IEnumerable<MqttValue> Values()
    {
        var shown = _temperature + ((random.NextDouble() - 0.5) / 10);
        yield return new MqttValue("state", string.Create(CultureInfo.InvariantCulture, $$"""{"sensors":[{"t":{{shown:F2}}}],"setpoint":{{Setpoint}}}"""));
        yield return new MqttValue("program", Setpoint <= 20 ? "idle" : _temperature < Setpoint - 2 ? "preheat" : "hold", Retain: true);
    }

    public string? Command(string topic, ReadOnlyMemory<byte> payload)
    {
        try
        {
            if ((JsonNode.Parse(payload.Span) as JsonObject)?["setpoint"] is not JsonValue value || !value.TryGetValue<double>(out var setpoint) || setpoint is not (>= 0 and <= SetpointMax))
                return $"""must be {"{"}"setpoint":N{"}"} with N from 0 to {SetpointMax}""";
            Setpoint = setpoint;
            return null;
        }
        catch (JsonException e)
        {
            return $"is not JSON: {e.Message}";
        }
    }
}
