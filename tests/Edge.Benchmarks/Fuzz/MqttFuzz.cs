using Edge.Protocol.Mqtt.Codec;

namespace Edge.Benchmarks.Fuzz;

/// <summary>MQTT packets of both versions: what is read must be written and read again to the same bytes, what is refused must have a reason.</summary>
internal static class MqttFuzz
{
    private static readonly byte[][] s_packets =
    [
        .. new[]
        {
            "10190004 4D515454 05 C2 003C 05 1100000E10 0001 63 0001 75 0001 70", "10120004 4D515454 04 06 003C 0001 63 0001 77 0000", "2006 00 00 03 22000A", "20020000",
            "3207 0001 61 0007 00 70", "3B0F 0003 612F62 0007 07 0200000009 0101", "30080003 612F62 00 7878", "4002 0001", "5003 0001 10", "6204 0001 92 00", "7002 FFFF",
            "8209 0001 02 0B09 0001 61 01", "82080001 0003 612F23 02", "9004 0001 00 02", "A208 0001 00 0003 612F2B", "B004 0001 00 11", "C000", "D000", "E000", "E0098B07 1F0004 73746F70", "F00618040150 00 01 6D",
        }.Select(hex => Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))),
    ];

    public static (int Inputs, int Bytes) Run(Random random)
    {
        var input = Mutator.Mutate(random, s_packets, 4096);
        var version = random.Next(2) == 0 ? MqttVersion.V311 : MqttVersion.V5;
        try
        {
            if (MqttFrame.TryRead(input, 4096, version, out var frame))
                Read(input, frame, version);
        }
        catch (MqttProtocolException e) when ((byte)e.Code >= 0x80 && e.Message.Length > 10)
        {
            // Refused with a reason: as it should be.
        }

        return (1, input.Length);
    }

    private static void Read(byte[] input, MqttFrame frame, MqttVersion version)
    {
        var body = input.AsSpan(frame.BodyStart, frame.Length - frame.BodyStart);
        var again = frame.Type switch
        {
            MqttPacketType.Connect => MqttEncoder.Connect(MqttDecoder.Connect(body)),
            MqttPacketType.ConnAck => MqttEncoder.ConnAck(MqttDecoder.ConnAck(body, version), version),
            MqttPacketType.Publish => Publish(frame.First, body, version),
            MqttPacketType.PubAck or MqttPacketType.PubRec or MqttPacketType.PubRel or MqttPacketType.PubComp => MqttEncoder.Ack(frame.Type, MqttDecoder.Ack(frame.Type, body, version), version),
            MqttPacketType.Subscribe => MqttEncoder.Subscribe(MqttDecoder.Subscribe(body, version), version),
            MqttPacketType.SubAck or MqttPacketType.UnsubAck => MqttEncoder.SubAck(frame.Type, MqttDecoder.SubAck(frame.Type, body, version), version),
            MqttPacketType.Unsubscribe => MqttEncoder.Unsubscribe(MqttDecoder.Unsubscribe(body, version), version),
            MqttPacketType.Disconnect or MqttPacketType.Auth => MqttEncoder.Disconnect(frame.Type, MqttDecoder.Disconnect(frame.Type, body, version), version),
            _ => Empty(frame.Type, body),
        };

        // Its own writing is fixed: read once more it is the same.
        if (!MqttFrame.TryRead(again, uint.MaxValue, version, out var second) || second.Type != frame.Type || second.Length != again.Length)
            throw new FuzzException("what was read and written again is no such packet");
    }

    private static byte[] Publish(byte first, ReadOnlySpan<byte> body, MqttVersion version)
    {
        var view = MqttPublishView.Read(first, body, version, fromClient: true);
        return MqttPublishWriter.ToPacket(new MqttPublishOut
        {
            Version = version,
            Topic = view.Topic,
            Payload = view.Payload,
            Forwarded = view.CopyForwarded(),
            Qos = view.Qos,
            PacketId = view.PacketId,
            Retain = view.Retain,
            Duplicate = view.Duplicate,
            TopicAlias = view.TopicAlias,
            ExpirySeconds = view.ExpirySeconds,
        });
    }

    private static byte[] Empty(MqttPacketType type, ReadOnlySpan<byte> body)
    {
        MqttDecoder.Empty(type, body);
        return [(byte)((int)type << 4), 0];
    }
}
