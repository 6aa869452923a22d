using System.Text;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>The rules of the broker, without sockets, tasks, locks or a clock: packets come in, bytes are queued on connections.</summary>
/// <remarks>
/// <para>The caller serializes all calls and sets <see cref="NowMs"/> before each. After them <see cref="Dirty"/> are the connections with something to send or to close, and
/// <see cref="Changes"/> what the store is to write.</para>
/// <para>Nothing leaves before what it promises is on disk: bytes queued by a step that changed the store carry the number of that change in <see cref="Connection.FlushAfter"/>.</para>
/// </remarks>
internal sealed partial class BrokerCore
{
    private readonly MqttBrokerOptions _options;
    private readonly Acl _acl;
    private readonly Random _random;
    private readonly bool _hasStore;
    private readonly TimerWheel _wheel;
    private readonly Action<Timed> _onDue;
    private readonly Dictionary<string, Session> _sessions = new(StringComparer.Ordinal);
    private readonly SubscriptionTree _tree = new();
    private readonly RetainedTree _retained = new();
    private readonly List<StoredMessage> _collected = [];
    private long _step;
    private bool _stepIsDurable;
    private long _sequence;
    private long _lastStoreId;

    /// <param name="nowMs">Of a clock that never goes back.</param>
    /// <param name="wallOffsetMs">What added to it gives milliseconds since 1970.</param>
    public BrokerCore(MqttBrokerOptions options, Random random, bool hasStore, long nowMs, long wallOffsetMs)
    {
        _options = options;
        _acl = new Acl(options.Acl);
        _random = random;
        _hasStore = hasStore;
        NowMs = nowMs;
        WallOffsetMs = wallOffsetMs;
        _started = nowMs;
        _nextSys = nowMs;
        _wheel = new TimerWheel(nowMs);
        _onDue = OnDue;
    }

    public long NowMs { get; set; }

    public long WallOffsetMs { get; set; }

    /// <summary>Connections with something to send, or to close. The caller clears their mark and the list.</summary>
    public List<Connection> Dirty { get; } = [];

    /// <summary>What the store is to write, in order. The caller takes it away.</summary>
    public List<MqttStoreChange> Changes { get; private set; } = [];

    /// <summary>How many changes there ever were.</summary>
    public long ChangeCount { get; private set; }

    public BrokerCounters Counters { get; } = new();

    public int SessionCount => _sessions.Count;

    public int ConnectedCount { get; private set; }

    public int RetainedCount => _retained.Count;

    public int SubscriptionCount => _tree.Count;

    public List<MqttStoreChange> TakeChanges()
    {
        var taken = Changes;
        Changes = [];
        return taken;
    }

    /// <summary>A packet of a connected client.</summary>
    /// <exception cref="MqttProtocolException">The client broke the protocol; the caller calls <see cref="Fail"/>.</exception>
    public void Receive(Connection connection, in MqttFrame frame, ReadOnlySpan<byte> body)
    {
        BeginStep();
        connection.LastPacketMs = NowMs;
        Counters.Received++;
        Counters.BytesReceived += frame.Length;
        switch (frame.Type)
        {
            case MqttPacketType.Publish:
                ReceivePublish(connection, frame.First, body);
                break;
            case MqttPacketType.PubAck or MqttPacketType.PubRec or MqttPacketType.PubRel or MqttPacketType.PubComp:
                ReceiveAck(connection, frame.Type, MqttDecoder.Ack(frame.Type, body, connection.Version));
                break;
            case MqttPacketType.Subscribe:
                ReceiveSubscribe(connection, MqttDecoder.Subscribe(body, connection.Version));
                break;
            case MqttPacketType.Unsubscribe:
                ReceiveUnsubscribe(connection, MqttDecoder.Unsubscribe(body, connection.Version));
                break;
            case MqttPacketType.PingReq:
                MqttDecoder.Empty(frame.Type, body);
                Send(connection, MqttEncoder.PingResp);
                break;
            case MqttPacketType.Disconnect:
                ReceiveDisconnect(connection, MqttDecoder.Disconnect(frame.Type, body, connection.Version, fromClient: true));
                break;
            case MqttPacketType.Connect:
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, "CONNECT: a second one on the same connection [MQTT-3.1.0-2]");
            case MqttPacketType.Auth:
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, "AUTH: CONNECT named no authentication method [MQTT-4.12.0-6]");
            default:
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"{MqttReader.Name(frame.Type)}: only a server sends this packet (2.1.2)");
        }

        EndStep();
    }

    /// <summary>Sends AUTH (3.15): the client's turn in the exchange, or its end.</summary>
    public void SendAuth(Connection connection, MqttReasonCode code, byte[] data)
    {
        BeginStep();
        Send(connection, MqttEncoder.Disconnect(
            MqttPacketType.Auth, new MqttDisconnect(code, new MqttProperties { AuthenticationMethod = connection.AuthenticationMethod, AuthenticationData = data }), MqttVersion.V5));
        EndStep();
    }

    /// <summary>Ends a connection with a reason; its will is published as the specification says.</summary>
    public void Disconnect(Connection connection, MqttReasonCode code, string text)
    {
        BeginStep();
        End(connection, code, text, keepWill: true);
        EndStep();
    }

    /// <summary>The client broke the protocol.</summary>
    public void Fail(Connection connection, MqttProtocolException error)
    {
        Counters.ProtocolErrors++;
        Disconnect(connection, error.Code, error.Message);
    }

    /// <summary>The socket is gone.</summary>
    public void Lost(Connection connection, string reason)
    {
        BeginStep();
        if (connection.EndReason.Length == 0)
            connection.EndReason = reason;
        Detach(connection, keepWill: true);
        EndStep();
    }

    /// <summary>Deadlines: call at least every <see cref="TimerWheel.TickMs"/>.</summary>
    public void Tick()
    {
        BeginStep();
        _wheel.Advance(NowMs, _onDue);
        PublishSys();
        EndStep();
    }

    /// <summary>The socket took bytes: messages that waited may follow.</summary>
    public void Drained(Connection connection)
    {
        if (connection.Session is not { HasWaiting: true } session)
            return;
        // With a full window it waits for acknowledgements, and a socket that takes other bytes shows nothing.
        if (session.Open < connection.Window)
            session.ProgressMs = NowMs;
        BeginStep();
        Pump(session);
        EndStep();
    }

    /// <summary>A socket was accepted: its CONNECT must come in time.</summary>
    public void Accepted(Connection connection)
    {
        connection.LastPacketMs = NowMs;
        connection.SilenceMaxMs = (long)_options.ConnectWithin.TotalMilliseconds;
        Watch(connection);
    }

    /// <summary>Sees to it that a connection is looked at by then, e.g. because a packet was begun.</summary>
    public void Watch(Connection connection) => _wheel.Schedule(connection, DueOf(connection));

    private void BeginStep()
    {
        _step++;
        _stepIsDurable = false;
    }

    private void EndStep()
    {
        if (!_stepIsDurable)
            return;
        foreach (var connection in Dirty)
        {
            if (connection.Step == _step)
                connection.FlushAfter = ChangeCount;
        }
    }

    /// <param name="isPromise">What this step sends says that the change is made: it waits for the disk.</param>
    private void Change(MqttStoreChange change, bool isPromise = true)
    {
        Changes.Add(change);
        ChangeCount++;
        _stepIsDurable |= isPromise;
    }

    private void MarkDirty(Connection connection)
    {
        connection.Step = _step;
        if (connection.IsDirty)
            return;
        connection.IsDirty = true;
        Dirty.Add(connection);
    }

    // Any packet but PUBLISH and the acknowledgements of one.
    private void Send(Connection connection, ReadOnlySpan<byte> packet)
    {
        if (packet.Length > connection.PacketSizeMax)
        {
            EndTooLarge(connection, packet[0], packet.Length);
            return;
        }

        connection.Out.Append(packet);
        Counters.Sent++;
        MarkDirty(connection);
    }

    private void SendAck(Connection connection, MqttPacketType type, ushort packetId, MqttReasonCode code = MqttReasonCode.Success, string? reason = null)
    {
        if (reason is not null && connection is { Version: MqttVersion.V5, WantsReasons: true })
        {
            var packet = MqttEncoder.Ack(type, new MqttAck(packetId, code, new MqttProperties { ReasonString = Shorten(reason) }), connection.Version);
            // [MQTT-3.4.2-2]: not if it makes the packet too large.
            if (packet.Length <= connection.PacketSizeMax)
            {
                Send(connection, packet);
                return;
            }
        }

        var target = connection.Out.Reserve(5);
        var length = MqttEncoder.ShortAck(target, type, packetId, code, connection.Version);
        if (length > connection.PacketSizeMax)
        {
            EndTooLarge(connection, target[0], length);
            return;
        }

        connection.Out.Commit(length);
        Counters.Sent++;
        MarkDirty(connection);
    }

    private void OnDue(Timed item)
    {
        switch (item)
        {
            case Connection connection:
                DueConnection(connection);
                break;
            case Session { IsGone: false } session:
                DueSession(session);
                break;
        }
    }

    private long DueOf(Connection connection)
    {
        var silence = connection.SilenceMaxMs == 0 ? long.MaxValue : connection.LastPacketMs + connection.SilenceMaxMs;
        var partial = connection.PartialSinceMs == long.MaxValue ? long.MaxValue : connection.PartialSinceMs + (long)_options.PacketWithin.TotalMilliseconds;
        return Math.Min(silence, partial);
    }

    private void DueConnection(Connection connection)
    {
        if (connection.IsClosing)
            return;
        var due = DueOf(connection);
        if (due > NowMs)
        {
            if (due != long.MaxValue)
                _wheel.Schedule(connection, due);
            return;
        }

        if (connection.Session is null)
            End(connection, MqttReasonCode.ProtocolError, $"no CONNECT within {_options.ConnectWithin.TotalSeconds:0.#} s", keepWill: false);
        else if (connection.PartialSinceMs != long.MaxValue && NowMs - connection.PartialSinceMs >= _options.PacketWithin.TotalMilliseconds)
            End(connection, MqttReasonCode.ImplementationSpecificError, $"a packet was begun and not finished within {_options.PacketWithin.TotalSeconds:0.#} s", keepWill: true);
        else
            End(connection, MqttReasonCode.KeepAliveTimeout, $"nothing was heard for {connection.SilenceMaxMs / 1000.0:0.#} s, 1.5 times the keep alive [MQTT-3.1.2-22]", keepWill: true);
    }

    private void DueSession(Session session)
    {
        if (session.WillAtMs <= NowMs)
            PublishWill(session);
        if (session.Connection is null && session.ExpiresAtMs <= NowMs)
        {
            Remove(session);
            return;
        }

        ScheduleSession(session);
    }

    private void ScheduleSession(Session session)
    {
        var due = Math.Min(session.WillAtMs, session.ExpiresAtMs);
        if (due != long.MaxValue)
            _wheel.Schedule(session, due);
    }

    // [MQTT-3.1.2-24]: it must not be sent, and without it the client would wait for ever.
    private void EndTooLarge(Connection connection, byte first, int length)
        => End(connection, MqttReasonCode.PacketTooLarge, $"{MqttReader.Name((MqttPacketType)(first >> 4))} has {length} bytes, the client takes {connection.PacketSizeMax} [MQTT-3.1.2-24]", keepWill: true);

    // DISCONNECT where the version has it, then the end.
    private void End(Connection connection, MqttReasonCode code, string text, bool keepWill)
    {
        if (connection.IsClosing)
            return;
        text = Shorten(text);
        if (connection is { Version: MqttVersion.V5, Session: not null })
        {
            var packet = MqttEncoder.Disconnect(
                MqttPacketType.Disconnect, new MqttDisconnect(code, connection.WantsReasons ? new MqttProperties { ReasonString = text } : MqttProperties.None), MqttVersion.V5);
            if (packet.Length > connection.PacketSizeMax)
                packet = [0xE0, 1, (byte)code];
            if (packet.Length <= connection.PacketSizeMax)
                Send(connection, packet);
        }

        connection.EndReason = text;
        connection.IsClosing = true;
        MarkDirty(connection);
        Detach(connection, keepWill);
    }

    // For reason strings and the log: a topic or filter that a text repeats has up to 65,535 bytes, and a reason string as a whole no more than that.
    private static string Shorten(string text) => Encoding.UTF8.GetByteCount(text) <= 1024 ? text : new string([.. text.Take(250)]);
}
