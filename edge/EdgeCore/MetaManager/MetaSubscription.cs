using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;

namespace Edge.Core.MetaManager;

/// <summary>The reader that <see cref="IMetaStore.Subscribe"/> returns: keeps the newest unread change of each object, so its size is bounded
/// by the number of objects and a slow reader costs nobody anything. One reader at a time.</summary>
/// <remarks>An object that was deleted and made again between two reads shows as one change with another uid.</remarks>
internal sealed class MetaSubscription : ChannelReader<MetaChange>
{
    private readonly Lock _gate = new();
    private readonly HashSet<string> _types;
    private readonly Queue<string> _order = new();
    private readonly Dictionary<string, MetaChange> _unread = [];
    private readonly Dictionary<string, long> _snapshot = []; // what the first list already held, until publishing has caught up with it
    private readonly long _snapshotEnd;
    private TaskCompletionSource<bool>? _waiter;

    public MetaSubscription(IEnumerable<string> types, IEnumerable<(MetaObject Object, long Sequence)> first)
    {
        _types = [.. types];
        foreach (var (obj, sequence) in first)
        {
            _order.Enqueue(obj.Key);
            _unread[obj.Key] = new MetaChange(obj, Deleted: false);
            _snapshot[obj.Key] = sequence;
            _snapshotEnd = Math.Max(_snapshotEnd, sequence);
        }
    }

    public override bool CanCount => true;

    public override int Count
    {
        get
        {
            lock (_gate)
                return _unread.Count;
        }
    }

    public void Publish(long sequence, MetaChange change)
    {
        TaskCompletionSource<bool>? waiter;
        lock (_gate)
        {
            if (!_types.Contains(change.Object.Type))
                return;
            if (sequence > _snapshotEnd)
                _snapshot.Clear();
            else if (_snapshot.TryGetValue(change.Object.Key, out var listed) && listed >= sequence)
                return; // the list had this state, or a newer one
            if (!_unread.ContainsKey(change.Object.Key))
                _order.Enqueue(change.Object.Key);
            _unread[change.Object.Key] = change;
            (waiter, _waiter) = (_waiter, null);
        }

        waiter?.TrySetResult(true);
    }

    public override bool TryRead([MaybeNullWhen(false)] out MetaChange item)
    {
        lock (_gate)
        {
            if (_order.TryDequeue(out var key))
                return _unread.Remove(key, out item);
            item = null;
            return false;
        }
    }

    public override ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken = default)
    {
        lock (_gate)
        {
            if (_unread.Count > 0)
                return ValueTask.FromResult(true);
            _waiter ??= new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask<bool>(_waiter.Task.WaitAsync(cancellationToken));
        }
    }
}
