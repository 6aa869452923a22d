namespace Edge.Protocol.Mqtt.Codec;

/// <summary>The fixed header of a packet whose bytes are all there (2.1).</summary>
internal readonly record struct MqttFrame(byte First, int BodyStart, int Length)
{
    public MqttPacketType Type => (MqttPacketType)(First >> 4);

    /// <summary>Reads the header at the start of <paramref name="buffer"/> and says whether the packet is whole.</summary>
    /// <param name="sizeMax">Bytes of a whole packet that are taken at most; checked before anything waits for the rest.</param>
    /// <param name="version">Null before CONNECT.</param>
    /// <param name="frame">When not whole: its Length is that of the packet once known, else 0.</param>
    /// <exception cref="MqttProtocolException">It is no packet, or too large.</exception>
    public static bool TryRead(ReadOnlySpan<byte> buffer, uint sizeMax, MqttVersion? version, out MqttFrame frame)
    {
        frame = default;
        if (buffer.IsEmpty)
            return false;
        var first = buffer[0];
        CheckFirst(first, version);
        switch (MqttReader.TryVarInt(buffer[1..], version == MqttVersion.V5, out var body, out var lengthBytes))
        {
            case VarIntStatus.NeedMore:
                return false;
            case VarIntStatus.Malformed:
                throw new MqttProtocolException(
                    MqttReasonCode.MalformedPacket, $"{Name(first)}: the remaining length is no variable byte integer of at most 4 bytes [MQTT-1.5.5-1]");
        }

        var total = 1 + lengthBytes + (long)body;
        if (total > sizeMax)
            throw new MqttProtocolException(MqttReasonCode.PacketTooLarge, $"{Name(first)}: the packet has {total} bytes, {sizeMax} are taken at most [MQTT-3.2.2-15]");
        frame = new MqttFrame(first, 1 + lengthBytes, (int)total);
        return buffer.Length >= total;
    }

    private static void CheckFirst(byte first, MqttVersion? version)
    {
        var type = (MqttPacketType)(first >> 4);
        var flags = first & 0x0F;
        if (type == 0 || (type == MqttPacketType.Auth && version == MqttVersion.V311))
            throw new MqttProtocolException(MqttReasonCode.MalformedPacket, $"packet type {(int)type} is reserved (2.1.2)");
        if (type == MqttPacketType.Publish)
        {
            if ((flags & 6) == 6)
                throw new MqttProtocolException(MqttReasonCode.MalformedPacket, "PUBLISH: both QoS bits are set [MQTT-3.3.1-4]");
            if ((flags & 0x0E) == 8)
                throw new MqttProtocolException(MqttReasonCode.MalformedPacket, "PUBLISH: DUP is set at QoS 0 [MQTT-3.3.1-2]");
            return;
        }

        var wanted = type is MqttPacketType.PubRel or MqttPacketType.Subscribe or MqttPacketType.Unsubscribe ? 2 : 0;
        if (flags != wanted)
            throw new MqttProtocolException(MqttReasonCode.MalformedPacket, $"{MqttReader.Name(type)}: the flags of the fixed header are {flags}, {wanted} is prescribed [MQTT-2.1.3-1]");
    }

    private static string Name(byte first) => MqttReader.Name((MqttPacketType)(first >> 4));
}
