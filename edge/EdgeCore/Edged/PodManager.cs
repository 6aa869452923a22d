using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.Edged.Admission;
using Edge.Core.Edged.Eviction;
using Edge.Core.Edged.Spec;
using Edge.Core.Edged.StaticPods;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged;

/// <summary>Edged: runs the pods of the store through CRI. One loop owns the pods; each pod has a worker of its own.</summary>
public sealed class PodManager : IPodModule, IDisposable
{
    private static readonly TimeSpan s_relist = TimeSpan.FromSeconds(1);

    private readonly PodContext _context;
    private readonly CriRuntimeState _state;
    private readonly Dictionary<string, Entry> _pods = new(StringComparer.Ordinal);
    private readonly HashSet<string> _invalid = new(StringComparer.Ordinal);
    private readonly Random _random;
    private readonly NodeKeeper _keeper;
    private readonly PodRelist _relist;
    private readonly RuntimeEvents _events;
    private readonly RelistPace _pace = new();
    private readonly StaticPodSource _statics;
    private Dictionary<string, JsonObject> _lastStatus = [];
    private volatile PodWorker[] _workers = [];

    public PodManager(EdgeServices services)
        : this(services, null)
    {
    }

    /// <param name="read">Reads how much of the node is free; null reads this machine.</param>
    internal PodManager(EdgeServices services, Func<CancellationToken, Task<NodeReadings>>? read)
    {
        _context = PodContext.Create(services);
        _random = services.Random;
        _state = new CriRuntimeState(_context.Cri, services.Time, _context.Log);
        _relist = new PodRelist(_context);
        _events = new RuntimeEvents(_context, uid => Array.Find(_workers, worker => worker.Pod.Uid == uid)?.Wake());
        _statics = new StaticPodSource(_context);
        _keeper = new NodeKeeper(_context, read, () => _workers, _state.SetPressures);
    }

    public string Name => "edged";

    public IRuntimeState Runtime => _state;

    public void ReportAll()
    {
        foreach (var worker in _workers)
            worker.ReportAgain();
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = new List<Task>();
        try
        {
            var state = _state.RunAsync(stop.Token);
            running.Add(state);
            _lastStatus = PodRows.Statuses.Load(_context.Meta);
            var changes = _context.Meta.Subscribe("pod", "configmap", "secret", ResourceTypes.RuntimeClass);
            await StaticPodsAsync(stop.Token); // before the rest: what runs of them is nobody's leftover
            await ForgetStrangersAsync(stop.Token);
            running.Add(_keeper.RunAsync(stop.Token));
            running.Add(_events.RunAsync(stop.Token));
            await LoopAsync(changes, state, stop.Token);
        }
        finally
        {
            await stop.CancelAsync();
            running.AddRange(_pods.Values.Select(entry => entry.Task));
            foreach (var task in running)
                await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            foreach (var entry in _pods.Values)
                entry.Worker.Dispose();
            _pods.Clear();
            _workers = [];
        }
    }

    public void Dispose()
    {
        _statics.Dispose();
        _keeper.Dispose();
        _context.Dispose();
    }

    private async Task LoopAsync(ChannelReader<MetaChange> changes, Task state, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(s_relist, _context.Time);
        var tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        var readable = changes.WaitToReadAsync(cancellationToken).AsTask();
        Task<IReadOnlyDictionary<string, SeenPod>?>? relist = null;
        var never = new TaskCompletionSource().Task;
        while (true)
        {
            while (changes.TryRead(out var change))
            {
                if (change.Object.Type != ResourceTypes.Pod || !IsStaticPods(change))
                    Apply(change, cancellationToken);
            }

            if (readable.IsCompleted)
            {
                if (!await readable)
                    return;
                readable = changes.WaitToReadAsync(cancellationToken).AsTask();
            }

            if (relist is { IsCompleted: true })
            {
                if (await relist is { } seen)
                    Compare(seen, cancellationToken);
                relist = null;
            }

            if (tick.IsCompleted)
            {
                await tick;
                await StaticPodsAsync(cancellationToken);
                await _statics.ReconcileAsync(key => _pods.Values.Any(entry => $"{entry.Worker.Pod.Namespace}/{entry.Worker.Pod.Name}" == key), cancellationToken);
                tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
                if (_pace.IsDue(_events.IsFollowing))
                    relist ??= _relist.ReadAsync(cancellationToken);
            }

            // A module that ends takes this one with it, so that its fault is seen.
            if (state.IsCompleted)
                await state;
            await Task.WhenAny(readable, tick, relist ?? never, state);
        }
    }

    private async Task StaticPodsAsync(CancellationToken cancellationToken)
    {
        foreach (var change in await _statics.ReadAsync(cancellationToken))
            Apply(change, cancellationToken);
    }

    // False when the pod is to run here: it is no mirror, and no static pod has its name.
    private bool IsStaticPods(MetaChange change)
    {
        if (!_statics.Observe(change, out var isNew))
        {
            if (!_statics.Owns($"{change.Object.Namespace}/{change.Object.Name}"))
                return false;
            if (_invalid.Add(change.Object.Key))
                EdgedLog.PodInvalid(_context.Log, change.Object.Key, "a static pod of this node has its name; rename one of them");
            return true;
        }

        if (isNew)
        {
            // It knows nothing of the pod so far.
            foreach (var entry in _pods.Values.Where(entry => Matches(entry, change.Object)))
                entry.Worker.ReportAgain();
        }

        return true;
    }

    // Rows of pods that went while nobody cleaned up after them.
    private async Task ForgetStrangersAsync(CancellationToken cancellationToken)
    {
        var here = _context.Meta.List("pod").Select(pod => pod.Uid).Concat(_context.Meta.UnreadableUids("pod")).Concat(_statics.Uids).ToHashSet(StringComparer.Ordinal);
        try
        {
            await _context.Tokens.ForgetOthersAsync(here, cancellationToken);
            await _context.Claims.ForgetUnusedAsync(_context.Meta.List("pod").Select(pod => JsonNode.Parse(pod.Json.Span)).OfType<JsonObject>(), cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            EdgedLog.NotKept(_context.Log, "the end", "tokens and claims of pods that are gone", e.Message);
        }

        foreach (var uid in _lastStatus.Keys.Where(uid => !here.Contains(uid)).ToList())
        {
            _lastStatus.Remove(uid);
            try
            {
                await PodRows.Statuses.DeleteAsync(_context.Meta, uid, cancellationToken);
            }
            catch (Exception e) when (e is StoreException or ChannelClosedException)
            {
                EdgedLog.NotKept(_context.Log, "the end", uid, e.Message);
                return; // they harm nobody, and the next start tries again
            }
        }
    }

    private void Compare(IReadOnlyDictionary<string, SeenPod> seen, CancellationToken cancellationToken)
    {
        foreach (var uid in _relist.Changed(seen, _pods.Keys))
            _pods[uid].Worker.Wake();
        var strangers = seen.Where(pair => !_pods.ContainsKey(pair.Key)).ToList();
        var unreadable = strangers.Count > 0 ? _context.Meta.UnreadableUids("pod") : [];
        foreach (var (uid, found) in strangers)
        {
            // One that the disk has lost runs on as it is until the cloud has said what it is.
            if (unreadable.Contains(uid) || PodRelist.Orphan(uid, found) is not { } pod)
                continue;
            EdgedLog.Orphan(_context.Log, $"{found.Namespace}/{found.Name}", uid);
            Start(pod, removed: true, cancellationToken);
        }

        foreach (var (uid, entry) in _pods.ToList())
        {
            if (entry.Worker.IsFinished && entry.Removed)
                Forget(uid, entry);
        }
    }

    private void Apply(MetaChange change, CancellationToken cancellationToken)
    {
        var obj = change.Object;
        if (obj.Type != "pod")
        {
            foreach (var entry in _pods.Values)
            {
                var pod = entry.Worker.Pod;
                if (obj.Type == ResourceTypes.RuntimeClass ? pod.RuntimeClass == obj.Name : pod.Namespace == obj.Namespace && pod.References().Contains((obj.Type, obj.Name)))
                    entry.Worker.ReferencesChanged();
            }

            return;
        }

        if (change.Deleted)
        {
            _invalid.Remove(obj.Key);
            foreach (var (uid, entry) in _pods.Where(pair => Matches(pair.Value, obj)).ToList())
            {
                entry.Removed = true;
                entry.Worker.Remove();
                if (entry.Worker.IsFinished)
                    Forget(uid, entry);
            }

            return;
        }

        if (!TryRead(obj, out var wanted, out var error))
        {
            if (_invalid.Add(obj.Key))
                EdgedLog.PodInvalid(_context.Log, obj.Key, error);
            return;
        }

        if (_pods.TryGetValue(wanted.Uid, out var known))
        {
            known.Worker.Update(wanted, removed: false);
            return;
        }

        // Same name, other uid: the old pod goes first.
        foreach (var entry in _pods.Values.Where(entry => Matches(entry, obj)))
        {
            entry.Removed = true;
            entry.Worker.Remove();
        }

        EdgedLog.PodWanted(_context.Log, $"{wanted.Namespace}/{wanted.Name}", wanted.Uid);
        Start(wanted, removed: false, cancellationToken, Refusal(wanted));
    }

    // A pod that ran here before was admitted then, and is not asked again.
    private AdmissionRefusal? Refusal(PodDescription pod)
    {
        if (pod.IsDeleting || pod.EndedPhase.Length > 0 || _lastStatus.ContainsKey(pod.Uid) || pod.Json.Text("status", "startTime").Length > 0)
            return null;
        var others = _pods.Values.Where(entry => !entry.Removed && !entry.Worker.HasEnded && !entry.Worker.IsFinished).Select(entry => entry.Worker.Pod.Json).ToList();

        // Those that are still to be taken over after a start.
        if (_lastStatus.Count > 0)
        {
            others.AddRange(_context.Meta.List("pod").Where(other => _lastStatus.TryGetValue(other.Uid, out var status) && status.Text("phase") is not ("Succeeded" or "Failed"))
                .Select(other => JsonNode.Parse(other.Json.Span)).OfType<JsonObject>());
        }

        var node = _context.Meta.Get(ResourceTypes.Node, ResourcePath.ClusterScope, _context.NodeName);
        return PodSysctls.Check(pod, _context.Options.AllowedUnsafeSysctls)
            ?? PodAdmission.Check(pod.Json, node is null ? null : JsonNode.Parse(node.Json.Span) as JsonObject, _context.Allocatable, others, _state.Current.Pressures ?? new HashSet<string>());
    }

    private static bool Matches(Entry entry, MetaObject obj) => entry.Worker.Pod.Namespace == obj.Namespace && entry.Worker.Pod.Name == obj.Name;

    /// <summary>Reads a stored pod; false with the reason when it cannot be run at all.</summary>
    internal static bool TryRead(MetaObject obj, out PodDescription pod, out string error)
    {
        pod = null!;
        try
        {
            if (JsonNode.Parse(obj.Json.Span) is JsonObject json)
                return PodDescription.TryRead(json, out pod, out error);
            error = "it is not a JSON object";
        }
        catch (JsonException e)
        {
            error = e.Message;
        }

        return false;
    }

    private void Start(PodDescription pod, bool removed, CancellationToken cancellationToken, AdmissionRefusal? refusal = null)
    {
        var before = _pods.Values.Where(entry => entry.Worker.Pod.Namespace == pod.Namespace && entry.Worker.Pod.Name == pod.Name).Select(entry => entry.Task).ToList();
        var worker = new PodWorker(_context, pod, removed, _lastStatus.Remove(pod.Uid, out var last) ? last : null, new Random(_random.Next()));
        if (refusal is not null)
        {
            EdgedLog.PodRefused(_context.Log, $"{pod.Namespace}/{pod.Name}", refusal.Reason, refusal.Message);
            worker.End(new PodEnd(refusal.Reason, refusal.StatusMessage, refusal.Message, TimeSpan.Zero) { Refused = true });
        }

        if (!removed)
            _context.Cgroups.Adopt(pod);
        _workers = [.. _workers, worker];
        _pods.Add(pod.Uid, new Entry(worker, worker.RunAsync(Task.WhenAll(before), cancellationToken)) { Removed = removed });
    }

    private void Forget(string uid, Entry entry)
    {
        _pods.Remove(uid);
        _workers = [.. _workers.Where(worker => worker != entry.Worker)];
        entry.Worker.Dispose();
    }

    private sealed class Entry(PodWorker worker, Task task)
    {
        public PodWorker Worker { get; } = worker;

        public Task Task { get; } = task;

        /// <summary>True when the object is gone from the store.</summary>
        public bool Removed { get; set; }
    }
}
