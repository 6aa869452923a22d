using System.Threading.Channels;
using Edge.Cloud.Observability;
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
}

/// <summary>Times of a session.</summary>
internal sealed record SessionTimes
{
    /// <summary>The link is closed when nothing came for this long.</summary>
    public TimeSpan Keepalive { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long to wait for the edge's inventory before everything is sent.</summary>
    public TimeSpan InventoryWait { get; init; } = TimeSpan.FromSeconds(2);
}

/// <summary>What a session asks of the rest of the house.</summary>
internal interface ISessionOwner
{
    /// <summary>A message other than an ack or a keepalive; awaited before the next one is read.</summary>
    ValueTask ReceivedAsync(HubSession session, Message message, CancellationToken cancellationToken);

    /// <summary>No inventory came in time: the node gets everything.</summary>
    void InventoryMissing(HubSession session);
}

/// <summary>One connection of one node: the shell round <see cref="NodeSession"/>. It lives exactly as long as its link.</summary>
internal sealed class HubSession : IDisposable
{
    private const int SendBatch = 16;

    private static readonly TimeSpan s_closeWithin = TimeSpan.FromSeconds(1);

    private readonly NodeSession _core;
    private readonly ILink _link;
    private readonly ISessionOwner _owner;
    private readonly SessionTimes _times;
    private readonly TimeProvider _time;
    private readonly HubMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private readonly long _startedAt;
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _end = new();
    private readonly ITimer _timer;
    private long _heardAtMs;
    private int _endReason;
    private bool _isOpen;
    private Task _cancelling = Task.CompletedTask;

    public HubSession(
        string node, ILink link, ISessionOwner owner, SessionLimits limits, SessionTimes times, TimeProvider time, HubMetrics metrics, ILogger logger)
    {
        Node = node;
        _core = new NodeSession(limits, () => Guid.NewGuid().ToString());
        _link = link;
        _owner = owner;
        _times = times;
        _time = time;
        _metrics = metrics;
        _logger = logger;
        _startedAt = time.GetTimestamp();
        _timer = time.CreateTimer(_ => Wake(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public string Node { get; }

    /// <summary>False for a stock KubeEdge edge.</summary>
    public bool IsEdgeWire => _link.IsEdgeWire;

    public SessionEndReason EndReason => (SessionEndReason)Volatile.Read(ref _endReason);

    public (int Objects, int Messages) Depth
    {
        get
        {
            lock (_gate)
            {
                return (_core.ObjectDepth, _core.MessageDepth);
            }
        }
    }

    /// <summary>Serves the link until it ends; the link is closed on return.</summary>
    public async Task<SessionEndReason> RunAsync(CancellationToken cancellationToken)
    {
        using var stopping = cancellationToken.Register(() => End(SessionEndReason.Stopping));
        using var abort = new CancellationTokenSource();
        var receiving = ReceiveLoopAsync(abort.Token);
        await SendLoopAsync(_end.Token);
        await _cancelling;
        // The reason goes out before the link is cut; a peer that is there answers the close at once.
        await _link.CloseAsync(Explain(EndReason));
        using var impatience = _time.CreateTimer(_ => abort.Cancel(), null, s_closeWithin, Timeout.InfiniteTimeSpan);
        await receiving;
        return EndReason;
    }

    /// <summary>Ends the session; safe from any thread, the first reason counts.</summary>
    public void End(SessionEndReason reason)
    {
        if (Interlocked.CompareExchange(ref _endReason, (int)reason, (int)SessionEndReason.None) == (int)SessionEndReason.None)
            _cancelling = _end.CancelAsync(); // Not Cancel: the caller may hold a lock that what runs then wants.
    }

    /// <summary>The node should have this state. Never waits; what has no room ends the session.</summary>
    public void Deliver(DownObject obj) => Step(new SessionInput.Deliver(obj));

    public void Known(string uid, long version) => Step(new SessionInput.Known(uid, version));

    /// <summary>Sends a message once, not waited for.</summary>
    public void Send(Message message, bool isUrgent = false) => Step(new SessionInput.Send(message, isUrgent));

    /// <summary>Lets the objects flow. True the first time.</summary>
    public bool Open()
    {
        lock (_gate)
        {
            if (_isOpen)
                return false;
            _isOpen = true;
        }

        Step(new SessionInput.Open());
        return true;
    }

    public List<DownObject> UnansweredDeletes()
    {
        lock (_gate)
        {
            return [.. _core.UnansweredDeletes];
        }
    }

    public void Dispose()
    {
        _timer.Dispose();
        _end.Dispose();
    }

    private long NowMs => (long)_time.GetElapsedTime(_startedAt).TotalMilliseconds;

    private static string Explain(SessionEndReason reason) => reason switch
    {
        SessionEndReason.Silent => "nothing was heard within keepaliveInterval",
        SessionEndReason.Replaced => "the node connected again",
        SessionEndReason.QueueFull => "too many objects wait for this node",
        SessionEndReason.Failed => "cloudcore met a defect",
        SessionEndReason.Moved => "the node connected to another cloudcore",
        SessionEndReason.Stopping => "cloudcore is stopping",
        _ => "closed",
    };

    private void Wake() => _signal.Writer.TryWrite(true);

    private void Step(SessionInput input)
    {
        var outputs = new List<SessionOutput>();
        lock (_gate)
        {
            _core.Step(input, outputs);
        }

        foreach (var output in outputs)
            Perform(output);
        Wake();
    }

    private void Perform(SessionOutput output)
    {
        switch (output)
        {
            case SessionOutput.Stored:
                _metrics.Acked();
                break;
            case SessionOutput.Delayed delayed:
                _metrics.Refused();
                HubLog.Refused(_logger, Node, delayed.Object.Resource, delayed.Reason);
                break;
            case SessionOutput.Drop { Reason: DropReason.ObjectQueueFull } drop:
                _metrics.ObjectDropped();
                HubLog.QueueFull(_logger, Node, drop.What);
                End(SessionEndReason.QueueFull);
                break;
            case SessionOutput.Drop drop:
                _metrics.MessageDropped();
                HubLog.MessageDropped(_logger, Node, drop.What);
                break;
        }
    }

    private async Task ReceiveLoopAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (await _link.ReceiveAsync(error => HubLog.Malformed(_logger, Node, error), cancellationToken) is { } message)
            {
                Interlocked.Exchange(ref _heardAtMs, NowMs);
                _metrics.UpstreamReceived();
                switch (message.Operation)
                {
                    case Operations.Keepalive:
                        break;
                    case Operations.Response:
                        Step(new SessionInput.Ack(message.ParentId));
                        break;
                    case Operations.Error:
                        Step(new SessionInput.Refused(message.ParentId, Shorten(message.Content)));
                        break;
                    default:
                        await _owner.ReceivedAsync(this, message, cancellationToken);
                        break;
                }
            }

            End(SessionEndReason.PeerClosed);
        }
        catch (LinkException e)
        {
            if (EndReason == SessionEndReason.None)
                HubLog.LinkBroke(_logger, Node, e.Message);
            End(SessionEndReason.LinkBroke);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The reason is already noted.
        }
    }

    private async Task SendLoopAsync(CancellationToken cancellationToken)
    {
        var outputs = new List<SessionOutput>();
        try
        {
            while (true)
            {
                outputs.Clear();
                var now = NowMs;
                var silentAt = Interlocked.Read(ref _heardAtMs) + (long)_times.Keepalive.TotalMilliseconds;
                if (now >= silentAt)
                {
                    End(SessionEndReason.Silent);
                    return;
                }

                long next;
                bool isOpen;
                lock (_gate)
                {
                    _core.Step(new SessionInput.Tick(now, SendBatch), outputs);
                    isOpen = _isOpen;
                    next = Math.Min(silentAt, _core.NextDueMs);
                }

                if (!isOpen)
                {
                    var openAt = (long)_times.InventoryWait.TotalMilliseconds;
                    if (now >= openAt)
                        _owner.InventoryMissing(this);
                    next = Math.Min(next, Math.Max(openAt, now));
                }

                foreach (var output in outputs)
                    await TransmitAsync(output, cancellationToken);
                if (outputs.Count > 0)
                    continue;
                _timer.Change(TimeSpan.FromMilliseconds(Math.Max(1, next - now)), Timeout.InfiniteTimeSpan);
                await _signal.Reader.ReadAsync(cancellationToken);
            }
        }
        catch (LinkException e)
        {
            if (EndReason == SessionEndReason.None)
                HubLog.LinkBroke(_logger, Node, e.Message);
            End(SessionEndReason.LinkBroke);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The reason is already noted.
        }
    }

    private ValueTask TransmitAsync(SessionOutput output, CancellationToken cancellationToken)
    {
        switch (output)
        {
            case SessionOutput.SendMessage send:
                return _link.SendAsync(send.Message, cancellationToken);
            case SessionOutput.SendObject send:
                if (send.Attempt > 1)
                    _metrics.Resent();
                return _link.SendAsync(MessageOf(send), cancellationToken);
            default:
                Perform(output);
                return ValueTask.CompletedTask;
        }
    }

    private Message MessageOf(SessionOutput.SendObject send)
    {
        var content = send.Object.Body.Content;
        return Message.Create(
            _time, send.Object.Source, Groups.Resource, send.Object.Operation, send.Object.Resource, content.Utf8,
            send.Object.Version > 0 ? send.Object.Version.ToString(System.Globalization.CultureInfo.InvariantCulture) : "")
            with { Id = send.MessageId, Shared = content };
    }

    private static string Shorten(ReadOnlyMemory<byte> content)
    {
        var text = System.Text.Encoding.UTF8.GetString(content.Span[..Math.Min(content.Length, 300)]);
        return text.Length == 0 ? "no reason given" : text;
    }
}
