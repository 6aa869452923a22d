using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// QoS 1 and 2 out: the session's queue, the window, the acknowledgements.
internal sealed partial class BrokerCore
{
    private void Enqueue(Session session, StoredMessage message, MqttQos qos, bool retain, uint[]? ids)
    {
        // A session that ends with its connection and has lost it is gone; so there is always somebody to deliver to.
        var delivery = new Delivery(message, qos, retain, ids, ++_sequence);
        var pending = session.Pending ??= new Queue<Delivery>();
        while (pending.Count > 0 && (pending.Count >= _options.QueuedMessagesMax || session.PendingBytes + message.Size > _options.QueuedBytesMax))
        {
            Counters.DroppedQueueFull++;
            Drop(session, Dequeue(session));
        }

        pending.Enqueue(delivery);
        session.PendingBytes += message.Size;
        if (_hasStore && session.IsPersistent)
            StoreDelivery(session, delivery);
        Pump(session);
    }

    private static Delivery Dequeue(Session session)
    {
        var delivery = session.Pending!.Dequeue();
        session.PendingBytes -= delivery.Message.Size;
        return delivery;
    }

    // Sends what the window and the socket take.
    private void Pump(Session session)
    {
        if (session.Connection is not { } connection || session.Pending is null)
            return;
        while (session.Pending.Count > 0 && session.Open < connection.Window && connection.Out.Bytes <= _options.OutgoingBytesMax)
        {
            var delivery = Dequeue(session);
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
            // At QoS 2 the identifier must be the same after a restart; at QoS 1 a new one does no harm.
            if (delivery.IsStored && delivery.Qos == MqttQos.ExactlyOnce && !isAgain)
                PutDelivery(session, delivery);
        }

        if (session.Pending.Count == 0)
            session.Pending = null;
    }

    private void ReceiveAck(Connection connection, MqttPacketType type, MqttAck ack)
    {
        var session = connection.Session!;
        if (type == MqttPacketType.PubRel)
        {
            var known = session.Incoming?.Remove(ack.PacketId) ?? false;
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
