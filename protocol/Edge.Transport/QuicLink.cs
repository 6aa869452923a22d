using System.Runtime.CompilerServices;
using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary><see cref="ILink"/> over three duplex streams of one connection (<see cref="LinkLane"/>), in frames of <see cref="QuicFrame"/>. Between Edge peers only.</summary>
/// <remarks>A lane that its reader leaves unread fills its own flow-control window and nothing else: bulk never delays a lease. Idle, it holds three pending reads of four bytes.</remarks>
/// <param name="streams">Greeted ones (<see cref="QuicGreeting"/>); the link disposes them.</param>
/// <param name="time">Clock of the write deadline.</param>
/// <param name="writeDeadline">How long one write may take; <see cref="Timeout.InfiniteTimeSpan"/> leaves that to the caller, who then uses <see cref="Abort"/>.</param>
public sealed class QuicLink(ILaneStreams streams, TimeProvider time, TimeSpan writeDeadline) : ILink
{
    // The record that says why the link is closed; it never leaves this class.
    private const string CloseOperation = "close";

    // As long as a WebSocket's, characters.
    private const int ReasonMax = 120;
    private static readonly TimeSpan s_closeWithin = TimeSpan.FromSeconds(2);

    private readonly Lane[] _lanes = [.. Enum.GetValues<LinkLane>().Select(lane => new Lane(streams[lane]))];
    private volatile string _closedBecause = "";
    private long _heardAt = time.GetTimestamp();

    public bool IsEdgeWire => true;

    public bool HasLanes => true;

    public string ClosedBecause => _closedBecause;

    public long HeardAt => Volatile.Read(ref _heardAt);

    public async ValueTask SendAsync(Message message, CancellationToken cancellationToken)
    {
        using var buffer = new PooledBuffer(256 + message.Content.Length);
        QuicFrame.Begin(buffer);
        CompactCodec.Write(message, buffer);
        await SendAsync(_lanes[(int)LinkLanes.Of(message)], QuicFrame.End(buffer), cancellationToken);
    }

    /// <remarks>Lanes are written at the same time; a lane that is held up delays only the end of this call.</remarks>
    public async ValueTask SendAsync(IReadOnlyList<Message> messages, CancellationToken cancellationToken)
    {
        var sending = new List<Task>(LinkLanes.Count);
        for (var lane = 0; lane < LinkLanes.Count; lane++)
        {
            if (Any(messages, (LinkLane)lane))
                sending.Add(SendAsync((LinkLane)lane, messages, cancellationToken));
        }

        if (sending.Count == 1)
            await sending[0];
        else
            await Task.WhenAll(sending);
    }

    /// <summary>The next message of any lane: of several that are there, the one of the most urgent lane.</summary>
    public async ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken)
    {
        var waiting = new List<Task>(LinkLanes.Count);
        while (true)
        {
            waiting.Clear();
            foreach (var lane in _lanes)
            {
                if (lane.HasEnded)
                    continue;
                // Not cancelled with the caller: that would break the stream in the middle of a frame. It ends with the link.
                lane.Pending ??= ReceiveAsync(lane, onMalformed, CancellationToken.None).AsTask();
                if (!lane.Pending.IsCompleted)
                {
                    waiting.Add(lane.Pending);
                    continue;
                }

                var message = await lane.Pending;
                lane.Pending = null;
                if (message is not null)
                    return message;
                lane.HasEnded = true;
            }

            if (waiting.Count == 0)
                return null;
            await Task.WhenAny(waiting).WaitAsync(cancellationToken);
        }
    }

    public ValueTask<Message?> ReceiveAsync(LinkLane lane, Action<string> onMalformed, CancellationToken cancellationToken)
        => ReceiveAsync(_lanes[(int)lane], onMalformed, cancellationToken);

    public async ValueTask CloseAsync(string reason)
    {
        try
        {
            using var deadline = new CancellationTokenSource(s_closeWithin, time);
            var last = new Message { Id = "", Operation = CloseOperation, Content = MessageCodec.JsonString(reason.Length > ReasonMax ? reason[..ReasonMax] : reason) };
            await SendAsync(_lanes[(int)LinkLane.Control], QuicFrame.Write(last), deadline.Token);
            await streams.CompleteWritesAsync(deadline.Token);
        }
        catch (Exception e) when (e is LinkException or IOException or ObjectDisposedException or InvalidOperationException or OperationCanceledException)
        {
            // The peer is already gone, or takes nothing; closing has nothing left to do.
        }
    }

    public void Abort() => streams.Abort();

    // Not the lanes' locks: a send under way leaves one yet, and lets in who waits behind it to learn that the link is gone.
    public ValueTask DisposeAsync() => streams.DisposeAsync();

    private static bool Any(IReadOnlyList<Message> messages, LinkLane lane)
    {
        for (var i = 0; i < messages.Count; i++)
        {
            if (LinkLanes.Of(messages[i]) == lane)
                return true;
        }

        return false;
    }

    private async Task SendAsync(LinkLane lane, IReadOnlyList<Message> messages, CancellationToken cancellationToken)
    {
        using var buffer = new PooledBuffer(4096);
        QuicFrame.Begin(buffer);
        for (var i = 0; i < messages.Count; i++)
        {
            if (LinkLanes.Of(messages[i]) != lane)
                continue;
            CompactCodec.Write(messages[i], buffer);
            if (buffer.Count < QuicFrame.Target)
                continue;
            await SendAsync(_lanes[(int)lane], QuicFrame.End(buffer), cancellationToken);
            QuicFrame.Begin(buffer);
        }

        if (buffer.Count > QuicFrame.HeaderSize)
            await SendAsync(_lanes[(int)lane], QuicFrame.End(buffer), cancellationToken);
    }

    private async ValueTask SendAsync(Lane lane, ReadOnlyMemory<byte> frame, CancellationToken cancellationToken)
    {
        using var deadline = writeDeadline == Timeout.InfiniteTimeSpan ? null : new CancellationTokenSource(writeDeadline, time);
        using var both = deadline is null ? null : CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        var until = both?.Token ?? cancellationToken;
        try
        {
            await lane.Writing.WaitAsync(until);
            try
            {
                await lane.Stream.WriteAsync(frame, until);
            }
            catch
            {
                // Part of a frame may be out: nothing that follows on the lane could be read.
                streams.Abort();
                throw;
            }
            finally
            {
                lane.Writing.Release();
            }
        }
        catch (OperationCanceledException) when (deadline is { IsCancellationRequested: true } && !cancellationToken.IsCancellationRequested)
        {
            streams.Abort();
            throw new LinkException($"a write of {frame.Length} bytes did not finish within {writeDeadline.TotalSeconds:0.#} s");
        }
        catch (Exception e) when (IsBroken(e, until))
        {
            throw new LinkException($"the link broke while sending: {Explain(e)}", e);
        }
    }

    // Pooled, as WebSocketLink's.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Message?> ReceiveAsync(Lane lane, Action<string> onMalformed, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                if (lane.Frame is not null && NextRecord(lane, onMalformed) is { } next)
                {
                    if (next.Operation != CloseOperation)
                        return next;
                    // What the peer sent before on other lanes is still to be read; their ends follow.
                    Said(next);
                    continue;
                }

                if (await ReadFrameAsync(lane, cancellationToken) is not { } frame)
                    return null;
                if (frame.Count > 0)
                {
                    (lane.Frame, lane.Next) = (frame, 0);
                    continue;
                }

                frame.Dispose();
                onMalformed("an empty frame");
            }
        }
        catch (LinkException)
        {
            streams.Abort();
            throw;
        }
        catch (Exception e) when (IsBroken(e, cancellationToken))
        {
            streams.Abort();
            throw new LinkException($"the link broke while receiving: {Explain(e)}", e);
        }
    }

    // Null when the peer ended the lane. Pooled as well.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<PooledBuffer?> ReadFrameAsync(Lane lane, CancellationToken cancellationToken)
    {
        for (var count = 0; count < QuicFrame.HeaderSize;)
        {
            var read = await lane.Stream.ReadAsync(lane.Header.AsMemory(count), cancellationToken);
            if (read == 0)
                return count == 0 ? null : throw new LinkException("the peer ended a lane inside a frame's length");
            Heard();
            count += read;
        }

        if (!QuicFrame.TryReadHeader(lane.Header, QuicFrame.SizeMax, out var length, out var error))
            throw new LinkException(error);
        // It grows with what comes, not with what was announced.
        var buffer = new PooledBuffer(Math.Min(Math.Max(length, 1), 4096));
        try
        {
            while (buffer.Count < length)
            {
                var left = length - buffer.Count;
                var room = buffer.GetMemory(Math.Min(left, 2048));
                var read = await lane.Stream.ReadAsync(room[..Math.Min(left, room.Length)], cancellationToken);
                if (read == 0)
                    throw new LinkException($"the peer ended a lane inside a frame, {left} bytes before its end");
                Heard();
                buffer.Advance(read);
            }

            return buffer;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    // Null, with the frame given back, when it has no more.
    private static Message? NextRecord(Lane lane, Action<string> onMalformed)
    {
        var rest = lane.Frame!.Written.Span[lane.Next..];
        if (!rest.IsEmpty)
        {
            if (CompactCodec.TryRead(ref rest, out var message, out var error))
            {
                lane.Next = lane.Frame.Count - rest.Length;
                return message;
            }

            onMalformed(error);
        }

        lane.Frame.Dispose();
        lane.Frame = null;
        return null;
    }

    private static bool IsBroken(Exception e, CancellationToken cancellationToken)
        => e is IOException or ObjectDisposedException or InvalidOperationException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);

    private static string Explain(Exception e) => e.InnerException is null ? e.Message : $"{e.Message}: {e.GetBaseException().Message}";

    private void Said(Message close)
    {
        var text = System.Text.Encoding.UTF8.GetString(MessageCodec.Unwrap(close.Content).Span);
        _closedBecause = text.Length > ReasonMax ? text[..ReasonMax] : text;
    }

    private void Heard() => Volatile.Write(ref _heardAt, time.GetTimestamp());

    private sealed class Lane(Stream stream)
    {
        public Stream Stream { get; } = stream;

        public SemaphoreSlim Writing { get; } = new(1, 1);

        public byte[] Header { get; } = new byte[QuicFrame.HeaderSize];

        /// <summary>A frame whose records were not all asked for yet, and where the next one begins; the reader's own.</summary>
        public PooledBuffer? Frame { get; set; }

        public int Next { get; set; }

        /// <summary>A read that was begun for whoever asks for any lane's next message; the reader's own, as is the next.</summary>
        public Task<Message?>? Pending { get; set; }

        public bool HasEnded { get; set; }
    }
}
