using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Cluster;

/// <summary>A template of the chart cannot be rendered; the message names file and action.</summary>
internal sealed class ChartException(string message) : Exception(message);

/// <summary>Renders the part of Helm's template language that our chart keeps to: <c>.Values</c> paths, <c>.</c> inside of range, the pipes <c>toYaml</c>, <c>toJson</c>, <c>quote</c>,
/// <c>nindent</c> and <c>sha256sum</c>, <c>if</c>, <c>not</c>, <c>else</c>, <c>range</c>, <c>end</c>, and the trim marks. Anything else is an error, so that the chart cannot grow past what is
/// rendered here and by Helm alike. Pure.</summary>
internal sealed class ChartTemplate
{
    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly string _file;
    private readonly JsonObject _values;
    private readonly List<(bool IsAction, string Text)> _parts;
    private int _at;

    private ChartTemplate(string file, string text, JsonObject values)
    {
        (_file, _values) = (file, values);
        _parts = Split(file, text);
    }

    /// <exception cref="ChartException">The template says something outside of the subset, or names a value that is not there.</exception>
    public static string Render(string file, string text, JsonObject values)
    {
        var template = new ChartTemplate(file, text, values);
        var output = new StringBuilder();
        var end = template.Block(output, isShown: true, current: null);
        return end.Length == 0 ? output.ToString() : throw template.Problem($"'{end}' without a beginning");
    }

    // "{{-" takes the blanks before it, "-}}" those after it.
    private static List<(bool, string)> Split(string file, string text)
    {
        var parts = new List<(bool, string)>();
        var isTrimmed = false;
        while (true)
        {
            var start = text.IndexOf("{{", StringComparison.Ordinal);
            var plain = start < 0 ? text : text[..start];
            if (isTrimmed)
                plain = plain.TrimStart();
            if (start < 0)
            {
                parts.Add((false, plain));
                return parts;
            }

            var end = text.IndexOf("}}", start, StringComparison.Ordinal);
            if (end < 0)
                throw new ChartException($"{file}: '{{{{' without '}}}}'");
            var action = text[(start + 2)..end];
            if (action.StartsWith("- ", StringComparison.Ordinal))
                (plain, action) = (plain.TrimEnd(), action[2..]);
            isTrimmed = action.EndsWith(" -", StringComparison.Ordinal);
            if (isTrimmed)
                action = action[..^2];
            parts.Add((false, plain));
            parts.Add((true, action.Trim()));
            text = text[(end + 2)..];
        }
    }

    // Renders up to the end of the block; returns what ended it: "end", "else", or nothing at the text's end.
    private string Block(StringBuilder output, bool isShown, JsonNode? current)
    {
        while (_at < _parts.Count)
        {
            var (isAction, text) = _parts[_at++];
            if (!isAction)
            {
                if (isShown)
                    output.Append(text);
                continue;
            }

            var word = text.Split(' ', 2)[0];
            switch (word)
            {
                case "end" or "else" when text == word:
                    return word;
                case "if":
                    If(output, text[2..].Trim(), isShown, current);
                    break;
                case "range":
                    Range(output, text[5..].Trim(), isShown);
                    break;
                default:
                    if (isShown && !text.StartsWith("/*", StringComparison.Ordinal))
                        output.Append(Pipe(text, current));
                    break;
            }
        }

        return "";
    }

    private void If(StringBuilder output, string condition, bool isShown, JsonNode? current)
    {
        var isNot = condition.StartsWith("not ", StringComparison.Ordinal);
        var holds = isShown && IsTrue(Value(isNot ? condition[4..].Trim() : condition, current)) != isNot;
        var end = Block(output, holds, current);
        if (end == "else")
            end = Block(output, isShown && !holds, current);
        if (end != "end")
            throw Problem($"'if {condition}' without end");
    }

    private void Range(StringBuilder output, string over, bool isShown)
    {
        var items = isShown ? Value(over, null) as JsonArray : null;
        var start = _at;
        var end = "";
        if (items is not { Count: > 0 })
            end = Block(output, isShown: false, null);
        foreach (var item in items ?? [])
        {
            _at = start;
            end = Block(output, isShown: true, item);
        }

        if (end != "end")
            throw Problem($"'range {over}' without end");
    }

    private string Pipe(string text, JsonNode? current)
    {
        var stages = text.Split('|', StringSplitOptions.TrimEntries);
        var words = stages[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var result = words switch
        {
            ["toYaml", var path] => YamlWriter.Write(Value(path, current)).TrimEnd('\n'),
            ["toJson", var path] => Sorted(Value(path, current))?.ToJsonString(s_json) ?? "null",
            [var path] => Plain(path, Value(path, current)),
            _ => throw Problem($"'{text}' is not a value"),
        };
        foreach (var stage in stages.Skip(1))
        {
            result = stage.Split(' ') switch
            {
                ["quote"] => JsonValue.Create(result).ToJsonString(s_json),
                ["nindent", var count] when int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var blanks)
                    => "\n" + string.Join('\n', result.Split('\n').Select(line => line.Length == 0 ? line : new string(' ', blanks) + line)),
                ["sha256sum"] => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(result))),
                _ => throw Problem($"'{stage}' is not one of quote, nindent N, sha256sum"),
            };
        }

        return result;
    }

    private string Plain(string path, JsonNode? value) => value switch
    {
        JsonValue scalar when scalar.GetValueKind() == JsonValueKind.String => scalar.GetValue<string>(),
        JsonValue scalar => scalar.ToJsonString(),
        null => throw Problem($"{path} has no value"),
        _ => throw Problem($"{path} is not a text, number or truth value; say toYaml or toJson"),
    };

    private JsonNode? Value(string path, JsonNode? current)
    {
        if (path == ".")
            return current;
        const string prefix = ".Values.";
        if (!path.StartsWith(prefix, StringComparison.Ordinal))
            throw Problem($"'{path}' is not .Values.KEY");
        JsonNode? node = _values;
        foreach (var key in path[prefix.Length..].Split('.'))
        {
            if (node is not JsonObject obj || !obj.TryGetPropertyValue(key, out node))
                throw Problem($"{path} is not a value of the chart");
        }

        return node;
    }

    // Go's truth: nothing, false, 0, "" and what is empty are not.
    private static bool IsTrue(JsonNode? value) => value switch
    {
        null => false,
        JsonArray array => array.Count > 0,
        JsonObject obj => obj.Count > 0,
        _ => value.GetValueKind() switch
        {
            JsonValueKind.False => false,
            JsonValueKind.String => value.GetValue<string>().Length > 0,
            JsonValueKind.Number => value.ToJsonString() is not "0",
            _ => true,
        },
    };

    // Go's encoder sorts the keys; the checksum must not depend on who renders.
    private static JsonNode? Sorted(JsonNode? node) => node switch
    {
        JsonObject obj => new JsonObject(obj.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => KeyValuePair.Create(pair.Key, Sorted(pair.Value)))),
        JsonArray array => new JsonArray([.. array.Select(Sorted)]),
        _ => node?.DeepClone(),
    };

    private ChartException Problem(string text) => new($"{_file}: {text}");
}
