using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>Bounds and times of a session's delivery.</summary>
internal sealed record SessionLimits
{
    /// <summary>Objects sent and not answered at once. Too small: throughput falls with the round trip; too large: memory at the edge.</summary>
    public int Window { get; init; } = 64;

    /// <summary>First wait for an answer, milliseconds; each further one doubles up to <see cref="ResendMsMax"/>.</summary>
    public int ResendMs { get; init; } = 5_000;

    public int ResendMsMax { get; init; } = 60_000;

    /// <summary>Objects that may wait for one node.</summary>
    public int ObjectsMax { get; init; } = 100_000;

    /// <summary>Once-only messages that may wait for one node; the oldest goes when full.</summary>
    public int MessagesMax { get; init; } = 1024;
}

/// <summary>The delivery rules of one connection to one node: no clock, no socket, no task.</summary>
/// <remarks>
/// <para>An object waits, is sent, and is forgotten when the edge acks it. A newer state of the same uid replaces a waiting one; of a
/// sent one it is sent as soon as that is answered or falls due. States arrive in the order in which they became true, so the last
/// one wins; a version lower than one already seen is stale and ignored, and after a final delete nothing of that uid is accepted.</para>
/// <para>Each object has its own resend timer. Only first sends count against the window: an object that the edge cannot store delays
/// itself and nothing else. Two objects of one path and different uids (a pod deleted and made again) go one after the other: the second
/// waits until the first was answered or fell due once.</para>
/// <para>Once-only messages go before objects, urgent ones (lease, node status) before all.</para>
/// </remarks>
internal sealed class NodeSession(SessionLimits limits, Func<string> newId)
{
    private readonly Dictionary<string, Entry> _entries = [];
    private readonly Dictionary<string, Entry> _sent = [];
    private readonly Dictionary<string, Entry> _sentByPath = [];
    private readonly Queue<Entry> _waiting = [];
    private readonly PriorityQueue<Entry, (long DueMs, long Order)> _due = new();
    private readonly Queue<Message> _urgent = [];
    private readonly Queue<Message> _messages = [];
    private readonly Dictionary<string, long> _known = [];
    private long _order;
    private int _inWindow;
    private bool _isOpen;
    private bool _overflowed;

    /// <summary>Objects that wait or are unanswered.</summary>
    public int ObjectDepth => _entries.Count;

    public int MessageDepth => _urgent.Count + _messages.Count;

    public int InFlight => _sent.Count;

    /// <summary>When the next resend falls due; <see cref="long.MaxValue"/> when nothing was sent.</summary>
    public long NextDueMs
    {
        get
        {
            SkipStaleTimers();
            return _due.TryPeek(out _, out var due) ? due.DueMs : long.MaxValue;
        }
    }

    /// <summary>Deletes that the edge has not confirmed.</summary>
    public IEnumerable<DownObject> UnansweredDeletes => _entries.Values.Select(entry => entry.Newest).Where(obj => obj.IsDelete);

    public void Step(SessionInput input, List<SessionOutput> outputs)
    {
        switch (input)
        {
            case SessionInput.Deliver deliver:
                Deliver(deliver.Object, outputs);
                break;
            case SessionInput.Known known:
                LearnKnown(known);
                break;
            case SessionInput.Send send:
                Enqueue(send, outputs);
                break;
            case SessionInput.Open:
                _isOpen = true;
                break;
            case SessionInput.Ack ack:
                Answered(ack.ParentId, outputs);
                break;
            case SessionInput.Refused refused:
                Refused(refused, outputs);
                break;
            case SessionInput.Tick tick:
                Tick(tick, outputs);
                break;
        }
    }

    private void Deliver(DownObject obj, List<SessionOutput> outputs)
    {
        if (_entries.TryGetValue(obj.Uid, out var entry))
        {
            var newest = entry.Newest;
            if (newest is { IsDelete: true, IsFinal: true } || (obj.Version < newest.Version && !obj.IsDelete)
                || (obj.Version == newest.Version && obj.IsDelete == newest.IsDelete))
                return;
            if (obj.IsDelete)
                _known.Remove(obj.Uid);
            if (entry.MessageId is null)
                entry.Object = newest.Operation == Operations.Insert && !obj.IsDelete ? obj with { Operation = Operations.Insert } : obj;
            else
                entry.Next = obj;
            return;
        }

        if (obj.IsDelete)
            _known.Remove(obj.Uid);
        else if (_known.TryGetValue(obj.Uid, out var version) && obj.Version <= version)
            return;
        if (_entries.Count >= limits.ObjectsMax)
        {
            if (!_overflowed)
                outputs.Add(new SessionOutput.Drop(obj.Resource, DropReason.ObjectQueueFull));
            _overflowed = true;
            return;
        }

        entry = new Entry(obj);
        _entries.Add(obj.Uid, entry);
        _waiting.Enqueue(entry);
    }

    private void LearnKnown(SessionInput.Known known)
    {
        _known[known.Uid] = known.Version;
        // A waiting entry stays in the queue without its place in the index and is passed over when its turn comes.
        if (_entries.TryGetValue(known.Uid, out var entry) && entry.MessageId is null && !entry.Object.IsDelete && entry.Object.Version <= known.Version)
            _entries.Remove(known.Uid);
    }

    private void Enqueue(SessionInput.Send send, List<SessionOutput> outputs)
    {
        var queue = send.IsUrgent ? _urgent : _messages;
        if (queue.Count >= limits.MessagesMax)
            outputs.Add(new SessionOutput.Drop(queue.Dequeue().Resource, DropReason.MessageQueueFull));
        queue.Enqueue(send.Message);
    }

    private void Answered(string parentId, List<SessionOutput> outputs)
    {
        if (!_sent.Remove(parentId, out var entry))
            return;
        LeaveWindow(entry);
        ReleasePath(entry);
        outputs.Add(new SessionOutput.Stored(entry.Object));
        if (entry.Object.IsDelete)
            _known.Remove(entry.Object.Uid);
        else
            _known[entry.Object.Uid] = entry.Object.Version;
        if (entry.Next is not null)
        {
            TakeNext(entry);
            return;
        }

        entry.MessageId = null;
        _entries.Remove(entry.Object.Uid);
    }

    private void Refused(SessionInput.Refused refused, List<SessionOutput> outputs)
    {
        if (!_sent.TryGetValue(refused.ParentId, out var entry))
            return;
        LeaveWindow(entry);
        ReleasePath(entry);
        if (entry.Next is null)
        {
            outputs.Add(new SessionOutput.Delayed(entry.Object, refused.Reason, entry.DueMs));
            return;
        }

        _sent.Remove(refused.ParentId);
        TakeNext(entry);
    }

    private void TakeNext(Entry entry)
    {
        entry.MessageId = null;
        entry.Object = entry.Next!;
        entry.Next = null;
        entry.Attempts = 0;
        _waiting.Enqueue(entry);
    }

    private void Tick(SessionInput.Tick tick, List<SessionOutput> outputs)
    {
        var left = tick.SendMax;
        while (left > 0 && (_urgent.TryDequeue(out var message) || _messages.TryDequeue(out message)))
        {
            outputs.Add(new SessionOutput.SendMessage(message));
            left--;
        }

        if (!_isOpen)
            return;
        SkipStaleTimers();
        while (left > 0 && _due.TryPeek(out var entry, out var due) && due.DueMs <= tick.NowMs)
        {
            _due.Dequeue();
            LeaveWindow(entry);
            ReleasePath(entry);
            if (entry.Next is { } next)
            {
                // The old state was not answered; the edge may have it or not, so the newer one simply takes its turn.
                _sent.Remove(entry.MessageId!);
                entry.Object = next;
                entry.Next = null;
                entry.MessageId = newId();
                _sent.Add(entry.MessageId, entry);
            }

            Transmit(entry, tick.NowMs, outputs);
            left--;
            SkipStaleTimers();
        }

        while (left > 0 && _inWindow < limits.Window && _waiting.TryDequeue(out var entry))
        {
            if (entry.MessageId is not null || !_entries.TryGetValue(entry.Object.Uid, out var current) || current != entry)
                continue;
            if (_sentByPath.TryGetValue(entry.Object.Resource, out var before) && before != entry)
            {
                before.Followers.Add(entry);
                continue;
            }

            entry.MessageId = newId();
            entry.InWindow = true;
            _inWindow++;
            _sent.Add(entry.MessageId, entry);
            _sentByPath[entry.Object.Resource] = entry;
            Transmit(entry, tick.NowMs, outputs);
            left--;
        }
    }

    private void Transmit(Entry entry, long nowMs, List<SessionOutput> outputs)
    {
        entry.Attempts++;
        entry.DueMs = nowMs + Math.Min((long)limits.ResendMs << Math.Min(entry.Attempts - 1, 16), limits.ResendMsMax);
        _due.Enqueue(entry, (entry.DueMs, _order++));
        outputs.Add(new SessionOutput.SendObject(entry.MessageId!, entry.Object, entry.Attempts));
    }

    private void LeaveWindow(Entry entry)
    {
        if (!entry.InWindow)
            return;
        entry.InWindow = false;
        _inWindow--;
    }

    private void ReleasePath(Entry entry)
    {
        if (_sentByPath.TryGetValue(entry.Object.Resource, out var holder) && holder == entry)
            _sentByPath.Remove(entry.Object.Resource);
        foreach (var follower in entry.Followers)
            _waiting.Enqueue(follower);
        entry.Followers.Clear();
    }

    private void SkipStaleTimers()
    {
        while (_due.TryPeek(out var entry, out var due) && (entry.MessageId is null || entry.DueMs != due.DueMs || !_sent.ContainsKey(entry.MessageId)))
            _due.Dequeue();
    }

    private sealed class Entry(DownObject obj)
    {
        /// <summary>The state that waits, or that was sent under <see cref="MessageId"/>.</summary>
        public DownObject Object { get; set; } = obj;

        /// <summary>A newer state that came after the sent one.</summary>
        public DownObject? Next { get; set; }

        public DownObject Newest => Next ?? Object;

        /// <summary>Null while it waits for its first send.</summary>
        public string? MessageId { get; set; }

        public bool InWindow { get; set; }

        public int Attempts { get; set; }

        public long DueMs { get; set; }

        public List<Entry> Followers { get; } = [];
    }
}
