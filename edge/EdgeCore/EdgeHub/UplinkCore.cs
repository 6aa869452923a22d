namespace Edge.Core.EdgeHub;

/// <summary>What the core knows of a stored entry; the content stays on disk until it is sent.</summary>
/// <param name="Id">Row id. A newer value of a <see cref="UplinkRule.Newest"/> key keeps the row, and its place as long as the older one waits.</param>
/// <param name="Version">Grows with every write of the store; tells which value an answer is for, and which of two entries is older.</param>
/// <param name="Answered">False for what a stock cloud never answers (events, user data).</param>
internal sealed record UplinkSlot(long Id, long Version, string Key, UplinkPriority Priority, bool Answered, int Size)
{
    /// <summary>Where there is no room, one of many goes before the only one of its key.</summary>
    public UplinkRule Rule { get; init; }
}

/// <summary>A row that is done with; it is deleted only where it still has this version.</summary>
internal readonly record struct UplinkRow(long Id, long Version);

/// <summary>The next entry to send.</summary>
internal sealed record UplinkSend(UplinkSlot Slot, string MessageId);

/// <summary>How the cloud answered an entry.</summary>
internal enum UplinkOutcome
{
    /// <summary>Taken.</summary>
    Accepted,

    /// <summary>Refused for good: the same entry would be refused again.</summary>
    Rejected,

    /// <summary>Could not be taken now.</summary>
    Failed,
}

/// <summary>The priorities that one sender takes from the queue.</summary>
internal readonly record struct UplinkRange(UplinkPriority First, UplinkPriority Last)
{
    public static UplinkRange All { get; } = new(UplinkPriority.Lease, UplinkPriority.User);

    /// <summary>What travels in a lane of a link (<see cref="Edge.Transport.LinkLanes"/>), so that a lane that is held up keeps nothing of another waiting.</summary>
    public static UplinkRange Of(Transport.LinkLane lane) => lane switch
    {
        Transport.LinkLane.Control => new UplinkRange(UplinkPriority.Lease, UplinkPriority.NodeStatus),
        Transport.LinkLane.Objects => new UplinkRange(UplinkPriority.PodStatus, UplinkPriority.PodStatus),
        _ => new UplinkRange(UplinkPriority.Twin, UplinkPriority.User),
    };
}

/// <summary>Bounds and pace of the queue.</summary>
/// <param name="Qps">Messages a second to a stock cloud.</param>
internal sealed record UplinkLimits(int EntriesMax = 10_000, long BytesMax = 256L * 1024 * 1024, int Qps = 30, int Burst = 60)
{
    /// <summary>Messages a second to an Edge cloud; twice as many may go at once.</summary>
    public int EdgeWireQps { get; init; } = 2000;

    /// <summary>Entries of one priority that may wait for their answer at an Edge cloud: one that is slow is not buried, and a priority that gets no answers holds up
    /// no other.</summary>
    public int EdgeWireInFlightMax { get; init; } = 256;

    /// <summary>First wait for an answer; doubles with each resend on the same link, up to <see cref="ResendMsMax"/>.</summary>
    public long ResendMs { get; init; } = 10_000;

    public long ResendMsMax { get; init; } = 300_000;

    /// <summary>First pause after a failed answer; doubles up to <see cref="RetryMsMax"/>.</summary>
    public long RetryMs { get; init; } = 1_000;

    public long RetryMsMax { get; init; } = 30_000;
}

/// <summary>The decisions of the uplink queue: order, newest-wins, what is in flight, pace, bounds. Pure: no clock, no disk, no socket.</summary>
/// <remarks>
/// <para>Told only of rows that are committed. An Edge cloud answers every entry, and an entry leaves when its answer comes. A stock cloud leaves some without an answer:
/// those leave when anything sent after them was answered, because then the peer has read past them; until then a broken link brings them back.</para>
/// <para>At most one value of a key is in flight. A newer value waits for the answer to the older one, so the cloud sees values of a key
/// in order, and an old answer never removes a newer value (the versions differ).</para>
/// <para>Not thread-safe; times are milliseconds of any steady clock.</para>
/// </remarks>
internal sealed class UplinkCore(UplinkLimits limits)
{
    public const int PriorityCount = 6;
    private readonly Dictionary<long, Entry> _entries = [];
    private readonly SortedSet<Place>[] _all = [.. Enumerable.Range(0, PriorityCount).Select(_ => new SortedSet<Place>())];
    private readonly SortedSet<Place>[] _ofMany = [.. Enumerable.Range(0, PriorityCount).Select(_ => new SortedSet<Place>())]; // of UplinkRule.Every
    private readonly SortedSet<Place>[] _ready = [.. Enumerable.Range(0, PriorityCount).Select(_ => new SortedSet<Place>())];
    private readonly long[] _bytes = new long[PriorityCount];
    private readonly Dictionary<string, Entry> _inFlight = [];
    private readonly Queue<(Entry Entry, long Version, long Sequence)> _unproven = new();
    private readonly PriorityQueue<(Entry Entry, long Stamp), long> _timers = new();
    private readonly long[] _dropped = new long[PriorityCount];
    private readonly int[] _flying = new int[PriorityCount];
    private double _tokens = limits.Burst;
    private long _tokensAtMs = long.MinValue;
    private long _sequence;
    private long _stamp;
    private bool _up;
    private bool _edgeWire;

    private enum State
    {
        Ready,
        InFlight,
        Unproven,
        Paused,
    }

    /// <summary>Entries of each priority.</summary>
    public int Depth(UplinkPriority priority) => _all[(int)priority].Count;

    public long Bytes(UplinkPriority priority) => _bytes[(int)priority];

    /// <summary>Whether another entry of such a size would push none out.</summary>
    /// <param name="coming">Entries on their way to the disk that are to count too.</param>
    public bool HasRoom(UplinkPriority priority, int coming, long comingBytes)
        => _all[(int)priority].Count + coming < limits.EntriesMax && _bytes[(int)priority] + comingBytes <= limits.BytesMax;

    /// <summary>Entries lost to the bounds since the start.</summary>
    public long Overflowed(UplinkPriority priority) => _dropped[(int)priority];

    /// <summary>Entries the cloud refused for good.</summary>
    public long Rejected { get; private set; }

    /// <summary>Messages sent again because no answer came or it was a failure.</summary>
    public long Resent { get; private set; }

    private int Qps => _edgeWire ? limits.EdgeWireQps : limits.Qps;

    private int Burst => _edgeWire ? 2 * limits.EdgeWireQps : limits.Burst;

    /// <summary>Takes a committed row: new, or a newer version of a known one. Returns the rows that the bounds push out: those of <see cref="UplinkRule.Every"/> before the others, oldest first.</summary>
    public IReadOnlyList<UplinkRow> Apply(UplinkSlot slot)
    {
        var priority = (int)slot.Priority;
        if (_entries.TryGetValue(slot.Id, out var entry))
        {
            if (slot.Version <= entry.Slot.Version)
                return [];
            _bytes[priority] += slot.Size - entry.Slot.Size;
            entry.Slot = slot;
            if (entry.State == State.Paused)
                MakeReady(entry); // a new value has a new chance at once
        }
        else
        {
            entry = new Entry(slot);
            _entries.Add(slot.Id, entry);
            _all[priority].Add(entry.Place);
            if (slot.Rule == UplinkRule.Every)
                _ofMany[priority].Add(entry.Place);
            _bytes[priority] += slot.Size;
            MakeReady(entry);
        }

        return Trim(priority);
    }

    /// <param name="edgeWire">Whether the cloud is an Edge CloudCore: it answers every entry, and has a pace of its own.</param>
    public void LinkUp(long nowMs, bool edgeWire)
    {
        _up = true;
        if (edgeWire != _edgeWire)
        {
            _edgeWire = edgeWire;
            _tokens = Burst; // another cloud, another purse
        }

        Refill(nowMs);
    }

    /// <summary>The link is gone: what was sent and not answered is to be sent again, with the same message ids.</summary>
    public void LinkDown()
    {
        _up = false;
        _inFlight.Clear();
        _unproven.Clear();
        foreach (var entry in _entries.Values)
        {
            if (entry.State is State.InFlight or State.Unproven)
                MakeReady(entry);
            entry.Resends = 0;
            entry.Sequence = 0;
        }
    }

    /// <summary>A number for a message that is about to be sent beside the queue (a request); see <see cref="Proved"/>.</summary>
    public long NextSequence() => ++_sequence;

    /// <summary>Chooses the next entry and marks it in flight; false when there is none to send now.</summary>
    /// <param name="newMessageId">Used unless this very value was sent before under another id.</param>
    public bool TryNext(long nowMs, string newMessageId, out UplinkSend send) => TryNext(UplinkRange.All, nowMs, newMessageId, out send);

    /// <summary>As above, among some priorities.</summary>
    public bool TryNext(UplinkRange range, long nowMs, string newMessageId, out UplinkSend send)
    {
        send = null!;
        if (!_up)
            return false;
        Tick(nowMs);
        Refill(nowMs);
        for (var priority = (int)range.First; priority <= (int)range.Last; priority++)
        {
            if (_ready[priority].Count == 0 || IsFull(priority))
                continue;
            if (priority != (int)UplinkPriority.Lease)
            {
                if (_tokens < 1)
                    return false;
                _tokens--;
            }

            var entry = _entries[_ready[priority].Min.Id];
            _ready[priority].Remove(entry.Place);
            var sameValue = entry.MessageId is not null && entry.SentVersion == entry.Slot.Version;
            if (sameValue)
                Resent++;
            else
            {
                // From here on an answer to the older value must not count for this one.
                if (entry.MessageId is { } older)
                    _inFlight.Remove(older);
                entry.MessageId = newMessageId;
            }

            entry.SentVersion = entry.Slot.Version;
            Set(entry, State.InFlight);
            entry.Answered = _edgeWire || entry.Slot.Answered;
            if (entry.Answered)
            {
                // The answer may be to the first copy on this link: it proves what was sent before that, not before this one.
                if (!sameValue || entry.Sequence == 0)
                    entry.Sequence = NextSequence();
                _inFlight[entry.MessageId!] = entry;
                Arm(entry, nowMs + Doubled(limits.ResendMs, entry.Resends++, limits.ResendMsMax));
            }

            send = new UplinkSend(entry.Slot, entry.MessageId!);
            return true;
        }

        return false;
    }

    /// <summary>The entry was handed to the socket. For one that is never answered, it now waits for proof.</summary>
    public void Sent(UplinkSend send)
    {
        if (_up && _entries.TryGetValue(send.Slot.Id, out var entry) && !entry.Answered && entry.State == State.InFlight)
        {
            // Numbered after the write: whatever has a higher number was written later.
            Set(entry, State.Unproven);
            _unproven.Enqueue((entry, send.Slot.Version, NextSequence()));
        }
    }

    /// <summary>The row of a chosen entry is not on disk (a write that failed as a whole); forgets it.</summary>
    public void Missing(UplinkSend send)
    {
        if (_entries.TryGetValue(send.Slot.Id, out var entry))
            Remove(entry);
    }

    /// <summary>An answer with a parent id came. Returns the entry it settled, or null when the id is not one of the queue's.</summary>
    /// <param name="done">Gets the rows to delete.</param>
    public UplinkSlot? Answer(string parentId, UplinkOutcome outcome, long nowMs, List<UplinkRow> done)
    {
        if (!_inFlight.Remove(parentId, out var entry))
            return null;
        Proved(entry.Sequence, done);
        var slot = entry.Slot;
        if (outcome == UplinkOutcome.Failed)
        {
            Resent++;
            entry.MessageId = null;
            Set(entry, State.Paused);
            Arm(entry, nowMs + Doubled(limits.RetryMs, entry.Failures++, limits.RetryMsMax));
            return slot;
        }

        if (outcome == UplinkOutcome.Rejected)
            Rejected++;
        entry.Failures = 0;
        entry.Resends = 0;
        if (entry.SentVersion == slot.Version)
        {
            Remove(entry);
            done.Add(new UplinkRow(slot.Id, slot.Version));
        }
        else
            MakeReady(entry);
        return slot;
    }

    /// <summary>The peer answered the message with this number, so it has read everything sent before.</summary>
    public void Proved(long sequence, List<UplinkRow> done)
    {
        while (_unproven.TryPeek(out var first) && first.Sequence < sequence)
        {
            _unproven.Dequeue();
            var entry = first.Entry;
            if (entry.State != State.Unproven)
                continue;
            if (entry.Slot.Version == first.Version)
            {
                Remove(entry);
                done.Add(new UplinkRow(entry.Slot.Id, first.Version));
            }
            else
                MakeReady(entry);
        }
    }

    /// <summary>When <see cref="TryNext(long, string, out UplinkSend)"/> may next succeed; null when only a new entry, an answer or the link can change that.</summary>
    public long? NextDueMs(long nowMs) => NextDueMs(UplinkRange.All, nowMs);

    /// <summary>As above, among some priorities; what falls due of others may count too.</summary>
    public long? NextDueMs(UplinkRange range, long nowMs)
    {
        if (!_up)
            return null;
        Refill(nowMs);
        long? due = null;
        for (var priority = (int)range.First; priority <= (int)range.Last && due is null; priority++)
        {
            if (_ready[priority].Count > 0 && !IsFull(priority))
                due = priority == (int)UplinkPriority.Lease || _tokens >= 1 ? nowMs : nowMs + (long)Math.Ceiling((1 - _tokens) * 1000 / Qps);
        }

        while (_timers.TryPeek(out var timer, out var at))
        {
            if (timer.Entry.Stamp != timer.Stamp)
            {
                _timers.Dequeue();
                continue;
            }

            return due is null || at < due ? Math.Max(at, nowMs) : due;
        }

        return due;
    }

    // Timers that fell due: no answer came, or a pause is over.
    private void Tick(long nowMs)
    {
        while (_timers.TryPeek(out var timer, out var at) && (at <= nowMs || timer.Entry.Stamp != timer.Stamp))
        {
            _timers.Dequeue();
            var entry = timer.Entry;
            if (entry.Stamp != timer.Stamp)
                continue;
            if (entry.State == State.InFlight)
            {
                // The id stays known: an answer that is only late still counts, unless a newer value takes its place.
                if (entry.SentVersion != entry.Slot.Version)
                    _inFlight.Remove(entry.MessageId!);
            }

            MakeReady(entry);
        }
    }

    private void Refill(long nowMs)
    {
        if (_tokensAtMs != long.MinValue)
            _tokens = Math.Min(Burst, _tokens + (Math.Max(0, nowMs - _tokensAtMs) * Qps / 1000.0));
        _tokensAtMs = nowMs;
    }

    private List<UplinkRow> Trim(int priority)
    {
        var pushedOut = new List<UplinkRow>();
        while (_all[priority].Count > limits.EntriesMax || (_bytes[priority] > limits.BytesMax && _all[priority].Count > 1))
        {
            // The samples of one device must not push out the only word of another.
            var oldest = _entries[(_ofMany[priority].Count > 0 ? _ofMany[priority] : _all[priority]).Min.Id];
            Remove(oldest);
            _dropped[priority]++;
            pushedOut.Add(new UplinkRow(oldest.Slot.Id, oldest.Slot.Version));
        }

        return pushedOut;
    }

    private bool IsFull(int priority) => _edgeWire && _flying[priority] >= limits.EdgeWireInFlightMax;

    private void Set(Entry entry, State state)
    {
        if (entry.State == State.InFlight)
            _flying[(int)entry.Slot.Priority]--;
        if (state == State.InFlight)
            _flying[(int)entry.Slot.Priority]++;
        entry.State = state;
    }

    private void MakeReady(Entry entry)
    {
        Set(entry, State.Ready);
        entry.Stamp = 0;
        _ready[(int)entry.Slot.Priority].Add(entry.Place);
    }

    private void Remove(Entry entry)
    {
        var priority = (int)entry.Slot.Priority;
        _entries.Remove(entry.Slot.Id);
        _all[priority].Remove(entry.Place);
        _ofMany[priority].Remove(entry.Place);
        _ready[priority].Remove(entry.Place);
        _bytes[priority] -= entry.Slot.Size;
        entry.Stamp = 0;
        Set(entry, State.Ready);
        if (entry.MessageId is { } id && _inFlight.TryGetValue(id, out var holder) && holder == entry)
            _inFlight.Remove(id);
    }

    private void Arm(Entry entry, long atMs)
    {
        entry.Stamp = ++_stamp;
        _timers.Enqueue((entry, entry.Stamp), atMs);
    }

    private static long Doubled(long first, int times, long max) => Math.Min(max, first << Math.Min(times, 20));

    // Since when an entry waits. Not by the row: one that an answered value has left may be taken over by a newer value of the key, which must not go before all that waited meanwhile.
    private readonly record struct Place(long Version, long Id) : IComparable<Place>
    {
        public int CompareTo(Place other) => Version != other.Version ? Version.CompareTo(other.Version) : Id.CompareTo(other.Id);
    }

    private sealed class Entry(UplinkSlot slot)
    {
        public Place Place { get; } = new(slot.Version, slot.Id);

        public UplinkSlot Slot { get; set; } = slot;

        public State State { get; set; }

        /// <summary>Whether the cloud that it was sent to last answers it.</summary>
        public bool Answered { get; set; }

        public string? MessageId { get; set; }

        public long SentVersion { get; set; }

        public long Sequence { get; set; }

        public long Stamp { get; set; }

        public int Resends { get; set; }

        public int Failures { get; set; }
    }
}
