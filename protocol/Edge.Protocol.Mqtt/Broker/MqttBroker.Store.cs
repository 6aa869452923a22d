using System.Threading.Channels;
using Edge.Common.Storage;

namespace Edge.Protocol.Mqtt.Broker;

// One writer takes all changes that wait; what was held back for them is then sent.
public sealed partial class MqttBroker
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    // "There is something to do": many calls are one.
    private readonly Channel<bool> _storeSignal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
    private readonly List<ClientConnection> _waiting = [];
    private readonly List<(long After, TaskCompletionSource Done)> _promises = [];
    private TaskCompletionSource _caughtUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task _storeLoop = Task.CompletedTask;
    private long _committed;
    private bool _storeStops;

    /// <summary>Whether the store was told to take what is left and end.</summary>
    internal bool IsStoreStopping => Volatile.Read(ref _storeStops);

    private async Task StoreAsync(IMqttStore store)
    {
        while (true)
        {
            await _storeSignal.Reader.ReadAsync();
            // Until nothing is left: one signal may stand for changes and for the stop that came with them.
            while (true)
            {
                List<MqttStoreChange> changes;
                long upTo;
                lock (_gate)
                {
                    changes = _core.TakeChanges();
                    upTo = _core.ChangeCount;
                    if (changes.Count == 0 && _storeStops)
                        return;
                }

                if (changes.Count == 0)
                    break;
                if (!await WriteAsync(store, changes))
                    return;
                Commit(upTo);
            }
        }
    }

    private async Task<bool> WriteAsync(IMqttStore store, List<MqttStoreChange> changes)
    {
        while (true)
        {
            try
            {
                await store.WriteAsync(changes);
                return true;
            }
            catch (StoreException e)
            {
                MqttLog.StoreFailed(Logger, e.Message, (long)s_storeRetry.TotalMilliseconds);
                if (_storeStops)
                    return false;
                await Task.Delay(s_storeRetry, _time, CancellationToken.None);
            }
        }
    }

    private void Commit(long upTo)
    {
        var toSend = BeginSend();
        var kept = new List<TaskCompletionSource>();
        TaskCompletionSource caughtUp;
        lock (_gate)
        {
            _committed = upTo;
            var waiting = _waiting.ToArray();
            _waiting.Clear();
            foreach (var connection in waiting)
            {
                connection.IsWaitingForStore = false;
                Offer(connection, toSend);
            }

            for (var i = _promises.Count - 1; i >= 0; i--)
            {
                if (_promises[i].After > upTo)
                    continue;
                kept.Add(_promises[i].Done);
                _promises.RemoveAt(i);
            }

            caughtUp = _caughtUp;
            _caughtUp = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        EndSend(toSend);
        caughtUp.TrySetResult();
        foreach (var promise in kept)
            promise.TrySetResult();
    }

    // The store is behind: reading waits for its next commit.
    private async Task ResumeLaterAsync(ClientConnection connection)
    {
        Task caughtUp;
        lock (_gate)
            caughtUp = _core.Changes.Count > ChangesMax && _store is not null ? _caughtUp.Task : Task.CompletedTask;
        await caughtUp;
        connection.Resume();
    }

    private async Task StopStoreAsync()
    {
        if (_store is null)
            return;
        lock (_gate)
            _storeStops = true;
        _storeSignal.Writer.TryWrite(true);
        await _storeLoop;
        // A disk that refused to the end: who waits is told.
        foreach (var (_, done) in _promises)
            done.TrySetException(new StoreException("the broker stopped before its store took the message"));
        await _store.DisposeAsync();
    }
}
