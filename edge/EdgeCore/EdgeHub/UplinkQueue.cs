using System.Globalization;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>An entry the cloud refused for good and that was dropped.</summary>
public sealed record UplinkRejection(string Key, string Reason, string Text);

/// <summary>The durable queue: <see cref="UplinkCore"/> over an <see cref="IUplinkStore"/>. Safe for concurrent calls.</summary>
internal sealed class UplinkQueue
{
    private const int BatchEntriesMax = 64;
    private const long BatchBytesTarget = 256 * 1024;
    private readonly IUplinkStore _store;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    // Entries that are in a trace and were not sent; beyond, they are sent without.
    private const int TracesMax = 1024;

    // Bytes of contents that are kept until they are sent, beside their rows on the disk.
    private const int FreshBytesMax = 256 * 1024;

    private readonly Dictionary<long, string> _traces = [];

    // What was stored a moment ago and goes next need not be read again. Only while there is a link to send it.
    private readonly Dictionary<long, (long Version, UplinkEntry Entry)> _fresh = [];
    private int _freshBytes;
    private string? _nextId;
    private bool _up;
    private readonly UplinkCore _core;
    private readonly Lock _gate = new();

    // A flag for each sender, not a queue.
    private readonly Channel<bool>[] _wakes =
        [.. Enumerable.Range(0, Transport.LinkLanes.Count).Select(_ => Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }))];
    private readonly int[] _coming = new int[UplinkCore.PriorityCount];
    private readonly long[] _comingBytes = new long[UplinkCore.PriorityCount];
    private volatile bool _edgeWire;

    public UplinkQueue(IUplinkStore store, EdgeHubOptions options, TimeProvider time, ILogger log)
    {
        _store = store;
        _time = time;
        _log = log;
        _core = new UplinkCore(new UplinkLimits(options.QueueEntriesMax, options.QueueBytesMax, options.MessageQps, options.MessageBurst) { EdgeWireQps = options.EdgeWireQps });
        foreach (var slot in store.ReadSlots())
            _core.Apply(slot);
    }

    /// <summary>Raised after an entry was refused for good; handlers must be quick and must not throw.</summary>
    public event Action<UplinkRejection>? Rejected;

    public long NowMs => (long)(_time.GetTimestamp() * 1000.0 / _time.TimestampFrequency);

    /// <summary>Readable when there may be something new to send. One sender a lane; on a link without lanes there is but the first.</summary>
    public ChannelReader<bool> Wake(Transport.LinkLane lane) => _wakes[(int)lane].Reader;

    public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => PostAsync([entry], cancellationToken);

    /// <summary>As above, of several at once: all of them or none.</summary>
    public async ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken)
    {
        foreach (var entry in entries)
        {
            if (entry.Content.Length > MessageLimits.MessageSizeMax - 4096)
                throw new ArgumentException($"the content of {entry.Key} has {entry.Content.Length} bytes, the limit is {MessageLimits.MessageSizeMax - 4096}", nameof(entries));
        }

        var slots = await _store.StoreAsync(entries, cancellationToken);
        List<UplinkRow>? pushedOut = null;
        lock (_gate)
        {
            for (var i = 0; i < slots.Count; i++)
            {
                if (Apply(slots[i], entries[i]) is { Count: > 0 } rows)
                    (pushedOut ??= []).AddRange(rows);
            }
        }

        WakeAll();
        if (pushedOut is not null)
            await DeleteAsync(pushedOut, canWait: false);
    }

    private IReadOnlyList<UplinkRow> Apply(UplinkSlot slot, UplinkEntry entry)
    {
        var pushedOut = _core.Apply(slot);
        if (entry.Trace is not null && _traces.Count < TracesMax)
            _traces[slot.Id] = entry.Trace;
        if (_up)
            KeepFresh(slot, entry);
        foreach (var row in pushedOut)
            DropFresh(row.Id);
        if (pushedOut.Count > 0)
            HubLog.QueueOverflow(_log, entry.Priority, pushedOut.Count);
        return pushedOut;
    }

    /// <summary>As above, where the bounds leave room; else false.</summary>
    public async ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken)
    {
        var priority = (int)entry.Priority;
        lock (_gate)
        {
            if (!_core.HasRoom(entry.Priority, _coming[priority], _comingBytes[priority] + entry.Content.Length))
                return false;
            _coming[priority]++;
            _comingBytes[priority] += entry.Content.Length;
        }

        try
        {
            await PostAsync(entry, cancellationToken);
            return true;
        }
        finally
        {
            lock (_gate)
            {
                _coming[priority]--;
                _comingBytes[priority] -= entry.Content.Length;
            }
        }
    }

    /// <param name="edgeWire">Whether the cloud is an Edge CloudCore; see <see cref="UplinkCore.LinkUp"/>.</param>
    public void LinkUp(bool edgeWire)
    {
        _edgeWire = edgeWire;
        lock (_gate)
        {
            _up = true;
            _core.LinkUp(NowMs, edgeWire);
        }

        WakeAll();
    }

    public void LinkDown()
    {
        lock (_gate)
        {
            _up = false;
            _fresh.Clear();
            _freshBytes = 0;
            _core.LinkDown();
        }
    }

    /// <summary>As below, of all priorities.</summary>
    public (IReadOnlyList<UplinkSend> Sends, IReadOnlyList<Message> Messages) TakeBatch() => TakeBatch(UplinkRange.All);

    /// <summary>The next messages to send, as many as fit one batch; none when nothing is due. After the write, <see cref="Sent"/> must be called.</summary>
    /// <param name="range">The priorities that are asked for.</param>
    public (IReadOnlyList<UplinkSend> Sends, IReadOnlyList<Message> Messages) TakeBatch(UplinkRange range)
    {
        while (true)
        {
            var sends = new List<UplinkSend>();
            var fresh = new List<Message?>();
            List<long>? toLoad = null;
            var size = 0L;
            lock (_gate)
            {
                while (sends.Count < BatchEntriesMax && size < BatchBytesTarget && _core.TryNext(range, NowMs, _nextId ??= Guid.NewGuid().ToString(), out var send))
                {
                    if (send.MessageId == _nextId)
                        _nextId = null;
                    sends.Add(send);
                    size += send.Slot.Size;
                    var kept = TakeFresh(send.Slot);
                    fresh.Add(kept);
                    if (kept is null)
                        (toLoad ??= []).Add(send.Slot.Id);
                }
            }

            if (sends.Count == 0)
                return ([], []);
            var rows = toLoad is null ? null : _store.Load(toLoad);
            var now = _time.GetUtcNow().ToUnixTimeMilliseconds();
            var messages = new List<Message>(sends.Count);
            for (var i = 0; i < sends.Count; i++)
            {
                var send = sends[i];
                if ((fresh[i] ?? rows!.GetValueOrDefault(send.Slot.Id)) is { } row)
                {
                    // The version is the row's own, which may be newer than the one that was chosen: it says what the content is. A stock cloud would take it for the object's.
                    messages.Add(row with { Id = send.MessageId, TimestampMs = now, ResourceVersion = _edgeWire ? row.ResourceVersion : "", Trace = TakeTrace(send.Slot.Id) });
                    continue;
                }

                lock (_gate)
                    _core.Missing(send);
            }

            if (messages.Count > 0)
                return (sends, messages);
        }
    }

    private void KeepFresh(UplinkSlot slot, UplinkEntry entry)
    {
        if (_fresh.TryGetValue(slot.Id, out var known) && known.Version > slot.Version)
            return;
        DropFresh(slot.Id);
        if (_freshBytes + slot.Size > FreshBytesMax)
            return;
        // A copy: the sender's buffer is his again once it is stored.
        _fresh[slot.Id] = (slot.Version, entry with { Content = entry.Content.ToArray() });
        _freshBytes += slot.Size;
    }

    private (long Version, UplinkEntry Entry)? DropFresh(long id)
    {
        if (!_fresh.Remove(id, out var kept))
            return null;
        _freshBytes -= kept.Entry.Content.Length;
        return kept;
    }

    private Message? TakeFresh(UplinkSlot slot)
    {
        if (DropFresh(slot.Id) is not { } kept || kept.Version != slot.Version)
            return null;
        var entry = kept.Entry;
        return new Message
        {
            Id = "",
            ResourceVersion = kept.Version.ToString(CultureInfo.InvariantCulture),
            Source = entry.Source,
            Group = entry.Group,
            Operation = entry.Operation,
            Resource = entry.Resource,
            Content = entry.Content,
        };
    }

    // Once: what is sent again has been seen on its way already.
    private string? TakeTrace(long id)
    {
        lock (_gate)
            return _traces.Count > 0 && _traces.Remove(id, out var trace) && _edgeWire ? trace : null;
    }

    /// <summary>The batch was handed to the socket.</summary>
    public void Sent(IReadOnlyList<UplinkSend> sends)
    {
        lock (_gate)
        {
            foreach (var send in sends)
                _core.Sent(send);
        }
    }

    public long NextSequence()
    {
        lock (_gate)
            return _core.NextSequence();
    }

    /// <summary>How long until something may be sent without a new post; null when nothing is due.</summary>
    public TimeSpan? NextDue(UplinkRange range)
    {
        lock (_gate)
        {
            var now = NowMs;
            return _core.NextDueMs(range, now) is { } due ? TimeSpan.FromMilliseconds(due - now) : null;
        }
    }

    /// <summary>Gives the queue an answer. Returns false when the parent id is not one of its messages.</summary>
    public async ValueTask<bool> AnswerAsync(Message answer)
    {
        var read = CloudAnswer.Read(answer);
        var done = new List<UplinkRow>();
        UplinkSlot? slot;
        lock (_gate)
            slot = _core.Answer(answer.ParentId, read.Outcome, NowMs, done);
        if (slot is null)
            return false;
        if (read.Outcome == UplinkOutcome.Rejected)
        {
            HubLog.EntryRejected(_log, slot.Key, read.Reason, read.Text);
            Rejected?.Invoke(new UplinkRejection(slot.Key, read.Reason, read.Text));
        }
        else if (read.Outcome == UplinkOutcome.Failed)
            HubLog.EntryFailed(_log, slot.Key, read.Text);
        await DeleteAsync(done, canWait: _edgeWire);
        WakeAll();
        return true;
    }

    /// <summary>A request sent with this number was answered: what was written before it has arrived.</summary>
    public async ValueTask ProvedAsync(long sequence)
    {
        var done = new List<UplinkRow>();
        lock (_gate)
            _core.Proved(sequence, done);
        await DeleteAsync(done, canWait: _edgeWire);
    }

    /// <summary>Depth and losses by priority, and the counters, for the metrics page.</summary>
    public UplinkFigures Figures()
    {
        lock (_gate)
        {
            var all = Enum.GetValues<UplinkPriority>();
            return new UplinkFigures([.. all.Select(_core.Depth)], [.. all.Select(_core.Bytes)], [.. all.Select(_core.Overflowed)], _core.Rejected, _core.Resent);
        }
    }

    private void WakeAll()
    {
        foreach (var wake in _wakes)
            wake.Writer.TryWrite(true);
    }

    // An Edge cloud applies a row once, by its version, however often it comes; what a stock one took is deleted before anything else happens.
    private async ValueTask DeleteAsync(List<UplinkRow> rows, bool canWait)
    {
        if (rows.Count == 0)
            return;
        try
        {
            await _store.DeleteAsync(rows, canWait);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // The rows stay and are sent once more after a restart; the cloud takes the same value twice without harm.
            HubLog.DeleteFailed(_log, e.Message);
        }
    }
}

/// <summary>Counters of the queue; lists are by <see cref="UplinkPriority"/>.</summary>
internal sealed record UplinkFigures(IReadOnlyList<int> Depth, IReadOnlyList<long> Bytes, IReadOnlyList<long> Overflowed, long Rejected, long Resent);
