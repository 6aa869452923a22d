using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Storage;

/// <summary>A resource as it is stored: every version of it shares the objects.</summary>
internal readonly record struct ResourceId(string Group, string Plural)
{
    public static ResourceId Of(ResourceKind kind) => new(kind.Group, kind.Plural);
}

/// <summary>One state of one object: its UTF-8 JSON as it is answered, and what selectors need. Immutable; shared by readers and watchers.</summary>
internal sealed class StoredObject
{
    private static readonly Dictionary<string, string> s_none = new(StringComparer.Ordinal);

    // As deep as a request's body may be, and deeper: what was stored must be readable.
    private static readonly JsonDocumentOptions s_options = new() { MaxDepth = ObjectJson.DepthMax };
    private Dictionary<string, string>? _labels;
    private Dictionary<string, string>? _fields;
    private Converted? _converted;

    public StoredObject(ResourceId resource, string @namespace, string name, string uid, long version, byte[] json)
        => (Resource, Namespace, Name, Uid, SortKey, Version, Json) = (resource, @namespace, name, uid, Key(@namespace, name), version, json);

    /// <summary>The next state of an object, which shares what names it.</summary>
    public StoredObject(StoredObject before, long version, byte[] json)
        => (Resource, Namespace, Name, Uid, SortKey, Version, Json) = (before.Resource, before.Namespace, before.Name, before.Uid, before.SortKey, version, json);

    public ResourceId Resource { get; }

    /// <summary>Empty for cluster-scoped objects.</summary>
    public string Namespace { get; }

    public string Name { get; }

    public string Uid { get; }

    public long Version { get; }

    /// <summary>What has pruned, defaulted and judged this state, where that is known: the schema of a custom resource's version. A write to a part of it by the same needs not look at the rest again.</summary>
    public object? JudgedBy { get; init; }

    /// <summary>The JSON with its resourceVersion inside; not to be changed.</summary>
    public byte[] Json { get; }

    /// <summary>The order of lists and continue tokens: ordinal by namespace, then name.</summary>
    public string SortKey { get; }

    public IReadOnlyDictionary<string, string> Labels => _labels ??= FieldReader.Map(Json, "metadata.labels") is { Count: > 0 } labels ? labels : s_none;

    public static string Key(string @namespace, string name) => @namespace + "/" + name;

    /// <summary>A fresh tree that the caller may change.</summary>
    public JsonObject Parse() => Parse(Json);

    /// <summary>The tree of an object's JSON.</summary>
    public static JsonObject Parse(byte[] json) => JsonNode.Parse(json, documentOptions: s_options)!.AsObject();

    /// <summary>As <see cref="Parse()"/>, as the given apiVersion shows it.</summary>
    public JsonObject ParseAs(string apiVersion)
    {
        var tree = Parse();
        if (tree.ApiVersion() != apiVersion)
            tree["apiVersion"] = apiVersion;
        return tree;
    }

    /// <summary>A fresh tree of the metadata alone, as <c>PartialObjectMetadata</c>; the rest is not looked at.</summary>
    public JsonObject ParseMetadata()
    {
        var reader = new Utf8JsonReader(Json, new JsonReaderOptions { MaxDepth = s_options.MaxDepth });
        reader.Read();
        JsonNode? metadata = null;
        while (metadata is null && reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("metadata"u8) && reader.Read())
                metadata = JsonNode.Parse(ref reader);
            else
                reader.Skip();
        }

        return new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = metadata };
    }

    /// <summary>The scalar under a dotted path as text; empty when absent.</summary>
    public string Field(string path)
    {
        if (path == "metadata.name")
            return Name;
        if (path == "metadata.namespace")
            return Namespace;
        var known = _fields;
        if (known is not null && known.TryGetValue(path, out var value))
            return value;
        value = FieldReader.Text(Json, path);
        _fields = new Dictionary<string, string>(known ?? [], StringComparer.Ordinal) { [path] = value };
        return value;
    }

    /// <summary>Whether it is stored as this apiVersion.</summary>
    public bool IsOf(string apiVersion) => FieldReader.Is(Json, "apiVersion", apiVersion);

    /// <summary>The JSON as the given apiVersion shows it (conversion strategy None: only apiVersion changes).</summary>
    public byte[] JsonAs(string apiVersion)
    {
        if (IsOf(apiVersion))
            return Json;
        if (_converted is { } converted && converted.ApiVersion == apiVersion)
            return converted.Json;
        var obj = Parse();
        obj["apiVersion"] = apiVersion;
        var json = ObjectJson.Serialize(obj).At(Version);
        _converted = new Converted(apiVersion, json);
        return json;
    }

    private sealed record Converted(string ApiVersion, byte[] Json);
}

/// <summary>One change. <see cref="Previous"/> is null when the object is new, or when <see cref="PreviousUnknown"/> says that the
/// state before is no longer kept (the oldest changes after a restart).</summary>
internal sealed record StoredEvent(WatchEventType Type, StoredObject Object, StoredObject? Previous, bool PreviousUnknown = false)
{
    /// <summary>Nothing but its status differs from <see cref="Previous"/>, and the version.</summary>
    public bool IsStatusAlone { get; init; }

    public long Version => Object.Version;
}
