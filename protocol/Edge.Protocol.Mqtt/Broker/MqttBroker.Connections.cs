using System.Net.Sockets;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// Accepting, authenticating, ending.
public sealed partial class MqttBroker
{
    /// <summary>Bytes that a CONNECT may have: names, password and a will of some size.</summary>
    internal const int ConnectSizeMax = 256 * 1024;

    private readonly Dictionary<ClientConnection, MqttConnect> _pendingConnects = [];

    private void Listen(MqttListenerOptions listener)
    {
        var socket = new Socket(listener.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        _listeners.Add(socket);
        socket.Bind(listener.EndPoint);
        socket.Listen(1024);
    }

    private async Task AcceptAsync(Socket listener, MqttListenerOptions options)
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await listener.AcceptAsync(_stop.Token);
            }
            catch (Exception e) when (_stop.IsCancellationRequested && e is OperationCanceledException or ObjectDisposedException or SocketException)
            {
                return;
            }
            catch (SocketException e)
            {
                // Out of descriptors, or the peer went before it was accepted: neither may end the listener.
                _warnings.Log(NowMs, () => MqttLog.AcceptFailed(Logger, e.Message));
                await Task.Delay(TimeSpan.FromMilliseconds(100), _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                continue;
            }

            Accept(socket, options);
        }
    }

    private void Accept(Socket socket, MqttListenerOptions options)
    {
        ClientConnection connection;
        try
        {
            var address = socket.RemoteEndPoint?.ToString() ?? "";
            connection = options.Tls is null && options.Kind == MqttListenerKind.Tcp
                ? new TcpConnection(this, socket) { Address = address }
                : new StreamConnection(this, socket, options) { Address = address };
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            socket.Dispose();
            _warnings.Log(NowMs, () => MqttLog.AcceptFailed(Logger, e.Message));
            return;
        }

        bool isTaken;
        lock (_gate)
        {
            isTaken = _connections.Count < _options.ConnectionsMax && !_stop.IsCancellationRequested;
            if (isTaken)
            {
                _connections.Add(connection);
                _core.NowMs = NowMs;
                _core.Accepted(connection);
            }
        }

        if (!isTaken)
        {
            _warnings.Log(NowMs, () => MqttLog.AcceptFailed(Logger, $"{_options.ConnectionsMax} connections are open already ({nameof(MqttBrokerOptions.ConnectionsMax)})"));
            connection.Close();
            return;
        }

        if (connection is TcpConnection tcp)
            tcp.Start();
        else
            Track(((StreamConnection)connection).RunAsync());
    }

    // Under the lock; the first packet of a connection.
    private MqttConnect? ReadConnect(ClientConnection connection, in MqttFrame frame, ReadOnlySpan<byte> body)
    {
        if (frame.Type != MqttPacketType.Connect)
            throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"the first packet is {MqttReader.Name(frame.Type)}, not CONNECT [MQTT-3.1.0-1]");
        connection.HasConnect = true;
        _core.Counters.Received++;
        _core.Counters.BytesReceived += frame.Length;
        MqttConnect connect;
        try
        {
            connect = MqttDecoder.Connect(body);
        }
        catch (MqttProtocolException e)
        {
            // CONNACK says why where the client's version has a way to (3.1.4).
            var level = MqttDecoder.PeekLevel(body);
            if (level == 0 || (level == 4 && e.Code is not (MqttReasonCode.UnsupportedProtocolVersion or MqttReasonCode.ClientIdentifierNotValid)))
                throw;
            _core.Counters.ProtocolErrors++;
            _core.Refuse(connection, level >= 5 ? MqttVersion.V5 : MqttVersion.V311, e.Code, e.Message);
            _warnings.Log(_core.NowMs, () => MqttLog.Broke(Logger, "", connection.Address, e.Message));
            return null;
        }

        connection.Client = connect.ClientId;
        connection.Heed(connect);
        if (connect.Properties.AuthenticationMethod is { } method)
        {
            BeginAuthentication(connection, connect, method);
            return null;
        }

        if (_authenticator.TryQuick(connect, connection.CertificateUser, out var user) is { } verdict)
        {
            Decide(connection, connect, verdict, user);
            return null;
        }

        connection.IsAuthenticating = true;
        _pendingConnects[connection] = connect;
        return connect;
    }

    // Under the lock.
    private void Decide(ClientConnection connection, MqttConnect connect, Verdict verdict, string? user)
    {
        if (_stop.IsCancellationRequested)
            _core.Refuse(connection, connect.Version, MqttReasonCode.ServerShuttingDown, "the broker stops");
        else if (verdict == Verdict.Yes)
            _core.Connect(connection, connect, user);
        else
            _core.Refuse(connection, connect.Version, verdict == Verdict.Anonymous ? MqttReasonCode.NotAuthorized : MqttReasonCode.BadUserNameOrPassword, verdict == Verdict.Anonymous ? "a user name is needed" : "the user name or password is wrong");
        LogConnect(connection);
    }

    private void LogConnect(ClientConnection connection)
    {
        if (connection.Session is { } session)
        {
            connection.Client = session.ClientId;
            MqttLog.Connected(Logger, connection.Client, connection.Address);
        }
        else
        {
            _warnings.Log(_core.NowMs, () => MqttLog.Refused(Logger, connection.Client, connection.Address, connection.EndReason));
        }
    }

    private async Task AuthenticateAsync(ClientConnection connection, MqttConnect connect)
    {
        var isRight = await _authenticator.VerifyAsync(connect);
        var toSend = BeginSend();
        lock (_gate)
        {
            _pendingConnects.Remove(connection);
            connection.IsAuthenticating = false;
            if (!connection.IsClosing && !connection.IsEnded)
            {
                _core.NowMs = NowMs;
                Decide(connection, connect, isRight ? Verdict.Yes : Verdict.No, connect.UserName);
                CollectSends(toSend);
            }
        }

        EndSend(toSend);
        connection.Resume();
    }

    private async Task EndAllAsync()
    {
        var toSend = BeginSend();
        ClientConnection[] all;
        lock (_gate)
        {
            _core.NowMs = NowMs;
            all = [.. _connections];
            foreach (var connection in all)
            {
                if (connection.Session is not null)
                    _core.Disconnect(connection, MqttReasonCode.ServerShuttingDown, "the broker stops");
            }

            CollectSends(toSend);
        }

        EndSend(toSend);
        // Those whose last words wait for the disk or a slow socket get a moment.
        var deadline = _time.GetTimestamp();
        while (_time.GetElapsedTime(deadline) < TimeSpan.FromSeconds(1) && all.Any(one => one is { IsEnded: false, IsShut: false, HasConnect: true }))
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, CancellationToken.None);
        foreach (var connection in all)
            Ended(connection, "the broker stops");
        foreach (var subscription in LocalSubscriptions())
            await subscription.DisposeAsync();
    }
}
