using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>A value that somebody wants a property to have.</summary>
internal sealed record Wanted(string Property, string Value);

/// <summary>Checks wanted values against the DeviceModel before anything is sent. CloudCore and the mapper check again; this one teaches.</summary>
internal static class DesiredCheck
{
    /// <summary>Reads <c>property=value</c>; what is wrong goes to <paramref name="problems"/>.</summary>
    public static IReadOnlyList<Wanted> Read(IEnumerable<string> texts, List<string> problems)
    {
        var wanted = new List<Wanted>();
        foreach (var text in texts)
        {
            var equals = text.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0 || equals == text.Length - 1)
                problems.Add($"'{text}' must be PROPERTY=VALUE, e.g. setpoint=23.5");
            else if (wanted.Any(one => one.Property == text[..equals]))
                problems.Add($"'{text[..equals]}' is given twice; which value is meant?");
            else
                wanted.Add(new Wanted(text[..equals], text[(equals + 1)..]));
        }

        return wanted;
    }

    /// <summary>What keeps the values from being set, one sentence each; empty when nothing does.</summary>
    public static IReadOnlyList<string> Check(JsonObject model, IEnumerable<Wanted> wanted)
        => [.. wanted.Select(one => Check(model, one)).OfType<string>()];

    /// <summary>What a property takes, in words: <c>a number from 5 to 35 celsius</c>.</summary>
    public static string Takes(JsonObject definition)
    {
        var what = definition.Text("type").ToUpperInvariant() switch
        {
            "INT" => "a whole number",
            "FLOAT" or "DOUBLE" => "a number",
            "BOOLEAN" => "true or false",
            "" => "a value",
            var type => $"a {type} value",
        };
        var (minimum, maximum) = (definition.Text("minimum"), definition.Text("maximum"));
        var range = (minimum.Length > 0, maximum.Length > 0) switch
        {
            (true, true) => $" from {minimum} to {maximum}",
            (true, false) => $" of at least {minimum}",
            (false, true) => $" of at most {maximum}",
            _ => "",
        };
        return what + range + (definition.Text("unit") is { Length: > 0 } unit ? $" {unit}" : "");
    }

    /// <summary>The name among <paramref name="known"/> that was most likely meant, or null.</summary>
    public static string? Meant(string name, IEnumerable<string> known)
        => known.Select(one => (Name: one, Distance: Distance(name.ToUpperInvariant(), one.ToUpperInvariant())))
            .Where(one => one.Distance <= Math.Max(1, name.Length / 3))
            .OrderBy(one => one.Distance).Select(one => one.Name).FirstOrDefault();

    private static string? Check(JsonObject model, Wanted wanted)
    {
        var definitions = model.Items("spec", "properties").ToList();
        var definition = definitions.FirstOrDefault(one => one.Text("name") == wanted.Property);
        var writable = definitions.Where(IsWritable).ToList();
        if (definition is null)
        {
            var meant = Meant(wanted.Property, definitions.Select(one => one.Text("name")));
            return $"DeviceModel '{model.Name()}' has no property '{wanted.Property}'{(meant is null ? "" : $"; did you mean '{meant}'?")}{Settable(writable)}";
        }

        if (!IsWritable(definition))
            return $"property '{wanted.Property}' is ReadOnly in DeviceModel '{model.Name()}': the device reports it, nobody sets it{Settable(writable)}";
        return Value(wanted, definition) is { } why ? $"property '{wanted.Property}' takes {Takes(definition)}; '{wanted.Value}' is {why}" : null;
    }

    private static bool IsWritable(JsonObject definition) => definition.Text("accessMode").Equals("ReadWrite", StringComparison.OrdinalIgnoreCase);

    private static string Settable(List<JsonObject> writable)
        => writable.Count == 0 ? "; none of its properties can be set" : $"; what can be set: {string.Join(", ", writable.Take(20).Select(one => $"{one.Text("name")} ({Takes(one)})"))}";

    private static string? Value(Wanted wanted, JsonObject definition)
    {
        switch (definition.Text("type").ToUpperInvariant())
        {
            case "INT":
                return long.TryParse(wanted.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole)
                    ? Range(whole, definition) : NoNumber(wanted.Value, DeviceValue.TryNumber(wanted.Value, out _) ? "not whole" : "not a number");
            case "FLOAT" or "DOUBLE":
                return DeviceValue.TryNumber(wanted.Value, out var number) ? Range(number, definition) : NoNumber(wanted.Value, "not a number");
            case "BOOLEAN":
                return wanted.Value.ToUpperInvariant() is "TRUE" or "FALSE" or "0" or "1" ? null : "neither";
            default:
                return null;
        }
    }

    // The two slips that people make most.
    private static string NoNumber(string text, string why)
    {
        var point = text.Replace(',', '.');
        if (point != text && DeviceValue.TryNumber(point, out _))
            return $"{why}: the decimal sign is a point, {point}";
        var digits = text.TrimEnd([.. text.Where(one => !char.IsAsciiDigit(one))]);
        return digits != text && DeviceValue.TryNumber(digits, out _) ? $"{why}: write it without a unit, {digits}" : why;
    }

    private static string? Range(double value, JsonObject definition)
        => DeviceValue.TryNumber(definition.Text("minimum"), out var minimum) && value < minimum ? "below that"
            : DeviceValue.TryNumber(definition.Text("maximum"), out var maximum) && value > maximum ? "above that"
            : null;

    // Levenshtein's; names are short, and long ones are not compared.
    private static int Distance(string one, string other)
    {
        if (one.Length > 64 || other.Length > 64)
            return int.MaxValue;
        var row = Enumerable.Range(0, other.Length + 1).ToArray();
        for (var i = 1; i <= one.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= other.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (one[i - 1] == other[j - 1] ? 0 : 1)));
        }

        return row[^1];
    }
}
