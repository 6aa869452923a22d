using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Devices.Mqtt;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Simulators.Mqtt;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Devices.Tests;

/// <summary>The devices of docs/examples/mqtt, simulated on the embedded broker: simulator, broker, mapper, DMI, DeviceTwin.</summary>
[Trait("Category", "Devices")]
public sealed class MqttSimulatorTests : IAsyncDisposable
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(100);
    private readonly DeviceHouse _house = new();
    private MqttBroker? _broker;

    private int Port => _broker!.EndPoints[0].Port;

    public async ValueTask DisposeAsync()
    {
        await _house.DisposeAsync();
        if (_broker is not null)
            await _broker.DisposeAsync();
    }

    [Fact]
    public async Task The_oven_of_the_example_heats_to_what_is_desired_and_says_when_it_goes()
    {
        StartHouse();
        var online = StateAsync("online");
        var setpoint = TwinAsync("setpoint = 180", twin => Actual(twin, "setpoint") == 180);
        var hot = TwinAsync("over 150 degrees", twin => Actual(twin, "temperature") > 150);
        var holds = TwinAsync("program hold", twin => (string?)twin["program"]?["actual"]?["value"] == "hold");
        var simulator = Start("oven", "plant/oven1");
        PutExample();
        await online;
        await setpoint;
        await hot;
        await holds;
        Assert.Equal(180, simulator.Look(device => ((Oven)device).Setpoint));
        var offline = StateAsync("offline");
        await simulator.DisposeAsync();
        await offline;
    }

    [Fact]
    public async Task A_device_that_starts_after_its_command_was_sent_gets_it_all_the_same()
    {
        StartHouse();
        var sent = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var listener = MqttClient.Start(
            new MqttClientOptions { Host = "127.0.0.1", Port = Port, ClientId = "listener" },
            _ =>
            {
                sent.TrySetResult();
                return ValueTask.CompletedTask;
            },
            TimeProvider.System, new Random(6), NullLoggerFactory.Instance);
        await listener.SubscribeAsync(new MqttTopicFilter("plant/oven1/set", new(MqttQos.AtLeastOnce)));
        var setpoint = TwinAsync("setpoint = 180", twin => Actual(twin, "setpoint") == 180);
        PutExample();
        await sent.Task.WaitAsync(TimeSpan.FromSeconds(20)); // nobody took it
        await using var simulator = Start("oven", "plant/oven1");
        await setpoint;
    }

    [Fact]
    public async Task A_sensor_of_plain_text_is_read_and_switched()
    {
        StartHouse();
        await using var simulator = Start("room", "hall/room1");
        var temperature = TwinAsync("a temperature", twin => Actual(twin, "temperature") is > 10 and < 35);
        var led = TwinAsync("the led", twin => (string?)twin["led"]?["actual"]?["value"] == "on");
        _house.Meta.Put("devicemodel", (JsonObject)JsonNode.Parse("""
            {"kind":"DeviceModel","metadata":{"name":"room","namespace":"default"},"spec":{"protocol":"mqtt","properties":[
              {"name":"temperature","type":"FLOAT","accessMode":"ReadOnly"},{"name":"led","type":"STRING","accessMode":"ReadWrite"}]}}
            """)!);
        _house.Meta.Put("device", (JsonObject)JsonNode.Parse($$$"""
            {"kind":"Device","metadata":{"name":"room1","namespace":"default"},"spec":{"deviceModelRef":{"name":"room"},"nodeName":"edge-1",
             "protocol":{"protocolName":"mqtt","configData":{"broker":"tcp://127.0.0.1:{{{Port}}}"}},"properties":[
              {"name":"temperature","reportCycle":50,"reportToCloud":true,"visitors":{"protocolName":"mqtt","configData":{"topic":"hall/room1/temperature"} } },
              {"name":"led","reportCycle":50,"reportToCloud":true,"desired":{"value":"on"},"visitors":{"protocolName":"mqtt","configData":{"topic":"hall/room1/led","commandTopic":"hall/room1/led/set"} } }]}}
            """)!);
        await temperature;
        await led;
        Assert.True(simulator.Look(device => ((RoomSensor)device).Led));
    }

    [Theory]
    [InlineData("oven", "set", "[1]", "must be")]
    [InlineData("oven", "set", "nonsense", "not JSON")]
    [InlineData("oven", "set", "{\"setpoint\":251}", "from 0 to 250")]
    [InlineData("oven", "set", "{\"setpoint\":\"180\"}", "from 0 to 250")]
    [InlineData("room", "led/set", "maybe", "on or off")]
    public void A_command_that_cannot_be_is_refused_with_the_reason(string profile, string topic, string payload, string reason)
    {
        IMqttDevice device = profile == "oven" ? new Oven(new Random(1)) : new RoomSensor(new Random(1));
        Assert.Contains(reason, device.Command(topic, Encoding.UTF8.GetBytes(payload)), StringComparison.Ordinal);
    }

    [Fact]
    public void The_mapper_takes_the_config_of_the_examples_pod_and_of_its_process()
    {
        var pod = Manifests.Parse(Examples.Text("pods/mqtt-mapper.yaml").Replace("${DMI_DIR}", "/run/edge", StringComparison.Ordinal));
        using var directory = new TempDirectory();
        File.WriteAllText(directory.File("pod.yaml"), pod.Single(one => one.Kind() == "ConfigMap").Text("data", "config.yaml"));
        File.WriteAllText(directory.File("process.yaml"), Examples.Text("mqtt/mqtt-mapper.yaml"));
        var options = MapperOptions.Load(directory.File("pod.yaml"), [], "mqtt");
        Assert.Equal(("/run/edge/mqtt.sock", "/run/edge/dmi.sock", "mqtt-mapper"), (options.SocketPath, options.EdgeCoreSocket, options.Name));
        Assert.Equal("/etc/kubeedge/mqtt.sock", MapperOptions.Load(directory.File("process.yaml"), [], "mqtt").SocketPath);

        // What the config says is where the pod mounts it.
        var spec = pod.Single(one => one.Kind() == "Pod")["spec"]!;
        var mounts = spec["containers"]![0]!["volumeMounts"]!.AsArray().Select(mount => mount!["mountPath"]!.GetValue<string>());
        Assert.Equal(["/etc/mapper", "/run/edge"], mounts);
        Assert.Equal(["--config", "/etc/mapper/config.yaml"], spec["containers"]![0]!["args"]!.AsArray().Select(arg => arg!.GetValue<string>()));
    }

    private void StartHouse()
    {
        var options = new MqttBrokerOptions { AllowAnonymous = true, Listeners = [new MqttListenerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0) }] };
        _broker = MqttBroker.Start(options, null, TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        _house.StartEdgeCore();
        _house.StartMapper(driver: new MqttDriver(TimeProvider.System, new Random(4), NullLoggerFactory.Instance));
    }

    private MqttSimulator Start(string profile, string topic)
        => MqttSimulator.Start(new MqttSimulatorOptions(new MqttAddress("127.0.0.1", Port, false), profile, topic, s_interval), TimeProvider.System, new Random(5), NullLoggerFactory.Instance);

    private void PutExample()
    {
        _house.Meta.Put("devicemodel", Manifests.Parse(Examples.Text("mqtt/devicemodel.yaml")).Single());
        var device = Manifests.Parse(Examples.Text("mqtt/device.yaml")).Single();
        device["spec"]!["protocol"]!["configData"]!["broker"] = $"tcp://127.0.0.1:{Port}";
        _house.Meta.Put("device", device);
    }

    private static double Actual(JsonNode twin, string property)
        => double.TryParse((string?)twin[property]?["actual"]?["value"], NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : double.NaN;

    private Task<UplinkEntry> TwinAsync(string what, Func<JsonNode, bool> want)
        => _house.Uplink.NextAsync(what, entry => entry.Resource.EndsWith("/twin/edge_updated", StringComparison.Ordinal) && JsonNode.Parse(entry.Content.Span)?["twin"] is { } twin && want(twin));

    private Task<UplinkEntry> StateAsync(string state)
        => _house.Uplink.NextAsync(state, entry => entry.Resource.EndsWith("/state/update", StringComparison.Ordinal)
            && JsonNode.Parse(MessageCodec.Unwrap(entry.Content).Span)?["device"]?["state"]?.GetValue<string>() == state);
}
