using Edge.Core.Edged.Probes;

namespace Edge.Core.Edged;

/// <summary>Decides what to do for one pod. Pure: the wanted pod, the runtime's state, results and the time come in, actions go out.</summary>
/// <remarks>
/// <code>
/// wanted            runtime                                   actions
/// deleted/deleting  containers run                            StopContainer each
/// deleted/deleting  sandboxes or containers left              StopSandbox, RemoveContainer, RemoveSandbox
/// deleted/deleting  nothing left                              Finish
/// ended             sandbox ready                             StopSandbox
/// ended             all stopped                               RemoveVolumes, once
/// ended, discarded  sandboxes or containers left              RemoveContainer, RemoveSandbox
/// run               no ready sandbox, containers run          StopContainer each
/// run               no ready sandbox                          StopSandbox old ones, RunSandbox
/// run               sandbox ready, init container i not done  StartContainer i, or wait for its end or back-off
/// run               sandbox ready, ephemeral never started    StartContainer, once
/// run               init done                                 StartContainer each that is missing or due for a restart
/// run               a liveness or startup probe has failed    StopContainer, which then ended like any other
/// run               a container's image is another now        StopContainer, which is started again at once
/// run               active longer than activeDeadlineSeconds  as ended
/// </code>
/// An init container is done when it has ended well; a sidecar (restartPolicy Always) when it has started. Sidecars are stopped after all others, last one first.
/// After each batch the shell calls the Note methods for what happened, reads the runtime again and calls <see cref="Decide"/> again.
/// </remarks>
internal sealed partial class PodCore
{
    /// <summary>First and longest delay before a container that ended is started again, and the time of running well that resets it.</summary>
    public static readonly TimeSpan BackOffFirst = TimeSpan.FromSeconds(10);
    public static readonly TimeSpan BackOffMost = TimeSpan.FromMinutes(5);
    public static readonly TimeSpan BackOffReset = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan s_configRetry = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_failureShown = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_stopRetry = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_volumesRetry = TimeSpan.FromMinutes(1);

    private readonly Dictionary<string, RestartState> _restarts = new(StringComparer.Ordinal);
    private readonly HashSet<string> _killed = new(StringComparer.Ordinal); // for a probe
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal); // for another image
    private int _sandboxFailures;
    private DateTimeOffset _sandboxRetry;
    private DateTimeOffset _stopRetry;
    private DateTimeOffset _volumesRetry;

    /// <summary>Why containers are not running, by name; for the status.</summary>
    public Dictionary<string, StartFailure> Waiting { get; } = new(StringComparer.Ordinal);

    /// <summary>When the pod became active on this node; activeDeadlineSeconds counts from it.</summary>
    public DateTimeOffset StartTime { get; init; } = DateTimeOffset.MaxValue;

    /// <summary>Restart counts said last, by name: counting goes on from them when the runtime has lost the containers.</summary>
    public IReadOnlyDictionary<string, uint> LastRestarts { get; init; } = new Dictionary<string, uint>();

    /// <summary>Why this node ended the pod before its containers did; null when it did not.</summary>
    public PodFailure? Failure { get; private set; }

    /// <summary>True once the core has decided that the pod's sandbox is to go because all its containers ended for good.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>The actions to do now, in order; empty or a single WaitUntil when there is nothing to do.</summary>
    /// <param name="pod">The newest known object.</param>
    /// <param name="removed">True when the pod must go: deleted from the store, replaced, or being deleted.</param>
    /// <param name="probes">What the probes say of the containers.</param>
    public List<PodAction> Decide(PodDescription pod, bool removed, PodSnapshot snapshot, ProbeVerdicts probes, DateTimeOffset now)
    {
        if (removed || pod.IsDeleting)
            return Remove(pod, snapshot, now);
        if (HasEnded || IsEnded(pod, snapshot))
            return End(pod, snapshot, now);
        var deadline = pod.ActiveDeadline is { } limit && StartTime < DateTimeOffset.MaxValue - limit ? StartTime + limit : DateTimeOffset.MaxValue;
        if (now >= deadline)
        {
            Failure = new PodFailure("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
            return [new PodAction.Report(Failure.Reason, Failure.Message), .. End(pod, snapshot, now)];
        }

        if (snapshot.Ready is not { } sandbox)
            return Sandbox(pod, snapshot, deadline, now);
        var actions = new List<PodAction>();
        Tidy(pod, snapshot, sandbox, actions);
        var until = deadline;
        foreach (var container in pod.EphemeralContainers)
            ConsiderEphemeral(container, snapshot, sandbox, now, actions, ref until);
        if (InitDone(pod, snapshot, sandbox, probes, now, actions, ref until))
        {
            foreach (var container in pod.Containers)
                Consider(pod, container, snapshot, sandbox, probes, now, actions, ref until);
        }

        if (until < DateTimeOffset.MaxValue)
            actions.Add(new PodAction.WaitUntil(until));
        return actions;
    }

    /// <summary>A sandbox could not be run.</summary>
    public void NoteSandboxFailed(StartFailure failure, PodDescription pod, DateTimeOffset now)
    {
        _sandboxRetry = now + Exponential(TimeSpan.FromSeconds(1), _sandboxFailures++, TimeSpan.FromSeconds(60));
        foreach (var container in pod.InitContainers.Concat(pod.Containers))
            Waiting[container.Name] = new StartFailure("ContainerCreating", failure.Message);
    }

    public void NoteSandboxStarted()
    {
        _sandboxFailures = 0;
        Waiting.Clear();
    }

    /// <summary>A container was started.</summary>
    public void NoteStarted(string name)
    {
        Waiting.Remove(name);
        if (_restarts.TryGetValue(name, out var state))
            state.PullFailures = 0;
    }

    /// <summary>A container could not be started. Pulls back off exponentially; missing configuration is tried again in 3 s or on change.</summary>
    public void NoteStartFailed(string name, StartFailure failure, DateTimeOffset now)
    {
        var state = State(name);
        state.Attempted = now;
        if (failure.Reason is "ErrImagePull")
        {
            state.Retry = now + Exponential(BackOffFirst, state.PullFailures++, BackOffMost);
        }
        else
        {
            state.Retry = now + s_configRetry;
        }

        Waiting[name] = failure;
    }

    /// <summary>Stopping failed; it is tried again in 2 s.</summary>
    public void NoteStopFailed(DateTimeOffset now) => _stopRetry = now + s_stopRetry;

    /// <summary>The volumes of the pod, which has ended, are gone.</summary>
    public void NoteVolumesRemoved() => _volumesRetry = DateTimeOffset.MaxValue;

    /// <summary>They could not be removed; it is tried again in a minute.</summary>
    public void NoteVolumesStay(DateTimeOffset now) => _volumesRetry = now + s_volumesRetry;

    /// <summary>Something the pod reads has changed: what failed for missing configuration is tried at once.</summary>
    public void NoteReferencesChanged()
    {
        _sandboxRetry = DateTimeOffset.MinValue;
        foreach (var (name, failure) in Waiting)
        {
            if (failure.Reason is "CreateContainerConfigError" or "CreateContainerError")
                State(name).Retry = DateTimeOffset.MinValue;
        }
    }

    /// <summary>Whether a container of this policy that ended with this code is to run again.</summary>
    public static bool ShouldRestart(string policy, int exitCode) => policy switch
    {
        "Never" => false,
        "OnFailure" => exitCode != 0,
        _ => true,
    };

    /// <summary>Whether the container is to run again now that it has ended. One that was killed for a probe is, however well it went; one that was killed because its
    /// image is another now is under every policy.</summary>
    public bool WillRestart(string policy, ContainerView ended)
        => ShouldRestart(policy, ended.ExitCode) || policy != "Never" && _killed.Contains(ended.Id) || _changed.Contains(ended.Id);

    private static IEnumerable<ContainerView> Running(PodSnapshot snapshot)
        => snapshot.Containers.Where(container => container.Phase is ContainerPhase.Running or ContainerPhase.Unknown);

    private static TimeSpan Exponential(TimeSpan first, int failures, TimeSpan most)
        => TimeSpan.FromTicks(Math.Min(most.Ticks, first.Ticks << Math.Min(failures, 20)));

    private List<PodAction> Remove(PodDescription pod, PodSnapshot snapshot, DateTimeOffset now)
    {
        if (now < _stopRetry)
            return [new PodAction.WaitUntil(_stopRetry)];
        var stops = Stops(pod, snapshot);
        if (stops.Count > 0)
            return stops;
        if (snapshot.Sandboxes.Count == 0 && snapshot.Containers.Count == 0)
            return [new PodAction.Finish()];
        return
        [
            .. snapshot.Sandboxes.Select(sandbox => new PodAction.StopSandbox(sandbox.Id)),
            .. snapshot.Containers.Select(container => new PodAction.RemoveContainer(container.Id)),
            .. snapshot.Sandboxes.Select(sandbox => new PodAction.RemoveSandbox(sandbox.Id)),
        ];
    }

    private List<PodAction> End(PodDescription pod, PodSnapshot snapshot, DateTimeOffset now)
    {
        HasEnded = true;
        Waiting.Clear();
        if (now < _stopRetry)
            return [new PodAction.WaitUntil(_stopRetry)];
        List<PodAction> stops = [.. Stops(pod, snapshot), .. snapshot.Sandboxes.Where(sandbox => sandbox.Ready).Select(sandbox => new PodAction.StopSandbox(sandbox.Id))];
        if (stops.Count > 0)
            return stops;

        // What it held of the node's memory and disk is free now, though its object stays.
        if (now >= _volumesRetry)
            return [new PodAction.RemoveVolumes()];
        if (pod.IsDiscarded && (snapshot.Sandboxes.Count > 0 || snapshot.Containers.Count > 0))
        {
            return
            [
                .. snapshot.Containers.Select(container => new PodAction.RemoveContainer(container.Id)),
                .. snapshot.Sandboxes.Select(sandbox => new PodAction.RemoveSandbox(sandbox.Id)),
            ];
        }

        return _volumesRetry < DateTimeOffset.MaxValue ? [new PodAction.WaitUntil(_volumesRetry)] : [];
    }

    // Sidecars serve the others to the last: their SIGTERM comes when the others have ended, and of the sidecars the last one goes first.
    private static List<PodAction> Stops(PodDescription pod, PodSnapshot snapshot)
    {
        var sidecars = pod.InitContainers.Where(init => init.IsSidecar).Select(init => init.Name).Reverse().ToList();
        return [.. Running(snapshot).Select(view => new PodAction.StopContainer(view, pod.Grace, Order: sidecars.IndexOf(view.Name) + 1)).OrderBy(stop => stop.Order)];
    }

    // As a kubelet: what still runs is stopped with its grace before the sandbox goes.
    private List<PodAction> Sandbox(PodDescription pod, PodSnapshot snapshot, DateTimeOffset deadline, DateTimeOffset now)
    {
        var retry = Max(_sandboxRetry, _stopRetry);
        if (now < retry)
            return [new PodAction.WaitUntil(Min(retry, deadline))];
        if (snapshot.Sandboxes.Count == 0)
            return [new PodAction.RunSandbox(0)];
        var changed = new PodAction.Report("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        var stops = Stops(pod, snapshot);
        if (stops.Count > 0)
            return [changed, .. stops];
        return [changed, .. snapshot.Sandboxes.Select(old => new PodAction.StopSandbox(old.Id)), new PodAction.RunSandbox(snapshot.Sandboxes.Max(sandbox => sandbox.Attempt) + 1)];
    }

    private bool IsEnded(PodDescription pod, PodSnapshot snapshot)
    {
        if (pod.EndedPhase.Length > 0)
            return true;
        foreach (var init in pod.InitContainers)
        {
            if (!init.IsSidecar && pod.RestartPolicy == "Never" && snapshot.Newest(init.Name) is { Phase: ContainerPhase.Exited, ExitCode: not 0 }
                && pod.Containers.All(container => snapshot.Newest(container.Name) is null))
                return true;
        }

        return pod.Containers.All(container =>
            snapshot.Newest(container.Name) is { Phase: ContainerPhase.Exited } newest && !WillRestart(pod.RestartPolicy, newest));
    }

    private bool InitDone(
        PodDescription pod, PodSnapshot snapshot, SandboxView sandbox, ProbeVerdicts probes, DateTimeOffset now, List<PodAction> actions, ref DateTimeOffset until)
    {
        var anyMain = pod.Containers.Any(container => snapshot.Containers.Any(view => view.Name == container.Name && view.SandboxId == sandbox.Id));
        foreach (var init in pod.InitContainers)
        {
            var newest = snapshot.Newest(init.Name) is { } view && view.SandboxId == sandbox.Id ? view : null;
            if (init.IsSidecar)
            {
                Consider(pod, init, snapshot, sandbox, probes, now, actions, ref until);
                if (!anyMain && !probes.IsStarted(init, newest))
                    return false;
                continue;
            }

            if (anyMain || newest is { Phase: ContainerPhase.Exited, ExitCode: 0 })
                continue;
            Consider(pod, init, snapshot, sandbox, probes, now, actions, ref until);
            return false;
        }

        return true;
    }

    private void Consider(
        PodDescription pod, ContainerDescription container, PodSnapshot snapshot, SandboxView sandbox, ProbeVerdicts probes, DateTimeOffset now,
        List<PodAction> actions, ref DateTimeOffset until)
    {
        var newest = snapshot.Newest(container.Name);
        var here = newest is not null && newest.SandboxId == sandbox.Id;
        var state = State(container.Name);
        if (here && newest!.Phase == ContainerPhase.Running)
        {
            Waiting.Remove(container.Name);
            if (HasChanged(container, newest))
                Kill(new PodAction.StopContainer(newest, pod.Grace, $"Container {container.Name} definition changed, will be restarted"), _changed, now, actions, ref until);
            else if (probes.Find(newest.Id) is { Failed: { } kind })
                Kill(ForProbe(pod, container, newest, kind), _killed, now, actions, ref until);
            return;
        }

        if (here && newest!.Phase == ContainerPhase.Unknown)
        {
            actions.Add(new PodAction.StopContainer(newest, TimeSpan.Zero));
            return;
        }

        if (now < state.Retry)
        {
            if (Waiting.TryGetValue(container.Name, out var failed) && failed.Reason == "ErrImagePull")
            {
                // The failure itself is to be seen before the back-off.
                if (now < state.Attempted + s_failureShown)
                {
                    until = Min(until, state.Attempted + s_failureShown);
                    return;
                }

                Waiting[container.Name] = new StartFailure("ImagePullBackOff", $"Back-off pulling image \"{container.Image}\": {failed.Reason}: {failed.Message}");
                actions.Add(new PodAction.Report("BackOff", $"Back-off pulling image \"{container.Image}\""));
            }

            until = Min(until, state.Retry);
            return;
        }

        if (here && newest!.Phase == ContainerPhase.Created)
        {
            // Left by a start that did not come to its end: make it again, as the same attempt.
            actions.Add(new PodAction.RemoveContainer(newest.Id));
            actions.Add(new PodAction.StartContainer(container, sandbox.Id, newest.Attempt));
            return;
        }

        if (here)
        {
            var policy = container.IsSidecar ? "Always" : container.IsInit && pod.RestartPolicy == "Always" ? "OnFailure" : pod.RestartPolicy;
            if (!WillRestart(policy, newest!))
                return;
            if (!HasChanged(container, newest!) && !MayRestart(state, newest!, now, out var due))
            {
                Waiting[container.Name] = new StartFailure(
                    "CrashLoopBackOff",
                    $"back-off {Duration(state.Delay)} restarting failed container={container.Name} pod={pod.Name}_{pod.Namespace}({pod.Uid})");
                until = Min(until, due);
                return;
            }
        }
        else if (newest is not null && !container.IsInit && newest.Phase == ContainerPhase.Exited && !WillRestart(pod.RestartPolicy, newest))
        {
            // It ended for good in an earlier sandbox.
            return;
        }

        var attempt = newest is not null ? newest.Attempt + 1 : LastRestarts.TryGetValue(container.Name, out var last) ? last + 1 : 0;
        actions.Add(new PodAction.StartContainer(container, sandbox.Id, attempt));
    }

    // Of each container the newest and the one before it are kept, for its log and last state.
    private void Tidy(PodDescription pod, PodSnapshot snapshot, SandboxView sandbox, List<PodAction> actions)
    {
        foreach (var container in pod.InitContainers.Concat(pod.Containers))
        {
            foreach (var old in snapshot.Containers.Where(view => view.Name == container.Name).OrderByDescending(view => view.Attempt).Skip(2))
            {
                if (old.Phase == ContainerPhase.Exited)
                    actions.Add(new PodAction.RemoveContainer(old.Id));
            }
        }

        foreach (var ids in (HashSet<string>[])[_killed, _changed])
            ids.RemoveWhere(id => !snapshot.Containers.Any(view => view.Id == id));
        foreach (var old in snapshot.Sandboxes)
        {
            if (old.Id != sandbox.Id && !snapshot.Containers.Any(container => container.SandboxId == old.Id))
                actions.AddRange([new PodAction.StopSandbox(old.Id), new PodAction.RemoveSandbox(old.Id)]);
        }
    }

    private static string Duration(TimeSpan delay)
        => delay < TimeSpan.FromMinutes(1) ? $"{(int)delay.TotalSeconds}s" : $"{(int)delay.TotalMinutes}m{delay.Seconds}s";

    private static DateTimeOffset Max(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

    private static DateTimeOffset Min(DateTimeOffset a, DateTimeOffset b) => a < b ? a : b;

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
