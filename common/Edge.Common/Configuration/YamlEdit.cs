using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace Edge.Common.Configuration;

/// <summary>Lays <c>key.path=value</c> into YAML text and leaves the rest of it as it is, comments, order and quotes too. Pure.</summary>
/// <remarks>What comes out is read again and compared with what <see cref="SetKeys.Apply"/> makes of the same: an edit whose place was taken wrongly is never returned.</remarks>
public static class YamlEdit
{
    /// <summary>The text with the values in it.</summary>
    /// <returns>Null where one of them cannot be put in its place alone (the value there spans lines, or is an alias); then there is <see cref="SetKeys.Apply"/>.</returns>
    /// <exception cref="ConfigException">As of <see cref="SetKeys.Apply"/>.</exception>
    public static string? TryApply(string yaml, IReadOnlyList<string> sets)
    {
        var wanted = Root(SetKeys.Apply(yaml, sets));
        var text = yaml;
        foreach (var set in sets)
        {
            var equals = set.IndexOf('=', StringComparison.Ordinal);
            if (Put(text, set[..equals].Split('.'), set[(equals + 1)..]) is not { } edited)
                return null;
            text = edited;
        }

        try
        {
            return IsSame(Root(text), wanted) ? text : null;
        }
        catch (YamlException)
        {
            return null;
        }
    }

    private static YamlNode? Root(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        return stream.Documents.Count == 1 ? stream.Documents[0].RootNode : null;
    }

    // How the value is written on one line; null where it takes several.
    private static string? Render(string value, bool isFlow)
    {
        if (value.StartsWith('[') || value.StartsWith('{'))
            return value.Contains('\n', StringComparison.Ordinal) ? null : value.Trim();
        var map = new YamlMappingNode(new YamlScalarNode("k"), new YamlScalarNode(value)) { Style = isFlow ? MappingStyle.Flow : MappingStyle.Block };
        using var writer = new StringWriter();
        new YamlStream(new YamlDocument(map)).Save(writer, assignAnchors: false);
        var line = writer.ToString().Split('\n')[0].TrimEnd('\r');
        if (Root(line) is not YamlMappingNode read || read.Children.Values.Single() is not YamlScalarNode scalar || (scalar.Value ?? "") != value)
            return null;
        return isFlow ? line["{k: ".Length..^1] : line["k: ".Length..];
    }

    // By their starts, the places behind ] and }: nodes tell only where they begin, and an end's event where its sign stands.
    private static Dictionary<long, long> FlowEnds(string text)
    {
        var (ends, open) = (new Dictionary<long, long>(), new Stack<long>());
        for (var parser = new Parser(new StringReader(text)); parser.MoveNext();)
        {
            switch (parser.Current)
            {
                case MappingStart or SequenceStart:
                    open.Push(parser.Current.Start.Index);
                    break;
                case MappingEnd or SequenceEnd:
                    ends[open.Pop()] = parser.Current.Start.Index + 1;
                    break;
            }
        }

        return ends;
    }

    private static string? Put(string text, string[] keys, string value)
    {
        if (Root(text) is not YamlMappingNode node)
            return null;
        var ends = FlowEnds(text);
        for (var i = 0; ; i++)
        {
            if (!node.Children.TryGetValue(new YamlScalarNode(keys[i]), out var child))
                return Render(value, node.Style == MappingStyle.Flow) is { } added ? Add(text, ends, node, keys[i..], added) : null;
            if (i == keys.Length - 1)
                return Render(value, node.Style == MappingStyle.Flow) is { } put ? Replace(text, ends, node.Children.Keys.First(key => key.Equals(new YamlScalarNode(keys[i]))), child, put) : null;
            // An anchor's node may be used elsewhere, too: what is changed here would change there.
            if (child is not YamlMappingNode next || !child.Anchor.IsEmpty)
                return null;
            node = next;
        }
    }

    private static string? Replace(string text, Dictionary<long, long> ends, YamlNode key, YamlNode former, string value)
    {
        var isOneLine = former switch
        {
            YamlScalarNode scalar => scalar.Style is not (ScalarStyle.Literal or ScalarStyle.Folded),
            YamlMappingNode map => map.Style == MappingStyle.Flow,
            YamlSequenceNode list => list.Style == SequenceStyle.Flow,
            _ => false,
        };
        if (!isOneLine || !former.Anchor.IsEmpty)
            return null;
        var (start, end) = ((int)former.Start.Index, End(ends, former));
        if (former is YamlScalarNode { Value: null or "" } nothing && IsPlain(nothing))
        {
            // Nothing stands there, behind the colon.
            start = end = text.IndexOf(':', (int)key.End.Index) + 1;
            return start == 0 ? null : text[..start] + " " + value + text[end..];
        }

        return text[..start] + value + text[end..];
    }

    private static string? Add(string text, Dictionary<long, long> ends, YamlMappingNode node, string[] keys, string value)
    {
        var newline = text.Contains("\r\n", StringComparison.Ordinal) ? "\r\n" : "\n";
        if (node.Style == MappingStyle.Flow)
        {
            var close = End(ends, node) - 1;
            if (close < 0 || text[close] != '}')
                return null;
            var inside = string.Concat(keys[..^1].Select(key => $"{key}: {{")) + $"{keys[^1]}: {value}" + new string('}', keys.Length - 1);
            return text[..close].TrimEnd() + (node.Children.Count > 0 ? ", " : "") + inside + text[close..];
        }

        if (node.Children.Count == 0 || Last(ends, node) is not { } last)
            return null;
        var indent = new string(' ', (int)node.Children.Keys.First().Start.Column - 1);
        var lines = keys.Select((key, depth) => indent + new string(' ', depth * 2) + key + (depth == keys.Length - 1 ? ": " + value : ":"));
        var end = text.IndexOf('\n', last);
        // Behind what the last value has as a comment.
        return end < 0 ? text + newline + string.Join(newline, lines) + newline : text[..(end + 1)] + string.Join(newline, lines) + newline + text[(end + 1)..];
    }

    // Where the last value in a node ends, in its last line; null where that cannot be told.
    private static int? Last(Dictionary<long, long> ends, YamlNode node) => node switch
    {
        YamlMappingNode { Style: not MappingStyle.Flow, Children.Count: > 0 } map => Last(ends, map.Children.Last().Value) is { } at ? Math.Max(at, (int)map.Children.Last().Key.End.Index) : null,
        YamlSequenceNode { Style: not SequenceStyle.Flow, Children.Count: > 0 } list => Last(ends, list.Children[^1]),
        YamlScalarNode { Style: ScalarStyle.Literal or ScalarStyle.Folded } => null,
        YamlScalarNode { Value: null or "", Style: ScalarStyle.Plain or ScalarStyle.Any } => 0, // its key's end counts
        _ => End(ends, node),
    };

    private static int End(Dictionary<long, long> ends, YamlNode node) => (int)(node is YamlScalarNode ? node.End.Index : ends[node.Start.Index]);

    // A quoted true is a text, a plain one is not.
    private static bool IsPlain(YamlScalarNode scalar) => scalar.Style is ScalarStyle.Plain or ScalarStyle.Any;

    private static bool IsSame(YamlNode? one, YamlNode? other) => (one, other) switch
    {
        (YamlScalarNode a, YamlScalarNode b) => (a.Value ?? "") == (b.Value ?? "") && IsPlain(a) == IsPlain(b),
        (YamlSequenceNode a, YamlSequenceNode b) => a.Children.Count == b.Children.Count && a.Children.Zip(b.Children).All(pair => IsSame(pair.First, pair.Second)),
        (YamlMappingNode a, YamlMappingNode b) => a.Children.Count == b.Children.Count && a.Children.All(pair => b.Children.TryGetValue(pair.Key, out var value) && IsSame(pair.Value, value)),
        _ => false,
    };
}
