using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Edge.Kubernetes;

/// <summary>Text that is not the YAML or manifest wanted; the message has the line.</summary>
public sealed class ManifestException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>YAML to JSON by the rules of kubectl: YAML 1.2's core schema, and from 1.1 <c>yes/no/on/off</c> as truth values, octal with a leading
/// zero (<c>defaultMode: 0644</c>) and merge keys. Built from parser events so that depth and size are bounded before memory is taken.</summary>
internal sealed class YamlReader
{
    /// <summary>Levels of nesting, where the caller says nothing else.</summary>
    public const int DepthMax = 200;

    /// <summary>Values of a document, where the caller says nothing else. Aliases can blow up a small text; this bounds what they make.</summary>
    public const int NodesMax = 2_000_000;

    private readonly Dictionary<AnchorName, JsonNode?> _anchors = [];
    private readonly IParser _parser;
    private readonly bool _plainAsText;
    private readonly int _depthMax;
    private readonly int _nodesMax;
    private int _nodes;

    private YamlReader(IParser parser, bool plainAsText, int depthMax, int nodesMax)
    {
        _parser = parser;
        _plainAsText = plainAsText;
        _depthMax = depthMax;
        _nodesMax = nodesMax;
    }

    /// <summary>The documents of <paramref name="text"/>, empty ones left out. With <paramref name="plainAsText"/> every scalar but null is a string.</summary>
    public static List<JsonNode> ReadAll(string text, bool plainAsText = false, int depthMax = DepthMax, int nodesMax = NodesMax)
    {
        var documents = new List<JsonNode>();
        try
        {
            var parser = new Parser(new StringReader(text));
            parser.Consume<StreamStart>();
            while (parser.TryConsume<DocumentStart>(out _))
            {
                if (new YamlReader(parser, plainAsText, depthMax, nodesMax).Node(0) is { } node)
                    documents.Add(node);
                parser.Consume<DocumentEnd>();
            }
        }
        catch (YamlException e)
        {
            throw new ManifestException($"line {e.Start.Line}: is not valid YAML: {e.Message}", e);
        }

        return documents;
    }

    private JsonNode? Node(int depth)
    {
        var start = _parser.Current!.Start;
        if (depth > _depthMax)
            throw TooDeep(start);
        Count(start, 1);
        JsonNode? node;
        AnchorName anchor;
        switch (_parser.Current)
        {
            case AnchorAlias:
                var alias = _parser.Consume<AnchorAlias>();
                if (!_anchors.TryGetValue(alias.Value, out var known))
                    throw new ManifestException($"line {start.Line}: there is no anchor '{alias.Value}' before this alias");
                if (JsonDepth.Exceeds(known, _depthMax - depth))
                    throw TooDeep(start);
                Count(start, Size(known));
                return known?.DeepClone();
            case Scalar:
                var scalar = _parser.Consume<Scalar>();
                anchor = scalar.Anchor;
                node = Value(scalar);
                break;
            case SequenceStart:
                anchor = _parser.Consume<SequenceStart>().Anchor;
                var array = new JsonArray();
                while (!_parser.TryConsume<SequenceEnd>(out _))
                    array.Add(Node(depth + 1));
                node = array;
                break;
            case MappingStart:
                anchor = _parser.Consume<MappingStart>().Anchor;
                node = Mapping(depth);
                break;
            default:
                throw new ManifestException($"line {start.Line}: is not valid YAML");
        }

        if (!anchor.IsEmpty)
            _anchors[anchor] = node;
        return node;
    }

    private JsonObject Mapping(int depth)
    {
        var obj = new JsonObject();
        List<JsonNode?>? merges = null;
        while (!_parser.TryConsume<MappingEnd>(out _))
        {
            var start = _parser.Current!.Start;
            if (_parser.Current is AnchorAlias or SequenceStart or MappingStart)
                throw new ManifestException($"line {start.Line}: a key must be text");
            var scalar = _parser.Consume<Scalar>();
            if (scalar is { Value: "<<", Style: ScalarStyle.Plain })
            {
                (merges ??= []).Add(Node(depth + 1));
                continue;
            }

            var key = scalar.Value;
            if (!scalar.Anchor.IsEmpty)
                _anchors[scalar.Anchor] = JsonValue.Create(key);
            if (obj.ContainsKey(key))
                throw new ManifestException($"line {start.Line}: the key '{key}' stands twice");
            obj[key] = Node(depth + 1);
        }

        foreach (var source in (merges ?? []).SelectMany(merge => merge is JsonArray list ? list.AsEnumerable() : [merge]))
        {
            if (source is not JsonObject other)
                throw new ManifestException("a merge key (<<) must name a mapping or a list of mappings");
            foreach (var (key, value) in other)
            {
                if (!obj.ContainsKey(key))
                    obj[key] = value?.DeepClone();
            }
        }

        return obj;
    }

    private void Count(Mark start, int nodes)
    {
        _nodes += nodes;
        if (_nodes > _nodesMax)
            throw new ManifestException($"line {start.Line}: the document has more than {_nodesMax} values");
    }

    private ManifestException TooDeep(Mark start) => new($"line {start.Line}: is nested deeper than {_depthMax} levels");

    private static int Size(JsonNode? node) => node switch
    {
        JsonObject obj => 1 + obj.Sum(pair => Size(pair.Value)),
        JsonArray array => 1 + array.Sum(Size),
        _ => 1,
    };

    private JsonValue? Value(Scalar scalar)
    {
        var text = scalar.Value;
        var tag = scalar.Tag.IsEmpty || scalar.Tag.IsNonSpecific ? "" : scalar.Tag.Value;
        if (tag == "tag:yaml.org,2002:str" || tag == "tag:yaml.org,2002:binary" || (scalar.Style != ScalarStyle.Plain && tag.Length == 0))
            return JsonValue.Create(text);
        if (text is "" or "~" or "null" or "Null" or "NULL")
            return null;
        return _plainAsText ? JsonValue.Create(text) : Plain(text);
    }

    private static JsonValue Plain(string text)
    {
        switch (text)
        {
            case "true" or "True" or "TRUE" or "yes" or "Yes" or "YES" or "on" or "On" or "ON": return JsonValue.Create(true);
            case "false" or "False" or "FALSE" or "no" or "No" or "NO" or "off" or "Off" or "OFF": return JsonValue.Create(false);
        }

        var first = text[0] is '+' or '-' ? (text.Length > 1 ? text[1] : ' ') : text[0];
        if (!char.IsAsciiDigit(first) && first != '.')
            return JsonValue.Create(text);
        if (Whole(text) is { } whole)
            return whole;
        if (text.All(c => char.IsAsciiDigit(c) || c is '+' or '-' or '.' or 'e' or 'E')
            && text.Any(char.IsAsciiDigit)
            && double.TryParse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out var number)
            && double.IsFinite(number))
        {
            return Math.Abs(number) < 1e15 && number == Math.Truncate(number) ? JsonValue.Create((long)number) : JsonValue.Create(number);
        }

        return JsonValue.Create(text);
    }

    private static JsonValue? Whole(string text)
    {
        var negative = text[0] == '-';
        var digits = text[0] is '+' or '-' ? text[1..] : text;
        if (digits.Length > 1 && digits[0] == '0' && digits.All(char.IsAsciiDigit))
            return digits.All(c => c <= '7') ? Based(digits[1..], 8, negative) : null;
        if (digits.Length > 2 && digits[0] == '0' && digits[1] is 'x' or 'o' or 'b')
        {
            var based = digits[1] switch { 'x' => 16, 'o' => 8, _ => 2 };
            return digits[2..].All(c => char.IsAsciiHexDigit(c) && Convert.ToInt32(c.ToString(), 16) < based) ? Based(digits[2..], based, negative) : null;
        }

        if (!digits.All(char.IsAsciiDigit))
            return null;
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
            return JsonValue.Create(number);
        return ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var large) && !negative ? JsonValue.Create(large) : null;
    }

    private static JsonValue? Based(string digits, int based, bool negative)
    {
        var number = 0L;
        foreach (var c in digits)
        {
            if (number > (long.MaxValue - 15) / based)
                return null;
            number = (number * based) + Convert.ToInt32(c.ToString(), 16);
        }

        return JsonValue.Create(negative ? -number : number);
    }
}
