using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Runs a Job's pods to their end (k8s.io/kubernetes/pkg/controller/job). Pure. A finished pod is counted exactly once: its uid is
/// written to <c>uncountedTerminatedPods</c>, then its finalizer goes, then it moves into the count.</summary>
internal static class JobCore
{
    public const string Finalizer = "batch.kubernetes.io/job-tracking";
    public const string IndexKey = "batch.kubernetes.io/job-completion-index";
    private const int BurstMax = 100;
    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromMinutes(10);

    public static WorkloadPlan Reconcile(JsonObject job, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        var mine = Ownership.Claim(ResourceKind.Pod, job, ResourceKind.Job, world, plan);
        if (job.IsDeleting() || EndOf(job) is not null)
        {
            plan.Actions.AddRange(mine.Where(HasFinalizer).Select(Release));
            if (!job.IsDeleting())
            {
                plan.Actions.AddRange(mine.Where(PodFacts.IsActive).Select(pod => new DeleteAction(ResourceKind.Pod, pod)));
                Expire(job, now, plan);
            }

            return plan;
        }

        var state = new JobState(job, mine, now);
        var suspended = job.Flag(false, "spec", "suspend");
        var end = Verdict(state, plan);
        if (end is not null || suspended)
        {
            plan.Actions.AddRange(state.Active.Take(BurstMax).Select(pod => new DeleteAction(ResourceKind.Pod, pod)));
        }
        else
        {
            Manage(state, plan);
        }

        SetStatus(state, end, suspended, plan);
        // Only what is in the stored status already may be let go.
        plan.Actions.AddRange(mine.Where(pod => HasFinalizer(pod) && (state.Uncounted.Contains(pod.Uid()) || state.Void.Contains(pod.Uid()))).Select(Release));
        return plan;
    }

    /// <summary>Pods of Jobs that are gone need nobody to count them.</summary>
    public static IEnumerable<WorkloadAction> Orphans(WorkloadWorld world)
    {
        var jobs = world.List(ResourceKind.Job).Select(job => job.Uid()).ToHashSet(StringComparer.Ordinal);
        return world.List(ResourceKind.Pod).Where(pod => HasFinalizer(pod) && !(Ownership.ControllerOf(pod) is { } owner && (owner.Kind() != "Job" || jobs.Contains(owner.Text("uid"))))).Select(Release);
    }

    /// <summary>When and how the job ended; null while it has not.</summary>
    public static JsonObject? EndOf(JsonObject job) => job.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") is "Complete" or "Failed" && condition.Text("status") == "True");

    private static bool HasFinalizer(JsonObject pod) => pod.Texts("metadata", "finalizers").Contains(Finalizer, StringComparer.Ordinal);

    private static PatchAction Release(JsonObject pod)
    {
        var left = pod.Texts("metadata", "finalizers").Where(finalizer => finalizer != Finalizer).Select(finalizer => (JsonNode)finalizer).ToArray();
        return new PatchAction(ResourceKind.Pod, pod, new JsonObject
        {
            ["metadata"] = new JsonObject { ["uid"] = pod.Uid(), ["resourceVersion"] = pod.ResourceVersion(), ["finalizers"] = left.Length == 0 ? null : new JsonArray(left) },
        });
    }

    private static void Expire(JsonObject job, DateTimeOffset now, WorkloadPlan plan)
    {
        if (job.At("spec", "ttlSecondsAfterFinished") is null || PodFacts.Time(EndOf(job).Text("lastTransitionTime")) is not { } ended)
            return;
        var left = ended.AddSeconds(job.Number(0, "spec", "ttlSecondsAfterFinished")) - now;
        if (left <= TimeSpan.Zero)
            plan.Add(new DeleteAction(ResourceKind.Job, job, "Foreground"));
        else
            plan.LookAgain(left);
    }

    private sealed record End(string Type, string Reason, string Message);

    private static End? Verdict(JobState state, WorkloadPlan plan)
    {
        var job = state.Job;
        // What was decided once stays: the pods that it was decided by may be gone by now.
        if (job.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") is "FailureTarget" or "SuccessCriteriaMet" && condition.Text("status") == "True") is { } decided)
            return new End(decided.Text("type") == "FailureTarget" ? "Failed" : "Complete", decided.Text("reason"), decided.Text("message"));
        if (state.Failed > state.BackoffLimit || (state.BackoffLimit <= state.Restarts && state.Restarts > 0))
            return new End("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
        if (job.At("spec", "activeDeadlineSeconds") is not null && state.Started is { } started && !job.Flag(false, "spec", "suspend"))
        {
            var left = started.AddSeconds(job.Number(0, "spec", "activeDeadlineSeconds")) - state.Now;
            if (left <= TimeSpan.Zero)
                return new End("Failed", "DeadlineExceeded", "Job was active longer than specified deadline");
            plan.LookAgain(left);
        }

        var done = state.Completions is { } wanted ? state.Succeeded >= wanted : state.Succeeded > 0 && state.Active.Count == 0;
        return done ? new End("Complete", "CompletionsReached", "Reached expected number of succeeded pods") : null;
    }

    private static void Manage(JobState state, WorkloadPlan plan)
    {
        var (job, active) = (state.Job, state.Active);
        var wanted = state.Completions is { } completions ? Math.Min(state.Parallelism, completions - state.Succeeded)
            : state.Succeeded > 0 ? active.Count : state.Parallelism;
        if (active.Count > wanted)
        {
            plan.Actions.AddRange(ReplicaSetCore.DeleteOrder(active, state.Now).Take((int)Math.Min(active.Count - wanted, BurstMax)).Select(pod => new DeleteAction(ResourceKind.Pod, pod)));
            return;
        }

        var waiting = job.Text("spec", "podReplacementPolicy") == "Failed" ? state.Terminating : 0;
        var missing = wanted - active.Count - waiting;
        if (missing <= 0)
            return;
        if (state.BackoffUntil(s_backoffMin, s_backoffMax) is { } until && until > state.Now)
        {
            plan.LookAgain(until - state.Now);
            return;
        }

        var indexes = state.Indexed ? state.FreeIndexes().Take((int)Math.Min(missing, BurstMax)).Select(index => (int?)index) : Enumerable.Repeat<int?>(null, (int)Math.Min(missing, BurstMax));
        foreach (var index in indexes)
            plan.Add(new CreateAction(ResourceKind.Pod, Pod(job, index)));
    }

    private static JsonObject Pod(JsonObject job, int? index)
    {
        var pod = PodFacts.FromTemplate(job.At("spec", "template"), job, ResourceKind.Job);
        var metadata = pod.Child("metadata");
        metadata["generateName"] = job.Name() + "-";
        if (metadata["finalizers"] is JsonArray finalizers)
            finalizers.Add((JsonNode)Finalizer);
        else
            metadata["finalizers"] = new JsonArray(Finalizer);
        if (index is not { } number)
            return pod;
        var text = number.ToString(CultureInfo.InvariantCulture);
        metadata["generateName"] = $"{job.Name()}-{text}-";
        metadata.Child("labels")[IndexKey] = text;
        metadata.Child("annotations")[IndexKey] = text;
        pod.Child("spec")["hostname"] = $"{job.Name()}-{text}";
        foreach (var container in pod.Items("spec", "initContainers").Concat(pod.Items("spec", "containers")))
        {
            if (container["env"] is not JsonArray env)
                container["env"] = env = [];
            if (!env.OfType<JsonObject>().Any(variable => variable.Text("name") == "JOB_COMPLETION_INDEX"))
            {
                env.Add((JsonNode)new JsonObject
                {
                    ["name"] = "JOB_COMPLETION_INDEX", ["valueFrom"] = new JsonObject { ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = $"metadata.annotations['{IndexKey}']" } },
                });
            }
        }

        return pod;
    }

    private static void SetStatus(JobState state, End? end, bool suspended, WorkloadPlan plan)
    {
        var (job, now) = (state.Job, state.Now);
        var old = job.Items("status", "conditions").ToList();
        var status = new JsonObject();
        // Deleted in this look or before: not active any longer.
        var active = end is null && !suspended ? state.Active.Count : 0;
        status.Count("active", active);
        status["ready"] = (long)(active == 0 ? 0 : state.Active.Count(PodFacts.IsReady));
        status["terminating"] = (long)state.Terminating;
        status.Count("succeeded", state.CountedSucceeded);
        status.Count("failed", state.CountedFailed);
        if (state.Indexed && state.Completed.Count > 0)
            status["completedIndexes"] = JobState.Ranges(state.Completed);
        status["uncountedTerminatedPods"] = state.NextUncounted();
        if (!suspended)
            status["startTime"] = job.Text("status", "startTime") is { Length: > 0 } since ? since : KubeObject.Time(now);
        var conditions = old.Select(condition => (JsonObject)condition.DeepClone()).ToList();
        void Put(string type, string value, string reason, string message)
        {
            conditions.RemoveAll(condition => condition.Text("type") == type);
            var condition = StatusWrites.Condition(old, type, value, reason, message, now);
            condition["lastProbeTime"] = old.Find(before => before.Text("type") == type && before.Text("status") == value).Text("lastProbeTime") is { Length: > 0 } probed ? probed : KubeObject.Time(now);
            conditions.Add(condition);
        }

        if (suspended)
        {
            Put("Suspended", "True", "JobSuspended", "Job suspended");
        }
        else if (old.Exists(condition => condition.Text("type") == "Suspended" && condition.Text("status") == "True"))
        {
            Put("Suspended", "False", "JobResumed", "Job resumed");
            status["startTime"] = KubeObject.Time(now);
        }

        if (end is not null)
        {
            Put(end.Type == "Failed" ? "FailureTarget" : "SuccessCriteriaMet", "True", end.Reason, end.Message);
            // The end is told when all pods have ended and are counted.
            if (state.Active.Count == 0 && state.Terminating == 0 && state.NextUncounted().Count == 0)
            {
                Put(end.Type, "True", end.Reason, end.Message);
                if (end.Type == "Complete")
                    status["completionTime"] = KubeObject.Time(now);
                plan.Tell(end.Type == "Complete" ? "Completed" : end.Reason, end.Type == "Complete" ? "Job completed" : end.Message, end.Type == "Complete" ? "Normal" : "Warning");
            }
        }

        if (conditions.Count > 0)
            status["conditions"] = new JsonArray([.. conditions]);
        StatusWrites.Set(ResourceKind.Job, job, status, plan, checkVersion: true);
    }
}
