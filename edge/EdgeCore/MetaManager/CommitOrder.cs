namespace Edge.Core.MetaManager;

/// <summary>Puts committed changes back into commit order, whatever order their waiters run in, and hands them on one at a time.</summary>
internal sealed class CommitOrder(long next, Action<long, MetaChange> publish)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<long, MetaChange?> _early = [];
    private long _next = next;

    /// <summary>The job with this number is over; <paramref name="change"/> is null when it changed nothing or failed.</summary>
    public void Complete(long sequence, MetaChange? change)
    {
        lock (_gate)
        {
            _early.Add(sequence, change);
            while (_early.Remove(_next, out var due))
            {
                if (due is not null)
                    publish(_next, due);
                _next++;
            }
        }
    }

    /// <summary>Runs <paramref name="action"/> while nothing is published.</summary>
    public T Between<T>(Func<T> action)
    {
        lock (_gate)
            return action();
    }
}
