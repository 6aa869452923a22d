using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Decides about one workload.</summary>
internal delegate WorkloadPlan WorkloadCore(JsonObject workload, WorkloadWorld world, DateTimeOffset now);

/// <summary>Runs one workload core over all objects of its kind and does what it decides. A workload is looked at only when the informers have shown
/// everything that was written for it before, so that no decision is made twice.</summary>
internal sealed partial class WorkloadController : IAsyncDisposable
{
    // A change that the informer has not shown by then was lost in a relist: look anyway.
    private static readonly TimeSpan s_pendingMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_refusedRetry = TimeSpan.FromSeconds(10);

    private readonly IKubeClient _client;
    private readonly ResourceKind _kind;
    private readonly IReadOnlyDictionary<ResourceKind, SharedInformer> _informers;
    private readonly WorkloadCore _core;
    private readonly Func<WorkloadWorld, IEnumerable<WorkloadAction>>? _sweep;
    private readonly EventRecorder _events;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;
    private readonly Dictionary<(ResourceKind Kind, string Uid), Seen> _seen = []; // locked
    private readonly Dictionary<string, List<Pending>> _pending = new(StringComparer.Ordinal); // the loop's

    /// <param name="client">Not disposed.</param>
    /// <param name="kind">The workloads.</param>
    /// <param name="informers">Of this kind and of all that the core looks at; a change of any wakes it.</param>
    /// <param name="core">Decides.</param>
    /// <param name="sweep">What is to be done for objects whose workload is gone; null for nothing.</param>
    /// <param name="component">The Events' source.</param>
    /// <param name="time">The clock.</param>
    /// <param name="random">For retries.</param>
    /// <param name="logger">The log.</param>
    public WorkloadController(
        IKubeClient client, ResourceKind kind, IEnumerable<SharedInformer> informers, WorkloadCore core, Func<WorkloadWorld, IEnumerable<WorkloadAction>>? sweep, string component,
        TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _kind = kind;
        _informers = informers.ToDictionary(informer => informer.Kind);
        _core = core;
        _sweep = sweep;
        _events = new EventRecorder(client, component, time, logger);
        _time = time;
        _logger = logger;
        _loop = new ReconcileLoop(component, PassAsync, time, random, logger);
        foreach (var informer in _informers.Values)
            informer.Listen(change => Notice(informer.Kind, change));
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    /// <summary>Heartbeats of nodes are no reason to look at every workload.</summary>
    private void Notice(ResourceKind kind, ObjectChange change)
    {
        lock (_seen)
        {
            // Only what somebody waits for is remembered.
            if (_seen.TryGetValue((kind, change.Object.Uid()), out var seen))
                seen.Version = change.Type == ChangeType.Deleted ? long.MaxValue : change.Object.Version();
        }

        if (kind == ResourceKind.Node && change is { Type: ChangeType.Updated, Old: { } old }
            && JsonNode.DeepEquals(old["spec"], change.Object["spec"]) && JsonNode.DeepEquals(old.At("metadata", "labels"), change.Object.At("metadata", "labels"))
            && Conditions.Status(old, "Ready") == Conditions.Status(change.Object, "Ready"))
            return;
        _loop.Wake();
    }

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_informers.Values.Select(informer => informer.Synced)).WaitAsync(token);
        // Asked before the snapshot is taken: what has been shown by now is in it.
        var unsettled = _pending.Keys.ToList().Where(uid => !IsSettled(uid)).ToHashSet(StringComparer.Ordinal);
        var world = new WorkloadWorld(kind => _informers[kind].List());
        var alive = new HashSet<string>(StringComparer.Ordinal);
        TimeSpan? next = null;
        void Sooner(TimeSpan? wait) => next = wait is null || next < wait ? next : wait;
        foreach (var workload in _informers[_kind].List())
        {
            alive.Add(workload.Uid());
            if (unsettled.Contains(workload.Uid()))
            {
                Sooner(s_retry);
                continue;
            }

            WorkloadPlan plan;
            try
            {
                plan = _core(workload, world, _time.GetUtcNow());
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // A defect with one object is no reason to leave the others.
                LogDefect(_logger, workload.Kind(), workload.Namespace(), workload.Name(), e);
                Sooner(s_refusedRetry);
                continue;
            }

            Sooner(plan.Next);
            foreach (var action in plan.Actions)
            {
                if (await TryAsync(workload, action, token) is not { } failure)
                    continue;
                Sooner(failure.Wait);
                if (failure.Why.Length > 0 && action is CreateAction { Kind: var kind } && kind == ResourceKind.Pod && plan.OnCreateFailed?.Invoke(failure.Why) is { } told)
                    Sooner((await TryAsync(workload, told, token))?.Wait);
                break; // what follows, the status above all, was decided as if this had been done
            }
        }

        foreach (var gone in _pending.Keys.Where(uid => !alive.Contains(uid)).ToList())
            Settle(gone);
        foreach (var action in _sweep?.Invoke(world) ?? [])
            Sooner((await TryAsync(null, action, token))?.Wait);
        return next;
    }

    /// <summary>Null when done; else after what time to try again, and why where that is more than a race.</summary>
    private async Task<(TimeSpan Wait, string Why)?> TryAsync(JsonObject? workload, WorkloadAction action, CancellationToken token)
    {
        try
        {
            await DoAsync(workload, action, token);
            return null;
        }
        catch (KubeException e) when (e.Code == 404 || (e.Code == 409 && action is CreateAction { MayExist: true }))
        {
            return null; // gone, or there already: what was wanted
        }
        catch (KubeException e) when (e.Code == 409)
        {
            return (s_retry, ""); // the informer lags: its next change decides anew
        }
        catch (KubeException e)
        {
            var about = workload ?? (action as PatchAction)?.Target ?? [];
            LogFailed(_logger, action.GetType().Name, about.Kind(), about.Namespace(), about.Name(), e.Message);
            if (workload is not null && action is CreateAction { Kind: var kind })
                await _events.RecordAsync(workload, "Warning", "FailedCreate", $"Error creating: {kind.Plural}: {e.Message}", token);
            return (e.Code is 403 or 422 ? s_refusedRetry : s_retry, e.Message);
        }
    }

    private async Task DoAsync(JsonObject? workload, WorkloadAction action, CancellationToken token)
    {
        switch (action)
        {
            case CreateAction create:
                var created = await _client.CreateAsync(create.Kind, create.Object.Namespace(), create.Object, token);
                Await(workload, create.Kind, created);
                if (workload is not null && create.Kind == ResourceKind.Pod)
                    await _events.RecordAsync(workload, "Normal", "SuccessfulCreate", $"Created pod: {created.Name()}", token);
                break;
            case PatchAction patch:
                var body = Encoding.UTF8.GetBytes(patch.Patch.ToJsonString());
                Await(workload, patch.Kind, await _client.PatchAsync(patch.Kind, patch.Target.Namespace(), patch.Target.Name(), PatchKind.Merge, body, patch.Subresource, token));
                break;
            case DeleteAction delete:
                var deleted = await _client.DeleteAsync(delete.Kind, delete.Target.Namespace(), delete.Target.Name(), Preconditions.Uid(delete.Target, delete.Propagation), token);
                // A pod's deletion is answered with the pod, others' with a Status once they are gone.
                Await(workload, delete.Kind, deleted.Uid().Length > 0 ? deleted : new JsonObject
                {
                    ["metadata"] = new JsonObject
                    {
                        ["name"] = delete.Target.Name(), ["namespace"] = delete.Target.Namespace(), ["uid"] = delete.Target.Uid(), ["resourceVersion"] = $"{delete.Target.Version() + 1}",
                    },
                }, isGone: deleted.Uid().Length == 0);
                if (workload is not null && delete.Kind == ResourceKind.Pod)
                    await _events.RecordAsync(workload, "Normal", "SuccessfulDelete", $"Deleted pod: {delete.Target.Name()}", token);
                break;
            case TellAction tell:
                await _events.RecordAsync(workload!, tell.Type, tell.Reason, tell.Message, token);
                break;
            default:
                throw new System.Diagnostics.UnreachableException(action.GetType().Name);
        }
    }

    /// <summary>From now on the workload waits until the informer has shown this state.</summary>
    private void Await(JsonObject? workload, ResourceKind kind, JsonObject written, bool isGone = false)
    {
        if (workload is null || !_informers.TryGetValue(kind, out var informer))
            return;
        lock (_seen)
        {
            // Under the lock: a change that came before it is in the cache, a later one comes to Notice.
            var cached = informer.Get(written.Namespace() is { Length: > 0 } space ? space : null, written.Name());
            if (isGone && cached.Text("metadata", "uid") != written.Uid())
                return;
            if (!_seen.TryGetValue((kind, written.Uid()), out var seen))
                _seen[(kind, written.Uid())] = seen = new Seen();
            seen.Waiting++;
            if (cached.Text("metadata", "uid") == written.Uid())
                seen.Version = Math.Max(seen.Version, cached!.Version());
        }

        if (!_pending.TryGetValue(workload.Uid(), out var list))
            _pending[workload.Uid()] = list = [];
        list.Add(new Pending(kind, written.Uid(), written.Version(), _time.GetUtcNow() + s_pendingMax));
    }

    private bool IsSettled(string uid)
    {
        if (!_pending.TryGetValue(uid, out var list))
            return true;
        var now = _time.GetUtcNow();
        lock (_seen)
        {
            if (list.Exists(pending => _seen[(pending.Kind, pending.Uid)].Version < pending.Version && now < pending.Until))
                return false;
        }

        Settle(uid);
        return true;
    }

    private void Settle(string uid)
    {
        _pending.Remove(uid, out var list);
        lock (_seen)
        {
            foreach (var pending in list ?? [])
            {
                var seen = _seen[(pending.Kind, pending.Uid)];
                if (--seen.Waiting == 0)
                    _seen.Remove((pending.Kind, pending.Uid));
            }
        }
    }

    [LoggerMessage(3290, LogLevel.Warning, "{Action} for {Kind} {Namespace}/{Name} failed, trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string action, string kind, string @namespace, string name, string message);

    [LoggerMessage(3291, LogLevel.Error, "{Kind} {Namespace}/{Name} met a defect of its controller and stays as it is; the others go on")]
    private static partial void LogDefect(ILogger logger, string kind, string @namespace, string name, Exception exception);

    /// <summary>The newest version of an object that the informer has shown since somebody waits for it.</summary>
    private sealed class Seen
    {
        public long Version { get; set; }

        public int Waiting { get; set; }
    }

    private sealed record Pending(ResourceKind Kind, string Uid, long Version, DateTimeOffset Until);
}
