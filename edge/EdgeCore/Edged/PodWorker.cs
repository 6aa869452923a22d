using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Core.Edged.Lifecycle;
using Edge.Core.Edged.Probes;
using Edge.Protocol.Cri;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged;

/// <summary>The shell around one pod's <see cref="PodCore"/>: reads the runtime, does what the core decides, reports the status.
/// <see cref="Update"/> and <see cref="Wake"/> may be called from any thread; all else happens in <see cref="RunAsync"/>.</summary>
internal sealed class PodWorker : IDisposable
{
    private static readonly TimeSpan s_failureRetry = TimeSpan.FromSeconds(2);

    // The kernel lets go of a cgroup a moment after its last process; then a minute, as long as containerd takes at most to undo a sandbox. What is left then is somebody else's.
    private const int CgroupQuickTries = 10;
    private const int CgroupTriesMax = 40;
    private static readonly TimeSpan s_cgroupRetry = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan s_taskLimit = TimeSpan.FromSeconds(30);

    private readonly PodContext _context;
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly PodCore _core;
    private readonly PodReporter _reporter;
    private readonly PodVolumes _volumes;
    private readonly PodRuntime _runtime;
    private readonly ContainerStarter _starter;
    private readonly ContainerStopper _stopper;
    private readonly PodTakeover _takeover;
    private readonly PodProber _prober;
    private readonly Lock _gate = new();
    private Wanted _wanted;
    private CancellationTokenSource _interrupt = new();
    private bool _referencesChanged;
    private bool _discarded;
    private JsonObject? _refreshed; // what the volumes of a running pod were made for last
    private int _cgroupTries;

    /// <param name="last">The status that this node said last of the pod; null when it said none that it remembers.</param>
    /// <param name="random">For the probes' first delays; used by this worker alone.</param>
    public PodWorker(PodContext context, PodDescription pod, bool removed, JsonObject? last, Random random)
    {
        _context = context;
        _wanted = new Wanted(pod, removed);
        _reporter = new PodReporter(context, pod, last);
        _core = new PodCore { StartTime = _reporter.StartTime, LastRestarts = PodStatusBuilder.Restarts(_reporter.Last) };
        _volumes = new PodVolumes(context.Options.RootDirectory, pod, context.Time);
        _runtime = new PodRuntime(context.Cri, context.NodeName, _volumes, CriConfigs.LogDirectory(context.Options, pod), context.Cgroups.OomKills, context.Time);
        var hooks = new HookRunner(context, ReportAsync);
        _stopper = new ContainerStopper(context, hooks, ReportAsync);
        _takeover = new PodTakeover(context, _stopper);
        _starter = new ContainerStarter(context, _volumes, hooks, _stopper, ReportAsync);
        _prober = new PodProber(context, new PodProbes(ProbeVerdicts.Of(_reporter.Last), context.Since, random), Wake, ReportAsync);
    }

    /// <summary>The pod as it is wanted now.</summary>
    public PodDescription Pod => _wanted.Pod;

    /// <summary>True once nothing is left of the pod on this node.</summary>
    public bool IsFinished { get; private set; }

    /// <summary>True once the pod has Succeeded or Failed: it holds nothing of the node any longer.</summary>
    public bool HasEnded => _reporter.HasEnded;

    /// <summary>True once the object is gone, and the pod with it soon.</summary>
    public bool IsRemoved => _wanted.Removed;

    /// <summary>Whether it had containers, running or not, when the runtime was asked last.</summary>
    public bool HasContainers { get; private set; }

    /// <summary>Ends the pod as Failed; the first end counts.</summary>
    public void End(PodEnd end)
    {
        _reporter.End(end);
        lock (_gate)
        {
            if (!IsFinished) // else it may be disposed
                _interrupt.Cancel();
        }

        Wake();
    }

    /// <summary>Sends the status again, though it is the one sent last.</summary>
    public void ReportAgain()
    {
        _reporter.Again();
        Wake();
    }

    /// <summary>Removes the containers of a pod that has ended before its object goes: the disk is full.</summary>
    /// <returns>False when there is nothing to remove, or it was asked before.</returns>
    public bool Discard()
    {
        if (!HasEnded || !HasContainers || Interlocked.Exchange(ref _discarded, true))
            return false;
        Wake();
        return true;
    }

    /// <summary>A newer object, or its removal. Work that the removal makes pointless is cancelled.</summary>
    public void Update(PodDescription pod, bool removed)
    {
        lock (_gate)
        {
            var old = _wanted;
            _wanted = new Wanted(pod, removed || old.Removed);
            if ((removed && !old.Removed) || pod.IsDeleting != old.Pod.IsDeleting || pod.IsDeleting && pod.Grace < old.Pod.Grace)
                _interrupt.Cancel();
        }

        Wake();
    }

    /// <summary>The object is gone; what is known of it stays.</summary>
    public void Remove() => Update(Pod, removed: true);

    /// <summary>Looks again soon.</summary>
    public void Wake() => _wake.Writer.TryWrite(true);

    /// <summary>A ConfigMap or Secret that the pod reads has changed.</summary>
    public void ReferencesChanged()
    {
        Volatile.Write(ref _referencesChanged, true);
        Wake();
    }

    /// <summary>Runs until the pod is gone or the token is cancelled; containers stay when it is cancelled.</summary>
    /// <param name="predecessor">The worker of an older pod of the same name, which must be gone first; else a finished task.</param>
    public async Task RunAsync(Task predecessor, CancellationToken cancellationToken)
    {
        _starter.Stopping = cancellationToken;
        await predecessor.WaitAsync(cancellationToken);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var probing = _prober.RunAsync(stop.Token);
        try
        {
            await LoopAsync(cancellationToken);
        }
        finally
        {
            await stop.CancelAsync();
            await probing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _interrupt.Dispose();
    }

    private async Task LoopAsync(CancellationToken cancellationToken)
    {
        while (!IsFinished)
        {
            var next = DateTimeOffset.MaxValue;
            CancellationTokenSource interrupt;
            lock (_gate)
            {
                if (_interrupt.IsCancellationRequested)
                {
                    _interrupt.Dispose();
                    _interrupt = new CancellationTokenSource();
                }

                interrupt = _interrupt;
            }

            try
            {
                using var batch = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, interrupt.Token);
                next = await SyncAsync(batch.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                continue;
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                // The outermost frame of the pod: whatever its sync throws is logged and tried again, and no other pod notices.
                if (e is not GrpcException { Code: GrpcStatusCode.Unavailable })
                    EdgedLog.SyncFailed(_context.Log, $"{Pod.Namespace}/{Pod.Name}", e);
                next = _context.Time.GetUtcNow() + s_failureRetry;
            }

            if (!IsFinished)
                await WaitAsync(next, cancellationToken);
        }
    }

    // Batches until there is nothing to do; returns when to look again.
    private async Task<DateTimeOffset> SyncAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var (pod, removed) = _wanted;
            pod = await _reporter.EndedAsync(pod, cancellationToken);
            if (Volatile.Read(ref _discarded))
                pod = pod with { IsDiscarded = true };
            await _takeover.RunAsync(pod, cancellationToken);
            var snapshot = await ReadAsync(pod, cancellationToken);
            var refresh = _context.Time.GetUtcNow() >= _starter.RefreshAt || !ReferenceEquals(pod.Json, _refreshed);
            if (Volatile.Read(ref _referencesChanged))
            {
                Volatile.Write(ref _referencesChanged, false);
                _core.NoteReferencesChanged();
                refresh = true;
            }

            var hasVolumes = snapshot.Ready is not null && !removed && !pod.IsDeleting;
            if (refresh && hasVolumes)
            {
                _refreshed = pod.Json;
                await RefreshAsync(pod, snapshot.Ready!, cancellationToken);
            }

            var actions = _core.Decide(pod, removed, snapshot, _prober.Verdicts, _context.Time.GetUtcNow());
            var published = await _reporter.PublishAsync(pod, removed, snapshot, _core, _prober.Verdicts, cancellationToken);
            var next = published ? DateTimeOffset.MaxValue : _context.Time.GetUtcNow() + s_failureRetry;
            if (hasVolumes && _starter.RefreshAt < next)
                next = _starter.RefreshAt;
            var did = false;
            var stops = new List<(int Order, Task Task)>();
            foreach (var action in actions)
            {
                if (action is PodAction.WaitUntil wait)
                {
                    next = wait.Time < next ? wait.Time : next;
                    continue;
                }

                // They are what its last status is read from.
                if (action is PodAction.RemoveContainer && pod.IsDiscarded && !published && !removed && !pod.IsDeleting)
                    break;

                did = true;
                if (action is PodAction.StopContainer stop)
                    stops.Add((stop.Order, StopAsync(pod, stop, Task.WhenAll(stops.Where(other => other.Order < stop.Order).Select(other => other.Task)), snapshot, cancellationToken)));
                else if (stops.Count > 0 && action is not PodAction.StartContainer)
                    break; // what follows stops waits for their end
                else if (!await DoAsync(pod, removed, action, snapshot, cancellationToken))
                    break;
                else if (action is PodAction.StartContainer)
                    break; // its status goes out before the next one's image is pulled
            }

            await StopsAsync(pod, removed, stops.Select(stop => stop.Task), cancellationToken);
            if (!did || IsFinished)
                return next;
            if (actions[0] is PodAction.Finish)
                return _context.Time.GetUtcNow() + (_cgroupTries <= CgroupQuickTries ? s_cgroupRetry : s_failureRetry);
        }
    }

    // False ends the batch: what follows would build on what did not happen.
    private async Task<bool> DoAsync(PodDescription pod, bool removed, PodAction action, PodSnapshot snapshot, CancellationToken cancellationToken)
    {
        switch (action)
        {
            case PodAction.RunSandbox run:
                var failed = await _starter.RunSandboxAsync(pod, run.Attempt, cancellationToken);
                if (failed is null)
                    _core.NoteSandboxStarted();
                else
                    _core.NoteSandboxFailed(failed, pod, _context.Time.GetUtcNow());
                return failed is null;
            case PodAction.StartContainer start:
                var failure = await _starter.StartAsync(pod, start, snapshot, cancellationToken);
                if (failure is null)
                    _core.NoteStarted(start.Container.Name);
                else if (failure.Reason is not ("RunContainerError" or "PostStartHookError"))
                    _core.NoteStartFailed(start.Container.Name, failure, _context.Time.GetUtcNow());
                return true;
            case PodAction.Report report:
                await ReportAsync(false, report.Reason, report.Message, "", cancellationToken);
                return true;
            case PodAction.StopSandbox stop:
                return await TryAsync(() => _context.Cri.StopPodSandboxAsync(stop.Id, _starter.Stopping));
            case PodAction.RemoveContainer remove:
                return await RemoveContainerAsync(pod, remove.Id);
            case PodAction.RemoveSandbox remove:
                return await TryAsync(() => _context.Cri.RemovePodSandboxAsync(remove.Id, _starter.Stopping));
            case PodAction.RemoveVolumes:
                RemoveVolumes(pod);
                return true;
            case PodAction.Finish:
                await FinishAsync(pod, removed, cancellationToken);
                return false;
            default:
                throw new System.Diagnostics.UnreachableException(action.ToString());
        }
    }

    private void RemoveVolumes(PodDescription pod)
    {
        try
        {
            _volumes.RemoveVolumes();
            _core.NoteVolumesRemoved();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            EdgedLog.VolumesStay(_context.Log, $"{pod.Namespace}/{pod.Name}", e.Message);
            _core.NoteVolumesStay(_context.Time.GetUtcNow());
        }
    }

    // A start that was cut off, because this process was killed in it, can leave a container that has ended for CRI and has a task for containerd, and then CRI refuses to remove it for ever.
    private async Task<bool> RemoveContainerAsync(PodDescription pod, string id)
    {
        try
        {
            return await TryAsync(() => _context.Cri.RemoveContainerAsync(id, _starter.Stopping));
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.FailedPrecondition)
        {
            EdgedLog.LeftoverTask(_context.Log, id, $"{pod.Namespace}/{pod.Name}", e.Detail);
            var ended = false;
            await TryAsync(async () => ended = await ContainerdTasks.EndAsync(_context.Options.RuntimeEndpoint, id, _context.Time, s_taskLimit, _starter.Stopping));
            if (!ended)
                _core.NoteStopFailed(_context.Time.GetUtcNow());
            return false; // it is looked at anew
        }
    }

    private async Task<bool> TryAsync(Func<Task> call)
    {
        try
        {
            await call();
            return true;
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.NotFound)
        {
            return true;
        }
        catch (GrpcException)
        {
            _core.NoteStopFailed(_context.Time.GetUtcNow());
            throw;
        }
    }

    private async Task StopAsync(PodDescription pod, PodAction.StopContainer stop, Task before, PodSnapshot snapshot, CancellationToken cancellationToken)
        => await TryAsync(() => _stopper.StopAsync(pod, stop, before, Ip(pod, snapshot), cancellationToken));

    // Stopping takes its time: meanwhile the status goes on.
    private async Task StopsAsync(PodDescription pod, bool removed, IEnumerable<Task> stops, CancellationToken cancellationToken)
    {
        var all = Task.WhenAll(stops);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        while (!all.IsCompleted && !cancellationToken.IsCancellationRequested)
        {
            await Task.WhenAny(all, _wake.Reader.WaitToReadAsync(stop.Token).AsTask());
            if (all.IsCompleted || !_wake.Reader.TryRead(out _))
                continue;
            try
            {
                await _reporter.PublishAsync(pod, removed, await ReadAsync(pod, cancellationToken), _core, _prober.Verdicts, cancellationToken);
            }
            catch
            {
                await all; // whatever is wrong, what was begun has an owner
                throw;
            }
        }

        await stop.CancelAsync();
        await all;
    }

    private async Task<PodSnapshot> ReadAsync(PodDescription pod, CancellationToken cancellationToken)
    {
        var snapshot = await _runtime.ReadAsync(pod, cancellationToken);
        HasContainers = snapshot.Containers.Count > 0;
        _prober.Observe(pod, snapshot, Ip(pod, snapshot));
        return snapshot;
    }

    private string Ip(PodDescription pod, PodSnapshot snapshot)
        => pod.HostNetwork ? _context.HostIp : snapshot.Ready is { Ips: [var first, ..] } ? first : "";

    private async Task RefreshAsync(PodDescription pod, SandboxView sandbox, CancellationToken cancellationToken)
    {
        try
        {
            await _starter.PrepareAsync(pod, sandbox.Ips, isNew: false, cancellationToken);
        }
        catch (PodConfigException e)
        {
            await ReportAsync(true, "FailedMount", e.Message, "", cancellationToken);
        }
    }

    private async Task FinishAsync(PodDescription pod, bool removed, CancellationToken cancellationToken)
    {
        // The cgroup first: while one of the directories is there, the next EdgeCore knows of a pod to clean up after.
        if (!_context.Cgroups.Remove(pod) && ++_cgroupTries < CgroupTriesMax)
            return; // the runtime undoes a sandbox that was given up
        _volumes.Remove();
        var logs = CriConfigs.LogDirectory(_context.Options, pod);
        if (Directory.Exists(logs))
            Directory.Delete(logs, recursive: true);
        if (!removed)
        {
            var content = new JsonObject { ["gracePeriodSeconds"] = 0, ["preconditions"] = new JsonObject { ["uid"] = pod.Uid } };
            await _context.Uplink.PostAsync(
                new UplinkEntry(
                    $"poddelete/{pod.Namespace}/{pod.Name}/{pod.Uid}", UplinkPriority.PodStatus, UplinkRule.Every, Sources.Edged, Groups.Meta, Operations.Delete,
                    $"{pod.Namespace}/{ResourceTypes.Pod}/{pod.Name}", Encoding.UTF8.GetBytes(content.ToJsonString())),
                cancellationToken);
        }

        try
        {
            await PodRows.Statuses.DeleteAsync(_context.Meta, pod.Uid, cancellationToken);
            await _context.Tokens.ForgetAsync(pod.Uid, cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            EdgedLog.NotKept(_context.Log, "the end", $"{pod.Namespace}/{pod.Name}", e.Message); // the next start cleans up
        }

        IsFinished = true;
        EdgedLog.PodGone(_context.Log, $"{pod.Namespace}/{pod.Name}", pod.Uid);
    }

    private ValueTask ReportAsync(bool warning, string reason, string message, string fieldPath, CancellationToken cancellationToken)
        => _reporter.EventAsync(Pod, warning, reason, message, fieldPath, cancellationToken);

    private async Task WaitAsync(DateTimeOffset until, CancellationToken cancellationToken)
    {
        var now = _context.Time.GetUtcNow();
        if (until <= now)
            return;
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var alarm = until == DateTimeOffset.MaxValue
            ? null
            : _context.Time.CreateTimer(_ => Wake(), null, until - now, Timeout.InfiniteTimeSpan);
        await _wake.Reader.ReadAsync(timer.Token);
    }

    private sealed record Wanted(PodDescription Pod, bool Removed);
}
