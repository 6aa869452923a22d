using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>The broker's rules under virtual time, without a socket.</summary>
[Trait("Category", "Devices")]
public sealed class MqttCoreTests
{
    private static readonly MqttBrokerOptions s_options = new() { AllowAnonymous = true, SysPeriod = TimeSpan.Zero };

    [Fact]
    public void A_message_goes_to_all_that_subscribe_at_the_lower_qos()
    {
        var core = new MqttCoreHarness();
        var subscribers = Enum.GetValues<MqttQos>().Select(qos => (Qos: qos, Connection: core.Connect($"s{qos}"))).ToArray();
        foreach (var (qos, connection) in subscribers)
            core.Subscribe(connection, "a/+", qos);
        var publisher = core.Connect("p", MqttVersion.V311);
        foreach (var qos in Enum.GetValues<MqttQos>())
            core.PublishFrom(publisher, "a/b", $"{qos}", qos, (ushort)qos);
        foreach (var (qos, connection) in subscribers)
        {
            var got = core.Publishes(connection);
            Assert.Equal(["AtMostOnce", "AtLeastOnce", "ExactlyOnce"], got.Select(one => one.Payload));
            Assert.Equal(Enum.GetValues<MqttQos>().Select(one => one < qos ? one : qos), got.Select(one => one.Qos));
        }

        Assert.Equal([MqttPacketType.ConnAck, MqttPacketType.PubAck, MqttPacketType.PubRec], core.Take(publisher).Select(one => one.Type));
    }

    [Fact]
    public void A_qos_2_message_that_comes_twice_is_delivered_once_until_it_is_released()
    {
        var core = new MqttCoreHarness();
        var subscriber = core.Connect("s");
        core.Subscribe(subscriber, "t", MqttQos.ExactlyOnce);
        var publisher = core.Connect("p");
        core.PublishFrom(publisher, "t", "one", MqttQos.ExactlyOnce, 5);
        core.PublishFrom(publisher, "t", "one", MqttQos.ExactlyOnce, 5, duplicate: true);
        Assert.Single(core.Publishes(subscriber));
        core.Ack(publisher, MqttPacketType.PubRel, 5);
        core.PublishFrom(publisher, "t", "two", MqttQos.ExactlyOnce, 5);
        Assert.Equal("two", Assert.Single(core.Publishes(subscriber)).Payload);
        core.Ack(publisher, MqttPacketType.PubRel, 9);
        Assert.Equal(MqttReasonCode.PacketIdentifierNotFound, core.Take(publisher)[^1].Code);
    }

    [Fact]
    public void The_receive_maximum_of_the_client_bounds_what_is_in_flight()
    {
        var core = new MqttCoreHarness();
        var subscriber = core.Connect("s", properties: new MqttProperties { ReceiveMaximum = 2 });
        core.Subscribe(subscriber, "t", MqttQos.ExactlyOnce);
        for (var i = 0; i < 5; i++)
            core.Publish("t", $"{i}", i % 2 == 0 ? MqttQos.AtLeastOnce : MqttQos.ExactlyOnce);
        var first = core.Publishes(subscriber);
        Assert.Equal(["0", "1"], first.Select(one => one.Payload));
        core.Ack(subscriber, MqttPacketType.PubAck, first[0].PacketId);
        Assert.Equal("2", Assert.Single(core.Publishes(subscriber)).Payload);
        // A QoS 2 message is open until PUBCOMP.
        core.Ack(subscriber, MqttPacketType.PubRec, first[1].PacketId);
        Assert.Equal(MqttPacketType.PubRel, Assert.Single(core.Take(subscriber)).Type);
        core.Ack(subscriber, MqttPacketType.PubComp, first[1].PacketId);
        Assert.Equal("3", Assert.Single(core.Publishes(subscriber)).Payload);
    }

    [Fact]
    public void More_open_qos_2_messages_than_the_brokers_receive_maximum_end_the_connection()
    {
        var core = new MqttCoreHarness(s_options with { ReceiveMaximum = 3 });
        var publisher = core.Connect("p");
        for (ushort id = 1; id <= 4; id++)
            core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, id);
        Assert.Equal(MqttReasonCode.ReceiveMaximumExceeded, core.Take(publisher)[^1].Disconnect!.Code);
    }

    [Theory]
    [InlineData(MqttVersion.V311)]
    [InlineData(MqttVersion.V5)]
    public void What_was_not_acknowledged_comes_again_in_order_with_the_same_identifiers(MqttVersion version)
    {
        var core = new MqttCoreHarness();
        var first = core.Connect("s", version, clean: false, expiry: 100);
        core.Subscribe(first, "t", MqttQos.ExactlyOnce);
        foreach (var (payload, qos) in ((string, MqttQos)[])[("1", MqttQos.AtLeastOnce), ("2", MqttQos.ExactlyOnce), ("3", MqttQos.ExactlyOnce), ("4", MqttQos.AtLeastOnce)])
            core.Publish("t", payload, qos);
        var sent = core.Publishes(first);
        core.Ack(first, MqttPacketType.PubRec, sent[1].PacketId);
        core.Core.Lost(first, "cut");
        core.Publish("t", "5", MqttQos.AtLeastOnce);
        core.Publish("t", "lost at QoS 0");
        var second = core.Connect("s", version, clean: false, expiry: 100);
        var again = core.Take(second);
        Assert.True(again[0].ConnAck!.SessionPresent);
        Assert.Equal((MqttPacketType.PubRel, sent[1].PacketId), (again[1].Type, again[1].PacketId));
        Assert.Equal([("1", true, sent[0].PacketId), ("3", true, sent[2].PacketId), ("4", true, sent[3].PacketId)], again[2..5].Select(one => (one.Payload, one.Duplicate, one.PacketId)));
        Assert.Equal(("5", false), (again[5].Payload, again[5].Duplicate));
        Assert.Equal(6, again.Count);
    }

    [Fact]
    public void Retained_messages_come_to_new_subscriptions_by_their_retain_handling()
    {
        var core = new MqttCoreHarness();
        core.Publish("a/1", "one", MqttQos.AtLeastOnce, retain: true);
        core.Publish("a/2", "two", retain: true);
        core.Publish("b", "three", retain: true);
        core.Publish("$hw/x", "hidden", retain: true);
        core.Publish("a/2", "", retain: true);
        var connection = core.Connect("s");
        core.Take(connection);
        core.Subscribe(connection, "a/#", MqttQos.ExactlyOnce);
        var got = core.Take(connection);
        Assert.Equal(MqttPacketType.SubAck, got[0].Type);
        Assert.Equal([("one", MqttQos.AtLeastOnce, true)], got[1..].Select(one => (one.Payload, one.Qos, one.Retain)));
        core.Subscribe(connection, "a/#", options: new(MqttQos.AtMostOnce, RetainHandling: 1));
        Assert.Empty(core.Publishes(connection));
        core.Subscribe(connection, "+", options: new(MqttQos.AtMostOnce, RetainHandling: 2));
        Assert.Empty(core.Publishes(connection));
        core.Subscribe(connection, "#");
        Assert.Equal(["one", "three"], core.Publishes(connection).Select(one => one.Payload).Order());
        core.Subscribe(connection, "$hw/#");
        Assert.Equal("hidden", Assert.Single(core.Publishes(connection)).Payload);
    }

    [Fact]
    public void The_retain_flag_of_a_live_message_stays_only_where_it_was_asked_for()
    {
        var core = new MqttCoreHarness();
        var (plain, asked) = (core.Connect("plain"), core.Connect("asked"));
        core.Subscribe(plain, "t");
        core.Subscribe(asked, "t", options: new(MqttQos.AtMostOnce, RetainAsPublished: true));
        core.Publish("t", "x", retain: true);
        Assert.False(Assert.Single(core.Publishes(plain)).Retain);
        Assert.True(Assert.Single(core.Publishes(asked)).Retain);
    }

    [Fact]
    public void Overlapping_subscriptions_make_one_delivery_with_all_identifiers_and_the_highest_qos()
    {
        var core = new MqttCoreHarness();
        var connection = core.Connect("s");
        core.Subscribe(connection, "a/b", MqttQos.AtMostOnce, id: 7);
        core.Subscribe(connection, "a/+", MqttQos.ExactlyOnce, id: 268_435_455);
        core.Subscribe(connection, "#", MqttQos.AtLeastOnce);
        core.Publish("a/b", "x", MqttQos.ExactlyOnce);
        var got = Assert.Single(core.Publishes(connection));
        Assert.Equal(MqttQos.ExactlyOnce, got.Qos);
        Assert.Equal([7u, 268_435_455u], got.Properties.SubscriptionIdentifiers.Order());
    }

    [Fact]
    public void No_local_keeps_a_clients_own_messages_from_it_alone()
    {
        var core = new MqttCoreHarness();
        var (one, two) = (core.Connect("one"), core.Connect("two"));
        foreach (var connection in (Connection[])[one, two])
            core.Subscribe(connection, "t", options: new(MqttQos.AtMostOnce, NoLocal: true));
        core.PublishFrom(one, "t", "x");
        Assert.Empty(core.Publishes(one));
        Assert.Single(core.Publishes(two));
        core.Subscribe(one, "+");
        core.PublishFrom(one, "t", "y");
        Assert.Single(core.Publishes(one));
    }

    [Fact]
    public void A_shared_subscription_gives_each_message_to_one_member_in_turn_and_prefers_who_is_there()
    {
        var core = new MqttCoreHarness();
        var members = Enumerable.Range(0, 3).Select(i => core.Connect($"m{i}", expiry: 60)).ToArray();
        foreach (var member in members)
            core.Subscribe(member, "$share/g/t/#", MqttQos.AtLeastOnce);
        var alone = core.Connect("alone");
        core.Subscribe(alone, "$share/other/t/#");
        for (var i = 0; i < 9; i++)
            core.Publish("t/x", $"{i}", MqttQos.AtLeastOnce);
        Assert.Equal(9, core.Publishes(alone).Count);
        var shares = members.Select(core.Publishes).ToArray();
        Assert.All(shares, share => Assert.Equal(3, share.Count));
        Assert.Equal(Enumerable.Range(0, 9).Select(i => $"{i}"), shares.SelectMany(one => one).Select(one => one.Payload).Order());
        core.Core.Lost(members[0], "cut");
        for (var i = 0; i < 4; i++)
            core.Publish("t/x", $"{i}", MqttQos.AtLeastOnce);
        Assert.Equal(4, core.Publishes(members[1]).Count + core.Publishes(members[2]).Count);
        // With nobody there it waits for a member.
        core.Core.Lost(members[1], "cut");
        core.Core.Lost(members[2], "cut");
        core.Publish("t/x", "later", MqttQos.AtLeastOnce);
        var back = Enumerable.Range(0, 3).Sum(i => core.Publishes(core.Connect($"m{i}", clean: false, expiry: 60)).Count(one => one.Payload == "later"));
        Assert.Equal(1, back);
    }

    [Fact]
    public void Topic_aliases_work_in_both_directions_and_end_with_the_connection()
    {
        var core = new MqttCoreHarness();
        var subscriber = core.Connect("s", properties: new MqttProperties { TopicAliasMaximum = 1 });
        core.Subscribe(subscriber, "#");
        var publisher = core.Connect("p");
        core.PublishFrom(publisher, "long/topic", "1", alias: 3);
        core.PublishFrom(publisher, "", "2", alias: 3);
        core.PublishFrom(publisher, "other", "3", alias: 3);
        core.PublishFrom(publisher, "", "4", alias: 3);
        var got = core.Publishes(subscriber);
        Assert.Equal([("long/topic", (ushort?)1), ("", (ushort?)1), ("other", null), ("other", null)], got.Select(one => (one.Topic, one.Properties.TopicAlias)));
        var again = core.Connect("p", clean: false);
        core.PublishFrom(again, "", "5", alias: 3);
        Assert.Equal(MqttReasonCode.TopicAliasInvalid, core.Take(again)[^1].Disconnect!.Code);
    }

    [Fact]
    public void A_message_that_is_too_large_for_a_client_is_left_out_and_the_next_comes()
    {
        var core = new MqttCoreHarness();
        var small = core.Connect("s", properties: new MqttProperties { MaximumPacketSize = 50 });
        core.Subscribe(small, "t", MqttQos.AtLeastOnce);
        core.Publish("t", new string('x', 60), MqttQos.AtLeastOnce);
        core.Publish("t", new string('x', 60));
        core.Publish("t", "fits", MqttQos.AtLeastOnce);
        Assert.Equal("fits", Assert.Single(core.Publishes(small)).Payload);
        Assert.Equal(2, core.Core.Counters.DroppedTooLarge);
    }

    [Fact]
    public void Properties_of_a_message_reach_subscribers_of_version_5_and_the_expiry_counts_down()
    {
        var core = new MqttCoreHarness();
        var (five, three) = (core.Connect("five", expiry: 60), core.Connect("three", MqttVersion.V311));
        core.Subscribe(five, "t", MqttQos.AtLeastOnce);
        core.Subscribe(three, "t", MqttQos.AtLeastOnce);
        core.Core.Lost(five, "cut");
        var properties = new MqttProperties { ContentType = "c", ResponseTopic = "r/t", CorrelationData = "id"u8.ToArray(), UserProperties = [new("a", "1"), new("a", "2")], MessageExpiryInterval = 10, PayloadFormatIndicator = 1 };
        core.Publish("t", "request", MqttQos.AtLeastOnce, properties: properties);
        core.Publish("t", "short", MqttQos.AtLeastOnce, properties: new MqttProperties { MessageExpiryInterval = 2 });
        Assert.Equal(2, core.Publishes(three).Count);
        core.Advance(4);
        var got = Assert.Single(core.Publishes(core.Connect("five", clean: false)));
        Assert.Equal("request", got.Payload);
        Assert.Equal(6u, got.Properties.MessageExpiryInterval);
        Assert.Equal(("c", "r/t", (byte?)1), (got.Properties.ContentType, got.Properties.ResponseTopic, got.Properties.PayloadFormatIndicator));
        Assert.Equal("id"u8.ToArray(), got.Properties.CorrelationData!.Value.ToArray());
        Assert.Equal(properties.UserProperties, got.Properties.UserProperties);
        Assert.Equal(1, core.Core.Counters.Expired);
    }

    [Fact]
    public void A_slow_client_loses_qos_0_and_keeps_qos_1_up_to_the_bound()
    {
        var core = new MqttCoreHarness(s_options with { OutgoingBytesMax = 5000, QueuedMessagesMax = 10, InFlightMax = 3 });
        var slow = core.Connect("slow");
        core.Subscribe(slow, "t", MqttQos.AtLeastOnce);
        core.Take(slow);
        for (var i = 0; i < 100; i++)
            core.Publish("t", new string('x', 1000));
        Assert.InRange(slow.Out.Bytes, 5000, 6500);
        Assert.InRange(core.Core.Counters.DroppedSlow, 90, 97);
        core.Publish("t", "0", MqttQos.AtLeastOnce);
        core.Advance(BrokerCore.StalledAfterMs / 1000.0);
        for (var i = 1; i < 20; i++)
            core.Publish("t", $"{i}", MqttQos.AtLeastOnce);
        Assert.Equal(10, core.Core.Counters.DroppedQueueFull);
        core.Take(slow);
        core.Core.Drained(slow);
        Assert.Equal(["10", "11", "12"], core.Publishes(slow).Select(one => one.Payload));
    }

    [Fact]
    public void A_large_payload_is_there_once_for_all_subscribers()
    {
        var core = new MqttCoreHarness();
        var all = Enumerable.Range(0, 3).Select(i => core.Connect($"s{i}")).ToArray();
        foreach (var one in all)
            core.Subscribe(one, "t");
        foreach (var one in all)
            core.Take(one);
        core.Publish("t", new string('x', 100_000));
        var arrays = all.Select(one =>
        {
            var segments = new List<OutSegment>();
            one.Out.TakeAll(segments);
            return Assert.Single(segments, segment => !segment.IsPooled).Array;
        }).ToArray();
        Assert.All(arrays, array => Assert.Same(arrays[0], array));
    }

    [Fact]
    public void A_packet_that_is_begun_and_not_finished_ends_the_connection()
    {
        var core = new MqttCoreHarness(s_options with { PacketWithin = TimeSpan.FromSeconds(5) });
        var connection = core.Connect("slow");
        core.Take(connection);
        connection.PartialSinceMs = core.Core.NowMs;
        core.Core.Watch(connection);
        core.Advance(6);
        var bye = Assert.Single(core.Take(connection)).Disconnect!;
        Assert.Equal(MqttReasonCode.ImplementationSpecificError, bye.Code);
        Assert.Contains("not finished within 5 s", bye.Properties.ReasonString, StringComparison.Ordinal);
    }

    [Fact]
    public void A_connection_without_connect_ends_and_bounds_refuse_with_their_code()
    {
        var core = new MqttCoreHarness(s_options with { SessionsMax = 2, SubscriptionsPerSessionMax = 1, RetainedMax = 1, TopicLevelsMax = 3 });
        var mute = core.Open();
        core.Advance(11);
        Assert.True(mute.IsClosing);
        var first = core.Connect("1", expiry: 60);
        core.Connect("2");
        Assert.Equal(MqttReasonCode.QuotaExceeded, core.Take(core.Connect("3"))[0].Code);
        Assert.Equal(MqttReasonCode.Success, core.Take(core.Connect("1", clean: false, expiry: 60))[^1].Code);
        first = core.Connect("1");
        core.Subscribe(first, "a");
        core.Subscribe(first, "b");
        core.Subscribe(first, "a/b/c/d");
        Assert.Equal([MqttReasonCode.Success, MqttReasonCode.QuotaExceeded, MqttReasonCode.TopicFilterInvalid], core.Take(first).Where(one => one.Type == MqttPacketType.SubAck).Select(one => one.Codes[0]));
        core.PublishFrom(first, "r1", "x", MqttQos.AtLeastOnce, 1, retain: true);
        core.PublishFrom(first, "r2", "x", MqttQos.AtLeastOnce, 2, retain: true);
        core.PublishFrom(first, "a/b/c/d", "x", MqttQos.ExactlyOnce, 3);
        Assert.Equal([MqttReasonCode.NoMatchingSubscribers, MqttReasonCode.QuotaExceeded, MqttReasonCode.TopicNameInvalid], core.Take(first).Select(one => one.Code));
    }

    [Fact]
    public void Rules_decide_by_user_and_client_what_is_published_subscribed_and_delivered()
    {
        var core = new MqttCoreHarness(s_options with
        {
            Acl =
            [
                new("*", "secret/#", MqttAccess.ReadWrite, Allow: false), new("ann", "users/%u/#", MqttAccess.ReadWrite), new("*", "clients/%c", MqttAccess.Write), new("ann", "#", MqttAccess.Read),
            ],
        });
        var ann = core.Connect("c1", user: "ann");
        core.Take(ann);
        foreach (var filter in (string[])["users/ann/#", "secret/x", "#"])
            core.Subscribe(ann, filter);
        Assert.Equal([MqttReasonCode.Success, MqttReasonCode.NotAuthorized, MqttReasonCode.Success], core.Take(ann).Select(one => one.Codes[0]));
        core.PublishFrom(ann, "users/ann/x", "mine", MqttQos.AtLeastOnce, 1);
        core.PublishFrom(ann, "users/bob/x", "not mine", MqttQos.AtLeastOnce, 2);
        core.PublishFrom(ann, "clients/c1", "by client", MqttQos.AtLeastOnce, 3);
        core.PublishFrom(ann, "$SYS/fake", "x", MqttQos.AtLeastOnce, 4);
        var got = core.Take(ann);
        Assert.Equal([MqttReasonCode.Success, MqttReasonCode.NotAuthorized, MqttReasonCode.Success, MqttReasonCode.NotAuthorized], got.Where(one => one.Type == MqttPacketType.PubAck).Select(one => one.Code));
        Assert.Equal(["mine", "by client"], got.Where(one => one.Type == MqttPacketType.Publish).Select(one => one.Payload));
        core.Publish("secret/x", "hidden");
        Assert.Empty(core.Publishes(ann));
        var wild = core.Connect("#", user: "eve");
        core.Subscribe(wild, "clients/c1");
        Assert.Equal(MqttReasonCode.NotAuthorized, core.Take(wild)[^1].Codes[0]);
        Assert.Equal(MqttReasonCode.NotAuthorized, core.Take(core.Connect("w", will: new MqttWill("nowhere", default, 0, false), user: "eve"))[0].Code);
    }

    [Fact]
    public void Sys_topics_are_published_and_a_first_level_wildcard_does_not_meet_them()
    {
        var core = new MqttCoreHarness(s_options with { SysPeriod = TimeSpan.FromSeconds(10) });
        var (all, sys) = (core.Connect("all"), core.Connect("sys"));
        core.Subscribe(all, "#");
        core.Subscribe(sys, "$SYS/broker/clients/+");
        core.Advance(11);
        Assert.Empty(core.Publishes(all));
        var got = core.Publishes(sys).Where(one => one.Topic == "$SYS/broker/clients/connected").ToArray();
        Assert.Equal("2", got[^1].Payload);
    }

    [Theory]
    [InlineData(MqttQos.AtLeastOnce)]
    [InlineData(MqttQos.ExactlyOnce)]
    public void What_a_smaller_window_did_not_send_again_comes_once_after_the_next_cut(MqttQos qos)
    {
        var core = new MqttCoreHarness();
        var connection = core.Connect("s", expiry: 100);
        core.Subscribe(connection, "t", qos);
        for (var i = 0; i < 120; i++)
            core.Publish("t", $"{i}", qos);
        Assert.Equal(100, core.Publishes(connection).Count);
        core.Core.Lost(connection, "cut");
        connection = core.Connect("s", clean: false, expiry: 100, properties: new MqttProperties { ReceiveMaximum = 10 });
        Assert.Equal(10, core.Publishes(connection).Count);
        core.Core.Lost(connection, "cut again");
        connection = core.Connect("s", clean: false, expiry: 100);
        var got = new List<string>();
        for (var packets = core.Take(connection); packets.Count > 0; packets = core.Take(connection))
        {
            foreach (var packet in packets)
            {
                if (packet.Type == MqttPacketType.Publish)
                    got.Add(packet.Payload);
                if (packet.Type is MqttPacketType.Publish or MqttPacketType.PubRel)
                    core.Ack(connection, packet.Type == MqttPacketType.PubRel ? MqttPacketType.PubComp : qos == MqttQos.AtLeastOnce ? MqttPacketType.PubAck : MqttPacketType.PubRec, packet.PacketId);
            }
        }

        Assert.Equal(Enumerable.Range(0, 120).Select(i => $"{i}"), got);
        var session = connection.Session!;
        Assert.Equal((0, 0L, null, null), (session.Open, session.PendingBytes, session.Pending, session.InFlight));
    }

    [Fact]
    public void What_is_sent_again_is_not_dropped_when_the_queue_overflows()
    {
        var core = new MqttCoreHarness(s_options with { QueuedMessagesMax = 5, InFlightMax = 20 });
        var connection = core.Connect("s", expiry: 100);
        core.Subscribe(connection, "t", MqttQos.AtLeastOnce);
        for (var i = 0; i < 20; i++)
            core.Publish("t", $"{i}", MqttQos.AtLeastOnce);
        core.Core.Lost(connection, "cut");
        for (var i = 20; i < 30; i++)
            core.Publish("t", $"{i}", MqttQos.AtLeastOnce);
        connection = core.Connect("s", clean: false, expiry: 100, properties: new MqttProperties { ReceiveMaximum = 1 });
        core.Advance(BrokerCore.StalledAfterMs / 1000.0);
        for (var i = 30; i < 40; i++)
            core.Publish("t", $"{i}", MqttQos.AtLeastOnce);
        Assert.Equal(15, core.Core.Counters.DroppedQueueFull);
        var got = new List<string>();
        for (var packets = core.Publishes(connection); packets.Count > 0; packets = core.Publishes(connection))
        {
            got.AddRange(packets.Select(one => one.Payload));
            packets.ForEach(one => core.Ack(connection, MqttPacketType.PubAck, one.PacketId));
        }

        Assert.Equal(Enumerable.Range(0, 20).Concat(Enumerable.Range(35, 5)).Select(i => $"{i}"), got);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_new_subscriber_gets_all_retained_messages_and_then_what_is_published(bool hasStore)
    {
        var core = new MqttCoreHarness(s_options with { QueuedMessagesMax = 100 }, hasStore);
        for (var i = 0; i < 3_000; i++)
            core.Publish($"r/{i}", $"{i}", MqttQos.AtLeastOnce, retain: true);
        var connection = core.Connect("s", expiry: 100);
        core.Subscribe(connection, "r/#", MqttQos.AtLeastOnce);
        for (var i = 0; i < 300; i++)
            core.Publish("r/7", $"new {i}", MqttQos.AtLeastOnce);
        var got = new List<Sent>();
        for (var packets = core.Publishes(connection); packets.Count > 0; packets = core.Publishes(connection))
        {
            got.AddRange(packets);
            packets.ForEach(one => core.Ack(connection, MqttPacketType.PubAck, one.PacketId));
            if (got.Count != 1_000)
                continue;
            // A cut in between, and a restart of the broker, lose none.
            core.Core.Lost(connection, "cut");
            if (hasStore)
                core = new MqttCoreHarness(s_options with { QueuedMessagesMax = 100 }, hasStore, MqttSessionCoreTests.Final(core.Core.TakeChanges()));
            connection = core.Connect("s", clean: false, expiry: 100);
        }

        Assert.Equal(0, core.Core.Counters.DroppedQueueFull);
        Assert.Equal(Enumerable.Range(0, 3_000).Select(i => $"{i}").Order(), got[..3_000].Select(one => one.Payload).Order());
        Assert.All(got[..3_000], one => Assert.True(one.Retain));
        Assert.Equal(Enumerable.Range(0, 300).Select(i => $"new {i}"), got[3_000..].Select(one => one.Payload));
    }

    [Fact]
    public void Retained_messages_that_wait_are_bounded_over_any_number_of_subscriptions()
    {
        var core = new MqttCoreHarness(s_options with { RetainedMax = 150, QueuedMessagesMax = 10, InFlightMax = 1 });
        for (var i = 0; i < 150; i++)
            core.Publish($"r/{i}", $"{i}", MqttQos.AtLeastOnce, retain: true);
        var connection = core.Connect("s");
        for (var i = 0; i < 5; i++)
            core.Subscribe(connection, "r/#", MqttQos.AtLeastOnce);
        Assert.Equal(150, connection.Session!.Replay!.Count);
        Assert.Equal((5 * 150) - 1 - 150, core.Core.Counters.DroppedQueueFull);
    }

    [Fact]
    public void A_burst_reaches_a_client_that_keeps_up_and_the_bound_in_messages_holds_for_one_that_does_not()
    {
        var core = new MqttCoreHarness(s_options with { QueuedMessagesMax = 100 });
        var (good, mute) = (core.Connect("good", expiry: 100), core.Connect("mute", expiry: 100));
        core.Subscribe(good, "t", MqttQos.AtLeastOnce);
        core.Subscribe(mute, "t", MqttQos.AtLeastOnce);
        var got = 0;
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < 3_000; i++)
                core.Publish("t", $"{i}", MqttQos.AtLeastOnce);
            for (var packets = core.Publishes(good); packets.Count > 0; packets = core.Publishes(good))
            {
                got += packets.Count;
                packets.ForEach(one => core.Ack(good, MqttPacketType.PubAck, one.PacketId));
            }

            core.Advance(10);
        }

        Assert.Equal(9_000, got);
        Assert.Equal(100, mute.Session!.Pending!.Count);
        Assert.Equal(9_000 - 100 - 100, core.Core.Counters.DroppedQueueFull);
    }

    [Fact]
    public void The_bound_in_bytes_holds_also_for_a_client_that_keeps_up_and_the_oldest_goes()
    {
        var core = new MqttCoreHarness(s_options with { QueuedBytesMax = 10_000, InFlightMax = 1 });
        var connection = core.Connect("s");
        core.Subscribe(connection, "t", MqttQos.AtLeastOnce);
        for (var i = 0; i < 30; i++)
            core.Publish("t", $"{i}".PadRight(1_000), MqttQos.AtLeastOnce);
        // A message counts with its topic and 128 bytes for what holds it: eight fit, one more is in flight.
        Assert.Equal((21, 8), ((int)core.Core.Counters.DroppedQueueFull, connection.Session!.Pending!.Count));
        Assert.InRange(connection.Session.PendingBytes, 8 * 1_129, 10_000);
        core.Publish("t", new string('x', 20_000), MqttQos.AtLeastOnce);
        Assert.Single(connection.Session.Pending!); // one is taken whatever its size
        core.Ack(connection, MqttPacketType.PubAck, core.Publishes(connection)[0].PacketId);
        Assert.Equal(20_000, core.Publishes(connection)[0].Payload.Length);
    }

    [Fact]
    public void Random_steps_keep_what_must_hold()
    {
        // Exactly once at QoS 2 and at least once at QoS 1, in order, over lost connections.
        for (var seed = 1; seed <= 30; seed++)
        {
            var random = new Random(seed);
            var core = new MqttCoreHarness(s_options with { OutgoingBytesMax = 8_000, InFlightMax = 40 }, hasStore: true);
            var window = 40;
            Connection Back(bool isFirst = false)
            {
                window = random.Next(3) == 0 ? 40 : random.Next(1, 12);
                return core.Connect("s", clean: isFirst, expiry: 1000, properties: new MqttProperties { ReceiveMaximum = (ushort)window });
            }

            var subscriber = Back(isFirst: true);
            core.Subscribe(subscriber, "t", MqttQos.ExactlyOnce);
            core.Take(subscriber);
            var got = new Dictionary<MqttQos, List<int>> { [MqttQos.AtLeastOnce] = [], [MqttQos.ExactlyOnce] = [] };
            var open = new HashSet<ushort>();
            var next = 0;
            for (var step = 0; step < 400 || next > got.Values.Sum(one => one.Distinct().Count()); step++)
            {
                Assert.True(step < 20_000, $"seed {seed}: not everything came");
                // Sometimes many at once, sometimes so large that the socket's bound stops before the window does.
                for (var burst = step >= 400 ? 0 : random.Next(20) == 0 ? 30 : random.Next(3) / 2; burst > 0; burst--)
                    core.Publish("t", $"{next++}".PadRight(random.Next(4) == 0 ? 3_000 : 1), random.Next(2) == 0 ? MqttQos.AtLeastOnce : MqttQos.ExactlyOnce);
                if (random.Next(20) == 0)
                {
                    core.Core.Lost(subscriber, "cut");
                    subscriber.Out.Clear();
                    subscriber = Back();
                    Assert.True(subscriber.Session is not null, $"seed {seed} step {step}");
                }

                var session = subscriber.Session!;
                Assert.True(session.Open <= Math.Max(window, session.InFlight?.Values.Count(one => one.State == DeliveryState.Released) ?? 0), $"seed {seed} step {step}: {session.Open} are open, the window is {window}");
                Assert.Equal(session.Open, session.InFlight?.Values.Count(one => one.State != DeliveryState.Waiting) ?? 0);
                Assert.Equal(session.Again?.Count ?? 0, session.InFlight?.Values.Count(one => one.State == DeliveryState.Waiting) ?? 0);
                Assert.Equal(session.PendingBytes, session.Pending?.Sum(one => (long)one.Message.QueuedSize) ?? 0);
                var packets = core.Take(subscriber);
                core.Core.Drained(subscriber);
                foreach (var packet in packets)
                {
                    if (packet.Type == MqttPacketType.Publish)
                    {
                        if (packet.Qos == MqttQos.AtLeastOnce || open.Add(packet.PacketId))
                            got[packet.Qos].Add(int.Parse(packet.Payload));
                        if (random.Next(12) != 0)
                            core.Ack(subscriber, packet.Qos == MqttQos.AtLeastOnce ? MqttPacketType.PubAck : MqttPacketType.PubRec, packet.PacketId);
                        else
                            core.Core.Lost(subscriber, "cut before the answer");
                    }
                    else if (packet.Type == MqttPacketType.PubRel)
                    {
                        open.Remove(packet.PacketId);
                        core.Ack(subscriber, MqttPacketType.PubComp, packet.PacketId);
                    }

                    if (subscriber.Session is not null)
                        continue;
                    subscriber.Out.Clear();
                    subscriber = Back();
                    break;
                }
            }

            Assert.True(got[MqttQos.ExactlyOnce].Count == got[MqttQos.ExactlyOnce].Distinct().Count(), $"seed {seed}: a QoS 2 message came twice");
            Assert.True(got[MqttQos.ExactlyOnce].SequenceEqual(got[MqttQos.ExactlyOnce].Order()), $"seed {seed}: out of order");
            Assert.Equal(next, got.Values.Sum(one => one.Distinct().Count()));
        }
    }
}
