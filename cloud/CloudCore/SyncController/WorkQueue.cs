using System.Threading.Channels;

namespace Edge.Cloud.SyncController;

/// <summary>Work that asks the API, done behind those who ordered it by a few workers. Safe for concurrent calls.</summary>
internal sealed class WorkQueue<T> : IAsyncDisposable
{
    private readonly Channel<T> _queue;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task[] _workers;

    /// <param name="capacity">Items that may wait.</param>
    /// <param name="workers">Items in work at once.</param>
    /// <param name="work">Does one; handles what can be expected to fail.</param>
    /// <param name="onDefect">Told what it threw all the same; the worker goes on.</param>
    /// <param name="scheduler">Where the workers run; the thread pool by default. A simulation runs them in its own time.</param>
    public WorkQueue(int capacity, int workers, Func<T, CancellationToken, Task> work, Action<Exception> onDefect, TaskScheduler? scheduler = null)
    {
        // Wait, with TryWrite: a full queue is told to the caller, who knows what comes of it.
        _queue = Channel.CreateBounded<T>(new BoundedChannelOptions(capacity) { FullMode = BoundedChannelFullMode.Wait });
        _workers = [.. Enumerable.Range(0, workers).Select(_ => Start(() => RunAsync(work, onDefect, _stop.Token), scheduler))];
    }

    /// <summary>False when the queue is full.</summary>
    public bool TryAdd(T item) => _queue.Writer.TryWrite(item);

    /// <summary>Starts a task on <paramref name="scheduler"/>, or on the thread pool; what it awaits comes back there.</summary>
    public static Task Start(Func<Task> run, TaskScheduler? scheduler)
        => Task.Factory.StartNew(run, CancellationToken.None, TaskCreationOptions.DenyChildAttach, scheduler ?? TaskScheduler.Default).Unwrap();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_workers);
        _stop.Dispose();
    }

    private async Task RunAsync(Func<T, CancellationToken, Task> work, Action<Exception> onDefect, CancellationToken cancellationToken)
    {
        try
        {
            // Not ReadAllAsync: that leaves the scheduler.
            while (await _queue.Reader.WaitToReadAsync(cancellationToken))
            {
                while (_queue.Reader.TryRead(out var item))
                {
                    try
                    {
                        await work(item, cancellationToken);
                    }
                    catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
                    {
                        onDefect(e);
                    }
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Disposed.
        }
    }
}
