using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Patching.Apply;

/// <summary>Whose fields are whose: <c>metadata.managedFields</c>. An object gets them with its first server-side apply and is tracked from then
/// on; what was there before belongs to <c>before-first-apply</c>, as in Kubernetes for objects without them, and to <c>kubectl-client-side-apply</c> what its annotation names. Pure.</summary>
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
        if (entries.Count > 0 || Owned(resource, live, null) is not { Count: > 0 } owned)
            return entries;
        var applied = LastApplied.Fields(resource, live);
        foreach (var (manager, paths) in owned.Keys.ToLookup(path => applied is not null && (applied.ContainsKey(path) || path == LastApplied.AnnotationPath) ? LastApplied.ClientSideManager : BeforeFirstApply).Select(own => (own.Key, own)))
            entries.Add(new ManagedEntry(manager, "Update", live.ApiVersion(), "", live.Text("metadata", "creationTimestamp"), [.. paths]));
        return entries;
    }

    /// <summary>The managedFields that a write goes by: those that it brings, which is how kubectl hands fields from one manager to another; else the stored ones. Null when the write takes them off
    /// (a list of one empty entry).</summary>
    public static JsonArray? Meant(JsonObject old, JsonArray? brought, string subresource)
    {
        if (subresource.Length > 0 || brought is not { Count: > 0 })
            return Of(old);
        if (brought is [JsonObject { Count: 0 }])
            return null;
        return brought.All(IsEntry) ? brought : Of(old);
    }

    private static bool IsEntry(JsonNode? node)
        => node is JsonObject entry && entry.Text("operation") is "Apply" or "Update" && entry.Text("fieldsType") == "FieldsV1" && entry.Text("apiVersion").Length > 0 && entry["fieldsV1"] is JsonObject;

    public static JsonArray Write(IEnumerable<ManagedEntry> entries) => new([.. entries.Where(entry => entry.Paths.Count > 0).Select(entry => entry.ToJson())]);

    /// <summary>A write other than an apply: what it changed is the writer's, and no other's any longer; what it removed is nobody's.</summary>
    /// <param name="known">What was known before it, see <see cref="Meant"/>.</param>
    public static JsonArray? AfterUpdate(ServedResource resource, JsonObject old, JsonObject next, JsonArray? known, string subresource, string manager, DateTimeOffset now)
    {
        if (known is not { Count: > 0 })
            return null; // never applied: not tracked
        var (before, after) = (Owned(resource, old, null), Owned(resource, next, null));
        var changed = after.Where(pair => !before.TryGetValue(pair.Key, out var value) || !JsonNode.DeepEquals(value, pair.Value)).Select(pair => pair.Key).ToHashSet(StringComparer.Ordinal);
        var gone = before.Keys.Where(path => !after.ContainsKey(path)).ToList();
        if (changed.Count == 0 && gone.Count == 0)
            return (JsonArray)known.DeepClone();
        var entries = known.OfType<JsonObject>().Select(ManagedEntry.Read).ToList();
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
