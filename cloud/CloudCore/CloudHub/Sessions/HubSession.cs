using System.Diagnostics;
using System.Globalization;
using Edge.Cloud.Dashboard;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Common.Tracing;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>Why a session ended; the first reason counts.</summary>
internal enum SessionEndReason
{
    None,
    PeerClosed,
    LinkBroke,
    Silent,
    Replaced,
    QueueFull,
    Stopping,
    Failed,

    /// <summary>The node connected to another CloudCore.</summary>
    Moved,

    /// <summary>The Node was deleted from the cluster.</summary>
    NodeDeleted,
}

/// <summary>Times of a session.</summary>
internal sealed record SessionTimes
{
    /// <summary>The session ends when nothing came for this long.</summary>
    public TimeSpan Keepalive { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long to wait for the inventory of an Edge peer before everything is sent.</summary>
    public TimeSpan InventoryWait { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A write that takes longer ends the session.</summary>
    public TimeSpan WriteTimeout { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>What a session asks of the rest of the house.</summary>
internal interface ISessionOwner
{
    /// <summary>A message other than an ack or a keepalive; awaited before the next one is read.</summary>
    ValueTask ReceivedAsync(HubSession session, Message message, CancellationToken cancellationToken);

    /// <summary>No inventory came in time: the node gets everything.</summary>
    void InventoryMissing(HubSession session);

    /// <summary>A stock edge confirmed this state. Never called for an Edge peer, which knows itself what it has.</summary>
    void Stored(HubSession session, DownObject obj);

    /// <summary>The edge could not store this state; it is sent again later.</summary>
    void Refused(HubSession session, DownObject obj, string reason);
}

/// <summary>What all sessions of a hub share.</summary>
internal sealed record SessionContext(SessionTimes Times, TimerWheel Wheel, TimeProvider Time, HubMetrics Metrics, ILogger Logger);

/// <summary>One connection of one node: the shell round <see cref="NodeSession"/>. It lives exactly as long as its link.</summary>
/// <remarks>While nothing happens it has a pending receive and a place on the wheel, and no task, timer or buffer. Sending runs on the thread pool while there is something to
/// send, a batch at a time, so that a node that is handed much does not keep the others waiting. On a link with lanes each is read by itself, and what is urgent is sent apart from the
/// rest: objects that the edge is slow to take hold up no answer to a lease.</remarks>
internal sealed class HubSession : WheelEntry, ISyncSession
{
    // As many messages as one write carries.
    private const int SendBatch = 64;

    // Batches after which the other sessions have their turn.
    private const int BatchesPerTurn = 4;

    // What is left of a session after its end: the close frame goes out, the peer answers it.
    private const int CloseWithinMs = 1_000;

    private const int Idle = 0;
    private const int Running = 1;
    private const int Again = 2;

    private static readonly Message s_beat = new() { Id = "", Source = Sources.WebSocket, Group = Groups.Resource, Operation = Operations.Keepalive, Resource = "node" };

    [ThreadStatic]
    private static List<SessionOutput>? s_outputs;

    private readonly NodeSession _core; // also the lock of everything below that says so
    private readonly ILink _link;
    private readonly ISessionOwner _owner;
    private readonly SessionContext _context;
    private readonly long _startedAtMs;
    private readonly Pump _pump;
    private readonly Pump? _urgentPump; // only where the link has lanes
    private long _heardAtMs;
    private long _silenceMs;
    private long _endedAtMs;
    private int _endReason;
    private bool _isOpen; // locked
    private bool _isClosing; // locked
    private bool _isOver; // locked

    public HubSession(string node, ILink link, ISessionOwner owner, SessionLimits limits, SessionContext context)
    {
        Node = node;
        _core = new NodeSession(limits, static () => Guid.NewGuid().ToString());
        _link = link;
        _owner = owner;
        _context = context;
        _silenceMs = (long)context.Times.Keepalive.TotalMilliseconds;
        _startedAtMs = _heardAtMs = context.Wheel.NowMs;
        _pump = new Pump(this, link.HasLanes ? SendPart.Rest : SendPart.All);
        _urgentPump = link.HasLanes ? new Pump(this, SendPart.Urgent) : null;
    }

    public string Node { get; }

    /// <summary>False for a stock KubeEdge edge.</summary>
    public bool IsEdgeWire => _link.IsEdgeWire;

    public SessionEndReason EndReason => (SessionEndReason)Volatile.Read(ref _endReason);

    public (int Objects, int Messages) Depth
    {
        get
        {
            lock (_core)
            {
                return (_core.ObjectDepth, _core.MessageDepth);
            }
        }
    }

    public int InFlight
    {
        get
        {
            lock (_core)
            {
                return _core.InFlight;
            }
        }
    }

    public IReadOnlyList<QueuedObject> Queued(int max)
    {
        lock (_core)
        {
            return _core.Queued(max);
        }
    }

    /// <summary>The edge says how often it sends a keepalive: two that are missed end the session, where that is sooner than the keepaliveInterval.</summary>
    /// <param name="beatMs">Above 0.</param>
    public void ExpectBeats(int beatMs)
    {
        // A quarter more, for a beat that is only late.
        Volatile.Write(ref _silenceMs, Math.Min((long)_context.Times.Keepalive.TotalMilliseconds, beatMs * 9L / 4));
        _context.Wheel.ArmNoLater(this, SilentAtMs);
    }

    /// <summary>Serves the link until it ends. The link is closed on return, and the caller's to dispose.</summary>
    public async Task<SessionEndReason> RunAsync()
    {
        _context.Wheel.Arm(this, NextDueMs());
        if (_link.HasLanes)
            await Task.WhenAll(ReceiveLoopAsync(LinkLane.Control), ReceiveLoopAsync(LinkLane.Objects), ReceiveLoopAsync(LinkLane.User));
        else
            await ReceiveLoopAsync(LinkLane.Control);
        End(SessionEndReason.PeerClosed); // unless there is another reason
        Task pump, urgentPump;
        bool mayClose;
        lock (_core)
        {
            _isOver = true;
            pump = _pump.Ended();
            urgentPump = _urgentPump?.Ended() ?? Task.CompletedTask;
            mayClose = !_isClosing;
            _isClosing = true;
        }

        await pump;
        await urgentPump;
        if (mayClose)
            await _link.CloseAsync(Explain(EndReason));
        _context.Wheel.Cancel(this);
        return EndReason;
    }

    /// <summary>Ends the session; safe from any thread, under any lock; the first reason counts.</summary>
    public void End(SessionEndReason reason)
    {
        if (Interlocked.CompareExchange(ref _endReason, (int)reason, (int)SessionEndReason.None) != (int)SessionEndReason.None)
            return;
        var now = _context.Wheel.NowMs;
        Volatile.Write(ref _endedAtMs, now);
        _context.Wheel.ArmNoLater(this, now + CloseWithinMs);
        _pump.Wake();
        _urgentPump?.Wake(); // either closes; the other may be held up
    }

    /// <summary>The node should have this state. Never waits; what has no room ends the session.</summary>
    public void Deliver(DownObject obj) => Step(new SessionInput.Deliver(obj));

    public void Known(string uid, long version) => Step(new SessionInput.Known(uid, version));

    public bool WillSend(string uid)
    {
        lock (_core)
        {
            return _core.WillSend(uid);
        }
    }

    /// <summary>Sends a message once, not waited for.</summary>
    public void Send(Message message, bool isUrgent = false)
        => Step(new SessionInput.Send(message, isUrgent && (!_link.HasLanes || LinkLanes.Of(message) == LinkLane.Control)));

    /// <summary>The node has these devices already; a stock edge is told of them. An Edge peer is not: its devices are those in its store.</summary>
    public void Members(IReadOnlyList<string> present) => Step(new SessionInput.Members(present));

    /// <summary>Lets the objects flow. True the first time.</summary>
    public bool Open()
    {
        lock (_core)
        {
            if (_isOpen)
                return false;
            _isOpen = true;
        }

        Step(new SessionInput.Open());
        return true;
    }

    /// <summary>On the wheel: something fell due, or is to be looked at.</summary>
    public override void Fire(long nowMs)
    {
        if (EndReason != SessionEndReason.None)
        {
            if (nowMs >= Volatile.Read(ref _endedAtMs) + CloseWithinMs)
                _link.Abort();
            else
                _context.Wheel.ArmNoLater(this, Volatile.Read(ref _endedAtMs) + CloseWithinMs);
            return;
        }

        // A large message on a slow line: no message has come or gone for long, but bytes have.
        var writing = OldestWriteMs;
        if (nowMs >= SilentAtMs)
            Later(ref _heardAtMs, nowMs - _context.Wheel.SinceMs(_link.HeardAt));
        if (writing >= 0)
            writing = Math.Max(writing, nowMs - _context.Wheel.SinceMs(_link.WroteAt));
        if (nowMs >= SilentAtMs)
        {
            End(SessionEndReason.Silent);
        }
        else if (writing >= 0 && nowMs >= writing + (long)_context.Times.WriteTimeout.TotalMilliseconds)
        {
            HubLog.LinkBroke(_context.Logger, Node, $"a write did not finish within {_context.Times.WriteTimeout.TotalSeconds:0.#} s");
            End(SessionEndReason.LinkBroke);
            _link.Abort();
        }
        else
        {
            bool isOpen, isDue;
            lock (_core)
            {
                isOpen = _isOpen;
                isDue = _core.NextDueMs <= nowMs;
            }

            if (!isOpen && nowMs >= OpenAtMs)
                _owner.InventoryMissing(this);
            if (isDue && isOpen)
                _pump.Wake(); // arms the wheel again when it is through
            else
                _context.Wheel.ArmNoLater(this, NextDueMs());
        }
    }

    private static void Later(ref long at, long ms)
    {
        for (var old = Interlocked.Read(ref at); old < ms; old = Interlocked.Read(ref at))
            Interlocked.CompareExchange(ref at, ms, old);
    }

    // Since when a write goes on; -1 where none does.
    private long OldestWriteMs
    {
        get
        {
            var (rest, urgent) = (_pump.WritingSinceMs, _urgentPump?.WritingSinceMs ?? -1);
            return rest < 0 ? urgent : urgent < 0 ? rest : Math.Min(rest, urgent);
        }
    }

    private long SilentAtMs => Interlocked.Read(ref _heardAtMs) + Volatile.Read(ref _silenceMs);

    private long OpenAtMs => _startedAtMs + (long)_context.Times.InventoryWait.TotalMilliseconds;

    private static string Explain(SessionEndReason reason) => reason switch
    {
        SessionEndReason.Silent => "nothing was heard within keepaliveInterval, or for two beats of the node",
        SessionEndReason.Replaced => "the node connected again",
        SessionEndReason.QueueFull => "too many objects wait for this node",
        SessionEndReason.Failed => "cloudcore met a defect",
        SessionEndReason.NodeDeleted => "the node was deleted from the cluster",
        SessionEndReason.Moved => "the node connected to another cloudcore",
        SessionEndReason.Stopping => "cloudcore is stopping",
        _ => "closed",
    };

    private long NextDueMs()
    {
        lock (_core)
        {
            var next = Math.Min(SilentAtMs, _core.NextDueMs);
            return _isOpen ? next : Math.Min(next, OpenAtMs);
        }
    }

    private void Step(SessionInput input)
    {
        var outputs = s_outputs ?? [];
        s_outputs = null;
        bool hasReady, hasUrgent;
        lock (_core)
        {
            _core.Step(input, outputs);
            hasReady = _core.HasReady(_pump.Part);
            hasUrgent = _urgentPump is not null && _core.HasReady(SendPart.Urgent);
        }

        foreach (var output in outputs)
            Perform(output);
        outputs.Clear();
        s_outputs = outputs;
        if (hasReady)
            _pump.Wake();
        if (hasUrgent)
            _urgentPump!.Wake();
    }

    private void Perform(SessionOutput output)
    {
        var (metrics, logger) = (_context.Metrics, _context.Logger);
        switch (output)
        {
            case SessionOutput.Stored stored:
                metrics.Acked();
                if (!IsEdgeWire)
                    _owner.Stored(this, stored.Object);
                break;
            case SessionOutput.Delayed delayed:
                metrics.Refused();
                HubLog.Refused(logger, Node, delayed.Object.Resource, delayed.Reason);
                _owner.Refused(this, delayed.Object, delayed.Reason);
                break;
            case SessionOutput.Drop { Reason: DropReason.ObjectQueueFull } drop:
                metrics.ObjectDropped();
                HubLog.QueueFull(logger, Node, drop.What);
                End(SessionEndReason.QueueFull);
                break;
            case SessionOutput.Drop drop:
                metrics.MessageDropped();
                HubLog.MessageDropped(logger, Node, drop.What);
                break;
        }
    }

    // Of a link without lanes: everything.
    private async Task ReceiveLoopAsync(LinkLane lane)
    {
        Action<string> onMalformed = error => HubLog.Malformed(_context.Logger, Node, error);
        try
        {
            while (await _link.ReceiveAsync(lane, onMalformed, CancellationToken.None) is { } message)
            {
                Interlocked.Exchange(ref _heardAtMs, _context.Wheel.NowMs);
                _context.Metrics.UpstreamReceived();
                switch (message.Operation)
                {
                    case Operations.Keepalive:
                        if (IsEdgeWire)
                            Send(s_beat, isUrgent: true);
                        break;
                    case Operations.Response:
                        Step(new SessionInput.Ack(message.ParentId));
                        break;
                    case Operations.Error:
                        Step(new SessionInput.Refused(message.ParentId, Shorten(message.Content)));
                        break;
                    // The node has a newer connection: what it says there must not be overtaken by what it said here. It had no answer, so it says it again.
                    default:
                        if (EndReason is not (SessionEndReason.Replaced or SessionEndReason.Moved))
                            await _owner.ReceivedAsync(this, message, CancellationToken.None);
                        break;
                }
            }
        }
        catch (LinkException e)
        {
            if (EndReason == SessionEndReason.None)
                HubLog.LinkBroke(_context.Logger, Node, e.Message);
            End(SessionEndReason.LinkBroke);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            HubLog.LaneBroke(_context.Logger, Node, e);
            End(SessionEndReason.Failed);
        }
    }

    // The reason goes out before the link is cut; a peer that is there answers the close at once.
    private async Task CloseOnceAsync()
    {
        lock (_core)
        {
            if (_isClosing)
                return;
            _isClosing = true;
        }

        await _link.CloseAsync(Explain(EndReason));
    }

    // Fills `messages` with what is to go out next; false when that is nothing.
    private bool Take(SendPart part, List<SessionOutput> outputs, List<Message> messages)
    {
        outputs.Clear();
        messages.Clear();
        lock (_core)
        {
            _core.Step(new SessionInput.Tick(_context.Wheel.NowMs, SendBatch, part), outputs);
        }

        foreach (var output in outputs)
        {
            switch (output)
            {
                case SessionOutput.SendMessage send:
                    messages.Add(send.Message);
                    break;
                case SessionOutput.SendMembers members:
                    messages.Add(MembershipMessage.Of(_context.Time, members.Added, members.Removed));
                    break;
                case SessionOutput.SendObject send:
                    if (send.Attempt > 1)
                        _context.Metrics.Resent();
                    messages.Add(MessageOf(send));
                    break;
                default:
                    Perform(output);
                    break;
            }
        }

        return messages.Count > 0;
    }

    private Message MessageOf(SessionOutput.SendObject send)
    {
        var obj = send.Object;
        var content = obj.Body.Content;
        using var span = EdgeTrace.Continue("deliver", ActivityKind.Producer, obj.Trace);
        span?.SetTag("edge.node", Node).SetTag("edge.resource", obj.Resource).SetTag("edge.attempt", send.Attempt);
        return new Message
        {
            Trace = IsEdgeWire ? span?.Id : null,
            Id = send.MessageId,
            TimestampMs = _context.Time.GetUtcNow().ToUnixTimeMilliseconds(),
            Source = obj.Source,
            Destination = obj.IsRepair && IsEdgeWire ? Protocol.Sync.InventoryMessages.RepairDestination : "",
            Group = Groups.Resource,
            Operation = obj.Operation,
            Resource = obj.Resource,
            ResourceVersion = obj.Version > 0 ? obj.Version.ToString(CultureInfo.InvariantCulture) : "",
            Content = content.Utf8,
            Shared = content,
        };
    }

    private static string Shorten(ReadOnlyMemory<byte> content)
    {
        var text = System.Text.Encoding.UTF8.GetString(content.Span[..Math.Min(content.Length, 300)]);
        return text.Length == 0 ? "no reason given" : text;
    }

    /// <summary>Sends a part of what there is, while there is some.</summary>
    private sealed class Pump(HubSession session, SendPart part) : IThreadPoolWorkItem
    {
        // What a run fills: kept by the thread, since sessions send one after the other and most of them one object at a time.
        [ThreadStatic]
        private static (List<SessionOutput> Outputs, List<Message> Messages)? s_spare;

        private long _writingSinceMs = -1;
        private int _state;
        private int _runs; // under way; locked by the session's core. A second one may begin while the first puts its things away.
        private TaskCompletionSource? _ended; // locked by the session's core

        public SendPart Part => part;

        public long WritingSinceMs => Interlocked.Read(ref _writingSinceMs);

        public void Wake()
        {
            if (Interlocked.Exchange(ref _state, Again) == Idle)
                ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }

        /// <summary>Ends with what is under way; under the session's lock, once it is over.</summary>
        public Task Ended()
        {
            if (_runs == 0)
                return Task.CompletedTask;
            _ended ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _ended.Task;
        }

        /// <summary>On the thread pool: sends what there is.</summary>
        void IThreadPoolWorkItem.Execute()
        {
            lock (session._core)
            {
                if (session._isOver)
                    return;
                _runs++;
            }

            _ = RunAsync(); // awaited by the session through Ended; it does not throw
        }

        private async Task RunAsync()
        {
            var (context, link) = (session._context, session._link);
            var (outputs, messages) = s_spare ?? ([], []);
            s_spare = null;
            try
            {
                do
                {
                    Volatile.Write(ref _state, HubSession.Running);
                    for (var batches = 1; session.EndReason == SessionEndReason.None && session.Take(part, outputs, messages); batches++)
                    {
                        Interlocked.Exchange(ref _writingSinceMs, context.Wheel.NowMs);
                        await link.SendAsync(messages, CancellationToken.None);
                        Interlocked.Exchange(ref _writingSinceMs, -1);
                        if (batches % BatchesPerTurn == 0)
                            await Task.Yield();
                    }

                    if (session.EndReason != SessionEndReason.None)
                        await session.CloseOnceAsync();
                }
                while (Interlocked.CompareExchange(ref _state, Idle, HubSession.Running) != HubSession.Running);
            }
            catch (LinkException e)
            {
                if (session.EndReason == SessionEndReason.None)
                    HubLog.LinkBroke(context.Logger, session.Node, e.Message);
                session.End(SessionEndReason.LinkBroke);
                link.Abort();
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                HubLog.LaneBroke(context.Logger, session.Node, e);
                session.End(SessionEndReason.Failed);
                link.Abort();
            }
            finally
            {
                context.Wheel.ArmNoLater(session, session.EndReason == SessionEndReason.None ? session.NextDueMs() : Volatile.Read(ref session._endedAtMs) + CloseWithinMs);
                outputs.Clear();
                messages.Clear();
                s_spare = (outputs, messages);
                Leave();
            }
        }

        private void Leave()
        {
            TaskCompletionSource? ended;
            lock (session._core)
            {
                ended = --_runs == 0 ? _ended : null;
            }

            ended?.SetResult();
        }
    }
}
