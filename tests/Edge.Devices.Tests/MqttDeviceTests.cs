using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Devices.Mqtt;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Devices.Tests;

/// <summary>MQTT devices from the broker to the cloud's queue: mosquitto, its clients as the device, the mapper, DMI, DeviceTwin.</summary>
[Trait("Category", "Devices")]
public sealed class MqttDeviceTests : IAsyncLifetime
{
    private readonly DeviceHouse _house = new();
    private Mosquitto _broker = null!;

    public async Task InitializeAsync()
    {
        if (Mosquitto.Broker is null)
            return;
        _broker = await Mosquitto.StartAsync();
        _house.StartEdgeCore();
        _house.StartMapper(driver: new MqttDriver(TimeProvider.System, new Random(4), NullLoggerFactory.Instance));
        _house.Meta.Put("devicemodel", (JsonObject)JsonNode.Parse("""
            {"kind":"DeviceModel","metadata":{"name":"oven","namespace":"default"},"spec":{"protocol":"mqtt","properties":[
              {"name":"temperature","type":"FLOAT","accessMode":"ReadOnly","maximum":"300"},
              {"name":"program","type":"STRING","accessMode":"ReadOnly"},
              {"name":"setpoint","type":"FLOAT","accessMode":"ReadWrite","minimum":"0","maximum":"250"}]}}
            """)!);
    }

    public async Task DisposeAsync()
    {
        await _house.DisposeAsync();
        if (_broker is not null)
            await _broker.DisposeAsync();
    }

    [SkippableFact]
    public async Task What_a_device_publishes_is_reported_and_what_is_desired_is_published_to_it()
    {
        Require();
        await using var commands = await MosquittoSub.StartAsync(_broker.Port, "-v", "-t", "plant/oven1/set");
        PutDevice("180");
        await commands.WaitForAsync(1);
        Assert.Equal("""plant/oven1/set {"setpoint":180}""", commands.Lines[0]);

        var temperature = TwinAsync("temperature", "21.5");
        var program = TwinAsync("program", "preheat");
        await PublishAsync("plant/oven1/state", """{"sensors":[{"t":21.5}],"setpoint":180}""");
        await PublishAsync("plant/oven1/program", "preheat");
        await temperature;
        await program;

        // A value out of the model's range is not taken; the reason stands beside the last good one.
        var refused = _house.Uplink.NextAsync("the reason", entry => Property(entry, "temperature")?["actual"]?["metadata"]?["error"]?.GetValue<string>().Contains("above the model's maximum", StringComparison.Ordinal) == true);
        await PublishAsync("plant/oven1/state", """{"sensors":[{"t":999}]}""");
        Assert.Equal("21.5", Property(await refused, "temperature")!["actual"]!["value"]!.GetValue<string>());
    }

    [SkippableFact]
    public async Task A_device_says_by_its_will_that_it_is_gone_and_comes_back()
    {
        Require();
        var online = StateAsync("online");
        PutDevice("180", """{"statusTopic":"plant/oven1/status"}""");
        await PublishAsync("plant/oven1/status", "online", "-r");
        await online;
        var offline = StateAsync("offline");
        await PublishAsync("plant/oven1/status", "gone", "-r");
        await offline;
        online = StateAsync("online");
        await PublishAsync("plant/oven1/status", "online", "-r");
        await online;
    }

    [SkippableFact]
    public async Task A_broker_that_restarts_takes_its_devices_offline_and_they_go_on()
    {
        Require();
        var online = StateAsync("online");
        PutDevice("180");
        await online;
        var offline = StateAsync("offline");
        await _broker.KillAsync();
        await offline;
        online = StateAsync("online");
        await _broker.RestartAsync();
        await online;
        var value = TwinAsync("program", "again");
        await PublishAsync("plant/oven1/program", "again", "-r");
        await value;
    }

    [SkippableFact]
    public async Task Every_message_of_a_property_with_a_history_reaches_the_cloud_though_they_come_in_bursts()
    {
        Require();
        var online = StateAsync("online");
        PutDevice("180", history: "program");
        await online;
        await PublishAsync("plant/oven1/program", "0", "-r");
        var last = _house.Uplink.NextAsync("the last sample", entry => SamplesOf(entry).Any(sample => sample.Value == "400"));
        using (var process = Process.Start(new ProcessStartInfo("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{_broker.Port}", "-q", "1", "-t", "plant/oven1/program", "-l"]) { RedirectStandardInput = true })!)
        {
            for (var i = 1; i <= 400; i++)
                await process.StandardInput.WriteLineAsync($"{i}");
            process.StandardInput.Close();
            await process.WaitForExitAsync();
        }

        await last;
        var samples = _house.Uplink.Entries.SelectMany(SamplesOf).Distinct().OrderBy(sample => sample.Ms).ToList();
        Assert.Equal(Enumerable.Range(0, 401).Select(i => $"{i}"), samples.Select(sample => sample.Value));
    }

    private static IEnumerable<(string Value, long Ms)> SamplesOf(UplinkEntry entry)
        => entry.Resource.EndsWith("/twin/edge_updated", StringComparison.Ordinal) && JsonNode.Parse(entry.Content.Span)?["history"]?["program"] is JsonArray list
            ? list.Select(one => ((string)one!["value"]!, (long)one["timestamp"]!))
            : [];

    private static void Require()
    {
        Mosquitto.RequireBroker();
        Mosquitto.RequireClients();
    }

    private static JsonNode? Property(UplinkEntry entry, string name)
        => entry.Resource.EndsWith("/twin/edge_updated", StringComparison.Ordinal) ? JsonNode.Parse(entry.Content.Span)?["twin"]?[name] : null;

    private Task<UplinkEntry> TwinAsync(string property, string value)
        => _house.Uplink.NextAsync($"{property} = {value}", entry => Property(entry, property)?["actual"]?["value"]?.GetValue<string>() == value);

    private Task<UplinkEntry> StateAsync(string state)
        => _house.Uplink.NextAsync(state, entry => entry.Resource.EndsWith("/state/update", StringComparison.Ordinal)
            && JsonNode.Parse(MessageCodec.Unwrap(entry.Content).Span)?["device"]?["state"]?.GetValue<string>() == state);

    private void PutDevice(string setpoint, string more = "{}", string history = "")
    {
        var config = (JsonObject)JsonNode.Parse(more)!;
        config["broker"] = $"tcp://127.0.0.1:{_broker.Port}";
        var device = (JsonObject)JsonNode.Parse("""
            {"kind":"Device","metadata":{"name":"oven1","namespace":"default"},"spec":{"deviceModelRef":{"name":"oven"},"nodeName":"edge-1","protocol":{"protocolName":"mqtt"},"properties":[
              {"name":"temperature","collectCycle":200,"reportCycle":50,"reportToCloud":true,"visitors":{"protocolName":"mqtt","configData":{"topic":"plant/oven1/state","pointer":"/sensors/0/t"}}},
              {"name":"program","collectCycle":200,"reportCycle":50,"reportToCloud":true,"visitors":{"protocolName":"mqtt","configData":{"topic":"plant/oven1/program"}}},
              {"name":"setpoint","collectCycle":200,"reportCycle":50,"reportToCloud":true,
               "visitors":{"protocolName":"mqtt","configData":{"topic":"plant/oven1/state","pointer":"/setpoint","commandTopic":"plant/oven1/set","commandTemplate":"{\"setpoint\":${json}}"}}}]}}
            """)!;
        device["spec"]!["protocol"]!["configData"] = config;
        device["metadata"]!["annotations"] = new JsonObject { ["devices.edge.io/history"] = history };
        device["spec"]!["properties"]![2]!["desired"] = new JsonObject { ["value"] = setpoint };
        _house.Meta.Put("device", device);
    }

    private async Task PublishAsync(string topic, string payload, params string[] more)
    {
        using var process = Process.Start(new ProcessStartInfo("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{_broker.Port}", "-q", "1", "-t", topic, "-m", payload, .. more]) { RedirectStandardError = true })!;
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, error);
    }
}
