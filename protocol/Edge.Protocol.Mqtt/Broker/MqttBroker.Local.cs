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

/// <summary>A subscription of this process. Disposing ends it, and waits for the handler's last call.</summary>
public sealed class MqttLocalSubscription : IAsyncDisposable
{
    private readonly MqttBroker _broker;
    private readonly LocalSubscriber _subscriber;
    private readonly Subscription _subscription;
    private readonly string _filter;
    private readonly Func<MqttMessage, ValueTask> _handler;
    private Task _loop = Task.CompletedTask;

    internal MqttLocalSubscription(MqttBroker broker, LocalSubscriber subscriber, Subscription subscription, string filter, Func<MqttMessage, ValueTask> handler)
    {
        _broker = broker;
        _subscriber = subscriber;
        _subscription = subscription;
        _filter = filter;
        _handler = handler;
    }

    public async ValueTask DisposeAsync()
    {
        _broker.Remove(this, _subscription);
        _subscriber.Complete();
        await _loop;
    }

    internal void Start() => _loop = Task.Run(RunAsync);

    private async Task RunAsync()
    {
        await foreach (var message in _subscriber.Reader.ReadAllAsync())
        {
            try
            {
                await _handler(message);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                MqttLog.HandlerFailed(_broker.Logger, _filter, e);
            }
        }
    }
}
