using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Client;

// One connection that stands: reading, writing, keepalive.
public sealed partial class MqttClient
{
    private static readonly TimeSpan s_goodbyeWithin = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_stableAfter = TimeSpan.FromSeconds(5);

    private async Task<string> ServeAsync(Stream stream, PacketReader reader, MqttConnAck ack)
    {
        _clientId = ack.Properties.AssignedClientIdentifier ?? _clientId;
        _hadSession = true;
        var since = _lastSent = _lastReceived = _time.GetTimestamp();
        lock (_gate)
        {
            _session.Connected(ack);
            if (!ack.SessionPresent)
                SubscribeAgain();
            _isConnected = true;
            _connected.TrySetResult();
        }

        ClientLog.Connected(_logger, _options.ToString(), _clientId, ack.SessionPresent);
        Changed?.Invoke(new MqttClientState(true, ack.SessionPresent, ""));
        _toWrite.Writer.TryWrite(true);

        using var end = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var reading = ReadAsync(stream, reader, end.Token);
        var writing = WriteAsync(stream, end.Token);
        var keeping = KeepAliveAsync(ack.Properties.ServerKeepAlive ?? _options.KeepAliveSeconds, end.Token);
        var first = await Task.WhenAny(reading, writing, keeping);
        var reason = await ReasonOf(first);
        var code = _stop.IsCancellationRequested ? MqttReasonCode.Success : first.Exception?.InnerException is MqttProtocolException { Code: not MqttReasonCode.NotAuthorized } e ? e.Code : MqttReasonCode.UnspecifiedError; // 0x87 is for servers to say (3.14.2.1)
        await end.CancelAsync();
        foreach (var task in (Task<string>[])[reading, writing, keeping])
            await ReasonOf(task);
        await SayGoodbyeAsync(stream, code);
        // A server that accepts and breaks at once must not be asked ever again in the first interval.
        if (_time.GetElapsedTime(since) >= s_stableAfter)
            _backoff.Reset();
        return reason;
    }

    private static async Task<string> ReasonOf(Task<string> task)
    {
        try
        {
            return await task;
        }
        catch (OperationCanceledException)
        {
            return "the client stops";
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or ObjectDisposedException or MqttProtocolException)
        {
            return e.Message;
        }
    }

    private async Task SayGoodbyeAsync(Stream stream, MqttReasonCode code)
    {
        using var limit = new CancellationTokenSource(s_goodbyeWithin, _time);
        try
        {
            // What is queued at QoS 0 goes first: DISCONNECT is the last packet.
            if (_stop.IsCancellationRequested)
                await WriteQueuedAsync(stream, limit.Token);
            await stream.WriteAsync(MqttEncoder.Disconnect(MqttPacketType.Disconnect, new MqttDisconnect(code, MqttProperties.None), _options.Version), limit.Token);
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or ObjectDisposedException or OperationCanceledException or InvalidOperationException)
        {
            // The connection is gone already, or does not take it: it ends either way.
        }
    }

    // Under the lock.
    private void SubscribeAgain()
    {
        foreach (var (filter, id) in _subscriptions.Values)
        {
            _session.Request(
                packetId => EncodeSubscribe(packetId, filter, id),
                ack =>
                {
                    if (ack is null || (byte)ack.Codes[0] < 0x80)
                        return;
                    _subscriptions.Remove(filter.Filter);
                    ClientLog.SubscriptionRefused(_logger, _options.ToString(), filter.Filter, ack.Codes[0].ToString());
                });
        }
    }

    private async Task<string> WriteAsync(Stream stream, CancellationToken cancellationToken)
    {
        while (true)
        {
            await _toWrite.Reader.ReadAsync(cancellationToken);
            await WriteQueuedAsync(stream, cancellationToken);
        }
    }

    private async Task WriteQueuedAsync(Stream stream, CancellationToken cancellationToken)
    {
        var segments = new List<OutSegment>();
        while (true)
        {
            lock (_gate)
            {
                _session.Out.TakeAll(segments);
                if (segments.Count == 0)
                    return;
            }

            foreach (var segment in segments)
            {
                await stream.WriteAsync(segment.Array.AsMemory(0, segment.Length), cancellationToken);
                Volatile.Write(ref _lastSent, _time.GetTimestamp());
                segment.Release();
                lock (_gate)
                {
                    _session.Out.Written(segment.Length);
                    _session.Pump();
                }
            }

            segments.Clear();
        }
    }

    private async Task<string> KeepAliveAsync(ushort seconds, CancellationToken cancellationToken)
    {
        if (seconds == 0)
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, _time, cancellationToken);
            return "";
        }

        var keepAlive = TimeSpan.FromSeconds(seconds);
        using var timer = new PeriodicTimer(keepAlive / 8, _time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            // While the handler works nothing is read: that is no sign of a dead server.
            if (!_isHandling && _time.GetElapsedTime(Volatile.Read(ref _lastReceived)) > keepAlive * 1.5)
                return $"nothing was heard for {seconds * 1.5:0.#} s, though PINGREQ was sent";
            // Either direction's silence asks for a ping: the answer is what shows a dead server.
            if (_time.GetElapsedTime(Volatile.Read(ref _lastSent)) < keepAlive * 0.75 && _time.GetElapsedTime(Volatile.Read(ref _lastReceived)) < keepAlive * 0.75)
                continue;
            lock (_gate)
                _session.Out.Append(MqttEncoder.PingReq);
            _toWrite.Writer.TryWrite(true);
        }

        return "";
    }

    private async Task<string> ReadAsync(Stream stream, PacketReader reader, CancellationToken cancellationToken)
    {
        while (true)
        {
            while (reader.TryTake(out var frame))
            {
                if (frame.Type == MqttPacketType.Publish)
                    await HandleAsync(Take(reader, frame, out var id), id);
                else if (Handle(reader, frame) is { } reason)
                    return reason;
                _toWrite.Writer.TryWrite(true);
            }

            if (await reader.FillAsync(stream, cancellationToken) == 0)
                return "the server closed the connection";
            Volatile.Write(ref _lastReceived, _time.GetTimestamp());
        }
    }

    // Null: it was given to the application before.
    private MqttMessage? Take(PacketReader reader, in MqttFrame frame, out ushort id)
    {
        var publish = MqttPublishView.Read(frame.First, reader.Body(frame), _options.Version, fromClient: false);
        id = publish.PacketId;
        lock (_gate)
        {
            var topic = _session.TopicOf(publish);
            if (publish.Qos == MqttQos.ExactlyOnce && !_session.IsNew(id))
            {
                _session.SendAck(MqttPacketType.PubRec, id);
                return null;
            }

            var properties = MqttPropertyCodec.ReadBody(publish.Properties, MqttPacketType.Publish, MqttPacketType.Publish);
            return new MqttMessage(topic, publish.Payload.ToArray(), publish.Qos, publish.Retain) { Properties = properties };
        }
    }

    private async ValueTask HandleAsync(MqttMessage? message, ushort id)
    {
        if (message is null)
            return;
        _isHandling = true;
        try
        {
            await _handler(message);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            ClientLog.HandlerFailed(_logger, message.Topic, e);
        }

        Volatile.Write(ref _lastReceived, _time.GetTimestamp());
        _isHandling = false;
        if (message.Qos == MqttQos.AtMostOnce)
            return;
        lock (_gate)
        {
            if (message.Qos == MqttQos.ExactlyOnce)
                _session.Received(id);
            _session.SendAck(message.Qos == MqttQos.AtLeastOnce ? MqttPacketType.PubAck : MqttPacketType.PubRec, id);
        }
    }

    // A reason ends the connection.
    private string? Handle(PacketReader reader, in MqttFrame frame)
    {
        var body = reader.Body(frame);
        switch (frame.Type)
        {
            case MqttPacketType.PubAck or MqttPacketType.PubRec or MqttPacketType.PubRel or MqttPacketType.PubComp:
                var ack = MqttDecoder.Ack(frame.Type, body, _options.Version);
                lock (_gate)
                    _session.Acknowledged(frame.Type, ack);
                return null;
            case MqttPacketType.SubAck or MqttPacketType.UnsubAck:
                var answer = MqttDecoder.SubAck(frame.Type, body, _options.Version);
                lock (_gate)
                    _session.Answered(answer);
                return null;
            case MqttPacketType.Auth when _options.IsScram:
                TakeAuth(MqttDecoder.Disconnect(frame.Type, body, _options.Version));
                return null;
            case MqttPacketType.PingResp:
                MqttDecoder.Empty(frame.Type, body);
                return null;
            case MqttPacketType.Disconnect when _options.Version == MqttVersion.V5:
                var bye = MqttDecoder.Disconnect(frame.Type, body, _options.Version, fromClient: false);
                return $"the server disconnected: {bye.Properties.ReasonString ?? bye.Code.ToString()}";
            default:
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"{MqttReader.Name(frame.Type)}: a server does not send this packet here (2.1.2)");
        }
    }
}
