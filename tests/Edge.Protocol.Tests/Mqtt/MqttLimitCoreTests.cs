using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>What each side may send, what is refused and how it is said, without a socket.</summary>
[Trait("Category", "Devices")]
public sealed class MqttLimitCoreTests
{
    private static readonly MqttBrokerOptions s_options = new() { AllowAnonymous = true, SysPeriod = TimeSpan.Zero };

    [Fact]
    public void A_qos_2_message_that_comes_again_sets_its_topic_alias_on_the_new_connection()
    {
        var core = new MqttCoreHarness();
        var subscriber = core.Connect("s");
        core.Subscribe(subscriber, "t");
        var publisher = core.Connect("p", expiry: 100);
        core.PublishFrom(publisher, "t", "1", MqttQos.ExactlyOnce, 1, alias: 4);
        core.Core.Lost(publisher, "cut");
        publisher = core.Connect("p", clean: false, expiry: 100);
        core.PublishFrom(publisher, "t", "1", MqttQos.ExactlyOnce, 1, alias: 4, duplicate: true);
        core.PublishFrom(publisher, "", "2", MqttQos.ExactlyOnce, 2, alias: 4);
        Assert.Equal(["1", "2"], core.Publishes(subscriber).Select(one => one.Payload));
        core.PublishFrom(publisher, "t", "2", MqttQos.ExactlyOnce, 2, alias: 33, duplicate: true);
        Assert.Equal(MqttReasonCode.TopicAliasInvalid, core.Take(publisher)[^1].Disconnect!.Code);
    }

    [Fact]
    public void Version_3_1_1_has_no_receive_maximum_to_break()
    {
        var core = new MqttCoreHarness();
        var publisher = core.Connect("p", MqttVersion.V311, clean: false);
        for (var id = 1; id <= ushort.MaxValue; id++)
            core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, (ushort)id);
        Assert.False(publisher.IsClosing);
        core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, 7, duplicate: true);
        Assert.Equal(1 + ushort.MaxValue + 1, core.Take(publisher).Count);
    }

    [Fact]
    public void The_receive_maximum_counts_anew_on_each_connection_and_what_is_done_no_longer_counts()
    {
        var core = new MqttCoreHarness(s_options with { ReceiveMaximum = 3, Acl = [new("*", "no", MqttAccess.Write, Allow: false), new("*", "#", MqttAccess.ReadWrite)] });
        var publisher = core.Connect("p", expiry: 100);
        for (ushort id = 1; id <= 3; id++)
            core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, id);
        core.Core.Lost(publisher, "cut");
        publisher = core.Connect("p", clean: false, expiry: 100);
        for (ushort id = 4; id <= 6; id++)
            core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, id);
        Assert.False(publisher.IsClosing);
        core.Ack(publisher, MqttPacketType.PubRel, 4);
        for (ushort id = 7; id < 17; id++)
            core.PublishFrom(publisher, "no", "refused", MqttQos.ExactlyOnce, id);
        core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, 20);
        Assert.False(publisher.IsClosing);
        core.PublishFrom(publisher, "t", "x", MqttQos.ExactlyOnce, 21);
        Assert.Equal(MqttReasonCode.ReceiveMaximumExceeded, core.Take(publisher)[^1].Disconnect!.Code);
    }

    [Theory]
    [InlineData(MqttQos.AtLeastOnce)]
    [InlineData(MqttQos.ExactlyOnce)]
    public void A_refusal_of_the_longest_topic_is_told_in_short(MqttQos qos)
    {
        var core = new MqttCoreHarness(s_options with { Acl = [new("*", "t", MqttAccess.ReadWrite)] });
        var publisher = core.Connect("p");
        core.PublishFrom(publisher, new string('x', 65_535), "x", qos, 1);
        var got = core.Take(publisher)[^1];
        Assert.Equal((MqttReasonCode.NotAuthorized, false), (got.Code, publisher.IsClosing));
        // And behind one that waits.
        var taker = new LocalSubscriber(10, isTaker: true);
        core.Core.SubscribeTaker(taker, "t");
        core.PublishFrom(publisher, "t", "x", qos, 2);
        core.PublishFrom(publisher, new string('ü', 32_767), "x", qos, 3);
        Assert.Empty(core.Take(publisher));
        Assert.True(taker.Reader.TryRead(out var message));
        core.Core.Taken(message.Held!, MqttReasonCode.ImplementationSpecificError, new string('y', 100_000));
        Assert.Equal([MqttReasonCode.ImplementationSpecificError, MqttReasonCode.NotAuthorized], core.Take(publisher).Select(one => one.Code));
    }

    [Fact]
    public void A_will_with_the_longest_topic_is_refused_in_short()
    {
        var core = new MqttCoreHarness(s_options with { Acl = [new("*", "t", MqttAccess.ReadWrite)] });
        var refused = core.Take(core.Connect("p", will: new MqttWill(new string('x', 65_535), default, 0, false)))[0];
        Assert.Equal(MqttReasonCode.NotAuthorized, refused.Code);
        Assert.InRange(refused.ConnAck!.Properties.ReasonString!.Length, 1, 1024);
    }

    [Fact]
    public void The_clients_maximum_packet_size_holds_for_every_packet()
    {
        var core = new MqttCoreHarness(s_options with { Acl = [new("*", "no/#", MqttAccess.ReadWrite, Allow: false), new("*", "#", MqttAccess.ReadWrite)] });
        MqttProperties Most(uint size) => new() { MaximumPacketSize = size };

        // CONNACK that refuses: first without its reason, then not at all.
        var will = new MqttWill("no/will", default, 0, false);
        Assert.NotNull(core.Take(core.Connect("a", will: will, properties: Most(100)))[0].ConnAck!.Properties.ReasonString);
        var refused = core.Take(core.Connect("b", will: will, properties: Most(5)))[0].ConnAck!;
        Assert.Equal((MqttReasonCode.NotAuthorized, null), (refused.Code, refused.Properties.ReasonString));
        var none = core.Connect("c", will: will, properties: Most(4));
        Assert.True(none.IsClosing);
        Assert.Contains("not allowed", none.EndReason, StringComparison.Ordinal);
        Assert.Empty(core.Take(none));
        // One that accepts has properties that the client must know.
        var mute = core.Connect("d", properties: Most(10));
        Assert.Equal((true, 0), (mute.IsClosing, core.Core.ConnectedCount));
        Assert.Equal((MqttPacketType.Disconnect, MqttReasonCode.PacketTooLarge), Assert.Single(core.Take(mute)) is var bye ? (bye.Type, bye.Code) : default);

        foreach (var isSubscribe in (bool[])[true, false])
        {
            var connection = core.Connect("e", properties: Most(60));
            core.Take(connection);
            var filters = Enumerable.Range(0, 70).Select(i => $"f{i}").ToArray();
            core.Feed(connection, isSubscribe
                ? MqttEncoder.Subscribe(new MqttSubscribe(1, [.. filters.Select(one => new MqttTopicFilter(one, new(0)))], MqttProperties.None), MqttVersion.V5)
                : MqttEncoder.Unsubscribe(new MqttUnsubscribe(1, filters, MqttProperties.None), MqttVersion.V5));
            var got = Assert.Single(core.Take(connection)).Disconnect!;
            Assert.Equal(MqttReasonCode.PacketTooLarge, got.Code);
            Assert.Contains(isSubscribe ? "SUBACK has 75 bytes" : "UNSUBACK has 75 bytes", connection.EndReason, StringComparison.Ordinal);
        }

        // An acknowledgement leaves out its reason.
        var small = core.Connect("f", properties: Most(40));
        core.Take(small);
        core.PublishFrom(small, "no/" + new string('x', 50), "x", MqttQos.AtLeastOnce, 1);
        Assert.Equal(MqttReasonCode.NotAuthorized, Assert.Single(core.Take(small)).Code);
    }

    [Fact]
    public void A_client_that_wants_no_reasons_gets_them_at_most_in_connack()
    {
        var core = new MqttCoreHarness(s_options with { Acl = [new("*", "no", MqttAccess.Write, Allow: false), new("*", "#", MqttAccess.ReadWrite)] });
        foreach (var (wants, id) in ((byte?, ushort)[])[(1, 1), (0, 2), (null, 3)])
        {
            var connection = core.Connect("c", properties: new MqttProperties { RequestProblemInformation = wants });
            core.Take(connection);
            core.PublishFrom(connection, "no", "x", MqttQos.AtLeastOnce, id);
            var segments = new List<OutSegment>();
            connection.Out.TakeAll(segments);
            var bytes = segments.SelectMany(one => one.Array.Take(one.Length)).ToArray();
            connection.Out.Written(bytes.Length);
            // [MQTT-3.1.2-29]
            if (wants == 0)
                Assert.Equal([0x40, 3, 0, 2, 0x87], bytes);
            else
                Assert.Contains("not allowed to publish 'no'", Encoding.UTF8.GetString(bytes), StringComparison.Ordinal);
            core.Feed(connection, [0x36, 0]);
            Assert.Equal(wants != 0, Assert.Single(core.Take(connection)).Disconnect!.Properties.ReasonString is not null);
        }
    }

    [Theory]
    [InlineData(MqttVersion.V311)]
    [InlineData(MqttVersion.V5)]
    public void A_message_that_finds_the_retained_store_full_reaches_who_is_subscribed_and_is_counted(MqttVersion version)
    {
        var core = new MqttCoreHarness(s_options with { RetainedMax = 1 });
        core.Publish("full", "x", retain: true);
        var subscriber = core.Connect("s");
        core.Subscribe(subscriber, "t", MqttQos.ExactlyOnce);
        var publisher = core.Connect("p", version);
        core.Take(publisher);
        for (ushort qos = 0; qos < 3; qos++)
            core.PublishFrom(publisher, "t", $"{qos}", (MqttQos)qos, qos, retain: true);
        Assert.Equal(["0", "1", "2"], core.Publishes(subscriber).Select(one => one.Payload));
        Assert.Equal((1, 3), (core.Core.RetainedCount, core.Core.Counters.DroppedRetained));
        Assert.All(core.Take(publisher), one => Assert.Equal(version == MqttVersion.V5 ? MqttReasonCode.QuotaExceeded : MqttReasonCode.Success, one.Code));
        core.PublishFrom(publisher, "full", "y", retain: true); // one that is there already
        core.Subscribe(subscriber, "full");
        Assert.Equal("y", Assert.Single(core.Publishes(subscriber)).Payload);
    }

    [Fact]
    public void A_message_of_qos_0_that_may_not_be_published_is_counted()
    {
        var core = new MqttCoreHarness(s_options with { Acl = [new("*", "yes/#", MqttAccess.ReadWrite)], TopicLevelsMax = 3 });
        var publisher = core.Connect("p");
        core.PublishFrom(publisher, "no", "x");
        core.PublishFrom(publisher, "yes/a/b/c", "x");
        core.PublishFrom(publisher, "yes", "x");
        Assert.Equal((2, 0), (core.Core.Counters.DroppedRefused, core.Core.Counters.PublishesRefused));
    }

    [Fact]
    public void A_shared_subscriptions_turn_does_not_overflow()
    {
        var core = new MqttCoreHarness();
        var member = core.Connect("m", expiry: 100);
        core.Subscribe(member, "$share/g/t", MqttQos.AtLeastOnce);
        core.Core.Lost(member, "away");
        var publisher = core.Connect("p");
        core.PublishFrom(publisher, "t", "x", MqttQos.AtLeastOnce, 1);
        var group = publisher.LastRoutes!.Groups[0];
        group.Next = int.MaxValue;
        for (ushort id = 2; id < 5; id++)
            core.PublishFrom(publisher, "t", "x", MqttQos.AtLeastOnce, id);
        Assert.Equal(0, group.Next);
        Assert.Equal(4, core.Publishes(core.Connect("m", clean: false)).Count);
    }

    [Fact]
    public void The_expiry_of_a_retained_message_counts_down_and_ends_it()
    {
        var core = new MqttCoreHarness(hasStore: true);
        core.Publish("a", "x", MqttQos.AtLeastOnce, retain: true, properties: new MqttProperties { MessageExpiryInterval = 10 });
        core.Publish("b", "y", MqttQos.AtLeastOnce, retain: true, properties: new MqttProperties { MessageExpiryInterval = 3 });
        core.Advance(4);
        foreach (var qos in (MqttQos[])[MqttQos.AtMostOnce, MqttQos.AtLeastOnce])
        {
            var subscriber = core.Connect("s");
            core.Subscribe(subscriber, "#", qos);
            Assert.Equal(("x", 6u), Assert.Single(core.Publishes(subscriber)) is var one ? (one.Payload, one.Properties.MessageExpiryInterval!.Value) : default);
        }

        Assert.Equal((1, 1), (core.Core.RetainedCount, core.Core.Counters.Expired));
        Assert.Contains(core.Core.TakeChanges(), change => change is RetainedGone { Topic: "b" });
        core.Advance(7);
        var late = core.Connect("late");
        core.Subscribe(late, "#", MqttQos.AtLeastOnce);
        Assert.Empty(core.Publishes(late));
        Assert.Equal(0, core.Core.RetainedCount);
    }

    [Fact]
    public void A_hidden_denial_says_unspecified_error()
    {
        var core = new MqttCoreHarness(s_options with { HideDenials = true, Acl = [new("*", "yes", MqttAccess.ReadWrite)] });
        var connection = core.Connect("c");
        core.Subscribe(connection, "no");
        Assert.Equal(MqttReasonCode.UnspecifiedError, core.Take(connection)[^1].Codes[0]);
    }

    [Fact]
    public void A_client_without_identifier_is_given_one_of_its_own_and_may_come_back_with_it()
    {
        var core = new MqttCoreHarness();
        var ids = Enumerable.Range(0, 2).Select(_ => core.Take(core.Connect("", expiry: 100))[0].ConnAck!.Properties.AssignedClientIdentifier!).ToArray();
        Assert.NotEqual(ids[0], ids[1]);
        Assert.True(core.Take(core.Connect(ids[0], clean: false))[0].ConnAck!.SessionPresent);
        Assert.Null(core.Take(core.Connect("named"))[0].ConnAck!.Properties.AssignedClientIdentifier);
        // Version 3.1.1 cannot be told, and is served on a clean session.
        var old = core.Take(core.Connect("", MqttVersion.V311))[0];
        Assert.Equal(MqttReasonCode.Success, old.Code);
    }
}
