using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Edge.Common.Configuration;

/// <summary>A YAML config file with <c>--set key.path=value</c> laid over it. Options classes read what they know from
/// <see cref="Root"/>; <see cref="ThrowIfInvalid"/> then names every wrong type and every key that nobody read, with its line.</summary>
/// <example><code>
/// var file = ConfigFile.Load("cloudcore.yaml", ["modules.cloudHub.websocket.port=10000"]);
/// file.Root.ExpectText("kind", "CloudCore");
/// var hub = file.Root.Section("modules").Section("cloudHub");
/// var port = hub.Section("websocket").Int("port", 10000, min: 0, max: 65535);
/// file.ThrowIfInvalid();
/// </code></example>
public sealed class ConfigFile
{
    private readonly string _name;
    private readonly List<string> _problems = [];

    private ConfigFile(string name, YamlMappingNode root)
    {
        _name = name;
        Root = new ConfigSection(this, "", root);
    }

    public ConfigSection Root { get; }

    /// <summary>Reads the file at <paramref name="path"/>; a missing file is an error that says how to make one.</summary>
    public static ConfigFile Load(string path, IEnumerable<string> overrides)
    {
        if (!File.Exists(path))
            throw new ConfigException([$"{path}: there is no such config file; give one with --config, or write one with --minconfig or, on a node, 'edgectl join'"]);
        return Parse(path, File.ReadAllText(path), overrides);
    }

    /// <summary>Reads YAML text; <paramref name="name"/> stands in errors. Empty text is an empty config.</summary>
    public static ConfigFile Parse(string name, string yaml, IEnumerable<string> overrides)
    {
        YamlMappingNode root;
        try
        {
            var stream = new YamlStream();
            stream.Load(new StringReader(yaml));
            if (stream.Documents.Count > 1)
                throw new ConfigException([$"{name}: has {stream.Documents.Count} YAML documents, must be one"]);
            root = stream.Documents.Count == 0 ? new YamlMappingNode()
                : stream.Documents[0].RootNode as YamlMappingNode
                ?? throw new ConfigException([$"{name}:1: must be a mapping of keys to values"]);
        }
        catch (YamlException e)
        {
            throw new ConfigException([$"{name}:{e.Start.Line}: is not valid YAML: {e.Message}"]);
        }

        foreach (var text in overrides)
            Override(root, text);
        return new ConfigFile(name, root);
    }

    /// <summary>Throws <see cref="ConfigException"/> with all problems found so far, unknown keys among them.</summary>
    public void ThrowIfInvalid()
    {
        Root.CollectUnknown(_problems);
        if (_problems.Count > 0)
            throw new ConfigException(_problems);
    }

    internal void Problem(YamlNode? node, string path, string text)
        => _problems.Add(node is null || node.Start.Line == 0 || IsOverride(node) ? $"{_name}: {path}: {text}" : $"{_name}:{node.Start.Line}: {path}: {text}");

    // Nodes made by --set carry no place in the file.
    private static bool IsOverride(YamlNode node) => node.Start.Index == 0 && node.End.Index == 0;

    private static void Override(YamlMappingNode root, string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
            throw new ConfigException([$"--set {text}: must be key.path=value, e.g. modules.cloudHub.websocket.port=10000"]);
        var keys = text[..equals].Split('.');
        var node = root;
        for (var i = 0; i < keys.Length - 1; i++)
        {
            var key = new YamlScalarNode(keys[i]);
            if (!node.Children.TryGetValue(key, out var child) || child is YamlScalarNode { Value: null or "" })
                node.Children[key] = child = new YamlMappingNode();
            node = child as YamlMappingNode
                ?? throw new ConfigException([$"--set {text}: {string.Join('.', keys[..(i + 1)])} is not a section"]);
        }

        var value = text[(equals + 1)..];
        YamlNode parsed = new YamlScalarNode(value);
        if (value.StartsWith('[') || value.StartsWith('{'))
        {
            try
            {
                var stream = new YamlStream();
                stream.Load(new StringReader(value));
                parsed = stream.Documents[0].RootNode;
            }
            catch (YamlException e)
            {
                throw new ConfigException([$"--set {text}: the value is not valid YAML: {e.Message}"]);
            }
        }

        node.Children[new YamlScalarNode(keys[^1])] = parsed;
    }
}

/// <summary>One mapping of a config file. Reading a key with a wrong type records a problem and returns the default.</summary>
public sealed class ConfigSection
{
    private readonly ConfigFile _file;
    private readonly string _path;
    private readonly YamlMappingNode _node;
    private readonly HashSet<string> _known = [];
    private readonly List<ConfigSection> _sections = [];

    internal ConfigSection(ConfigFile file, string path, YamlMappingNode node)
    {
        _file = file;
        _path = path;
        _node = node;
    }

    /// <summary>The keys that stand in the file, known or not.</summary>
    public IEnumerable<string> Keys => _node.Children.Keys.OfType<YamlScalarNode>().Select(key => key.Value ?? "");

    public bool Has(string key) => Node(key) is not null;

    /// <summary>The section under <paramref name="key"/>; empty when absent.</summary>
    public ConfigSection Section(string key)
    {
        var node = Take(key);
        if (node is not (null or YamlMappingNode))
            Problem(key, node, "must be a section of keys");
        var section = new ConfigSection(_file, Path(key), node as YamlMappingNode ?? new YamlMappingNode());
        _sections.Add(section);
        return section;
    }

    /// <summary>An http or https URL, or empty.</summary>
    public string Url(string key)
    {
        var text = Text(key, "");
        if (text.Length == 0 || (Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"))
            return text;
        Problem(key, $"'{text}' is not a URL, e.g. http://127.0.0.1:4318");
        return "";
    }

    /// <summary>The text under <paramref name="key"/>.</summary>
    public string Text(string key, string absent)
    {
        var node = Take(key);
        if (node is null)
            return absent;
        if (node is YamlScalarNode scalar)
            return scalar.Value ?? absent;
        Problem(key, node, "must be text");
        return absent;
    }

    /// <summary>A text that must be one of <paramref name="allowed"/>; used for kind and apiVersion.</summary>
    public string ExpectText(string key, params string[] allowed)
    {
        var value = Text(key, allowed[0]);
        if (!allowed.Contains(value, StringComparer.Ordinal))
            Problem(key, Node(key), $"is '{value}', must be {string.Join(" or ", allowed.Select(one => $"'{one}'"))}");
        return value;
    }

    public bool Bool(string key, bool absent)
    {
        switch (Take(key))
        {
            case null: return absent;
            case YamlScalarNode { Value: "true" or "True" }: return true;
            case YamlScalarNode { Value: "false" or "False" }: return false;
            case var node:
                Problem(key, node, $"is '{node}', must be true or false");
                return absent;
        }
    }

    public int Int(string key, int absent, int min = int.MinValue, int max = int.MaxValue)
    {
        var node = Take(key);
        if (node is null)
            return absent;
        if (node is YamlScalarNode scalar
            && int.TryParse(scalar.Value, System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out var value))
        {
            if (value >= min && value <= max)
                return value;
            Problem(key, node, $"is {value}, must be from {min} to {max}");
            return absent;
        }

        Problem(key, node, $"is '{node}', must be a whole number");
        return absent;
    }

    /// <summary>A list of texts.</summary>
    public IReadOnlyList<string> Texts(string key, IReadOnlyList<string> absent)
    {
        var node = Take(key);
        if (node is null)
            return absent;
        if (node is YamlSequenceNode list && list.Children.All(child => child is YamlScalarNode))
            return [.. list.Children.Select(child => ((YamlScalarNode)child).Value ?? "")];
        Problem(key, node, "must be a list of texts");
        return absent;
    }

    /// <summary>A mapping of texts to texts.</summary>
    public IReadOnlyDictionary<string, string> Map(string key)
    {
        var node = Take(key);
        if (node is YamlMappingNode map && map.Children.All(pair => pair.Value is YamlScalarNode))
            return map.Children.ToDictionary(pair => ((YamlScalarNode)pair.Key).Value ?? "", pair => ((YamlScalarNode)pair.Value).Value ?? "");
        if (node is not null)
            Problem(key, node, "must be a mapping of texts");
        return new Dictionary<string, string>();
    }

    /// <summary>A list of sections; each is checked for unknown keys like any other.</summary>
    public IReadOnlyList<ConfigSection> Sections(string key)
    {
        var node = Take(key);
        if (node is null)
            return [];
        if (node is not YamlSequenceNode list || !list.Children.All(child => child is YamlMappingNode))
        {
            Problem(key, node, "must be a list of sections");
            return [];
        }

        var sections = list.Children.Select((child, index) => new ConfigSection(_file, $"{Path(key)}[{index}]", (YamlMappingNode)child)).ToArray();
        _sections.AddRange(sections);
        return sections;
    }

    /// <summary>Accepts a key of KubeEdge that Edge understands but does not need; with what it does instead, for the log.</summary>
    public void Ignore(params string[] keys) => _known.UnionWith(keys);

    /// <summary>Records a problem found by the reader of this section (a value that does not fit another).</summary>
    public void Problem(string key, string text) => Problem(key, Node(key), text);

    internal void CollectUnknown(List<string> problems)
    {
        foreach (var (key, _) in _node.Children)
        {
            var name = (key as YamlScalarNode)?.Value ?? "";
            if (_known.Contains(name))
                continue;
            var near = _known.Where(one => Distance(one, name) <= 2).Order(StringComparer.Ordinal).FirstOrDefault();
            _file.Problem(key, Path(name), "is not a known key" + (near is null ? $"; known here: {string.Join(", ", _known.Order(StringComparer.Ordinal))}" : $"; did you mean '{near}'?"));
        }

        foreach (var section in _sections)
            section.CollectUnknown(problems);
    }

    private YamlNode? Take(string key)
    {
        _known.Add(key);
        return Node(key);
    }

    // A key whose value is null counts as absent, as for Go's readers: KubeEdge's own --defaultconfig writes "serviceAccountKeyFiles: null".
    private YamlNode? Node(string key) =>
        _node.Children.TryGetValue(new YamlScalarNode(key), out var node) && node is not YamlScalarNode { Style: ScalarStyle.Plain, Value: null or "" or "null" or "Null" or "NULL" or "~" } ? node : null;

    private string Path(string key) => _path.Length == 0 ? key : $"{_path}.{key}";

    private void Problem(string key, YamlNode? node, string text) => _file.Problem(node, Path(key), text);

    // Levenshtein distance, for "did you mean".
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var next = Math.Min(Math.Min(row[j] + 1, row[j - 1] + 1), diagonal + (char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1));
                (diagonal, row[j]) = (row[j], next);
            }
        }

        return row[b.Length];
    }
}
