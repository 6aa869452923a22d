using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Client;

/// <summary>A message on its way to the server. The task ends when it is there: sent at QoS 0, acknowledged at 1 and 2.</summary>
internal sealed class OutMessage(MqttMessage message, byte[] topic, byte[] forwarded)
{
    public MqttMessage Message { get; } = message;

    public byte[] Topic { get; } = topic;

    public byte[] Forwarded { get; } = forwarded;

    public TaskCompletionSource<MqttReasonCode> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ushort PacketId { get; set; }

    public DeliveryState State { get; set; }

    /// <summary>The order in which messages were first sent.</summary>
    public long Sequence { get; set; }

    /// <summary>It may have reached the server on an earlier connection of the same session.</summary>
    public bool IsAgain { get; set; }
}

/// <summary>The client's half of a session (pure): what waits, what is in flight, what came at QoS 2. The caller serializes.</summary>
internal sealed class ClientSession(MqttClientOptions options)
{
    private const int OutBytesMax = 256 * 1024;

    private readonly LinkedList<OutMessage> _waiting = []; // never sent
    private readonly Queue<OutMessage> _again = []; // in flight since an earlier connection, not sent again on this one
    private readonly Dictionary<ushort, OutMessage> _inFlight = [];
    private readonly HashSet<ushort> _incoming = [];
    private readonly Dictionary<ushort, Action<MqttSubAck?>> _requests = [];
    private readonly Dictionary<byte[], ushort> _aliasOut = new(BytesComparer.Instance);
    private readonly List<OutMessage> _dropped = [];
    private int _open;
    private int _openIncoming;
    private ushort _lastId;
    private long _sequence;
    private bool _isConnected;
    private MqttConnAck _server = new(false, MqttReasonCode.Success, MqttProperties.None);
    private string?[] _aliasIn = [];

    /// <summary>Bytes for the socket.</summary>
    public OutQueue Out { get; } = new();

    /// <summary>Messages that are not sent.</summary>
    public int Waiting => _waiting.Count;

    /// <summary>Messages that were sent and are not acknowledged.</summary>
    public int InFlight => _inFlight.Count;

    /// <summary>Messages dropped because the queue was full.</summary>
    public long DroppedCount { get; private set; }

    /// <summary>CONNACK said yes. What is in flight goes out again, in its order; without a session at the server as new messages, so that none is lost.</summary>
    public void Connected(MqttConnAck ack)
    {
        _server = ack;
        _isConnected = true;
        _open = 0;
        _openIncoming = 0;
        _aliasOut.Clear();
        _aliasIn = new string?[options.TopicAliasMaximum];
        if (!ack.SessionPresent)
            _incoming.Clear();
        foreach (var message in _inFlight.Values.OrderBy(one => one.Sequence).ToArray())
        {
            if (message.State == DeliveryState.Released)
            {
                if (!ack.SessionPresent)
                {
                    // The server had it; only the end of the exchange is lost.
                    _inFlight.Remove(message.PacketId);
                    message.Done.TrySetResult(MqttReasonCode.Success);
                    continue;
                }

                _open++;
                SendAck(MqttPacketType.PubRel, message.PacketId);
                continue;
            }

            message.IsAgain = ack.SessionPresent;
            message.State = DeliveryState.Waiting;
            _again.Enqueue(message);
        }

        Pump();
    }

    /// <summary>The connection is gone; calls that wait for an answer on it fail.</summary>
    public void Disconnected()
    {
        _isConnected = false;
        _again.Clear(); // they are in flight still: the next connection begins with all of them
        Out.Clear();
        foreach (var request in _requests.Values.ToArray())
            request(null);
        _requests.Clear();
    }

    /// <exception cref="MqttClientException">The queue is full, or the server does not take such a message.</exception>
    public void Publish(OutMessage message)
    {
        if (_isConnected)
            Check(message);
        if (_waiting.Count >= options.QueueMax)
        {
            DroppedCount++;
            var oldest = options.QueueFull == MqttQueueFullRule.RefuseNew ? null : _waiting.First;
            if (oldest is null)
                throw new MqttClientException($"{_waiting.Count} messages wait already ({nameof(MqttClientOptions.QueueMax)})", MqttReasonCode.QuotaExceeded);
            _waiting.Remove(oldest);
            oldest.Value.Done.TrySetException(new MqttClientException($"dropped: {options.QueueMax} newer messages wait ({nameof(MqttClientOptions.QueueMax)})", MqttReasonCode.QuotaExceeded));
        }

        _waiting.AddLast(message);
        Pump();
    }

    /// <summary>Sends what the window and the socket take.</summary>
    public void Pump()
    {
        var window = Math.Min(options.InFlightMax, _server.Properties.ReceiveMaximum ?? ushort.MaxValue);
        while (_isConnected && (_again.Count > 0 ? _again.Peek() : _waiting.First?.Value) is { } message && Out.Bytes <= OutBytesMax)
        {
            var qos = message.Message.Qos;
            if (qos != MqttQos.AtMostOnce && _open >= window)
                return;
            if (!_again.TryDequeue(out _))
                _waiting.RemoveFirst();
            try
            {
                Check(message);
            }
            catch (MqttClientException e)
            {
                _inFlight.Remove(message.PacketId);
                message.Done.TrySetException(e);
                continue;
            }

            if (qos != MqttQos.AtMostOnce && message.PacketId == 0)
            {
                message.PacketId = NextId();
                message.Sequence = ++_sequence;
                _inFlight.Add(message.PacketId, message);
            }

            Write(message);
            if (qos == MqttQos.AtMostOnce)
            {
                message.Done.TrySetResult(MqttReasonCode.Success);
                continue;
            }

            message.State = DeliveryState.Published;
            _open++;
        }
    }

    /// <summary>SUBSCRIBE or UNSUBSCRIBE; <paramref name="done"/> gets the answer, or null when the connection ended first.</summary>
    public void Request(Func<ushort, byte[]> encode, Action<MqttSubAck?> done)
    {
        var id = NextId();
        _requests.Add(id, done);
        Out.Append(encode(id));
    }

    public void Answered(MqttSubAck ack)
    {
        if (_requests.Remove(ack.PacketId, out var done))
            done(ack);
    }

    public void SendAck(MqttPacketType type, ushort id)
    {
        var length = MqttEncoder.ShortAck(Out.Reserve(5), type, id, MqttReasonCode.Success, options.Version);
        Out.Commit(length);
    }

    /// <returns>False: this QoS 2 message was given to the application before.</returns>
    /// <exception cref="MqttProtocolException">The server has more of them open on this connection than CONNECT allowed. At QoS 1 one is open at a time: its handler ends before the next is read.</exception>
    public bool IsNew(ushort packetId)
    {
        if (_incoming.Contains(packetId))
            return false;
        if (options.Version == MqttVersion.V5 && _openIncoming >= options.ReceiveMaximum)
            throw new MqttProtocolException(MqttReasonCode.ReceiveMaximumExceeded, $"PUBLISH: over {options.ReceiveMaximum} QoS 2 messages are not released [MQTT-3.3.4-9]");
        return true;
    }

    public void Received(ushort packetId)
    {
        _openIncoming++;
        _incoming.Add(packetId);
    }

    public void Acknowledged(MqttPacketType type, MqttAck ack)
    {
        if (type == MqttPacketType.PubRel)
        {
            // One of an earlier connection is not of this one's count (4.9).
            if (_incoming.Remove(ack.PacketId) && _openIncoming > 0)
                _openIncoming--;
            SendAck(MqttPacketType.PubComp, ack.PacketId);
            return;
        }

        var expected = type == MqttPacketType.PubComp ? DeliveryState.Released : DeliveryState.Published;
        if (!_inFlight.TryGetValue(ack.PacketId, out var message) || message.State != expected || (type == MqttPacketType.PubAck) != (message.Message.Qos == MqttQos.AtLeastOnce))
        {
            if (type == MqttPacketType.PubRec && (byte)ack.Code < 0x80)
                SendAck(MqttPacketType.PubRel, ack.PacketId);
            return;
        }

        if (type == MqttPacketType.PubRec && (byte)ack.Code < 0x80)
        {
            message.State = DeliveryState.Released;
            SendAck(MqttPacketType.PubRel, ack.PacketId);
            return;
        }

        _inFlight.Remove(ack.PacketId);
        _open--;
        if ((byte)ack.Code >= 0x80 && type != MqttPacketType.PubComp)
            message.Done.TrySetException(new MqttClientException($"the server refused a message for '{message.Message.Topic}': {ack.Properties?.ReasonString ?? ack.Code.ToString()}", ack.Code));
        else
            message.Done.TrySetResult(ack.Code);
        Pump();
    }

    /// <summary>The topic of a received PUBLISH, by its alias where it has one.</summary>
    public string TopicOf(in MqttPublishView publish)
    {
        if (publish.TopicAlias == 0)
            return System.Text.Encoding.UTF8.GetString(publish.Topic);
        if (publish.TopicAlias > _aliasIn.Length)
            throw new MqttProtocolException(MqttReasonCode.TopicAliasInvalid, $"PUBLISH: topic alias {publish.TopicAlias}; CONNECT said at most {_aliasIn.Length} [MQTT-3.3.2-10]");
        ref var known = ref _aliasIn[publish.TopicAlias - 1];
        if (!publish.Topic.IsEmpty)
            known = System.Text.Encoding.UTF8.GetString(publish.Topic);
        return known ?? throw new MqttProtocolException(MqttReasonCode.TopicAliasInvalid, $"PUBLISH: topic alias {publish.TopicAlias} was not set on this connection [MQTT-3.3.2-7]");
    }

    /// <summary>The client ends: every call that waits fails.</summary>
    public void FailAll(MqttClientException error)
    {
        Disconnected();
        _dropped.AddRange(_waiting);
        _dropped.AddRange(_inFlight.Values);
        foreach (var message in _dropped)
            message.Done.TrySetException(error);
        _waiting.Clear();
        _inFlight.Clear();
    }

    private ushort NextId()
    {
        do
        {
            _lastId++;
        }
        while (_lastId == 0 || _inFlight.ContainsKey(_lastId) || _requests.ContainsKey(_lastId));
        return _lastId;
    }

    private void Check(OutMessage message)
    {
        var properties = _server.Properties;
        if (properties.MaximumQos is { } most && (byte)message.Message.Qos > most)
            throw new MqttClientException($"the server takes QoS {most} at most", MqttReasonCode.QosNotSupported);
        if (properties.RetainAvailable == 0 && message.Message.Retain)
            throw new MqttClientException("the server keeps no retained messages", MqttReasonCode.RetainNotSupported);
        var size = MqttPublishWriter.Measure(Encode(message, 0), out _, out _);
        if (properties.MaximumPacketSize is { } largest && (uint)size > largest)
            throw new MqttClientException($"the message for '{message.Message.Topic}' takes a packet of {size} bytes; the server takes {largest}", MqttReasonCode.PacketTooLarge);
    }

    private MqttPublishOut Encode(OutMessage message, ushort alias) => new()
    {
        Version = options.Version,
        Topic = message.Topic,
        Payload = message.Message.Payload.Span,
        Forwarded = message.Forwarded,
        Qos = message.Message.Qos,
        Retain = message.Message.Retain,
        Duplicate = message.IsAgain,
        PacketId = message.PacketId,
        ExpirySeconds = message.Message.Properties.MessageExpiryInterval,
        TopicAlias = alias,
    };

    private void Write(OutMessage message)
    {
        ushort alias = 0;
        var isKnown = false;
        if (_server.Properties.TopicAliasMaximum is > 0 and var most)
        {
            isKnown = _aliasOut.TryGetValue(message.Topic, out alias);
            if (!isKnown && _aliasOut.Count < most)
                _aliasOut.Add(message.Topic, alias = (ushort)(_aliasOut.Count + 1));
        }

        var publish = Encode(message, alias);
        if (isKnown)
            publish.Topic = default;
        var size = MqttPublishWriter.Measure(publish, out var body, out var properties);
        var target = Out.Reserve(size);
        var head = MqttPublishWriter.WriteHead(publish, body, properties, target);
        publish.Payload.CopyTo(target[head..]);
        Out.Commit(size);
    }
}
