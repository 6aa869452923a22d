using System.Globalization;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// CONNECT, DISCONNECT, takeover, expiry, wills.
internal sealed partial class BrokerCore
{
    /// <summary>A CONNECT whose client is who it says it is.</summary>
    /// <param name="userName">As authenticated; null: anonymous.</param>
    public void Connect(Connection connection, MqttConnect connect, string? userName)
    {
        BeginStep();
        connection.Heed(connect);
        if (ProblemOf(connection, connect, userName) is var (code, text) && code != MqttReasonCode.Success)
            Refuse(connection, connect.Version, code, text);
        else
            Accept(connection, connect, userName);
        EndStep();
    }

    /// <summary>Answers CONNACK with a code, and ends the connection.</summary>
    public void Refuse(Connection connection, MqttVersion version, MqttReasonCode code, string text)
    {
        BeginStep();
        Counters.Refused++;
        connection.Version = version;
        connection.EndReason = Shorten(text);
        var packet = MqttEncoder.ConnAck(new MqttConnAck(false, code, new MqttProperties { ReasonString = connection.EndReason }), version);
        // [MQTT-3.2.2-19]: no reason string where it makes the packet too large.
        if (packet.Length > connection.PacketSizeMax)
            packet = MqttEncoder.ConnAck(new MqttConnAck(false, code, MqttProperties.None), version);
        connection.IsClosing = true;
        Send(connection, packet);
        MarkDirty(connection); // also where the client takes not even that
        EndStep();
    }

    private (MqttReasonCode Code, string Text) ProblemOf(Connection connection, MqttConnect connect, string? userName)
    {
        if (connect.Properties.AuthenticationMethod is { } method && method != connection.AuthenticationMethod)
            return (MqttReasonCode.BadAuthenticationMethod, $"the authentication method '{method}' is not known here; use a user name and password, or a client certificate");
        if (connect is { ClientId: "", IsOld: true })
            return (MqttReasonCode.ClientIdentifierNotValid, "version 3.1 knows no empty client identifier (3.1 of 3.1)");
        if (connect is { ClientId: "", CleanStart: false, Version: MqttVersion.V311 })
            return (MqttReasonCode.ClientIdentifierNotValid, "an empty client identifier needs a clean session [MQTT-3.1.3-8 of 3.1.1]");
        if (_sessions.Count >= _options.SessionsMax && !_sessions.ContainsKey(connect.ClientId))
            return (MqttReasonCode.QuotaExceeded, $"{_options.SessionsMax} sessions are there already ({nameof(MqttBrokerOptions.SessionsMax)})");
        if (connect.Will is not { } will)
            return default;
        if (!MayWrite(userName, connect.ClientId, will.Topic))
            return (MqttReasonCode.NotAuthorized, $"not allowed to publish the will's topic '{will.Topic}'");
        return HasTooManyLevels(will.Topic) ? (MqttReasonCode.TopicNameInvalid, $"the will's topic has over {_options.TopicLevelsMax} levels") : default;
    }

    private void Accept(Connection connection, MqttConnect connect, string? userName)
    {
        var properties = connect.Properties;
        var answer = new MqttProperties { ReceiveMaximum = _options.ReceiveMaximum, MaximumPacketSize = (uint)_options.PacketSizeMax, TopicAliasMaximum = _options.TopicAliasMaximum };
        if (connection.AuthenticationMethod is { } method)
            answer = answer with { AuthenticationMethod = method, AuthenticationData = connection.AuthenticationData };
        connection.AuthenticationData = null;
        var clientId = connect.ClientId;
        if (clientId.Length == 0)
        {
            clientId = $"auto-{_random.NextInt64().ToString("x16", CultureInfo.InvariantCulture)}";
            answer = answer with { AssignedClientIdentifier = clientId };
        }

        var isPresent = false;
        if (_sessions.TryGetValue(clientId, out var session))
        {
            if (session.UserName != userName)
            {
                // Another user's session holds messages that this one may not read.
                Remove(session, "another user took the client identifier");
                session = null;
            }
            else if (connect.CleanStart)
            {
                Remove(session, "taken over with a clean start");
                session = null;
            }
            else
            {
                TakeOver(session);
                // One that does not outlive its connection has ended with it.
                isPresent = !session.IsGone;
                session = isPresent ? session : null;
            }
        }

        if (session is null)
        {
            session = new Session(clientId, _acl) { UserName = userName };
            _sessions.Add(clientId, session);
        }

        var wanted = connect.Version == MqttVersion.V5 ? properties.SessionExpiryInterval ?? 0 : connect.CleanStart ? 0 : _options.SessionExpiryMaxSeconds;
        var given = Math.Min(wanted, _options.SessionExpiryMaxSeconds);
        if (given != wanted)
            answer = answer with { SessionExpiryInterval = given };
        var wasPersistent = session.IsPersistent;
        session.ExpirySeconds = given;
        session.ExpiresAtMs = long.MaxValue;
        session.WillAtMs = long.MaxValue;
        session.Will = connect.Will;
        session.Connection = connection;
        connection.Session = session;
        connection.MayRaiseExpiry = given > 0;
        ConnectedCount++;

        connection.Window = Math.Min(_options.InFlightMax, properties.ReceiveMaximum ?? ushort.MaxValue);
        connection.AliasOutMax = Math.Min(properties.TopicAliasMaximum ?? 0, _options.TopicAliasMaximum);
        var keepAlive = connect.KeepAliveSeconds;
        if (connect.Version == MqttVersion.V5 && _options.KeepAliveMaxSeconds is > 0 and var most && (keepAlive == 0 || keepAlive > most))
        {
            keepAlive = most;
            answer = answer with { ServerKeepAlive = most };
        }

        connection.SilenceMaxMs = keepAlive * 1500L;
        connection.LastPacketMs = NowMs;
        Watch(connection);

        if (_hasStore && (session.IsPersistent || wasPersistent))
            StoreConnected(session, wasPersistent);
        Send(connection, MqttEncoder.ConnAck(new MqttConnAck(isPresent && !connect.IsOld, MqttReasonCode.Success, answer), connect.Version)); // version 3.1 has no such flag
        if (isPresent && session.Connection is not null)
            Resume(session);
    }

    private void StoreConnected(Session session, bool wasPersistent)
    {
        if (!session.IsPersistent)
        {
            Unstore(session);
            return;
        }

        Change(new SessionPut(session.ClientId, session.UserName, session.ExpirySeconds, 0, session.Will));
        if (wasPersistent)
            return;
        foreach (var (filter, subscription) in session.Subscriptions ?? [])
            Change(new SubscriptionPut(session.ClientId, filter, subscription.Options.ToByte(), subscription.Id));
        foreach (var id in session.Incoming ?? [])
            Change(new IncomingPut(session.ClientId, id));
        foreach (var delivery in session.Deliveries)
            StoreDelivery(session, delivery);
    }

    // The session stays, but no longer over a restart.
    private void Unstore(Session session)
    {
        Change(new SessionGone(session.ClientId));
        foreach (var delivery in session.Deliveries)
            Release(delivery);
    }

    // What was sent and not acknowledged goes first, in its order, with the identifier it had (4.4).
    private void Resume(Session session)
    {
        session.Open = 0;
        session.ProgressMs = NowMs;
        // Made anew: what an earlier connection did not get sent again is in flight still. They keep their places there, so that nothing else gets their identifiers.
        session.Again = null;
        foreach (var delivery in (session.InFlight?.Values ?? Enumerable.Empty<Delivery>()).OrderBy(one => one.Sequence))
        {
            if (delivery.State == DeliveryState.Released)
            {
                if (session.Connection is not { } connection)
                    return; // it takes no packet of four bytes
                session.Open++;
                SendAck(connection, MqttPacketType.PubRel, delivery.PacketId);
                continue;
            }

            delivery.State = DeliveryState.Waiting;
            (session.Again ??= []).Enqueue(delivery);
        }

        Pump(session);
    }

    private void TakeOver(Session session)
    {
        if (session.Connection is { } old)
        {
            // A will without delay is published, since its connection closes; with a delay the new connection is in time [MQTT-3.1.3-9].
            var delay = session.Will?.Properties?.WillDelayInterval ?? 0;
            End(old, MqttReasonCode.SessionTakenOver, "another connection with the same client identifier took over [MQTT-3.1.4-3]", keepWill: delay == 0);
        }

        session.WillAtMs = long.MaxValue;
    }

    private void ReceiveDisconnect(Connection connection, MqttDisconnect disconnect)
    {
        var session = connection.Session!;
        if (disconnect.Properties.SessionExpiryInterval is { } expiry)
        {
            if (expiry > 0 && !connection.MayRaiseExpiry)
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, "DISCONNECT: a session expiry over 0, but CONNECT had 0 (3.14.2.2.2)");
            if (expiry == 0 && session.IsPersistent && _hasStore)
                Unstore(session);
            session.ExpirySeconds = Math.Min(expiry, _options.SessionExpiryMaxSeconds);
        }

        connection.EndReason = "the client disconnected";
        connection.IsEndedByClient = true;
        connection.IsClosing = true;
        MarkDirty(connection);
        Detach(connection, keepWill: disconnect.Code != MqttReasonCode.Success);
    }

    // The session goes on without its connection, or ends with it.
    private void Detach(Connection connection, bool keepWill)
    {
        if (connection.Session is not { } session)
            return;
        connection.Session = null;
        connection.AliasIn = null;
        connection.AliasOut = null;
        connection.LastRoutes = null;
        connection.Held = null;
        if (!ReferenceEquals(session.Connection, connection))
            return;
        session.Connection = null;
        ConnectedCount--;
        if (!keepWill)
            session.Will = null;
        session.ExpiresAtMs = session.ExpirySeconds == uint.MaxValue ? long.MaxValue : NowMs + (session.ExpirySeconds * 1000L);
        if (session.Will is { } will)
        {
            var delay = will.Properties?.WillDelayInterval ?? 0;
            session.WillAtMs = NowMs + (delay * 1000L);
        }

        if (session.WillAtMs <= NowMs)
            PublishWill(session);
        if (session.ExpirySeconds == 0)
        {
            Remove(session);
            return;
        }

        if (_hasStore)
            Change(new SessionPut(session.ClientId, session.UserName, session.ExpirySeconds, NowMs + WallOffsetMs, session.Will));
        ScheduleSession(session);
    }

    private void PublishWill(Session session)
    {
        var will = session.Will;
        session.Will = null;
        session.WillAtMs = long.MaxValue;
        if (will is null)
            return;
        // Rights are those of now, not of when the client came.
        if (MayWrite(session.UserName, session.ClientId, will.Topic))
            PublishFrom(session, new MqttMessage(will.Topic, will.Payload, will.Qos, will.Retain) { Properties = will.Properties ?? MqttProperties.None });
        if (_hasStore && session is { IsPersistent: true, Connection: null, IsGone: false })
            Change(new SessionPut(session.ClientId, session.UserName, session.ExpirySeconds, session.ExpiresAtMs == long.MaxValue ? NowMs + WallOffsetMs : session.ExpiresAtMs - (session.ExpirySeconds * 1000L) + WallOffsetMs, null));
    }

    /// <summary>Ends a session for good. A will that still waits is published: the session's end is its latest time (3.1.3.2.2).</summary>
    private void Remove(Session session, string takenOver = "")
    {
        if (session.IsGone)
            return;
        if (session.Connection is { } connection)
        {
            End(connection, MqttReasonCode.SessionTakenOver, takenOver, keepWill: true);
            if (session.IsGone)
                return;
        }

        session.IsGone = true;
        if (session.Will is not null)
            PublishWill(session);
        foreach (var subscription in session.Subscriptions?.Values ?? Enumerable.Empty<Subscription>())
            _tree.Remove(subscription);
        _sessions.Remove(session.ClientId);
        if (_hasStore && session.IsPersistent)
            Unstore(session);
    }

    // Where a mosquitto bridge says whether it stands; it has that as its will, too, and would not be connected without.
    private static bool IsBridgeState(string topic) => MqttTopic.Matches("$SYS/broker/connection/+/state", topic);

    private bool MayWrite(string? user, string clientId, string topic)
        => (!topic.StartsWith("$SYS/", StringComparison.Ordinal) || IsBridgeState(topic)) && _acl.Allows(user, clientId, topic, MqttAccess.Write);

    private bool HasTooManyLevels(string topic) => topic.AsSpan().Count('/') >= _options.TopicLevelsMax;
}
