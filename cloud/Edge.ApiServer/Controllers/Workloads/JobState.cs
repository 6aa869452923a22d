using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>A Job and its pods, during one look at it: what is counted, what is still to be.</summary>
internal sealed class JobState
{
    // A job of a million indexes must not make a status of a million numbers.
    private const int IndexesMax = 100_000;

    private readonly List<JsonObject> _pods;
    private readonly List<string> _succeeded = [];
    private readonly List<string> _failed = [];

    public JobState(JsonObject job, List<JsonObject> pods, DateTimeOffset now)
    {
        Job = job;
        Now = now;
        _pods = pods;
        Indexed = job.Text("spec", "completionMode") == "Indexed";
        Active = [.. pods.Where(PodFacts.IsActive)];
        Terminating = pods.Count(pod => pod.IsDeleting() && !IsOver(pod));
        Completed = Indexed ? Read(job.Text("status", "completedIndexes")) : [];
        CountedSucceeded = job.Number(0, "status", "succeeded");
        CountedFailed = job.Number(0, "status", "failed");
        var (oldSucceeded, oldFailed) = (Uids("succeeded"), Uids("failed"));
        Uncounted = [.. oldSucceeded, .. oldFailed];
        var byUid = pods.ToDictionary(pod => pod.Uid(), StringComparer.Ordinal);
        foreach (var uid in oldSucceeded)
            Move(uid, byUid.GetValueOrDefault(uid), _succeeded, () => CountedSucceeded++);
        foreach (var uid in oldFailed)
            Move(uid, byUid.GetValueOrDefault(uid), _failed, () => CountedFailed++);
        foreach (var pod in pods.Where(pod => pod.Texts("metadata", "finalizers").Contains(JobCore.Finalizer, StringComparer.Ordinal) && !Uncounted.Contains(pod.Uid())))
        {
            if (pod.Text("status", "phase") == "Succeeded")
            {
                if (Indexed && (IndexOf(pod) is not { } index || index >= Completions || !Completed.Add(index)))
                    Void.Add(pod.Uid());
                else
                    _succeeded.Add(pod.Uid());
            }
            else if (IsOver(pod))
            {
                _failed.Add(pod.Uid());
            }
        }

        if (Indexed)
            CountedSucceeded = Completed.Count - _succeeded.Count;
    }

    public JsonObject Job { get; }

    public DateTimeOffset Now { get; }

    public bool Indexed { get; }

    public List<JsonObject> Active { get; }

    public int Terminating { get; }

    /// <summary>The uids in the stored status that wait for being counted.</summary>
    public HashSet<string> Uncounted { get; }

    /// <summary>The uids of pods that succeeded at an index that is done, or at none: they count for nothing, and may be let go at once.</summary>
    public HashSet<string> Void { get; } = [];

    public SortedSet<int> Completed { get; }

    public long CountedSucceeded { get; private set; }

    public long CountedFailed { get; private set; }

    public long Succeeded => CountedSucceeded + _succeeded.Count;

    public long Failed => CountedFailed + _failed.Count;

    /// <summary>Null for a work queue: the first success ends it.</summary>
    public long? Completions => Job.At("spec", "completions") is null ? null : Job.Number(0, "spec", "completions");

    public long Parallelism => Job.Number(1, "spec", "parallelism");

    public long BackoffLimit => Job.Number(6, "spec", "backoffLimit");

    public DateTimeOffset? Started => PodFacts.Time(Job.Text("status", "startTime"));

    /// <summary>Restarts inside pods with restartPolicy OnFailure, which count against the backoff limit; those that are on their way out count as well.</summary>
    public long Restarts => Job.Text("spec", "template", "spec", "restartPolicy") != "OnFailure" ? 0
        : _pods.Where(pod => !Conditions.IsFinished(pod)).Sum(pod => pod.Items("status", "initContainerStatuses").Concat(pod.Items("status", "containerStatuses")).Sum(status => status.Number(0, "restartCount")));

    /// <summary>When the next pod may be made after failures: the pause doubles with each, and begins anew after a success.</summary>
    public DateTimeOffset? BackoffUntil(TimeSpan min, TimeSpan max)
    {
        var lastSuccess = _pods.Where(pod => pod.Text("status", "phase") == "Succeeded").Select(Ended).DefaultIfEmpty(DateTimeOffset.MinValue).Max();
        var failures = _pods.Where(pod => pod.Text("status", "phase") == "Failed").Select(Ended).Where(time => time > lastSuccess).ToList();
        if (failures.Count == 0)
            return null;
        var pause = Math.Min(max.TotalSeconds, min.TotalSeconds * Math.Pow(2, Math.Min(failures.Count - 1, 20)));
        return failures.Max().AddSeconds(pause);
    }

    public IEnumerable<int> FreeIndexes()
    {
        var taken = Active.Select(IndexOf).ToHashSet();
        return Enumerable.Range(0, (int)Math.Min(Completions ?? 0, IndexesMax)).Where(index => !Completed.Contains(index) && !taken.Contains(index));
    }

    /// <summary>What the status is to hold as not yet counted.</summary>
    public JsonObject NextUncounted()
    {
        var next = new JsonObject();
        if (_succeeded.Count > 0)
            next["succeeded"] = new JsonArray([.. _succeeded.Select(uid => (JsonNode)uid)]);
        if (_failed.Count > 0)
            next["failed"] = new JsonArray([.. _failed.Select(uid => (JsonNode)uid)]);
        return next;
    }

    /// <summary><c>0-3,5</c></summary>
    public static string Ranges(SortedSet<int> indexes)
    {
        var parts = new List<string>();
        int? first = null;
        var last = 0;
        foreach (var index in indexes.Append(int.MaxValue))
        {
            if (first is { } from && index != last + 1)
            {
                parts.Add(from == last ? $"{from}" : last == from + 1 ? $"{from},{last}" : $"{from}-{last}");
                first = null;
            }

            first ??= index;
            last = index;
        }

        return string.Join(",", parts);
    }

    /// <summary>Reads <see cref="Ranges"/>; what is not a number is passed over.</summary>
    public static SortedSet<int> Read(string text)
    {
        var set = new SortedSet<int>();
        foreach (var part in text.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var ends = part.Split('-');
            if (int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out var from) && int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out var to))
            {
                for (var i = from; i <= to && set.Count < IndexesMax; i++)
                    set.Add(i);
            }
        }

        return set;
    }

    public static int? IndexOf(JsonObject pod) => int.TryParse(pod.Annotation(JobCore.IndexKey), NumberStyles.None, CultureInfo.InvariantCulture, out var index) ? index : null;

    // A pod that was deleted without grace, or before it had a node, is held by our finalizer alone: nobody will say how it ended.
    private static bool IsOver(JsonObject pod)
        => Conditions.IsFinished(pod) || (pod.IsDeleting() && (pod.Text("spec", "nodeName").Length == 0 || pod.Number(-1, "metadata", "deletionGracePeriodSeconds") == 0));

    private static void Move(string uid, JsonObject? pod, List<string> still, Action count)
    {
        if (pod is not null && pod.Texts("metadata", "finalizers").Contains(JobCore.Finalizer, StringComparer.Ordinal))
            still.Add(uid);
        else
            count();
    }

    private List<string> Uids(string list) => [.. Job.Texts("status", "uncountedTerminatedPods", list)];

    private static DateTimeOffset Ended(JsonObject pod)
        => pod.Items("status", "containerStatuses").Select(status => PodFacts.Time(status.Text("state", "terminated", "finishedAt"))).OfType<DateTimeOffset>().DefaultIfEmpty(PodFacts.Created(pod)).Max();
}
