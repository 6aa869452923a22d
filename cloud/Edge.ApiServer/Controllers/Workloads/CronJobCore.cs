using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Makes a CronJob's Jobs when their time comes (k8s.io/kubernetes/pkg/controller/cronjob). Pure.</summary>
internal static class CronJobCore
{
    // After a long pause only the last of so many missed times is looked for.
    private const int MissedMax = 10_000;

    public static WorkloadPlan Reconcile(JsonObject cron, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        if (cron.IsDeleting())
            return plan;
        var jobs = world.Jobs(cron.Namespace()).Where(job => Ownership.IsControlledBy(job, cron)).ToList();
        var status = Status(cron, jobs);
        CleanUp(jobs, "Complete", cron.Number(3, "spec", "successfulJobsHistoryLimit"), plan);
        CleanUp(jobs, "Failed", cron.Number(1, "spec", "failedJobsHistoryLimit"), plan);
        if (!cron.Flag(false, "spec", "suspend"))
            Start(cron, jobs, status, now, plan);
        StatusWrites.Set(ResourceKind.CronJob, cron, status, plan);
        return plan;
    }

    /// <summary>The last time due and not yet run, and the next one after now.</summary>
    public static (DateTimeOffset? Due, DateTimeOffset? Next, bool TooMany) Times(JsonObject cron, DateTimeOffset now)
    {
        if (!CronSchedule.TryParse(cron.Text("spec", "schedule"), out var schedule, out _))
            return (null, null, false); // validation lets none in
        var zone = cron.Text("spec", "timeZone") is { Length: > 0 } name && TimeZoneInfo.TryFindSystemTimeZoneById(name, out var found) ? found : TimeZoneInfo.Utc;
        var from = PodFacts.Time(cron.Text("status", "lastScheduleTime")) ?? PodFacts.Created(cron);
        if (cron.At("spec", "startingDeadlineSeconds") is not null && now.AddSeconds(-cron.Number(0, "spec", "startingDeadlineSeconds")) is var earliest && earliest > from)
            from = earliest;
        DateTimeOffset? due = null;
        var at = schedule.Next(from, zone);
        for (var i = 0; at <= now; i++)
        {
            if (i == MissedMax)
            {
                // Too long ago to count through: begin again shortly before now.
                return (schedule.Next(now.AddMinutes(-1), zone) is { } recent && recent <= now ? recent : due, schedule.Next(now, zone), true);
            }

            due = at;
            at = schedule.Next(at!.Value, zone);
        }

        return (due, at, false);
    }

    private static void Start(JsonObject cron, List<JsonObject> jobs, JsonObject status, DateTimeOffset now, WorkloadPlan plan)
    {
        var (due, next, tooMany) = Times(cron, now);
        if (next is { } later)
            plan.LookAgain(later - now);
        if (tooMany)
            plan.Tell("TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew", "Warning");
        if (due is not { } time)
            return;
        var name = $"{cron.Name()}-{time.ToUnixTimeSeconds() / 60}";
        var active = jobs.Where(job => JobCore.EndOf(job) is null && !job.IsDeleting()).ToList();
        if (jobs.Exists(job => job.Name() == name))
        {
            status["lastScheduleTime"] = KubeObject.Time(time);
            return;
        }

        switch (cron.Text("spec", "concurrencyPolicy"))
        {
            case "Forbid" when active.Count > 0:
                plan.Tell("JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
                return;
            case "Replace":
                plan.Actions.AddRange(active.Select(job => new DeleteAction(ResourceKind.Job, job)));
                break;
        }

        plan.Add(new CreateAction(ResourceKind.Job, Job(cron, name, time), MayExist: true));
        plan.Tell("SuccessfulCreate", $"Created job {name}");
        status["lastScheduleTime"] = KubeObject.Time(time);
    }

    private static JsonObject Job(JsonObject cron, string name, DateTimeOffset time)
    {
        var template = cron.At("spec", "jobTemplate");
        var metadata = new JsonObject { ["name"] = name, ["namespace"] = cron.Namespace(), ["ownerReferences"] = new JsonArray(Ownership.Reference(cron, ResourceKind.CronJob)) };
        if (template.At("metadata", "labels") is { } labels)
            metadata["labels"] = labels.DeepClone();
        var annotations = template.At("metadata", "annotations")?.DeepClone() as JsonObject ?? [];
        annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] = KubeObject.Time(time);
        metadata["annotations"] = annotations;
        return new JsonObject { ["apiVersion"] = "batch/v1", ["kind"] = "Job", ["metadata"] = metadata, ["spec"] = template.At("spec")?.DeepClone() };
    }

    private static JsonObject Status(JsonObject cron, List<JsonObject> jobs)
    {
        var status = new JsonObject();
        var active = jobs.Where(job => JobCore.EndOf(job) is null).OrderBy(job => job.Name(), StringComparer.Ordinal).Select(job => (JsonNode)new JsonObject
        {
            ["kind"] = "Job", ["namespace"] = job.Namespace(), ["name"] = job.Name(), ["uid"] = job.Uid(), ["apiVersion"] = "batch/v1", ["resourceVersion"] = Seen(cron, job),
        }).ToArray();
        if (active.Length > 0)
            status["active"] = new JsonArray(active);
        if (cron.Text("status", "lastScheduleTime") is { Length: > 0 } scheduled)
            status["lastScheduleTime"] = scheduled;
        var success = jobs.Where(job => JobCore.EndOf(job).Text("type") == "Complete").Select(job => job.Text("status", "completionTime"))
            .Append(cron.Text("status", "lastSuccessfulTime")).Max(StringComparer.Ordinal);
        if (!string.IsNullOrEmpty(success))
            status["lastSuccessfulTime"] = success;
        return status;
    }

    // The version at which the job was first listed: it does not follow the job's own changes.
    private static string Seen(JsonObject cron, JsonObject job)
        => cron.Items("status", "active").FirstOrDefault(reference => reference.Text("uid") == job.Uid()).Text("resourceVersion") is { Length: > 0 } known ? known : job.Version().ToString(CultureInfo.InvariantCulture);

    private static void CleanUp(List<JsonObject> jobs, string end, long limit, WorkloadPlan plan)
    {
        var ended = jobs.Where(job => !job.IsDeleting() && JobCore.EndOf(job).Text("type") == end)
            .OrderBy(job => job.Text("status", "startTime"), StringComparer.Ordinal).ThenBy(job => job.Name(), StringComparer.Ordinal).ToList();
        plan.Actions.AddRange(ended.Take((int)Math.Max(0, ended.Count - limit)).Select(job => new DeleteAction(ResourceKind.Job, job)));
    }
}
