using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>What may change in the spec of a stored pod: images, tolerations that are added, scheduling gates that go, a shorter activeDeadlineSeconds.</summary>
internal static class PodUpdateRules
{
    private const string OnlyThese = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        + "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

    public static void Check(JsonObject pod, JsonObject old, List<FieldError> errors)
    {
        if (pod["spec"] is not JsonObject spec || old["spec"] is not JsonObject before)
            return;
        foreach (var list in (string[])["containers", "initContainers"])
        {
            if (spec.Items(list).Count() != before.Items(list).Count())
            {
                errors.Add(Errors.Forbidden($"spec.{list}", "pod updates may not add or remove containers"));
                return;
            }
        }

        CheckTolerations(spec, before, errors);
        CheckDeadline(spec, before, errors);
        foreach (var gate in spec.Items("schedulingGates").Select(gate => gate.Text("name")).Except(before.Items("schedulingGates").Select(gate => gate.Text("name")), StringComparer.Ordinal))
            errors.Add(Errors.Forbidden("spec.schedulingGates", $"only deletion is allowed, but found new scheduling gate '{gate}'"));
        // What may change is made equal; then any difference left is forbidden.
        var left = (JsonObject)spec.DeepClone();
        foreach (var key in (string[])["tolerations", "activeDeadlineSeconds", "schedulingGates"])
            Copy(before, left, key);
        if (before.Number(0, "terminationGracePeriodSeconds") < 0 && left.Number(0, "terminationGracePeriodSeconds") == 1)
            Copy(before, left, "terminationGracePeriodSeconds");
        foreach (var list in (string[])["containers", "initContainers"])
        {
            foreach (var (now, then) in left.Items(list).Zip(before.Items(list)))
                Copy(then, now, "image");
        }

        if (JsonNode.DeepEquals(left, before))
            return;
        var changed = left.Select(pair => pair.Key).Union(before.Select(pair => pair.Key)).Where(key => !JsonNode.DeepEquals(left[key], before[key])).Order(StringComparer.Ordinal);
        errors.Add(Errors.Forbidden("spec", $"{OnlyThese}\nchanged: {string.Join(", ", changed.Select(key => $"spec.{key}"))}"));
    }

    private static void CheckTolerations(JsonObject spec, JsonObject before, List<FieldError> errors)
    {
        var now = spec.Items("tolerations").ToList();
        foreach (var toleration in before.Items("tolerations"))
        {
            // A NoExecute toleration may get another time.
            if (now.Any(candidate => JsonNode.DeepEquals(Timeless(candidate), Timeless(toleration))))
                continue;
            errors.Add(Errors.Forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"));
            return;
        }
    }

    private static JsonObject Timeless(JsonObject toleration)
    {
        var copy = (JsonObject)toleration.DeepClone();
        copy.Remove("tolerationSeconds");
        return copy;
    }

    private static void CheckDeadline(JsonObject spec, JsonObject before, List<FieldError> errors)
    {
        if (JsonNode.DeepEquals(spec["activeDeadlineSeconds"], before["activeDeadlineSeconds"]) || before["activeDeadlineSeconds"] is null)
            return;
        if (spec["activeDeadlineSeconds"] is null)
            errors.Add(Errors.Invalid("spec.activeDeadlineSeconds", (JsonNode?)null, "must not update from a positive integer to nil value"));
        else if (spec.Number(0, "activeDeadlineSeconds") > before.Number(0, "activeDeadlineSeconds"))
            errors.Add(Errors.Invalid("spec.activeDeadlineSeconds", spec["activeDeadlineSeconds"], "must be less than or equal to previous value"));
    }

    private static void Copy(JsonObject from, JsonObject to, string key)
    {
        if (from.ContainsKey(key))
            to[key] = from[key]?.DeepClone();
        else
            to.Remove(key);
    }
}
