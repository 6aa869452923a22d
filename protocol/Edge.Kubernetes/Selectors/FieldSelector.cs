using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Selectors;

/// <summary>One condition: the field equals the value, or does not.</summary>
public sealed record FieldRequirement(string Field, bool Equal, string Value);

/// <summary>A Kubernetes field selector, e.g. <c>spec.nodeName=edge-1,status.phase!=Failed</c>: all conditions must hold.</summary>
public sealed class FieldSelector
{
    /// <summary>Matches everything.</summary>
    public static readonly FieldSelector Everything = new([]);

    private FieldSelector(IReadOnlyList<FieldRequirement> requirements) => Requirements = requirements;

    public IReadOnlyList<FieldRequirement> Requirements { get; }

    public bool IsEmpty => Requirements.Count == 0;

    /// <summary>Reads the query form; in values <c>\</c>, <c>,</c> and <c>=</c> are escaped with <c>\</c>.</summary>
    /// <exception cref="SelectorException">A term has no operator, or an escape is not one of the three.</exception>
    public static FieldSelector Parse(string text)
    {
        var requirements = new List<FieldRequirement>();
        foreach (var term in Terms(text))
        {
            if (term.Length == 0)
                continue;
            var at = OperatorAt(term, out var length, out var equal);
            if (at <= 0)
                throw new SelectorException($"invalid selector: '{text}'; can't understand '{term}'");
            requirements.Add(new FieldRequirement(term[..at].Trim(), equal, Unescape(term[(at + length)..])));
        }

        return requirements.Count == 0 ? Everything : new FieldSelector(requirements);
    }

    /// <summary>Matches with a reader of fields; a field that an object lacks reads as the empty string.</summary>
    public bool Matches(Func<string, string> field)
    {
        foreach (var requirement in Requirements)
            if (string.Equals(field(requirement.Field), requirement.Value, StringComparison.Ordinal) != requirement.Equal)
                return false;
        return true;
    }

    public bool Matches(JsonObject obj) => IsEmpty || Matches(field => Read(obj, field));

    /// <summary>The field under a dotted path as text; empty when absent or not a scalar.</summary>
    public static string Read(JsonObject obj, string field)
    {
        JsonNode? node = obj;
        foreach (var part in field.Split('.'))
        {
            if (node is not JsonObject parent)
                return "";
            node = parent[part];
        }

        return node is not JsonValue value ? "" : value.GetValueKind() == JsonValueKind.String ? value.GetValue<string>() : value.ToJsonString();
    }

    /// <summary>The value that the selector demands of <paramref name="field"/>, or null: lets a list by name skip the scan.</summary>
    public string? Exact(string field) => Requirements.FirstOrDefault(r => r.Equal && r.Field == field)?.Value;

    public override string ToString() => string.Join(',', Requirements.Select(r => $"{r.Field}{(r.Equal ? "=" : "!=")}{Escape(r.Value)}"));

    private static IEnumerable<string> Terms(string text)
    {
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\')
            {
                i++;
            }
            else if (text[i] == ',')
            {
                yield return text[start..i];
                start = i + 1;
            }
        }

        yield return text[start..];
    }

    private static int OperatorAt(string term, out int length, out bool equal)
    {
        for (var i = 0; i < term.Length; i++)
        {
            var rest = term.AsSpan(i);
            equal = !rest.StartsWith("!=", StringComparison.Ordinal);
            length = !equal || rest.StartsWith("==", StringComparison.Ordinal) ? 2 : 1;
            if (!equal || term[i] == '=')
                return i;
        }

        (length, equal) = (0, true);
        return -1;
    }

    private static string Escape(string value)
        => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace(",", "\\,", StringComparison.Ordinal).Replace("=", "\\=", StringComparison.Ordinal);

    private static string Unescape(string value)
    {
        if (value.AsSpan().IndexOfAny('\\', '=') < 0)
            return value;
        var text = new StringBuilder(value.Length);
        for (var i = 0; i < value.Length; i++)
        {
            if (value[i] == '=')
                throw new SelectorException($"invalid field selector: unescaped '=' in value '{value}'");
            if (value[i] == '\\' && (++i == value.Length || value[i] is not ('\\' or ',' or '=')))
                throw new SelectorException($"invalid field selector: invalid escape sequence in value '{value}'");
            text.Append(value[i]);
        }

        return text.ToString();
    }
}
