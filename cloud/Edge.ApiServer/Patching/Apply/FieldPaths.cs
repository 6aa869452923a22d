using System.Text;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Patching.Apply;

/// <summary>Sets of fields, as managedFields' <c>fieldsV1</c> names them. Inside, a path is its parts (<c>f:spec</c>, <c>k:{"name":"c"}</c>,
/// <c>v:"x"</c>) with line feeds between; compact JSON never holds one.</summary>
internal static class FieldPaths
{
    private const char Between = '\n';

    /// <summary>Every owned path of the object and its value; elements of keyed lists and sets are paths of their own, with null.</summary>
    public static Dictionary<string, JsonNode?> Of(JsonObject obj, MergeSchema schema)
    {
        var paths = new Dictionary<string, JsonNode?>(StringComparer.Ordinal);
        Collect(obj, schema, "", paths);
        return paths;
    }

    /// <summary>The set as fieldsV1.</summary>
    public static JsonObject ToFields(IEnumerable<string> paths)
    {
        var root = new JsonObject();
        foreach (var path in paths.Order(StringComparer.Ordinal))
        {
            var node = root;
            foreach (var part in path.Split(Between))
            {
                if (node[part] is not JsonObject child)
                    node[part] = child = [];
                node = child;
            }

            if (path.Split(Between)[^1].StartsWith("k:", StringComparison.Ordinal))
                node["."] = new JsonObject();
        }

        return root;
    }

    public static HashSet<string> FromFields(JsonNode? fields)
    {
        var paths = new HashSet<string>(StringComparer.Ordinal);
        if (fields is JsonObject root)
        {
            foreach (var (part, child) in root)
                Read(part, child, paths);
        }

        return paths;
    }

    /// <summary>As Kubernetes' messages write it: <c>.spec.containers[name="c"].image</c>.</summary>
    public static string Show(string path)
    {
        var text = new StringBuilder();
        foreach (var part in path.Split(Between))
        {
            if (part.StartsWith("f:", StringComparison.Ordinal))
                text.Append('.').Append(part.AsSpan(2));
            else if (part.StartsWith("k:", StringComparison.Ordinal) && JsonNode.Parse(part[2..]) is JsonObject key)
                text.Append('[').AppendJoin(',', key.Select(pair => $"{pair.Key}={pair.Value?.ToJsonString() ?? "null"}")).Append(']');
            else
                text.Append("[=").Append(part.AsSpan(Math.Min(2, part.Length))).Append(']');
        }

        return text.ToString();
    }

    public static string Join(string at, string part) => at.Length == 0 ? part : at + Between + part;

    public static bool IsUnder(string path, string ancestor) => path.Length > ancestor.Length && path[ancestor.Length] == Between && path.StartsWith(ancestor, StringComparison.Ordinal);

    public static string[] Parts(string path) => path.Split(Between);

    private static void Collect(JsonNode? value, MergeSchema schema, string at, Dictionary<string, JsonNode?> paths)
    {
        switch (schema.FormOf(value))
        {
            case MergeForm.Object:
                foreach (var (key, member) in value!.AsObject())
                {
                    var inner = schema.Member(key);
                    var path = Join(at, "f:" + key);
                    if (inner.FormOf(member) == MergeForm.Leaf || member is JsonObject { Count: 0 } or JsonArray { Count: 0 })
                        paths[path] = member;
                    else
                        Collect(member, inner, path, paths);
                }

                break;
            case MergeForm.ListMap:
                foreach (var item in value!.AsArray().OfType<JsonObject>())
                {
                    var path = Join(at, schema.KeyOf(item));
                    paths[path] = null;
                    Collect(item, schema.Items, path, paths);
                }

                break;
            case MergeForm.ListSet:
                foreach (var item in value!.AsArray())
                    paths[Join(at, "v:" + (item?.ToJsonString() ?? "null"))] = null;
                break;
        }
    }

    private static void Read(string path, JsonNode? node, HashSet<string> paths)
    {
        if (node is not JsonObject { Count: > 0 } children)
        {
            paths.Add(path);
            return;
        }

        foreach (var (part, child) in children)
        {
            if (part == ".")
                paths.Add(path);
            else
                Read(Join(path, part), child, paths);
        }
    }
}
