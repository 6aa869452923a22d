using System.Globalization;
using System.Text;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// SUBSCRIBE, UNSUBSCRIBE, retained messages, local subscribers, $SYS.
internal sealed partial class BrokerCore
{
    private readonly long _started;
    private long _nextSys;

    /// <summary>A subscription of this process; the retained messages that match come at once.</summary>
    /// <exception cref="ArgumentException">The filter cannot be used.</exception>
    public Subscription SubscribeLocal(LocalSubscriber subscriber, string filter, MqttQos qos)
    {
        if (MqttTopic.ProblemOfFilter(filter) is { } problem)
            throw new ArgumentException(problem, nameof(filter));
        BeginStep();
        var (share, plain) = MqttTopic.SplitShare(filter);
        var subscription = new Subscription(subscriber, plain, share, new MqttSubscriptionOptions(qos), 0);
        _tree.Add(subscription);
        if (share.Length == 0)
        {
            _collected.Clear();
            _retained.Collect(plain, _collected);
            foreach (var message in _collected)
            {
                if (message.ExpiresAtMs > NowMs && !subscriber.Offer(message, message.Qos < qos ? message.Qos : qos, retain: true))
                    Counters.DroppedLocal++;
            }
        }

        EndStep();
        return subscription;
    }

    /// <summary>As above, and acknowledgements wait for it. It gets no retained messages: those it took when they came.</summary>
    public Subscription SubscribeTaker(LocalSubscriber subscriber, string filter)
    {
        var subscription = new Subscription(subscriber, filter, "", new MqttSubscriptionOptions(MqttQos.ExactlyOnce), 0);
        _tree.Add(subscription);
        return subscription;
    }

    public void UnsubscribeLocal(Subscription subscription) => _tree.Remove(subscription);

    private void ReceiveSubscribe(Connection connection, MqttSubscribe subscribe)
    {
        var session = connection.Session!;
        var id = subscribe.Properties.SubscriptionIdentifiers is [var one] ? one : 0;
        var codes = new MqttReasonCode[subscribe.Filters.Count];
        var replay = new List<Subscription>();
        for (var i = 0; i < codes.Length; i++)
        {
            var wanted = subscribe.Filters[i];
            // What version 5.0 can ask for, and a bridge of an earlier one means.
            if (connection.IsBridge)
                wanted = wanted with { Options = wanted.Options with { NoLocal = !wanted.Filter.StartsWith(MqttTopic.SharePrefix, StringComparison.Ordinal), RetainAsPublished = true } };
            codes[i] = Subscribe(session, wanted, id, replay);
        }

        // SUBACK comes before the retained messages.
        Send(connection, MqttEncoder.SubAck(MqttPacketType.SubAck, new MqttSubAck(subscribe.PacketId, codes, MqttProperties.None), connection.Version));
        foreach (var subscription in replay)
            Replay(session, subscription);
    }

    private MqttReasonCode Subscribe(Session session, MqttTopicFilter wanted, uint id, List<Subscription> replay)
    {
        var (share, filter) = MqttTopic.SplitShare(wanted.Filter);
        if (HasTooManyLevels(filter))
            return MqttReasonCode.TopicFilterInvalid;
        if (!_acl.AllowsFilter(session.UserName, session.ClientId, filter))
            return _options.HideDenials ? MqttReasonCode.UnspecifiedError : MqttReasonCode.NotAuthorized;
        var all = session.Subscriptions ??= new Dictionary<string, Subscription>(1, StringComparer.Ordinal);
        var isNew = !all.Remove(wanted.Filter, out var before);
        if (isNew && all.Count >= _options.SubscriptionsPerSessionMax)
            return MqttReasonCode.QuotaExceeded;
        if (before is not null)
            _tree.Remove(before);
        var subscription = new Subscription(session, filter, share, wanted.Options, id);
        all.Add(wanted.Filter, subscription);
        _tree.Add(subscription);
        if (_hasStore && session.IsPersistent)
            Change(new SubscriptionPut(session.ClientId, wanted.Filter, wanted.Options.ToByte(), id));
        // 3.8.3.1; a shared subscription gets none (4.8.2).
        if (share.Length == 0 && (wanted.Options.RetainHandling == 0 || (wanted.Options.RetainHandling == 1 && isNew)))
            replay.Add(subscription);
        return (MqttReasonCode)wanted.Options.Qos;
    }

    private void Replay(Session session, Subscription subscription)
    {
        _collected.Clear();
        _retained.Collect(subscription.Filter, _collected);
        uint[]? ids = subscription.Id == 0 ? null : [subscription.Id];
        foreach (var message in _collected)
        {
            if (message.ExpiresAtMs <= NowMs)
            {
                Forget(message);
                continue;
            }

            if (!session.MayRead(message.Topic) || session.Connection is not { } connection)
                continue;
            var qos = message.Qos < subscription.Options.Qos ? message.Qos : subscription.Options.Qos;
            if (qos != MqttQos.AtMostOnce)
            {
                EnqueueRetained(session, message, qos, ids);
                continue;
            }

            if (connection.Out.Bytes > _options.OutgoingBytesMax)
            {
                Counters.DroppedSlow++;
                continue;
            }

            uint? expiry = message.ExpiresAtMs == long.MaxValue ? null : (uint)((message.ExpiresAtMs - NowMs + 999) / 1000);
            if (!WritePublish(connection, message.TopicBytes, message.Payload, message.Payload, message.Forwarded, MqttQos.AtMostOnce, 0, true, false, expiry, ids))
                Counters.DroppedTooLarge++;
        }
    }

    private void Forget(StoredMessage message)
    {
        Counters.Expired++;
        _retained.Set(message.Topic, null);
        if (_hasStore)
            Change(new RetainedGone(message.Topic), isPromise: false);
    }

    private void ReceiveUnsubscribe(Connection connection, MqttUnsubscribe unsubscribe)
    {
        var session = connection.Session!;
        var codes = new MqttReasonCode[unsubscribe.Filters.Count];
        for (var i = 0; i < codes.Length; i++)
        {
            Subscription? subscription = null;
            if (session.Subscriptions?.Remove(unsubscribe.Filters[i], out subscription) is not true)
            {
                codes[i] = MqttReasonCode.NoSubscriptionExisted;
                continue;
            }

            _tree.Remove(subscription!);
            if (_hasStore && session.IsPersistent)
                Change(new SubscriptionGone(session.ClientId, unsubscribe.Filters[i]));
        }

        Send(connection, MqttEncoder.SubAck(MqttPacketType.UnsubAck, new MqttSubAck(unsubscribe.PacketId, codes, MqttProperties.None), connection.Version));
    }

    // The names that other brokers use, so that dashboards find them.
    private void PublishSys()
    {
        if (_options.SysPeriod <= TimeSpan.Zero || NowMs < _nextSys)
            return;
        _nextSys = NowMs + (long)_options.SysPeriod.TotalMilliseconds;
        Sys("version", "Edge");
        Sys("uptime", $"{(NowMs - _started) / 1000} seconds");
        Sys("clients/connected", ConnectedCount);
        Sys("clients/disconnected", _sessions.Count - ConnectedCount);
        Sys("clients/total", _sessions.Count);
        Sys("subscriptions/count", _tree.Count);
        Sys("retained messages/count", _retained.Count);
        Sys("messages/received", Counters.Received);
        Sys("messages/sent", Counters.Sent);
        Sys("publish/messages/received", Counters.PublishesReceived);
        Sys("publish/messages/sent", Counters.PublishesSent);
        Sys("publish/messages/dropped", Counters.Dropped);
        Sys("bytes/received", Counters.BytesReceived);
        Sys("bytes/sent", Counters.BytesSent);
    }

    private void Sys(string name, long value) => Sys(name, value.ToString(CultureInfo.InvariantCulture));

    private void Sys(string name, string value) => PublishFrom(null, new MqttMessage($"$SYS/broker/{name}", Encoding.UTF8.GetBytes(value), MqttQos.AtMostOnce, Retain: true));
}
