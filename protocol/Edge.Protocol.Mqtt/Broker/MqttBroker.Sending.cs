namespace Edge.Protocol.Mqtt.Broker;

// From what the core queued to the sockets, and the clock.
public sealed partial class MqttBroker
{
    // One list a thread: sending is not nested but where a connection ends in it.
    [ThreadStatic]
    private static List<ClientConnection>? s_toSend;

    private static List<ClientConnection> BeginSend()
    {
        var list = s_toSend ?? new List<ClientConnection>(32);
        s_toSend = null;
        return list;
    }

    // Under the lock: who has something to send and may, gets it to send.
    private void CollectSends(List<ClientConnection> toSend)
    {
        foreach (var one in _core.Dirty)
        {
            one.IsDirty = false;
            Offer((ClientConnection)one, toSend);
        }

        _core.Dirty.Clear();
        if (_core.Changes.Count > 0)
            _storeSignal.Writer.TryWrite(true);
    }

    private void Offer(ClientConnection connection, List<ClientConnection> toSend)
    {
        if (connection.IsEnded || connection.IsSending)
            return;
        if (connection.FlushAfter > _committed)
        {
            WaitForStore(connection);
            return;
        }

        if (!connection.Out.HasBytes && !connection.IsClosing)
            return;
        connection.IsSending = true;
        connection.TakeOut();
        toSend.Add(connection);
    }

    private void WaitForStore(ClientConnection connection)
    {
        if (connection.IsWaitingForStore)
            return;
        connection.IsWaitingForStore = true;
        _waiting.Add(connection);
    }

    private void EndSend(List<ClientConnection> toSend)
    {
        foreach (var connection in toSend)
        {
            if (connection.Sending.Count > 0)
                connection.Send();
            else
                SentAll(connection, 0);
        }

        toSend.Clear();
        s_toSend = toSend;
    }

    // Nothing is left to write, and the connection is to end.
    private (bool Shut, bool Close) ShutLocked(ClientConnection connection)
    {
        connection.IsShut = true;
        if (connection.IsEndedByClient || !connection.HasConnect)
            return (false, true);
        // Closing now, with bytes of the client unread, would reset the connection, and the client would not see why it ended.
        connection.CloseAtMs = _core.NowMs + (long)s_linger.TotalMilliseconds;
        _lingering.Add(connection);
        return (true, false);
    }

    private void Finish(ClientConnection connection, bool shut, bool close)
    {
        if (shut)
            connection.Shut();
        if (close)
            Ended(connection, connection.EndReason);
    }

    private void Tick()
    {
        var toSend = BeginSend();
        List<ClientConnection>? over = null;
        lock (_gate)
        {
            _core.NowMs = NowMs;
            _core.WallOffsetMs = _time.GetUtcNow().ToUnixTimeMilliseconds() - _core.NowMs;
            _core.Tick();
            for (var i = _lingering.Count - 1; i >= 0; i--)
            {
                if (!_lingering[i].IsEnded && _lingering[i].CloseAtMs > _core.NowMs)
                    continue;
                (over ??= []).Add(_lingering[i]);
                _lingering.RemoveAt(i);
            }

            CollectSends(toSend);
            LogDropped();
        }

        EndSend(toSend);
        foreach (var connection in over ?? [])
            Ended(connection, connection.EndReason);
    }

    private void LogDropped()
    {
        if (_core.NowMs < _nextDroppedLog)
            return;
        var counters = _core.Counters;
        var now = (
            Slow: counters.DroppedSlow, Full: counters.DroppedQueueFull, Large: counters.DroppedTooLarge, Local: counters.DroppedLocal, Refused: counters.DroppedRefused,
            Retained: counters.DroppedRetained);
        var before = _droppedBefore;
        if (now == before)
            return;
        _droppedBefore = now;
        _nextDroppedLog = _core.NowMs + 10_000;
        var (slow, full, large, local) = (now.Slow - before.Slow, now.Full - before.Full, now.Large - before.Large, now.Local - before.Local);
        var (refused, retained) = (now.Refused - before.Refused, now.Retained - before.Retained);
        MqttLog.Dropped(Logger, slow + full + large + local + refused + retained, slow, full, large, local, refused, retained);
    }
}
