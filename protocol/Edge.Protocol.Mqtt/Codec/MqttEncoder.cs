namespace Edge.Protocol.Mqtt.Codec;

/// <summary>Control packets to bytes; PUBLISH is <see cref="MqttPublishWriter"/>'s. What a version does not have is left out.</summary>
internal static class MqttEncoder
{
    public static ReadOnlySpan<byte> PingReq => [0xC0, 0];

    public static ReadOnlySpan<byte> PingResp => [0xD0, 0];

    public static byte[] Connect(MqttConnect connect)
    {
        var writer = new MqttWriter();
        var will = connect.Will;
        writer.String("MQTT");
        writer.Byte((byte)connect.Version);
        writer.Byte((byte)((connect.CleanStart ? 2 : 0) | (will is null ? 0 : 4 | ((int)will.Qos << 3) | (will.Retain ? 0x20 : 0)) | (connect.Password is null ? 0 : 0x40)
            | (connect.UserName is null ? 0 : 0x80)));
        writer.UInt16(connect.KeepAliveSeconds);
        if (connect.Version == MqttVersion.V5)
            MqttPropertyCodec.Write(writer, connect.Properties);
        writer.String(connect.ClientId);
        if (will is not null)
        {
            if (connect.Version == MqttVersion.V5)
                MqttPropertyCodec.Write(writer, will.Properties ?? MqttProperties.None);
            writer.String(will.Topic);
            writer.Binary(will.Payload.Span);
        }

        if (connect.UserName is not null)
            writer.String(connect.UserName);
        if (connect.Password is { } password)
            writer.Binary(password.Span);
        return writer.ToPacket(MqttPacketType.Connect);
    }

    public static byte[] ConnAck(MqttConnAck ack, MqttVersion version)
    {
        var writer = new MqttWriter();
        writer.Byte(ack.SessionPresent ? (byte)1 : (byte)0);
        writer.Byte(version == MqttVersion.V5 ? (byte)ack.Code : ReturnCode(ack.Code));
        if (version == MqttVersion.V5)
            MqttPropertyCodec.Write(writer, ack.Properties);
        return writer.ToPacket(MqttPacketType.ConnAck);
    }

    /// <summary>PUBACK, PUBREC, PUBREL, PUBCOMP: the short form wherever it says the same.</summary>
    /// <returns>How many bytes; 4 or 5 without properties.</returns>
    public static int ShortAck(Span<byte> target, MqttPacketType type, ushort packetId, MqttReasonCode code, MqttVersion version)
    {
        var hasCode = version == MqttVersion.V5 && code != MqttReasonCode.Success;
        target[0] = (byte)(((int)type << 4) | (type == MqttPacketType.PubRel ? 2 : 0));
        target[1] = hasCode ? (byte)3 : (byte)2;
        target[2] = (byte)(packetId >> 8);
        target[3] = (byte)packetId;
        if (!hasCode)
            return 4;
        target[4] = (byte)code;
        return 5;
    }

    public static byte[] Ack(MqttPacketType type, MqttAck ack, MqttVersion version)
    {
        var writer = new MqttWriter();
        writer.UInt16(ack.PacketId);
        if (version == MqttVersion.V5 && (ack.Code != MqttReasonCode.Success || ack.Properties is not null))
        {
            writer.Byte((byte)ack.Code);
            if (ack.Properties is not null)
                MqttPropertyCodec.Write(writer, ack.Properties);
        }

        return writer.ToPacket(type, type == MqttPacketType.PubRel ? 2 : 0);
    }

    public static byte[] Subscribe(MqttSubscribe subscribe, MqttVersion version)
    {
        var writer = new MqttWriter();
        writer.UInt16(subscribe.PacketId);
        if (version == MqttVersion.V5)
            MqttPropertyCodec.Write(writer, subscribe.Properties);
        foreach (var (filter, options) in subscribe.Filters)
        {
            writer.String(filter);
            writer.Byte(version == MqttVersion.V5 ? options.ToByte() : (byte)options.Qos);
        }

        return writer.ToPacket(MqttPacketType.Subscribe, 2);
    }

    public static byte[] Unsubscribe(MqttUnsubscribe unsubscribe, MqttVersion version)
    {
        var writer = new MqttWriter();
        writer.UInt16(unsubscribe.PacketId);
        if (version == MqttVersion.V5)
            MqttPropertyCodec.Write(writer, unsubscribe.Properties);
        foreach (var filter in unsubscribe.Filters)
            writer.String(filter);
        return writer.ToPacket(MqttPacketType.Unsubscribe, 2);
    }

    public static byte[] SubAck(MqttPacketType type, MqttSubAck ack, MqttVersion version)
    {
        var writer = new MqttWriter();
        writer.UInt16(ack.PacketId);
        if (version == MqttVersion.V5)
            MqttPropertyCodec.Write(writer, ack.Properties);
        if (version == MqttVersion.V5 || type == MqttPacketType.SubAck)
        {
            // Version 3.1.1 knows one failure (3.9.3 of 3.1.1).
            foreach (var code in ack.Codes)
                writer.Byte(version == MqttVersion.V5 || (byte)code < 0x80 ? (byte)code : (byte)0x80);
        }

        return writer.ToPacket(type);
    }

    /// <summary>DISCONNECT and AUTH.</summary>
    public static byte[] Disconnect(MqttPacketType type, MqttDisconnect disconnect, MqttVersion version)
    {
        var writer = new MqttWriter();
        if (version == MqttVersion.V5 && (disconnect.Code != MqttReasonCode.Success || !ReferenceEquals(disconnect.Properties, MqttProperties.None)))
        {
            writer.Byte((byte)disconnect.Code);
            MqttPropertyCodec.Write(writer, disconnect.Properties);
        }

        return writer.ToPacket(type);
    }

    // Table 3.1 of 3.1.1.
    private static byte ReturnCode(MqttReasonCode code) => code switch
    {
        MqttReasonCode.Success => 0,
        MqttReasonCode.UnsupportedProtocolVersion => 1,
        MqttReasonCode.ClientIdentifierNotValid => 2,
        MqttReasonCode.BadUserNameOrPassword => 4,
        MqttReasonCode.NotAuthorized or MqttReasonCode.Banned or MqttReasonCode.BadAuthenticationMethod => 5,
        _ => 3,
    };
}
