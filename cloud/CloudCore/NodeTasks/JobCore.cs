using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;
using Edge.Protocol.Messages;

namespace Edge.Cloud.NodeTasks;

/// <summary>An edge node as jobs see it.</summary>
internal sealed record TaskNode(string Name, IReadOnlyDictionary<string, string> Labels, bool IsReady);

/// <summary>The rules of jobs (kubeedge-wire §5.8): which nodes, how many at once, what a report means, when a job ends. Everything stands in the job's status, so whoever leads next
/// goes on from there. Pure.</summary>
/// <remarks>
/// <para>A node goes Pending → InProgress → Successful or Failure. It is started when fewer than <c>concurrency</c> are in progress; nodes that are ready go first. One that
/// has not ended <c>timeoutSeconds</c> after its start has failed, whether it is connected or not. The wait for a confirmation at the node does not count.</para>
/// <para>When more nodes have failed than <c>failureTolerate</c> (a share of all) allows, no further one is started, and the job fails once none is in progress.</para>
/// <para>What a node tells late is noted and may make a failed node a successful one, since that is what is true; the phase of a job that has ended stays.</para>
/// </remarks>
internal static class JobCore
{
    public const string Init = "Init";
    public const string Pending = "Pending";
    public const string InProgress = "InProgress";
    public const string Successful = "Successful";
    public const string Completed = "Completed";
    public const string Failure = "Failure";

    /// <summary>Of a node's status, beside KubeEdge's fields: when the node was started, RFC 3339; the timeout counts from here.</summary>
    public const string StartTime = "startTime";

    private const int TimeoutSecondsDefault = 300;
    private const double FailureTolerateDefault = 0.1;

    public static bool HasEnded(JsonObject job) => job.Text("status", "phase") is Completed or Failure;

    /// <summary>Does what is due: begins the job, fails nodes that are too late, starts nodes, ends the job.</summary>
    /// <param name="job">Its status is changed in place.</param>
    /// <param name="nodes">All edge nodes of the cluster.</param>
    /// <returns>Whether the status changed, and when to look again though nothing happens; null where that is never.</returns>
    public static (bool IsChanged, DateTimeOffset? Next) Advance(TaskKind kind, JsonObject job, IReadOnlyList<TaskNode> nodes, DateTimeOffset now)
    {
        if (HasEnded(job))
            return (false, null);
        var common = kind.Common(job);
        var status = job.Child("status");
        var isChanged = false;
        if (status.Text("phase") != InProgress)
        {
            isChanged = true;
            if (Begin(kind, job, nodes) is { } problem)
            {
                status["phase"] = Failure;
                status["reason"] = problem;
                return (true, null);
            }

            status["phase"] = InProgress;
        }

        var tasks = status.Items("nodeStatus").ToList();
        var timeout = TimeSpan.FromSeconds(common.Number(0, "timeoutSeconds") is > 0 and var seconds ? Math.Min(seconds, 1_000_000_000) : TimeoutSecondsDefault);
        DateTimeOffset? next = null;
        foreach (var task in tasks.Where(task => task.Text("phase") == InProgress && !IsWaitingForConfirmation(common, task)))
        {
            var due = Time(task.Text(StartTime), now) + timeout;
            if (due > now)
            {
                next = next is { } sooner && sooner < due ? sooner : due;
                continue;
            }

            isChanged = true;
            task["phase"] = Failure;
            task["reason"] = task.Items("actionFlow").LastOrDefault() is { } last
                ? $"timed out: nothing came for {timeout.TotalSeconds:0} s in all after {last.Text("action")}"
                : $"timed out: the node told nothing for {timeout.TotalSeconds:0} s; is it connected, and is modules.taskManager of its edgecore on?";
        }

        var tolerate = Tolerate(common, out _);
        var failed = tasks.Count(task => task.Text("phase") == Failure);
        var isTooMany = failed > tolerate * tasks.Count;
        var underWay = tasks.Count(task => task.Text("phase") == InProgress);
        if (!isTooMany)
        {
            var ready = nodes.Where(node => node.IsReady).Select(node => node.Name).ToHashSet(StringComparer.Ordinal);
            var room = (int)Math.Clamp(common.Number(1, "concurrency"), 1, 100_000) - underWay;
            foreach (var task in tasks.Where(task => task.Text("phase") == Pending).OrderBy(task => !ready.Contains(task.Text("nodeName"))).Take(Math.Max(0, room)).ToList())
            {
                task["phase"] = InProgress;
                task[StartTime] = KubeObject.Time(now);
                task.Remove("reason");
                isChanged = true;
                underWay++;
                next = next is { } sooner && sooner < now + timeout ? sooner : now + timeout;
            }
        }

        if (underWay > 0)
            return (isChanged, next);
        if (isTooMany)
        {
            foreach (var task in tasks.Where(task => task.Text("phase") == Pending))
                task["reason"] = "not started: too many nodes had failed before";
        }

        status["phase"] = isTooMany ? Failure : Completed;
        if (failed > 0)
            status["reason"] = $"{failed} of {tasks.Count} nodes failed, {(isTooMany ? "more than" : "which")} failureTolerate {tolerate.ToString(CultureInfo.InvariantCulture)} allows";
        return (true, null);
    }

    /// <summary>Notes what a node told.</summary>
    /// <returns>Null when it is noted (again, perhaps); else why it cannot be.</returns>
    public static string? Report(TaskKind kind, JsonObject job, string node, NodeTaskReport report, DateTimeOffset now)
    {
        if (job["status"].Items("nodeStatus").FirstOrDefault(one => one.Text("nodeName") == node) is not { } task)
            return $"node '{node}' has no part in {kind.Resource.Kind} '{job.Name()}'";
        var at = kind.IndexOf(report.Action);
        if (at < 0)
            return $"a {kind.Resource.Kind} has no action '{report.Action}'";
        var action = new JsonObject
        {
            ["action"] = report.Action, ["status"] = report.Succeeded ? "True" : "False",
            ["time"] = DateTimeOffset.TryParse(report.FinishTime, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var finished) ? KubeObject.Time(finished) : KubeObject.Time(now),
        };
        if (!report.Succeeded || report.Reason.Length > 0)
            action["reason"] = report.Reason;
        // What comes again replaces what came before: a report is sent until it is answered, and a node that restarted does its task anew.
        var flow = task.Items("actionFlow").Where(one => one.Text("action") != report.Action).Select(one => one.DeepClone().AsObject()).Append(action)
            .OrderBy(one => kind.IndexOf(one.Text("action"))).ToList();
        task["actionFlow"] = new JsonArray([.. flow]);
        Extend(kind, task, report);
        var isConfirmed = report.Reason == NodeTaskWire.Confirmed;
        if (kind.Common(job).Flag(false, "requireConfirmation") && report.Action == TaskKind.WaitingConfirmation && report.Succeeded && !isConfirmed)
            return null;
        if (IsWaitingOver(kind, flow, isConfirmed))
            task[StartTime] = KubeObject.Time(now); // the wait for the operator is not the node's
        var (phase, reason) = Outcome(kind, flow);
        if (phase == InProgress && task.Text("phase") is Successful or Failure)
            return null;
        task["phase"] = phase;
        if (reason.Length > 0)
            task["reason"] = reason;
        else
            task.Remove("reason");
        return null;
    }

    /// <summary>The nodes that are to do their part now.</summary>
    public static IEnumerable<JsonObject> UnderWay(JsonObject job)
        => job.Text("status", "phase") == InProgress ? job["status"].Items("nodeStatus").Where(task => task.Text("phase") == InProgress) : [];

    private static string? Begin(TaskKind kind, JsonObject job, IReadOnlyList<TaskNode> nodes)
    {
        var common = kind.Common(job);
        var names = common.Texts("nodeNames").Distinct(StringComparer.Ordinal).ToList();
        var selector = common.At("labelSelector") as JsonObject;
        if (names.Count > 0 == selector is not null)
            return "spec must have either nodeNames or labelSelector";
        _ = Tolerate(common, out var problem);
        if (problem is not null)
            return problem;
        if (kind == TaskKind.ImagePrePull && !common.Texts("images").Any())
            return "spec.imagePrePullTemplate.images is empty";
        if (kind == TaskKind.ConfigUpdate && !common.Map("updateFields").Any())
            return "spec.updateFields is empty";
        if (selector is not null)
        {
            try
            {
                var matches = LabelSelector.FromJson(selector);
                names = [.. nodes.Where(node => matches.Matches(node.Labels)).Select(node => node.Name)];
            }
            catch (SelectorException e)
            {
                return $"spec's labelSelector: {e.Message}";
            }

            if (names.Count == 0)
                return "no edge node has the labels of labelSelector";
        }

        var known = nodes.Select(node => node.Name).ToHashSet(StringComparer.Ordinal);
        job.Child("status")["nodeStatus"] = new JsonArray([.. names.Order(StringComparer.Ordinal).Select(name => known.Contains(name)
            ? new JsonObject { ["nodeName"] = name, ["phase"] = Pending }
            : new JsonObject { ["nodeName"] = name, ["phase"] = Failure, ["reason"] = "there is no edge node of this name" })]);
        return null;
    }

    private static (string Phase, string Reason) Outcome(TaskKind kind, List<JsonObject> flow)
    {
        if (flow.FirstOrDefault(one => one.Text("status") == "False") is { } failed)
        {
            var name = failed.Text("action");
            var reason = $"{name} failed: {failed.Text("reason")}";
            if (name != kind.RollsBackAfter)
                return (Failure, reason);
            return flow.FirstOrDefault(one => one.Text("action") == TaskKind.RollBack) is not { } back ? (InProgress, reason)
                : back.Text("status") == "True" ? (Failure, reason + "; the node was rolled back")
                : (Failure, $"{reason}; RollBack failed too: {back.Text("reason")}");
        }

        return flow.Any(one => one.Text("action") == kind.Steps[^1]) ? (Successful, "") : (InProgress, "");
    }

    private static void Extend(TaskKind kind, JsonObject task, NodeTaskReport report)
    {
        if (kind == TaskKind.NodeUpgrade && report.Extend.Split(',') is [var from, var to])
        {
            task["historicVersion"] = from;
            task["currentVersion"] = to;
        }

        if (kind != TaskKind.ImagePrePull || report.Action != "Pull" || report.Extend.Length == 0)
            return;
        try
        {
            if (JsonNode.Parse(report.Extend) is JsonArray images)
            {
                task["imageStatus"] = new JsonArray([.. images.OfType<JsonObject>().Select(image =>
                {
                    var one = new JsonObject { ["image"] = image.Text("image"), ["status"] = image.Text("status") is ("True" or "False") and var state ? state : "Unknown" };
                    if (image.Text("reason") is { Length: > 0 } reason)
                        one["reason"] = reason;
                    return one;
                })]);
            }
        }
        catch (JsonException)
        {
            // The action's own outcome stands; a stock edge sends nothing here when it fails early.
        }
    }

    private static bool IsWaitingForConfirmation(JsonNode? common, JsonObject task)
        => common.Flag(false, "requireConfirmation") && task.Items("actionFlow").LastOrDefault() is { } last && last.Text("action") == TaskKind.WaitingConfirmation
            && last.Text("reason") != NodeTaskWire.Confirmed;

    // A stock edge tells nothing of the confirmation itself.
    private static bool IsWaitingOver(TaskKind kind, List<JsonObject> flow, bool isConfirmed)
        => kind == TaskKind.NodeUpgrade && (flow[^1].Text("action") == "BackUp" || isConfirmed && flow[^1].Text("action") == TaskKind.WaitingConfirmation);

    private static double Tolerate(JsonNode? common, out string? problem)
    {
        problem = null;
        var text = common.Text("failureTolerate");
        if (text.Length == 0)
            return FailureTolerateDefault;
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var share) && share is >= 0 and <= 1)
            return share;
        problem = $"spec's failureTolerate is '{text}', must be a share of the nodes from 0 to 1, e.g. 0.1";
        return FailureTolerateDefault;
    }

    private static DateTimeOffset Time(string text, DateTimeOffset absent)
        => DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : absent;
}
