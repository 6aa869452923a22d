using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A QoS 1 or 2 PUBLISH whose acknowledgement waits until takers of this process have kept it; null takers: only for its turn.</summary>
internal sealed class HeldPublish(Session session, ushort packetId, MqttQos qos, bool canRefuse)
{
    public Session Session { get; } = session;

    public ushort PacketId { get; } = packetId;

    public MqttQos Qos { get; } = qos;

    /// <summary>The publisher's version has a way to hear no.</summary>
    public bool CanRefuse { get; } = canRefuse;

    /// <summary>Where the answer goes; another one when the client came back meanwhile.</summary>
    public Connection? Connection { get; set; }

    /// <summary>Takers that have not answered.</summary>
    public int Open { get; set; }

    public MqttReasonCode Code { get; set; }

    public string? Reason { get; set; }

    public bool IsRefused => (byte)Code >= 0x80;
}

// Acknowledgements that wait for what keeps the message. They leave in the order of their PUBLISH packets [MQTT-4.6.0-2], [MQTT-4.6.0-3]: what came behind one that waits, waits too.
internal sealed partial class BrokerCore
{
    /// <summary>PUBLISH packets that wait for takers.</summary>
    public int HeldCount { get; private set; }

    /// <summary>A taker has answered.</summary>
    /// <param name="code">0x80 and more: it was not kept. The client hears it, or loses its connection where its version has no word for no, so that it sends again.</param>
    public void Taken(HeldPublish held, MqttReasonCode code, string? reason)
    {
        BeginStep();
        if ((byte)code >= 0x80 && !held.IsRefused)
            (held.Code, held.Reason) = (code, reason);
        if (--held.Open == 0)
        {
            HeldCount--;
            if (held.Qos == MqttQos.ExactlyOnce)
                Settle(held);
            if (held.Connection is { IsClosing: false } connection)
                SendHeld(connection);
        }

        EndStep();
    }

    // From now on its identifier is known, or free for another try.
    private void Settle(HeldPublish held)
    {
        var session = held.Session;
        session.HeldIncoming?.Remove(held.PacketId);
        if (!held.IsRefused && !session.IsGone)
            KeepIncoming(session, held.PacketId);
    }

    private void KeepIncoming(Session session, ushort packetId)
    {
        (session.Incoming ??= []).Add(packetId);
        if (_hasStore && session.IsPersistent)
            Change(new IncomingPut(session.ClientId, packetId));
    }

    private void Hold(Connection connection, HeldPublish held)
    {
        HeldCount++;
        if (held.Qos == MqttQos.ExactlyOnce)
            (held.Session.HeldIncoming ??= [])[held.PacketId] = held;
        Queue(connection, held);
    }

    private void Queue(Connection connection, HeldPublish held)
    {
        var most = OpenMax(connection);
        if (connection.Held?.Count >= most)
            throw new MqttProtocolException(MqttReasonCode.ReceiveMaximumExceeded, $"PUBLISH: over {most} messages are not acknowledged [MQTT-3.3.4-7]");
        held.Connection = connection;
        (connection.Held ??= new Queue<HeldPublish>()).Enqueue(held);
    }

    private void SendHeld(Connection connection)
    {
        while (connection.Held is { Count: > 0 } waiting && waiting.Peek() is { Open: 0 } held)
        {
            waiting.Dequeue();
            if (held.IsRefused && connection.Version != MqttVersion.V5)
            {
                Counters.PublishesRefused++;
                End(connection, held.Code, $"a message could not be kept and version 3.1.1 has no way to say so: {held.Reason ?? held.Code.ToString()}", keepWill: true);
                return;
            }

            Answer(connection, held.Qos, held.PacketId, held.Code, held.Reason);
        }

        if (connection.Held is { Count: 0 })
            connection.Held = null;
    }

    private void Answer(Connection connection, MqttQos qos, ushort packetId, MqttReasonCode code, string? reason)
    {
        if ((byte)code >= 0x80)
        {
            Counters.PublishesRefused++;
            // Its exchange ends here.
            if (qos == MqttQos.ExactlyOnce && connection.Version == MqttVersion.V5 && connection.IncomingOpen > 0)
                connection.IncomingOpen--;
        }

        SendAck(connection, qos == MqttQos.AtLeastOnce ? MqttPacketType.PubAck : MqttPacketType.PubRec, packetId, code, reason);
    }

    // Whether all takers of a topic have room; one that has none is asked before anybody gets the message.
    private static bool HaveRoom(RouteList routes)
    {
        foreach (var route in routes.Routes)
        {
            if (route.Owner is LocalSubscriber { IsTaker: true, HasRoom: false })
                return false;
        }

        return true;
    }
}
