using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The defaults of apps/v1 and batch/v1, as k8s.io/kubernetes/pkg/apis/{apps,batch}/v1/defaults.go sets them.</summary>
internal static class WorkloadDefaults
{
    private const string ControllerUid = "batch.kubernetes.io/controller-uid";

    public static void Apply(JsonObject obj)
    {
        if (obj["spec"] is not JsonObject spec)
            return;
        if (spec["template"] is JsonObject template)
            PodDefaults.ApplyTemplate(template);
        switch (obj.Kind())
        {
            case "Deployment":
                BuiltinObjects.Set(spec, "replicas", 1L);
                BuiltinObjects.Set(spec, "revisionHistoryLimit", 10L);
                BuiltinObjects.Set(spec, "progressDeadlineSeconds", 600L);
                var strategy = Strategy(spec, "strategy");
                if (strategy.Text("type") == "RollingUpdate" && (!strategy.ContainsKey("rollingUpdate") || strategy["rollingUpdate"] is JsonObject))
                {
                    BuiltinObjects.Set(strategy.Child("rollingUpdate"), "maxUnavailable", "25%");
                    BuiltinObjects.Set(strategy.Child("rollingUpdate"), "maxSurge", "25%");
                }

                break;
            case "ReplicaSet":
                BuiltinObjects.Set(spec, "replicas", 1L);
                break;
            case "DaemonSet":
                BuiltinObjects.Set(spec, "revisionHistoryLimit", 10L);
                var update = Strategy(spec, "updateStrategy");
                if (update.Text("type") == "RollingUpdate" && (!update.ContainsKey("rollingUpdate") || update["rollingUpdate"] is JsonObject))
                {
                    BuiltinObjects.Set(update.Child("rollingUpdate"), "maxUnavailable", 1L);
                    BuiltinObjects.Set(update.Child("rollingUpdate"), "maxSurge", 0L);
                }

                break;
            case "StatefulSet":
                BuiltinObjects.Set(spec, "replicas", 1L);
                BuiltinObjects.Set(spec, "revisionHistoryLimit", 10L);
                BuiltinObjects.Set(spec, "podManagementPolicy", "OrderedReady");
                var rolling = Strategy(spec, "updateStrategy");
                if (rolling.Text("type") == "RollingUpdate" && (!rolling.ContainsKey("rollingUpdate") || rolling["rollingUpdate"] is JsonObject))
                    BuiltinObjects.Set(rolling.Child("rollingUpdate"), "partition", 0L);
                if (!spec.ContainsKey("persistentVolumeClaimRetentionPolicy"))
                    spec["persistentVolumeClaimRetentionPolicy"] = new JsonObject { ["whenDeleted"] = "Retain", ["whenScaled"] = "Retain" };
                foreach (var claim in spec.Items("volumeClaimTemplates"))
                {
                    BuiltinObjects.Set(claim, "apiVersion", "v1");
                    BuiltinObjects.Set(claim, "kind", "PersistentVolumeClaim");
                    if (claim["spec"] is JsonObject inner)
                        ClaimRules.DefaultSpec(inner);
                    BuiltinObjects.Set(claim, "status", new JsonObject { ["phase"] = "Pending" });
                }

                break;
        }
    }

    /// <summary>Also gives the job's pods the selector of their own that the server makes from the uid, unless <c>manualSelector</c> is set.</summary>
    public static void ApplyJob(JsonObject job)
    {
        if (job["spec"] is not JsonObject spec)
            return;
        ApplyJobSpec(spec);
        if (!spec.Flag(false, "manualSelector") && spec["selector"] is null && job.Uid().Length > 0 && spec["template"] is JsonObject template && template["metadata"] is null or JsonObject)
        {
            spec["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { [ControllerUid] = job.Uid() } };
            var labels = template.Child("metadata").Child("labels");
            foreach (var (key, value) in ((string, string)[])[(ControllerUid, job.Uid()), ("controller-uid", job.Uid()), ("batch.kubernetes.io/job-name", job.Name()), ("job-name", job.Name())])
                labels[key] = value;
        }
    }

    public static void ApplyCronJob(JsonObject cron)
    {
        if (cron["spec"] is not JsonObject spec)
            return;
        BuiltinObjects.Set(spec, "concurrencyPolicy", "Allow");
        BuiltinObjects.Set(spec, "suspend", false);
        BuiltinObjects.Set(spec, "successfulJobsHistoryLimit", 3L);
        BuiltinObjects.Set(spec, "failedJobsHistoryLimit", 1L);
        if (spec.At("jobTemplate", "spec", "template") is JsonObject template)
            PodDefaults.ApplyTemplate(template);
    }

    private static void ApplyJobSpec(JsonObject spec)
    {
        if (spec["template"] is JsonObject template)
            PodDefaults.ApplyTemplate(template);
        if (!spec.ContainsKey("completions") && !spec.ContainsKey("parallelism"))
        {
            spec["completions"] = 1L;
            spec["parallelism"] = 1L;
        }

        BuiltinObjects.Set(spec, "parallelism", 1L);
        BuiltinObjects.Set(spec, "backoffLimit", 6L);
        BuiltinObjects.Set(spec, "completionMode", "NonIndexed");
        BuiltinObjects.Set(spec, "suspend", false);
        BuiltinObjects.Set(spec, "manualSelector", false);
        BuiltinObjects.Set(spec, "podReplacementPolicy", "TerminatingOrFailed");
    }

    private static JsonObject Strategy(JsonObject spec, string key)
    {
        if (!spec.ContainsKey(key))
            spec[key] = new JsonObject();
        if (spec[key] is not JsonObject strategy)
            return [];
        BuiltinObjects.Set(strategy, "type", "RollingUpdate");
        return strategy;
    }
}
