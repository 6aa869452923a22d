using System.Globalization;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>Reads Kubernetes objects held as <see cref="JsonObject"/>, so that fields unknown here survive. A field that is absent or
/// of another type reads as empty; nothing here throws. Objects from a list, watch or informer are shared: <c>DeepClone()</c> before changing.</summary>
public static class KubeObject
{
    public static string Name(this JsonObject obj) => obj.Text("metadata", "name");

    /// <summary>The namespace, or empty for cluster-scoped objects.</summary>
    public static string Namespace(this JsonObject obj) => obj.Text("metadata", "namespace");

    public static string Uid(this JsonObject obj) => obj.Text("metadata", "uid");

    public static string ResourceVersion(this JsonObject obj) => obj.Text("metadata", "resourceVersion");

    /// <summary>The resourceVersion as a number; 0 when absent or not decimal.</summary>
    public static long Version(this JsonObject obj)
        => long.TryParse(obj.ResourceVersion(), NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : 0;

    public static string Kind(this JsonObject obj) => obj.Text("kind");

    public static string ApiVersion(this JsonObject obj) => obj.Text("apiVersion");

    public static bool IsDeleting(this JsonObject obj) => obj.Text("metadata", "deletionTimestamp").Length > 0;

    /// <summary>The text of the label, or null when it is not set.</summary>
    public static string? Label(this JsonObject obj, string key) => obj.At("metadata", "labels", key) is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    /// <summary>The text of the annotation, or null when it is not set.</summary>
    public static string? Annotation(this JsonObject obj, string key) => obj.At("metadata", "annotations", key) is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    /// <summary>The node under a path of object keys, or null.</summary>
    public static JsonNode? At(this JsonNode? node, params ReadOnlySpan<string> path)
    {
        foreach (var key in path)
        {
            if (node is not JsonObject obj || !obj.TryGetPropertyValue(key, out node))
                return null;
        }

        return node;
    }

    /// <summary>The string under a path, or empty.</summary>
    public static string Text(this JsonNode? node, params ReadOnlySpan<string> path)
        => node.At(path) is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";

    /// <summary>The whole number under a path, or <paramref name="absent"/>.</summary>
    public static long Number(this JsonNode? node, long absent, params ReadOnlySpan<string> path)
        => node.At(path).TryWhole(out var number) ? number : absent;

    /// <summary>Reads a whole number however the value was made, <c>1.0</c> and <c>1e3</c> too. (A <see cref="JsonValue"/> made from an
    /// <c>int</c> does not answer as <c>long</c>.)</summary>
    public static bool TryWhole(this JsonNode? node, out long number)
    {
        number = 0;
        if (node is not JsonValue value || value.GetValueKind() != System.Text.Json.JsonValueKind.Number)
            return false;
        if (value.TryGetValue(out number))
            return true;
        if (!value.TryNumber(out var wide) || wide != Math.Floor(wide) || Math.Abs(wide) >= 9.2e18)
            return false;
        number = (long)wide;
        return true;
    }

    /// <summary>The value as a number of any width.</summary>
    public static bool TryNumber(this JsonValue value, out double number)
    {
        number = 0;
        return value.GetValueKind() == System.Text.Json.JsonValueKind.Number
            && (value.TryGetValue(out number) || double.TryParse(value.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out number));
    }

    /// <summary>The truth value under a path, or <paramref name="absent"/>.</summary>
    public static bool Flag(this JsonNode? node, bool absent, params ReadOnlySpan<string> path)
        => node.At(path) is JsonValue value && value.TryGetValue<bool>(out var flag) ? flag : absent;

    /// <summary>The object elements of the array under a path; empty when absent.</summary>
    public static IEnumerable<JsonObject> Items(this JsonNode? node, params ReadOnlySpan<string> path)
        => node.At(path) is JsonArray array ? array.OfType<JsonObject>() : [];

    /// <summary>The string elements of the array under a path; empty when absent.</summary>
    public static IEnumerable<string> Texts(this JsonNode? node, params ReadOnlySpan<string> path)
        => node.At(path) is JsonArray array ? array.Select(item => item is JsonValue value && value.TryGetValue<string>(out var text) ? text : "") : [];

    /// <summary>The string-to-string map under a path; empty when absent.</summary>
    public static IEnumerable<KeyValuePair<string, string>> Map(this JsonNode? node, params ReadOnlySpan<string> path)
        => node.At(path) is JsonObject map
            ? map.Where(pair => pair.Value is JsonValue).Select(pair => KeyValuePair.Create(pair.Key, pair.Value!.GetValueKind() == System.Text.Json.JsonValueKind.String ? pair.Value.GetValue<string>() : pair.Value.ToJsonString()))
            : [];

    /// <summary>apiVersion, kind, and metadata's name, namespace, uid and resourceVersion: the identity of an object and nothing else.</summary>
    public static JsonObject Identity(string apiVersion, string kind, string @namespace, string name, string uid, string resourceVersion)
    {
        var metadata = new JsonObject { ["name"] = name, ["uid"] = uid, ["resourceVersion"] = resourceVersion };
        if (@namespace.Length > 0)
            metadata["namespace"] = @namespace;
        return new JsonObject { ["apiVersion"] = apiVersion, ["kind"] = kind, ["metadata"] = metadata };
    }

    /// <summary>The object without <c>metadata.managedFields</c>: itself where it has none, else a copy.</summary>
    public static JsonObject WithoutManagedFields(JsonObject obj)
    {
        if (obj.At("metadata", "managedFields") is null)
            return obj;
        var copy = obj.DeepClone().AsObject();
        copy.Child("metadata").Remove("managedFields");
        return copy;
    }

    /// <summary>The object under <paramref name="key"/>, made when absent or not an object.</summary>
    public static JsonObject Child(this JsonObject obj, string key)
    {
        if (obj[key] is not JsonObject child)
            obj[key] = child = [];
        return child;
    }

    /// <summary>RFC 3339 in UTC with whole seconds, as Kubernetes' metav1.Time.</summary>
    public static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    /// <summary>RFC 3339 in UTC with microseconds, as Kubernetes' metav1.MicroTime (leases).</summary>
    public static string MicroTime(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);
}
