using System.Net.WebSockets;
using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary><see cref="ILink"/> over a WebSocket of either side: one message a text frame as KubeEdge does (kubeedge-wire §1.2), or, between Edge peers, binary frames of
/// <see cref="CompactCodec"/> records.</summary>
/// <param name="socket">An open one; the link disposes it.</param>
/// <param name="time">Clock of the write deadline.</param>
/// <param name="writeDeadline">How long one write may take; <see cref="Timeout.InfiniteTimeSpan"/> leaves that to the caller, who then uses <see cref="Abort"/>.</param>
/// <param name="isEdgeWire">Whether <see cref="EdgeWire"/> was agreed.</param>
public sealed class WebSocketLink(WebSocket socket, TimeProvider time, TimeSpan writeDeadline, bool isEdgeWire = false) : ILink
{
    // A frame is sent once it is this long: longer ones delay a lease behind them.
    private const int FrameTarget = 64 * 1024;

    // Several records share a frame, and one of them may be as large as a message may be.
    private const int FrameMax = MessageLimits.MessageSizeMax + FrameTarget;

    private readonly SemaphoreSlim _writing = new(1, 1);

    // Messages of a frame that were not asked for yet; null while there are none.
    private Queue<Message>? _received;

    public bool IsEdgeWire => isEdgeWire;

    public async ValueTask SendAsync(Message message, CancellationToken cancellationToken)
    {
        using var buffer = new PooledBuffer(256 + message.Content.Length);
        Write(message, buffer);
        await SendAsync(buffer.Written, cancellationToken);
    }

    public async ValueTask SendAsync(IReadOnlyList<Message> messages, CancellationToken cancellationToken)
    {
        using var buffer = new PooledBuffer(4096);
        foreach (var message in messages)
        {
            Write(message, buffer);
            if (isEdgeWire && buffer.Count < FrameTarget)
                continue;
            await SendAsync(buffer.Written, cancellationToken);
            buffer.Clear();
        }

        if (buffer.Count > 0)
            await SendAsync(buffer.Written, cancellationToken);
    }

    public async ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                if (_received is not null)
                {
                    if (_received.TryDequeue(out var next))
                        return next;
                    _received = null;
                }

                // Waits without a buffer; only when something is there is one rented.
                var waited = await socket.ReceiveAsync(Memory<byte>.Empty, cancellationToken);
                if (waited.MessageType == WebSocketMessageType.Close)
                    return null;
                if (waited.EndOfMessage)
                {
                    onMalformed("an empty frame");
                    continue;
                }

                using var buffer = new PooledBuffer(4096);
                ValueWebSocketReceiveResult result;
                do
                {
                    result = await socket.ReceiveAsync(buffer.GetMemory(2048), cancellationToken);
                    if (result.MessageType == WebSocketMessageType.Close)
                        return null;
                    buffer.Advance(result.Count);
                    if (buffer.Count > FrameMax)
                        throw new LinkException($"the peer sent a frame over the limit of {FrameMax} bytes");
                }
                while (!result.EndOfMessage);

                var isCompact = isEdgeWire && result.MessageType == WebSocketMessageType.Binary;
                if ((isCompact ? ReadFrame(buffer.Written.Span, onMalformed) : ReadText(buffer.Written, onMalformed)) is { } message)
                    return message;
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

    public void Abort() => socket.Abort();

    public ValueTask DisposeAsync()
    {
        socket.Dispose();
        _writing.Dispose();
        return ValueTask.CompletedTask;
    }

    private void Write(Message message, PooledBuffer buffer)
    {
        if (isEdgeWire)
            CompactCodec.Write(message, buffer);
        else
            MessageCodec.Write(message, buffer);
    }

    private async ValueTask SendAsync(ReadOnlyMemory<byte> frame, CancellationToken cancellationToken)
    {
        using var deadline = writeDeadline == Timeout.InfiniteTimeSpan ? null : new CancellationTokenSource(writeDeadline, time);
        using var both = deadline is null ? null : CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        var until = both?.Token ?? cancellationToken;
        try
        {
            await _writing.WaitAsync(until);
            try
            {
                await socket.SendAsync(frame, isEdgeWire ? WebSocketMessageType.Binary : WebSocketMessageType.Text, endOfMessage: true, until);
            }
            finally
            {
                _writing.Release();
            }
        }
        catch (OperationCanceledException) when (deadline is { IsCancellationRequested: true } && !cancellationToken.IsCancellationRequested)
        {
            throw new LinkException($"a write of {frame.Length} bytes did not finish within {writeDeadline.TotalSeconds:0.#} s");
        }
        catch (Exception e) when (e is WebSocketException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            throw new LinkException($"the link broke while sending: {e.Message}", e);
        }
    }

    private static Message? ReadText(ReadOnlyMemory<byte> frame, Action<string> onMalformed)
    {
        // The content of the message points into these bytes, so they are its own.
        if (MessageCodec.TryRead(frame.ToArray(), out var message, out var error))
            return message;
        onMalformed(error);
        return null;
    }

    private Message? ReadFrame(ReadOnlySpan<byte> frame, Action<string> onMalformed)
    {
        Message? first = null;
        while (!frame.IsEmpty)
        {
            if (!CompactCodec.TryRead(ref frame, out var message, out var error))
            {
                onMalformed(error);
                break;
            }

            if (first is null)
                first = message;
            else
                (_received ??= new Queue<Message>()).Enqueue(message);
        }

        return first;
    }
}
