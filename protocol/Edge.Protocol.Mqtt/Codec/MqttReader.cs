using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Edge.Protocol.Mqtt.Codec;

/// <summary>Reads the data types of MQTT 5.0, 1.5, from the body of one packet. Every read checks what is left first.</summary>
/// <remarks>Throws <see cref="MqttProtocolException"/> with 0x81 where bytes are missing or malformed.</remarks>
internal ref struct MqttReader(ReadOnlySpan<byte> data, MqttPacketType packet)
{
    private ReadOnlySpan<byte> _rest = data;

    public readonly int Left => _rest.Length;

    public readonly ReadOnlySpan<byte> Rest => _rest;

    public readonly MqttPacketType Packet => packet;

    public byte Byte(string field)
    {
        if (_rest.IsEmpty)
            Short(field, 1);
        var value = _rest[0];
        _rest = _rest[1..];
        return value;
    }

    public ushort UInt16(string field)
    {
        if (_rest.Length < 2)
            Short(field, 2);
        var value = BinaryPrimitives.ReadUInt16BigEndian(_rest);
        _rest = _rest[2..];
        return value;
    }

    public uint UInt32(string field)
    {
        if (_rest.Length < 4)
            Short(field, 4);
        var value = BinaryPrimitives.ReadUInt32BigEndian(_rest);
        _rest = _rest[4..];
        return value;
    }

    /// <summary>A packet identifier, which is never 0 (2.2.1).</summary>
    public ushort PacketId()
    {
        var id = UInt16("packet identifier");
        if (id == 0)
            throw Error(MqttReasonCode.ProtocolError, "the packet identifier is 0; it is 1 to 65535 [MQTT-2.2.1-3]");
        return id;
    }

    /// <summary>A variable byte integer (1.5.5).</summary>
    public uint VarInt(string field)
    {
        switch (TryVarInt(_rest, strict: true, out var value, out var length))
        {
            case VarIntStatus.Complete:
                _rest = _rest[length..];
                return value;
            case VarIntStatus.NeedMore:
                Short(field, _rest.Length + 1);
                return 0;
            default:
                throw Error(MqttReasonCode.MalformedPacket, $"{field} is no variable byte integer: over 4 bytes, or more bytes than the value needs [MQTT-1.5.5-1]");
        }
    }

    public ReadOnlySpan<byte> Bytes(int count, string field)
    {
        if (_rest.Length < count)
            Short(field, count);
        var value = _rest[..count];
        _rest = _rest[count..];
        return value;
    }

    /// <summary>Binary data (1.5.6).</summary>
    public ReadOnlySpan<byte> Binary(string field) => Bytes(UInt16(field), field);

    /// <summary>The bytes of a UTF-8 string (1.5.4), checked.</summary>
    public ReadOnlySpan<byte> Utf8(string field)
    {
        var value = Binary(field);
        if (!System.Text.Unicode.Utf8.IsValid(value))
            throw Error(MqttReasonCode.MalformedPacket, $"{field} is no well-formed UTF-8 (or has a surrogate) [MQTT-1.5.4-1]");
        if (value.Contains((byte)0))
            throw Error(MqttReasonCode.MalformedPacket, $"{field} has the character U+0000 [MQTT-1.5.4-2]");
        return value;
    }

    public string String(string field) => Encoding.UTF8.GetString(Utf8(field));

    /// <summary>Nothing may follow.</summary>
    public readonly void End()
    {
        if (!_rest.IsEmpty)
            throw Error(MqttReasonCode.MalformedPacket, $"{_rest.Length} bytes follow the last field");
    }

    public readonly MqttProtocolException Error(MqttReasonCode code, string text) => new(code, $"{Name(packet)}: {text}");

    public static string Name(MqttPacketType packet) => packet.ToString().ToUpperInvariant();

    public static VarIntStatus TryVarInt(ReadOnlySpan<byte> data, bool strict, out uint value, out int length)
    {
        value = 0;
        length = 0;
        for (var i = 0; i < 4; i++)
        {
            if (i == data.Length)
                return VarIntStatus.NeedMore;
            var one = data[i];
            value |= (uint)(one & 0x7F) << (7 * i);
            if ((one & 0x80) != 0)
                continue;
            length = i + 1;
            return strict && one == 0 && i > 0 ? VarIntStatus.Malformed : VarIntStatus.Complete;
        }

        return VarIntStatus.Malformed;
    }

    [DoesNotReturn]
    private readonly void Short(string field, int need)
        => throw Error(MqttReasonCode.MalformedPacket, $"the packet ends inside {field}: {need} bytes needed, {_rest.Length} left");
}

internal enum VarIntStatus
{
    Complete,
    NeedMore,
    Malformed,
}
