using System.Collections.Concurrent;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeHub;

/// <summary>Requests that wait for the message with their id as parent.</summary>
internal sealed class PendingRequests
{
    private readonly ConcurrentDictionary<string, Entry> _entries = new();
    private volatile TaskCompletionSource? _drained;

    public int Count => _entries.Count;

    /// <summary>Ends as soon as nobody waits, at once if so already. Only one may wait for it at a time, and it must be asked for again each time.</summary>
    public Task Drained
    {
        get
        {
            var drained = _drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Drain();
            return drained.Task;
        }
    }

    public Task<Message> Add(string id, long sequence, bool acknowledge)
    {
        var entry = new Entry(sequence, acknowledge);
        _entries[id] = entry;
        return entry.Answer.Task;
    }

    public void Remove(string id)
    {
        _entries.TryRemove(id, out _);
        Drain();
    }

    /// <summary>Hands the answer over. False when nobody waits for it.</summary>
    public bool TryAnswer(Message message, out long sequence, out bool acknowledge)
    {
        var found = _entries.TryRemove(message.ParentId, out var entry);
        sequence = entry?.Sequence ?? 0;
        acknowledge = entry?.Acknowledge ?? false;
        var taken = found && entry!.Answer.TrySetResult(message);
        Drain();
        return taken;
    }

    /// <summary>The link is down: every waiting request fails.</summary>
    public void FailAll(string reason)
    {
        foreach (var id in _entries.Keys)
        {
            if (_entries.TryRemove(id, out var entry))
                entry.Answer.TrySetException(new UplinkException(reason));
        }
    }

    private void Drain()
    {
        if (_entries.IsEmpty)
            _drained?.TrySetResult();
    }

    private sealed record Entry(long Sequence, bool Acknowledge)
    {
        public TaskCompletionSource<Message> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
