using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of ResourceQuota and LimitRange (k8s.io/kubernetes/pkg/apis/core/validation).</summary>
internal static class LimitRules
{
    private static readonly string[] s_scopes = ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"];

    private static readonly string[] s_standard =
    [
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.storage", "pods",
        "services", "services.nodeports", "services.loadbalancers", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    ];

    /// <summary>What a quota of the scope may limit besides pods: nothing for BestEffort, whose pods ask for nothing.</summary>
    private static readonly string[] s_compute = ["cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage"];

    public static void DefaultRange(JsonObject range)
    {
        foreach (var item in range.Items("spec", "limits").Where(item => item.Text("type") == "Container"))
        {
            Fill(item, "default", item.Map("max"));
            Fill(item, "defaultRequest", item.Map("default"));
            Fill(item, "defaultRequest", item.Map("min"));
        }
    }

    public static void CheckQuota(JsonObject quota, JsonObject? old, List<FieldError> errors)
    {
        if (quota.At("spec", "hard") is JsonObject hard)
        {
            foreach (var (key, value) in hard)
            {
                var at = $"spec.hard[{key}]";
                if (!s_standard.Contains(key) && (Names.Qualified(key) is not null || !key.Contains('/', StringComparison.Ordinal)))
                    errors.Add(Errors.Invalid(at, key, "must be a standard resource for quota"));
                if (!Quantity.TryParse(value, out var number))
                    continue;
                if (number < 0)
                    errors.Add(Errors.Invalid(at, value, "must be greater than or equal to 0"));
                else if (IsCount(key) && number != decimal.Truncate(number))
                    errors.Add(Errors.Invalid(at, value, "must be an integer"));
            }
        }

        var scopes = quota.Texts("spec", "scopes").ToList();
        var i = 0;
        foreach (var scope in scopes)
        {
            var at = $"spec.scopes[{i++}]";
            if (!s_scopes.Contains(scope))
                errors.Add(Errors.Invalid(at, scope, "unsupported scope"));
            if (scope == "PriorityClass")
                errors.Add(Errors.Invalid(at, scope, "the scope PriorityClass needs a scopeSelector"));
        }

        var j = 0;
        foreach (var expression in quota.Items("spec", "scopeSelector", "matchExpressions"))
            CheckExpression(expression, $"spec.scopeSelector.matchExpressions[{j++}]", errors);
        CheckTogether(quota, [.. scopes, .. quota.Items("spec", "scopeSelector", "matchExpressions").Select(one => one.Text("scopeName"))], errors);
        if (old is not null && (!JsonNode.DeepEquals(quota.At("spec", "scopes"), old.At("spec", "scopes")) || !JsonNode.DeepEquals(quota.At("spec", "scopeSelector"), old.At("spec", "scopeSelector"))))
            errors.Add(Errors.Invalid("spec.scopes", quota.At("spec", "scopes"), "field is immutable"));
    }

    public static void CheckRange(JsonObject range, List<FieldError> errors)
    {
        var i = 0;
        var types = new HashSet<string>();
        foreach (var item in range.Items("spec", "limits"))
        {
            var (at, type) = ($"spec.limits[{i++}]", item.Text("type"));
            if (type is not ("Container" or "Pod" or "PersistentVolumeClaim") && !type.Contains('/', StringComparison.Ordinal))
                errors.Add(Errors.NotSupported($"{at}.type", type, "Container", "Pod", "PersistentVolumeClaim"));
            if (!types.Add(type))
                errors.Add(Errors.Duplicate($"{at}.type", type));
            if (type == "Pod")
            {
                foreach (var field in (string[])["default", "defaultRequest"])
                {
                    if (item[field] is JsonObject { Count: > 0 })
                        errors.Add(Errors.Forbidden($"{at}.{field}", "may not be specified when `type` is 'Pod'"));
                }
            }

            if (type == "PersistentVolumeClaim" && item.At("min", "storage") is null && item.At("max", "storage") is null)
                errors.Add(Errors.Required($"{at}.limits", "either minimum or maximum storage value is required, but neither was provided"));
            CheckItem(item, at, errors);
        }
    }

    private static void CheckItem(JsonObject item, string at, List<FieldError> errors)
    {
        var keys = ((string[])["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]).SelectMany(field => (item[field] as JsonObject ?? []).Select(pair => pair.Key)).Distinct().ToList();
        foreach (var key in keys)
        {
            decimal? Of(string field) => item.At(field, key) is { } node && Quantity.TryParse(node, out var value) ? value : null;
            var (min, max, preset, asked) = (Of("min"), Of("max"), Of("default"), Of("defaultRequest"));
            NotAbove("min", min, "max", max);
            NotAbove("min", min, "defaultRequest", asked);
            NotAbove("defaultRequest", asked, "max", max);
            NotAbove("defaultRequest", asked, "default", preset);
            NotAbove("min", min, "default", preset);
            NotAbove("default", preset, "max", max);
            if (Of("maxLimitRequestRatio") is < 1 and var ratio)
                errors.Add(Errors.Invalid($"{at}.maxLimitRequestRatio[{key}]", $"{ratio}", $"ratio {ratio} is less than 1"));

            void NotAbove(string lower, decimal? low, string upper, decimal? high)
            {
                if (low > high)
                    errors.Add(Errors.Invalid($"{at}.{lower}[{key}]", item.At(lower, key), $"{lower} value {Errors.Show(item.At(lower, key)).Trim('"')} is greater than {upper} value {Errors.Show(item.At(upper, key)).Trim('"')}"));
            }
        }
    }

    private static void CheckExpression(JsonObject expression, string at, List<FieldError> errors)
    {
        var (scope, op, values) = (expression.Text("scopeName"), expression.Text("operator"), expression.Texts("values").Any());
        if (!s_scopes.Contains(scope))
            errors.Add(Errors.Invalid($"{at}.scopeName", scope, "unsupported scope"));
        if (op is not ("In" or "NotIn" or "Exists" or "DoesNotExist"))
            errors.Add(Errors.Invalid($"{at}.operator", op, "not a valid selector operator"));
        else if (scope != "PriorityClass" && op != "Exists")
            errors.Add(Errors.Invalid($"{at}.operator", op, "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"));
        if (op is "In" or "NotIn" && !values)
            errors.Add(Errors.Required($"{at}.values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"));
        if (op is "Exists" or "DoesNotExist" && values)
            errors.Add(Errors.Invalid($"{at}.values", expression["values"], "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"));
    }

    private static void CheckTogether(JsonObject quota, List<string> scopes, List<FieldError> errors)
    {
        foreach (var (one, other) in (ReadOnlySpan<(string, string)>)[("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")])
        {
            if (scopes.Contains(one) && scopes.Contains(other))
                errors.Add(Errors.Invalid("spec.scopes", quota.At("spec", "scopes"), "conflicting scopes"));
        }

        if (scopes.Count == 0)
            return;
        foreach (var key in (quota.At("spec", "hard") as JsonObject ?? []).Select(pair => pair.Key))
        {
            if (key is not ("pods" or "count/pods") && (scopes.Contains("BestEffort") || !s_compute.Contains(key)))
                errors.Add(Errors.Invalid("spec.scopes", quota.At("spec", "scopes"), $"unsupported scope applied to resource {key}"));
        }
    }

    private static bool IsCount(string key)
        => key.StartsWith("count/", StringComparison.Ordinal) || key.EndsWith("/persistentvolumeclaims", StringComparison.Ordinal)
            || key is "pods" or "services" or "services.nodeports" or "services.loadbalancers" or "replicationcontrollers" or "resourcequotas" or "secrets" or "configmaps" or "persistentvolumeclaims";

    private static void Fill(JsonObject item, string field, IEnumerable<KeyValuePair<string, string>> from)
    {
        foreach (var (key, value) in from.ToList())
            BuiltinObjects.Set(item.Child(field), key, value);
    }
}
