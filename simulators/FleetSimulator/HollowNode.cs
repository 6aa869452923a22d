using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Common;
using Edge.Common.Storage;
using Edge.Core.DeviceTwin;
using Edge.Core.EdgeHub;
using Edge.Core.NodeStatus;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Fleet;

/// <summary>One hollow EdgeCore: the real dialer, session, queue and lease, a store shared with the other nodes, no pods and no devices.</summary>
internal sealed class HollowNode
{
    private static readonly TimeSpan s_backoffFirst = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_stable = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_statusEvery = TimeSpan.FromSeconds(300);
    private readonly Fleet _fleet;
    private readonly TimeProvider _time;
    private readonly HollowMeta _meta;
    private readonly UplinkQueue _queue;
    private readonly PendingRequests _pending = new();
    private readonly NodeLease _lease;
    private volatile Connection? _connection;
    private volatile TaskCompletionSource _mayConnect = Released();
    private JsonObject? _held;
    private string _uid = "";
    private volatile bool _registered;
    private bool _everConnected;
    private long _reportedAt;
    private long _renewedAt;
    private long _reports;

    public HollowNode(int index, Fleet fleet)
    {
        Index = index;
        Name = $"{fleet.Options.NamePrefix}{index}";
        _fleet = fleet;
        _time = fleet.Time;
        _meta = new HollowMeta(index, fleet.Store, fleet.Counts, _time);
        _queue = new UplinkQueue(fleet.Store.Uplink(index, fleet.Counts.UpDone), fleet.HubOptions, _time, NullLogger.Instance);
        _lease = new NodeLease(Name, fleet.Edged.NodeLeaseDurationSeconds, RequestAsync, _time, NullLogger.Instance);
    }

    public int Index { get; }

    public string Name { get; }

    public HollowMeta Meta => _meta;

    public ByteCounts Bytes { get; } = new();

    public bool IsConnected => _connection is not null;

    /// <summary>Whether the cloud has answered the inventory of the present connection.</summary>
    public bool IsInSync => _connection is { InventoryAnswered: true };

    /// <summary>Dials, serves, and dials again until cancelled.</summary>
    public async Task RunAsync(Credentials credentials, CancellationToken cancellationToken)
    {
        var backoff = new Backoff(_fleet.Random, s_backoffFirst, s_backoffMax);
        try
        {
            while (true)
            {
                await _mayConnect.Task.WaitAsync(cancellationToken);
                _fleet.Counts.Ended(await ConnectOnceAsync(credentials, backoff, cancellationToken));
                if (_mayConnect.Task.IsCompleted)
                    await Task.Delay(backoff.Next(), _time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The fleet stops.
        }
    }

    /// <summary>Cuts the connection without a word, as a lost network does; the node dials again after its backoff.</summary>
    public void Cut() => _connection?.Stream?.Dispose();

    /// <summary>Cuts the connection and stays away until <see cref="Return"/>.</summary>
    public void Leave()
    {
        if (_mayConnect.Task.IsCompleted)
            _mayConnect = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Cut();
    }

    public void Return() => _mayConnect.TrySetResult();

    /// <summary>What is due now and then: the lease, and the whole status every five minutes. Never throws.</summary>
    public async Task BeatAsync(CancellationToken cancellationToken)
    {
        if (_connection is not { IsGreeted: true } || !_registered)
            return;
        await RenewAsync(cancellationToken);
        if (_fleet.Options.Status && _time.GetElapsedTime(_reportedAt) >= s_statusEvery)
            await PostStatusAsync(cancellationToken);
    }

    /// <summary>Queues a twin report of the device that has the node's name, in namespace default; completes when it is on disk.</summary>
    /// <param name="replaces">True as twins do: a newer report replaces one not yet answered. False keeps every one.</param>
    public async Task ReportAsync(bool replaces, CancellationToken cancellationToken)
    {
        var number = Interlocked.Increment(ref _reports);
        var now = _time.GetUtcNow().ToUnixTimeMilliseconds();
        var content = TwinPayload.Twin(
            Guid.NewGuid().ToString(), now,
            new TwinOutput.SendTwin(
                "default", Name, "",
                new SortedList<string, PropertyTwin> { ["temperature"] = new() { Type = "FLOAT", Value = number.ToString(CultureInfo.InvariantCulture), TimestampMs = now, EdgeVersion = number } },
                []));
        var key = replaces ? $"twin/default/{Name}" : $"twin/default/{Name}/{number}";
        await _queue.PostAsync(
            new UplinkEntry(key, UplinkPriority.Twin, UplinkRule.Newest, Sources.Twin, Groups.Resource, Operations.Update, $"device/default/{Name}/twin/edge_updated", content), cancellationToken);
    }

    /// <summary>Entries for the cloud that wait or are unanswered.</summary>
    public int QueueDepth() => _queue.Figures().Depth.Sum();

    private static TaskCompletionSource Released()
    {
        var released = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        released.SetResult();
        return released;
    }

    private async Task<string> ConnectOnceAsync(Credentials credentials, Backoff backoff, CancellationToken cancellationToken)
    {
        var connection = new Connection();
        var dialer = new HubDialer(_fleet.HubOptions, Name, _time, NullLogger.Instance, stream => connection.Stream = new CountingStream(stream, Bytes));
        await _fleet.Dials.WaitAsync(cancellationToken);
        DialedLink dialed;
        var began = _time.GetTimestamp();
        var atDial = Bytes.In + Bytes.Out;
        try
        {
            dialed = await dialer.DialAsync(credentials, cancellationToken);
        }
        catch (LinkException e)
        {
            _fleet.Counts.DialFailed();
            return e.Message;
        }
        finally
        {
            _fleet.Dials.Release();
        }

        await using var link = dialed.Link;
        connection.Link = link;
        var start = (Bytes.In, Bytes.Out);
        void Settled()
        {
            if (connection.InventoryAnswered)
                return; // compared once more
            connection.InventoryAnswered = true;
            _fleet.Counts.Synced(start.In + start.Out - atDial, Bytes.In - start.In, Bytes.Out - start.Out);
        }

        // A stock cloud is told no inventory: what it sends is all there is to wait for.
        if (!link.IsEdgeWire)
            Settled();
        var since = _time.GetTimestamp();
        var greeting = Task.CompletedTask;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var session = new HubSession(link, _queue, _pending, _meta, null, TimeSpan.FromSeconds(_fleet.Options.HeartbeatSeconds), _time, NullLogger.Instance) { InventorySettled = Settled };
        var reason = await session.RunAsync(
            () =>
            {
                _connection = connection;
                _fleet.Connected(this, _time.GetElapsedTime(began), _everConnected);
                _everConnected = true;
                greeting = GreetAsync(connection, stop.Token);
            },
            cancellationToken);
        if (_connection is not null)
            _fleet.Disconnected();
        _connection = null;
        _pending.FailAll($"the link to the cloud went down: {reason}");
        await stop.CancelAsync();
        await greeting;
        if (link.ClosedBecause is { Length: > 0 } said)
            reason = $"CloudCore closed it: {said}";
        if (_time.GetElapsedTime(since) >= s_stable)
            backoff.Reset();
        return reason;
    }

    // What NodeStatus does on each new connection: the Node once, the lease looked at again, the status.
    private async Task GreetAsync(Connection connection, CancellationToken cancellationToken)
    {
        var pause = new Backoff(_fleet.Random, s_backoffFirst, TimeSpan.FromSeconds(15));
        try
        {
            while (!_registered)
            {
                _registered = await RegisterAsync(cancellationToken);
                if (!_registered)
                    await Task.Delay(pause.Next(), _time, cancellationToken);
            }

            // As NodeStatus: an Edge cloud has the last status, or gets it from the queue, unless the node was silent for so long that it may count as lost.
            var isEdgeWire = connection.Link!.IsEdgeWire;
            var isLost = _renewedAt == 0 || _time.GetElapsedTime(_renewedAt).TotalSeconds >= _fleet.Edged.NodeLeaseDurationSeconds;
            if (!isEdgeWire)
                _held = null; // the cloud may have changed it meanwhile
            await RenewAsync(cancellationToken);
            if (_fleet.Options.Status && (isLost || !isEdgeWire))
                await PostStatusAsync(cancellationToken);
            connection.IsGreeted = true;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The link went down; the next connection greets again.
        }
    }

    private async Task<bool> RegisterAsync(CancellationToken cancellationToken)
    {
        var node = NodeObject.Node(Name, _fleet.Edged, _fleet.Facts, Status());
        try
        {
            var answer = await NodeLease.AskAsync(RequestAsync, _time, Operations.Insert, $"{ResourcePath.ClusterScope}/{ResourceTypes.Node}/{Name}", node, cancellationToken);
            _uid = answer.Object is { } known && known["metadata"]?["uid"] is JsonValue uid ? uid.ToString() : "";
            return answer.Outcome == UplinkOutcome.Accepted || answer.Reason == "AlreadyExists";
        }
        catch (UplinkException)
        {
            return false;
        }
    }

    private async Task RenewAsync(CancellationToken cancellationToken)
    {
        try
        {
            _held = _held is not null && _connection is { IsGreeted: true, Link.IsEdgeWire: true }
                ? await _lease.PatchAsync(_held, cancellationToken) ?? await _lease.RenewAsync(null, _uid, cancellationToken)
                : await _lease.RenewAsync(_held, _uid, cancellationToken);
            if (_held is not null)
            {
                _renewedAt = _time.GetTimestamp();
                _fleet.Counts.LeaseRenewed();
            }
        }
        catch (OperationCanceledException)
        {
            _held = null;
        }
    }

    private async Task PostStatusAsync(CancellationToken cancellationToken)
    {
        _reportedAt = _time.GetTimestamp();
        var patch = new JsonObject { ["status"] = Status() };
        try
        {
            await _queue.PostAsync(
                new UplinkEntry(
                    $"{ResourceTypes.NodePatch}/{Name}", UplinkPriority.NodeStatus, UplinkRule.Newest, Sources.Edged, Groups.Meta, Operations.Patch,
                    $"{ResourcePath.ClusterScope}/{ResourceTypes.NodePatch}/{Name}", MessageCodec.JsonString(patch.ToJsonString())),
                cancellationToken);
        }
        catch (Exception e) when (e is StoreException or System.Threading.Channels.ChannelClosedException)
        {
            _fleet.Counts.Violate($"{Name}: its status could not be queued: {e.Message}");
        }
    }

    private JsonObject Status() => NodeObject.Status(Name, _fleet.Edged, _fleet.Facts, null, [], _time.GetUtcNow());

    private async Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var connection = _connection ?? throw new UplinkException($"{request.Operation} {request.Resource}: not connected to the cloud");
        var answer = _pending.Add(request.Id, _queue.NextSequence(), acknowledge: true);
        try
        {
            await connection.Link!.SendAsync(request, cancellationToken);
            return await answer.WaitAsync(timeout, _time, cancellationToken);
        }
        catch (LinkException e)
        {
            throw new UplinkException($"{request.Operation} {request.Resource}: {e.Message}");
        }
        catch (TimeoutException)
        {
            if (_connection == connection)
                _fleet.Counts.AnswerMissing();
            throw new UplinkException($"{request.Operation} {request.Resource}: no answer within {timeout.TotalSeconds:0.#} s");
        }
        finally
        {
            _pending.Remove(request.Id);
        }
    }

    private sealed class Connection
    {
        public ILink? Link { get; set; }

        public Stream? Stream { get; set; }

        /// <summary>Registered, the lease renewed, the status queued.</summary>
        public volatile bool IsGreeted;

        public volatile bool InventoryAnswered;
    }
}
