using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A connection over TLS, over WebSocket, or over both. It has a task of its own.</summary>
internal sealed class StreamConnection(MqttBroker broker, Socket socket, MqttListenerOptions listener) : ClientConnection(broker)
{
    private TaskCompletionSource _resumed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Stream? _stream;

    /// <summary>Serves the connection to its end; does not throw.</summary>
    public async Task RunAsync()
    {
        var reason = "the client closed the connection";
        Stream stream = new NetworkStream(socket, ownsSocket: true);
        try
        {
            socket.NoDelay = true;
            if (listener.Tls is { } tls)
            {
                var ssl = new SslStream(stream, leaveInnerStreamOpen: false);
                stream = ssl;
                await ssl.AuthenticateAsServerAsync(tls());
                if (listener.CertificateIsUser)
                    CertificateUser = NameOf(ssl.RemoteCertificate);
            }

            if (listener.Kind == MqttListenerKind.WebSocket)
                stream = await WebSocketUpgrade.AcceptAsync(stream);
            _stream = stream;
            await ReadAllAsync(stream);
        }
        catch (MqttProtocolException e)
        {
            reason = e.Message;
            Broker.Fail(this, e);
        }
        catch (Exception e) when (e is IOException or SocketException or AuthenticationException or ObjectDisposedException or WebSocketException or OperationCanceledException or InvalidDataException)
        {
            reason = $"the connection broke: {e.Message}";
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            Broker.LogDefect(Address, e);
            reason = "a defect";
        }

        ReleaseBuffer();
        Broker.Ended(this, reason);
        await stream.DisposeAsync();
    }

    public override void Resume() => _resumed.TrySetResult();

    public override void Send() => Broker.Track(SendAsync());

    public override void Shut() => Broker.Track(ShutAsync());

    public override void Close() => socket.Dispose();

    private async Task ShutAsync()
    {
        try
        {
            if (_stream is SslStream ssl)
                await ssl.ShutdownAsync();
            else if (_stream is WebSocketStreamAdapter webSocket)
                await webSocket.CloseOutputAsync();
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or WebSocketException or InvalidOperationException)
        {
            // The peer was faster: what follows is the close.
        }
    }

    private async Task ReadAllAsync(Stream stream)
    {
        while (true)
        {
            // Waits without a buffer.
            Rest();
            _ = await stream.ReadAsync(Memory<byte>.Empty);
            var count = await stream.ReadAsync(Room());
            if (count == 0)
                return;
            var result = Read(count);
            while (result == FeedResult.Paused)
            {
                _resumed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Broker.Proceed(this);
                await _resumed.Task;
                result = Read(0);
            }

            if (result == FeedResult.Ended)
                return;
        }
    }

    private async Task SendAsync()
    {
        try
        {
            // Nothing is sent before CONNECT came, and so the stream is there.
            var stream = _stream ?? throw new InvalidOperationException("bytes before the handshake");
            while (true)
            {
                var written = 0;
                foreach (var segment in Sending)
                {
                    await stream.WriteAsync(segment.Array.AsMemory(0, segment.Length));
                    written += segment.Length;
                    segment.Release();
                }

                SentAll();
                if (!Broker.SentAll(this, written))
                    return;
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or WebSocketException or OperationCanceledException or InvalidOperationException)
        {
            Sending.Clear();
            Broker.Ended(this, $"the connection broke: {e.Message}");
        }
    }

    private static string? NameOf(X509Certificate? certificate)
    {
        if (certificate is null)
            return null;
        using var parsed = certificate as X509Certificate2 is { } same ? new X509Certificate2(same) : X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        var name = parsed.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
        return name.Length == 0 ? null : name;
    }
}
