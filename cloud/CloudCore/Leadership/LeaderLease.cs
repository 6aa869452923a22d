using System.Text.Json.Nodes;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Leadership;

/// <summary>The Lease <c>kubeedge/cloudcore</c>: of several cloudcores beside one API, the one that holds it does what only one should do.
/// Delivery needs no leader.</summary>
/// <remarks>Safe for concurrent calls. Two never lead at once while clocks run at about the same pace.</remarks>
internal sealed class LeaderLease : IAsyncDisposable
{
    public const string Namespace = "kubeedge";
    public const string Name = "cloudcore";

    /// <summary>The Lease of those that run the GSLB module: it may run where no hub does, and leads by itself.</summary>
    public const string GslbName = "cloudcore-gslb";

    private static readonly TimeSpan s_dutyRetryFirst = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_dutyRetryMost = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_releaseWithin = TimeSpan.FromSeconds(2);

    private readonly IKubeClient _kube;
    private readonly string _name;
    private readonly string _identity;
    private readonly LeaseTimes _times;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _logger;
    private readonly LeaseCore _core;
    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationToken _stopping;
    private readonly Lock _gate = new();
    private readonly List<Task> _duties = [];
    private readonly Task _loop;
    private TaskCompletionSource<CancellationToken> _leading = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private CancellationTokenSource? _term;
    private bool _failing;
    private int _isDisposed;

    /// <param name="identity">Names this cloudcore among all: no two may share it.</param>
    /// <param name="name">Of the Lease.</param>
    public LeaderLease(IKubeClient kube, string identity, LeaseTimes times, TimeProvider time, Random random, ILogger logger, string name = Name)
    {
        _kube = kube;
        _name = name;
        _identity = identity;
        _times = times;
        _time = time;
        _random = random;
        _logger = logger;
        _core = new LeaseCore(identity, times);
        _stopping = _stop.Token;
        _loop = RunAsync(_stopping);
    }

    /// <summary>Whether this cloudcore leads.</summary>
    public bool IsLeader
    {
        get
        {
            lock (_gate)
                return _term is not null;
        }
    }

    private long NowMs => (long)(_time.GetTimestamp() * 1000.0 / _time.TimestampFrequency);

    /// <summary>Runs <paramref name="duty"/> whenever this cloudcore leads, until this lease is disposed. The token is cancelled as soon as it
    /// leads no longer; the duty must then end soon, since another cloudcore begins. A duty that fails is started again after a pause; one that
    /// returns has done its work until the next time this cloudcore comes to lead.</summary>
    /// <returns>Ends, without an exception, once the lease is disposed and the duty has ended.</returns>
    public async Task RunWhileLeaderAsync(string name, Func<CancellationToken, Task> duty)
    {
        var failures = 0;
        while (true)
        {
            CancellationToken term;
            try
            {
                term = await Leading().WaitAsync(_stopping);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            try
            {
                await CountedAsync(duty(term));
                failures = 0;
                await Task.Delay(Timeout.InfiniteTimeSpan, _time, term);
            }
            catch (OperationCanceledException) when (term.IsCancellationRequested)
            {
                failures = 0;
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                TimeSpan pause;
                lock (_random)
                    pause = Backoff.FullJitter(++failures, s_dutyRetryFirst, s_dutyRetryMost, _random);
                LeaseLog.DutyFailed(_logger, name, (long)pause.TotalMilliseconds, e);
                try
                {
                    await Task.Delay(pause, _time, term);
                }
                catch (OperationCanceledException)
                {
                    // Leads no longer; waits for the next time.
                }
            }
        }
    }

    /// <summary>Steps down and gives the Lease up, so that another cloudcore leads at once.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
            return;
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
        if (!EndTerm())
            return;
        Task[] duties;
        lock (_gate)
            duties = [.. _duties];
        // Duties end first, or another cloudcore would begin beside them; then the Lease is left to run out.
        await Task.WhenAny(Task.WhenAll(duties), Task.Delay(s_releaseWithin, _time, CancellationToken.None));
        if (duties.All(duty => duty.IsCompleted))
            await ReleaseAsync();
    }

    private Task<CancellationToken> Leading()
    {
        lock (_gate)
            return _leading.Task;
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await TurnAsync(cancellationToken);
                Judge();
                await Task.Delay(TimeSpan.FromMilliseconds(_times.RetryMs), _time, cancellationToken);
                Judge();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    // One look and at most one write. While leading, it may not take longer than the leadership lasts: then it would end unnoticed.
    private async Task TurnAsync(CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromMilliseconds(_times.RenewWithinMs - _times.RetryMs), _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            var lease = await _kube.TryGetAsync(ResourceKind.Lease, Namespace, _name, both.Token);
            var began = NowMs;
            var written = _core.Seen(lease is null ? null : StateOf(lease), began) switch
            {
                LeaseStep.Create => await CreateAsync(both.Token),
                LeaseStep.Take => await WriteAsync(lease!, isNew: true, both.Token),
                LeaseStep.Renew => await WriteAsync(lease!, isNew: false, both.Token),
                _ => null,
            };
            if (written is not null)
                _core.Written(written.ResourceVersion(), began);
            _failing = false;
        }
        catch (KubeException e) when (e.Code == 409)
        {
            // Another one was first; the next look shows it.
        }
        catch (KubeException e)
        {
            Failed(e.Message);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            Failed("the Kubernetes API did not answer in time");
        }
    }

    private void Failed(string error)
    {
        // Once for each stretch of failures.
        if (!_failing)
            LeaseLog.Failed(_logger, Namespace, _name, error);
        _failing = true;
    }

    private void Judge()
    {
        bool ends;
        lock (_gate)
        {
            var leads = _core.IsLeader(NowMs);
            ends = !leads && _term is not null;
            if (leads && _term is null)
            {
                _term = new CancellationTokenSource();
                LeaseLog.Leads(_logger, _identity);
                _leading.TrySetResult(_term.Token);
            }
        }

        if (ends)
            EndTerm();
    }

    // False when this one does not lead.
    private bool EndTerm()
    {
        CancellationTokenSource term;
        lock (_gate)
        {
            if (_term is null)
                return false;
            term = _term;
            _term = null;
            _leading = new TaskCompletionSource<CancellationToken>(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        LeaseLog.LeadsNoLonger(_logger, _identity);
        // Not disposed: duties may still look at its token. Not in the lock: they may run on here.
        term.Cancel();
        return true;
    }

    private async Task CountedAsync(Task duty)
    {
        lock (_gate)
            _duties.Add(duty);
        try
        {
            await duty;
        }
        finally
        {
            lock (_gate)
                _duties.Remove(duty);
        }
    }

    private async Task<JsonObject> CreateAsync(CancellationToken cancellationToken)
        => await _kube.CreateAsync(ResourceKind.Lease, Namespace, new JsonObject
        {
            ["apiVersion"] = ResourceKind.Lease.ApiVersion,
            ["kind"] = ResourceKind.Lease.Kind,
            ["metadata"] = new JsonObject { ["name"] = _name, ["namespace"] = Namespace },
            ["spec"] = Spec(acquired: KubeObject.MicroTime(_time.GetUtcNow()), transitions: 0),
        }, cancellationToken);

    private async Task<JsonObject> WriteAsync(JsonObject lease, bool isNew, CancellationToken cancellationToken)
    {
        var changed = lease.DeepClone().AsObject();
        var transitions = lease.Number(0, "spec", "leaseTransitions");
        var acquired = lease.Text("spec", "acquireTime");
        changed["spec"] = isNew || acquired.Length == 0 ? Spec(KubeObject.MicroTime(_time.GetUtcNow()), transitions + 1) : Spec(acquired, transitions);
        return await _kube.UpdateAsync(ResourceKind.Lease, Namespace, changed, null, cancellationToken);
    }

    private JsonObject Spec(string acquired, long transitions) => new()
    {
        ["holderIdentity"] = _identity,
        ["leaseDurationSeconds"] = _times.DurationMs / 1000,
        ["acquireTime"] = acquired,
        ["renewTime"] = KubeObject.MicroTime(_time.GetUtcNow()),
        ["leaseTransitions"] = transitions,
    };

    private async Task ReleaseAsync()
    {
        using var deadline = new CancellationTokenSource(s_releaseWithin, _time);
        try
        {
            if (await _kube.TryGetAsync(ResourceKind.Lease, Namespace, _name, deadline.Token) is not { } lease || lease.Text("spec", "holderIdentity") != _identity)
                return;
            var changed = lease.DeepClone().AsObject();
            changed.Child("spec").Remove("holderIdentity");
            await _kube.UpdateAsync(ResourceKind.Lease, Namespace, changed, null, deadline.Token);
        }
        catch (Exception e) when (e is KubeException or OperationCanceledException)
        {
            // It runs out by itself.
        }
    }

    private static LeaseState StateOf(JsonObject lease)
        => new(lease.Text("spec", "holderIdentity"), lease.Number(0, "spec", "leaseDurationSeconds") * 1000, lease.ResourceVersion());
}

/// <summary>Ids 1310-1319.</summary>
internal static partial class LeaseLog
{
    [LoggerMessage(1410, LogLevel.Information, "this cloudcore ({Identity}) leads: it keeps the join token and removes expired ones")]
    public static partial void Leads(ILogger logger, string identity);

    [LoggerMessage(1411, LogLevel.Information, "this cloudcore ({Identity}) leads no longer")]
    public static partial void LeadsNoLonger(ILogger logger, string identity);

    [LoggerMessage(1412, LogLevel.Warning, "the Lease {Namespace}/{Name} could not be read or written: {Error}; trying on")]
    public static partial void Failed(ILogger logger, string @namespace, string name, string error);

    [LoggerMessage(1413, LogLevel.Error, "the leader's duty '{Duty}' failed; it is started again in {DelayMs} ms")]
    public static partial void DutyFailed(ILogger logger, string duty, long delayMs, Exception error);
}
