using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.DeviceController;

/// <summary>A rule that a Device breaks.</summary>
/// <param name="Property">The property whose desired value must not go down, or empty.</param>
internal sealed record DeviceProblem(string Property, string Reason, string Text);

/// <summary>Checks a Device against its DeviceModel; KubeEdge checks neither type nor range (kubeedge-wire §4.1).</summary>
internal static class DeviceChecks
{
    public const string OutOfRange = "DesiredValueOutOfRange";
    public const string WrongType = "DesiredValueWrongType";
    public const string TooLong = "DesiredValueTooLong";
    public const string ReadOnly = "DesiredValueReadOnly";
    public const string NotInModel = "PropertyNotInModel";
    public const string ModelNotFound = "DeviceModelNotFound";
    public const string BadVisitor = "VisitorInvalid";

    /// <summary>UTF-8 bytes of the longest value that a property may have.</summary>
    public const int ValueBytesMax = 64 * 1024;

    // Of a value in a text that people read.
    private const int QuoteMax = 64;

    public static List<DeviceProblem> Check(JsonObject device, JsonObject model)
    {
        var problems = new List<DeviceProblem>();
        foreach (var property in device.Items("spec", "properties"))
        {
            var name = property.Text("name");
            if (Visitor(property) is { } visitor)
                problems.Add(new DeviceProblem("", BadVisitor, $"property '{name}': {visitor}"));
            var definition = model.Items("spec", "properties").FirstOrDefault(one => one.Text("name") == name);
            if (definition is null)
            {
                problems.Add(new DeviceProblem(name, NotInModel, $"property '{name}' is not in DeviceModel '{model.Name()}'; its desired value is not sent"));
                continue;
            }

            if (property.Text("desired", "value") is { Length: > 0 } desired && Desired(name, desired, definition) is { } problem)
                problems.Add(problem);
        }

        return problems;
    }

    private static DeviceProblem? Desired(string name, string desired, JsonObject definition)
    {
        if (Encoding.UTF8.GetByteCount(desired) is > ValueBytesMax and var bytes)
            return new DeviceProblem(name, TooLong, $"property '{name}': the desired value has {bytes} bytes, the limit is {ValueBytesMax}; it is not sent");
        if (definition.Text("accessMode") == "ReadOnly")
            return new DeviceProblem(name, ReadOnly, $"property '{name}' is ReadOnly in its DeviceModel; the desired value '{Quote(desired)}' is not sent");
        var type = definition.Text("type").ToUpperInvariant();
        switch (type)
        {
            case "INT":
                if (!long.TryParse(desired, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole))
                    return Wrong(name, desired, "a whole number (INT)");
                return Range(name, desired, whole, definition);
            case "FLOAT" or "DOUBLE":
                if (!double.TryParse(desired, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) || !double.IsFinite(number))
                    return Wrong(name, desired, $"a number ({type})");
                return Range(name, desired, number, definition);
            case "BOOLEAN" when desired.ToUpperInvariant() is not ("TRUE" or "FALSE" or "0" or "1"):
                return Wrong(name, desired, "true or false (BOOLEAN)");
            default:
                return null;
        }
    }

    private static DeviceProblem Wrong(string name, string desired, string must)
        => new(name, WrongType, $"property '{name}': the desired value '{Quote(desired)}' is not {must}; it is not sent");

    private static DeviceProblem? Range(string name, string desired, double value, JsonObject definition)
    {
        if (Compare(desired, value, definition.Text("minimum")) < 0)
            return new DeviceProblem(name, OutOfRange, $"property '{name}': the desired value {Quote(desired)} is below the minimum {definition.Text("minimum")}; it is not sent");
        if (Compare(desired, value, definition.Text("maximum")) > 0)
            return new DeviceProblem(name, OutOfRange, $"property '{name}': the desired value {Quote(desired)} is above the maximum {definition.Text("maximum")}; it is not sent");
        return null;
    }

    // In decimals where both have them: a double holds no whole number beyond 2^53 exactly. A bound that is no number bounds nothing.
    private static int Compare(string desired, double value, string bound)
    {
        if (decimal.TryParse(desired, NumberStyles.Float, CultureInfo.InvariantCulture, out var one) && decimal.TryParse(bound, NumberStyles.Float, CultureInfo.InvariantCulture, out var other))
            return one.CompareTo(other);
        return double.TryParse(bound, NumberStyles.Float, CultureInfo.InvariantCulture, out var limit) ? value.CompareTo(limit) : 0;
    }

    private static string Quote(string value) => value.Length <= QuoteMax ? value : value[..QuoteMax] + "...";

    // Modbus addresses are 16 bits, and a read carries at most 125 registers (Modbus application protocol 1.1b3, §4.4 and §6.3).
    private static string? Visitor(JsonObject property)
    {
        if (!property.Text("visitors", "protocolName").StartsWith("modbus", StringComparison.OrdinalIgnoreCase))
            return null;
        var config = property.At("visitors", "configData");
        if (config.At("offset") is JsonValue offset && !InRange(offset, 0, 65535))
            return $"the modbus offset {offset.ToJsonString()} is not from 0 to 65535";
        if (config.At("limit") is JsonValue limit && !InRange(limit, 1, 125))
            return $"the modbus limit {limit.ToJsonString()} is not from 1 to 125 registers";
        return null;
    }

    private static bool InRange(JsonValue value, double low, double high)
        => value.GetValueKind() == JsonValueKind.Number ? value.TryNumber(out var number) && number >= low && number <= high && number == Math.Floor(number)
            : value.TryGetValue<string>(out var text) && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var parsed) && parsed >= low && parsed <= high;
}
