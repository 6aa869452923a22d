using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Tables;

/// <summary>The simple JSONPath of printer columns: <c>.a.b</c>, <c>['a.b']</c>, <c>[0]</c>, <c>[-1]</c>, <c>[*]</c> and
/// <c>[?(@.type=="Ready")]</c>, with or without surrounding braces and a leading <c>$</c>.</summary>
internal sealed class JsonPath
{
    private readonly List<Func<JsonNode, IEnumerable<JsonNode?>>> _steps = [];

    private JsonPath()
    {
    }

    public static bool TryParse(string text, [NotNullWhen(true)] out JsonPath? path, out string fault)
    {
        path = new JsonPath();
        fault = "";
        if (text.StartsWith('{') && text.EndsWith('}'))
            text = text[1..^1];
        var at = text.StartsWith('$') ? 1 : 0;
        while (at < text.Length && fault.Length == 0)
        {
            if (text[at] == '[')
            {
                var end = Close(text, at);
                if (end < 0)
                    fault = "a [ has no ]";
                else
                    fault = path.AddBracket(text[(at + 1)..end].Trim());
                at = end + 1;
                continue;
            }

            if (text[at] == '.')
                at++;
            var start = at;
            while (at < text.Length && (text[at] is not ('.' or '[')))
                at += text[at] == '\\' && at + 1 < text.Length ? 2 : 1;
            if (start == at)
                fault = "a name is missing";
            else
                path.AddName(text[start..at].Replace("\\", "", StringComparison.Ordinal));
        }

        if (fault.Length == 0)
            return true;
        path = null;
        return false;
    }

    /// <summary>All values that the path finds; nulls and missing members are left out.</summary>
    public IEnumerable<JsonNode> Find(JsonNode root)
    {
        IEnumerable<JsonNode> found = [root];
        foreach (var step in _steps)
            found = found.SelectMany(step).OfType<JsonNode>();
        return found;
    }

    private void AddName(string name)
        => _steps.Add(name == "*" ? Children : node => node is JsonObject obj && obj.TryGetPropertyValue(name, out var child) ? [child] : []);

    private string AddBracket(string inside)
    {
        if (inside == "*")
        {
            _steps.Add(Children);
            return "";
        }

        if (inside.Length >= 2 && inside[0] is '\'' or '"' && inside[^1] == inside[0])
        {
            AddName(inside[1..^1]);
            return "";
        }

        if (int.TryParse(inside, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var index))
        {
            _steps.Add(node => node is JsonArray array && (index < 0 ? array.Count + index : index) is >= 0 and var at && at < array.Count ? [array[at]] : []);
            return "";
        }

        return inside.StartsWith("?(", StringComparison.Ordinal) && inside.EndsWith(')') ? AddFilter(inside[2..^1].Trim()) : $"[{inside}] is not supported";
    }

    private string AddFilter(string condition)
    {
        var op = ((string[])["==", "!="]).FirstOrDefault(candidate => condition.Contains(candidate, StringComparison.Ordinal));
        var left = op is null ? condition : condition[..condition.IndexOf(op, StringComparison.Ordinal)].Trim();
        if (!left.StartsWith('@') || !TryParse(left[1..], out var path, out var fault))
            return $"the filter {condition} is not supported; use [?(@.type==\"Ready\")]";
        if (op is null)
        {
            _steps.Add(node => Elements(node).Where(item => item is not null && path.Find(item).Any()));
            return fault;
        }

        var wanted = condition[(condition.IndexOf(op, StringComparison.Ordinal) + 2)..].Trim();
        if (wanted.Length >= 2 && wanted[0] is '\'' or '"' && wanted[^1] == wanted[0])
            wanted = wanted[1..^1];
        var equal = op == "==";
        _steps.Add(node => Elements(node).Where(item => item is not null && path.Find(item).Any(value => value.ToString() == wanted) == equal));
        return fault;
    }

    private static IEnumerable<JsonNode?> Elements(JsonNode node) => node as JsonArray ?? [];

    private static IEnumerable<JsonNode?> Children(JsonNode node) => node switch
    {
        JsonArray array => array,
        JsonObject obj => obj.Select(pair => pair.Value),
        _ => [],
    };

    /// <summary>The bracket that closes the one at <paramref name="open"/>; quotes hide brackets.</summary>
    private static int Close(string text, int open)
    {
        var quote = '\0';
        var depth = 0;
        for (var i = open; i < text.Length; i++)
        {
            if (quote != '\0')
                quote = text[i] == quote ? '\0' : quote;
            else if (text[i] is '\'' or '"')
                quote = text[i];
            else if (text[i] == '[')
                depth++;
            else if (text[i] == ']' && --depth == 0)
                return i;
        }

        return -1;
    }
}
