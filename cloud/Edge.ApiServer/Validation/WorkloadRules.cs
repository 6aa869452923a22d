using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of apps/v1, in Kubernetes' words (k8s.io/kubernetes/pkg/apis/apps/validation).</summary>
internal static class WorkloadRules
{
    private static readonly string[] s_statefulSetMutable =
        ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"];

    public static void Check(JsonObject obj, JsonObject? old, List<FieldError> errors)
    {
        if (obj.Kind() == "ControllerRevision")
        {
            CheckRevision(obj, old, errors);
            return;
        }

        if (obj["spec"] is not JsonObject spec)
        {
            errors.Add(Errors.Required("spec"));
            return;
        }

        foreach (var field in (string[])["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"])
            NotNegative(spec, field, "spec", errors);
        CheckSelector(spec, obj.Kind(), errors);
        if (spec["template"] is JsonObject template)
            CheckTemplate(template, "spec.template", errors);
        else
            errors.Add(Errors.Required("spec.template"));
        if (spec.At("template", "spec").Text("restartPolicy") is { Length: > 0 } policy && policy != "Always")
            errors.Add(Errors.NotSupported("spec.template.spec.restartPolicy", policy, "Always"));
        if (spec.Number(long.MaxValue, "progressDeadlineSeconds") <= spec.Number(0, "minReadySeconds"))
            errors.Add(Errors.Invalid("spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"], "must be greater than minReadySeconds"));
        CheckStrategy(obj.Kind(), spec, errors);
        if (obj.Kind() == "StatefulSet")
            CheckStatefulSet(spec, old?["spec"], errors);
        else if (old is not null && !JsonNode.DeepEquals(spec["selector"], old.At("spec", "selector")))
            errors.Add(Errors.Invalid("spec.selector", spec["selector"], "field is immutable"));
    }

    /// <summary>A pod template: its labels and annotations and, under <c>spec</c>, all rules of a pod.</summary>
    public static void CheckTemplate(JsonObject template, string at, List<FieldError> errors, bool isJob = false)
    {
        if (template.At("metadata", "labels") is JsonObject labels)
            Names.Labels(labels, $"{at}.metadata.labels", errors);
        var inner = new List<FieldError>();
        PodRules.Check(template, inner);
        errors.AddRange(inner.Select(error => error with { Field = $"{at}.{error.Field}" }));
        if (template["spec"].Items("ephemeralContainers").Any())
            errors.Add(Errors.Forbidden($"{at}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"));
        if (template["spec"].Number(1, "activeDeadlineSeconds") != 1 && !isJob)
            errors.Add(Errors.Forbidden($"{at}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in a workload's pod template is not supported"));
    }

    /// <summary>A whole number of at least zero; absent is right.</summary>
    public static void NotNegative(JsonNode? obj, string field, string at, List<FieldError> errors)
    {
        if (obj.Number(0, field) is < 0 or > int.MaxValue)
            errors.Add(Errors.Invalid($"{at}.{field}", obj.At(field), "must be greater than or equal to 0"));
    }

    /// <summary>A whole number of at least zero, or a percentage.</summary>
    public static void CheckIntOrPercent(JsonNode? obj, string field, string at, List<FieldError> errors, bool atMostWhole = true)
    {
        var node = obj.At(field);
        if (node is null)
            return;
        if (node.TryWhole(out var number))
        {
            if (number is < 0 or > int.MaxValue)
                errors.Add(Errors.Invalid($"{at}.{field}", node, "must be greater than or equal to 0"));
            return;
        }

        var text = obj.Text(field);
        if (!text.EndsWith('%') || !int.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var percent))
            errors.Add(Errors.Invalid($"{at}.{field}", text, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"));
        else if (atMostWhole && percent > 100)
            errors.Add(Errors.Invalid($"{at}.{field}", text, "must not be greater than 100%"));
    }

    private static void CheckSelector(JsonObject spec, string kind, List<FieldError> errors)
    {
        if (spec["selector"] is not JsonObject selector)
        {
            errors.Add(Errors.Required("spec.selector"));
            return;
        }

        var before = errors.Count;
        SelectorRules.CheckLabels(selector, "spec.selector", errors);
        if (!selector.Map("matchLabels").Any() && !selector.Items("matchExpressions").Any())
            errors.Add(Errors.Invalid("spec.selector", selector, $"empty selector is invalid for {kind.ToLowerInvariant()}"));
        if (errors.Count > before || spec["template"] is not JsonObject template)
            return;
        var labels = template.Map("metadata", "labels").ToDictionary();
        if (!LabelSelector.FromJson(selector).Matches(labels))
        {
            var shown = string.Join(", ", labels.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{Errors.Quote(pair.Key)}:{Errors.Quote(pair.Value)}"));
            errors.Add(new FieldError("FieldValueInvalid", "spec.template.metadata.labels", $"Invalid value: map[string]string{{{shown}}}: `selector` does not match template `labels`"));
        }
    }

    private static void CheckStrategy(string kind, JsonObject spec, List<FieldError> errors)
    {
        var field = kind == "Deployment" ? "strategy" : "updateStrategy";
        if (kind == "ReplicaSet" || spec[field] is not JsonObject strategy)
            return;
        string[] allowed = kind == "Deployment" ? ["Recreate", "RollingUpdate"] : ["RollingUpdate", "OnDelete"];
        if (!allowed.Contains(strategy.Text("type")))
            errors.Add(Errors.NotSupported($"spec.{field}.type", strategy.Text("type"), allowed));
        var at = $"spec.{field}.rollingUpdate";
        if (strategy["rollingUpdate"] is not { } rolling)
            return;
        if (strategy.Text("type") != "RollingUpdate")
        {
            errors.Add(kind == "Deployment"
                ? Errors.Forbidden(at, "may not be specified when strategy `type` is 'Recreate'")
                : Errors.Invalid(at, rolling, $"only allowed for updateStrategy '{"RollingUpdate"}'"));
            return;
        }

        CheckIntOrPercent(rolling, "maxUnavailable", at, errors);
        CheckIntOrPercent(rolling, "maxSurge", at, errors, atMostWhole: false);
        NotNegative(rolling, "partition", at, errors);
        if (kind == "Deployment" && IsZero(rolling["maxUnavailable"]) && IsZero(rolling["maxSurge"]))
            errors.Add(Errors.Invalid($"{at}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0"));
        if (kind == "DaemonSet" && !IsZero(rolling["maxSurge"]))
            errors.Add(Errors.Forbidden($"{at}.maxSurge", "surge is not supported for daemon sets by this API server; set it to 0 and use maxUnavailable"));
        else if (kind == "DaemonSet" && IsZero(rolling["maxUnavailable"]))
            errors.Add(Errors.Required($"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0"));
        if (kind == "StatefulSet" && rolling["maxUnavailable"] is not null)
            errors.Add(Errors.Forbidden($"{at}.maxUnavailable", "not supported by this API server (in Kubernetes it is behind the feature gate MaxUnavailableStatefulSet)"));
    }

    private static void CheckStatefulSet(JsonObject spec, JsonNode? before, List<FieldError> errors)
    {
        if (spec.Text("podManagementPolicy") is not ("OrderedReady" or "Parallel"))
            errors.Add(Errors.Invalid("spec.podManagementPolicy", spec.Text("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'"));
        NotNegative(spec["ordinals"], "start", "spec.ordinals", errors);
        foreach (var when in (string[])["whenDeleted", "whenScaled"])
        {
            if (spec.At("persistentVolumeClaimRetentionPolicy").Text(when) is { Length: > 0 } policy && policy != "Retain")
                errors.Add(Errors.NotSupported($"spec.persistentVolumeClaimRetentionPolicy.{when}", policy, "Retain"));
        }

        var i = 0;
        foreach (var claim in spec.Items("volumeClaimTemplates"))
        {
            var at = $"spec.volumeClaimTemplates[{i++}]";
            if (claim.Name().Length == 0)
                errors.Add(Errors.Required($"{at}.metadata.name"));
            if (claim["spec"] is JsonObject inner)
                ClaimRules.CheckSpec(inner, $"{at}.spec", errors);
            else
                errors.Add(Errors.Required($"{at}.spec"));
        }

        if (before is not JsonObject old)
            return;
        if (spec.Select(pair => pair.Key).Union(old.Select(pair => pair.Key)).Except(s_statefulSetMutable).Any(key => !JsonNode.DeepEquals(spec[key], old[key])))
            errors.Add(Errors.Forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
    }

    private static void CheckRevision(JsonObject revision, JsonObject? old, List<FieldError> errors)
    {
        NotNegative(revision, "revision", "", errors);
        if (revision["data"] is null)
            errors.Add(Errors.Required("data", "data is mandatory"));
        if (old is not null && !JsonNode.DeepEquals(revision["data"], old["data"]))
            errors.Add(Errors.Invalid("data", revision["data"], "field is immutable"));
    }

    private static bool IsZero(JsonNode? node) => node is null || (node.TryWhole(out var number) ? number == 0 : node is JsonValue value && value.TryGetValue<string>(out var text) && text == "0%");
}
