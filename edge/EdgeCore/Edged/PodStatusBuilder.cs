using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Lifecycle;
using Edge.Core.Edged.Probes;
using Edge.Kubernetes;

namespace Edge.Core.Edged;

/// <summary>Builds the v1 PodStatus of one pod. Pure; keeps the times of condition changes between calls.</summary>
internal sealed class PodStatusBuilder
{
    private readonly Dictionary<string, (string Status, string Since)> _conditions = new(StringComparer.Ordinal);
    private readonly string _startTime;
    private readonly PodFailure? _lastFailure;

    /// <param name="last">The status said last, or null: its conditions and start time go on, so that a restart of EdgeCore changes no time.</param>
    public PodStatusBuilder(JsonObject? last, DateTimeOffset now)
    {
        foreach (var condition in last.Items("conditions"))
        {
            if (condition.Text("lastTransitionTime") is { Length: > 0 } since)
                _conditions[condition.Text("type")] = (condition.Text("status"), since);
        }

        _startTime = last.Text("startTime") is { Length: > 0 } start ? start : KubeObject.Time(now);
        StartTime = DateTimeOffset.TryParse(_startTime, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : now;
        if (last.Text("phase") == "Failed" && last.Text("reason") is { Length: > 0 } reason)
            _lastFailure = new PodFailure(reason, last.Text("message"));
    }

    /// <summary>When the pod became active on this node.</summary>
    public DateTimeOffset StartTime { get; }

    /// <summary>The restart counts of a status, of the containers that had been made.</summary>
    public static IReadOnlyDictionary<string, uint> Restarts(JsonObject? status)
        => status.Items("initContainerStatuses").Concat(status.Items("containerStatuses"))
            .Where(container => container.Text("containerID").Length > 0)
            .GroupBy(container => container.Text("name"), StringComparer.Ordinal)
            .ToDictionary(same => same.Key, same => (uint)Math.Clamp(same.Max(container => container.Number(0, "restartCount")), 0, int.MaxValue), StringComparer.Ordinal);

    /// <summary>The whole status. Members that must vanish from an older status are null, as a merge patch wants it.</summary>
    /// <param name="probes">What the probes say of the containers.</param>
    public JsonObject Build(PodDescription pod, PodSnapshot snapshot, PodCore core, ProbeVerdicts probes, string hostIp, DateTimeOffset now)
    {
        var ready = snapshot.Ready;
        var inits = pod.InitContainers.Select(container => Container(pod, container, snapshot, core, probes)).ToList();
        var mains = pod.Containers.Select(container => Container(pod, container, snapshot, core, probes)).ToList();
        var phase = Phase(pod, snapshot, core);
        var ended = phase is "Succeeded" or "Failed";
        var anyMain = pod.Containers.Any(container => snapshot.Newest(container.Name) is not null);
        var uninitialized = pod.InitContainers.Zip(inits).Where(init => !init.Second.Flag(false, init.First.IsSidecar ? "started" : "ready")).Select(init => init.First.Name).ToList();
        var initialized = anyMain || uninitialized.Count == 0;
        var counted = pod.InitContainers.Zip(inits).Where(init => init.First.IsSidecar).Select(init => init.Second).Concat(mains);
        var unready = counted.Where(status => !status.Flag(false, "ready")).Select(status => status.Text("name")).ToList();
        var unreadyReason = phase == "Succeeded" ? "PodCompleted" : phase == "Failed" ? "PodFailed" : "ContainersNotReady";
        var unreadyMessage = ended ? null : $"containers with unready status: [{string.Join(' ', unready)}]";
        var isReady = unready.Count == 0 && !ended;
        var gates = Gates(pod);
        var conditions = new JsonArray(
            Condition("PodReadyToStartContainers", ready is not null, null, null, now),
            initialized
                ? Condition("Initialized", true, phase == "Succeeded" ? "PodCompleted" : null, null, now)
                : Condition("Initialized", false, "ContainersNotInitialized", $"containers with incomplete status: [{string.Join(' ', uninitialized)}]", now),
            isReady && gates.Length > 0
                ? Condition("Ready", false, "ReadinessGatesNotReady", gates, now)
                : Condition("Ready", isReady, isReady ? null : unreadyReason, isReady ? null : unreadyMessage, now),
            Condition("ContainersReady", isReady, isReady ? null : unreadyReason, isReady ? null : unreadyMessage, now),
            Condition("PodScheduled", true, null, null, now));
        var status = new JsonObject
        {
            ["phase"] = phase,
            ["conditions"] = conditions,
            ["hostIP"] = hostIp,
            ["hostIPs"] = new JsonArray(new JsonObject { ["ip"] = hostIp }),
            ["startTime"] = _startTime,
            ["qosClass"] = pod.QosClass,
            ["containerStatuses"] = new JsonArray([.. mains]),
        };
        if (phase == "Failed" && (core.Failure ?? _lastFailure) is { } failure)
            (status["reason"], status["message"]) = (failure.Reason, failure.Message);
        if (inits.Count > 0)
            status["initContainerStatuses"] = new JsonArray([.. inits]);
        if (pod.EphemeralContainers.Count > 0)
            status["ephemeralContainerStatuses"] = new JsonArray([.. pod.EphemeralContainers.Select(container => Container(pod, container, snapshot, core, probes))]);
        IReadOnlyList<string> ips = pod.HostNetwork ? [hostIp] : ready?.Ips ?? [];
        if (ips.Count > 0)
        {
            status["podIP"] = ips[0];
            status["podIPs"] = new JsonArray([.. ips.Select(ip => new JsonObject { ["ip"] = ip })]);
        }

        return status;
    }

    /// <summary>The patch that turns whatever the API has into <paramref name="status"/>.</summary>
    /// <param name="old">The status sent last, or the stored one.</param>
    /// <remarks>A strategic merge joins podIPs and hostIPs by address, so the lists are replaced. To delete by name what <paramref name="old"/> had is not enough: of two reports that wait, the newest alone
    /// is sent, and with the other one its deletion would be lost.</remarks>
    public static JsonObject Patch(string uid, JsonObject? old, JsonObject status)
    {
        var patch = (JsonObject)status.DeepClone();
        if (patch["podIPs"] is null && old.Items("podIPs").Any())
        {
            patch["podIPs"] = new JsonArray();
            patch["podIP"] = null;
        }

        foreach (var key in (string[])["podIPs", "hostIPs"])
        {
            if (patch[key] is JsonArray list)
                list.Insert(0, new JsonObject { ["$patch"] = "replace" });
        }

        var metadata = new JsonObject();
        if (uid.Length > 0)
            metadata["uid"] = uid;
        return new JsonObject { ["metadata"] = metadata, ["status"] = patch };
    }

    // As a kubelet: a container that has not run yet holds the pod at Pending, and a pod that has ended stays as it ended.
    // It ends only when its last container has: until then a sidecar, or what is killed at the deadline, still runs.
    private static string Phase(PodDescription pod, PodSnapshot snapshot, PodCore core)
    {
        if (pod.EndedPhase.Length > 0)
            return pod.EndedPhase;
        if (snapshot.Containers.Any(view => view.Phase == ContainerPhase.Running) && core.HasEnded)
            return "Running";
        if (core.Failure is not null)
            return "Failed";
        var newest = pod.Containers.Select(container => snapshot.Newest(container.Name)).ToList();
        var failedInit = pod.RestartPolicy == "Never" && pod.InitContainers.Any(init =>
            !init.IsSidecar && snapshot.Newest(init.Name) is { Phase: ContainerPhase.Exited, ExitCode: not 0 });
        if (failedInit && newest.TrueForAll(view => view is null))
            return "Failed";
        if (newest.Exists(view => view is null || view.Phase == ContainerPhase.Created && !HasRun(view.Name, snapshot)))
            return "Pending";
        if (newest.TrueForAll(view => view!.Phase == ContainerPhase.Exited && !core.WillRestart(pod.RestartPolicy, view)))
            return newest.TrueForAll(view => view!.ExitCode == 0) ? "Succeeded" : "Failed";
        return "Running";
    }

    private static bool HasRun(string name, PodSnapshot snapshot)
        => snapshot.Containers.Any(view => view.Name == name && view.Phase != ContainerPhase.Created);

    // Empty when every readiness gate is open, else a kubelet's words for those that are not. What opens them is written to the pod's status by others.
    private static string Gates(PodDescription pod)
    {
        var closed = new List<string>();
        foreach (var type in pod.Json.Items("spec", "readinessGates").Select(gate => gate.Text("conditionType")))
        {
            var condition = pod.Json.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") == type);
            if (condition is null)
                closed.Add($"corresponding condition of pod readiness gate \"{type}\" does not exist.");
            else if (condition.Text("status") != "True")
                closed.Add($"the status of pod readiness gate \"{type}\" is not \"True\", but {condition.Text("status")}");
        }

        return string.Join(", ", closed);
    }

    private static JsonObject Container(PodDescription pod, ContainerDescription container, PodSnapshot snapshot, PodCore core, ProbeVerdicts probes)
    {
        var all = snapshot.Containers.Where(view => view.Name == container.Name).OrderByDescending(view => view.Attempt).ToList();
        var newest = all.FirstOrDefault();
        var previous = all.Skip(1).FirstOrDefault(view => view.Phase == ContainerPhase.Exited);
        var status = new JsonObject
        {
            ["name"] = container.Name,
            ["image"] = newest?.Image is { Length: > 0 } image ? image : container.Image,
            ["imageID"] = newest?.ImageId ?? "",
            ["restartCount"] = newest?.Attempt ?? core.LastRestarts.GetValueOrDefault(container.Name),
        };
        if (newest is not null)
            status["containerID"] = "containerd://" + newest.Id;
        var running = newest is { Phase: ContainerPhase.Running };
        status["ready"] = container.IsEphemeral ? false : container.IsInit && !container.IsSidecar ? newest is { Phase: ContainerPhase.Exited, ExitCode: 0 } : probes.IsReady(container, newest);
        if (!container.IsEphemeral)
            status["started"] = probes.IsStarted(container, newest);
        var waiting = core.Waiting.GetValueOrDefault(container.Name);
        if (running)
            status["state"] = new JsonObject { ["running"] = new JsonObject { ["startedAt"] = KubeObject.Time(newest!.Started) } };
        else if (waiting is not null)
        {
            var state = new JsonObject { ["reason"] = waiting.Reason };
            if (waiting.Message.Length > 0 && waiting.Reason != "ContainerCreating")
                state["message"] = waiting.Message;
            status["state"] = new JsonObject { ["waiting"] = state };
            previous = newest is { Phase: ContainerPhase.Exited } ? newest : previous;
        }
        else if (newest is { Phase: ContainerPhase.Exited })
            status["state"] = Terminated(pod, newest);
        else
            status["state"] = new JsonObject { ["waiting"] = new JsonObject { ["reason"] = pod.InitContainers.Count > 0 && container is { IsInit: false, IsEphemeral: false } ? "PodInitializing" : "ContainerCreating" } };
        status["lastState"] = previous is null ? new JsonObject() : Terminated(pod, previous);
        return status;
    }

    private static JsonObject Terminated(PodDescription pod, ContainerView view)
    {
        var terminated = new JsonObject
        {
            ["exitCode"] = view.ExitCode,
            ["reason"] = view.Reason.Length > 0 ? view.Reason : view.ExitCode == 0 ? "Completed" : "Error",
            ["startedAt"] = KubeObject.Time(view.Started),
            ["finishedAt"] = KubeObject.Time(view.Finished),
            ["containerID"] = "containerd://" + view.Id,
        };
        if (view.Message.Length > 0)
            terminated["message"] = TerminationMessages.Limit(view.Message, pod.Containers.Count + pod.InitContainers.Count);
        return new JsonObject { ["terminated"] = terminated };
    }

    private JsonObject Condition(string type, bool value, string? reason, string? message, DateTimeOffset now)
    {
        var status = value ? "True" : "False";
        if (!_conditions.TryGetValue(type, out var known) || known.Status != status)
            _conditions[type] = known = (status, KubeObject.Time(now));
        return new JsonObject
        {
            ["type"] = type,
            ["status"] = status,
            ["lastProbeTime"] = null,
            ["lastTransitionTime"] = known.Since,
            ["reason"] = reason,
            ["message"] = message,
        };
    }
}
