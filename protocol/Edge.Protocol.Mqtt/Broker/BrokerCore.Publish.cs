using System.Text;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A message on its way through the broker, in the bytes it came in; it is copied once, when somebody has to keep it.</summary>
internal ref struct InMessage
{
    public RouteList Routes;
    public ReadOnlySpan<byte> Payload;
    public ReadOnlySpan<byte> Forwarded;
    public MqttQos Qos;
    public bool Retain;
    public uint? ExpirySeconds;
    public StoredMessage? Stored;

    /// <summary>The acknowledgement that waits for takers; null where there is none to send.</summary>
    public HeldPublish? Held;

    public StoredMessage Keep(long now)
        => Stored ??= new StoredMessage(
            Routes.TopicBytes, Routes.Topic, Payload.ToArray(), Forwarded.ToArray(), Qos, Retain, ExpirySeconds is { } seconds ? now + (seconds * 1000L) : long.MaxValue);
}

// PUBLISH in, routing, PUBLISH out at QoS 0.
internal sealed partial class BrokerCore
{
    // One PUBLISH as encoded for the subscribers of one version and retain flag, until the next message.
    private readonly EncodedPublish[] _encoded = [new(), new(), new(), new()];
    private long _publishSerial;

    /// <summary>A message of this process. It may use <c>$SYS/</c>, and no rule stops it.</summary>
    /// <returns>How many subscribers there were.</returns>
    public int Publish(MqttMessage message)
    {
        BeginStep();
        var count = PublishFrom(null, message);
        EndStep();
        return count;
    }

    private int PublishFrom(Session? from, MqttMessage message)
    {
        var forwarded = new MqttWriter();
        MqttPropertyCodec.WriteBody(
            forwarded, message.Properties with { MessageExpiryInterval = null, TopicAlias = null, SubscriptionIdentifiers = [], WillDelayInterval = null });
        var incoming = new InMessage
        {
            Routes = _tree.RoutesOf(Encoding.UTF8.GetBytes(message.Topic)),
            Payload = message.Payload.Span,
            Forwarded = forwarded.Written,
            Qos = message.Qos,
            Retain = message.Retain,
            ExpirySeconds = message.Properties.MessageExpiryInterval,
        };
        if (message.Retain)
            SetRetained(ref incoming);
        return Route(ref incoming, from);
    }

    private void ReceivePublish(Connection connection, byte first, ReadOnlySpan<byte> body)
    {
        var publish = MqttPublishView.Read(first, body, connection.Version, fromClient: true);
        Counters.PublishesReceived++;
        var session = connection.Session!;
        // Before anything may return: a message that came before sets its alias on this connection, too.
        var topic = publish.TopicAlias == 0 ? publish.Topic : Resolve(connection, publish);
        if (publish.Qos == MqttQos.ExactlyOnce && IsKnown(connection, session, publish.PacketId))
            return;

        var routes = connection.LastRoutes;
        if (routes is null || routes.Version != _tree.Version || !topic.SequenceEqual(routes.TopicBytes))
        {
            if (topic.Count((byte)'/') >= _options.TopicLevelsMax)
            {
                Refuse(connection, publish, MqttReasonCode.TopicNameInvalid, $"the topic has over {_options.TopicLevelsMax} levels");
                return;
            }

            routes = _tree.RoutesOf(topic);
            connection.LastRoutes = routes;
            connection.LastMayWrite = MayWrite(session.UserName, session.ClientId, routes.Topic);
        }

        if (!connection.LastMayWrite)
        {
            Refuse(connection, publish, MqttReasonCode.NotAuthorized, $"not allowed to publish '{routes.Topic}'");
            return;
        }

        var message = new InMessage
        {
            Routes = routes,
            Payload = publish.Payload,
            Forwarded = publish.HasOwn ? publish.CopyForwarded() : publish.Properties,
            Qos = publish.Qos,
            Retain = publish.Retain,
            ExpirySeconds = publish.ExpirySeconds,
        };
        if (routes.HasTakers && publish.Qos != MqttQos.AtMostOnce)
        {
            message.Held = new HeldPublish(session, publish.PacketId, publish.Qos, connection.Version == MqttVersion.V5);
            if (!HaveRoom(routes))
            {
                (message.Held.Code, message.Held.Reason) = (MqttReasonCode.QuotaExceeded, "too many messages wait to be kept");
                Queue(connection, message.Held);
                SendHeld(connection);
                return;
            }
        }

        // One that cannot be retained still goes to those who are subscribed now.
        var isRetained = !publish.Retain || SetRetained(ref message);
        var count = Route(ref message, session);
        if (message.Held is { Open: > 0 } held)
            Hold(connection, held);
        else if (!isRetained)
            Reply(connection, publish, MqttReasonCode.QuotaExceeded, $"not retained: {_options.RetainedMax} messages are already ({nameof(MqttBrokerOptions.RetainedMax)}); {count} subscribers have it");
        else
            Reply(connection, publish, count == 0 ? MqttReasonCode.NoMatchingSubscribers : MqttReasonCode.Success, null);
    }

    // A QoS 2 message that came before: the client did not hear it (4.3.3).
    private bool IsKnown(Connection connection, Session session, ushort packetId)
    {
        if (session.Incoming?.Contains(packetId) is true)
        {
            SendAck(connection, MqttPacketType.PubRec, packetId);
            return true;
        }

        if (session.HeldIncoming?.TryGetValue(packetId, out var held) is true)
        {
            if (!ReferenceEquals(held!.Connection, connection))
                Queue(connection, held);
            return true;
        }

        // Those of an earlier connection do not count: the quota begins anew with each (4.9).
        var most = OpenMax(connection);
        if (connection.IncomingOpen >= most)
            throw new MqttProtocolException(MqttReasonCode.ReceiveMaximumExceeded, $"PUBLISH: over {most} QoS 2 messages are not released [MQTT-3.3.4-7]");
        connection.IncomingOpen++;
        return false;
    }

    // Versions 3.1 and 3.1.1 know no receive maximum, and so cannot break it; they end with the packet identifiers.
    private int OpenMax(Connection connection) => connection.Version == MqttVersion.V5 ? _options.ReceiveMaximum : ushort.MaxValue;

    private void Refuse(Connection connection, in MqttPublishView publish, MqttReasonCode code, string reason)
    {
        if (publish.Qos == MqttQos.AtMostOnce)
            Counters.DroppedRefused++; // nobody is told
        else
            Reply(connection, publish, code, reason);
    }

    // PUBACK or PUBREC. Version 3.1.1 has no way to say no, and hears yes (3.3.5 of 3.1.1).
    private void Reply(Connection connection, in MqttPublishView publish, MqttReasonCode code, string? reason)
    {
        if (publish.Qos == MqttQos.AtMostOnce)
            return;
        var isRefusal = (byte)code >= 0x80;
        if (publish.Qos == MqttQos.ExactlyOnce && (!isRefusal || connection.Version == MqttVersion.V311))
            KeepIncoming(connection.Session!, publish.PacketId);
        if (connection.Held is { Count: > 0 })
            Queue(connection, new HeldPublish(connection.Session!, publish.PacketId, publish.Qos, true) { Code = connection.Version == MqttVersion.V5 ? code : MqttReasonCode.Success, Reason = reason });
        else
            Answer(connection, publish.Qos, publish.PacketId, code, reason);
    }

    private ReadOnlySpan<byte> Resolve(Connection connection, in MqttPublishView publish)
    {
        if (publish.TopicAlias > _options.TopicAliasMaximum)
            throw new MqttProtocolException(MqttReasonCode.TopicAliasInvalid, $"PUBLISH: topic alias {publish.TopicAlias}; CONNACK said at most {_options.TopicAliasMaximum} [MQTT-3.3.2-9]");
        var aliases = connection.AliasIn ??= new byte[]?[_options.TopicAliasMaximum];
        ref var known = ref aliases[publish.TopicAlias - 1];
        if (!publish.Topic.IsEmpty)
        {
            if (known is null || !publish.Topic.SequenceEqual(known))
                known = publish.Topic.ToArray();
            return publish.Topic;
        }

        return known ?? throw new MqttProtocolException(MqttReasonCode.TopicAliasInvalid, $"PUBLISH: topic alias {publish.TopicAlias} was not set on this connection [MQTT-3.3.2-7]");
    }

    private int Route(ref InMessage message, Session? from)
    {
        _publishSerial++;
        var count = 0;
        foreach (ref readonly var route in message.Routes.Routes.AsSpan())
        {
            if (route.Audience != Audience.All && (route.Audience == Audience.Self) != ReferenceEquals(route.Owner, from))
                continue;
            count++;
            Deliver(ref message, route);
        }

        foreach (var group in message.Routes.Groups)
        {
            if (Choose(group, message.Routes.Topic) is not { } chosen)
                continue;
            count++;
            Deliver(ref message, new Route(chosen.Owner, chosen.Options.Qos, chosen.Options.RetainAsPublished, Audience.All, chosen.Id == 0 ? null : [chosen.Id]));
        }

        return count;
    }

    // In turn; members that are connected and keep up come first, those that are away only when there is nobody else.
    private Subscription? Choose(SharedGroup group, string topic)
    {
        Subscription? second = null;
        for (var i = 0; i < group.Members.Count; i++)
        {
            var at = (group.Next + i) % group.Members.Count;
            var member = group.Members[at];
            if (!member.Owner.MayRead(topic))
                continue;
            if (member.Owner is not Session session || (session.Connection is { } connection && connection.Out.Bytes <= _options.OutgoingBytesMax && !session.HasWaiting))
            {
                group.Next = (at + 1) % group.Members.Count;
                return member;
            }

            if (second is null || (second.Owner is Session { Connection: null } && session.Connection is not null))
                second = member;
        }

        group.Next = (group.Next + 1) % group.Members.Count;
        return second;
    }

    private void Deliver(ref InMessage message, in Route route)
    {
        var qos = message.Qos < route.Qos ? message.Qos : route.Qos;
        var retain = message.Retain && route.RetainAsPublished;
        if (route.Owner is Session session)
        {
            if (qos == MqttQos.AtMostOnce)
            {
                if (session.Connection is { } connection)
                    SendNow(connection, ref message, retain, route.Ids);
            }
            else
            {
                Enqueue(session, message.Keep(NowMs), qos, retain, route.Ids);
            }
        }
        else if (!((LocalSubscriber)route.Owner).Offer(message.Keep(NowMs), qos, retain, message.Held))
        {
            Counters.DroppedLocal++;
        }
    }

    private void SendNow(Connection connection, ref InMessage message, bool retain, uint[]? ids)
    {
        if (connection.Out.Bytes > _options.OutgoingBytesMax)
        {
            Counters.DroppedSlow++;
            return;
        }

        var isLarge = message.Payload.Length >= OutQueue.SharedFrom;
        if (connection.AliasOutMax > 0 || ids is not null || isLarge)
        {
            var stored = isLarge ? message.Keep(NowMs) : null;
            if (!WritePublish(connection, message.Routes.TopicBytes, message.Payload, stored?.Payload, message.Forwarded, MqttQos.AtMostOnce, 0, retain, false, message.ExpirySeconds, ids))
                Counters.DroppedTooLarge++;
            return;
        }

        var encoded = _encoded[(connection.Version == MqttVersion.V5 ? 2 : 0) + (retain ? 1 : 0)];
        if (encoded.Serial != _publishSerial)
        {
            encoded.Fill(
                new MqttPublishOut
                {
                    Version = connection.Version,
                    Topic = message.Routes.TopicBytes,
                    Payload = message.Payload,
                    Forwarded = message.Forwarded,
                    Retain = retain,
                    ExpirySeconds = message.ExpirySeconds,
                },
                _publishSerial);
        }

        var bytes = encoded.Bytes;
        if ((uint)bytes.Length > connection.PacketSizeMax)
        {
            Counters.DroppedTooLarge++;
            return;
        }

        connection.Out.Append(bytes);
        Counters.Sent++;
        Counters.PublishesSent++;
        MarkDirty(connection);
    }

    /// <returns>False: the client takes no packet of this size, and nothing was written.</returns>
    private bool WritePublish(
        Connection connection, byte[] topic, ReadOnlySpan<byte> payload, byte[]? shared, ReadOnlySpan<byte> forwarded, MqttQos qos, ushort packetId, bool retain, bool duplicate,
        uint? expirySeconds, uint[]? ids)
    {
        var publish = new MqttPublishOut
        {
            Version = connection.Version,
            Topic = topic,
            Payload = payload,
            Forwarded = forwarded,
            SubscriptionIds = ids,
            PacketId = packetId,
            Qos = qos,
            Retain = retain,
            Duplicate = duplicate,
            ExpirySeconds = expirySeconds,
        };
        var isNewAlias = false;
        if (connection.AliasOutMax > 0)
        {
            if (connection.AliasOut is not null && connection.AliasOut.TryGetValue(topic, out var alias))
            {
                publish.TopicAlias = alias;
                publish.Topic = default;
            }
            else if ((connection.AliasOut?.Count ?? 0) < connection.AliasOutMax)
            {
                publish.TopicAlias = (ushort)((connection.AliasOut?.Count ?? 0) + 1);
                isNewAlias = true;
            }
        }

        var size = MqttPublishWriter.Measure(publish, out var bodyLength, out var propertiesLength);
        if ((uint)size > connection.PacketSizeMax)
            return false;
        if (isNewAlias)
            (connection.AliasOut ??= new Dictionary<byte[], ushort>(BytesComparer.Instance)).Add(topic, publish.TopicAlias);
        var byReference = shared is not null && payload.Length >= OutQueue.SharedFrom;
        var target = connection.Out.Reserve(byReference ? size - payload.Length : size);
        var head = MqttPublishWriter.WriteHead(publish, bodyLength, propertiesLength, target);
        if (!byReference)
            payload.CopyTo(target[head..]);
        connection.Out.Commit(target.Length);
        if (byReference)
            connection.Out.AppendShared(shared!);
        Counters.Sent++;
        Counters.PublishesSent++;
        MarkDirty(connection);
        return true;
    }

    /// <returns>False: there are too many already.</returns>
    private bool SetRetained(ref InMessage message)
    {
        var topic = message.Routes.Topic;
        if (message.Payload.IsEmpty)
        {
            // An empty payload removes it (3.3.1.3).
            if (_retained.Set(topic, null) is not null && _hasStore)
                Change(new RetainedGone(topic), isPromise: message.Qos != MqttQos.AtMostOnce);
            return true;
        }

        if (_retained.Count >= _options.RetainedMax && _retained.Get(topic) is null)
        {
            if (!topic.StartsWith("$SYS/", StringComparison.Ordinal))
                Counters.DroppedRetained++;
            return false;
        }

        var stored = message.Keep(NowMs);
        _retained.Set(topic, stored);
        if (_hasStore && !topic.StartsWith("$SYS/", StringComparison.Ordinal))
            Change(new RetainedPut(stored, WallOf(stored.ExpiresAtMs)), isPromise: message.Qos != MqttQos.AtMostOnce);
        return true;
    }

    private long WallOf(long coreMs) => coreMs == long.MaxValue ? long.MaxValue : coreMs + WallOffsetMs;

    private sealed class EncodedPublish
    {
        private byte[] _buffer = new byte[256];
        private int _length;

        public long Serial { get; private set; }

        public ReadOnlySpan<byte> Bytes => _buffer.AsSpan(0, _length);

        public void Fill(in MqttPublishOut publish, long serial)
        {
            _length = MqttPublishWriter.Measure(publish, out var body, out var properties);
            if (_buffer.Length < _length)
                _buffer = new byte[_length * 2];
            var head = MqttPublishWriter.WriteHead(publish, body, properties, _buffer);
            publish.Payload.CopyTo(_buffer.AsSpan(head));
            Serial = serial;
        }
    }
}
