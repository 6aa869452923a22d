namespace Edge.Core.Edged.Probes;

/// <summary>How one run of a probe came out.</summary>
internal enum ProbeResult
{
    Success,
    Failure,

    /// <summary>It could not be asked; that says nothing of the container.</summary>
    Error,
}

/// <summary>A run of a probe that is due.</summary>
internal sealed record ProbeRun(ContainerDescription Container, ProbeSpec Spec, string ContainerId);

/// <summary>Decides when the probes of one pod run and what their results mean. Pure: what runs, results and the time come in; runs and verdicts come out.</summary>
/// <remarks>
/// <code>
/// probe       before its first verdict   runs while                          when it fails
/// startup     not started                running, not yet succeeded          killed; held until there is a new container
/// liveness    alive                      running and started, not deleting   killed; held until there is a new container
/// readiness   not ready                  running and started                 not ready
/// </code>
/// A verdict changes after successThreshold or failureThreshold equal results in a row. The first run is initialDelaySeconds after the container's start, each
/// further one a period after the one before. Within a period of EdgeCore's own start the first run is put off by a random part of a period, so that a node
/// full of pods is not probed all at once. With a restart of EdgeCore, a container that goes on keeps what was said of it.
/// </remarks>
/// <param name="said">What was said last, before this EdgeCore started.</param>
/// <param name="since">When this EdgeCore started.</param>
/// <param name="random">For the delay above; used by this object alone.</param>
internal sealed class PodProbes(ProbeVerdicts said, DateTimeOffset since, Random random)
{
    private readonly Dictionary<(string Container, ProbeKind Kind), State> _states = [];
    private readonly ProbeVerdicts _said = said;
    private bool _isDeleting;

    /// <summary>What the probes say now.</summary>
    public ProbeVerdicts Verdicts { get; private set; } = said;

    /// <summary>The pod, and what the runtime has of it.</summary>
    public void Observe(PodDescription pod, PodSnapshot snapshot, DateTimeOffset now)
    {
        _isDeleting = pod.IsDeleting;
        foreach (var container in pod.InitContainers.Concat(pod.Containers))
        {
            var newest = snapshot.Newest(container.Name);
            foreach (var spec in container.Probes)
            {
                if (!_states.TryGetValue((container.Name, spec.Kind), out var state))
                {
                    var delayed = now - since < spec.Period;
                    _states.Add((container.Name, spec.Kind), state = new State { NotBefore = delayed ? now + spec.Period * random.NextDouble() : now });
                }

                (state.Container, state.Spec) = (container, spec);
                state.IsRunning = newest is { Phase: ContainerPhase.Running };
                if (state.IsRunning && state.ContainerId != newest!.Id)
                    Begin(state, newest, now);
            }
        }

        Conclude();
    }

    /// <summary>The runs that are due; each counts as under way until its <see cref="Note"/>.</summary>
    public List<ProbeRun> Start(DateTimeOffset now)
    {
        var due = new List<ProbeRun>();
        foreach (var state in _states.Values.Where(state => MayRun(state) && state.Next <= now))
        {
            state.IsUnderWay = true;
            state.Next = now + state.Spec.Period;
            due.Add(new ProbeRun(state.Container, state.Spec, state.ContainerId));
        }

        return due;
    }

    /// <summary>When the next run is due if nothing changes; null when none will be.</summary>
    public DateTimeOffset? Next
        => _states.Values.Where(MayRun).Select(state => (DateTimeOffset?)state.Next).Min();

    /// <summary>The result of a run. One of a container that has been replaced meanwhile says nothing.</summary>
    public void Note(ProbeRun run, ProbeResult result)
    {
        if (!_states.TryGetValue((run.Container.Name, run.Spec.Kind), out var state) || state.ContainerId != run.ContainerId)
            return;
        state.IsUnderWay = false;
        if (result == ProbeResult.Error || !state.IsRunning)
            return;
        var success = result == ProbeResult.Success;
        state.InARow = state.InARow > 0 && state.LastWasSuccess == success ? state.InARow + 1 : 1;
        state.LastWasSuccess = success;
        if (state.InARow < (success ? state.Spec.SuccessThreshold : state.Spec.FailureThreshold))
            return;
        state.Verdict = success;
        if (!success && state.Spec.Kind != ProbeKind.Readiness)
        {
            // No more questions to a container that is being killed; a new one starts anew.
            state.OnHold = true;
            state.InARow = 0;
        }

        Conclude();
    }

    private void Begin(State state, ContainerView view, DateTimeOffset now)
    {
        var before = _said.Find(view.Id);
        state.ContainerId = view.Id;
        state.IsUnderWay = false;
        state.OnHold = false;
        state.InARow = 0;
        state.Verdict = state.Spec.Kind switch
        {
            ProbeKind.Startup => before is { Started: true } ? true : null,
            ProbeKind.Readiness => before is { Ready: true },
            _ => true,
        };
        var first = view.Started + state.Spec.InitialDelay;
        first = first > now ? first : now;
        state.Next = first > state.NotBefore ? first : state.NotBefore;
    }

    private bool MayRun(State state)
    {
        if (!state.IsRunning || state.IsUnderWay || state.OnHold || _isDeleting && state.Spec.Kind != ProbeKind.Readiness)
            return false;
        return state.Spec.Kind == ProbeKind.Startup ? state.Verdict != true : IsStarted(state.Container);
    }

    private bool IsStarted(ContainerDescription container)
        => container.Startup is null || _states.TryGetValue((container.Name, ProbeKind.Startup), out var state) && state.Verdict == true;

    private void Conclude()
    {
        var verdicts = new Dictionary<string, ContainerVerdict>(StringComparer.Ordinal);
        foreach (var group in _states.Values.Where(state => state.IsRunning).GroupBy(state => state.ContainerId))
        {
            var startup = group.FirstOrDefault(state => state.Spec.Kind == ProbeKind.Startup);
            var readiness = group.FirstOrDefault(state => state.Spec.Kind == ProbeKind.Readiness);
            var failed = group.FirstOrDefault(state => state.OnHold);
            var started = startup is null || startup.Verdict == true;
            verdicts[group.Key] = new ContainerVerdict(started, started && (readiness is null || readiness.Verdict == true), failed?.Spec.Kind);
        }

        var next = new ProbeVerdicts(verdicts);
        if (!next.IsSameAs(Verdicts))
            Verdicts = next;
    }

    private sealed class State
    {
        public ContainerDescription Container { get; set; } = null!;

        public ProbeSpec Spec { get; set; } = null!;

        /// <summary>The container that the rest is about; empty before the first.</summary>
        public string ContainerId { get; set; } = "";

        public bool IsRunning { get; set; }

        public bool IsUnderWay { get; set; }

        public bool OnHold { get; set; }

        /// <summary>Null while a startup probe has none.</summary>
        public bool? Verdict { get; set; }

        public bool LastWasSuccess { get; set; }

        public int InARow { get; set; }

        public DateTimeOffset Next { get; set; }

        /// <summary>The random delay after EdgeCore's start.</summary>
        public DateTimeOffset NotBefore { get; init; }
    }
}
