using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Chaos.Tests;

/// <summary>A row of edgecore's uplink queue.</summary>
/// <param name="IsNewest">Whether it replaces what waits of its key.</param>
internal sealed record QueueRow(string Key, bool IsNewest, int Priority, string Operation, string Resource, byte[] Content);

/// <summary>Statuses of pods and Events on their way up. No pods run here, so the rows that Edged would commit are committed for it, in its form, into the file of an edgecore that has been
/// killed: what a process had committed when it died. From there on everything is real. A row counts as acknowledged once its transaction is through.</summary>
internal sealed class NodeReports : IAsyncDisposable
{
    private const int Pods = 4;
    private const int EventsAtOnce = 10;

    // As Edge.Core's UplinkPriority.
    private const int StatusPriority = 2;
    private const int EventPriority = 4;

    private readonly IKubeClient _api;
    private readonly CancellationTokenSource _stop = new();
    private readonly string[] _uids = new string[Pods];
    private readonly long[] _committed = new long[Pods];
    private readonly ConcurrentDictionary<string, long> _statuses = new();
    private readonly ConcurrentDictionary<string, long> _events = new();
    private readonly ConcurrentQueue<string> _broken = new();
    private readonly List<string> _committedEvents = [];
    private readonly List<Task> _running = [];
    private long _statusCommits;

    public NodeReports(IKubeClient api) => _api = api;

    /// <summary>Statuses committed.</summary>
    public long Statuses => _statusCommits;

    /// <summary>Events committed.</summary>
    public int Events => _committedEvents.Count;

    /// <summary>Statuses that went back, and Events that were written twice; empty when all is well.</summary>
    public IReadOnlyCollection<string> Broken => _broken;

    /// <summary>Makes the pods and begins to watch.</summary>
    public async Task StartAsync()
    {
        for (var i = 0; i < Pods; i++)
        {
            var pod = await _api.CreateAsync(ResourceKind.Pod, "default", new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "Pod",
                ["metadata"] = new JsonObject { ["name"] = NameOf(i) },
                ["spec"] = new JsonObject { ["nodeName"] = ChaosEdge.Node, ["containers"] = new JsonArray(new JsonObject { ["name"] = "main", ["image"] = "edge.local/none:1" }) },
            }, CancellationToken.None);
            _uids[i] = pod.Uid();
        }

        _running.Add(Task.Run(() => WatchAsync(ResourceKind.Pod, TakePod)));
        _running.Add(Task.Run(() => WatchAsync(ResourceKind.Event, TakeEvent)));
    }

    /// <summary>Commits the next status of each pod, and some Events. Only while edgecore is dead.</summary>
    public void Commit(EdgeStore closed)
    {
        var rows = new List<QueueRow>();
        for (var i = 0; i < Pods; i++)
        {
            var patch = new JsonObject
            {
                ["metadata"] = new JsonObject { ["uid"] = _uids[i] },
                ["status"] = new JsonObject { ["phase"] = "Running", ["message"] = $"{_committed[i] + 1}" },
            };
            rows.Add(new QueueRow(
                $"podstatus/default/{NameOf(i)}/{_uids[i]}", true, StatusPriority, "patch", $"default/podpatch/{NameOf(i)}", Encoding.UTF8.GetBytes(JsonValue.Create(patch.ToJsonString()).ToJsonString())));
        }

        var events = new List<string>();
        for (var n = 0; n < EventsAtOnce; n++)
        {
            var name = $"{NameOf(n % Pods)}.{_committedEvents.Count + n:x8}";
            events.Add(name);
            rows.Add(new QueueRow($"event/default/{name}", false, EventPriority, "insert", $"default/event/{name}", Encoding.UTF8.GetBytes(EventOf(name, n % Pods).ToJsonString())));
        }

        closed.EnqueueWhileClosed(rows);
        for (var i = 0; i < Pods; i++)
            _committed[i]++;
        _statusCommits += Pods;
        _committedEvents.AddRange(events);
    }

    /// <summary>What was committed and is not at the API; empty when each pod has its last status, and each Event is there.</summary>
    public IReadOnlyList<string> Missing()
    {
        var missing = new List<string>();
        for (var i = 0; i < Pods; i++)
        {
            if (_committed[i] > 0 && _statuses.GetValueOrDefault(NameOf(i)) != _committed[i])
                missing.Add($"status of pod {NameOf(i)}: {_committed[i]} was committed, the API has {_statuses.GetValueOrDefault(NameOf(i))}");
        }

        missing.AddRange(_committedEvents.Where(name => !_events.ContainsKey(name)).Select(name => $"Event {name} was committed, the API has none"));
        return missing;
    }

    /// <summary>Throws what ended a watch.</summary>
    public void ThrowIfBroken()
    {
        foreach (var task in _running.Where(task => task.IsFaulted))
            task.GetAwaiter().GetResult();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // ThrowIfBroken has said it
    }

    private static string NameOf(int i) => $"reported{i}";

    private JsonObject EventOf(string name, int pod) => new()
    {
        ["kind"] = "Event",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" },
        ["involvedObject"] = new JsonObject { ["kind"] = "Pod", ["namespace"] = "default", ["name"] = NameOf(pod), ["uid"] = _uids[pod], ["apiVersion"] = "v1" },
        ["reason"] = "Chaos",
        ["message"] = name,
        ["source"] = new JsonObject { ["component"] = "kubelet", ["host"] = ChaosEdge.Node },
        ["count"] = 1,
        ["type"] = "Normal",
    };

    private async Task WatchAsync(ResourceKind kind, Action<WatchEventType, JsonObject> take)
    {
        try
        {
            var list = await _api.ListAsync(kind, "default", new ListOptions(), _stop.Token);
            foreach (var obj in list.Items)
                take(WatchEventType.Added, obj);
            var version = list.ResourceVersion;
            while (true)
            {
                // The server ends a watch now and then; it goes on from the last version, so nothing is missed.
                await foreach (var change in _api.WatchAsync(kind, "default", version, new ListOptions(), _stop.Token))
                {
                    version = change.Object.ResourceVersion();
                    if (change.Type != WatchEventType.Bookmark)
                        take(change.Type, change.Object);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped.
        }
    }

    private void TakePod(WatchEventType type, JsonObject pod)
    {
        if (pod.Text("status", "message") is not { Length: > 0 } text || !_uids.Contains(pod.Uid()))
            return;
        var count = long.Parse(text, CultureInfo.InvariantCulture);
        _statuses.AddOrUpdate(pod.Name(), count, (name, before) =>
        {
            if (count < before)
                _broken.Enqueue($"the status of pod {name} went from {before} back to {count} (version {pod.ResourceVersion()})");
            return count;
        });
    }

    private void TakeEvent(WatchEventType type, JsonObject @event)
    {
        if (@event.Text("reason") != "Chaos")
            return;
        if (!_events.TryAdd(@event.Name(), 1) || type == WatchEventType.Deleted || @event.Number(0, "count") != 1)
            _broken.Enqueue($"Event {@event.Name()} was {type} again (count {@event.Number(0, "count")}, version {@event.ResourceVersion()})");
    }
}
