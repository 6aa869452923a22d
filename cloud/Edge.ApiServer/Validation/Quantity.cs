using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Validation;

/// <summary>Kubernetes' resource quantities: <c>500m</c>, <c>1.5</c>, <c>64Mi</c>, <c>1e3</c>.</summary>
internal static class Quantity
{
    public const string Rule = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

    // apimachinery's maxAllowed: what is larger counts as this. So no sum over the objects of a cluster overflows either.
    private const decimal Max = long.MaxValue;

    private static readonly string[] s_decimal = ["", "k", "M", "G", "T", "P", "E"];
    private static readonly string[] s_binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

    /// <summary>Reads a text or plain JSON number; false when it is no quantity. Beyond 2^63-1 it counts as that, on both sides of zero, as in Kubernetes.</summary>
    public static bool TryParse(JsonNode? node, out decimal value)
    {
        value = 0;
        return node switch
        {
            JsonValue text when text.TryGetValue<string>(out var found) => TryParse(found, out value),
            JsonValue number when number.GetValueKind() == JsonValueKind.Number => TryParse(number.ToJsonString(), out value),
            _ => false,
        };
    }

    public static bool TryParse(string text, out decimal value)
    {
        value = 0;
        var end = 0;
        while (end < text.Length && (char.IsAsciiDigit(text[end]) || text[end] == '.' || (end == 0 && text[end] is '+' or '-')))
            end++;
        if (end == 0 || !double.TryParse(text.AsSpan(0, end), NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var rough))
            return false;
        if (Scale(text[end..]) is not { } scale)
            return false;
        if (rough == 0)
            return true;
        if (Math.Abs(rough * scale.Rough) > 2 * (double)Max)
        {
            value = rough < 0 ? -Max : Max;
            return true;
        }

        // Small enough for a decimal, though its digits may be many.
        var found = scale.Exact is { } exact && decimal.TryParse(text.AsSpan(0, end), NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            ? number * exact
            : (decimal)(rough * scale.Rough);
        value = Math.Clamp(found, -Max, Max);
        return true;
    }

    private static (decimal? Exact, double Rough)? Scale(string suffix)
    {
        if (suffix is ['e' or 'E', _, ..] && int.TryParse(suffix.AsSpan(1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var power))
            return (power is >= -18 and <= 27 ? (decimal)Math.Pow(10, power) : null, Math.Pow(10, Math.Clamp(power, -99, 99)));
        decimal? scale = suffix switch
        {
            "" => 1m,
            "n" => 1e-9m,
            "u" => 1e-6m,
            "m" => 1e-3m,
            "k" => 1e3m,
            "M" => 1e6m,
            "G" => 1e9m,
            "T" => 1e12m,
            "P" => 1e15m,
            "E" => 1e18m,
            "Ki" => 1024m,
            "Mi" => 1048576m,
            "Gi" => 1073741824m,
            "Ti" => 1099511627776m,
            "Pi" => 1125899906842624m,
            "Ei" => 1152921504606846976m,
            _ => null,
        };
        return scale is { } exact ? (exact, (double)exact) : null;
    }

    /// <summary>As Kubernetes writes it: the largest unit that needs no fraction, thousandths as <c>m</c>; finer than that is rounded up.</summary>
    /// <param name="isBinary">Ki, Mi, Gi rather than k, M, G.</param>
    public static string Format(decimal value, bool isBinary)
    {
        if (value != decimal.Truncate(value))
        {
            var milli = decimal.Ceiling(value * 1000);
            if (milli % 1000 != 0)
                return milli.ToString("0", CultureInfo.InvariantCulture) + "m";
            value = milli / 1000;
        }

        var (step, units) = isBinary ? (1024m, s_binary) : (1000m, s_decimal);
        var unit = 0;
        while (value != 0 && unit < units.Length - 1 && value % step == 0)
            (value, unit) = (value / step, unit + 1);
        return value.ToString("0", CultureInfo.InvariantCulture) + units[unit];
    }
}
