using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// The door for this process: no socket between.
public sealed partial class MqttBroker
{
    private readonly List<MqttLocalSubscription> _local = [];

    /// <summary>Publishes as if a client had; no rule of the ACL applies. Completes when it is routed, and with QoS 1 or 2 when what sessions must keep of it is on disk.</summary>
    /// <returns>How many subscribers there were.</returns>
    /// <exception cref="ArgumentException">The topic is none.</exception>
    public async ValueTask<int> PublishAsync(MqttMessage message)
    {
        if (MqttTopic.ProblemOfName(message.Topic) is { } problem)
            throw new ArgumentException(problem, nameof(message));
        var toSend = BeginSend();
        TaskCompletionSource? promise = null;
        int count;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _core.NowMs = NowMs;
            count = _core.Publish(message);
            if (_store is not null && message.Qos != MqttQos.AtMostOnce && _core.ChangeCount > _committed)
                _promises.Add((_core.ChangeCount, promise = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)));
            CollectSends(toSend);
        }

        EndSend(toSend);
        if (promise is not null)
            await promise.Task;
        return count;
    }

    /// <summary>Calls <paramref name="handler"/> for each message of the filter, one after the other, retained ones first.</summary>
    /// <param name="filter">A topic filter; shared subscriptions too.</param>
    /// <param name="capacity">Messages that may wait for the handler; a further one is dropped and counted, so that a slow handler never holds up the broker.</param>
    /// <exception cref="ArgumentException">The filter is none.</exception>
    public MqttLocalSubscription SubscribeLocal(string filter, Func<MqttMessage, ValueTask> handler, MqttQos qos = MqttQos.ExactlyOnce, int capacity = 4096)
    {
        var subscriber = new LocalSubscriber(capacity);
        MqttLocalSubscription result;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _core.NowMs = NowMs;
            var subscription = _core.SubscribeLocal(subscriber, filter, qos);
            result = new MqttLocalSubscription(this, subscriber, subscription, filter, handler);
            _local.Add(result);
        }

        result.Start();
        return result;
    }

    /// <summary>Adds a taker while clients are connected; from then on nothing of its filter is acknowledged that it has not seen. Disposing the result removes it.</summary>
    /// <exception cref="ArgumentException">The filter is none, or a shared one.</exception>
    public MqttLocalSubscription AddTaker(MqttTaker taker)
    {
        if ((MqttTopic.ProblemOfFilter(taker.Filter) ?? (MqttTopic.SplitShare(taker.Filter).Share.Length > 0 ? "a taker has no shared subscription" : null)) is { } problem)
            throw new ArgumentException(problem, nameof(taker));
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            AddTakers([taker]);
            return _local[^1];
        }
    }

    // At the start before anybody can connect, so that nothing is acknowledged that a taker has not seen.
    private void AddTakers(IReadOnlyList<MqttTaker> takers)
    {
        foreach (var taker in takers)
        {
            var subscriber = new LocalSubscriber(taker.Capacity, isTaker: true);
            var subscription = _core.SubscribeTaker(subscriber, taker.Filter);
            var local = new MqttLocalSubscription(this, subscriber, subscription, taker);
            _local.Add(local);
            local.Start();
        }
    }

    internal void Taken(HeldPublish held, MqttReasonCode code, string? reason)
    {
        var toSend = BeginSend();
        lock (_gate)
        {
            _core.NowMs = NowMs;
            _core.Taken(held, code, reason);
            CollectSends(toSend);
        }

        EndSend(toSend);
    }

    internal void Remove(MqttLocalSubscription local, Subscription subscription)
    {
        lock (_gate)
        {
            _core.UnsubscribeLocal(subscription);
            _local.Remove(local);
        }
    }

    private MqttLocalSubscription[] LocalSubscriptions()
    {
        lock (_gate)
            return [.. _local];
    }
}

/// <summary>Keeps messages in this process before their QoS 1 and 2 publishers are told that they arrived.</summary>
/// <param name="Filter">A topic filter, not a shared one. Retained messages of before the start do not come.</param>
/// <param name="Handler">Called for each message in their order, some at once: one may begin before the one before it has ended. It returns what the publisher hears, one of the reason codes
/// of PUBACK (3.4.2.1); 0x80 and more says that it is not kept. Its second parameter: the publisher hears a refusal. A publisher of version 3.1.1 loses its connection instead, and sends
/// again; one of QoS 0 hears nothing. What it throws counts as 0x83, but for <see cref="OperationCanceledException"/>: then nobody is told anything.</param>
/// <param name="Capacity">Messages that may wait; further ones of QoS 1 and 2 are refused with 0x97, those of QoS 0 dropped and counted. 16 MiB of payloads at most.</param>
public sealed record MqttTaker(string Filter, Func<MqttMessage, bool, ValueTask<MqttReasonCode>> Handler, int Capacity = 4096);

/// <summary>A subscription of this process. Disposing ends it, and waits for the handler's last call.</summary>
public sealed class MqttLocalSubscription : IAsyncDisposable
{
    // A taker's handlers at once: they share a commit.
    private const int TakesAtOnce = 64;

    private readonly MqttBroker _broker;
    private readonly LocalSubscriber _subscriber;
    private readonly Subscription _subscription;
    private readonly string _filter;
    private readonly Func<MqttMessage, ValueTask> _handler;
    private readonly MqttTaker? _taker;
    private Task _loop = Task.CompletedTask;

    internal MqttLocalSubscription(MqttBroker broker, LocalSubscriber subscriber, Subscription subscription, string filter, Func<MqttMessage, ValueTask> handler)
    {
        _broker = broker;
        _subscriber = subscriber;
        _subscription = subscription;
        _filter = filter;
        _handler = handler;
    }

    internal MqttLocalSubscription(MqttBroker broker, LocalSubscriber subscriber, Subscription subscription, MqttTaker taker)
        : this(broker, subscriber, subscription, taker.Filter, _ => ValueTask.CompletedTask)
        => _taker = taker;

    public async ValueTask DisposeAsync()
    {
        _broker.Remove(this, _subscription);
        _subscriber.Complete();
        await _loop;
    }

    internal void Start() => _loop = Task.Run(() => _taker is null ? RunAsync() : TakeAllAsync(_taker));

    private async Task RunAsync()
    {
        await foreach (var (message, _) in _subscriber.Reader.ReadAllAsync())
        {
            try
            {
                await _handler(message);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                MqttLog.HandlerFailed(_broker.Logger, _filter, e);
            }

            _subscriber.Done(message);
        }
    }

    private async Task TakeAllAsync(MqttTaker taker)
    {
        using var turns = new SemaphoreSlim(TakesAtOnce);
        await foreach (var (message, held) in _subscriber.Reader.ReadAllAsync())
        {
            await turns.WaitAsync();
            _ = TakeAsync(taker, message, held, turns); // it does not throw, and the last line waits for it
        }

        for (var i = 0; i < TakesAtOnce; i++)
            await turns.WaitAsync();
    }

    private async Task TakeAsync(MqttTaker taker, MqttMessage message, HeldPublish? held, SemaphoreSlim turns)
    {
        (MqttReasonCode Code, string? Reason)? answer = null;
        try
        {
            answer = (await taker.Handler(message, held?.CanRefuse ?? false), null);
        }
        catch (OperationCanceledException)
        {
            // Stopping: the client hears nothing, and sends it again when the broker is back.
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            MqttLog.HandlerFailed(_broker.Logger, _filter, e);
            answer = (MqttReasonCode.ImplementationSpecificError, e.Message);
        }

        // Apart from the handler's own failures: it is said once, whatever comes of it.
        try
        {
            if (held is not null && answer is var (code, reason))
                _broker.Taken(held, code, reason);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            _broker.LogDefect("", e);
        }
        finally
        {
            _subscriber.Done(message);
            turns.Release();
        }
    }
}
