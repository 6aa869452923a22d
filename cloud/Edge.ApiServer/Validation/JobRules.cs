using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of batch/v1 and policy/v1, in Kubernetes' words (k8s.io/kubernetes/pkg/apis/{batch,policy}/validation).</summary>
internal static class JobRules
{
    // A job's name and a time of ten digits must fit a pod's hostname.
    private const int CronJobNameMax = 52;
    private static readonly string[] s_notServed = ["podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"];

    public static void Check(JsonObject job, JsonObject? old, List<FieldError> errors)
    {
        if (job["spec"] is not JsonObject spec)
        {
            errors.Add(Errors.Required("spec"));
            return;
        }

        CheckSpec(spec, "spec", errors);
        var known = errors.Count;
        if (spec["selector"] is not JsonObject selector)
            errors.Add(Errors.Required("spec.selector"));
        else
            SelectorRules.CheckLabels(selector, "spec.selector", errors);
        if (errors.Count == known && !LabelSelector.FromJson((JsonObject)spec["selector"]!).Matches(spec.At("template").Map("metadata", "labels").ToDictionary()))
            errors.Add(Errors.Invalid("spec.template.metadata.labels", spec.At("template", "metadata", "labels"), "`selector` does not match template `labels`"));
        if (old?["spec"] is not JsonObject before)
            return;
        if (!JsonNode.DeepEquals(spec["completions"], before["completions"]) && !(spec.Text("completionMode") == "Indexed" && spec.Number(0, "completions") == spec.Number(0, "parallelism")))
            errors.Add(Errors.Invalid("spec.completions", spec["completions"], "field is immutable"));
        foreach (var field in (string[])["selector", "template", "completionMode"])
        {
            if (!JsonNode.DeepEquals(spec[field], before[field]) && !(field == "template" && before.Flag(false, "suspend") && old.Text("status", "startTime").Length == 0))
                errors.Add(Errors.Invalid($"spec.{field}", spec[field], "field is immutable"));
        }
    }

    public static void CheckCronJob(JsonObject cron, List<FieldError> errors)
    {
        if (cron["spec"] is not JsonObject spec)
        {
            errors.Add(Errors.Required("spec"));
            return;
        }

        if (cron.Name().Length > CronJobNameMax)
            errors.Add(Errors.Invalid("metadata.name", cron.Name(), $"must be no more than {CronJobNameMax} characters"));
        var schedule = spec.Text("schedule");
        if (schedule.Length == 0)
            errors.Add(Errors.Required("spec.schedule"));
        else if (schedule.Contains("TZ", StringComparison.Ordinal))
            errors.Add(Errors.Invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
        else if (!CronSchedule.TryParse(schedule, out _, out var fault))
            errors.Add(Errors.Invalid("spec.schedule", schedule, fault));
        if (spec.Text("timeZone") is { Length: > 0 } zone && (zone.Equals("local", StringComparison.OrdinalIgnoreCase) || !TimeZoneInfo.TryFindSystemTimeZoneById(zone, out _)))
            errors.Add(Errors.Invalid("spec.timeZone", zone, $"unknown time zone {zone}"));
        if (spec.Text("concurrencyPolicy") is not ("Allow" or "Forbid" or "Replace"))
            errors.Add(Errors.NotSupported("spec.concurrencyPolicy", spec.Text("concurrencyPolicy"), "Allow", "Forbid", "Replace"));
        foreach (var field in (string[])["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"])
            WorkloadRules.NotNegative(spec, field, "spec", errors);
        if (spec.At("jobTemplate", "spec") is JsonObject job)
            CheckSpec(job, "spec.jobTemplate.spec", errors);
        else
            errors.Add(Errors.Required("spec.jobTemplate.spec"));
    }

    public static void CheckBudget(JsonObject budget, List<FieldError> errors)
    {
        var spec = budget["spec"];
        if (spec.At("minAvailable") is not null && spec.At("maxUnavailable") is not null)
            errors.Add(Errors.Invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
        WorkloadRules.CheckIntOrPercent(spec, "minAvailable", "spec", errors);
        WorkloadRules.CheckIntOrPercent(spec, "maxUnavailable", "spec", errors);
        if (spec.Text("unhealthyPodEvictionPolicy") is not ("" or "IfHealthyBudget" or "AlwaysAllow"))
            errors.Add(Errors.NotSupported("spec.unhealthyPodEvictionPolicy", spec.Text("unhealthyPodEvictionPolicy"), "AlwaysAllow", "IfHealthyBudget"));
        if (spec.At("selector") is JsonObject selector)
            SelectorRules.CheckLabels(selector, "spec.selector", errors);
    }

    private static void CheckSpec(JsonObject spec, string at, List<FieldError> errors)
    {
        foreach (var field in (string[])["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"])
            WorkloadRules.NotNegative(spec, field, at, errors);
        foreach (var field in s_notServed)
        {
            if (spec[field] is not null)
                errors.Add(Errors.Forbidden($"{at}.{field}", "not supported by this API server"));
        }

        if (spec.Text("completionMode") is { Length: > 0 } mode && mode is not ("NonIndexed" or "Indexed"))
            errors.Add(Errors.NotSupported($"{at}.completionMode", mode, "Indexed", "NonIndexed"));
        if (spec.Text("completionMode") == "Indexed" && spec["completions"] is null)
            errors.Add(Errors.Required($"{at}.completions", "when completion mode is Indexed"));
        if (spec.Text("podReplacementPolicy") is { Length: > 0 } replace && replace is not ("TerminatingOrFailed" or "Failed"))
            errors.Add(Errors.NotSupported($"{at}.podReplacementPolicy", replace, "Failed", "TerminatingOrFailed"));
        if (spec["template"] is not JsonObject template)
        {
            errors.Add(Errors.Required($"{at}.template"));
            return;
        }

        WorkloadRules.CheckTemplate(template, $"{at}.template", errors, isJob: true);
        if (template.At("spec").Text("restartPolicy") is not ("OnFailure" or "Never"))
            errors.Add(Errors.NotSupported($"{at}.template.spec.restartPolicy", template.At("spec").Text("restartPolicy"), "OnFailure", "Never"));
    }
}
