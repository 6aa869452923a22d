using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>JSON to YAML in block style, as <c>kubectl get -o yaml</c> prints it. Reading it back gives the same JSON.</summary>
public static class YamlWriter
{
    public static string Write(JsonNode? node)
    {
        var text = new StringBuilder();
        switch (node)
        {
            case JsonObject { Count: > 0 } obj:
                Mapping(text, obj, 0, inList: false);
                break;
            case JsonArray { Count: > 0 } array:
                Sequence(text, array, 0);
                break;
            default:
                text.Append(Scalar(node, 0)).Append('\n');
                break;
        }

        return text.ToString();
    }

    private static void Mapping(StringBuilder text, JsonObject obj, int indent, bool inList)
    {
        foreach (var (key, value) in obj)
        {
            // The first key of a list's element stands behind the dash.
            if (!inList)
                text.Append(' ', indent);
            inList = false;
            text.Append(Quoted(key)).Append(':');
            Value(text, value, indent, listIndent: indent);
        }
    }

    private static void Sequence(StringBuilder text, JsonArray array, int indent)
    {
        foreach (var value in array)
        {
            text.Append(' ', indent).Append('-');
            if (value is JsonObject { Count: > 0 } obj)
            {
                text.Append(' ');
                Mapping(text, obj, indent + 2, inList: true);
            }
            else
            {
                Value(text, value, indent, listIndent: indent + 2);
            }
        }
    }

    private static void Value(StringBuilder text, JsonNode? value, int indent, int listIndent)
    {
        switch (value)
        {
            case JsonObject { Count: > 0 } obj:
                text.Append('\n');
                Mapping(text, obj, indent + 2, inList: false);
                break;
            case JsonArray { Count: > 0 } array:
                text.Append('\n');
                Sequence(text, array, listIndent);
                break;
            default:
                text.Append(' ').Append(Scalar(value, indent + 2)).Append('\n');
                break;
        }
    }

    private static string Scalar(JsonNode? node, int indent) => node switch
    {
        null => "null",
        JsonObject => "{}",
        JsonArray => "[]",
        _ when node.GetValueKind() != JsonValueKind.String => node.ToJsonString(),
        _ => Text(node.GetValue<string>(), indent),
    };

    // A block literal for text of several lines, where block literals can hold it as it is.
    private static string Text(string value, int indent)
    {
        var lines = value.TrimEnd('\n').Split('\n');
        var trailing = value.Length - value.TrimEnd('\n').Length;
        if (!value.Contains('\n', StringComparison.Ordinal)
            || trailing > 1
            || lines[0].Length == 0
            || lines[0][0] is ' ' or '\t'
            || value.Any(c => (char.IsControl(c) && c != '\n') || char.IsSurrogate(c) || c is '\u2028' or '\u2029' or '\uFEFF'))
        {
            return Quoted(value);
        }

        var pad = new string(' ', indent);
        return (trailing == 1 ? "|" : "|-") + string.Concat(lines.Select(line => line.Length == 0 ? "\n" : $"\n{pad}{line}"));
    }

    private static string Quoted(string value)
        => IsPlain(value) ? value : value.Any(c => char.IsControl(c) || c is '\u2028' or '\u2029' or '\uFEFF') ? Escaped(value) : $"'{value.Replace("'", "''", StringComparison.Ordinal)}'";

    // JSON's string is YAML's double-quoted scalar.
    private static string Escaped(string value) => JsonValue.Create(value).ToJsonString();

    private static bool IsPlain(string value)
    {
        if (value.Length == 0 || value != value.Trim() || value is "~" or "y" or "Y" or "n" or "N" or "<<" or "=" or "---" or "...")
            return false;
        if ("-?:,[]{}#&*!|>'\"%@`".Contains(value[0], StringComparison.Ordinal) && !(value[0] == '-' && value.Length > 1 && char.IsAsciiLetter(value[1])))
            return false;
        if (value.EndsWith(':') || value.Contains(": ", StringComparison.Ordinal) || value.Contains(" #", StringComparison.Ordinal))
            return false;
        if (value.Any(c => char.IsControl(c) || c is '\u2028' or '\u2029' or '\uFEFF' or '\u0085') || char.IsAsciiDigit(value[0]) || value[0] is '+' or '-' or '.')
            return false;

        // What a reader of YAML 1.1 or 1.2 takes for a null or a truth value.
        return value.ToUpperInvariant() is not ("NULL" or "TRUE" or "FALSE" or "YES" or "NO" or "ON" or "OFF");
    }
}
