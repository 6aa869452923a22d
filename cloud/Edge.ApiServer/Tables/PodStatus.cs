using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tables;

/// <summary>What the columns READY, STATUS and RESTARTS of a pod say, by the rules of Kubernetes' own printer.</summary>
internal sealed record PodStatus(string Ready, string Reason, string Restarts)
{
    public static PodStatus Of(JsonObject pod, DateTimeOffset now)
    {
        var state = new State(pod);
        state.ReadInitContainers();
        if (!state.Initializing || state.HasCondition("Initialized"))
            state.ReadContainers();
        var reason = state.Reason;
        if (pod.IsDeleting() && pod.Text("status", "reason") == "NodeLost")
            reason = "Unknown";
        else if (pod.IsDeleting() && pod.Text("status", "phase") is not ("Succeeded" or "Failed"))
            reason = "Terminating";
        var restarts = state.Restarts.ToString(CultureInfo.InvariantCulture);
        if (state.Restarts > 0 && state.LastRestart is { } last)
            restarts += $" ({HumanDuration.Format(now - last)} ago)";
        return new PodStatus($"{state.ReadyContainers}/{state.TotalContainers}", reason, restarts);
    }

    private sealed class State
    {
        private readonly JsonObject _pod;
        private readonly HashSet<string> _sidecars;
        private readonly int _initContainers;
        private long _sidecarRestarts;
        private DateTimeOffset? _sidecarLastRestart;

        public State(JsonObject pod)
        {
            _pod = pod;
            _sidecars = pod["spec"].Items("initContainers").Where(container => container.Text("restartPolicy") == "Always").Select(container => container.Text("name")).ToHashSet();
            _initContainers = pod["spec"].Items("initContainers").Count();
            TotalContainers = pod["spec"].Items("containers").Count() + _sidecars.Count;
            Reason = pod.Text("status", "reason") is { Length: > 0 } reason ? reason : pod.Text("status", "phase");
            if (pod["status"].Items("conditions").Any(condition => condition.Text("type") == "PodScheduled" && condition.Text("reason") == "SchedulingGated"))
                Reason = "SchedulingGated";
        }

        public string Reason { get; private set; }

        public bool Initializing { get; private set; }

        public int ReadyContainers { get; private set; }

        public int TotalContainers { get; }

        public long Restarts { get; private set; }

        public DateTimeOffset? LastRestart { get; private set; }

        public bool HasCondition(string type)
            => _pod["status"].Items("conditions").Any(condition => condition.Text("type") == type && condition.Text("status") == "True");

        public void ReadInitContainers()
        {
            var index = 0;
            foreach (var status in _pod["status"].Items("initContainerStatuses"))
            {
                var done = index++;
                CountRestarts(status);
                var sidecar = _sidecars.Contains(status.Text("name"));
                if (sidecar)
                {
                    _sidecarRestarts += status.Number(0, "restartCount");
                    _sidecarLastRestart = Later(_sidecarLastRestart, status);
                }

                var terminated = status.At("state", "terminated");
                if (terminated is not null && terminated.Number(0, "exitCode") == 0)
                    continue;
                if (sidecar && status.Flag(false, "started"))
                {
                    if (status.Flag(false, "ready"))
                        ReadyContainers++;
                    continue;
                }

                var waiting = status.Text("state", "waiting", "reason");
                Reason = terminated is not null ? "Init:" + Ended(terminated)
                    : waiting is not ("" or "PodInitializing") ? "Init:" + waiting
                    : $"Init:{done}/{_initContainers}";
                Initializing = true;
                return;
            }
        }

        public void ReadContainers()
        {
            (Restarts, LastRestart) = (_sidecarRestarts, _sidecarLastRestart);
            var running = false;
            foreach (var status in _pod["status"].Items("containerStatuses").Reverse())
            {
                CountRestarts(status);
                var terminated = status.At("state", "terminated");
                if (status.Text("state", "waiting", "reason") is { Length: > 0 } waiting)
                {
                    Reason = waiting;
                }
                else if (terminated is not null)
                {
                    Reason = Ended(terminated);
                }
                else if (status.Flag(false, "ready") && status.At("state", "running") is not null)
                {
                    running = true;
                    ReadyContainers++;
                }
            }

            // One container is done and another goes on.
            if (Reason == "Completed" && running)
                Reason = HasCondition("Ready") ? "Running" : "NotReady";
        }

        private void CountRestarts(JsonObject status)
        {
            Restarts += status.Number(0, "restartCount");
            LastRestart = Later(LastRestart, status);
        }

        private static DateTimeOffset? Later(DateTimeOffset? known, JsonObject status)
            => DateTimeOffset.TryParse(status.Text("lastState", "terminated", "finishedAt"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var end)
                && (known is null || end > known) ? end : known;

        private static string Ended(JsonNode terminated)
            => terminated.Text("reason") is { Length: > 0 } reason ? reason
                : terminated.Number(0, "signal") is not 0 and var signal ? $"Signal:{signal}"
                : $"ExitCode:{terminated.Number(0, "exitCode")}";
    }
}
