using System.Buffers;
using System.Net.WebSockets;
using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary><see cref="ILink"/> over a WebSocket of either side: one message a text frame, no compression (kubeedge-wire §1.2).</summary>
public sealed class WebSocketLink(WebSocket socket, TimeProvider time, TimeSpan writeDeadline) : ILink
{
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly ArrayBufferWriter<byte> _incoming = new(4096);

    public async ValueTask SendAsync(Message message, CancellationToken cancellationToken)
    {
        var bytes = MessageCodec.Write(message);
        using var deadline = new CancellationTokenSource(writeDeadline, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            await _writing.WaitAsync(both.Token);
            try
            {
                await socket.SendAsync(bytes, WebSocketMessageType.Text, endOfMessage: true, both.Token);
            }
            finally
            {
                _writing.Release();
            }
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new LinkException($"a write of {bytes.Length} bytes did not finish within {writeDeadline.TotalSeconds:0.#} s");
        }
        catch (Exception e) when (e is WebSocketException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            throw new LinkException($"the link broke while sending: {e.Message}", e);
        }
    }

    public async ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                _incoming.ResetWrittenCount();
                ValueWebSocketReceiveResult result;
                do
                {
                    result = await socket.ReceiveAsync(_incoming.GetMemory(4096), cancellationToken);
                    if (result.MessageType == WebSocketMessageType.Close)
                        return null;
                    _incoming.Advance(result.Count);
                    if (_incoming.WrittenCount > MessageLimits.MessageSizeMax)
                        throw new LinkException($"the peer sent a message over the limit of {MessageLimits.MessageSizeMax} bytes");
                }
                while (!result.EndOfMessage);

                // The content of the message points into these bytes, so they are its own.
                if (MessageCodec.TryRead(_incoming.WrittenSpan.ToArray(), out var message, out var error))
                    return message;
                onMalformed(error);
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            throw new LinkException($"the link broke while receiving: {e.Message}", e);
        }
    }

    public async ValueTask CloseAsync(string reason)
    {
        try
        {
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(2), time);
            // A close frame's reason is at most 123 bytes (RFC 6455 §5.5).
            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, reason.Length > 120 ? reason[..120] : reason, deadline.Token);
        }
        catch (Exception e) when (e is WebSocketException or IOException or ObjectDisposedException or InvalidOperationException or OperationCanceledException)
        {
            // The peer is already gone; closing has nothing left to do.
        }
    }

    public ValueTask DisposeAsync()
    {
        socket.Dispose();
        _writing.Dispose();
        return ValueTask.CompletedTask;
    }
}
