using System.Buffers;
using System.Buffers.Binary;

namespace Edge.Transport;

/// <summary>What a frame carries (RFC 6455 §5.2).</summary>
public enum WebSocketOpcode
{
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// <summary>How far a frame could be read.</summary>
public enum WebSocketFrameStatus
{
    Complete,
    NeedMoreData,

    /// <summary>The peer broke the grammar or a limit: the connection cannot be read on.</summary>
    Malformed,
}

/// <summary>Frames of RFC 6455 §5.2 without a look at what text frames carry. .NET's own WebSocket refuses text that is not UTF-8, and the tunnel of KubeEdge sends bytes as text. No
/// extensions. Pure.</summary>
public static class WebSocketFrame
{
    /// <summary>The longest header, bytes: two, the length and the mask.</summary>
    public const int HeaderSizeMax = 14;

    private const int ControlSizeMax = 125;

    /// <summary>Reads one frame; consumes it only when it is complete.</summary>
    /// <param name="isMasked">Whether the peer is the client, whose frames are masked; the server's are not.</param>
    /// <param name="payloadSizeMax">The largest payload that is taken; judged before the payload is waited for.</param>
    /// <param name="payload">A copy, unmasked.</param>
    /// <param name="error">Why the frame is malformed; else empty.</param>
    public static WebSocketFrameStatus TryRead(
        ref ReadOnlySequence<byte> buffer, bool isMasked, int payloadSizeMax, out WebSocketOpcode opcode, out bool isFinal, out byte[] payload, out string error)
    {
        (opcode, isFinal, payload, error) = (default, false, [], "");
        var reader = new SequenceReader<byte>(buffer);
        if (!reader.TryRead(out var first) || !reader.TryRead(out var second))
            return WebSocketFrameStatus.NeedMoreData;
        opcode = (WebSocketOpcode)(first & 0x0f);
        isFinal = (first & 0x80) != 0;
        var isControl = opcode >= WebSocketOpcode.Close;
        if ((first & 0x70) != 0)
            error = "a reserved bit is set, and no extension was agreed on";
        else if (opcode is not (WebSocketOpcode.Continuation or WebSocketOpcode.Text or WebSocketOpcode.Binary or WebSocketOpcode.Close or WebSocketOpcode.Ping or WebSocketOpcode.Pong))
            error = $"there is no opcode {(int)opcode}";
        else if ((second & 0x80) != 0 != isMasked)
            error = isMasked ? "a client's frame is not masked" : "a server's frame is masked";
        else if (isControl && (!isFinal || (second & 0x7f) > ControlSizeMax))
            error = "a control frame is cut or too long";
        if (error.Length > 0)
            return WebSocketFrameStatus.Malformed;

        long length = second & 0x7f;
        if (length == 126)
        {
            if (!reader.TryReadBigEndian(out short two))
                return WebSocketFrameStatus.NeedMoreData;
            length = (ushort)two;
        }
        else if (length == 127 && !reader.TryReadBigEndian(out length))
        {
            return WebSocketFrameStatus.NeedMoreData;
        }

        if (length < 0 || length > payloadSizeMax)
        {
            error = $"a frame of {(ulong)length} bytes is over the limit of {payloadSizeMax}";
            return WebSocketFrameStatus.Malformed;
        }

        Span<byte> mask = stackalloc byte[4];
        if (isMasked && !reader.TryReadExact(mask.Length, out _))
            return WebSocketFrameStatus.NeedMoreData;
        if (reader.Remaining < length)
            return WebSocketFrameStatus.NeedMoreData;
        payload = reader.UnreadSequence.Slice(0, length).ToArray();
        if (isMasked)
        {
            buffer.Slice(reader.Consumed - mask.Length, mask.Length).CopyTo(mask);
            Mask(payload, mask);
        }

        buffer = buffer.Slice(reader.Consumed + length);
        return WebSocketFrameStatus.Complete;
    }

    /// <summary>One whole frame. Only a client masks, with four random bytes that nobody can guess.</summary>
    /// <param name="mask">Four bytes, or none for a server's frame.</param>
    public static byte[] Write(WebSocketOpcode opcode, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> mask = default)
    {
        Span<byte> header = stackalloc byte[HeaderSizeMax];
        header[0] = (byte)(0x80 | (int)opcode);
        var size = 2;
        switch (payload.Length)
        {
            case < 126:
                header[1] = (byte)payload.Length;
                break;
            case <= ushort.MaxValue:
                header[1] = 126;
                BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)payload.Length);
                size = 4;
                break;
            default:
                header[1] = 127;
                BinaryPrimitives.WriteInt64BigEndian(header[2..], payload.Length);
                size = 10;
                break;
        }

        if (mask.Length == 4)
        {
            header[1] |= 0x80;
            mask.CopyTo(header[size..]);
            size += mask.Length;
        }

        var frame = new byte[size + payload.Length];
        header[..size].CopyTo(frame);
        payload.CopyTo(frame.AsSpan(size));
        if (mask.Length == 4)
            Mask(frame.AsSpan(size), mask);
        return frame;
    }

    private static void Mask(Span<byte> payload, ReadOnlySpan<byte> mask)
    {
        for (var i = 0; i < payload.Length; i++)
            payload[i] ^= mask[i & 3];
    }
}
