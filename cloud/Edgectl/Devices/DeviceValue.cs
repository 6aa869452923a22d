using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>Values of properties are text in the API (kubeedge-wire §4.1); the model's type says what the text means.</summary>
internal static class DeviceValue
{
    /// <summary>Whether two texts are one value of <paramref name="type"/> (a DeviceModel's: INT, FLOAT …): <c>23</c> and <c>23.0</c> are one number,
    /// <c>true</c> and <c>1</c> one BOOLEAN. Numbers may lie <paramref name="tolerance"/> apart.</summary>
    public static bool Same(string type, string one, string other, double tolerance = 0)
    {
        if (one == other)
            return true;
        switch (type.ToUpperInvariant())
        {
            case "INT" or "FLOAT" or "DOUBLE":
                // A FLOAT may have been a 32-bit number on its way, whose text has other digits at the end.
                return TryNumber(one, out var a) && TryNumber(other, out var b)
                    && Math.Abs(a - b) <= Math.Max(tolerance * (1 + 1e-9), type.Equals("FLOAT", StringComparison.OrdinalIgnoreCase) ? Math.Abs(a) * 1e-6 : 0);
            case "BOOLEAN":
                return Truth(one) is { } truth && truth == Truth(other);
            default:
                return false;
        }
    }

    public static bool TryNumber(string text, out double number)
        => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);

    /// <summary>How far a number may be from what was desired and still be it: half a step of the device's register, where the visitor has a scale.</summary>
    public static double Tolerance(JsonNode? property, JsonNode? definition)
    {
        var scale = property.At("visitors", "configData", "scale") ?? definition.At("visitors", "configData", "scale");
        return scale is JsonValue value && (value.TryNumber(out var number) || TryNumber(scale.GetValueKind() == System.Text.Json.JsonValueKind.String ? value.GetValue<string>() : "", out number))
            ? Math.Abs(number) / 2 : 0;
    }

    /// <summary>The time of a twin's side: milliseconds since 1970 in its metadata, by the clock of the mapper's machine; null when there is none.</summary>
    public static DateTimeOffset? Stamp(JsonNode? side)
        => long.TryParse(side.Text("metadata", "timestamp"), NumberStyles.None, CultureInfo.InvariantCulture, out var milliseconds)
            && milliseconds is > 0 and < 253_402_300_800_000 ? DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : null;

    private static bool? Truth(string text) => text.ToUpperInvariant() switch
    {
        "TRUE" or "1" => true,
        "FALSE" or "0" => false,
        _ => null,
    };
}
