using System.Text;

namespace Edge.Protocol.Mqtt.Codec;

/// <summary>Which properties a packet may carry: a bit for each packet type, and bit 0 for the will (2.2.2.2, table 2-4).</summary>
internal static class MqttPropertyRules
{
    /// <summary>Stands for the will's properties.</summary>
    public const MqttPacketType Will = 0;

    private static readonly uint[] s_allowed = Build();

    public static bool IsKnown(byte id) => id < s_allowed.Length && s_allowed[id] != 0;

    public static bool IsAllowed(byte id, MqttPacketType packet) => id < s_allowed.Length && (s_allowed[id] & (1u << (int)packet)) != 0;

    private static uint[] Build()
    {
        var table = new uint[0x2B];
        void Allow(MqttPropertyId id, params ReadOnlySpan<MqttPacketType> packets)
        {
            foreach (var packet in packets)
                table[(int)id] |= 1u << (int)packet;
        }

        Allow(MqttPropertyId.PayloadFormatIndicator, MqttPacketType.Publish, Will);
        Allow(MqttPropertyId.MessageExpiryInterval, MqttPacketType.Publish, Will);
        Allow(MqttPropertyId.ContentType, MqttPacketType.Publish, Will);
        Allow(MqttPropertyId.ResponseTopic, MqttPacketType.Publish, Will);
        Allow(MqttPropertyId.CorrelationData, MqttPacketType.Publish, Will);
        Allow(MqttPropertyId.SubscriptionIdentifier, MqttPacketType.Publish, MqttPacketType.Subscribe);
        Allow(MqttPropertyId.SessionExpiryInterval, MqttPacketType.Connect, MqttPacketType.ConnAck, MqttPacketType.Disconnect);
        Allow(MqttPropertyId.AssignedClientIdentifier, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.ServerKeepAlive, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.AuthenticationMethod, MqttPacketType.Connect, MqttPacketType.ConnAck, MqttPacketType.Auth);
        Allow(MqttPropertyId.AuthenticationData, MqttPacketType.Connect, MqttPacketType.ConnAck, MqttPacketType.Auth);
        Allow(MqttPropertyId.RequestProblemInformation, MqttPacketType.Connect);
        Allow(MqttPropertyId.WillDelayInterval, Will);
        Allow(MqttPropertyId.RequestResponseInformation, MqttPacketType.Connect);
        Allow(MqttPropertyId.ResponseInformation, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.ServerReference, MqttPacketType.ConnAck, MqttPacketType.Disconnect);
        Allow(
            MqttPropertyId.ReasonString, MqttPacketType.ConnAck, MqttPacketType.PubAck, MqttPacketType.PubRec, MqttPacketType.PubRel, MqttPacketType.PubComp, MqttPacketType.SubAck,
            MqttPacketType.UnsubAck, MqttPacketType.Disconnect, MqttPacketType.Auth);
        Allow(MqttPropertyId.ReceiveMaximum, MqttPacketType.Connect, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.TopicAliasMaximum, MqttPacketType.Connect, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.TopicAlias, MqttPacketType.Publish);
        Allow(MqttPropertyId.MaximumQos, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.RetainAvailable, MqttPacketType.ConnAck);
        Allow(
            MqttPropertyId.UserProperty, Will, MqttPacketType.Connect, MqttPacketType.ConnAck, MqttPacketType.Publish, MqttPacketType.PubAck, MqttPacketType.PubRec, MqttPacketType.PubRel,
            MqttPacketType.PubComp, MqttPacketType.Subscribe, MqttPacketType.SubAck, MqttPacketType.Unsubscribe, MqttPacketType.UnsubAck, MqttPacketType.Disconnect, MqttPacketType.Auth);
        Allow(MqttPropertyId.MaximumPacketSize, MqttPacketType.Connect, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.WildcardSubscriptionAvailable, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.SubscriptionIdentifierAvailable, MqttPacketType.ConnAck);
        Allow(MqttPropertyId.SharedSubscriptionAvailable, MqttPacketType.ConnAck);
        return table;
    }
}

/// <summary>One property's value, as read; which member holds it depends on the property.</summary>
internal ref struct MqttPropertyValue
{
    public MqttPropertyId Id;
    public uint Number;
    public ReadOnlySpan<byte> Bytes;
    public ReadOnlySpan<byte> Second;
}

/// <summary>Properties to and from bytes (2.2.2).</summary>
internal static class MqttPropertyCodec
{
    // ToString of an enum allocates.
    private static readonly string[] s_names = [.. Enumerable.Range(0, 0x2B).Select(id => ((MqttPropertyId)id).ToString())];

    /// <summary>Reads one property and checks its value.</summary>
    /// <param name="seen">Bits of the properties met so far: only user properties and a server's subscription identifiers may repeat.</param>
    public static MqttPropertyValue ReadOne(ref MqttReader reader, MqttPacketType context, ref ulong seen)
    {
        // The identifier is a variable byte integer, but all that exist take one byte.
        var number = reader.Byte("a property's identifier");
        if (!MqttPropertyRules.IsKnown(number))
            throw reader.Error(MqttReasonCode.MalformedPacket, $"there is no property 0x{number:X2} (2.2.2.2)");
        var id = (MqttPropertyId)number;
        if (!MqttPropertyRules.IsAllowed(number, context))
            throw reader.Error(MqttReasonCode.ProtocolError, $"{id} does not belong into {(context == MqttPropertyRules.Will ? "a will" : "this packet")} (2.2.2.2)");
        var repeats = id == MqttPropertyId.UserProperty || (id == MqttPropertyId.SubscriptionIdentifier && context == MqttPacketType.Publish);
        if ((seen & (1ul << number)) != 0 && !repeats)
            throw reader.Error(MqttReasonCode.ProtocolError, $"{id} is there twice");
        seen |= 1ul << number;
        var value = new MqttPropertyValue { Id = id };
        switch (id)
        {
            case MqttPropertyId.PayloadFormatIndicator or MqttPropertyId.RequestProblemInformation or MqttPropertyId.RequestResponseInformation or MqttPropertyId.MaximumQos
                or MqttPropertyId.RetainAvailable or MqttPropertyId.WildcardSubscriptionAvailable or MqttPropertyId.SubscriptionIdentifierAvailable
                or MqttPropertyId.SharedSubscriptionAvailable:
                value.Number = reader.Byte(s_names[number]);
                if (value.Number > 1)
                    throw reader.Error(MqttReasonCode.ProtocolError, $"{id} is {value.Number}; only 0 and 1 are allowed");
                break;
            case MqttPropertyId.ServerKeepAlive or MqttPropertyId.ReceiveMaximum or MqttPropertyId.TopicAliasMaximum or MqttPropertyId.TopicAlias:
                value.Number = reader.UInt16(s_names[number]);
                if (value.Number == 0 && id == MqttPropertyId.ReceiveMaximum)
                    throw reader.Error(MqttReasonCode.ProtocolError, "ReceiveMaximum is 0; it is 1 to 65535 (3.1.2.11.3)");
                if (value.Number == 0 && id == MqttPropertyId.TopicAlias)
                    throw reader.Error(MqttReasonCode.TopicAliasInvalid, "TopicAlias is 0; it is 1 to the receiver's maximum [MQTT-3.3.2-8]");
                break;
            case MqttPropertyId.MessageExpiryInterval or MqttPropertyId.SessionExpiryInterval or MqttPropertyId.WillDelayInterval or MqttPropertyId.MaximumPacketSize:
                value.Number = reader.UInt32(s_names[number]);
                if (value.Number == 0 && id == MqttPropertyId.MaximumPacketSize)
                    throw reader.Error(MqttReasonCode.ProtocolError, "MaximumPacketSize is 0 (3.1.2.11.4)");
                break;
            case MqttPropertyId.SubscriptionIdentifier:
                value.Number = reader.VarInt(nameof(MqttPropertyId.SubscriptionIdentifier));
                if (value.Number == 0)
                    throw reader.Error(MqttReasonCode.ProtocolError, "SubscriptionIdentifier is 0; it is 1 to 268435455 (3.8.2.1.2)");
                break;
            case MqttPropertyId.CorrelationData or MqttPropertyId.AuthenticationData:
                value.Bytes = reader.Binary(s_names[number]);
                break;
            case MqttPropertyId.UserProperty:
                value.Bytes = reader.Utf8("the name of a user property");
                value.Second = reader.Utf8("the value of a user property");
                break;
            default:
                value.Bytes = reader.Utf8(s_names[number]);
                if (id == MqttPropertyId.ResponseTopic && value.Bytes.IsEmpty)
                    throw reader.Error(MqttReasonCode.ProtocolError, "ResponseTopic is empty [MQTT-4.7.3-1]");
                if (id == MqttPropertyId.ResponseTopic && value.Bytes.IndexOfAny((byte)'+', (byte)'#') >= 0)
                    throw reader.Error(MqttReasonCode.ProtocolError, "ResponseTopic has a wildcard [MQTT-3.3.2-14]");
                break;
        }

        return value;
    }

    /// <summary>Reads the length and that many bytes of properties.</summary>
    public static MqttProperties Read(ref MqttReader reader, MqttPacketType context)
    {
        var length = reader.VarInt("the properties' length");
        if (length == 0)
            return MqttProperties.None;
        if (length > reader.Left)
            throw reader.Error(MqttReasonCode.MalformedPacket, $"{length} bytes of properties are announced, {reader.Left} are left in the packet");
        return ReadBody(reader.Bytes((int)length, "properties"), reader.Packet, context);
    }

    /// <summary>Properties without their length in front, as <see cref="WriteBody"/> makes them.</summary>
    public static MqttProperties ReadBody(ReadOnlySpan<byte> body, MqttPacketType packet, MqttPacketType context)
    {
        if (body.IsEmpty)
            return MqttProperties.None;
        var inner = new MqttReader(body, packet);
        var result = new MqttProperties();
        List<KeyValuePair<string, string>>? user = null;
        List<uint>? subscriptions = null;
        var seen = 0ul;
        while (inner.Left > 0)
        {
            var one = ReadOne(ref inner, context, ref seen);
            switch (one.Id)
            {
                case MqttPropertyId.UserProperty:
                    (user ??= []).Add(new(Encoding.UTF8.GetString(one.Bytes), Encoding.UTF8.GetString(one.Second)));
                    break;
                case MqttPropertyId.SubscriptionIdentifier:
                    (subscriptions ??= []).Add(one.Number);
                    break;
                default:
                    result = With(result, one);
                    break;
            }
        }

        if ((seen & (1ul << (int)MqttPropertyId.AuthenticationData)) != 0 && result.AuthenticationMethod is null)
            throw inner.Error(MqttReasonCode.ProtocolError, "AuthenticationData without AuthenticationMethod (3.1.2.11.10)");
        if (user is not null)
            result = result with { UserProperties = user };
        return subscriptions is null ? result : result with { SubscriptionIdentifiers = subscriptions };
    }

    /// <summary>Writes the length and the properties.</summary>
    public static void Write(MqttWriter writer, MqttProperties properties)
    {
        if (ReferenceEquals(properties, MqttProperties.None))
        {
            writer.Byte(0);
            return;
        }

        var inner = new MqttWriter();
        WriteBody(inner, properties);
        writer.VarInt((uint)inner.Length);
        writer.Bytes(inner.Written);
    }

    /// <summary>The properties without their length in front.</summary>
    public static void WriteBody(MqttWriter writer, MqttProperties properties)
    {
        Number(MqttPropertyId.PayloadFormatIndicator, properties.PayloadFormatIndicator);
        UInt32(MqttPropertyId.MessageExpiryInterval, properties.MessageExpiryInterval);
        Text(MqttPropertyId.ContentType, properties.ContentType);
        Text(MqttPropertyId.ResponseTopic, properties.ResponseTopic);
        Binary(MqttPropertyId.CorrelationData, properties.CorrelationData);
        foreach (var id in properties.SubscriptionIdentifiers)
        {
            writer.Byte((byte)MqttPropertyId.SubscriptionIdentifier);
            writer.VarInt(id);
        }

        UInt32(MqttPropertyId.SessionExpiryInterval, properties.SessionExpiryInterval);
        Text(MqttPropertyId.AssignedClientIdentifier, properties.AssignedClientIdentifier);
        UInt16(MqttPropertyId.ServerKeepAlive, properties.ServerKeepAlive);
        Text(MqttPropertyId.AuthenticationMethod, properties.AuthenticationMethod);
        Binary(MqttPropertyId.AuthenticationData, properties.AuthenticationData);
        Number(MqttPropertyId.RequestProblemInformation, properties.RequestProblemInformation);
        UInt32(MqttPropertyId.WillDelayInterval, properties.WillDelayInterval);
        Number(MqttPropertyId.RequestResponseInformation, properties.RequestResponseInformation);
        Text(MqttPropertyId.ResponseInformation, properties.ResponseInformation);
        Text(MqttPropertyId.ServerReference, properties.ServerReference);
        Text(MqttPropertyId.ReasonString, properties.ReasonString);
        UInt16(MqttPropertyId.ReceiveMaximum, properties.ReceiveMaximum);
        UInt16(MqttPropertyId.TopicAliasMaximum, properties.TopicAliasMaximum);
        UInt16(MqttPropertyId.TopicAlias, properties.TopicAlias);
        Number(MqttPropertyId.MaximumQos, properties.MaximumQos);
        Number(MqttPropertyId.RetainAvailable, properties.RetainAvailable);
        foreach (var (name, value) in properties.UserProperties)
        {
            writer.Byte((byte)MqttPropertyId.UserProperty);
            writer.String(name);
            writer.String(value);
        }

        UInt32(MqttPropertyId.MaximumPacketSize, properties.MaximumPacketSize);
        Number(MqttPropertyId.WildcardSubscriptionAvailable, properties.WildcardSubscriptionAvailable);
        Number(MqttPropertyId.SubscriptionIdentifierAvailable, properties.SubscriptionIdentifierAvailable);
        Number(MqttPropertyId.SharedSubscriptionAvailable, properties.SharedSubscriptionAvailable);

        void Number(MqttPropertyId id, byte? value)
        {
            if (value is not { } number)
                return;
            writer.Byte((byte)id);
            writer.Byte(number);
        }

        void UInt16(MqttPropertyId id, ushort? value)
        {
            if (value is not { } number)
                return;
            writer.Byte((byte)id);
            writer.UInt16(number);
        }

        void UInt32(MqttPropertyId id, uint? value)
        {
            if (value is not { } number)
                return;
            writer.Byte((byte)id);
            writer.UInt32(number);
        }

        void Text(MqttPropertyId id, string? value)
        {
            if (value is null)
                return;
            writer.Byte((byte)id);
            writer.String(value);
        }

        void Binary(MqttPropertyId id, ReadOnlyMemory<byte>? value)
        {
            if (value is not { } bytes)
                return;
            writer.Byte((byte)id);
            writer.Binary(bytes.Span);
        }
    }

    private static MqttProperties With(MqttProperties all, MqttPropertyValue one) => one.Id switch
    {
        MqttPropertyId.PayloadFormatIndicator => all with { PayloadFormatIndicator = (byte)one.Number },
        MqttPropertyId.MessageExpiryInterval => all with { MessageExpiryInterval = one.Number },
        MqttPropertyId.ContentType => all with { ContentType = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.ResponseTopic => all with { ResponseTopic = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.CorrelationData => all with { CorrelationData = one.Bytes.ToArray() },
        MqttPropertyId.SessionExpiryInterval => all with { SessionExpiryInterval = one.Number },
        MqttPropertyId.AssignedClientIdentifier => all with { AssignedClientIdentifier = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.ServerKeepAlive => all with { ServerKeepAlive = (ushort)one.Number },
        MqttPropertyId.AuthenticationMethod => all with { AuthenticationMethod = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.AuthenticationData => all with { AuthenticationData = one.Bytes.ToArray() },
        MqttPropertyId.RequestProblemInformation => all with { RequestProblemInformation = (byte)one.Number },
        MqttPropertyId.WillDelayInterval => all with { WillDelayInterval = one.Number },
        MqttPropertyId.RequestResponseInformation => all with { RequestResponseInformation = (byte)one.Number },
        MqttPropertyId.ResponseInformation => all with { ResponseInformation = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.ServerReference => all with { ServerReference = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.ReasonString => all with { ReasonString = Encoding.UTF8.GetString(one.Bytes) },
        MqttPropertyId.ReceiveMaximum => all with { ReceiveMaximum = (ushort)one.Number },
        MqttPropertyId.TopicAliasMaximum => all with { TopicAliasMaximum = (ushort)one.Number },
        MqttPropertyId.TopicAlias => all with { TopicAlias = (ushort)one.Number },
        MqttPropertyId.MaximumQos => all with { MaximumQos = (byte)one.Number },
        MqttPropertyId.RetainAvailable => all with { RetainAvailable = (byte)one.Number },
        MqttPropertyId.MaximumPacketSize => all with { MaximumPacketSize = one.Number },
        MqttPropertyId.WildcardSubscriptionAvailable => all with { WildcardSubscriptionAvailable = (byte)one.Number },
        MqttPropertyId.SubscriptionIdentifierAvailable => all with { SubscriptionIdentifierAvailable = (byte)one.Number },
        MqttPropertyId.SharedSubscriptionAvailable => all with { SharedSubscriptionAvailable = (byte)one.Number },
        _ => throw new System.Diagnostics.UnreachableException($"{one.Id} has no member"),
    };
}
