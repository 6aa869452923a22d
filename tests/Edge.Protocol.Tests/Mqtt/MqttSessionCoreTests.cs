using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>How sessions and wills begin, end, change hands and outlive a restart, under virtual time, without a socket.</summary>
[Trait("Category", "Devices")]
public sealed class MqttSessionCoreTests
{
    private static readonly MqttBrokerOptions s_options = new() { AllowAnonymous = true, SysPeriod = TimeSpan.Zero };

    [Fact]
    public void A_second_connection_takes_the_session_over_and_the_first_hears_why()
    {
        var core = new MqttCoreHarness();
        var first = core.Connect("same", expiry: 60);
        core.Subscribe(first, "t");
        core.Take(first);
        var second = core.Connect("same", clean: false, expiry: 60);
        Assert.Equal(MqttReasonCode.SessionTakenOver, Assert.Single(core.Take(first)).Disconnect!.Code);
        Assert.True(first.IsClosing);
        Assert.True(core.Take(second)[0].ConnAck!.SessionPresent);
        core.Publish("t", "x");
        Assert.Single(core.Publishes(second));
        Assert.Equal(1, core.Core.ConnectedCount);
    }

    [Fact]
    public void A_session_that_ends_with_its_connection_is_not_there_for_who_takes_over()
    {
        var core = new MqttCoreHarness();
        var first = core.Connect("same");
        core.Subscribe(first, "t");
        var second = core.Connect("same", clean: false, expiry: 60);
        Assert.False(core.Take(second)[0].ConnAck!.SessionPresent);
        core.Publish("t", "x");
        Assert.Empty(core.Publishes(second));
        core.Subscribe(second, "t");
        core.Publish("t", "y");
        Assert.Single(core.Publishes(second));
    }

    [Fact]
    public void A_session_ends_when_its_time_is_over_and_not_before()
    {
        var core = new MqttCoreHarness();
        var connection = core.Connect("s", expiry: 10);
        core.Subscribe(connection, "t", MqttQos.AtLeastOnce);
        core.Core.Lost(connection, "cut");
        core.Advance(9);
        Assert.True(core.Take(connection = core.Connect("s", clean: false, expiry: 10))[0].ConnAck!.SessionPresent);
        core.Disconnect(connection, expiry: 3);
        core.Advance(4);
        Assert.Equal(0, core.Core.SessionCount);
        Assert.Equal(0, core.Core.SubscriptionCount);
        Assert.False(core.Take(core.Connect("s", clean: false))[0].ConnAck!.SessionPresent);
    }

    [Fact]
    public void Silence_of_one_and_a_half_keep_alives_ends_the_connection_and_publishes_the_will()
    {
        var core = new MqttCoreHarness();
        var watcher = core.Connect("w");
        core.Subscribe(watcher, "will");
        var connection = core.Connect("s", will: new MqttWill("will", "gone"u8.ToArray(), MqttQos.AtMostOnce, false), keepAlive: 10);
        core.Advance(14);
        core.Feed(connection, MqttEncoder.PingReq);
        core.Advance(14.5);
        Assert.False(connection.IsClosing);
        Assert.Empty(core.Publishes(watcher));
        core.Advance(1);
        Assert.Equal(MqttReasonCode.KeepAliveTimeout, core.Take(connection)[^1].Disconnect!.Code);
        Assert.Equal("gone", Assert.Single(core.Publishes(watcher)).Payload);
    }

    [Fact]
    public void The_server_keep_alive_replaces_the_clients()
    {
        var core = new MqttCoreHarness(s_options with { KeepAliveMaxSeconds = 4 });
        var connection = core.Connect("s", keepAlive: 100);
        Assert.Equal((ushort)4, core.Take(connection)[0].ConnAck!.Properties.ServerKeepAlive);
        core.Advance(7);
        Assert.True(connection.IsClosing);
        Assert.Null(core.Take(core.Connect("modest", keepAlive: 3))[0].ConnAck!.Properties.ServerKeepAlive);
    }

    [Theory]
    [InlineData(5, 60, 5)] // the delay
    [InlineData(60, 5, 5)] // the session's end comes first
    [InlineData(5, 0, 0)] // the session ends at once
    public void A_will_waits_for_its_delay_or_the_sessions_end(uint delay, uint expiry, int seconds)
    {
        var core = new MqttCoreHarness();
        var watcher = core.Connect("w");
        core.Subscribe(watcher, "will");
        core.Take(watcher);
        var will = new MqttWill("will", "gone"u8.ToArray(), MqttQos.AtMostOnce, false) { Properties = new MqttProperties { WillDelayInterval = delay, ContentType = "text" } };
        core.Core.Lost(core.Connect("s", will: will, expiry: expiry), "cut");
        if (seconds > 0)
        {
            core.Advance(seconds - 0.5);
            Assert.Empty(core.Publishes(watcher));
            core.Advance(1);
        }

        var got = Assert.Single(core.Publishes(watcher));
        Assert.Equal("text", got.Properties.ContentType);
        Assert.Null(got.Properties.WillDelayInterval);
        core.Advance(100);
        Assert.Empty(core.Publishes(watcher));
    }

    [Fact]
    public void No_will_after_a_goodbye_or_when_the_client_is_back_in_time_but_with_code_4()
    {
        var core = new MqttCoreHarness();
        var watcher = core.Connect("w");
        core.Subscribe(watcher, "will");
        core.Take(watcher);
        var now = new MqttWill("will", "gone"u8.ToArray(), MqttQos.AtMostOnce, false);
        core.Disconnect(core.Connect("a", will: now));
        var delayed = now with { Properties = new MqttProperties { WillDelayInterval = 5 } };
        core.Core.Lost(core.Connect("b", will: delayed, expiry: 60), "cut");
        core.Advance(3);
        core.Connect("b", clean: false, expiry: 60);
        core.Advance(10);
        Assert.Empty(core.Publishes(watcher));
        core.Disconnect(core.Connect("c", will: now), MqttReasonCode.DisconnectWithWill);
        Assert.Single(core.Publishes(watcher));
    }

    [Fact]
    public void A_session_of_another_user_is_not_resumed()
    {
        var core = new MqttCoreHarness();
        var ann = core.Connect("same", expiry: 60, user: "ann");
        core.Subscribe(ann, "t", MqttQos.AtLeastOnce);
        core.Core.Lost(ann, "cut");
        core.Publish("t", "for ann", MqttQos.AtLeastOnce);
        var got = core.Take(core.Connect("same", clean: false, user: "eve"));
        Assert.False(Assert.Single(got).ConnAck!.SessionPresent);
    }

    [Fact]
    public void What_the_store_kept_is_there_after_a_restart()
    {
        var before = new MqttCoreHarness(hasStore: true);
        var connection = before.Connect("s", expiry: 100, will: new MqttWill("will", "gone"u8.ToArray(), 0, false) { Properties = new MqttProperties { WillDelayInterval = 5 } });
        before.Subscribe(connection, "t", MqttQos.ExactlyOnce, id: 9);
        before.Publish("t", "1", MqttQos.ExactlyOnce);
        before.Publish("t", "2", MqttQos.AtLeastOnce);
        before.Publish("kept", "r", retain: true);
        before.PublishFrom(connection, "x", "y", MqttQos.ExactlyOnce, 77);
        var sent = before.Publishes(connection);
        before.Ack(connection, MqttPacketType.PubAck, sent[1].PacketId);
        Assert.True(connection.FlushAfter > 0);

        var after = new MqttCoreHarness(hasStore: true, load: Final(before.Core.TakeChanges()), now: MqttCoreHarness.Start);
        var watcher = after.Connect("w");
        after.Subscribe(watcher, "#");
        Assert.Equal("r", Assert.Single(after.Publishes(watcher)).Payload);
        after.Advance(6);
        Assert.Equal("gone", Assert.Single(after.Publishes(watcher)).Payload);
        var again = after.Connect("s", clean: false, expiry: 100);
        var got = after.Take(again);
        Assert.True(got[0].ConnAck!.SessionPresent);
        Assert.Equal(("1", true, sent[0].PacketId, 9u), (got[1].Payload, got[1].Duplicate, got[1].PacketId, got[1].Properties.SubscriptionIdentifiers[0]));
        Assert.Equal(2, got.Count);
        after.PublishFrom(again, "x", "y", MqttQos.ExactlyOnce, 77, duplicate: true);
        Assert.Empty(after.Publishes(watcher));
        after.Publish("t", "3", MqttQos.AtLeastOnce);
        Assert.Equal("3", Assert.Single(after.Publishes(again)).Payload);
    }

    [Fact]
    public void Nothing_of_a_session_is_left_in_the_store_when_it_ends()
    {
        var core = new MqttCoreHarness(hasStore: true);
        var connection = core.Connect("s", expiry: 5);
        core.Subscribe(connection, "t", MqttQos.ExactlyOnce);
        for (var i = 0; i < 5; i++)
            core.Publish("t", $"{i}", (MqttQos)(i % 3));
        core.Core.Lost(connection, "cut");
        core.Publish("t", "offline", MqttQos.AtLeastOnce);
        core.Advance(10);
        Assert.Empty(Final(core.Core.TakeChanges()));
    }

    /// <summary>What a store has after these changes.</summary>
    internal static List<MqttStoreChange> Final(IEnumerable<MqttStoreChange> changes)
    {
        var rows = new Dictionary<object, MqttStoreChange>();
        foreach (var change in changes)
        {
            switch (change)
            {
                case SessionPut put: rows[("1session", put.ClientId)] = put; break;
                case MessagePut put: rows[("2message", put.Id)] = put; break;
                case SubscriptionPut put: rows[("3subscription", put.ClientId, put.Filter)] = put; break;
                case DeliveryPut put: rows[("4delivery", put.ClientId, put.Sequence)] = put; break;
                case IncomingPut put: rows[("5incoming", put.ClientId, put.PacketId)] = put; break;
                case RetainedPut put: rows[("6retained", put.Message.Topic)] = put; break;
                case MessageGone gone: rows.Remove(("2message", gone.Id)); break;
                case SubscriptionGone gone: rows.Remove(("3subscription", gone.ClientId, gone.Filter)); break;
                case DeliveryGone gone: rows.Remove(("4delivery", gone.ClientId, gone.Sequence)); break;
                case IncomingGone gone: rows.Remove(("5incoming", gone.ClientId, gone.PacketId)); break;
                case RetainedGone gone: rows.Remove(("6retained", gone.Topic)); break;
                case SessionGone gone:
                    foreach (var key in rows.Where(row => row.Value switch
                    {
                        SessionPut put => put.ClientId == gone.ClientId,
                        SubscriptionPut put => put.ClientId == gone.ClientId,
                        DeliveryPut put => put.ClientId == gone.ClientId,
                        IncomingPut put => put.ClientId == gone.ClientId,
                        _ => false,
                    }).Select(row => row.Key).ToArray())
                        rows.Remove(key);
                    break;
            }
        }

        return [.. rows.OrderBy(row => row.Key.ToString(), StringComparer.Ordinal).Select(row => row.Value)];
    }
}
