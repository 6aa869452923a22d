using System.Collections.Concurrent;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeHub;

/// <summary>Requests that wait for the message with their id as parent.</summary>
internal sealed class PendingRequests
{
    private readonly ConcurrentDictionary<string, Entry> _entries = new();

    public int Count => _entries.Count;

    public Task<Message> Add(string id, long sequence, bool acknowledge)
    {
        var entry = new Entry(sequence, acknowledge);
        _entries[id] = entry;
        return entry.Answer.Task;
    }

    public void Remove(string id) => _entries.TryRemove(id, out _);

    /// <summary>Hands the answer over. False when nobody waits for it.</summary>
    public bool TryAnswer(Message message, out long sequence, out bool acknowledge)
    {
        var found = _entries.TryRemove(message.ParentId, out var entry);
        sequence = entry?.Sequence ?? 0;
        acknowledge = entry?.Acknowledge ?? false;
        return found && entry!.Answer.TrySetResult(message);
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

    private sealed record Entry(long Sequence, bool Acknowledge)
    {
        public TaskCompletionSource<Message> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
