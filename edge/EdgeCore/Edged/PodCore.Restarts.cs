using Edge.Core.Edged.Probes;

namespace Edge.Core.Edged;

/// <content>When a container is killed to be started again, and when one that ended is.</content>
internal sealed partial class PodCore
{
    // It runs once: whoever debugs adds another one.
    private void ConsiderEphemeral(ContainerDescription container, PodSnapshot snapshot, SandboxView sandbox, DateTimeOffset now, List<PodAction> actions, ref DateTimeOffset until)
    {
        if (snapshot.Newest(container.Name) is not null)
        {
            Waiting.Remove(container.Name);
            return;
        }

        if (State(container.Name).Retry is var retry && now < retry)
            until = Min(until, retry);
        else
            actions.Add(new PodAction.StartContainer(container, sandbox.Id, 0));
    }

    // Why it is killed is remembered: it decides whether the container runs again.
    private void Kill(PodAction.StopContainer stop, HashSet<string> why, DateTimeOffset now, List<PodAction> actions, ref DateTimeOffset until)
    {
        if (now < _stopRetry)
        {
            until = Min(until, _stopRetry);
            return;
        }

        why.Add(stop.Container.Id);
        actions.Add(stop);
    }

    private static PodAction.StopContainer ForProbe(PodDescription pod, ContainerDescription container, ContainerView view, ProbeKind kind)
    {
        var (word, probe) = kind == ProbeKind.Startup ? ("startup", container.Startup) : ("liveness", container.Liveness);
        var message = container.IsInit
            ? $"Init container {container.Name} failed {word} probe"
            : $"Container {container.Name} failed {word} probe{(pod.RestartPolicy == "Never" ? "" : ", will be restarted")}";
        return new PodAction.StopContainer(view, probe?.Grace ?? pod.Grace, message);
    }

    // An init container that runs to its end is left to it.
    private static bool HasChanged(ContainerDescription container, ContainerView view)
        => (!container.IsInit || container.IsSidecar) && view.Hash.Length > 0 && view.Hash != container.Hash;

    // As a kubelet: the first restart is at once, then 10 s, 20 s … 5 min after the container's end.
    private static bool MayRestart(RestartState state, ContainerView ended, DateTimeOffset now, out DateTimeOffset due)
    {
        if (state.DecidedFor != ended.Id)
        {
            var ranLong = ended.Finished - ended.Started >= BackOffReset;
            if (ranLong)
                state.Delay = TimeSpan.Zero;
            else if (state.DecidedFor.Length > 0)
                state.Delay = state.Delay == TimeSpan.Zero ? BackOffFirst : Min(state.Delay * 2, BackOffMost);
            else if (ended.Attempt > 0)
                state.Delay = Exponential(BackOffFirst, (int)Math.Min(ended.Attempt - 1, 10), BackOffMost);
            state.DecidedFor = ended.Id;
        }

        due = ended.Finished + state.Delay;
        return now >= due;
    }

    private RestartState State(string name)
    {
        if (!_restarts.TryGetValue(name, out var state))
            _restarts.Add(name, state = new RestartState());
        return state;
    }

    private sealed class RestartState
    {
        /// <summary>Delay after the end of the container in <see cref="DecidedFor"/>.</summary>
        public TimeSpan Delay { get; set; }

        public string DecidedFor { get; set; } = "";

        public int PullFailures { get; set; }

        public DateTimeOffset Retry { get; set; }

        public DateTimeOffset Attempted { get; set; }
    }
}
