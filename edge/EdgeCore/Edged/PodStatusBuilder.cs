using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged;

/// <summary>Builds the v1 PodStatus of one pod. Pure; keeps the times of condition changes between calls.</summary>
internal sealed class PodStatusBuilder
{
    private readonly Dictionary<string, (string Status, string Since)> _conditions = new(StringComparer.Ordinal);
    private readonly string _startTime;

    /// <param name="last">The status said last, or null: its conditions and start time go on, so that a restart of EdgeCore changes no time.</param>
    public PodStatusBuilder(JsonObject? last, DateTimeOffset now)
    {
        foreach (var condition in last.Items("conditions"))
        {
            if (condition.Text("lastTransitionTime") is { Length: > 0 } since)
                _conditions[condition.Text("type")] = (condition.Text("status"), since);
        }

        _startTime = last.Text("startTime") is { Length: > 0 } start ? start : KubeObject.Time(now);
    }

    /// <summary>The whole status. Members that must vanish from an older status are null, as a merge patch wants it.</summary>
    public JsonObject Build(PodDescription pod, PodSnapshot snapshot, PodCore core, string hostIp, DateTimeOffset now)
    {
        var ready = snapshot.Ready;
        var inits = pod.InitContainers.Select(container => Container(pod, container, snapshot, core)).ToList();
        var mains = pod.Containers.Select(container => Container(pod, container, snapshot, core)).ToList();
        var phase = Phase(pod, snapshot);
        var ended = phase is "Succeeded" or "Failed";
        var anyMain = pod.Containers.Any(container => snapshot.Newest(container.Name) is not null);
        var initialized = anyMain || inits.TrueForAll(status => status.Flag(false, "ready"));
        var unready = mains.Where(status => !status.Flag(false, "ready")).Select(status => status.Text("name")).ToList();
        var unreadyReason = phase == "Succeeded" ? "PodCompleted" : phase == "Failed" ? "PodFailed" : "ContainersNotReady";
        var unreadyMessage = ended ? null : $"containers with unready status: [{string.Join(' ', unready)}]";
        var conditions = new JsonArray(
            Condition("PodReadyToStartContainers", ready is not null, null, null, now),
            initialized
                ? Condition("Initialized", true, phase == "Succeeded" ? "PodCompleted" : null, null, now)
                : Condition("Initialized", false, "ContainersNotInitialized", $"containers with incomplete status: [{string.Join(' ', inits.Where(status => !status.Flag(false, "ready")).Select(status => status.Text("name")))}]", now),
            Condition("Ready", unready.Count == 0 && !ended, unready.Count == 0 && !ended ? null : unreadyReason, unready.Count == 0 ? null : unreadyMessage, now),
            Condition("ContainersReady", unready.Count == 0 && !ended, unready.Count == 0 && !ended ? null : unreadyReason, unready.Count == 0 ? null : unreadyMessage, now),
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
        if (inits.Count > 0)
            status["initContainerStatuses"] = new JsonArray([.. inits]);
        IReadOnlyList<string> ips = pod.HostNetwork ? [hostIp] : ready?.Ips ?? [];
        if (ips.Count > 0)
        {
            status["podIP"] = ips[0];
            status["podIPs"] = new JsonArray([.. ips.Select(ip => new JsonObject { ["ip"] = ip })]);
        }

        return status;
    }

    /// <summary>The patch that turns <paramref name="old"/> (the status sent last, or the stored one) into <paramref name="status"/>.</summary>
    /// <remarks>A strategic merge joins podIPs by address, so an address that is no longer held is deleted by name.</remarks>
    public static JsonObject Patch(string uid, JsonObject? old, JsonObject status)
    {
        var patch = (JsonObject)status.DeepClone();
        var now = status.Items("podIPs").Select(ip => ip.Text("ip")).ToHashSet(StringComparer.Ordinal);
        var gone = (old?.Items("podIPs") ?? []).Select(ip => ip.Text("ip")).Where(ip => !now.Contains(ip)).ToList();
        if (gone.Count > 0)
        {
            var list = patch["podIPs"] as JsonArray ?? [];
            foreach (var ip in gone)
                list.Add((JsonNode)new JsonObject { ["$patch"] = "delete", ["ip"] = ip });
            patch["podIPs"] = list;
            if (patch["podIP"] is null)
                patch["podIP"] = null;
        }

        return new JsonObject { ["metadata"] = new JsonObject { ["uid"] = uid }, ["status"] = patch };
    }

    // As a kubelet: a container that has not run yet holds the pod at Pending, and a pod that has ended stays as it ended.
    private static string Phase(PodDescription pod, PodSnapshot snapshot)
    {
        if (pod.EndedPhase.Length > 0)
            return pod.EndedPhase;
        var newest = pod.Containers.Select(container => snapshot.Newest(container.Name)).ToList();
        var failedInit = pod.RestartPolicy == "Never" && pod.InitContainers.Any(init =>
            !init.IsSidecar && snapshot.Newest(init.Name) is { Phase: ContainerPhase.Exited, ExitCode: not 0 });
        if (failedInit && newest.TrueForAll(view => view is null))
            return "Failed";
        if (newest.Exists(view => view is null || view.Phase == ContainerPhase.Created && !HasRun(view.Name, snapshot)))
            return "Pending";
        if (newest.TrueForAll(view => view!.Phase == ContainerPhase.Exited && !PodCore.ShouldRestart(pod.RestartPolicy, view.ExitCode)))
            return newest.TrueForAll(view => view!.ExitCode == 0) ? "Succeeded" : "Failed";
        return "Running";
    }

    private static bool HasRun(string name, PodSnapshot snapshot)
        => snapshot.Containers.Any(view => view.Name == name && view.Phase != ContainerPhase.Created);

    private static JsonObject Container(PodDescription pod, ContainerDescription container, PodSnapshot snapshot, PodCore core)
    {
        var all = snapshot.Containers.Where(view => view.Name == container.Name).OrderByDescending(view => view.Attempt).ToList();
        var newest = all.FirstOrDefault();
        var previous = all.Skip(1).FirstOrDefault(view => view.Phase == ContainerPhase.Exited);
        var status = new JsonObject
        {
            ["name"] = container.Name,
            ["image"] = newest?.Image is { Length: > 0 } image ? image : container.Image,
            ["imageID"] = newest?.ImageId ?? "",
            ["restartCount"] = newest?.Attempt ?? 0,
        };
        if (newest is not null)
            status["containerID"] = "containerd://" + newest.Id;
        var running = newest is { Phase: ContainerPhase.Running };
        status["ready"] = container.IsInit && !container.IsSidecar ? newest is { Phase: ContainerPhase.Exited, ExitCode: 0 } : running;
        status["started"] = running;
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
            status["state"] = Terminated(newest);
        else
            status["state"] = new JsonObject { ["waiting"] = new JsonObject { ["reason"] = pod.InitContainers.Count > 0 && !container.IsInit ? "PodInitializing" : "ContainerCreating" } };
        status["lastState"] = previous is null ? new JsonObject() : Terminated(previous);
        return status;
    }

    private static JsonObject Terminated(ContainerView view)
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
            terminated["message"] = view.Message;
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
