using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Devices.Mqtt;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>Devices that share a connection to a real mosquitto.</summary>
[Trait("Category", "Devices")]
public sealed class MqttLinkTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    [SkippableTheory]
    [InlineData("plant/t", "plant/t")]
    [InlineData("plant/+", "plant/t")]
    [InlineData("plant/t", "plant/#")]
    public async Task A_device_that_comes_later_brings_no_old_value_back_to_the_others(string first, string second)
    {
        Mosquitto.RequireBroker();
        await using var broker = await Mosquitto.StartAsync();
        await using var link = Link(broker.Port);
        await using var device = Link(broker.Port);
        await PublishAsync(device, "old", retain: true);
        var (one, other) = (new Heard(), new Heard());
        await link.SubscribeAsync(first, MqttQos.AtLeastOnce, one.Add, default);
        Assert.Equal("old", await one.NextAsync());
        await PublishAsync(device, "new");
        Assert.Equal("new", await one.NextAsync());

        await link.SubscribeAsync(second, MqttQos.AtLeastOnce, other.Add, default);
        Assert.Equal("old", await other.NextAsync());
        await PublishAsync(device, "newest");
        Assert.Equal("newest", await other.NextAsync());
        Assert.Equal("newest", await one.NextAsync());
    }

    [SkippableFact]
    public async Task The_highest_QoS_that_a_device_wants_holds_for_all_of_its_filter()
    {
        Mosquitto.RequireBroker();
        await using var broker = await Mosquitto.StartAsync();
        await using var link = Link(broker.Port);
        await using var device = Link(broker.Port);
        var (one, other) = (new Heard(), new Heard());
        await link.SubscribeAsync("plant/t", MqttQos.AtLeastOnce, one.Add, default);
        await link.SubscribeAsync("plant/t", MqttQos.AtMostOnce, other.Add, default);
        await PublishAsync(device, "1");
        await one.NextAsync();
        await other.NextAsync();
        Assert.Equal((MqttQos.AtLeastOnce, MqttQos.AtLeastOnce), (one.Qos, other.Qos));
    }

    [SkippableFact]
    public async Task What_is_retained_counts_again_once_the_connection_was_gone()
    {
        Mosquitto.RequireBroker();
        await using var broker = await Mosquitto.StartAsync();
        await using var link = Link(broker.Port);
        var one = new Heard();
        await link.WaitConnectedAsync(s_patience, TimeProvider.System, default);
        await link.SubscribeAsync("plant/t", MqttQos.AtLeastOnce, one.Add, default);
        await using (var device = Link(broker.Port))
            await PublishAsync(device, "before", retain: true);
        Assert.Equal("before", await one.NextAsync());
        await broker.RestartAsync(); // with nothing kept
        await using (var device = Link(broker.Port))
            await PublishAsync(device, "after", retain: true);
        Assert.Equal("after", await one.NextAsync());
    }

    [SkippableFact]
    public async Task What_the_broker_retains_is_no_sign_of_life()
    {
        Mosquitto.RequireBroker();
        await using var broker = await Mosquitto.StartAsync();
        await using var link = Link(broker.Port);
        await PublishAsync(link, "said long ago", retain: true);
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var config = new JsonObject { ["broker"] = $"tcp://127.0.0.1:{broker.Port}", ["silenceMs"] = 5000 };
        await using var device = new MqttDevice(MqttDeviceConfig.Read(config), new MqttLinks(TimeProvider.System, new Random(2), NullLoggerFactory.Instance), time);
        await device.ConnectAsync(default);
        time.Advance(TimeSpan.FromSeconds(6));
        var woken = Channel.CreateBounded<bool>(100);
        device.WhenArrived(() => woken.Writer.TryWrite(true));
        var property = device.Bind(new PropertyInfo("t", "string", false, "", "", "mqtt", new JsonObject { ["topic"] = "plant/t" }));
        Assert.Contains("nothing came", (await Assert.ThrowsAsync<DeviceUnreachableException>(() => device.ConnectAsync(default))).Message, StringComparison.Ordinal); // subscribed all the same
        while (!property.HasArrived)
            await woken.Reader.ReadAsync().AsTask().WaitAsync(s_patience);
        await Assert.ThrowsAsync<DeviceUnreachableException>(() => device.ConnectAsync(default));

        await PublishAsync(link, "said now");
        while (await Record.ExceptionAsync(() => device.ConnectAsync(default)) is DeviceUnreachableException)
            await woken.Reader.ReadAsync().AsTask().WaitAsync(s_patience);
        var readings = new PropertyReading[1];
        await device.ReadAsync([property], readings, default);
        Assert.Equal("said now", readings[0].Value);
    }

    private static MqttLink Link(int port)
        => new(MqttDeviceConfig.Read(new() { ["broker"] = $"tcp://127.0.0.1:{port}" }).Broker, TimeProvider.System, new Random(1), NullLoggerFactory.Instance);

    private static async Task PublishAsync(MqttLink device, string payload, bool retain = false)
    {
        await device.WaitConnectedAsync(s_patience, TimeProvider.System, default);
        await device.PublishAsync(new MqttMessage("plant/t", Encoding.UTF8.GetBytes(payload), MqttQos.AtLeastOnce, retain), s_patience, TimeProvider.System, default);
    }

    private sealed class Heard
    {
        private readonly Channel<string> _heard = Channel.CreateBounded<string>(100);

        public MqttQos Qos { get; private set; }

        public void Add(MqttMessage message)
        {
            Qos = message.Qos;
            _heard.Writer.TryWrite(Encoding.UTF8.GetString(message.Payload.Span));
        }

        public async Task<string> NextAsync() => await _heard.Reader.ReadAsync().AsTask().WaitAsync(s_patience);
    }
}
