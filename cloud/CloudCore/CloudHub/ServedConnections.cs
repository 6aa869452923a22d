using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub;

/// <summary>The connections that a listener serves: counted, so that its end can wait for theirs. Safe from any thread.</summary>
internal sealed class ServedConnections(TimeProvider time, ILogger logger)
{
    private readonly TaskCompletionSource _none = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _count = 1; // the listener itself counts as one until it stops

    /// <summary>One more.</summary>
    public void Enter() => Interlocked.Increment(ref _count);

    /// <summary>One less; the listener calls it once for itself when it takes no more.</summary>
    public void Leave()
    {
        if (Interlocked.Decrement(ref _count) == 0)
            _none.TrySetResult();
    }

    /// <summary>Waits until none is left, at most for <paramref name="deadline"/>; then it is logged how many are.</summary>
    public async Task WaitAsync(TimeSpan deadline)
    {
        try
        {
            await _none.Task.WaitAsync(deadline, time);
        }
        catch (TimeoutException)
        {
            HubLog.SlowStop(logger, Volatile.Read(ref _count));
        }
    }
}
