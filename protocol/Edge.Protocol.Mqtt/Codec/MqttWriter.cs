using System.Buffers.Binary;
using System.Text;

namespace Edge.Protocol.Mqtt.Codec;

/// <summary>Writes the data types of MQTT 5.0, 1.5, into memory that grows. For what is not on the hot path; PUBLISH has <see cref="MqttPublishWriter"/>.</summary>
internal sealed class MqttWriter
{
    /// <summary>The largest value of a variable byte integer, and of a packet's remaining length.</summary>
    public const uint VarIntMax = 268_435_455;

    private byte[] _buffer = new byte[64];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Written => _buffer.AsSpan(0, Length);

    public void Byte(byte value) => Take(1)[0] = value;

    public void UInt16(ushort value) => BinaryPrimitives.WriteUInt16BigEndian(Take(2), value);

    public void UInt32(uint value) => BinaryPrimitives.WriteUInt32BigEndian(Take(4), value);

    public void VarInt(uint value) => PutVarInt(Take(VarIntLength(value)), value);

    public void Bytes(ReadOnlySpan<byte> value) => value.CopyTo(Take(value.Length));

    /// <exception cref="ArgumentException">Over 65535 bytes: the length has two bytes.</exception>
    public void Binary(ReadOnlySpan<byte> value)
    {
        UInt16(Checked(value.Length));
        Bytes(value);
    }

    /// <exception cref="ArgumentException">Over 65535 bytes of UTF-8.</exception>
    public void String(string value)
    {
        var length = Encoding.UTF8.GetByteCount(value);
        UInt16(Checked(length));
        Encoding.UTF8.GetBytes(value, Take(length));
    }

    /// <summary>A whole packet: the fixed header, then what was written.</summary>
    public byte[] ToPacket(MqttPacketType type, int flags = 0)
    {
        var header = 1 + VarIntLength((uint)Length);
        var packet = new byte[header + Length];
        packet[0] = (byte)(((int)type << 4) | flags);
        PutVarInt(packet.AsSpan(1), (uint)Length);
        Written.CopyTo(packet.AsSpan(header));
        return packet;
    }

    public static int VarIntLength(uint value) => value switch
    {
        < 128 => 1,
        < 16_384 => 2,
        < 2_097_152 => 3,
        <= VarIntMax => 4,
        _ => throw new ArgumentException($"{value} does not fit into a variable byte integer (at most {VarIntMax}, 1.5.5)"),
    };

    /// <returns>How many bytes it took.</returns>
    public static int PutVarInt(Span<byte> target, uint value)
    {
        var i = 0;
        while (value > 127)
        {
            target[i++] = (byte)(value | 0x80);
            value >>= 7;
        }

        target[i++] = (byte)value;
        return i;
    }

    private static ushort Checked(int length)
        => length <= ushort.MaxValue ? (ushort)length : throw new ArgumentException($"a string or binary field has {length} bytes; MQTT takes at most 65535 (1.5.4)");

    private Span<byte> Take(int count)
    {
        if (_buffer.Length - Length < count)
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, Length + count));
        var span = _buffer.AsSpan(Length, count);
        Length += count;
        return span;
    }
}
