namespace Edge.GlobalServices.Health;

/// <summary>What is checked: an endpoint of a service. Targets with the same check, address and port are checked once.</summary>
/// <param name="Endpoint"><c>namespace/service/endpoint</c>: whose health it is.</param>
/// <param name="Node">Empty when it is not on an edge node.</param>
/// <param name="Port">0: there is nothing to connect to, so it is not checked.</param>
internal sealed record HealthTarget(string Endpoint, UInt128 Address, int Port, string Node, HealthCheckSpec Check)
{
    public bool IsChecked => Check.Kind != CheckKind.None && Port > 0;
}

/// <summary>What an EdgeCore found out about an endpoint that CloudCore cannot reach. It counted rise and fall itself.</summary>
/// <param name="Node">The node that checked.</param>
/// <param name="Error">Null for a success.</param>
internal sealed record NodeReport(string Node, string Endpoint, string? Error);

/// <summary>One check to begin now.</summary>
/// <param name="Number">Handed back with the result.</param>
internal readonly record struct HealthProbe(long Number, HealthTarget Target);

/// <summary>Which checks are due, and what their results mean. One owner; pure but for the jitter's random numbers, which come from a seed.</summary>
/// <remarks>The first checks of targets are spread over their interval; after that each begins its interval after the last began, moved by up to a tenth to either side, so that
/// targets do not march in step.</remarks>
internal sealed class HealthCore(Random random)
{
    private readonly Dictionary<string, Tracked> _targets = new(StringComparer.Ordinal);
    private readonly Dictionary<long, Tracked> _running = [];
    private readonly PriorityQueue<(Tracked Target, int Generation), long> _due = new();
    private readonly NodeReach _nodes = new();

    // The newest of each endpoint and node: one may come before its target is known, or before its node's session is.
    private readonly Dictionary<(string Node, string Endpoint), NodeReport> _reports = [];
    private long _probes;

    /// <summary>Reports that are kept; of endpoints that are not known, further ones are dropped (a node that connects tells all again).</summary>
    public const int ReportsMax = 65_536;

    /// <summary>Endpoints known.</summary>
    public int Targets => _targets.Count;

    /// <summary>Checks that have begun and not ended.</summary>
    public int Running => _running.Count;

    /// <summary>Replaces the targets; those that are as before keep their state. Targets are by endpoint.</summary>
    public void SetTargets(IReadOnlyCollection<HealthTarget> targets, long nowMs, ISet<string> changed)
    {
        // A few are looked at soon; many would be a storm.
        var spreadMs = targets.Count <= 1_000 ? 1_000 : int.MaxValue;
        var gone = _targets.Keys.ToHashSet(StringComparer.Ordinal);
        foreach (var target in targets)
        {
            gone.Remove(target.Endpoint);
            if (_targets.TryGetValue(target.Endpoint, out var tracked))
            {
                if (tracked.Target == target)
                    continue;
                // Another check is another question: what was found out before is kept only where the place is the same.
                var isSamePlace = tracked.Target.Address == target.Address && tracked.Target.Node == target.Node;
                tracked.Target = target;
                tracked.Generation++;
                if (!isSamePlace || !target.IsChecked)
                    tracked.State = default;
            }
            else
            {
                _targets[target.Endpoint] = tracked = new Tracked(target);
            }

            changed.Add(target.Endpoint);
            if (_nodes.ProblemOf(target.Node) is { } problem)
                tracked.State.NodeChanged(isConnected: false, problem, IsDecidedByChecks(target));
            else if (target.Check.FromEdge && _reports.TryGetValue((target.Node, target.Endpoint), out var report))
                Take(tracked, report, changed);
            if (target.IsChecked && !target.Check.FromEdge)
                Schedule(tracked, nowMs + (long)(random.NextDouble() * Math.Min(target.Check.IntervalMs, spreadMs)));
        }

        foreach (var endpoint in gone)
        {
            _targets[endpoint].Generation++;
            _reports.Remove((_targets[endpoint].Target.Node, endpoint));
            _targets.Remove(endpoint);
            changed.Add(endpoint);
        }
    }

    /// <summary>When the next check is due; null when none is.</summary>
    public long? NextDueMs => _due.TryPeek(out _, out var due) ? due : null;

    /// <summary>Takes up to <paramref name="most"/> checks that are due.</summary>
    public void TakeDue(long nowMs, int most, List<HealthProbe> probes)
    {
        while (probes.Count < most && _due.TryPeek(out var entry, out var due) && due <= nowMs)
        {
            _due.Dequeue();
            var tracked = entry.Target;
            if (entry.Generation != tracked.Generation)
                continue;
            var interval = tracked.Target.Check.IntervalMs;
            // By the plan, not by now: a machine that is behind for a moment does not shift all the rest. One far behind does.
            Schedule(tracked, Math.Max(due, nowMs - interval) + (long)(interval * (0.9 + (0.2 * random.NextDouble()))));
            // The one before is not answered yet (the time-out is at most the interval, the jitter is not).
            if (tracked.IsRunning || tracked.State.Status == HealthStatus.NodeGone)
                continue;
            tracked.IsRunning = true;
            var number = ++_probes;
            _running[number] = tracked;
            probes.Add(new HealthProbe(number, tracked.Target));
        }
    }

    /// <summary>A check ended.</summary>
    public void Checked(HealthProbe probe, string? error, long nowMs, ISet<string> changed)
    {
        if (!_running.Remove(probe.Number, out var tracked))
            return;
        tracked.IsRunning = false;
        // It is about what the target was when it began.
        if (tracked.Target == probe.Target && _targets.GetValueOrDefault(probe.Target.Endpoint) == tracked)
            Apply(tracked, error, nowMs, changed);
    }

    /// <summary>A check could not be made, for a reason that is not the endpoint's.</summary>
    public void Skipped(HealthProbe probe)
    {
        if (_running.Remove(probe.Number, out var tracked))
            tracked.IsRunning = false;
    }

    /// <summary>EdgeCore checked.</summary>
    public void Reported(NodeReport report, ISet<string> changed)
    {
        var isKnown = _targets.TryGetValue(report.Endpoint, out var tracked);
        // Only the node that an endpoint is on speaks for it.
        if (isKnown && tracked!.Target.Node != report.Node)
            return;
        var key = (report.Node, report.Endpoint);
        if (isKnown || _reports.Count < ReportsMax || _reports.ContainsKey(key))
            _reports[key] = report;
        if (isKnown)
            Take(tracked!, report, changed);
    }

    public void Session(string node, bool isConnected, long nowMs, ISet<string> changed)
    {
        if (_nodes.Session(node, isConnected, nowMs))
            NodeChanged(node, nowMs, changed);
    }

    public void NodeObserved(string node, bool isReady, string sign, long nowMs, ISet<string> changed)
    {
        if (_nodes.Observed(node, isReady, sign, nowMs))
            NodeChanged(node, nowMs, changed);
    }

    public void NodeDeleted(string node, long nowMs, ISet<string> changed)
    {
        if (_nodes.Deleted(node))
            NodeChanged(node, nowMs, changed);
    }

    /// <summary>The state of an endpoint; null when it is not known.</summary>
    public HealthState? StateOf(string endpoint) => _targets.TryGetValue(endpoint, out var tracked) ? tracked.State : null;

    private void NodeChanged(string node, long nowMs, ISet<string> changed)
    {
        var problem = _nodes.ProblemOf(node);
        foreach (var tracked in _targets.Values)
        {
            if (tracked.Target.Node != node || !tracked.State.NodeChanged(problem is null, problem ?? "", IsDecidedByChecks(tracked.Target)))
                continue;
            changed.Add(tracked.Target.Endpoint);
            // What was found out in a session that has ended says nothing about the next one, which tells all again.
            if (problem is not null)
                _reports.Remove((node, tracked.Target.Endpoint));
            else if (_reports.TryGetValue((node, tracked.Target.Endpoint), out var report))
                Take(tracked, report, changed);
            // It need not wait for the rest of an interval to show that it is well.
            if (problem is null && tracked.Target.IsChecked && !tracked.Target.Check.FromEdge)
            {
                tracked.Generation++;
                Schedule(tracked, nowMs);
            }
        }
    }

    private static void Take(Tracked tracked, NodeReport report, ISet<string> changed)
    {
        if (tracked.Target.Check.FromEdge && tracked.State.Reported(report.Error))
            changed.Add(tracked.Target.Endpoint);
    }

    private static void Apply(Tracked tracked, string? error, long nowMs, ISet<string> changed)
    {
        if (tracked.State.Checked(error, tracked.Target.Check.Rise, tracked.Target.Check.Fall, nowMs))
            changed.Add(tracked.Target.Endpoint);
    }

    private void Schedule(Tracked tracked, long dueMs) => _due.Enqueue((tracked, tracked.Generation), dueMs);

    private static bool IsDecidedByChecks(HealthTarget target) => target.IsChecked || (target.Check.FromEdge && target.Check.Kind != CheckKind.None);

    private sealed class Tracked(HealthTarget target)
    {
        public HealthTarget Target { get; set; } = target;

        public HealthState State; // changed in place

        /// <summary>Plans of an earlier one are void.</summary>
        public int Generation { get; set; }

        public bool IsRunning { get; set; }
    }
}
