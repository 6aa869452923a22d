using System.Collections.Concurrent;
using System.Threading.Channels;

namespace Edge.GlobalServices.Health;

/// <summary>Checks the targets and keeps their health: one loop owns the <see cref="HealthCore"/> and the <see cref="ProbeSockets"/>; a bounded number of checks runs at
/// once.</summary>
internal sealed class HealthMonitor : IAsyncDisposable
{
    /// <summary>Checks at once; further ones wait. With answers within a tick of 50 ms, 20,000 checks a second.</summary>
    public const int AtOnceMax = ProbeSockets.AtOnceMax;

    /// <summary>Files for kept connections beside other work, such as a hub's.</summary>
    public const double KeptShare = 0.5;

    /// <summary>Files for kept connections where there is nothing but checks and DNS, whose connections are bounded.</summary>
    public const double KeptShareAlone = 0.9;

    private const int TickMs = 50;

    // Changes of the cluster; their sender waits when it is full.
    private readonly Channel<Input> _inbox = Channel.CreateBounded<Input>(new BoundedChannelOptions(1024) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    // What happened to the sessions of nodes since the last tick: one entry a node, so that the hub need not wait here.
    private readonly ConcurrentDictionary<string, (bool HasEnded, bool IsConnected)> _sessions = new(StringComparer.Ordinal);

    // At most one for each https check that runs. Taken at the next tick: waking the loop for each would cost more than the check.
    private readonly ConcurrentQueue<ProbeResult> _results = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly HealthCore _core;
    private readonly TimeProvider _time;
    private readonly long _startedAt;
    private readonly Action<IReadOnlyDictionary<string, HealthState>> _changed;
    private readonly ProbeSockets _sockets;
    private readonly List<HealthProbe> _probes = [];
    private readonly List<ProbeResult> _ended = [];
    private readonly HashSet<string> _changes = new(StringComparer.Ordinal);
    private readonly Task _loop;
    private long _checks;
    private long _failures;
    private long _skipped;
    private int _targets;
    private int _secure; // https checks that run

    /// <param name="changed">The endpoints whose health changed, with what it is now; called on the loop, must be quick and not throw.</param>
    /// <param name="keptShare">Of the files that this process may open, the share that connections kept between checks may be.</param>
    public HealthMonitor(Action<IReadOnlyDictionary<string, HealthState>> changed, TimeProvider time, Random random, double keptShare = KeptShare)
    {
        _sockets = new ProbeSockets(keptShare);
        _changed = changed;
        _time = time;
        _startedAt = time.GetTimestamp();
        _core = new HealthCore(random);
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Checks that have ended, and those of them that failed.</summary>
    public (long Checks, long Failures) Counts => (Volatile.Read(ref _checks), Volatile.Read(ref _failures));

    /// <summary>Checks that were due and not made, since this process had no file left for a socket: raise its limit (ulimit -n, LimitNOFILE).</summary>
    public long Skipped => Volatile.Read(ref _skipped);

    public int Targets => Volatile.Read(ref _targets);

    public ValueTask SetTargetsAsync(IReadOnlyCollection<HealthTarget> targets, CancellationToken cancellationToken) => _inbox.Writer.WriteAsync(new Input.Targets(targets), cancellationToken);

    /// <summary>A node's hub session began or ended. Never waits; acted upon at the next tick.</summary>
    public void Session(string node, bool isConnected)
        => _sessions.AddOrUpdate(node, static (_, now) => (!now, now), static (_, before, now) => (before.HasEnded || !now, now), isConnected);

    public ValueTask NodeAsync(string node, bool isReady, string sign, CancellationToken cancellationToken) => _inbox.Writer.WriteAsync(new Input.NodeSeen(node, isReady, sign), cancellationToken);

    public ValueTask NodeDeletedAsync(string node, CancellationToken cancellationToken) => _inbox.Writer.WriteAsync(new Input.NodeDeleted(node), cancellationToken);

    public ValueTask ReportAsync(NodeReport report, CancellationToken cancellationToken) => _inbox.Writer.WriteAsync(new Input.Report(report), cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private long NowMs => (long)_time.GetElapsedTime(_startedAt).TotalMilliseconds;

    private async Task RunAsync()
    {
        using var ticks = new PeriodicTimer(TimeSpan.FromMilliseconds(TickMs), _time);
        Task<bool>? tick = null;
        Task<bool>? input = null;
        try
        {
            while (true)
            {
                tick ??= ticks.WaitForNextTickAsync(_stop.Token).AsTask();
                input ??= _inbox.Reader.WaitToReadAsync(_stop.Token).AsTask();
                await await Task.WhenAny(tick, input);
                if (input.IsCompleted)
                    input = null;
                if (tick.IsCompleted)
                    tick = null;
                while (_inbox.Reader.TryRead(out var one))
                    Handle(one);
                var now = NowMs;
                TakeSessions(now);
                _sockets.Advance(now, _ended);
                Begin(now);
                TakeResults(now);
                Tell();
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed.
        }

        // Those of https end by the same token.
        for (; _secure > 0; await ticks.WaitForNextTickAsync(CancellationToken.None))
            TakeResults(NowMs);
        _sockets.Dispose();
    }

    private void Handle(Input input)
    {
        var now = NowMs;
        switch (input)
        {
            case Input.Targets targets:
                _core.SetTargets(targets.List, now, _changes);
                _sockets.Retain(targets.List);
                Volatile.Write(ref _targets, _core.Targets);
                break;
            case Input.NodeSeen node:
                _core.NodeObserved(node.Name, node.IsReady, node.Sign, now, _changes);
                break;
            case Input.NodeDeleted deleted:
                _core.NodeDeleted(deleted.Name, now, _changes);
                break;
            case Input.Report report:
                TakeSessions(now); // that of its node began before it came
                _core.Reported(report.Of, _changes);
                break;
        }
    }

    private void Begin(long now)
    {
        _probes.Clear();
        _core.TakeDue(now, AtOnceMax - _sockets.Running - _secure, _probes);
        foreach (var probe in _probes)
        {
            if (probe.Target.Check.Kind == CheckKind.Https)
            {
                _secure++;
                _ = SecureAsync(probe);
            }
            else
            {
                _sockets.Start(probe, now, _ended);
            }
        }
    }

    private async Task SecureAsync(HealthProbe probe)
    {
        await Task.Yield(); // a handshake costs: not on the loop
        _results.Enqueue(await SecureProbe.RunAsync(probe, _time, _stop.Token));
    }

    private void TakeSessions(long now)
    {
        foreach (var node in _sessions.Keys)
        {
            if (!_sessions.TryRemove(node, out var happened))
                continue;
            // One that ended and came back has to pass its checks all the same.
            if (happened.HasEnded)
                _core.Session(node, isConnected: false, now, _changes);
            if (happened.IsConnected)
                _core.Session(node, isConnected: true, now, _changes);
        }
    }

    private void TakeResults(long now)
    {
        while (_results.TryDequeue(out var result))
        {
            _secure--;
            _ended.Add(result);
        }

        foreach (var result in _ended)
        {
            if (!result.WasAsked)
            {
                Interlocked.Increment(ref _skipped);
                _core.Skipped(result.Probe);
                continue;
            }

            Interlocked.Increment(ref _checks);
            if (result.Error is not null)
                Interlocked.Increment(ref _failures);
            _core.Checked(result.Probe, result.Error, now, _changes);
        }

        _ended.Clear();
    }

    private void Tell()
    {
        if (_changes.Count == 0)
            return;
        var states = new Dictionary<string, HealthState>(_changes.Count, StringComparer.Ordinal);
        foreach (var endpoint in _changes)
            states[endpoint] = _core.StateOf(endpoint) ?? default;
        _changes.Clear();
        _changed(states);
    }

    private abstract record Input
    {
        public sealed record Targets(IReadOnlyCollection<HealthTarget> List) : Input;

        public sealed record NodeSeen(string Name, bool IsReady, string Sign) : Input;

        public sealed record NodeDeleted(string Name) : Input;

        public sealed record Report(NodeReport Of) : Input;
    }
}
