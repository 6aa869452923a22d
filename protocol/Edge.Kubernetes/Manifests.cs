using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;

namespace Edge.Kubernetes;

/// <summary>Manifest files: YAML with one or more documents, or JSON.</summary>
public static class Manifests
{
    /// <summary>The objects of <paramref name="text"/> in order; a <c>List</c> counts as its items, empty documents as nothing. Throws
    /// <see cref="ManifestException"/>, with the line, for bad YAML and for a document that has no apiVersion, kind or name.</summary>
    public static IReadOnlyList<JsonObject> Parse(string text)
    {
        var objects = new List<JsonObject>();
        foreach (var document in Documents(text))
        {
            if (document is not JsonObject obj)
                throw new ManifestException("a manifest must be an object with apiVersion, kind and metadata");
            if (obj.Kind().EndsWith("List", StringComparison.Ordinal) && obj["items"] is JsonArray items)
            {
                foreach (var item in items)
                    objects.Add(Checked(item?.DeepClone() as JsonObject ?? throw new ManifestException($"an item of a {obj.Kind()} is not an object")));
            }
            else
            {
                objects.Add(Checked(obj));
            }
        }

        return objects;
    }

    /// <summary>One YAML or JSON document as JSON, whatever it is; null when the text is empty. Throws <see cref="ManifestException"/>.</summary>
    /// <param name="depthMax">Levels of nesting, at most 512.</param>
    /// <param name="nodesMax">Values of a YAML document, which aliases can make of few.</param>
    public static JsonNode? ParseValue(string text, int depthMax = YamlReader.DepthMax, int nodesMax = YamlReader.NodesMax)
    {
        var documents = Documents(text, depthMax, nodesMax);
        return documents.Count <= 1 ? documents.FirstOrDefault() : throw new ManifestException($"has {documents.Count} documents, must be one");
    }

    private static List<JsonNode> Documents(string text, int depthMax = YamlReader.DepthMax, int nodesMax = YamlReader.NodesMax)
    {
        // JSON allows tabs where YAML does not, and is read faster as what it is. What fails may still be flow YAML.
        if (text.AsSpan().TrimStart() is ['{' or '[', ..])
        {
            try
            {
                return StrictJson.Parse(System.Text.Encoding.UTF8.GetBytes(text), depthMax) is { } node ? [node] : [];
            }
            catch (JsonException)
            {
                // said in the words of YAML, with the line
            }
        }

        return YamlReader.ReadAll(text, depthMax: depthMax, nodesMax: nodesMax);
    }

    private static JsonObject Checked(JsonObject obj)
    {
        foreach (var (key, value) in new[] { ("apiVersion", obj.ApiVersion()), ("kind", obj.Kind()) })
        {
            if (value.Length == 0)
                throw new ManifestException($"a manifest has no {key}{(obj.Name() is { Length: > 0 } name ? $" (metadata.name: {name})" : "")}");
        }

        if (obj.Name().Length == 0 && obj.Text("metadata", "generateName").Length == 0)
            throw new ManifestException($"a manifest of kind {obj.Kind()} has no metadata.name");
        return obj;
    }
}
