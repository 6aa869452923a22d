namespace Edge.Chaos.Tests;

/// <summary>Lets several workers be held between two pieces of work.</summary>
internal sealed class Gate
{
    private readonly Lock _gate = new();
    private TaskCompletionSource _open = Completed();
    private TaskCompletionSource _idle = Completed();
    private int _working;

    private static TaskCompletionSource Completed()
    {
        var source = NewSource();
        source.SetResult();
        return source;
    }

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Holds the workers; completes once none is at work. What was begun is finished.</summary>
    public Task CloseAsync()
    {
        lock (_gate)
        {
            if (_open.Task.IsCompleted)
                _open = NewSource();
            return _idle.Task;
        }
    }

    public void Open()
    {
        lock (_gate)
            _open.TrySetResult();
    }

    /// <summary>A worker is about to begin a piece of work; waits while closed. Followed by <see cref="Leave"/>.</summary>
    public async Task EnterAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task open;
            lock (_gate)
            {
                if (_open.Task.IsCompleted)
                {
                    if (_working++ == 0)
                        _idle = NewSource();
                    return;
                }

                open = _open.Task;
            }

            await open.WaitAsync(cancellationToken);
        }
    }

    public void Leave()
    {
        lock (_gate)
        {
            if (--_working == 0)
                _idle.SetResult();
        }
    }
}
