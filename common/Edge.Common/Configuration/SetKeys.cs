using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Edge.Common.Configuration;

/// <summary>Lays <c>key.path=value</c> into YAML text that is to be written. Comments of the text are lost.</summary>
public static class SetKeys
{
    /// <summary>The text with the values in it.</summary>
    /// <exception cref="ConfigException">A text is not key.path=value, or its path runs through something that is not a section.</exception>
    public static string Apply(string yaml, IEnumerable<string> sets)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(yaml));
        if (stream.Documents is not [{ RootNode: YamlMappingNode root }])
            throw new ConfigException(["the text is not one YAML mapping of keys to values"]);
        foreach (var set in sets)
        {
            var equals = set.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new ConfigException([$"--set {set}: must be key.path=value, e.g. modules.edgeHub.heartbeat=10"]);
            var keys = set[..equals].Split('.');
            var node = root;
            foreach (var key in keys[..^1])
            {
                if (!node.Children.TryGetValue(new YamlScalarNode(key), out var child))
                    node.Children[new YamlScalarNode(key)] = child = new YamlMappingNode();
                node = child as YamlMappingNode ?? throw new ConfigException([$"--set {set}: {key} is not a section"]);
            }

            node.Children[new YamlScalarNode(keys[^1])] = Value(set, set[(equals + 1)..]);
        }

        using var text = new StringWriter();
        stream.Save(text, assignAnchors: false);
        // The emitter ends documents with "...", which one document does not need.
        return text.ToString().TrimEnd().EndsWith("...", StringComparison.Ordinal) ? text.ToString().TrimEnd()[..^3] : text.ToString();
    }

    private static YamlNode Value(string set, string value)
    {
        if (!value.StartsWith('[') && !value.StartsWith('{'))
            return new YamlScalarNode(value);
        try
        {
            var stream = new YamlStream();
            stream.Load(new StringReader(value));
            return stream.Documents[0].RootNode;
        }
        catch (YamlException e)
        {
            throw new ConfigException([$"--set {set}: the value is not valid YAML: {e.Message}"]);
        }
    }
}
