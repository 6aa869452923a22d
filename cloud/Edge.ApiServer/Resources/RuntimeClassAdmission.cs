using System.Text.Json.Nodes;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Kubernetes' admission plug-in RuntimeClass: a new pod gets the overhead of its RuntimeClass, and may only go where the class says.</summary>
internal static class RuntimeClassAdmission
{
    /// <summary>Merges the class into a new pod; comes before the defaults. Fields of a wrong type are left for validation to name.</summary>
    /// <exception cref="ApiException">403, in Kubernetes' words.</exception>
    public static void OnCreate(ServedResource resource, JsonObject obj, ObjectStore store)
    {
        if (resource.Kind != ResourceKind.Pod || obj["spec"] is not JsonObject spec)
            return;
        var name = spec.Text("runtimeClassName");
        var runtimeClass = name.Length == 0 ? null
            : store.Get(BuiltinResources.RuntimeClasses.Id, "", name)?.Parse()
                ?? throw ApiException.Forbidden(resource, obj.Name(), $"pod rejected: RuntimeClass \"{name}\" not found");
        var asked = spec["overhead"] as JsonObject;
        if (runtimeClass.At("overhead") is JsonObject overhead)
        {
            var defined = overhead["podFixed"] as JsonObject ?? [];
            if (asked is { Count: > 0 } && !IsSame(asked, defined))
                throw ApiException.Forbidden(resource, obj.Name(), "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
            spec["overhead"] = defined.DeepClone();
        }
        else if (asked is { Count: > 0 })
        {
            throw ApiException.Forbidden(resource, obj.Name(), "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
        }

        if (runtimeClass.At("scheduling") is not JsonObject scheduling)
            return;
        if (scheduling["nodeSelector"] is JsonObject selector && spec["nodeSelector"] is null or JsonObject)
            MergeSelector(resource, obj.Name(), spec, selector);
        if (scheduling["tolerations"] is JsonArray && spec["tolerations"] is null or JsonArray)
            spec["tolerations"] = Merge([.. spec.Items("tolerations"), .. scheduling.Items("tolerations")]);
    }

    private static void MergeSelector(ServedResource resource, string pod, JsonObject spec, JsonObject selector)
    {
        var merged = spec["nodeSelector"] as JsonObject;
        if (merged is null)
            spec["nodeSelector"] = merged = [];
        foreach (var key in selector.Select(pair => pair.Key).Order(StringComparer.Ordinal))
        {
            var value = selector.Text(key);
            if (merged.ContainsKey(key) && merged.Text(key) != value)
                throw ApiException.Forbidden(
                    resource, pod, $"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {merged.Text(key)}");
            merged[key] = value;
        }
    }

    // Without those that another covers; of equal ones the first stays.
    private static JsonArray Merge(List<JsonObject> all)
    {
        var merged = new List<JsonObject>();
        for (var i = 0; i < all.Count; i++)
        {
            var one = all[i];
            if (!merged.Any(other => Covers(other, one)) && !all.Skip(i + 1).Any(other => !JsonNode.DeepEquals(other, one) && Covers(other, one)))
                merged.Add(one);
        }

        return [.. merged.Select(toleration => toleration.DeepClone())];
    }

    private static bool Covers(JsonObject wide, JsonObject narrow)
    {
        if (JsonNode.DeepEquals(wide, narrow))
            return true;
        var (op, effect) = (wide.Text("operator"), wide.Text("effect"));
        if ((wide.Text("key") != narrow.Text("key") && !(wide.Text("key").Length == 0 && op == "Exists")) || (effect.Length > 0 && effect != narrow.Text("effect")))
            return false;
        if (wide["tolerationSeconds"].TryWhole(out var seconds) && !(narrow["tolerationSeconds"].TryWhole(out var less) && less <= seconds))
            return false;
        return op == "Exists" || (narrow.Text("operator") is "" or "Equal" && wide.Text("value") == narrow.Text("value"));
    }

    private static bool IsSame(JsonObject one, JsonObject other)
        => one.Count == other.Count && one.All(pair => Quantity.TryParse(Plain(pair.Value), out var left) && Quantity.TryParse(Plain(other[pair.Key]), out var right) && left == right);

    private static string Plain(JsonNode? quantity) => quantity?.ToString() ?? "";
}
