namespace Edge.Protocol.Mqtt.Codec;

/// <summary>Bodies of control packets to objects; PUBLISH is <see cref="MqttPublishView"/>'s. Strict as the specification.</summary>
/// <remarks>Each throws <see cref="MqttProtocolException"/> with the reason code, the field and the clause.</remarks>
internal static class MqttDecoder
{
    /// <summary>The protocol level in the body of a CONNECT whose protocol name is right, without a bridge's bit; 0 where it is not. For the choice of the answer to one that is otherwise malformed.</summary>
    public static byte PeekLevel(ReadOnlySpan<byte> body) => body.Length >= 7 && body[..6].SequenceEqual("\0\x04MQTT"u8) ? (byte)(body[6] & 0x7F) : (byte)0;

    public static MqttConnect Connect(ReadOnlySpan<byte> body)
    {
        var reader = new MqttReader(body, MqttPacketType.Connect);
        var name = reader.Utf8("the protocol name");
        var isOld = name.SequenceEqual("MQIsdp"u8);
        if (!isOld && !name.SequenceEqual("MQTT"u8))
            throw reader.Error(MqttReasonCode.UnsupportedProtocolVersion, "the protocol name is neither 'MQTT' [MQTT-3.1.2-1] nor 'MQIsdp'; versions 3.1, 3.1.1 and 5.0 are spoken here");
        var level = reader.Byte("the protocol level");
        var isBridge = level is 0x83 or 0x84;
        if (isBridge)
            level &= 0x7F;
        if (isOld ? level != 3 : level is not (4 or 5))
            throw reader.Error(MqttReasonCode.UnsupportedProtocolVersion, $"protocol level {level} of '{(isOld ? "MQIsdp" : "MQTT")}'; 3 (version 3.1), 4 (version 3.1.1) and 5 (version 5.0) are spoken here [MQTT-3.1.2-2]");
        var version = isOld ? MqttVersion.V311 : (MqttVersion)level;
        var flags = reader.Byte("the connect flags");
        if ((flags & 1) != 0)
            throw reader.Error(MqttReasonCode.MalformedPacket, "the reserved connect flag is set [MQTT-3.1.2-3]");
        var (hasWill, willQos, willRetain) = ((flags & 4) != 0, (flags >> 3) & 3, (flags & 0x20) != 0);
        if (!hasWill && (willQos != 0 || willRetain))
            throw reader.Error(MqttReasonCode.MalformedPacket, "will QoS or will retain is set without a will [MQTT-3.1.2-11]");
        if (willQos == 3)
            throw reader.Error(MqttReasonCode.MalformedPacket, "the will's QoS is 3 [MQTT-3.1.2-12]");
        var (hasUser, hasPassword) = ((flags & 0x80) != 0, (flags & 0x40) != 0);
        if (version == MqttVersion.V311 && hasPassword && !hasUser)
            throw reader.Error(MqttReasonCode.MalformedPacket, "a password without a user name [MQTT-3.1.2-22 of 3.1.1]");
        var keepAlive = reader.UInt16("keep alive");
        var properties = version == MqttVersion.V5 ? MqttPropertyCodec.Read(ref reader, MqttPacketType.Connect) : MqttProperties.None;
        var clientId = reader.String("the client identifier");
        MqttWill? will = null;
        if (hasWill)
        {
            var willProperties = version == MqttVersion.V5 ? MqttPropertyCodec.Read(ref reader, MqttPropertyRules.Will) : MqttProperties.None;
            var topic = reader.Utf8("the will's topic");
            if (MqttTopic.ProblemOfName(topic) is { } problem)
                throw reader.Error(MqttReasonCode.TopicNameInvalid, $"the will: {problem}");
            will = new MqttWill(System.Text.Encoding.UTF8.GetString(topic), reader.Binary("the will's payload").ToArray(), (MqttQos)willQos, willRetain) { Properties = willProperties };
        }

        var user = hasUser ? reader.String("the user name") : null;
        // The cast: null would else become an empty memory, by way of byte[].
        var password = hasPassword ? (ReadOnlyMemory<byte>?)reader.Binary("the password").ToArray() : null;
        reader.End();
        return new MqttConnect
        {
            Version = version,
            IsOld = isOld,
            IsBridge = isBridge,
            ClientId = clientId,
            CleanStart = (flags & 2) != 0,
            KeepAliveSeconds = keepAlive,
            Will = will,
            UserName = user,
            Password = password,
            Properties = properties,
        };
    }

    public static MqttConnAck ConnAck(ReadOnlySpan<byte> body, MqttVersion version)
    {
        var reader = new MqttReader(body, MqttPacketType.ConnAck);
        var flags = reader.Byte("the acknowledge flags");
        if (flags > 1)
            throw reader.Error(MqttReasonCode.MalformedPacket, "reserved acknowledge flags are set [MQTT-3.2.2-1]");
        var code = reader.Byte("the reason code");
        var properties = MqttProperties.None;
        if (version == MqttVersion.V5)
            properties = MqttPropertyCodec.Read(ref reader, MqttPacketType.ConnAck);
        else if (code > 5)
            throw reader.Error(MqttReasonCode.MalformedPacket, $"return code {code} is reserved (3.2.2.3 of 3.1.1)");
        if (flags == 1 && code != 0)
            throw reader.Error(MqttReasonCode.ProtocolError, "session present with a refusal [MQTT-3.2.2-6]");
        reader.End();
        return new MqttConnAck(flags == 1, (MqttReasonCode)code, properties);
    }

    public static MqttAck Ack(MqttPacketType type, ReadOnlySpan<byte> body, MqttVersion version)
    {
        var reader = new MqttReader(body, type);
        var id = reader.PacketId();
        // Reason code and properties may be left out at their end (3.4.2.1, 3.4.2.2.1).
        if (version == MqttVersion.V311 || reader.Left == 0)
        {
            reader.End();
            return new MqttAck(id, MqttReasonCode.Success);
        }

        var code = reader.Byte("the reason code");
        var known = type is MqttPacketType.PubAck or MqttPacketType.PubRec
            ? code is 0 or 0x10 or 0x80 or 0x83 or 0x87 or 0x90 or 0x91 or 0x97 or 0x99
            : code is 0 or 0x92;
        if (!known)
            throw reader.Error(MqttReasonCode.ProtocolError, $"0x{code:X2} is no reason code of this packet (table of 3.4.2.1)");
        var properties = reader.Left == 0 ? null : MqttPropertyCodec.Read(ref reader, type);
        reader.End();
        return new MqttAck(id, (MqttReasonCode)code, properties);
    }

    public static MqttSubscribe Subscribe(ReadOnlySpan<byte> body, MqttVersion version)
    {
        var reader = new MqttReader(body, MqttPacketType.Subscribe);
        var id = reader.PacketId();
        var properties = version == MqttVersion.V5 ? MqttPropertyCodec.Read(ref reader, MqttPacketType.Subscribe) : MqttProperties.None;
        var filters = new List<MqttTopicFilter>();
        while (reader.Left > 0)
        {
            var filter = Filter(ref reader);
            var options = reader.Byte("the subscription options");
            if ((options & 3) == 3)
                throw reader.Error(MqttReasonCode.MalformedPacket, $"the QoS of '{filter}' is 3 [MQTT-3.8.3-4]");
            if ((options & (version == MqttVersion.V5 ? 0xC0 : 0xFC)) != 0)
                throw reader.Error(MqttReasonCode.MalformedPacket, $"reserved bits of the subscription options of '{filter}' are set [MQTT-3.8.3-5]");
            if ((options & 0x30) == 0x30)
                throw reader.Error(MqttReasonCode.ProtocolError, $"the retain handling of '{filter}' is 3 (3.8.3.1)");
            if ((options & 4) != 0 && filter.StartsWith(MqttTopic.SharePrefix, StringComparison.Ordinal))
                throw reader.Error(MqttReasonCode.ProtocolError, $"no local on the shared subscription '{filter}' [MQTT-3.8.3-4]");
            filters.Add(new MqttTopicFilter(filter, MqttSubscriptionOptions.FromByte(options)));
        }

        if (filters.Count == 0)
            throw reader.Error(MqttReasonCode.ProtocolError, "no topic filter [MQTT-3.8.3-2]");
        return new MqttSubscribe(id, filters, properties);
    }

    public static MqttUnsubscribe Unsubscribe(ReadOnlySpan<byte> body, MqttVersion version)
    {
        var reader = new MqttReader(body, MqttPacketType.Unsubscribe);
        var id = reader.PacketId();
        var properties = version == MqttVersion.V5 ? MqttPropertyCodec.Read(ref reader, MqttPacketType.Unsubscribe) : MqttProperties.None;
        var filters = new List<string>();
        while (reader.Left > 0)
            filters.Add(Filter(ref reader));
        if (filters.Count == 0)
            throw reader.Error(MqttReasonCode.ProtocolError, "no topic filter [MQTT-3.10.3-2]");
        return new MqttUnsubscribe(id, filters, properties);
    }

    /// <summary>SUBACK and UNSUBACK. UNSUBACK of version 3.1.1 has no codes.</summary>
    public static MqttSubAck SubAck(MqttPacketType type, ReadOnlySpan<byte> body, MqttVersion version)
    {
        var reader = new MqttReader(body, type);
        var id = reader.PacketId();
        var properties = version == MqttVersion.V5 ? MqttPropertyCodec.Read(ref reader, type) : MqttProperties.None;
        var codes = new List<MqttReasonCode>();
        while (reader.Left > 0)
        {
            var code = reader.Byte("a reason code");
            var known = type == MqttPacketType.UnsubAck
                ? version == MqttVersion.V5 && code is 0 or 0x11 or 0x80 or 0x83 or 0x87 or 0x8F or 0x91
                : code is 0 or 1 or 2 or 0x80 || (version == MqttVersion.V5 && code is 0x83 or 0x87 or 0x8F or 0x91 or 0x97 or 0x9E or 0xA1 or 0xA2);
            if (!known)
                throw reader.Error(MqttReasonCode.MalformedPacket, $"0x{code:X2} is no reason code of this packet [MQTT-3.9.3-2]");
            codes.Add((MqttReasonCode)code);
        }

        if (codes.Count == 0 && (type == MqttPacketType.SubAck || version == MqttVersion.V5))
            throw reader.Error(MqttReasonCode.ProtocolError, "no reason code (3.9.3)");
        return new MqttSubAck(id, codes, properties);
    }

    /// <summary>DISCONNECT and AUTH; both may leave out everything (3.14.2.1).</summary>
    /// <param name="fromClient">Of DISCONNECT some codes are for servers alone, and of its properties each side has one that the other has not. Null: it may be either's.</param>
    public static MqttDisconnect Disconnect(MqttPacketType type, ReadOnlySpan<byte> body, MqttVersion version, bool? fromClient = null)
    {
        var reader = new MqttReader(body, type);
        if (version == MqttVersion.V311 || reader.Left == 0)
        {
            reader.End();
            return new MqttDisconnect(MqttReasonCode.Success, MqttProperties.None);
        }

        var code = reader.Byte("the reason code");
        var known = type == MqttPacketType.Auth
            ? code is 0 or 0x18 or 0x19
            : code is 0 or 4 or 0x80 or 0x81 or 0x82 or 0x83 or 0x87 or 0x89 or 0x8B or (>= 0x8D and <= 0x90) or (>= 0x93 and <= 0xA2);
        if (!known)
            throw reader.Error(MqttReasonCode.MalformedPacket, $"0x{code:X2} is no reason code of this packet (3.14.2.1)");
        if (type == MqttPacketType.Auth)
            fromClient = null;
        if (fromClient is true ? code is not (0 or 4 or (>= 0x80 and <= 0x83) or 0x90 or (>= 0x93 and <= 0x99)) : fromClient is false && code == 4)
            throw reader.Error(MqttReasonCode.ProtocolError, $"0x{code:X2} is no reason code of this packet from a {(fromClient is true ? "client" : "server")} (table of 3.14.2.1)");
        var properties = reader.Left == 0 ? MqttProperties.None : MqttPropertyCodec.Read(ref reader, type);
        if (fromClient is true && properties.ServerReference is not null)
            throw reader.Error(MqttReasonCode.ProtocolError, "ServerReference does not belong into this packet of a client (3.14.2.2.5)");
        if (fromClient is false && properties.SessionExpiryInterval is not null)
            throw reader.Error(MqttReasonCode.ProtocolError, "SessionExpiryInterval does not belong into this packet of a server [MQTT-3.14.2-2]");
        reader.End();
        return new MqttDisconnect((MqttReasonCode)code, properties);
    }

    /// <summary>PINGREQ and PINGRESP have no body (3.12).</summary>
    public static void Empty(MqttPacketType type, ReadOnlySpan<byte> body) => new MqttReader(body, type).End();

    private static string Filter(ref MqttReader reader)
    {
        var filter = reader.String("a topic filter");
        return MqttTopic.ProblemOfFilter(filter) is { } problem ? throw reader.Error(MqttReasonCode.MalformedPacket, problem) : filter;
    }
}
