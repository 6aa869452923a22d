using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of PersistentVolumeClaims and of the templates of ephemeral volumes.</summary>
internal static class ClaimRules
{
    public static void Default(JsonObject claim)
    {
        if (claim["spec"] is JsonObject spec)
            DefaultSpec(spec);
        BuiltinObjects.Set(claim.Child("status"), "phase", "Pending");
    }

    public static void DefaultSpec(JsonObject spec) => BuiltinObjects.Set(spec, "volumeMode", "Filesystem");

    public static void Check(JsonObject claim, JsonObject? old, List<FieldError> errors)
    {
        var spec = claim["spec"] as JsonObject ?? [];
        CheckSpec(spec, "spec", errors);
        if (old?["spec"] is JsonObject before)
            CheckUpdate(claim, spec, old, before, errors);
    }

    public static void CheckSpec(JsonObject spec, string at, List<FieldError> errors)
    {
        VolumeRules.CheckModes(spec, at, "at least 1 access mode is required", errors);
        if (spec["selector"] is JsonObject selector)
            SelectorRules.CheckLabels(selector, $"{at}.selector", errors);
        if (spec.At("resources", "requests", "storage") is { } asked)
            VolumeRules.CheckPositive(asked, $"{at}.resources[storage]", errors);
        else
            errors.Add(Errors.Required($"{at}.resources[storage]"));
        VolumeRules.CheckClassAndMode(spec, at, errors);
    }

    private static void CheckUpdate(JsonObject claim, JsonObject spec, JsonObject old, JsonObject before, List<FieldError> errors)
    {
        // What may change is made equal; then any difference left is forbidden.
        var left = (JsonObject)spec.DeepClone();
        if (before.Text("volumeName").Length == 0)
            Copy(before, left, "volumeName"); // the binder's to set, or the user's, once
        if (before["storageClassName"] is null)
            left.Remove("storageClassName"); // the default class, come later
        Copy(before, left, "volumeAttributesClassName");
        var (asked, had) = (Storage(spec, "resources", "requests"), Storage(before, "resources", "requests"));
        if (left.At("resources", "requests") is JsonObject requests && (asked == had || claim.Text("status", "phase") == "Bound"))
            requests["storage"] = before.At("resources", "requests", "storage")?.DeepClone();
        if (!JsonNode.DeepEquals(left, before))
        {
            var changed = left.Select(pair => pair.Key).Union(before.Select(pair => pair.Key)).Where(key => !JsonNode.DeepEquals(left[key], before[key])).Order(StringComparer.Ordinal);
            errors.Add(Errors.Forbidden("spec", $"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\nchanged: {string.Join(", ", changed.Select(key => $"spec.{key}"))}"));
        }

        if (asked < had && asked <= Storage(old, "status", "capacity"))
            errors.Add(Errors.Forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"));
        if (spec.Text("volumeMode") != before.Text("volumeMode"))
            errors.Add(Errors.Invalid("volumeMode", spec["volumeMode"], "field is immutable"));
    }

    private static decimal Storage(JsonObject obj, string parent, string child) => Quantity.TryParse(obj.At(parent, child, "storage"), out var value) ? value : 0;

    private static void Copy(JsonObject from, JsonObject to, string key)
    {
        if (from.ContainsKey(key))
            to[key] = from[key]?.DeepClone();
        else
            to.Remove(key);
    }
}
