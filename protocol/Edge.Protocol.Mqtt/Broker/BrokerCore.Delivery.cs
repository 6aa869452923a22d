using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// QoS 1 and 2 out: the session's queue, the window, the acknowledgements.
internal sealed partial class BrokerCore
{
    /// <summary>A connected client that has acknowledged nothing for so long, and whose socket took nothing, does not keep up.</summary>
    internal const long StalledAfterMs = 5_000;

    private void Enqueue(Session session, StoredMessage message, MqttQos qos, bool retain, uint[]? ids)
    {
        // A session that ends with its connection and has lost it is gone; so there is always somebody to deliver to.
        if (session is { Open: 0, HasWaiting: false })
            session.ProgressMs = NowMs;
        var countMax = KeepsUp(session) ? int.MaxValue : _options.QueuedMessagesMax;
        var pending = session.Pending ??= new Queue<Delivery>();
        while (pending.Count > 0 && (pending.Count >= countMax || session.PendingBytes + message.QueuedSize > _options.QueuedBytesMax))
        {
            Counters.DroppedQueueFull++;
            Drop(session, DequeuePending(session));
        }

        var delivery = new Delivery(message, qos, retain, ids, ++_sequence);
        pending.Enqueue(delivery);
        session.PendingBytes += message.QueuedSize;
        if (_hasStore && session.IsPersistent)
            StoreDelivery(session, delivery);
        Pump(session);
    }

    // A retained message for a new subscription. All of them come in one step, which says nothing about the client: they count neither as messages nor as bytes that wait, and hold
    // little memory, since they are the retained store's own. As many as that store may have are the bound, over any number of subscriptions.
    private void EnqueueRetained(Session session, StoredMessage message, MqttQos qos, uint[]? ids)
    {
        var replay = session.Replay ??= new Queue<Delivery>();
        if (replay.Count >= ReplayMax)
        {
            Counters.DroppedQueueFull++;
            return;
        }

        if (session is { Open: 0, HasWaiting: false })
            session.ProgressMs = NowMs;
        var delivery = new Delivery(message, qos, retain: true, ids, ++_sequence);
        replay.Enqueue(delivery);
        if (_hasStore && session.IsPersistent)
            StoreDelivery(session, delivery);
        Pump(session);
    }

    private int ReplayMax => Math.Max(_options.RetainedMax, _options.QueuedMessagesMax);

    // A burst, or many retained messages, makes a queue at a client that is not slow: how many wait is no matter while it goes on taking them.
    private bool KeepsUp(Session session) => session.Connection is not null && NowMs - session.ProgressMs < StalledAfterMs;

    private static Delivery DequeuePending(Session session)
    {
        var delivery = session.Pending!.Dequeue();
        session.PendingBytes -= delivery.Message.QueuedSize;
        return delivery;
    }

    // What was sent before goes first, then the rest in its order.
    private static Delivery Next(Session session)
    {
        if (session.Again is { Count: > 0 } again)
            return again.Dequeue();
        if (session.Replay is { Count: > 0 } replay && (session.Pending is not { Count: > 0 } pending || replay.Peek().Sequence < pending.Peek().Sequence))
            return replay.Dequeue();
        return DequeuePending(session);
    }

    // Sends what the window and the socket take.
    private void Pump(Session session)
    {
        if (session.Connection is not { } connection)
            return;
        while (session.HasWaiting && session.Open < connection.Window && connection.Out.Bytes <= _options.OutgoingBytesMax)
        {
            var delivery = Next(session);
            var message = delivery.Message;
            uint? expiry = null;
            if (message.ExpiresAtMs != long.MaxValue)
            {
                // What was sent once is sent to its end (4.4).
                if (message.ExpiresAtMs <= NowMs && delivery.PacketId == 0)
                {
                    Counters.Expired++;
                    Drop(session, delivery);
                    continue;
                }

                expiry = (uint)Math.Max(1, (message.ExpiresAtMs - NowMs + 999) / 1000);
            }

            var isAgain = delivery.PacketId != 0;
            var id = isAgain ? delivery.PacketId : session.NextPacketId();
            if (!WritePublish(connection, message.TopicBytes, message.Payload, message.Payload, message.Forwarded, delivery.Qos, id, delivery.Retain, isAgain, expiry, delivery.Ids))
            {
                // [MQTT-3.1.2-25]: not sent, and as if it had been.
                Counters.DroppedTooLarge++;
                Drop(session, delivery);
                continue;
            }

            delivery.PacketId = id;
            delivery.State = DeliveryState.Published;
            (session.InFlight ??= [])[id] = delivery;
            session.Open++;
            // At QoS 2 the identifier must be the same after a restart; at QoS 1 that would be a write for each message, and a new one does no harm (docs/mqtt.md says so).
            if (delivery.IsStored && delivery.Qos == MqttQos.ExactlyOnce && !isAgain)
                PutDelivery(session, delivery);
        }

        if (session.Pending is { Count: 0 })
            session.Pending = null;
        if (session.Replay is { Count: 0 })
            session.Replay = null;
        if (session.Again is { Count: 0 })
            session.Again = null;
    }

    private void ReceiveAck(Connection connection, MqttPacketType type, MqttAck ack)
    {
        var session = connection.Session!;
        if (type == MqttPacketType.PubRel)
        {
            var known = session.Incoming?.Remove(ack.PacketId) ?? false;
            if (known && connection.IncomingOpen > 0)
                connection.IncomingOpen--;
            if (known && _hasStore && session.IsPersistent)
                Change(new IncomingGone(session.ClientId, ack.PacketId));
            SendAck(connection, MqttPacketType.PubComp, ack.PacketId, known ? MqttReasonCode.Success : MqttReasonCode.PacketIdentifierNotFound);
            return;
        }

        Delivery? delivery = null;
        var expected = type == MqttPacketType.PubComp ? DeliveryState.Released : DeliveryState.Published;
        if (session.InFlight?.TryGetValue(ack.PacketId, out delivery) is not true || delivery!.State != expected || (type == MqttPacketType.PubAck) != (delivery.Qos == MqttQos.AtLeastOnce))
        {
            // A late answer of an earlier connection, or one too many: PUBREC is answered, so that the client ends its side (4.3.3); the others end nothing here.
            if (type == MqttPacketType.PubRec && (byte)ack.Code < 0x80)
                SendAck(connection, MqttPacketType.PubRel, ack.PacketId, delivery is { State: DeliveryState.Released } ? MqttReasonCode.Success : MqttReasonCode.PacketIdentifierNotFound);
            return;
        }

        session.ProgressMs = NowMs;
        if (type == MqttPacketType.PubRec && (byte)ack.Code < 0x80)
        {
            delivery.State = DeliveryState.Released;
            if (delivery.IsStored)
                PutDelivery(session, delivery);
            SendAck(connection, MqttPacketType.PubRel, ack.PacketId);
            return;
        }

        session.Open--;
        Drop(session, delivery);
        if (session.InFlight is { Count: 0 })
            session.InFlight = null;
        Pump(session);
    }

    // Done with it, whatever its end.
    private void Drop(Session session, Delivery delivery)
    {
        if (delivery.PacketId != 0)
            session.InFlight?.Remove(delivery.PacketId);
        if (!delivery.IsStored)
            return;
        Change(new DeliveryGone(session.ClientId, delivery.Sequence), isPromise: false);
        Release(delivery);
    }

    private void StoreDelivery(Session session, Delivery delivery)
    {
        var message = delivery.Message;
        if (message.StoreUses++ == 0)
        {
            message.StoreId = ++_lastStoreId;
            Change(new MessagePut(message.StoreId, message, WallOf(message.ExpiresAtMs)));
        }

        delivery.IsStored = true;
        PutDelivery(session, delivery);
    }

    private void PutDelivery(Session session, Delivery delivery)
        => Change(new DeliveryPut(session.ClientId, delivery.Sequence, delivery.Message.StoreId, delivery.Qos, delivery.Retain, delivery.Ids, delivery.PacketId, delivery.State));

    private void Release(Delivery delivery)
    {
        if (!delivery.IsStored)
            return;
        delivery.IsStored = false;
        if (--delivery.Message.StoreUses == 0)
            Change(new MessageGone(delivery.Message.StoreId), isPromise: false);
    }
}
