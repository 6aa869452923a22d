using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Patching;

/// <summary>Kubernetes' strategic merge patch for the built-in kinds: lists merge by the key that their type declares.</summary>
internal static class StrategicMergePatch
{
    private const string Directive = "$patch";
    private const string RetainKeys = "$retainKeys";
    private const string OrderPrefix = "$setElementOrder/";
    private const string DeletePrefix = "$deleteFromPrimitiveList/";

    /// <summary>The patched object as a tree of its own; neither argument is changed or shared. Throws <see cref="PatchException"/>
    /// for a directive that makes no sense, for a list element without its merge key and for kinds that are not built in.</summary>
    public static JsonObject Apply(ResourceKind kind, JsonObject original, JsonObject patch)
    {
        var type = FieldTable.Of(kind)
            ?? throw new PatchException($"{kind.Kind} is a custom resource: use a merge patch or a JSON patch instead of a strategic merge patch");
        return MergeObject((JsonObject)original.DeepClone(), patch, type, "");
    }

    /// <summary>Merges into <paramref name="original"/>, which the caller owns and which has no parent.</summary>
    private static JsonObject MergeObject(JsonObject original, JsonObject patch, FieldSet? type, string at)
    {
        if (patch.TryGetPropertyValue(Directive, out var directive))
        {
            switch (directive is JsonValue value && value.TryGetValue<string>(out var text) ? text : "")
            {
                case "replace":
                    return Clean(patch);
                case "delete":
                    return [];
                case "merge":
                    break;
                default:
                    throw new PatchException($"{Path(at, Directive)}: unknown directive {directive?.ToJsonString() ?? "null"}; use replace, merge or delete");
            }
        }

        Retain(original, patch, at);
        foreach (var (key, change) in patch)
        {
            if (key is Directive or RetainKeys)
                continue;
            if (key.StartsWith(OrderPrefix, StringComparison.Ordinal) || key.StartsWith(DeletePrefix, StringComparison.Ordinal))
            {
                MergeByDirectiveAlone(original, patch, key, type, at);
                continue;
            }

            var field = type?.Fields.GetValueOrDefault(key);
            var path = Path(at, key);
            switch (change)
            {
                case null:
                    original.Remove(key);
                    break;
                case JsonObject changes:
                    original[key] = field?.Shape == FieldShape.Map
                        ? MergeMap(Take(original, key) as JsonObject ?? [], changes, FieldTable.TypeOf(field), path)
                        : MergeObject(Take(original, key) as JsonObject ?? [], changes, FieldTable.TypeOf(field), path);
                    break;
                case JsonArray items when field?.MergeKey is not null:
                    original[key] = MergeList(Take(original, key) as JsonArray ?? [], items, field, patch[OrderPrefix + key], patch[DeletePrefix + key], path);
                    break;
                default:
                    original[key] = change.DeepClone();
                    break;
            }
        }

        return original;
    }

    /// <summary>A map's values have the field's type; its keys are data, but directives count here too.</summary>
    private static JsonObject MergeMap(JsonObject original, JsonObject patch, FieldSet? valueType, string at)
    {
        if (valueType is null || patch.ContainsKey(Directive))
            return MergeObject(original, patch, null, at);
        foreach (var (key, change) in patch)
        {
            if (change is null)
                original.Remove(key);
            else
                original[key] = change is JsonObject changes ? MergeObject(Take(original, key) as JsonObject ?? [], changes, valueType, Path(at, key)) : change.DeepClone();
        }

        return original;
    }

    /// <summary>Order and deletion directives may come without the list itself.</summary>
    private static void MergeByDirectiveAlone(JsonObject original, JsonObject patch, string directive, FieldSet? type, string at)
    {
        var key = directive[(directive.IndexOf('/', StringComparison.Ordinal) + 1)..];
        if (patch.ContainsKey(key) || original[key] is not JsonArray)
            return;
        if (type?.Fields.GetValueOrDefault(key) is not { MergeKey: not null } field)
            throw new PatchException($"{Path(at, directive)}: the list {key} is not merged, so this directive does not apply");
        // Both directives of one list are handled at the first of them; the second then changes nothing.
        original[key] = MergeList((JsonArray)Take(original, key)!, [], field, patch[OrderPrefix + key], patch[DeletePrefix + key], Path(at, key));
    }

    private static void Retain(JsonObject original, JsonObject patch, string at)
    {
        if (!patch.TryGetPropertyValue(RetainKeys, out var node))
            return;
        if (node is not JsonArray array)
            throw new PatchException($"{Path(at, RetainKeys)} must be a list of field names");
        var keep = array.Select(item => item is JsonValue value && value.TryGetValue<string>(out var text)
            ? text
            : throw new PatchException($"{Path(at, RetainKeys)} must be a list of field names")).ToHashSet();
        foreach (var (key, change) in patch)
        {
            if (change is not null && !key.StartsWith('$') && !keep.Contains(key))
                throw new PatchException($"{Path(at, RetainKeys)} does not name {key}, which the patch sets");
        }

        foreach (var key in original.Select(pair => pair.Key).Where(key => !keep.Contains(key)).ToList())
            original.Remove(key);
    }

    private static JsonArray MergeList(JsonArray original, JsonArray patch, Field field, JsonNode? order, JsonNode? deletions, string at)
    {
        var isSet = field.MergeKey == "+";
        var inner = FieldTable.TypeOf(field);
        var items = original.ToList();
        original.Clear();
        var serverOrder = items.ConvertAll(item => Identity(item, field, at));
        if (deletions is not null)
        {
            var gone = AsList(deletions, DeletePrefix, at).Select(item => Identity(item, field, at)).ToHashSet();
            items.RemoveAll(item => gone.Contains(Identity(item, field, at)));
        }

        var changes = patch.ToList();
        if (!isSet)
            changes = Special(items, changes, field, at);
        foreach (var change in changes)
        {
            var id = Identity(change, field, at);
            var index = items.FindIndex(item => Identity(item, field, at) == id);
            if (index < 0)
                items.Add(change is JsonObject fresh ? MergeObject([], fresh, inner, at) : change?.DeepClone());
            else if (items[index] is JsonObject existing && change is JsonObject merged)
                items[index] = MergeObject(existing, merged, inner, at);
        }

        if (order is not null)
            items = InOrder(items, AsList(order, OrderPrefix, at).Select(item => Identity(item, field, at)).ToList(), serverOrder, field, at);
        return new JsonArray([.. items]);
    }

    /// <summary>Elements that carry a <c>$patch</c>: one with replace empties the list, one with delete removes its match.</summary>
    private static List<JsonNode?> Special(List<JsonNode?> items, List<JsonNode?> changes, Field field, string at)
    {
        var plain = new List<JsonNode?>();
        var replace = false;
        foreach (var change in changes)
        {
            if (change is not JsonObject obj || !obj.TryGetPropertyValue(Directive, out var directive))
            {
                plain.Add(change);
                continue;
            }

            switch (directive is JsonValue value && value.TryGetValue<string>(out var text) ? text : "")
            {
                case "delete":
                    var id = Identity(change, field, at);
                    items.RemoveAll(item => Identity(item, field, at) == id);
                    break;
                case "replace":
                    replace = true;
                    if (obj.Count > 1)
                        plain.Add(Clean(obj));
                    break;
                case "merge":
                    plain.Add(change);
                    break;
                default:
                    throw new PatchException($"{at}: unknown directive {directive?.ToJsonString() ?? "null"}; use replace, merge or delete");
            }
        }

        if (replace)
            items.Clear();
        return plain;
    }

    /// <summary>Elements that the patch orders come in its order; those only the server has keep their place before the first ordered
    /// element that they preceded.</summary>
    private static List<JsonNode?> InOrder(List<JsonNode?> items, List<string> order, List<string> serverOrder, Field field, string at)
    {
        var ordered = items.Where(item => order.Contains(Identity(item, field, at))).OrderBy(item => order.IndexOf(Identity(item, field, at))).ToList();
        var others = items.Where(item => !order.Contains(Identity(item, field, at))).ToList();
        var result = new List<JsonNode?>(items.Count);
        for (int i = 0, j = 0; i < others.Count || j < ordered.Count;)
        {
            if (j == ordered.Count || (i < others.Count && Precedes(others[i], ordered[j])))
                result.Add(others[i++]);
            else
                result.Add(ordered[j++]);
        }

        return result;

        bool Precedes(JsonNode? left, JsonNode? right)
        {
            var l = serverOrder.IndexOf(Identity(left, field, at));
            var r = serverOrder.IndexOf(Identity(right, field, at));
            return l >= 0 && r >= 0 && l < r;
        }
    }

    private static string Identity(JsonNode? item, Field field, string at)
    {
        if (field.MergeKey == "+")
            return item?.ToJsonString() ?? "null";
        if (item is JsonObject obj && obj[field.MergeKey!] is { } key)
            return key.ToJsonString();
        throw new PatchException($"{at}: an element has no {field.MergeKey}, by which this list merges");
    }

    private static JsonArray AsList(JsonNode node, string directive, string at)
        => node as JsonArray ?? throw new PatchException($"{directive} of {at} must be a list");

    /// <summary>A copy without directives and nulls.</summary>
    private static JsonObject Clean(JsonObject patch)
    {
        var copy = new JsonObject();
        foreach (var (key, value) in patch)
        {
            if (value is not null && key is not (Directive or RetainKeys) && !key.StartsWith(OrderPrefix, StringComparison.Ordinal) && !key.StartsWith(DeletePrefix, StringComparison.Ordinal))
                copy[key] = value is JsonObject obj ? Clean(obj) : value.DeepClone();
        }

        return copy;
    }

    /// <summary>The member, taken out of its parent.</summary>
    private static JsonNode? Take(JsonObject obj, string key)
    {
        var value = obj[key];
        obj.Remove(key);
        return value;
    }

    private static string Path(string at, string key) => at.Length == 0 ? key : $"{at}.{key}";
}
