using System.Buffers.Binary;

namespace Edge.Protocol.Mqtt.Codec;

/// <summary>A PUBLISH in the bytes it came in (3.3); reading it allocates nothing. Valid as long as those bytes are.</summary>
internal ref struct MqttPublishView
{
    public ReadOnlySpan<byte> Topic;
    public ReadOnlySpan<byte> Payload;

    /// <summary>All properties, without their length in front.</summary>
    public ReadOnlySpan<byte> Properties;

    public ushort PacketId;
    public MqttQos Qos;
    public bool Retain;
    public bool Duplicate;

    /// <summary>0: none.</summary>
    public ushort TopicAlias;

    public uint? ExpirySeconds;

    /// <summary>True when the properties have some that belong to this hop alone: alias, expiry, subscription identifiers.</summary>
    public bool HasOwn;

    public bool HasSubscriptionIds;

    /// <summary>Reads and checks the body.</summary>
    /// <param name="fromClient">A client may not send subscription identifiers.</param>
    public static MqttPublishView Read(byte first, ReadOnlySpan<byte> body, MqttVersion version, bool fromClient)
    {
        var reader = new MqttReader(body, MqttPacketType.Publish);
        var view = new MqttPublishView { Qos = (MqttQos)((first >> 1) & 3), Retain = (first & 1) != 0, Duplicate = (first & 8) != 0, Topic = reader.Utf8("the topic name") };
        if (view.Qos != MqttQos.AtMostOnce)
            view.PacketId = reader.PacketId();
        if (version == MqttVersion.V5)
        {
            var length = reader.VarInt("the properties' length");
            if (length > reader.Left)
                throw reader.Error(MqttReasonCode.MalformedPacket, $"{length} bytes of properties are announced, {reader.Left} are left in the packet");
            if (length > 0)
                view.ReadProperties(reader.Bytes((int)length, "properties"), fromClient);
        }

        if (view.Topic.IsEmpty ? view.TopicAlias == 0 : view.Topic.IndexOfAny((byte)'+', (byte)'#') >= 0)
        {
            throw reader.Error(
                view.Topic.IsEmpty && version == MqttVersion.V5 ? MqttReasonCode.ProtocolError : MqttReasonCode.MalformedPacket,
                view.Topic.IsEmpty && version == MqttVersion.V5 ? "neither a topic name nor a topic alias (3.3.2.1)" : MqttTopic.ProblemOfName(view.Topic)!);
        }

        view.Payload = reader.Rest;
        return view;
    }

    /// <summary>The properties that go on to subscribers, as bytes; those of this hop are left out.</summary>
    public readonly byte[] CopyForwarded()
    {
        if (!HasOwn)
            return Properties.ToArray();
        var kept = new MqttWriter();
        var reader = new MqttReader(Properties, MqttPacketType.Publish);
        var seen = 0ul;
        while (reader.Left > 0)
        {
            var before = reader.Rest;
            var one = MqttPropertyCodec.ReadOne(ref reader, MqttPacketType.Publish, ref seen);
            if (one.Id is not (MqttPropertyId.TopicAlias or MqttPropertyId.MessageExpiryInterval or MqttPropertyId.SubscriptionIdentifier))
                kept.Bytes(before[..(before.Length - reader.Left)]);
        }

        return kept.Written.ToArray();
    }

    private void ReadProperties(ReadOnlySpan<byte> bytes, bool fromClient)
    {
        Properties = bytes;
        var reader = new MqttReader(bytes, MqttPacketType.Publish);
        var seen = 0ul;
        while (reader.Left > 0)
        {
            var one = MqttPropertyCodec.ReadOne(ref reader, MqttPacketType.Publish, ref seen);
            switch (one.Id)
            {
                case MqttPropertyId.TopicAlias:
                    TopicAlias = (ushort)one.Number;
                    HasOwn = true;
                    break;
                case MqttPropertyId.MessageExpiryInterval:
                    ExpirySeconds = one.Number;
                    HasOwn = true;
                    break;
                case MqttPropertyId.SubscriptionIdentifier:
                    if (fromClient)
                        throw reader.Error(MqttReasonCode.ProtocolError, "a client sent a subscription identifier [MQTT-3.3.4-6]");
                    HasOwn = HasSubscriptionIds = true;
                    break;
            }
        }
    }
}

/// <summary>What of a PUBLISH goes out; the spans are copied where it is written.</summary>
internal ref struct MqttPublishOut
{
    /// <summary>Empty where the alias stands for it.</summary>
    public ReadOnlySpan<byte> Topic;
    public ReadOnlySpan<byte> Payload;

    /// <summary>Properties that go on from hop to hop, encoded.</summary>
    public ReadOnlySpan<byte> Forwarded;

    public ReadOnlySpan<uint> SubscriptionIds;
    public MqttVersion Version;
    public ushort PacketId;
    public MqttQos Qos;
    public bool Retain;
    public bool Duplicate;

    /// <summary>0: none.</summary>
    public ushort TopicAlias;
    public uint? ExpirySeconds;
}

/// <summary>Writes a PUBLISH (3.3) without allocating.</summary>
internal static class MqttPublishWriter
{
    /// <summary>Bytes of the whole packet; <paramref name="bodyLength"/> is the remaining length.</summary>
    public static int Measure(in MqttPublishOut publish, out int bodyLength, out int propertiesLength)
    {
        propertiesLength = 0;
        var body = 2L + publish.Topic.Length + (publish.Qos == MqttQos.AtMostOnce ? 0 : 2) + publish.Payload.Length;
        if (publish.Version == MqttVersion.V5)
        {
            propertiesLength = publish.Forwarded.Length + (publish.TopicAlias == 0 ? 0 : 3) + (publish.ExpirySeconds is null ? 0 : 5);
            foreach (var id in publish.SubscriptionIds)
                propertiesLength += 1 + MqttWriter.VarIntLength(id);
            body += MqttWriter.VarIntLength((uint)propertiesLength) + propertiesLength;
        }

        bodyLength = (int)Math.Min(body, int.MaxValue);
        return 1 + MqttWriter.VarIntLength((uint)bodyLength) + bodyLength;
    }

    /// <summary>Writes everything but the payload; <paramref name="target"/> has room for it. Returns how many bytes.</summary>
    public static int WriteHead(in MqttPublishOut publish, int bodyLength, int propertiesLength, Span<byte> target)
    {
        target[0] = (byte)(0x30 | (publish.Duplicate ? 8 : 0) | ((int)publish.Qos << 1) | (publish.Retain ? 1 : 0));
        var at = 1 + MqttWriter.PutVarInt(target[1..], (uint)bodyLength);
        BinaryPrimitives.WriteUInt16BigEndian(target[at..], (ushort)publish.Topic.Length);
        publish.Topic.CopyTo(target[(at + 2)..]);
        at += 2 + publish.Topic.Length;
        if (publish.Qos != MqttQos.AtMostOnce)
        {
            BinaryPrimitives.WriteUInt16BigEndian(target[at..], publish.PacketId);
            at += 2;
        }

        if (publish.Version != MqttVersion.V5)
            return at;
        at += MqttWriter.PutVarInt(target[at..], (uint)propertiesLength);
        if (publish.TopicAlias != 0)
        {
            target[at] = (byte)MqttPropertyId.TopicAlias;
            BinaryPrimitives.WriteUInt16BigEndian(target[(at + 1)..], publish.TopicAlias);
            at += 3;
        }

        if (publish.ExpirySeconds is { } seconds)
        {
            target[at] = (byte)MqttPropertyId.MessageExpiryInterval;
            BinaryPrimitives.WriteUInt32BigEndian(target[(at + 1)..], seconds);
            at += 5;
        }

        foreach (var id in publish.SubscriptionIds)
        {
            target[at] = (byte)MqttPropertyId.SubscriptionIdentifier;
            at += 1 + MqttWriter.PutVarInt(target[(at + 1)..], id);
        }

        publish.Forwarded.CopyTo(target[at..]);
        return at + publish.Forwarded.Length;
    }

    /// <summary>The whole packet.</summary>
    public static byte[] ToPacket(in MqttPublishOut publish)
    {
        var packet = new byte[Measure(publish, out var body, out var properties)];
        var head = WriteHead(publish, body, properties, packet);
        publish.Payload.CopyTo(packet.AsSpan(head));
        return packet;
    }
}
