namespace Edge.Protocol.Tunnel;

/// <summary>What a message of KubeEdge's tunnel is (kubeedge-wire §5.7).</summary>
public enum TunnelMessageType
{
    LogsConnect = 0,
    ExecConnect = 1,
    MetricsConnect = 2,
    Data = 3,

    /// <summary>The connection has ended; the other side forgets it.</summary>
    RemoveConnect = 4,

    /// <summary>The tunnel ends; the reason is the data.</summary>
    CloseConnect = 5,
    AttachConnect = 6,
}

/// <summary>A message of KubeEdge's tunnel on port 10004: <c>message = uvarint(id) uvarint(type) *OCTET</c>, one a WebSocket frame. Pure.</summary>
/// <param name="Id">Of the connection, chosen by the cloud.</param>
public readonly record struct TunnelMessage(ulong Id, TunnelMessageType Type, ReadOnlyMemory<byte> Data)
{
    /// <summary>Largest message, bytes: a stock edge reads no larger one.</summary>
    public const int SizeMax = 1 << 20;

    private const int VarintSizeMax = 10;

    /// <summary>Reads one message; its data is a part of <paramref name="bytes"/>.</summary>
    /// <returns>False with the reason when it is none.</returns>
    public static bool TryRead(ReadOnlyMemory<byte> bytes, out TunnelMessage message, out string error)
    {
        message = default;
        var rest = bytes.Span;
        if (!TryReadVarint(ref rest, out var id) || !TryReadVarint(ref rest, out var type))
        {
            error = $"a message of {bytes.Length} bytes has no id and type";
            return false;
        }

        if (type > (ulong)TunnelMessageType.AttachConnect)
        {
            error = $"there is no message type {type}";
            return false;
        }

        message = new TunnelMessage(id, (TunnelMessageType)type, bytes[^rest.Length..]);
        error = "";
        return true;
    }

    /// <summary>The message's bytes.</summary>
    public byte[] ToBytes()
    {
        Span<byte> head = stackalloc byte[2 * VarintSizeMax];
        var size = WriteVarint(head, Id);
        size += WriteVarint(head[size..], (ulong)Type);
        var bytes = new byte[size + Data.Length];
        head[..size].CopyTo(bytes);
        Data.Span.CopyTo(bytes.AsSpan(size));
        return bytes;
    }

    // Seven bits a byte, the lowest first; the last byte has the top bit clear.
    private static bool TryReadVarint(ref ReadOnlySpan<byte> bytes, out ulong value)
    {
        value = 0;
        for (var i = 0; i < VarintSizeMax && i < bytes.Length; i++)
        {
            var part = bytes[i];
            // The tenth byte has room for one bit.
            if (i == VarintSizeMax - 1 && part > 1)
                return false;
            value |= (ulong)(part & 0x7f) << (7 * i);
            if (part < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return true;
            }
        }

        return false;
    }

    private static int WriteVarint(Span<byte> output, ulong value)
    {
        var size = 0;
        for (; value >= 0x80; value >>= 7)
            output[size++] = (byte)(value | 0x80);
        output[size++] = (byte)value;
        return size;
    }
}
