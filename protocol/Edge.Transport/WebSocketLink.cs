using System.Net.WebSockets;
using System.Runtime.CompilerServices;
using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary><see cref="ILink"/> over a WebSocket of either side: one message a text frame as KubeEdge does (kubeedge-wire §1.2), or, between Edge peers, binary frames of
/// <see cref="CompactCodec"/> records.</summary>
/// <param name="socket">An open one; the link disposes it.</param>
/// <param name="time">Clock of the write deadline.</param>
/// <param name="writeDeadline">How long a write may make no progress; <see cref="Timeout.InfiniteTimeSpan"/> leaves that to the caller, who then uses <see cref="Abort"/>.</param>
/// <param name="isEdgeWire">Whether <see cref="EdgeWire"/> was agreed.</param>
public sealed class WebSocketLink(WebSocket socket, TimeProvider time, TimeSpan writeDeadline, bool isEdgeWire = false) : ILink
{
    // A frame is sent once it is this long: longer ones delay a lease behind them.
    private const int FrameTarget = 64 * 1024;

    // Several records share a frame, and one of them may be as large as a message may be.
    private const int FrameMax = MessageLimits.MessageSizeMax + FrameTarget;

    private readonly SemaphoreSlim _writing = new(1, 1);

    // A frame whose records were not all asked for yet, and where the next one begins; null while there is none. Records are read one at a time, so that a frame
    // of small records that inflate to large ones never takes more than one of those in memory.
    private PooledBuffer? _frame;
    private int _next;
    private long _heardAt = time.GetTimestamp();
    private long _wroteAt = time.GetTimestamp();

    public bool IsEdgeWire => isEdgeWire;

    public string ClosedBecause => socket.CloseStatusDescription ?? "";

    public long HeardAt => Volatile.Read(ref _heardAt);

    public long WroteAt => Volatile.Read(ref _wroteAt);

    public async ValueTask SendAsync(Message message, CancellationToken cancellationToken)
    {
        using var buffer = new PooledBuffer(256 + message.Content.Length);
        Write(message, buffer);
        await SendAsync(buffer.Written, cancellationToken);
    }

    public async ValueTask SendAsync(IReadOnlyList<Message> messages, CancellationToken cancellationToken)
    {
        using var buffer = new PooledBuffer(4096);
        for (var i = 0; i < messages.Count; i++)
        {
            Write(messages[i], buffer);
            if (isEdgeWire && buffer.Count < FrameTarget)
                continue;
            await SendAsync(buffer.Written, cancellationToken);
            buffer.Clear();
        }

        if (buffer.Count > 0)
            await SendAsync(buffer.Written, cancellationToken);
    }

    // Pooled: a receive waits long enough to become old, and what is old and done would keep its message alive until the next full collection.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                if (_frame is not null && NextRecord(onMalformed) is { } next)
                    return next;

                // Waits without a buffer; only when something is there is one rented.
                var waited = await socket.ReceiveAsync(Memory<byte>.Empty, cancellationToken);
                Heard();
                if (waited.MessageType == WebSocketMessageType.Close)
                    return null;
                if (waited.EndOfMessage)
                {
                    onMalformed("an empty frame");
                    continue;
                }

                if (await ReadFrameAsync(cancellationToken) is not { } frame)
                    return null;
                if (frame.IsCompact)
                {
                    (_frame, _next) = (frame.Bytes, 0);
                    continue;
                }

                using var text = frame.Bytes;
                if (ReadText(text.Written, onMalformed) is { } message)
                    return message;
            }
        }
        catch (Exception e) when (IsBroken(e, cancellationToken))
        {
            throw new LinkException($"the link broke while receiving: {Explain(e)}", e);
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
        // Not _writing: a send under way leaves it yet, and lets in who waits behind it to learn that the link is gone.
        socket.Dispose();
        return ValueTask.CompletedTask;
    }

    private void Write(Message message, PooledBuffer buffer)
    {
        if (isEdgeWire)
            CompactCodec.Write(message, buffer);
        else
            MessageCodec.Write(message, buffer);
    }

    // In fragments (RFC 6455 §5.4), each with the deadline: a large message on a slow line is late, not lost, as long as the line moves.
    private async ValueTask SendAsync(ReadOnlyMemory<byte> frame, CancellationToken cancellationToken)
    {
        try
        {
            await EnterAsync(frame.Length, cancellationToken);
        }
        catch (Exception e) when (IsBroken(e, cancellationToken))
        {
            throw new LinkException($"the link broke while sending: {Explain(e)}", e);
        }

        using var deadline = writeDeadline == Timeout.InfiniteTimeSpan ? null : new CancellationTokenSource(writeDeadline, time);
        using var both = deadline is null ? null : CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        var until = both?.Token ?? cancellationToken;
        try
        {
            for (var rest = frame; ; deadline?.CancelAfter(writeDeadline))
            {
                var part = rest[..Math.Min(rest.Length, FrameTarget)];
                rest = rest[part.Length..];
                await socket.SendAsync(part, isEdgeWire ? WebSocketMessageType.Binary : WebSocketMessageType.Text, endOfMessage: rest.IsEmpty, until);
                if (rest.IsEmpty)
                    return;
                Wrote();
            }
        }
        catch (OperationCanceledException) when (deadline is { IsCancellationRequested: true } && !cancellationToken.IsCancellationRequested)
        {
            throw Late(frame.Length);
        }
        catch (Exception e) when (IsBroken(e, until))
        {
            throw new LinkException($"the link broke while sending: {Explain(e)}", e);
        }
        finally
        {
            _writing.Release();
        }
    }

    // Waits behind another write, as long as that one moves.
    private async ValueTask EnterAsync(int bytes, CancellationToken cancellationToken)
    {
        var isFree = _writing.Wait(TimeSpan.Zero, CancellationToken.None);
        if (!isFree && writeDeadline == Timeout.InfiniteTimeSpan)
        {
            await _writing.WaitAsync(cancellationToken);
            isFree = true;
        }

        while (!isFree)
        {
            using var wait = new CancellationTokenSource(writeDeadline, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(wait.Token, cancellationToken);
            try
            {
                await _writing.WaitAsync(either.Token);
                isFree = true;
            }
            catch (OperationCanceledException) when (wait.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
            {
                if (time.GetElapsedTime(WroteAt) >= writeDeadline)
                    throw Late(bytes);
            }
        }

        Wrote();
    }

    private LinkException Late(int bytes) => new($"a write of {bytes} bytes made no progress within {writeDeadline.TotalSeconds:0.#} s");

    // A socket that is aborted ends its calls as cancelled, although nobody cancelled them.
    private static bool IsBroken(Exception e, CancellationToken cancellationToken)
        => e is WebSocketException or IOException or ObjectDisposedException or InvalidOperationException
            || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);

    // Outermost says "Aborted" or "an exception occurred"; innermost, which errno. Both are short.
    private static string Explain(Exception e) => e.InnerException is null ? e.Message : $"{e.Message}: {e.GetBaseException().Message}";

    private static Message? ReadText(ReadOnlyMemory<byte> frame, Action<string> onMalformed)
    {
        // The content of the message points into these bytes, so they are its own.
        if (MessageCodec.TryRead(frame.ToArray(), out var message, out var error))
            return message;
        onMalformed(error);
        return null;
    }

    // Null when the peer closes.
    private async ValueTask<(PooledBuffer Bytes, bool IsCompact)?> ReadFrameAsync(CancellationToken cancellationToken)
    {
        var buffer = new PooledBuffer(4096);
        try
        {
            while (true)
            {
                var result = await socket.ReceiveAsync(buffer.GetMemory(2048), cancellationToken);
                Heard();
                if (result.MessageType == WebSocketMessageType.Close)
                    break;
                buffer.Advance(result.Count);
                if (buffer.Count > FrameMax)
                    throw new LinkException($"the peer sent a frame over the limit of {FrameMax} bytes");
                if (result.EndOfMessage)
                    return (buffer, isEdgeWire && result.MessageType == WebSocketMessageType.Binary);
            }
        }
        catch
        {
            buffer.Dispose();
            throw;
        }

        buffer.Dispose();
        return null;
    }

    // Null, with the frame given back, when it has no more.
    private Message? NextRecord(Action<string> onMalformed)
    {
        var rest = _frame!.Written.Span[_next..];
        if (!rest.IsEmpty)
        {
            if (CompactCodec.TryRead(ref rest, out var message, out var error))
            {
                _next = _frame.Count - rest.Length;
                return message;
            }

            onMalformed(error);
        }

        _frame.Dispose();
        _frame = null;
        return null;
    }

    private void Wrote() => Volatile.Write(ref _wroteAt, time.GetTimestamp());

    private void Heard() => Volatile.Write(ref _heardAt, time.GetTimestamp());
}
