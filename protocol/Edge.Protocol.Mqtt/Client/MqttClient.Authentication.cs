using Edge.Protocol.Mqtt.Authentication;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Client;

// Enhanced authentication (4.12) with SCRAM-SHA-256.
public sealed partial class MqttClient
{
    /// <summary>Shows anew who it is, on the connection that stands (4.12.1). Completes when the server has shown the same.</summary>
    /// <exception cref="InvalidOperationException">The options have no <see cref="MqttClientOptions.IsScram"/>, there is no connection, or this goes on already.</exception>
    /// <exception cref="MqttClientException">The server refused, and ended the connection; or it ended otherwise.</exception>
    public Task ReauthenticateAsync(CancellationToken cancellationToken = default)
    {
        TaskCompletionSource shown;
        lock (_gate)
        {
            if (!_options.IsScram || !_isConnected || _shown is not null)
                throw new InvalidOperationException(!_options.IsScram ? $"{nameof(MqttClientOptions.IsScram)} is not set" : _isConnected ? "this goes on already" : "not connected");
            _scram = NewScram();
            _shown = shown = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _session.Out.Append(EncodeAuth(MqttReasonCode.ReAuthenticate, _scram.First()));
        }

        _toWrite.Writer.TryWrite(true);
        return shown.Task.WaitAsync(cancellationToken);
    }

    private ScramClient NewScram() => new(_options.UserName!, _options.Password!.Value, Scram.Nonce());

    private void TakeAuth(MqttDisconnect auth)
    {
        lock (_gate)
        {
            if (_shown is not { } shown || _scram is not { } scram)
                throw new MqttProtocolException(MqttReasonCode.ProtocolError, "AUTH: the client did not ask for it (3.15)");
            if (auth.Code == MqttReasonCode.ContinueAuthentication)
            {
                _session.Out.Append(Continue(scram, auth));
                return;
            }

            if (!scram.IsServer((auth.Properties.AuthenticationData ?? default).Span))
                throw new MqttProtocolException(MqttReasonCode.NotAuthorized, "the server did not show that it knows the password (RFC 5802, 3)");
            _shown = null;
            shown.TrySetResult();
        }
    }

    private static byte[] Continue(ScramClient scram, MqttDisconnect auth)
    {
        if (auth.Code != MqttReasonCode.ContinueAuthentication || auth.Properties.AuthenticationMethod != Scram.Method)
            throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"AUTH: 0x{(byte)auth.Code:X2} of method '{auth.Properties.AuthenticationMethod}' is not due here (3.15.2.1)");
        var answer = scram.Final((auth.Properties.AuthenticationData ?? default).Span, out var problem);
        return answer is null ? throw new MqttProtocolException(MqttReasonCode.NotAuthorized, problem) : EncodeAuth(MqttReasonCode.ContinueAuthentication, answer);
    }

    private static byte[] EncodeAuth(MqttReasonCode code, byte[] data)
        => MqttEncoder.Disconnect(
            MqttPacketType.Auth, new MqttDisconnect(code, new MqttProperties { AuthenticationMethod = Scram.Method, AuthenticationData = data }), MqttVersion.V5);
}
