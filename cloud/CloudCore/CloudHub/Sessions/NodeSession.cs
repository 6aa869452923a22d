using Edge.Cloud.Dashboard;
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

    /// <summary>Objects unanswered in all, those whose first wait is over included; an object that was refused is answered. What waits longer than
    /// <see cref="ResendMs"/> leaves the window, so this may be above <see cref="Window"/>. Messages about devices that the edge may not have looked at count as well;
    /// a device whose message takes the last place goes all the same.</summary>
    public int UnansweredMax { get; init; } = int.MaxValue;

    /// <summary>Whether the edge learns of its devices by <c>membership</c> (kubeedge-wire §4.2). An Edge peer's devices are those in its store, which it acknowledges.</summary>
    public bool TellsMembers { get; init; }

    /// <summary>Whether the edge may take up messages in another order than they came: what needs another object there then waits until that is answered. A stock edge's hub hands each
    /// message to a goroutine of its own; a device before its model is one that its mapper is not told of.</summary>
    public bool MayReorder { get; init; }

    /// <summary>For a stock edge: it answers at most 30 messages a second, and keeps 100 that it has not looked at, of which it drops the oldest (kubeedge-wire §5.10,
    /// §12 B). A burst of 60 still fits beside the answers to its own requests, and 15 s are time for many times that.</summary>
    public static SessionLimits Stock { get; } = new() { Window = 32, UnansweredMax = 60, ResendMs = 15_000, TellsMembers = true, MayReorder = true };
}

/// <summary>The delivery rules of one connection to one node: no clock, no socket, no task.</summary>
/// <remarks>
/// <para>An object waits, is sent, and is forgotten when the edge acks it. A newer state of the same uid replaces a waiting one, and one that was refused; of a
/// sent one it is sent as soon as that is answered or falls due. States arrive in the order in which they became true, so the last
/// one wins; while an object is on its way, a version lower than one already seen is stale and ignored, and so is the same one unless it has become a repair; after a final delete
/// nothing of that uid is accepted.</para>
/// <para>Each object has its own resend timer. Only first sends count against the window: an object that the edge cannot store delays
/// itself and nothing else. Two objects of one path and different uids (a pod deleted and made again) go one after the other: the second
/// waits until the first was answered or fell due once.</para>
/// <para>Once-only messages go before objects, urgent ones (lease, node status) before all.</para>
/// <para>Of a device that comes or leaves a stock edge is told by a message that it does not answer. That goes right before the device, each time that it is sent: what the edge
/// has acked, it was told of. Those that are sent at once are told of in one message.</para>
/// <para>Nothing is remembered of an object once it is answered: what the edge has is known from the edge. A session with nothing on its way holds no collection.</para>
/// </remarks>
internal sealed class NodeSession(SessionLimits limits, Func<string> newId)
{
    private Work? _work;
    private Queue<Message>? _urgent;
    private Queue<Message>? _messages;
    private Membership? _membership;
    private long _order;
    private int _inWindow;
    private int _unanswered;
    private bool _isOpen;
    private bool _overflowed;

    /// <summary>Objects that wait or are unanswered.</summary>
    public int ObjectDepth => _work?.Entries.Count ?? 0;

    /// <summary>Once-only messages that wait, and devices that the edge has and is to be told of.</summary>
    public int MessageDepth => (_urgent?.Count ?? 0) + (_messages?.Count ?? 0) + (_membership?.Owed ?? 0);

    public int InFlight => _work?.Sent.Count ?? 0;

    /// <summary>Some of what waits or is unanswered, at most <paramref name="max"/>.</summary>
    public IReadOnlyList<QueuedObject> Queued(int max)
        => _work is null ? [] : [.. _work.Entries.Values.Take(max).Select(one => new QueuedObject(one.Newest.Resource, one.Newest.Operation, one.Newest.Version, one.Attempts))];

    /// <summary>Whether the newest state of the uid waits to be sent. False for one that was sent and is unanswered: the edge may have stored it or held it back already.</summary>
    public bool WillSend(string uid) => _work is not null && _work.Entries.TryGetValue(uid, out var entry) && (entry.MessageId is null || entry.Next is not null);

    /// <summary>When the next resend falls due, or what is not answered counts as read; <see cref="long.MaxValue"/> when nothing was sent.</summary>
    public long NextDueMs
    {
        get
        {
            var readByMs = _membership?.ReadByMs ?? long.MaxValue;
            if (_work is null)
                return readByMs;
            SkipStaleTimers(_work);
            return _work.Due.TryPeek(out _, out var due) ? Math.Min(due.DueMs, readByMs) : readByMs;
        }
    }

    /// <summary>True when a <see cref="SessionInput.Tick"/> may have something of that part to send besides what falls due.</summary>
    public bool HasReady(SendPart part)
        => (part != SendPart.Rest && _urgent is { Count: > 0 })
            || (part != SendPart.Urgent && (_messages is { Count: > 0 } || (_isOpen && HasRoom && (_membership is { Owed: > 0 } || (_work is { Waiting.Count: > 0 } && _inWindow < limits.Window)))));

    private bool HasRoom => _unanswered + (_membership?.Unread ?? 0) < limits.UnansweredMax;

    public void Step(SessionInput input, List<SessionOutput> outputs)
    {
        switch (input)
        {
            case SessionInput.Deliver deliver:
                Deliver(deliver.Object, outputs);
                break;
            case SessionInput.Known known:
                ForgetKnown(known);
                break;
            case SessionInput.Send send:
                Enqueue(send, outputs);
                break;
            case SessionInput.Members members:
                Tell(members.Present, outputs);
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
        var work = _work ??= Work.Take();
        if (work.Entries.TryGetValue(obj.Uid, out var entry))
        {
            var newest = entry.Newest;
            if (newest is { IsDelete: true, IsFinal: true } || (obj.Version < newest.Version && !obj.IsDelete)
                || (obj.Version == newest.Version && obj.IsDelete == newest.IsDelete && (newest.IsRepair || !obj.IsRepair)))
                return;
            NoteDevice(obj);
            // It has not been sent: the edge has none, perhaps.
            if (newest.Operation == Operations.Insert && !obj.IsDelete && (entry.MessageId is null || entry.Next is not null))
                obj = obj with { Operation = Operations.Insert };
            if (entry.MessageId is null)
            {
                entry.Object = obj;
                return;
            }

            entry.Next = obj;
            // The sent state was refused and waits for its timer: what replaces it may be what mends it.
            if (!entry.IsUnanswered)
            {
                work.Sent.Remove(entry.MessageId);
                TakeNext(work, entry);
            }

            return;
        }

        if (work.Entries.Count >= limits.ObjectsMax)
        {
            Overflow(obj.Resource, outputs);
            return;
        }

        NoteDevice(obj);
        entry = new Entry(obj);
        work.Entries.Add(obj.Uid, entry);
        work.Waiting.Enqueue(entry);
    }

    private void Overflow(string what, List<SessionOutput> outputs)
    {
        if (!_overflowed)
            outputs.Add(new SessionOutput.Drop(what, DropReason.ObjectQueueFull));
        _overflowed = true;
    }

    private void NoteDevice(DownObject obj)
    {
        if (limits.TellsMembers && Membership.IsAbout(obj))
            (_membership ??= new Membership()).Delivers(obj);
    }

    private void Tell(IReadOnlyList<string> present, List<SessionOutput> outputs)
    {
        if (!limits.TellsMembers || present.Count == 0)
            return;
        if ((_membership?.Owed ?? 0) + present.Count > limits.ObjectsMax)
            Overflow("membership", outputs);
        else
            (_membership ??= new Membership()).Has(present);
    }

    private void DropEmptyMembership()
    {
        if (_membership is { IsEmpty: true })
            _membership = null;
    }

    private void ForgetKnown(SessionInput.Known known)
    {
        // A waiting entry stays in the queue without its place in the index and is passed over when its turn comes.
        if (_work is { } work && work.Entries.TryGetValue(known.Uid, out var entry) && entry.MessageId is null && !entry.Object.IsDelete && entry.Object.Version <= known.Version)
        {
            work.Entries.Remove(known.Uid);
            ReleasePath(work, entry);
            _membership?.Done(entry.Object);
            DropEmptyMembership();
        }
    }

    private void Enqueue(SessionInput.Send send, List<SessionOutput> outputs)
    {
        var queue = send.IsUrgent ? _urgent ??= new Queue<Message>() : _messages ??= new Queue<Message>();
        if (queue.Count >= limits.MessagesMax)
            outputs.Add(new SessionOutput.Drop(queue.Dequeue().Resource, DropReason.MessageQueueFull));
        queue.Enqueue(send.Message);
    }

    private void Answered(string parentId, List<SessionOutput> outputs)
    {
        if (_work is not { } work || !work.Sent.Remove(parentId, out var entry))
            return;
        LeaveWindow(entry);
        LeaveUnanswered(entry);
        NoteAnswer(entry, isStored: true);
        outputs.Add(new SessionOutput.Stored(entry.Object));
        if (entry.Next is not null)
        {
            TakeNext(work, entry);
            return;
        }

        ReleasePath(work, entry);
        entry.MessageId = null;
        work.Entries.Remove(entry.Object.Uid);
        if (work.Entries.Count == 0)
        {
            _work = null;
            Work.Return(work);
        }
    }

    private void Refused(SessionInput.Refused refused, List<SessionOutput> outputs)
    {
        if (_work is not { } work || !work.Sent.TryGetValue(refused.ParentId, out var entry))
            return;
        LeaveWindow(entry);
        LeaveUnanswered(entry);
        NoteAnswer(entry, isStored: false);
        if (entry.Next is null)
        {
            ReleasePath(work, entry);
            outputs.Add(new SessionOutput.Delayed(entry.Object, refused.Reason, entry.DueMs));
            return;
        }

        work.Sent.Remove(refused.ParentId);
        TakeNext(work, entry);
    }

    // The edge looks at one message after the other.
    private void NoteAnswer(Entry entry, bool isStored)
    {
        _membership?.Answered(entry.Object, isDone: isStored && entry.Next is null, entry.Order);
        DropEmptyMembership();
    }

    // It keeps its path: a delete must not come after another object of the name.
    private static void TakeNext(Work work, Entry entry)
    {
        entry.MessageId = null;
        entry.Object = entry.Next!;
        entry.Next = null;
        entry.Attempts = 0;
        work.Waiting.Enqueue(entry);
    }

    private void Tick(SessionInput.Tick tick, List<SessionOutput> outputs)
    {
        var left = tick.Part == SendPart.Rest ? tick.SendMax : SendMessages(ref _urgent, tick.SendMax, outputs);
        if (tick.Part == SendPart.Urgent)
            return;
        left = SendMessages(ref _messages, left, outputs);
        if (!_isOpen)
            return;
        left = SendPresent(tick.NowMs, left, outputs);
        if (_work is not { } work)
            return;
        SkipStaleTimers(work);
        var firstObject = outputs.Count;
        SessionOutput.SendMembers? told = null;
        while (left > 0 && work.Due.TryPeek(out var entry, out var due) && due.DueMs <= tick.NowMs)
        {
            work.Due.Dequeue();
            if (!entry.IsUnanswered && !HasRoom)
            {
                // Refused before, and there is no room for one more.
                entry.DueMs = tick.NowMs + limits.ResendMs;
                work.Due.Enqueue(entry, (entry.DueMs, _order++));
                SkipStaleTimers(work);
                continue;
            }

            LeaveWindow(entry);
            ReleasePath(work, entry);
            // If it was lost, so was what it was told by.
            if (entry.IsUnanswered)
                left -= Tell(entry.Newest, tick.NowMs, ref told, firstObject, outputs);
            if (entry.Next is { } next)
            {
                // The old state was not answered; the edge may have it or not, so the newer one simply takes its turn.
                work.Sent.Remove(entry.MessageId!);
                entry.Object = next;
                entry.Next = null;
                NameMessage(work, entry);
            }

            Transmit(work, entry, tick.NowMs, outputs);
            left--;
            SkipStaleTimers(work);
        }

        while (left > 0 && _inWindow < limits.Window && HasRoom && work.Waiting.TryDequeue(out var entry))
        {
            if (entry.MessageId is not null || !work.Entries.TryGetValue(entry.Object.Uid, out var current) || current != entry)
                continue;
            if (Before(work, entry) is { } before)
            {
                (before.Followers ??= []).Add(entry);
                continue;
            }

            if (entry.Object.Operation != Operations.Update)
                left -= Tell(entry.Object, tick.NowMs, ref told, firstObject, outputs);
            NameMessage(work, entry);
            entry.InWindow = true;
            _inWindow++;
            work.SentByPath[entry.Object.Resource] = entry;
            Transmit(work, entry, tick.NowMs, outputs);
            left--;
        }

        if (work.Entries.Count == 0)
        {
            _work = null;
            Work.Return(work);
        }
    }

    private static int SendMessages(ref Queue<Message>? queue, int left, List<SessionOutput> outputs)
    {
        if (queue is null)
            return left;
        while (left > 0 && queue.TryDequeue(out var message))
        {
            outputs.Add(new SessionOutput.SendMessage(message));
            left--;
        }

        if (queue.Count == 0)
            queue = null;
        return left;
    }

    private int SendPresent(long nowMs, int left, List<SessionOutput> outputs)
    {
        _membership?.Elapsed(nowMs);
        while (left > 0 && HasRoom && _membership?.TakePresent() is { } message)
        {
            _membership.Sent(_order++, nowMs + limits.ResendMs);
            outputs.Add(message);
            left--;
        }

        DropEmptyMembership();
        return left;
    }

    // Returns how many messages that takes.
    private int Tell(DownObject obj, long nowMs, ref SessionOutput.SendMembers? told, int firstObject, List<SessionOutput> outputs)
    {
        if (!limits.TellsMembers || !Membership.IsAbout(obj))
            return 0;
        var isFirst = told is null;
        if (!(_membership ??= new Membership()).Tell(obj, ref told))
            return 0;
        _membership.Sent(_order++, nowMs + limits.ResendMs);
        outputs.Insert(isFirst ? firstObject : outputs.Count, told!);
        return 1;
    }

    private void NameMessage(Work work, Entry entry)
    {
        entry.MessageId = newId();
        entry.Order = _order++;
        work.Sent.Add(entry.MessageId, entry);
    }

    private void Transmit(Work work, Entry entry, long nowMs, List<SessionOutput> outputs)
    {
        if (!entry.IsUnanswered)
            _unanswered++;
        entry.IsUnanswered = true;
        entry.Attempts++;
        entry.DueMs = nowMs + Math.Min((long)limits.ResendMs << Math.Min(entry.Attempts - 1, 16), limits.ResendMsMax);
        work.Due.Enqueue(entry, (entry.DueMs, _order++));
        outputs.Add(new SessionOutput.SendObject(entry.MessageId!, entry.Object, entry.Attempts));
    }

    private void LeaveWindow(Entry entry)
    {
        if (!entry.InWindow)
            return;
        entry.InWindow = false;
        _inWindow--;
    }

    private void LeaveUnanswered(Entry entry)
    {
        if (entry.IsUnanswered)
            _unanswered--;
        entry.IsUnanswered = false;
    }

    // What is on its way and has to be answered first: another object of the path, or what this one needs.
    private Entry? Before(Work work, Entry entry)
    {
        if (work.SentByPath.TryGetValue(entry.Object.Resource, out var sent))
            return sent == entry ? null : sent;
        return limits.MayReorder && entry.Object.Needs is { } needed ? work.SentByPath.GetValueOrDefault(needed) : null;
    }

    private static void ReleasePath(Work work, Entry entry)
    {
        if (work.SentByPath.TryGetValue(entry.Object.Resource, out var holder) && holder == entry)
            work.SentByPath.Remove(entry.Object.Resource);
        if (entry.Followers is null)
            return;
        foreach (var follower in entry.Followers)
            work.Waiting.Enqueue(follower);
        entry.Followers = null;
    }

    private static void SkipStaleTimers(Work work)
    {
        while (work.Due.TryPeek(out var entry, out var due) && (entry.MessageId is null || entry.DueMs != due.DueMs || !work.Sent.ContainsKey(entry.MessageId)))
            work.Due.Dequeue();
    }

    /// <summary>Everything about objects on their way; only while there are any.</summary>
    private sealed class Work
    {
        // A session has work for a moment at a time, and its collections are more memory than what they hold. What is handed over on one thread is acked on another, so
        // the spare ones are everybody's.
        private const int KeptMax = 64;
        private const int SparesMax = 256;

        private static readonly Stack<Work> s_spares = new(SparesMax);

        public static Work Take()
        {
            lock (s_spares)
            {
                if (s_spares.TryPop(out var spare))
                    return spare;
            }

            return new Work();
        }

        /// <summary>Nobody may use it any more.</summary>
        public static void Return(Work work)
        {
            // What has become large for a node that was handed much would stay so.
            if (work.Due.Capacity > KeptMax || work.Entries.Capacity > 2 * KeptMax || work.Waiting.Capacity > KeptMax)
                return;
            work.Entries.Clear();
            work.Sent.Clear();
            work.SentByPath.Clear();
            work.Waiting.Clear();
            work.Due.Clear();
            lock (s_spares)
            {
                if (s_spares.Count < SparesMax)
                    s_spares.Push(work);
            }
        }

        /// <summary>By uid.</summary>
        public Dictionary<string, Entry> Entries { get; } = [];

        /// <summary>By the id of the message that carries them.</summary>
        public Dictionary<string, Entry> Sent { get; } = [];

        public Dictionary<string, Entry> SentByPath { get; } = [];

        public Queue<Entry> Waiting { get; } = [];

        public PriorityQueue<Entry, (long DueMs, long Order)> Due { get; } = new();
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

        /// <summary>Of its first send under <see cref="MessageId"/>: higher than that of whatever was sent before.</summary>
        public long Order { get; set; }

        public bool InWindow { get; set; }

        /// <summary>It was sent, and neither acked nor refused since.</summary>
        public bool IsUnanswered { get; set; }

        public int Attempts { get; set; }

        public long DueMs { get; set; }

        public List<Entry>? Followers { get; set; }
    }
}
