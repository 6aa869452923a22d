using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Patching.Apply;

/// <summary>Server-side apply (<c>application/apply-patch+yaml</c>): the applied configuration is merged into the live object, fields that the
/// manager applied before and no longer does are removed where nobody else owns them, and a field that another manager owns with another value is
/// a conflict. The rules of sigs.k8s.io/structured-merge-diff. Pure.</summary>
internal static class ServerSideApply
{
    /// <param name="resource">What is applied to.</param>
    /// <param name="live">The stored object; null makes a new one.</param>
    /// <param name="config">What the manager wants; not changed.</param>
    /// <param name="manager">Who.</param>
    /// <param name="subresource">Empty, or <c>status</c>.</param>
    /// <param name="force">Take conflicting fields over.</param>
    /// <param name="now">The clock.</param>
    /// <returns>The wanted object with its managedFields, before defaults.</returns>
    /// <exception cref="ApiException">409 with Kubernetes' causes.</exception>
    public static JsonObject Apply(ServedResource resource, JsonObject? live, JsonObject config, string manager, string subresource, bool force, DateTimeOffset now)
    {
        config = (JsonObject)config.DeepClone();
        if (FieldTable.Of(resource.Kind) is { } type)
        {
            FieldTable.DropNulls(type, config);
            if (FieldTable.Unknown(type, config) is { Count: > 0 } unknown)
                throw ApiException.BadRequest($"failed to create typed patch object ({config.Namespace()}/{config.Name()}; {resource.Kind.ApiVersion}, Kind={resource.Kind.Kind}): .{unknown[0]}: field not declared in schema");
        }

        var schema = MergeSchema.Of(resource);
        var wanted = ManagedFields.Owned(resource, config, subresource);
        var entries = live is null ? [] : ManagedFields.Read(resource, live);
        var mine = entries.Find(entry => entry.Manager == manager && entry.Operation == "Apply" && entry.Subresource == subresource);
        var others = entries.Where(entry => entry != mine).ToList();
        if (live is not null)
            Settle(resource, live, wanted, others, manager, force);

        var next = (JsonObject)Merge(live, config, schema)!;
        if (mine is not null)
            Remove(next, schema, mine.Paths.Where(path => !wanted.ContainsKey(path) && !others.Exists(entry => entry.Paths.Contains(path))), [.. wanted.Keys, .. others.SelectMany(entry => entry.Paths)]);
        if (manager == LastApplied.SyncedManager && live is not null)
            LastApplied.Sync(next, live, config);
        var same = mine is not null && mine.ApiVersion == resource.Kind.ApiVersion && mine.Paths.SetEquals(wanted.Keys);
        var entry = new ManagedEntry(manager, "Apply", resource.Kind.ApiVersion, subresource, same ? mine!.Time : KubeObject.Time(now), [.. wanted.Keys]);
        var at = mine is null ? entries.Count : entries.IndexOf(mine);
        entries.Remove(mine!);
        entries.Insert(at, entry);
        next.Child("metadata")["managedFields"] = ManagedFields.Write(entries);
        return next;
    }

    private static void Settle(ServedResource resource, JsonObject live, Dictionary<string, JsonNode?> wanted, List<ManagedEntry> others, string manager, bool force)
    {
        var current = ManagedFields.Owned(resource, live, null);
        var conflicts = others
            .Select(entry => (Entry: entry, Paths: entry.Paths.Where(path => wanted.TryGetValue(path, out var value) && current.TryGetValue(path, out var has) && !JsonNode.DeepEquals(has, value)).Order(StringComparer.Ordinal).ToList()))
            .Where(conflict => conflict.Paths.Count > 0).ToList();
        if (conflicts.Count == 0)
            return;
        if (!force && manager == LastApplied.SyncedManager && LastApplied.Fields(resource, live) is { } applied)
        {
            // What kubectl apply put there, and is so still, kubectl apply --server-side may change.
            bool IsOwn(string path) => applied.TryGetValue(path, out var value) && JsonNode.DeepEquals(value, current[path]);
            force = conflicts.TrueForAll(conflict => conflict.Paths.TrueForAll(IsOwn));
            if (!force)
            {
                foreach (var (_, paths) in conflicts)
                    paths.RemoveAll(IsOwn);
                conflicts.RemoveAll(conflict => conflict.Paths.Count == 0);
            }
        }

        if (force)
        {
            foreach (var (entry, paths) in conflicts)
                entry.Paths.ExceptWith(paths);
            return;
        }

        var count = conflicts.Sum(conflict => conflict.Paths.Count);
        var text = count == 1
            ? $"conflict with {conflicts[0].Entry}: {FieldPaths.Show(conflicts[0].Paths[0])}"
            : string.Join("\n", conflicts.OrderBy(conflict => conflict.Entry.ToString(), StringComparer.Ordinal)
                .SelectMany(conflict => (IEnumerable<string>)[$"conflict{(conflict.Paths.Count == 1 ? "" : "s")} with {conflict.Entry}:", .. conflict.Paths.Select(path => $"- {FieldPaths.Show(path)}")]));
        var causes = conflicts.SelectMany(conflict => conflict.Paths.Select(path => (JsonNode)new JsonObject
        {
            ["reason"] = "FieldManagerConflict", ["message"] = $"conflict with {conflict.Entry}", ["field"] = FieldPaths.Show(path),
        }));
        throw new ApiException(409, "Conflict", $"Apply failed with {count} conflict{(count == 1 ? "" : "s")}: {text}", new JsonObject { ["causes"] = new JsonArray([.. causes]) });
    }

    private static JsonNode? Merge(JsonNode? live, JsonNode? config, MergeSchema schema)
    {
        switch (schema.FormOf(config))
        {
            case MergeForm.Object:
                var merged = live is JsonObject existing ? (JsonObject)existing.DeepClone() : [];
                foreach (var (key, value) in config!.AsObject())
                    merged[key] = Merge(merged[key], value, schema.Member(key));
                return merged;
            case MergeForm.ListMap:
                var items = (live as JsonArray ?? []).OfType<JsonObject>().Select(item => (JsonObject)item.DeepClone()).ToList();
                foreach (var item in config!.AsArray().OfType<JsonObject>())
                {
                    var key = schema.KeyOf(item);
                    var index = items.FindIndex(candidate => schema.KeyOf(candidate) == key);
                    if (index < 0)
                        items.Add((JsonObject)item.DeepClone());
                    else
                        items[index] = (JsonObject)Merge(items[index], item, schema.Items)!;
                }

                return new JsonArray([.. items]);
            case MergeForm.ListSet:
                var set = (live as JsonArray ?? []).Select(item => item?.DeepClone()).ToList();
                foreach (var item in config!.AsArray().Where(item => !set.Exists(known => JsonNode.DeepEquals(known, item))).ToList())
                    set.Add(item?.DeepClone());
                return new JsonArray([.. set]);
            default:
                return config?.DeepClone();
        }
    }

    /// <summary>Removes the paths, elements before their members; what <paramref name="kept"/> needs stays.</summary>
    private static void Remove(JsonObject obj, MergeSchema schema, IEnumerable<string> paths, HashSet<string> kept)
    {
        foreach (var path in paths.OrderBy(path => path.Length).ToList())
        {
            var parts = FieldPaths.Parts(path);
            if (parts[^1].StartsWith("k:", StringComparison.Ordinal) && kept.Any(other => FieldPaths.IsUnder(other, path)))
                continue;
            RemoveAt(obj, schema, parts, 0, "", kept);
        }
    }

    /// <returns>True when nothing is left of the node.</returns>
    private static bool RemoveAt(JsonNode node, MergeSchema schema, string[] parts, int index, string at, HashSet<string> kept)
    {
        var part = parts[index];
        var here = FieldPaths.Join(at, part);
        var isLast = index == parts.Length - 1;
        if (node is JsonObject obj && part.StartsWith("f:", StringComparison.Ordinal))
        {
            var name = part[2..];
            if (!obj.ContainsKey(name) || (isLast && index > 0 && IsKey(parts[index - 1], name)))
                return false;
            if (isLast || (obj[name] is { } child && RemoveAt(child, schema.Member(name), parts, index + 1, here, kept)))
                obj.Remove(name);
            return obj.Count == 0 && at.Length > 0 && !kept.Contains(at);
        }

        if (node is not JsonArray array)
            return false;
        for (var i = array.Count - 1; i >= 0; i--)
        {
            var matches = part.StartsWith("v:", StringComparison.Ordinal) ? part[2..] == (array[i]?.ToJsonString() ?? "null") : array[i] is JsonObject item && schema.Keys.Count > 0 && schema.KeyOf(item) == part;
            if (!matches)
                continue;
            if (isLast)
                array.RemoveAt(i);
            else
                RemoveAt(array[i]!, schema.Items, parts, index + 1, here, kept);
        }

        return array.Count == 0 && !kept.Contains(at);
    }

    // An element without its key fields would be no element of its list.
    private static bool IsKey(string part, string name) => part.StartsWith("k:", StringComparison.Ordinal) && JsonNode.Parse(part[2..]) is JsonObject key && key.ContainsKey(name);
}
