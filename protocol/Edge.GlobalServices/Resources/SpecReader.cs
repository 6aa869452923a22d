using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Resources;

/// <summary>Reads an object's fields and collects what is wrong, each with the field's path and what to write instead. A field that is wrong reads as its default.</summary>
internal sealed class SpecReader
{
    private readonly List<string> _problems = [];

    public IReadOnlyList<string> Problems => _problems;

    public void Problem(string path, string text) => _problems.Add($"{path}: {text}");

    public string Text(JsonNode? node, string path, string key, string absent = "")
    {
        switch (node.At(key))
        {
            case null:
                return absent;
            case JsonValue value when value.TryGetValue<string>(out var text):
                return text;
            default:
                Problem($"{path}.{key}", "must be text");
                return absent;
        }
    }

    public int Int(JsonNode? node, string path, string key, int absent, int min, int max)
    {
        if (node.At(key) is not { } value)
            return absent;
        if (value.TryWhole(out var number) && number >= min && number <= max)
            return (int)number;
        Problem($"{path}.{key}", $"is {Shown(value)}, must be a whole number from {min} to {max}");
        return absent;
    }

    public double? Number(JsonNode? node, string path, string key, double min, double max)
    {
        if (node.At(key) is not { } value)
            return null;
        if (value is JsonValue scalar && scalar.TryNumber(out var number) && number >= min && number <= max)
            return number;
        Problem($"{path}.{key}", FormattableString.Invariant($"is {Shown(value)}, must be a number from {min} to {max}"));
        return null;
    }

    public bool Flag(JsonNode? node, string path, string key, bool absent)
    {
        if (node.At(key) is not { } value)
            return absent;
        if (value is JsonValue scalar && scalar.TryGetValue<bool>(out var flag))
            return flag;
        Problem($"{path}.{key}", $"is {Shown(value)}, must be true or false");
        return absent;
    }

    /// <summary>One of a list of words.</summary>
    public T Choice<T>(JsonNode? node, string path, string key, T absent)
        where T : struct, Enum
    {
        var text = Text(node, path, key);
        if (text.Length == 0)
            return absent;
        foreach (var one in Enum.GetValues<T>())
        {
            if (Services.Policy.Name(one) == text)
                return one;
        }

        Problem($"{path}.{key}", $"is '{text}', must be {string.Join(", ", Enum.GetValues<T>().Select(Services.Policy.Name))}");
        return absent;
    }

    /// <summary>Go's durations, as Kubernetes writes them: <c>10s</c>, <c>500ms</c>, <c>2m</c>.</summary>
    public int Milliseconds(JsonNode? node, string path, string key, int absent, int min, int max)
    {
        var text = Text(node, path, key);
        if (text.Length == 0)
            return absent;
        var unit = text.EndsWith("ms", StringComparison.Ordinal) ? 1 : text.EndsWith('s') ? 1_000 : text.EndsWith('m') ? 60_000 : 0;
        var digits = text.AsSpan(0, text.Length - (unit == 1 ? 2 : 1));
        if (unit > 0 && double.TryParse(digits, System.Globalization.NumberStyles.AllowDecimalPoint, System.Globalization.CultureInfo.InvariantCulture, out var number)
            && number * unit >= min && number * unit <= max)
            return (int)(number * unit);
        Problem($"{path}.{key}", $"is '{text}', must be a duration from {min} ms to {max / 1000} s, e.g. 10s or 500ms");
        return absent;
    }

    private static string Shown(JsonNode value) => value.ToJsonString() is { Length: <= 60 } text ? text : "not that";
}
