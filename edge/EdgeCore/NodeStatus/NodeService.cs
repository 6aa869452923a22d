using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.NodeStatus;

/// <summary>Registers the node, keeps its lease, reports its status.</summary>
/// <param name="runtime">The container runtime; null when this node runs no pods.</param>
/// <param name="reportPods">Called when the cluster may have written to the pods' statuses while the node was away: each is to be sent again.</param>
internal sealed class NodeService(
    EdgeCoreOptions options, IMetaStore meta, IHubLink hub, IRuntimeState? runtime, Action reportPods, Func<NodeFacts> readFacts, TimeProvider time, Random random,
    ILoggerFactory loggers)
{
    private const string Room = "nodestatus";
    private static readonly TimeSpan s_tick = TimeSpan.FromSeconds(1);
    private readonly ILogger _log = loggers.CreateLogger("NodeStatus");
    private readonly string _name = options.NodeName;
    private readonly NodeLease _lease = new(options.NodeName, options.Edged.NodeLeaseDurationSeconds, hub.RequestAsync, time, loggers.CreateLogger("NodeStatus"));
    private readonly Channel<string> _gone = Channel.CreateBounded<string>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }); // one reason is enough
    private JsonObject? _reported;
    private string _postFailure = "";
    private string _nodeUid = "";
    private volatile bool _registered;
    private bool _statusDue;
    private long _registrations;

    private string NodeResource => $"{ResourcePath.ClusterScope}/{ResourceTypes.Node}/{_name}";

    private string PatchKey => $"{ResourceTypes.NodePatch}/{_name}";

    // A port that is chosen at start is not known here.
    private int KubeletPort => options.LocalApi.Port is > 0 and var port ? port : 10350;

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        hub.EntryRejected += OnRejected;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            Task[] loops = [RegisterLoopAsync(stop.Token), LeaseLoopAsync(stop.Token), StatusLoopAsync(stop.Token), WatchNodeAsync(stop.Token)];
            var first = await Task.WhenAny(loops);
            await stop.CancelAsync();
            foreach (var loop in loops)
            {
                try
                {
                    await loop;
                }
                catch (OperationCanceledException) when (loop != first || cancellationToken.IsCancellationRequested)
                {
                    // Stopped because another loop ended or the program stops.
                }
            }
        }
        finally
        {
            hub.EntryRejected -= OnRejected;
        }
    }

    private void OnRejected(UplinkRejection rejection)
    {
        if (rejection.Key == PatchKey && rejection.Reason == "NotFound")
            _gone.Writer.TryWrite("its status was refused with NotFound");
    }

    // The cloud pushes a delete of the node's own object.
    private async Task WatchNodeAsync(CancellationToken cancellationToken)
    {
        var changes = meta.Subscribe(ResourceTypes.Node);
        while (await changes.WaitToReadAsync(cancellationToken))
        {
            while (changes.TryRead(out var change))
            {
                if (change.Deleted && change.Object.Name == _name)
                    _gone.Writer.TryWrite("it was deleted");
            }
        }
    }

    private async Task RegisterLoopAsync(CancellationToken cancellationToken)
    {
        var backoff = new Backoff(random, TimeSpan.FromSeconds(0.5), TimeSpan.FromSeconds(15));
        while (true)
        {
            await hub.ConnectedAfterAsync(0, cancellationToken);
            if (await RegisterAsync(cancellationToken) is { } failure)
            {
                NodeLog.RegisterFailed(_log, _name, failure);
                await Task.Delay(backoff.Next(), time, cancellationToken);
                continue;
            }

            backoff.Reset();
            NodeLog.Registered(_log, _name, _nodeUid);
            Interlocked.Increment(ref _registrations);
            _registered = true;
            var why = await _gone.Reader.ReadAsync(cancellationToken);
            _registered = false;
            NodeLog.NodeGone(_log, _name, why);
        }
    }

    // Null when registered, else why not.
    private async Task<string?> RegisterAsync(CancellationToken cancellationToken)
    {
        try
        {
            var facts = readFacts();
            var status = NodeObject.Status(_name, options.Edged, facts, runtime?.Current, [], time.GetUtcNow(), KubeletPort);
            var node = NodeObject.Node(_name, options.Edged, facts, status);
            var answer = await AskAsync(Operations.Insert, NodeResource, node, cancellationToken);
            if (answer.Outcome == UplinkOutcome.Accepted)
            {
                _nodeUid = answer.Object?.Uid() ?? "";
                return null;
            }

            if (answer.Reason != "AlreadyExists")
                return answer.Text;
            var present = await AskAsync(Operations.Query, NodeResource, null, cancellationToken);
            if (present.Outcome != UplinkOutcome.Accepted || present.Object is null)
                return present.Text.Length > 0 ? present.Text : "the cloud says that the node exists, and does not show it";
            _nodeUid = present.Object.Uid();
            var wanted = NodeObject.Labels(_name, options.Edged, facts);
            if (wanted.All(label => present.Object.Label(label.Key) == label.Value!.GetValue<string>()))
                return null;
            var merged = new JsonObject { ["metadata"] = new JsonObject { ["name"] = _name, ["labels"] = wanted, ["annotations"] = node["metadata"]!["annotations"]!.DeepClone() } };
            var update = await AskAsync(Operations.Update, NodeResource, merged, cancellationToken);
            return update.Outcome == UplinkOutcome.Accepted ? null : update.Text;
        }
        catch (UplinkException e)
        {
            return e.Message;
        }
    }

    private async Task LeaseLoopAsync(CancellationToken cancellationToken)
    {
        JsonObject? lease = null;
        long generation = 0;
        long registration = 0;
        var renewed = time.GetTimestamp(); // the start counts: the cluster waits for the first lease as for any other
        var every = TimeSpan.FromSeconds(options.Edged.NodeLeaseDurationSeconds / 4.0);
        var last = time.GetTimestamp() - (long)(every.TotalSeconds * time.TimestampFrequency);
        while (true)
        {
            var now = await hub.ConnectedAfterAsync(0, cancellationToken);
            var isNew = registration != Interlocked.Read(ref _registrations);
            var fresh = now != generation || isNew;
            if (_registered && (fresh || time.GetElapsedTime(last) >= every))
            {
                if (isNew || (fresh && !hub.IsEdgeWire))
                    lease = null; // the cloud may have changed it while we did not look
                generation = now;
                registration = Interlocked.Read(ref _registrations);
                last = time.GetTimestamp();
                // An Edge cloud that has had the whole on this connection needs the new time alone.
                lease = fresh || lease is null || !hub.IsEdgeWire
                    ? await _lease.RenewAsync(lease, _nodeUid, cancellationToken)
                    : await _lease.PatchAsync(lease, cancellationToken) ?? await _lease.RenewAsync(null, _nodeUid, cancellationToken);
                if (lease is not null)
                {
                    // The cluster may have taken a node that was silent so long for lost, and waits for its status.
                    if (time.GetElapsedTime(renewed).TotalSeconds >= options.Edged.NodeLeaseDurationSeconds)
                    {
                        Volatile.Write(ref _statusDue, true);
                        reportPods();
                    }

                    renewed = time.GetTimestamp();
                }
            }

            await Task.Delay(s_tick, time, cancellationToken);
        }
    }

    private async Task StatusLoopAsync(CancellationToken cancellationToken)
    {
        var update = TimeSpan.FromSeconds(options.Edged.NodeStatusUpdateFrequencySeconds);
        var report = TimeSpan.FromSeconds(options.Edged.NodeStatusReportFrequencySeconds);
        long generation = 0;
        long registration = 0;
        RuntimeState? seen = null;
        var computedAt = time.GetTimestamp();
        var reportedAt = time.GetTimestamp();
        var ready = "";
        while (true)
        {
            await Task.Delay(_registered ? s_tick : TimeSpan.FromMilliseconds(100), time, cancellationToken);
            if (!_registered)
                continue;
            var current = runtime?.Current;
            var connection = hub.Generation is > 0 and var up ? up : generation;
            // A stock cloud gets the status with each connection, as from a stock edge. At an Edge cloud the queue has brought it there, or will.
            var fresh = (connection != generation && !hub.IsEdgeWire) || registration != Interlocked.Read(ref _registrations) || Volatile.Read(ref _statusDue);
            var runtimeChanged = current?.Ready != seen?.Ready || current?.Message != seen?.Message || current?.Version != seen?.Version || !SamePressures(current, seen);
            if (!fresh && !runtimeChanged && time.GetElapsedTime(computedAt) < update)
                continue;
            // Where a controller of the cluster took the node for lost, it also wrote to its pods.
            if (current is { Ready: true } && seen is { Ready: false })
                reportPods();
            (generation, registration, seen, computedAt) = (connection, Interlocked.Read(ref _registrations), current, time.GetTimestamp());
            var previous = _reported ?? StoredStatus();
            var status = NodeObject.Status(_name, options.Edged, readFacts(), current, previous.Items("conditions"), time.GetUtcNow());
            if (!fresh && NodeObject.Same(_reported, status) && time.GetElapsedTime(reportedAt) < report)
                continue;
            reportedAt = computedAt;
            Volatile.Write(ref _statusDue, false);
            var condition = status.Items("conditions").Last();
            if (condition.Text("status") + condition.Text("message") is var text && text != ready)
                NodeLog.ReadyChanged(_log, _name, condition.Text("status"), condition.Text("message"));
            ready = text;
            if (!await PostAsync(status, cancellationToken))
                Volatile.Write(ref _statusDue, true);
        }
    }

    private static bool SamePressures(RuntimeState? a, RuntimeState? b)
        => a?.Pressures is null ? b?.Pressures is null : b?.Pressures is not null && a.Pressures.SetEquals(b.Pressures);

    private async Task<bool> PostAsync(JsonObject status, CancellationToken cancellationToken)
    {
        // The whole status every time: as the newest value replaces older ones in the queue, it must not build on them.
        var patch = new JsonObject { ["status"] = status.DeepClone() };
        var entry = new UplinkEntry(
            PatchKey, UplinkPriority.NodeStatus, UplinkRule.Newest, Sources.Edged, Groups.Meta, Operations.Patch, $"{ResourcePath.ClusterScope}/{ResourceTypes.NodePatch}/{_name}",
            MessageCodec.JsonString(patch.ToJsonString()));
        var kept = new JsonObject { ["conditions"] = status["conditions"]!.DeepClone() };
        try
        {
            // Together, so that they share a commit.
            await Task.WhenAll(
                hub.PostAsync(entry, cancellationToken).AsTask(),
                meta.PutLocalAsync(Room, _name, Encoding.UTF8.GetBytes(kept.ToJsonString()), cancellationToken).AsTask());
            _reported = status;
            _postFailure = "";
            return true;
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // It is tried again each second: said once, or the log would fill what is left of the disk.
            if (_postFailure != e.Message)
                NodeLog.PostFailed(_log, e.Message);
            _postFailure = e.Message;
            return false;
        }
    }

    // What this node said last before a restart, which keeps the times of its conditions: its own row, since the cloud sends no node again for its status alone.
    private JsonObject? StoredStatus()
    {
        try
        {
            if (meta.ListLocal(Room).TryGetValue(_name, out var kept) && JsonNode.Parse(kept.Span) is JsonObject own)
                return own;
            return meta.Get(ResourceTypes.Node, ResourcePath.ClusterScope, _name) is { } stored ? JsonNode.Parse(stored.Json.Span)?["status"] as JsonObject : null;
        }
        catch (JsonException)
        {
            return null; // only keeps transition times across restarts
        }
    }

    private Task<CloudAnswer> AskAsync(string operation, string resource, JsonObject? content, CancellationToken cancellationToken)
        => NodeLease.AskAsync(hub.RequestAsync, time, operation, resource, content, cancellationToken);
}
