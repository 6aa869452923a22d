using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of a pod's affinity, topologySpreadConstraints and schedulingGates.</summary>
internal static class PlacementRules
{
    private const string Required = "requiredDuringSchedulingIgnoredDuringExecution";
    private const string Preferred = "preferredDuringSchedulingIgnoredDuringExecution";

    public static void Check(JsonObject spec, List<FieldError> errors)
    {
        if (spec["affinity"] is JsonObject affinity)
        {
            CheckNodeAffinity(affinity["nodeAffinity"], "spec.affinity.nodeAffinity", errors);
            foreach (var kind in (string[])["podAffinity", "podAntiAffinity"])
                CheckPodAffinity(affinity[kind], $"spec.affinity.{kind}", errors);
        }

        CheckSpread(spec, errors);
        var gates = new HashSet<string>();
        var i = 0;
        foreach (var gate in spec.Items("schedulingGates"))
        {
            var at = $"spec.schedulingGates[{i++}]";
            var name = gate.Text("name");
            if (Names.Qualified(name) is { } fault)
                errors.Add(Errors.Invalid(at, name, fault));
            else if (!gates.Add(name))
                errors.Add(Errors.Duplicate(at, name));
        }
    }

    private static void CheckNodeAffinity(JsonNode? affinity, string at, List<FieldError> errors)
    {
        if (affinity.At(Required) is JsonObject required)
            SelectorRules.CheckNodes(required, $"{at}.{Required}", errors);
        var i = 0;
        foreach (var preferred in affinity.Items(Preferred))
        {
            var termAt = $"{at}.{Preferred}[{i++}]";
            CheckWeight(preferred, termAt, errors);
            if (preferred["preference"] is JsonObject preference)
                SelectorRules.CheckNodes(new JsonObject { ["nodeSelectorTerms"] = new JsonArray(preference.DeepClone()) }, $"{termAt}.preference", errors);
            else
                errors.Add(Errors.Required($"{termAt}.preference"));
        }
    }

    private static void CheckPodAffinity(JsonNode? affinity, string at, List<FieldError> errors)
    {
        var i = 0;
        foreach (var term in affinity.Items(Required))
            CheckTerm(term, $"{at}.{Required}[{i++}]", errors);
        var j = 0;
        foreach (var preferred in affinity.Items(Preferred))
        {
            var termAt = $"{at}.{Preferred}[{j++}]";
            CheckWeight(preferred, termAt, errors);
            if (preferred["podAffinityTerm"] is JsonObject term)
                CheckTerm(term, $"{termAt}.podAffinityTerm", errors);
            else
                errors.Add(Errors.Required($"{termAt}.podAffinityTerm"));
        }
    }

    private static void CheckWeight(JsonObject preferred, string at, List<FieldError> errors)
    {
        if (preferred.Number(0, "weight") is < 1 or > 100)
            errors.Add(Errors.Invalid($"{at}.weight", preferred["weight"], "must be in the range 1-100"));
    }

    private static void CheckTerm(JsonObject term, string at, List<FieldError> errors)
    {
        foreach (var key in (string[])["labelSelector", "namespaceSelector"])
        {
            if (term[key] is JsonObject selector)
                SelectorRules.CheckLabels(selector, $"{at}.{key}", errors);
        }

        var i = 0;
        foreach (var name in term.Texts("namespaces"))
        {
            if (Names.DnsLabel(name) is { } fault)
                errors.Add(Errors.Invalid($"{at}.namespaces[{i}]", name, fault));
            i++;
        }

        CheckTopologyKey(term, at, errors);
        CheckKeys(term, "matchLabelKeys", at, errors);
        CheckKeys(term, "mismatchLabelKeys", at, errors);
        foreach (var key in term.Texts("matchLabelKeys").Intersect(term.Texts("mismatchLabelKeys"), StringComparer.Ordinal))
            errors.Add(Errors.Invalid($"{at}.matchLabelKeys", key, "exists in both matchLabelKeys and mismatchLabelKeys"));
    }

    private static void CheckTopologyKey(JsonObject obj, string at, List<FieldError> errors)
    {
        var key = obj.Text("topologyKey");
        if (key.Length == 0)
            errors.Add(Errors.Required($"{at}.topologyKey", "can not be empty"));
        else if (Names.Qualified(key) is { } fault)
            errors.Add(Errors.Invalid($"{at}.topologyKey", key, fault));
    }

    private static void CheckKeys(JsonObject obj, string field, string at, List<FieldError> errors)
    {
        var keys = obj.Texts(field).ToList();
        if (keys.Count == 0)
            return;
        if (obj["labelSelector"] is null)
            errors.Add(Errors.Forbidden($"{at}.{field}", "must not be specified when labelSelector is not set"));
        var selected = obj.Map("labelSelector", "matchLabels").Select(pair => pair.Key).Concat(obj.Items("labelSelector", "matchExpressions").Select(expression => expression.Text("key"))).ToHashSet(StringComparer.Ordinal);
        for (var i = 0; i < keys.Count; i++)
        {
            if (Names.Qualified(keys[i]) is { } fault)
                errors.Add(Errors.Invalid($"{at}.{field}[{i}]", keys[i], fault));
            else if (selected.Contains(keys[i]))
                errors.Add(Errors.Invalid($"{at}.{field}[{i}]", keys[i], $"exists in both {field} and labelSelector"));
        }
    }

    private static void CheckSpread(JsonObject spec, List<FieldError> errors)
    {
        var seen = new HashSet<(string, string)>();
        var i = 0;
        foreach (var constraint in spec.Items("topologySpreadConstraints"))
        {
            var at = $"spec.topologySpreadConstraints[{i++}]";
            if (constraint.Number(0, "maxSkew") <= 0)
                errors.Add(Errors.Invalid($"{at}.maxSkew", constraint["maxSkew"], "must be greater than zero"));
            CheckTopologyKey(constraint, at, errors);
            var when = constraint.Text("whenUnsatisfiable");
            if (when is not ("DoNotSchedule" or "ScheduleAnyway"))
                errors.Add(Errors.NotSupported($"{at}.whenUnsatisfiable", when, "DoNotSchedule", "ScheduleAnyway"));
            if (!seen.Add((constraint.Text("topologyKey"), when)))
                errors.Add(Errors.Duplicate($"{at}.{{topologyKey, whenUnsatisfiable}}", $"{{{constraint.Text("topologyKey")}, {when}}}"));
            if (constraint["minDomains"] is not null && constraint.Number(0, "minDomains") <= 0)
                errors.Add(Errors.Invalid($"{at}.minDomains", constraint["minDomains"], "must be greater than zero"));
            if (constraint["minDomains"] is not null && when != "DoNotSchedule")
                errors.Add(Errors.Invalid($"{at}.minDomains", constraint["minDomains"], $"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"));
            foreach (var policy in (string[])["nodeAffinityPolicy", "nodeTaintsPolicy"])
            {
                if (constraint[policy] is not null && constraint.Text(policy) is not ("Honor" or "Ignore"))
                    errors.Add(Errors.NotSupported($"{at}.{policy}", constraint.Text(policy), "Honor", "Ignore"));
            }

            if (constraint["labelSelector"] is JsonObject selector)
                SelectorRules.CheckLabels(selector, $"{at}.labelSelector", errors);
            CheckKeys(constraint, "matchLabelKeys", at, errors);
        }
    }
}
