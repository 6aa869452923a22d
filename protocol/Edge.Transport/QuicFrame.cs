using System.Buffers;
using System.Buffers.Binary;
using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary>How messages lie on a QUIC stream: <c>frame = length 1*record</c>, where length is a u32 in network order, the bytes of the records that follow, and a record is one of
/// <see cref="CompactCodec"/>, as in a WebSocket frame between Edge peers. Pure.</summary>
public static class QuicFrame
{
    public const int HeaderSize = 4;

    /// <summary>A frame is sent once it is this long, bytes: longer ones delay what comes behind them on their stream.</summary>
    public const int Target = 64 * 1024;

    /// <summary>Largest frame, bytes. Several records share one, and one of them may be as large as a message may be.</summary>
    public const int SizeMax = MessageLimits.MessageSizeMax + Target;

    /// <summary>Largest first frame, bytes: it comes from a peer that is not known yet.</summary>
    public const int GreetingMax = 4096;

    /// <summary>Reads a header.</summary>
    /// <param name="header">Exactly <see cref="HeaderSize"/> bytes.</param>
    /// <param name="sizeMax">The largest length that is taken.</param>
    /// <param name="length">Bytes of records that follow; 0 is an empty frame, which says nothing.</param>
    /// <param name="error">Why the stream cannot be read on; empty on success.</param>
    public static bool TryReadHeader(ReadOnlySpan<byte> header, int sizeMax, out int length, out string error)
    {
        var claimed = BinaryPrimitives.ReadUInt32BigEndian(header);
        error = claimed > (uint)sizeMax ? $"the peer sent a frame of {claimed} bytes, over the limit of {sizeMax}" : "";
        length = error.Length > 0 ? 0 : (int)claimed;
        return error.Length == 0;
    }

    /// <summary>Empties <paramref name="output"/> and leaves room for a header; records may then be appended.</summary>
    internal static void Begin(PooledBuffer output)
    {
        output.Clear();
        output.GetSpan(HeaderSize);
        output.Advance(HeaderSize);
    }

    /// <summary>Puts the length of what was written since <see cref="Begin"/> into the header.</summary>
    internal static ReadOnlyMemory<byte> End(PooledBuffer output)
    {
        BinaryPrimitives.WriteUInt32BigEndian(output.WrittenSpan, (uint)(output.Count - HeaderSize));
        return output.Written;
    }

    /// <summary>One message as one frame.</summary>
    public static byte[] Write(Message message)
    {
        var records = new ArrayBufferWriter<byte>();
        CompactCodec.Write(message, records);
        var frame = new byte[HeaderSize + records.WrittenCount];
        BinaryPrimitives.WriteUInt32BigEndian(frame, (uint)records.WrittenCount);
        records.WrittenSpan.CopyTo(frame.AsSpan(HeaderSize));
        return frame;
    }
}
