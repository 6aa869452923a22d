using System.Text.Json.Nodes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Local;

/// <summary>EdgeCore with a mosquitto of the node's own (mqttMode 2), whole processes: an application that knows MQTT alone reports to the cloud and hears what it desires.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class ExternalBrokerTests
{
    private const string Oven = "$hw/events/device/default/oven-1/";
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(2);

    [SkippableFact]
    public async Task A_twin_goes_both_ways_over_a_mosquitto_that_restarts()
    {
        Requires.Kubectl();
        Mosquitto.RequireBroker();
        Mosquitto.RequireClients();
        await using var mosquitto = await Mosquitto.StartAsync();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            EdgeCoreSettings = ["modules.eventBus.enable=true", "modules.eventBus.mqttMode=2", $"modules.eventBus.mqttServerExternal=tcp://127.0.0.1:{mosquitto.Port}"],
        });
        var node = edge.Local.Nodes[0].Name;
        await edge.KubectlAsync("apply -f -", """
            {"apiVersion":"devices.kubeedge.io/v1beta1","kind":"DeviceModel","metadata":{"name":"oven","namespace":"default"},"spec":{"protocol":"mqtt","properties":[
              {"name":"temperature","type":"FLOAT","accessMode":"ReadOnly"},{"name":"setpoint","type":"FLOAT","accessMode":"ReadWrite"}]}}
            """);
        await edge.KubectlAsync("apply -f -", """
            {"apiVersion":"devices.kubeedge.io/v1beta1","kind":"Device","metadata":{"name":"oven-1","namespace":"default"},"spec":{"deviceModelRef":{"name":"oven"},"nodeName":"NODE",
             "protocol":{"protocolName":"mqtt"},"properties":[{"name":"temperature","reportToCloud":true},{"name":"setpoint","reportToCloud":true,"desired":{"value":"180"}}]}}
            """.Replace("NODE", node, StringComparison.Ordinal));

        await BothWaysAsync(edge, mosquitto.Port, "21.5", "200");
        await mosquitto.RestartAsync();
        await BothWaysAsync(edge, mosquitto.Port, "22.5", "210");
    }

    private static async Task BothWaysAsync(TestEdge edge, int port, string temperature, string setpoint)
    {
        await using var deltas = await MosquittoSub.StartAsync(port, "-t", Oven + "twin/update/delta");

        // EdgeCore connects, and knows the device, in its own time; an application says its values again and again.
        await edge.WaitForAsync("the temperature is reported", async () =>
        {
            var report = new JsonObject { ["event_id"] = "1", ["twin"] = new JsonObject { ["temperature"] = new JsonObject { ["actual"] = new JsonObject { ["value"] = temperature }, ["metadata"] = new JsonObject { ["type"] = "float" } } } };
            await Tool.RunAsync("mosquitto_pub", ["-p", $"{port}", "-q", "1", "-t", Oven + "twin/update", "-m", report.ToJsonString()], new ToolOptions(TimeProvider.System), CancellationToken.None);
            return await edge.KubectlAsync(["get", "devicestatus", "oven-1", "--ignore-not-found", "-o", "jsonpath={.status.twins[?(@.propertyName==\"temperature\")].reported.value}"]) == temperature;
        }, s_long);
        await edge.KubectlAsync(["patch", "device", "oven-1", "--type=json", "-p", $$"""[{"op":"replace","path":"/spec/properties/1/desired/value","value":"{{setpoint}}"}]"""]);
        await edge.WaitForAsync("the desired value", () => Task.FromResult(deltas.Lines.Any(line => (string?)JsonNode.Parse(line)?["delta"]?["setpoint"] == setpoint)), s_long);
    }
}
