using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Volumes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Binds pods that have no node, those of high priority first. Looks at all waiting pods again whenever a node, pod, claim or volume changes. A pod whose claims
/// wait for it first reserves volumes that its node reaches, and is bound once the binder has bound them. One that fits nowhere may drive out others of lower priority.</summary>
internal sealed partial class SchedulerController : IAsyncDisposable
{
    private const string SchedulerName = "default-scheduler";

    // A binding shows in the pod informer within moments; after this long without, the pod is looked at afresh.
    private static readonly TimeSpan s_assumedFor = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    // A pod that waits says so again in its Event after this long.
    private static readonly TimeSpan s_eventEvery = TimeSpan.FromMinutes(5);

    private readonly IKubeClient _client;
    private readonly SharedInformer _pods;
    private readonly SharedInformer _nodes;
    private readonly SharedInformer _claims;
    private readonly SharedInformer _volumes;
    private readonly SharedInformer _classes;
    private readonly SharedInformer _namespaces;
    private readonly SharedInformer _budgets;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly EventRecorder _events;
    private readonly ReconcileLoop _loop;
    private readonly Dictionary<string, (string Node, DateTimeOffset At)> _assumed = [];
    private readonly Dictionary<string, (string Message, string Nominated, DateTimeOffset At)> _told = [];

    // Who was driven out and for whom, until the informer shows it.
    private readonly Dictionary<string, (string For, DateTimeOffset At)> _leaving = [];

    // An informer's object stays the same one until it changes; so does what was worked out from it.
    private readonly ConditionalWeakTable<JsonObject, PodInfo> _infos = [];
    private volatile bool _isShort;

    public SchedulerController(IKubeClient client, Func<ResourceKind, SharedInformer> informers, TimeProvider time, Random random, ILogger logger)
    {
        var (pods, nodes, claims, volumes, classes) = (
            informers(ResourceKind.Pod), informers(ResourceKind.Node), informers(ResourceKind.PersistentVolumeClaim), informers(ResourceKind.PersistentVolume), informers(ResourceKind.StorageClass));
        _namespaces = informers(ResourceKind.Namespace);
        _budgets = informers(ResourceKind.PodDisruptionBudget);
        _client = client;
        _pods = pods;
        _nodes = nodes;
        _claims = claims;
        _volumes = volumes;
        _classes = classes;
        _time = time;
        _logger = logger;
        _events = new EventRecorder(client, SchedulerName, time, logger);
        _loop = new ReconcileLoop("scheduler", PassAsync, time, random, logger);
        pods.Listen(OnPod);
        nodes.Listen(OnNode);
        foreach (var informer in (SharedInformer[])[claims, volumes, classes])
            informer.Listen(_ => _loop.Wake());
        _namespaces.Listen(change =>
        {
            if (_isShort && change.Old is not null && !JsonNode.DeepEquals(change.Old.At("metadata", "labels"), change.Object.At("metadata", "labels")))
                _loop.Wake();
        });
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private void OnPod(ObjectChange change)
    {
        // A pod that waits, or one that went or finished and so made room.
        if (NodeName(change.Object).Length == 0 || change.Type == ChangeType.Deleted || Conditions.IsFinished(change.Object))
            _loop.Wake();
        else if (_isShort && change.Old is { } old && (NodeName(old).Length == 0 || !JsonNode.DeepEquals(old.At("metadata", "labels"), change.Object.At("metadata", "labels"))))
            _loop.Wake(); // company for one that waits for it
    }

    private void OnNode(ObjectChange change)
    {
        // A node's heartbeat changes nothing here.
        if (change.Old is null
            || change.Type == ChangeType.Deleted
            || !JsonNode.DeepEquals(change.Old["spec"], change.Object["spec"])
            || !JsonNode.DeepEquals(change.Old.At("metadata", "labels"), change.Object.At("metadata", "labels"))
            || !JsonNode.DeepEquals(change.Old.At("status", "allocatable"), change.Object.At("status", "allocatable"))
            || Conditions.Status(change.Old, "Ready") != Conditions.Status(change.Object, "Ready"))
        {
            _loop.Wake();
        }
    }

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_pods.Synced, _nodes.Synced, _claims.Synced, _volumes.Synced, _classes.Synced, _namespaces.Synced, _budgets.Synced).WaitAsync(token);
        var pods = _pods.List();
        var waiting = pods.Where(IsWaiting).ToList();
        Forget(pods);
        _isShort = waiting.Count > 0;
        if (waiting.Count == 0)
            return null;

        var cluster = View(pods);
        var catalog = new VolumeCatalog(_claims.Get, _volumes.List().ToDictionary(volume => volume.Name(), StringComparer.Ordinal), name => _classes.Get(null, name), pods);
        var retry = false;
        var unplaced = 0;
        foreach (var pod in waiting.OrderByDescending(pod => pod.At("spec").Number(0, "priority")).ThenBy(pod => pod.Text("metadata", "creationTimestamp"), StringComparer.Ordinal).ThenBy(pod => pod.Version()))
        {
            try
            {
                var (isPlaced, isDone) = await PlaceAsync(pod, cluster, catalog, token);
                unplaced += isPlaced ? 0 : 1;
                retry |= !isDone;
            }
            catch (Exception e) when (e is not KubeException && !token.IsCancellationRequested)
            {
                unplaced++;
                LogUndecided(_logger, pod.Namespace(), pod.Name(), e);
            }
        }

        _isShort = unplaced > 0;
        return retry ? s_retry : unplaced > 0 ? s_eventEvery : null;
    }

    private async Task<(bool IsPlaced, bool IsDone)> PlaceAsync(JsonObject pod, ClusterView cluster, VolumeCatalog catalog, CancellationToken token)
    {
        var volumes = PodVolumes.Read(pod, catalog);
        var info = Info(pod);
        var verdict = SchedulerCore.Decide(info, cluster, volumes);
        if (verdict.Node is not { } node)
            return (false, await MakeRoomAsync(info, cluster, verdict, token));
        if (volumes.IsWaiting)
            return (true, await ReserveAsync(pod, volumes.Choose(node.Node)!, catalog, token));
        if (!await BindAsync(pod, node.Name, token))
            return (true, false);
        node.Add(info);
        return (true, true);
    }

    private PodInfo Info(JsonObject pod) => _infos.GetValue(pod, static made => new PodInfo(made));

    // Says why the pod waits; where others leave for it, the room is its own from now on, for this pass as for the next ones.
    private async Task<bool> MakeRoomAsync(PodInfo info, ClusterView cluster, Verdict verdict, CancellationToken token)
    {
        var nominated = info.Pod.Text("status", "nominatedNodeName");
        if (cluster.Find(nominated) is { } room && room.Pods.Any(other => other.Priority < info.Priority && (other.IsDeleting || _leaving.ContainsKey(other.Pod.Uid()))))
        {
            room.Add(info);
            return await TellAsync(info.Pod, $"{verdict.Message} preemption: not eligible due to a terminating pod on the nominated node.", nominated, token);
        }

        var preemption = Preemption.Find(info, cluster, verdict, _budgets.List());
        if (preemption.Node is not { } node)
            return await TellAsync(info.Pod, preemption.Message.Length == 0 ? verdict.Message : $"{verdict.Message} {preemption.Message}", "", token);
        node.Add(info);
        foreach (var victim in preemption.Victims)
        {
            if (!await DriveOutAsync(info.Pod, victim, node.Name, token))
                return false;
        }

        return await TellAsync(info.Pod, verdict.Message, node.Name, token);
    }

    // The pod gets its terminationGracePeriodSeconds, and whoever made it can see in its condition why it went.
    private async Task<bool> DriveOutAsync(JsonObject pod, PodInfo victim, string node, CancellationToken token)
    {
        var (space, name, now) = (victim.Namespace, victim.Pod.Name(), _time.GetUtcNow());
        if (victim.IsDeleting || _leaving.ContainsKey(victim.Pod.Uid()))
            return true;
        var patch = new JsonObject
        {
            ["metadata"] = new JsonObject { ["uid"] = victim.Pod.Uid() },
            ["status"] = new JsonObject
            {
                ["conditions"] = new JsonArray(new JsonObject
                {
                    ["type"] = "DisruptionTarget",
                    ["status"] = "True",
                    ["reason"] = "PreemptionByScheduler",
                    ["message"] = $"{SchedulerName}: preempting to accommodate a higher priority pod",
                    ["lastTransitionTime"] = KubeObject.Time(now),
                }),
            },
        };
        try
        {
            await _client.PatchAsync(ResourceKind.Pod, space, name, PatchKind.Strategic, Encoding.UTF8.GetBytes(patch.ToJsonString()), "status", token);
            await _client.DeleteAsync(ResourceKind.Pod, space, name, new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = victim.Pod.Uid() } }, token);
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            // Gone already, or another one of that name: the informer will say.
        }
        catch (KubeException e)
        {
            LogPreemptFailed(_logger, space, name, pod.Namespace(), pod.Name(), e.Message);
            return false;
        }

        _leaving[victim.Pod.Uid()] = (pod.Uid(), now);
        LogPreempted(_logger, space, name, node, pod.Namespace(), pod.Name());
        await _events.RecordAsync(victim.Pod, "Normal", "Preempted", $"Preempted by pod {pod.Uid()} on node {node}", token);
        return true;
    }

    private bool IsWaiting(JsonObject pod)
        => NodeName(pod).Length == 0
            && pod.Text("spec", "schedulerName") is "" or SchedulerName
            && !pod.IsDeleting()
            && !Conditions.IsFinished(pod)
            && !pod.Items("spec", "schedulingGates").Any()
            && !_assumed.ContainsKey(pod.Uid());

    private ClusterView View(IReadOnlyCollection<JsonObject> pods)
    {
        var nodes = _nodes.List().Where(node => !node.IsDeleting()).OrderBy(node => node.Name(), StringComparer.Ordinal).Select(node => new NodeInfo(node)).ToList();
        var labels = new Dictionary<string, IReadOnlyDictionary<string, string>>(StringComparer.Ordinal);
        foreach (var space in _namespaces.List())
            labels[space.Name()] = new Dictionary<string, string>(space.Map("metadata", "labels"), StringComparer.Ordinal);
        var cluster = new ClusterView(nodes, name => labels.GetValueOrDefault(name) ?? ClusterView.NoLabels);
        foreach (var pod in pods)
        {
            var name = NodeName(pod) is { Length: > 0 } bound ? bound : _assumed.GetValueOrDefault(pod.Uid()).Node ?? "";
            if (name.Length == 0 || Conditions.IsFinished(pod))
                continue;
            try
            {
                cluster.Find(name)?.Add(Info(pod));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                LogUncounted(_logger, pod.Namespace(), pod.Name(), name, e);
            }
        }

        return cluster;
    }

    private void Forget(IReadOnlyCollection<JsonObject> pods)
    {
        var unbound = pods.Where(pod => NodeName(pod).Length == 0).Select(pod => pod.Uid()).ToHashSet(StringComparer.Ordinal);
        var now = _time.GetUtcNow();
        foreach (var (uid, (_, at)) in _assumed)
        {
            if (!unbound.Contains(uid) || now - at > s_assumedFor)
                _assumed.Remove(uid);
        }

        var there = pods.Where(pod => !pod.IsDeleting()).Select(pod => pod.Uid()).ToHashSet(StringComparer.Ordinal);
        foreach (var (uid, (_, at)) in _leaving)
        {
            if (!there.Contains(uid) || now - at > s_assumedFor)
                _leaving.Remove(uid);
        }

        foreach (var uid in _told.Keys)
        {
            if (!unbound.Contains(uid))
                _told.Remove(uid);
        }
    }

    // The binder does the rest; its change of the claim wakes us.
    private async Task<bool> ReserveAsync(JsonObject pod, IReadOnlyList<(JsonObject Volume, JsonObject Claim)> chosen, VolumeCatalog catalog, CancellationToken token)
    {
        foreach (var (volume, claim) in chosen)
        {
            if (VolumeWrites.Reserve(volume, claim) is not { } next)
                continue;
            try
            {
                catalog.Volumes[volume.Name()] = await _client.UpdateAsync(ResourceKind.PersistentVolume, null, next, null, token);
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                // The informer lags; the change that it has not shown yet wakes us. Until then nobody else gets this one.
                catalog.Volumes[volume.Name()] = next;
            }
            catch (KubeException e)
            {
                LogReserveFailed(_logger, pod.Namespace(), pod.Name(), volume.Name(), e.Message);
                return false;
            }
        }

        return true;
    }

    private async Task<bool> BindAsync(JsonObject pod, string node, CancellationToken token)
    {
        var binding = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Binding",
            ["metadata"] = new JsonObject { ["name"] = pod.Name(), ["namespace"] = pod.Namespace(), ["uid"] = pod.Uid() },
            ["target"] = new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = node },
        };
        try
        {
            await _client.CreateSubresourceAsync(ResourceKind.Pod, pod.Namespace(), pod.Name(), "binding", binding, token);
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            // Gone, made anew or bound by someone else: the informer will say.
            return true;
        }
        catch (KubeException e)
        {
            LogBindFailed(_logger, pod.Namespace(), pod.Name(), node, e.Message);
            return false;
        }

        _assumed[pod.Uid()] = (node, _time.GetUtcNow());
        _told.Remove(pod.Uid());
        LogBound(_logger, pod.Namespace(), pod.Name(), node);
        await _events.RecordAsync(pod, "Normal", "Scheduled", $"Successfully assigned {pod.Namespace()}/{pod.Name()} to {node}", token);
        return true;
    }

    private async Task<bool> TellAsync(JsonObject pod, string message, string nominated, CancellationToken token)
    {
        var now = _time.GetUtcNow();
        if (_told.TryGetValue(pod.Uid(), out var told) && told.Message == message && told.Nominated == nominated && now - told.At < s_eventEvery)
            return true;
        var known = Conditions.Find(pod, "PodScheduled");
        if (known.Text("status") != "False" || known.Text("reason") != "Unschedulable" || known.Text("message") != message || pod.Text("status", "nominatedNodeName") != nominated)
        {
            var patch = new JsonObject
            {
                ["status"] = new JsonObject
                {
                    ["conditions"] = new JsonArray(new JsonObject
                    {
                        ["type"] = "PodScheduled",
                        ["status"] = "False",
                        ["reason"] = "Unschedulable",
                        ["message"] = message,
                        ["lastTransitionTime"] = known.Text("status") == "False" && known.Text("lastTransitionTime") is { Length: > 0 } since ? since : KubeObject.Time(now),
                    }),
                    ["nominatedNodeName"] = nominated.Length == 0 ? null : nominated,
                },
            };
            try
            {
                await _client.PatchAsync(ResourceKind.Pod, pod.Namespace(), pod.Name(), PatchKind.Strategic, Encoding.UTF8.GetBytes(patch.ToJsonString()), "status", token);
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                return true;
            }
            catch (KubeException e)
            {
                LogStatusFailed(_logger, pod.Namespace(), pod.Name(), e.Message);
                return false;
            }
        }

        await _events.RecordAsync(pod, "Warning", "FailedScheduling", message, token);
        _told[pod.Uid()] = (message, nominated, now);
        return true;
    }

    private static string NodeName(JsonObject pod) => pod.Text("spec", "nodeName");

    [LoggerMessage(3210, LogLevel.Information, "pod {Namespace}/{Name} goes to node {Node}")]
    private static partial void LogBound(ILogger logger, string @namespace, string name, string node);

    [LoggerMessage(3211, LogLevel.Warning, "pod {Namespace}/{Name} could not be bound to node {Node}: {Message}")]
    private static partial void LogBindFailed(ILogger logger, string @namespace, string name, string node, string message);

    [LoggerMessage(3213, LogLevel.Warning, "pod {Namespace}/{Name}: volume {Volume} could not be reserved: {Message}")]
    private static partial void LogReserveFailed(ILogger logger, string @namespace, string name, string volume, string message);

    [LoggerMessage(3212, LogLevel.Warning, "the status of pod {Namespace}/{Name} could not be written: {Message}")]
    private static partial void LogStatusFailed(ILogger logger, string @namespace, string name, string message);

    [LoggerMessage(3214, LogLevel.Information, "pod {Namespace}/{Name} leaves node {Node} for pod {ForNamespace}/{ForName}, which has a higher priority")]
    private static partial void LogPreempted(ILogger logger, string @namespace, string name, string node, string forNamespace, string forName);

    [LoggerMessage(3216, LogLevel.Error, "pod {Namespace}/{Name} could not be decided on, the others go on; please report it")]
    private static partial void LogUndecided(ILogger logger, string @namespace, string name, Exception error);

    [LoggerMessage(3217, LogLevel.Error, "pod {Namespace}/{Name} on node {Node} is not counted there; please report it")]
    private static partial void LogUncounted(ILogger logger, string @namespace, string name, string node, Exception error);

    [LoggerMessage(3215, LogLevel.Warning, "pod {Namespace}/{Name} could not be driven out for pod {ForNamespace}/{ForName}: {Message}")]
    private static partial void LogPreemptFailed(ILogger logger, string @namespace, string name, string forNamespace, string forName, string message);
}
