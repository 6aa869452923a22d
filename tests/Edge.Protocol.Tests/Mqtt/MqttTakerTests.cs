using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;

namespace Edge.Protocol.Tests;

/// <summary>What this process keeps is acknowledged only when it is kept.</summary>
[Trait("Category", "Devices")]
public sealed class MqttTakerTests
{
    [Theory]
    [InlineData(MqttQos.AtLeastOnce, MqttPacketType.PubAck)]
    [InlineData(MqttQos.ExactlyOnce, MqttPacketType.PubRec)]
    public void The_acknowledgement_waits_for_every_taker_and_others_get_the_message_at_once(MqttQos qos, MqttPacketType type)
    {
        var core = new MqttCoreHarness();
        var (one, two) = (Taker(core, "up/#"), Taker(core, "up/+"));
        var subscriber = core.Connect("s");
        core.Subscribe(subscriber, "up/#", qos);
        var publisher = Quiet(core, "p");
        core.PublishFrom(publisher, "up/a", "x", qos, 7);
        Assert.Equal("x", Assert.Single(core.Publishes(subscriber)).Payload);
        Assert.Empty(core.Take(publisher));
        Done(core, one);
        Assert.Empty(core.Take(publisher));
        Done(core, two);
        Assert.Equal((type, (ushort)7, MqttReasonCode.Success), Assert.Single(core.Take(publisher)) is var ack ? (ack.Type, ack.PacketId, ack.Code) : default);
        Assert.Equal(0, core.Core.HeldCount);
    }

    [Fact]
    public void Acknowledgements_keep_the_order_of_their_messages_also_of_those_that_nobody_takes()
    {
        var core = new MqttCoreHarness();
        var taker = Taker(core, "up");
        var publisher = Quiet(core, "p");
        core.PublishFrom(publisher, "up", "1", MqttQos.AtLeastOnce, 1);
        core.PublishFrom(publisher, "other", "2", MqttQos.AtLeastOnce, 2);
        core.PublishFrom(publisher, "up", "3", MqttQos.AtLeastOnce, 3);
        var (first, third) = (Next(taker), Next(taker));
        core.Core.Taken(third.Held!, MqttReasonCode.Success, null);
        Assert.Empty(core.Take(publisher));
        core.Core.Taken(first.Held!, MqttReasonCode.Success, null);
        Assert.Equal([1, 2, 3], core.Take(publisher).Select(one => (int)one.PacketId));
    }

    [Fact]
    public void A_qos_2_message_that_waits_and_comes_again_on_a_new_connection_is_taken_once_and_acknowledged_there()
    {
        var core = new MqttCoreHarness(hasStore: true);
        var taker = Taker(core, "up");
        var publisher = Quiet(core, "p", expiry: 100);
        core.PublishFrom(publisher, "up", "x", MqttQos.ExactlyOnce, 7);

        // Were it on the disk as known now, a broker that crashed would acknowledge what nobody kept.
        Assert.DoesNotContain(core.Core.TakeChanges(), change => change is IncomingPut);
        core.Core.Lost(publisher, "gone");
        publisher = Quiet(core, "p", clean: false, expiry: 100);
        core.PublishFrom(publisher, "up", "x", MqttQos.ExactlyOnce, 7, duplicate: true);
        Assert.Empty(core.Take(publisher));
        core.Core.TakeChanges();
        Done(core, taker);
        Assert.False(taker.Reader.TryRead(out _));
        Assert.Contains(core.Core.TakeChanges(), change => change is IncomingPut { PacketId: 7 });
        Assert.Equal(core.Core.ChangeCount, publisher.FlushAfter);
        Assert.Equal(MqttPacketType.PubRec, Assert.Single(core.Take(publisher)).Type);
        core.PublishFrom(publisher, "up", "x", MqttQos.ExactlyOnce, 7, duplicate: true);
        Assert.Equal(MqttPacketType.PubRec, Assert.Single(core.Take(publisher)).Type);
        Assert.False(taker.Reader.TryRead(out _));
    }

    [Fact]
    public void A_refusal_is_told_and_the_identifier_is_free_again()
    {
        var core = new MqttCoreHarness();
        var taker = Taker(core, "up");
        var publisher = Quiet(core, "p");
        core.PublishFrom(publisher, "up", "x", MqttQos.ExactlyOnce, 7);
        core.Core.Taken(Next(taker).Held!, MqttReasonCode.QuotaExceeded, "full");
        Assert.Equal((MqttPacketType.PubRec, MqttReasonCode.QuotaExceeded), Assert.Single(core.Take(publisher)) is var no ? (no.Type, no.Code) : default);
        Assert.Equal(1, core.Core.Counters.PublishesRefused);
        core.PublishFrom(publisher, "up", "y", MqttQos.ExactlyOnce, 7);
        Assert.Equal("y", Encoding.UTF8.GetString(Next(taker).Message.Payload.Span));
    }

    [Fact]
    public void A_publisher_of_version_3_1_1_whose_message_is_not_kept_loses_its_connection_instead_of_hearing_yes()
    {
        var core = new MqttCoreHarness();
        var taker = Taker(core, "up");
        var publisher = Quiet(core, "p", version: MqttVersion.V311);
        core.PublishFrom(publisher, "up", "x", MqttQos.AtLeastOnce, 7);
        var (_, held) = Next(taker);
        Assert.False(held!.CanRefuse);
        core.Core.Taken(held, MqttReasonCode.ImplementationSpecificError, "no disk");
        Assert.Empty(core.Take(publisher));
        Assert.True(publisher.IsClosing);
        Assert.Contains("no disk", publisher.EndReason, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_too_many_wait_a_message_is_refused_before_anybody_has_it()
    {
        var core = new MqttCoreHarness();
        var taker = Taker(core, "up", capacity: 2);
        var subscriber = core.Connect("s");
        core.Subscribe(subscriber, "up");
        var publisher = Quiet(core, "p");
        for (ushort id = 1; id <= 3; id++)
            core.PublishFrom(publisher, "up", $"{id}", MqttQos.AtLeastOnce, id, retain: true);
        Assert.Equal(["1", "2"], core.Publishes(subscriber).Select(one => one.Payload));
        Assert.Empty(core.Take(publisher)); // the refusal too has its turn
        Done(core, taker);
        Done(core, taker);
        Assert.Equal([MqttReasonCode.Success, MqttReasonCode.Success, MqttReasonCode.QuotaExceeded], core.Take(publisher).Select(one => one.Code));
        core.PublishFrom(publisher, "up", "4", MqttQos.AtLeastOnce, 4);
        Assert.Equal("4", Encoding.UTF8.GetString(Next(taker).Message.Payload.Span));
    }

    [Fact]
    public void A_client_that_does_not_wait_for_its_acknowledgements_is_stopped()
    {
        var core = new MqttCoreHarness(new MqttBrokerOptions { AllowAnonymous = true, SysPeriod = TimeSpan.Zero, ReceiveMaximum = 3 });
        Taker(core, "up");
        var publisher = Quiet(core, "p");
        for (ushort id = 1; id <= 4; id++)
            core.PublishFrom(publisher, "up", "x", MqttQos.AtLeastOnce, id);
        Assert.Equal(MqttReasonCode.ReceiveMaximumExceeded, core.LastError.Code);
    }

    [Fact]
    public async Task A_client_hears_of_its_upload_when_the_handler_is_done_and_what_the_handler_says()
    {
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var order = new List<string>();
        var options = MqttHouse.Options() with
        {
            Takers =
            [
                new MqttTaker("up/#", async (message, canRefuse) =>
                {
                    var text = Encoding.UTF8.GetString(message.Payload.Span);
                    lock (order)
                        order.Add(text);
                    await gate.Task;
                    return text switch
                    {
                        "full" when canRefuse => MqttReasonCode.QuotaExceeded,
                        "broken" => throw new InvalidOperationException("no disk"),
                        _ => MqttReasonCode.Success,
                    };
                }),
            ],
        };
        await using var broker = MqttHouse.Start(options);
        await using var client = await MqttHouse.Client(MqttHouse.To(broker.EndPoints[0].Port)).ConnectedAsync();
        var calls = new[] { "one", "full", "broken", "two" }.Select((text, i) => client.PublishAsync("up/a", text, i % 2 == 0 ? MqttQos.AtLeastOnce : MqttQos.ExactlyOnce)).ToArray();
        await MqttHouse.WaitAsync(() =>
        {
            lock (order)
                return order.Count == 4;
        }, "four handlers at once");
        Assert.Equal(["one", "full", "broken", "two"], order);
        await client.PublishAsync("other", "x");
        Assert.DoesNotContain(calls, call => call.IsCompleted);
        gate.SetResult();
        Assert.Equal(MqttReasonCode.Success, await calls[0]);
        Assert.Equal(MqttReasonCode.QuotaExceeded, (await Assert.ThrowsAsync<MqttClientException>(() => calls[1])).Code);
        Assert.Equal(MqttReasonCode.ImplementationSpecificError, (await Assert.ThrowsAsync<MqttClientException>(() => calls[2])).Code);
        Assert.Equal(MqttReasonCode.Success, await calls[3]);
    }

    [Fact]
    public async Task What_is_not_kept_when_the_broker_stops_is_not_acknowledged_and_comes_again()
    {
        using var directory = new TempDirectory();
        using var stop = new CancellationTokenSource();
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var first = MqttHouse.Options() with
        {
            Takers = [new MqttTaker("up", async (_, _) =>
            {
                begun.SetResult();
                await Task.Delay(Timeout.Infinite, stop.Token);
                return MqttReasonCode.Success;
            })],
        };
        var broker = MqttHouse.Start(first, SqliteMqttStore.Open(directory.File("mqtt.db"), TimeProvider.System));
        var port = broker.EndPoints[0].Port;
        await using var client = await MqttHouse.Client(MqttHouse.To(port) with { ClientId = "p", SessionExpirySeconds = 1000 }).ConnectedAsync();
        var call = client.PublishAsync("up", "x", MqttQos.ExactlyOnce);
        await begun.Task.WaitAsync(MqttHouse.Patience);
        await stop.CancelAsync();
        await broker.DisposeAsync();
        Assert.False(call.IsCompleted);

        var got = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var second = MqttHouse.Options(new MqttListenerOptions { EndPoint = new(System.Net.IPAddress.Loopback, port) }) with
        {
            Takers = [new MqttTaker("up", (message, _) =>
            {
                got.SetResult(Encoding.UTF8.GetString(message.Payload.Span));
                return ValueTask.FromResult(MqttReasonCode.Success);
            })],
        };
        await using var again = MqttHouse.Start(second, SqliteMqttStore.Open(directory.File("mqtt.db"), TimeProvider.System));
        Assert.Equal("x", await got.Task.WaitAsync(MqttHouse.Patience));
        Assert.Equal(MqttReasonCode.Success, await call);
    }

    private static LocalSubscriber Taker(MqttCoreHarness core, string filter, int capacity = 100)
    {
        var taker = new LocalSubscriber(capacity, isTaker: true);
        core.Core.SubscribeTaker(taker, filter);
        return taker;
    }

    private static Connection Quiet(MqttCoreHarness core, string id, MqttVersion version = MqttVersion.V5, bool clean = true, uint expiry = 0)
    {
        var connection = core.Connect(id, version, clean, expiry);
        core.Take(connection);
        return connection;
    }

    private static LocalMessage Next(LocalSubscriber taker)
    {
        Assert.True(taker.Reader.TryRead(out var message));
        taker.Done(message.Message);
        return message;
    }

    private static void Done(MqttCoreHarness core, LocalSubscriber taker) => core.Core.Taken(Next(taker).Held!, MqttReasonCode.Success, null);
}
