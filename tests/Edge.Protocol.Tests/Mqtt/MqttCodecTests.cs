using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

[Trait("Category", "Devices")]
public sealed class MqttCodecTests
{
    private static readonly MqttProperties s_user = new() { UserProperties = [new("a", "1"), new("a", "2")], ReasonString = "because" };

    public static TheoryData<string, byte[], MqttVersion> Packets
    {
        get
        {
            var data = new TheoryData<string, byte[], MqttVersion>();
            foreach (var (name, packet, version) in Samples())
                data.Add(name, packet, version);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Packets))]
    public void What_is_encoded_is_read_back_and_encodes_to_the_same_bytes(string name, byte[] packet, MqttVersion version)
    {
        Assert.True(MqttFrame.TryRead(packet, uint.MaxValue, version, out var frame), name);
        Assert.Equal(packet.Length, frame.Length);
        Assert.Equal(Convert.ToHexString(packet), Convert.ToHexString(Again(packet, frame, version)));
    }

    [Theory]
    [MemberData(nameof(Packets))]
    public void Every_prefix_of_a_packet_asks_for_more_and_a_body_cut_short_is_malformed(string name, byte[] packet, MqttVersion version)
    {
        for (var length = 0; length < packet.Length; length++)
            Assert.False(MqttFrame.TryRead(packet.AsSpan(0, length), uint.MaxValue, version, out _), $"{name} at {length}");
        Assert.True(MqttFrame.TryRead(packet, uint.MaxValue, version, out var frame));
        var end = frame.Type switch
        {
            MqttPacketType.Publish => 0, // every cut behind the properties is a shorter payload
            MqttPacketType.PubAck or MqttPacketType.PubRec or MqttPacketType.PubRel or MqttPacketType.PubComp => 2,
            MqttPacketType.Disconnect or MqttPacketType.Auth => 0,
            _ => packet.Length - frame.BodyStart,
        };
        for (var length = 0; length < end; length++)
        {
            var body = packet[frame.BodyStart..(frame.BodyStart + length)];
            // A list that lost its last members is a shorter list.
            if (frame.Type is MqttPacketType.Subscribe or MqttPacketType.Unsubscribe or MqttPacketType.SubAck or MqttPacketType.UnsubAck)
                _ = Record.Exception(() => Decode(frame, body, version)) as MqttProtocolException;
            else
                Assert.Throws<MqttProtocolException>(() => Decode(frame, body, version));
        }
    }

    [Fact]
    public void The_specifications_own_example_of_a_variable_byte_integer_is_read()
    {
        // 2.2.3 of 3.1.1: 321 is 0xC1 0x02; the limits of each length.
        foreach (var (bytes, value) in ((byte[], uint)[])[([0xC1, 0x02], 321), ([0x7F], 127), ([0x80, 0x01], 128), ([0xFF, 0x7F], 16_383), ([0x80, 0x80, 0x01], 16_384), ([0xFF, 0xFF, 0xFF, 0x7F], 268_435_455)])
        {
            Assert.Equal(VarIntStatus.Complete, MqttReader.TryVarInt(bytes, true, out var read, out var length));
            Assert.Equal((value, bytes.Length), (read, length));
            var target = new byte[4];
            Assert.Equal(bytes.Length, MqttWriter.PutVarInt(target, value));
            Assert.Equal(bytes, target[..bytes.Length]);
        }

        Assert.Equal(VarIntStatus.Malformed, MqttReader.TryVarInt([0x80, 0x80, 0x80, 0x80, 0x01], true, out _, out _));
        Assert.Equal(VarIntStatus.Malformed, MqttReader.TryVarInt([0x80, 0x00], true, out _, out _));
        Assert.Equal(VarIntStatus.Complete, MqttReader.TryVarInt([0x80, 0x00], false, out _, out _));
    }

    [Fact]
    public void A_publish_is_read_and_written_without_allocating()
    {
        var packet = MqttPublishWriter.ToPacket(new MqttPublishOut
        {
            Version = MqttVersion.V5, Topic = "a/b/c"u8, Payload = new byte[64], Qos = MqttQos.AtLeastOnce, PacketId = 7, ExpirySeconds = 9, TopicAlias = 3,
        });
        var target = new byte[packet.Length];
        var sum = 0;
        void Once()
        {
            MqttFrame.TryRead(packet, 1000, MqttVersion.V5, out var frame);
            var view = MqttPublishView.Read(frame.First, packet.AsSpan(frame.BodyStart), MqttVersion.V5, fromClient: true);
            var publish = new MqttPublishOut { Version = MqttVersion.V5, Topic = view.Topic, Payload = view.Payload, Qos = view.Qos, PacketId = view.PacketId, ExpirySeconds = view.ExpirySeconds, TopicAlias = view.TopicAlias };
            MqttPublishWriter.Measure(publish, out var body, out var properties);
            var head = MqttPublishWriter.WriteHead(publish, body, properties, target);
            view.Payload.CopyTo(target.AsSpan(head));
            sum += head;
        }

        for (var i = 0; i < 100; i++)
            Once();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Once();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(packet, target);
        Assert.NotEqual(0, sum);
    }

    [Fact]
    public void Properties_of_the_hop_are_taken_out_and_the_others_go_on_as_they_came()
    {
        var writer = new MqttWriter();
        MqttPropertyCodec.WriteBody(writer, new MqttProperties
        {
            PayloadFormatIndicator = 1, MessageExpiryInterval = 60, ContentType = "text", ResponseTopic = "r", CorrelationData = "x"u8.ToArray(), TopicAlias = 5, UserProperties = [new("k", "v"), new("k", "v")],
        });
        var wanted = new MqttWriter();
        MqttPropertyCodec.WriteBody(wanted, new MqttProperties
        {
            PayloadFormatIndicator = 1, ContentType = "text", ResponseTopic = "r", CorrelationData = "x"u8.ToArray(), UserProperties = [new("k", "v"), new("k", "v")],
        });
        var body = new MqttWriter();
        body.String("t");
        body.VarInt((uint)writer.Length);
        body.Bytes(writer.Written);
        var view = MqttPublishView.Read(0x30, body.Written, MqttVersion.V5, fromClient: true);
        Assert.Equal((ushort)5, view.TopicAlias);
        Assert.Equal(60u, view.ExpirySeconds);
        Assert.Equal(Convert.ToHexString(wanted.Written), Convert.ToHexString(view.CopyForwarded()));
    }

    [Theory]
    [InlineData("sport/tennis/player1/#", "sport/tennis/player1", true)]
    [InlineData("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true)]
    [InlineData("sport/#", "sport", true)]
    [InlineData("sport/tennis/+", "sport/tennis/player1/ranking", false)]
    [InlineData("sport/+", "sport", false)]
    [InlineData("sport/+", "sport/", true)]
    [InlineData("+/+", "/finance", true)]
    [InlineData("/+", "/finance", true)]
    [InlineData("+", "/finance", false)]
    [InlineData("#", "$SYS/broker", false)]
    [InlineData("+/monitor/Clients", "$SYS/monitor/Clients", false)]
    [InlineData("$SYS/#", "$SYS/broker", true)]
    [InlineData("$SYS/monitor/+", "$SYS/monitor/Clients", true)]
    [InlineData("ACCOUNTS", "accounts", false)]
    public void Filters_match_as_in_the_specifications_examples(string filter, string topic, bool matches) => Assert.Equal(matches, MqttTopic.Matches(filter, topic));

    [Theory]
    [InlineData("")]
    [InlineData("sport/tennis#")]
    [InlineData("sport/tennis/#/ranking")]
    [InlineData("sport+")]
    [InlineData("+a/b")]
    [InlineData("$share/")]
    [InlineData("$share/g")]
    [InlineData("$share/g/")]
    [InlineData("$share/g+/a")]
    [InlineData("$share//a")]
    [InlineData("a\0b")]
    public void A_filter_that_is_none_is_refused_with_its_clause(string filter) => Assert.Contains("[MQTT-4.", MqttTopic.ProblemOfFilter(filter), StringComparison.Ordinal);

    [Fact]
    public void A_string_that_is_too_long_for_its_field_is_refused()
        => Assert.Throws<ArgumentException>(() => new MqttWriter().String(new string('x', 65_536)));

    internal static IEnumerable<(string Name, byte[] Packet, MqttVersion Version)> Samples()
    {
        var all = new MqttProperties
        {
            SessionExpiryInterval = 10, ReceiveMaximum = 5, MaximumPacketSize = 1000, TopicAliasMaximum = 7, RequestResponseInformation = 1, RequestProblemInformation = 0, UserProperties = [new("k", "v")],
            AuthenticationMethod = "m", AuthenticationData = new byte[] { 1, 2 },
        };
        var will = new MqttWill("w/t", "gone"u8.ToArray(), MqttQos.ExactlyOnce, true);
        foreach (var version in (MqttVersion[])[MqttVersion.V311, MqttVersion.V5])
        {
            var is5 = version == MqttVersion.V5;
            var props = is5 ? s_user : MqttProperties.None;
            yield return ("CONNECT", MqttEncoder.Connect(new MqttConnect { Version = version, ClientId = "c", CleanStart = true, KeepAliveSeconds = 60 }), version);
            yield return ("CONNECT full", MqttEncoder.Connect(new MqttConnect
            {
                Version = version, ClientId = "клиент", KeepAliveSeconds = 65535, UserName = "u", Password = "p"u8.ToArray(), Properties = is5 ? all : MqttProperties.None,
                Will = will with { Properties = is5 ? new MqttProperties { WillDelayInterval = 3, ContentType = "t", ResponseTopic = "r", CorrelationData = new byte[] { 9 }, PayloadFormatIndicator = 1, MessageExpiryInterval = 8 } : MqttProperties.None },
            }), version);
            yield return ("CONNACK", MqttEncoder.ConnAck(new MqttConnAck(true, MqttReasonCode.Success, is5 ? new MqttProperties { AssignedClientIdentifier = "x", ServerKeepAlive = 9, MaximumQos = 1, RetainAvailable = 0, ResponseInformation = "r", ServerReference = "s", WildcardSubscriptionAvailable = 1, SubscriptionIdentifierAvailable = 1, SharedSubscriptionAvailable = 0 } : MqttProperties.None), version), version);
            foreach (var qos in Enum.GetValues<MqttQos>())
                yield return ($"PUBLISH {qos}", MqttPublishWriter.ToPacket(new MqttPublishOut { Version = version, Topic = "a/b"u8, Payload = "hello"u8, Qos = qos, PacketId = qos == 0 ? (ushort)0 : (ushort)300, Retain = qos == 0, Duplicate = qos != 0 }), version);
            foreach (var type in (MqttPacketType[])[MqttPacketType.PubAck, MqttPacketType.PubRec, MqttPacketType.PubRel, MqttPacketType.PubComp])
            {
                yield return ($"{type}", MqttEncoder.Ack(type, new MqttAck(1, MqttReasonCode.Success), version), version);
                if (is5)
                    yield return ($"{type} full", MqttEncoder.Ack(type, new MqttAck(65535, type >= MqttPacketType.PubRel ? MqttReasonCode.PacketIdentifierNotFound : MqttReasonCode.QuotaExceeded, s_user), version), version);
            }

            yield return ("SUBSCRIBE", MqttEncoder.Subscribe(new MqttSubscribe(3, [new("a/+", new(MqttQos.AtLeastOnce, is5, is5, is5 ? (byte)2 : (byte)0)), new("#", new(MqttQos.ExactlyOnce))], is5 ? new MqttProperties { SubscriptionIdentifiers = [268_435_455] } : MqttProperties.None), version), version);
            yield return ("SUBACK", MqttEncoder.SubAck(MqttPacketType.SubAck, new MqttSubAck(3, [MqttReasonCode.GrantedQos2, MqttReasonCode.UnspecifiedError], props), version), version);
            yield return ("UNSUBSCRIBE", MqttEncoder.Unsubscribe(new MqttUnsubscribe(4, ["a", "b/#"], MqttProperties.None), version), version);
            yield return ("UNSUBACK", MqttEncoder.SubAck(MqttPacketType.UnsubAck, new MqttSubAck(4, is5 ? [MqttReasonCode.Success, MqttReasonCode.NoSubscriptionExisted] : [], props), version), version);
            yield return ("PINGREQ", MqttEncoder.PingReq.ToArray(), version);
            yield return ("PINGRESP", MqttEncoder.PingResp.ToArray(), version);
            yield return ("DISCONNECT", MqttEncoder.Disconnect(MqttPacketType.Disconnect, new MqttDisconnect(MqttReasonCode.Success, MqttProperties.None), version), version);
            if (!is5)
                continue;
            yield return ("DISCONNECT full", MqttEncoder.Disconnect(MqttPacketType.Disconnect, new MqttDisconnect(MqttReasonCode.ServerMoved, new MqttProperties { SessionExpiryInterval = 1, ServerReference = "other", ReasonString = "r" }), version), version);
            yield return ("AUTH", MqttEncoder.Disconnect(MqttPacketType.Auth, new MqttDisconnect(MqttReasonCode.ContinueAuthentication, new MqttProperties { AuthenticationMethod = "m" }), version), version);
            yield return ("PUBLISH full", Convert.FromHexString("32290003612F62012C1A010102000000090300017408000172090001632600016B0001767061796C6F6164"), version);
        }
    }

    internal static object? Decode(in MqttFrame frame, ReadOnlySpan<byte> body, MqttVersion version)
    {
        switch (frame.Type)
        {
            case MqttPacketType.Connect:
                return MqttDecoder.Connect(body);
            case MqttPacketType.ConnAck:
                return MqttDecoder.ConnAck(body, version);
            case MqttPacketType.Publish:
                _ = MqttPublishView.Read(frame.First, body, version, fromClient: false).CopyForwarded();
                return null;
            case MqttPacketType.PubAck or MqttPacketType.PubRec or MqttPacketType.PubRel or MqttPacketType.PubComp:
                return MqttDecoder.Ack(frame.Type, body, version);
            case MqttPacketType.Subscribe:
                return MqttDecoder.Subscribe(body, version);
            case MqttPacketType.SubAck or MqttPacketType.UnsubAck:
                return MqttDecoder.SubAck(frame.Type, body, version);
            case MqttPacketType.Unsubscribe:
                return MqttDecoder.Unsubscribe(body, version);
            case MqttPacketType.Disconnect or MqttPacketType.Auth:
                return MqttDecoder.Disconnect(frame.Type, body, version);
            default:
                MqttDecoder.Empty(frame.Type, body);
                return null;
        }
    }

    private static byte[] Again(byte[] packet, in MqttFrame frame, MqttVersion version)
    {
        var body = packet.AsSpan(frame.BodyStart);
        if (frame.Type == MqttPacketType.Publish)
        {
            var view = MqttPublishView.Read(frame.First, body, version, fromClient: true);
            return view.HasOwn
                ? packet // the order of properties is free; CopyForwarded has its own test
                : MqttPublishWriter.ToPacket(new MqttPublishOut { Version = version, Topic = view.Topic, Payload = view.Payload, Forwarded = view.Properties, Qos = view.Qos, PacketId = view.PacketId, Retain = view.Retain, Duplicate = view.Duplicate });
        }

        return Decode(frame, body, version) switch
        {
            MqttConnect connect => MqttEncoder.Connect(connect),
            MqttConnAck ack => MqttEncoder.ConnAck(ack, version),
            MqttAck ack => MqttEncoder.Ack(frame.Type, ack, version),
            MqttSubscribe subscribe => MqttEncoder.Subscribe(subscribe, version),
            MqttSubAck ack => MqttEncoder.SubAck(frame.Type, ack, version),
            MqttUnsubscribe unsubscribe => MqttEncoder.Unsubscribe(unsubscribe, version),
            MqttDisconnect disconnect => MqttEncoder.Disconnect(frame.Type, disconnect, version),
            null => packet,
            var other => throw new InvalidOperationException(other.ToString()),
        };
    }
}
