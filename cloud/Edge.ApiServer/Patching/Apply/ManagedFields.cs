using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Patching.Apply;

/// <summary>Whose fields are whose: <c>metadata.managedFields</c>. An object gets them with its first server-side apply and is tracked from then
/// on; what was there before belongs to <c>before-first-apply</c>, as in Kubernetes for objects without them. Pure.</summary>
internal static class ManagedFields
{
    private const string BeforeFirstApply = "before-first-apply";

    // As k8s.io/apimachinery/pkg/util/managedfields strips them: nobody's fields.
    private static readonly HashSet<string> s_nobodys =
    [
        "f:apiVersion", "f:kind", "f:metadata", "f:metadata\nf:name", "f:metadata\nf:namespace", "f:metadata\nf:creationTimestamp", "f:metadata\nf:selfLink", "f:metadata\nf:uid",
        "f:metadata\nf:generation", "f:metadata\nf:resourceVersion", "f:metadata\nf:deletionTimestamp", "f:metadata\nf:deletionGracePeriodSeconds",
    ];

    public static JsonArray? Of(JsonObject obj) => obj.At("metadata", "managedFields") as JsonArray;

    /// <summary>The paths of an object that somebody can own through the (sub)resource, with their values.</summary>
    public static Dictionary<string, JsonNode?> Owned(ServedResource resource, JsonObject obj, string? subresource)
    {
        var paths = FieldPaths.Of(obj, MergeSchema.Of(resource));
        foreach (var path in paths.Keys.Where(path => s_nobodys.Contains(path) || path == "f:metadata\nf:managedFields" || FieldPaths.IsUnder(path, "f:metadata\nf:managedFields")).ToList())
            paths.Remove(path);
        if (subresource is null || !resource.HasStatus)
            return paths;
        foreach (var path in paths.Keys.Where(path => (path == "f:status" || FieldPaths.IsUnder(path, "f:status")) != (subresource == "status")).ToList())
            paths.Remove(path);
        return paths;
    }

    /// <summary>The entries of the stored object; for one without any, what it holds belongs to <c>before-first-apply</c>.</summary>
    public static List<ManagedEntry> Read(ServedResource resource, JsonObject live)
    {
        var entries = (Of(live) ?? []).OfType<JsonObject>().Select(ManagedEntry.Read).ToList();
        if (entries.Count == 0 && Owned(resource, live, null) is { Count: > 0 } owned)
            entries.Add(new ManagedEntry(BeforeFirstApply, "Update", live.ApiVersion(), "", live.Text("metadata", "creationTimestamp"), [.. owned.Keys]));
        return entries;
    }

    public static JsonArray Write(IEnumerable<ManagedEntry> entries) => new([.. entries.Where(entry => entry.Paths.Count > 0).Select(entry => entry.ToJson())]);

    /// <summary>A write other than an apply: what it changed is the writer's, and no other's any longer; what it removed is nobody's.</summary>
    public static JsonArray? AfterUpdate(ServedResource resource, JsonObject old, JsonObject next, string subresource, string manager, DateTimeOffset now)
    {
        if (Of(old) is not { Count: > 0 } known)
            return null; // never applied: not tracked
        var (before, after) = (Owned(resource, old, null), Owned(resource, next, null));
        var changed = after.Where(pair => !before.TryGetValue(pair.Key, out var value) || !JsonNode.DeepEquals(value, pair.Value)).Select(pair => pair.Key).ToHashSet(StringComparer.Ordinal);
        var gone = before.Keys.Where(path => !after.ContainsKey(path)).ToList();
        if (changed.Count == 0 && gone.Count == 0)
            return (JsonArray)known.DeepClone();
        var entries = Read(resource, old);
        var mine = entries.Find(entry => entry.Manager == manager && entry.Operation == "Update" && entry.Subresource == subresource && entry.ApiVersion == resource.Kind.ApiVersion);
        if (mine is null)
            entries.Add(mine = new ManagedEntry(manager, "Update", resource.Kind.ApiVersion, subresource, "", []));
        foreach (var entry in entries)
        {
            entry.Paths.ExceptWith(gone);
            if (entry != mine)
                entry.Paths.ExceptWith(changed);
        }

        if (changed.Count > 0)
        {
            mine.Paths.UnionWith(changed);
            mine.Time = KubeObject.Time(now);
        }

        return Write(entries);
    }
}

/// <summary>One entry of managedFields.</summary>
internal sealed class ManagedEntry(string manager, string operation, string apiVersion, string subresource, string time, HashSet<string> paths)
{
    public string Manager { get; } = manager;

    /// <summary>Apply or Update.</summary>
    public string Operation { get; } = operation;

    public string ApiVersion { get; } = apiVersion;

    public string Subresource { get; } = subresource;

    public string Time { get; set; } = time;

    public HashSet<string> Paths { get; } = paths;

    public static ManagedEntry Read(JsonObject entry)
        => new(entry.Text("manager"), entry.Text("operation"), entry.Text("apiVersion"), entry.Text("subresource"), entry.Text("time"), FieldPaths.FromFields(entry["fieldsV1"]));

    public JsonObject ToJson()
    {
        var json = new JsonObject { ["manager"] = Manager, ["operation"] = Operation, ["apiVersion"] = ApiVersion };
        if (Time.Length > 0)
            json["time"] = Time;
        json["fieldsType"] = "FieldsV1";
        json["fieldsV1"] = FieldPaths.ToFields(Paths);
        if (Subresource.Length > 0)
            json["subresource"] = Subresource;
        return json;
    }

    /// <summary>As conflicts name it.</summary>
    public override string ToString()
        => Operation == "Apply" ? $"\"{Manager}\"" : $"\"{Manager}\"{(Subresource.Length > 0 ? $" with subresource \"{Subresource}\"" : "")} using {ApiVersion}";
}
