using Edge.Protocol.Mqtt.Authentication;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// Enhanced authentication (4.12) with SCRAM-SHA-256: all of it under the lock, since the client does the work.
public sealed partial class MqttBroker
{
    private void BeginAuthentication(ClientConnection connection, MqttConnect connect, string method)
    {
        if (method != Scram.Method || !_authenticator.HasScram || _stop.IsCancellationRequested)
        {
            _core.Refuse(connection, connect.Version, _stop.IsCancellationRequested ? MqttReasonCode.ServerShuttingDown : MqttReasonCode.BadAuthenticationMethod,
                _stop.IsCancellationRequested ? "the broker stops" : $"the authentication method '{method}' is not done here; use {(_authenticator.HasScram ? Scram.Method + ", " : "")}a user name and password, or a client certificate");
            LogConnect(connection);
            return;
        }

        connection.AuthenticationMethod = method;
        connection.ConnectWithScram = connect;
        connection.Scram = _authenticator.NewScram();
        Exchange(connection, connection.Scram, connect.Properties.AuthenticationData);
    }

    // AUTH of a client that has named its method; before CONNACK nothing else may come but DISCONNECT [MQTT-4.12.0-2].
    private void ReadAuth(ClientConnection connection, in MqttFrame frame, ReadOnlySpan<byte> body)
    {
        if (frame.Type == MqttPacketType.Disconnect && connection.ConnectWithScram is not null)
        {
            connection.ConnectWithScram = null;
            _core.Refuse(connection, connection.Version, MqttReasonCode.NotAuthorized, "the client gave up");
            return;
        }

        if (frame.Type != MqttPacketType.Auth)
            throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"{MqttReader.Name(frame.Type)}: before CONNACK only AUTH or DISCONNECT may come (4.12)");
        _core.Counters.Received++;
        _core.Counters.BytesReceived += frame.Length;
        connection.LastPacketMs = _core.NowMs;
        var auth = MqttDecoder.Disconnect(frame.Type, body, connection.Version);
        if (auth.Properties.AuthenticationMethod != connection.AuthenticationMethod)
            throw new MqttProtocolException(MqttReasonCode.ProtocolError, "AUTH: another authentication method than CONNECT's [MQTT-4.12.0-5]");
        switch (auth.Code)
        {
            case MqttReasonCode.ReAuthenticate when connection is { ConnectWithScram: null, Scram: null }:
                connection.Scram = _authenticator.NewScram();
                Exchange(connection, connection.Scram, auth.Properties.AuthenticationData);
                break;
            case MqttReasonCode.ContinueAuthentication when connection.Scram is { } scram:
                Exchange(connection, scram, auth.Properties.AuthenticationData);
                break;
            default:
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"AUTH: 0x{(byte)auth.Code:X2} is not due here (3.15.2.1)");
        }
    }

    private void Exchange(ClientConnection connection, ScramServer scram, ReadOnlyMemory<byte>? data)
    {
        var answer = scram.Step(data is { } message ? message.Span : [], out var problem);
        var connect = connection.ConnectWithScram;
        if (answer is not null && connect?.UserName is { } name && name != scram.User)
            (answer, problem) = (null, "the user names of CONNECT and of SCRAM differ");
        if (answer is not null && connect is null && scram.User != connection.Session?.UserName)
            (answer, problem) = (null, "another user than the one that is connected");
        if (answer is not null && !scram.IsDone)
        {
            _core.SendAuth(connection, MqttReasonCode.ContinueAuthentication, answer);
            return;
        }

        connection.Scram = null;
        connection.ConnectWithScram = null;
        if (answer is null && connect is null)
        {
            _core.Disconnect(connection, MqttReasonCode.NotAuthorized, problem);
            _warnings.Log(_core.NowMs, () => MqttLog.Refused(Logger, connection.Client, connection.Address, problem));
            return;
        }

        if (answer is null)
            _core.Refuse(connection, connection.Version, MqttReasonCode.NotAuthorized, problem);
        else if (connect is null)
            _core.SendAuth(connection, MqttReasonCode.Success, answer);
        else
            ConnectAuthenticated(connection, connect, scram.User, answer);
        if (connect is not null)
            LogConnect(connection);
    }

    private void ConnectAuthenticated(ClientConnection connection, MqttConnect connect, string user, byte[] last)
    {
        connection.AuthenticationData = last;
        _core.Connect(connection, connect, user);
    }
}
