using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Local;

/// <summary>A Device that changes under its nodes: kubectl on the one side, mosquitto's clients at the nodes' own brokers on the other.</summary>
[Trait("Category", "Devices")]
[Collection(nameof(EdgeCollection))]
public sealed class DeviceConvergenceTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(1);

    [SkippableFact]
    public async Task A_device_that_moves_is_heard_at_its_new_node_and_one_made_again_with_another_model_keeps_nothing_of_the_old()
    {
        Requires.Kubectl();
        Mosquitto.RequireClients();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Nodes = 2,
            EdgeCoreSettings = ["modules.eventBus.enable=true", "modules.eventBus.mqttMode=0", "modules.eventBus.mqttServerInternal=tcp://127.0.0.1:0"],
        });
        await edge.KubectlAsync("apply -f -", Model("press", "temperature", "force") + "---\n" + Model("oven", "temperature", "door"));

        // The queue of the node that started first has the lower versions: what it says is newer all the same.
        await edge.KubectlAsync("apply -f -", Device("press", "edge-2", "temperature", "force"));
        await ReportAsync(edge, 1, "temperature", "20");
        await ReportAsync(edge, 1, "force", "9");
        await UntilAsync(edge, "force=9 temperature=20");
        await edge.KubectlAsync(["patch", "device", "d", "--type=merge", "-p", """{"spec":{"nodeName":"edge-1"}}"""]);
        await ReportAsync(edge, 0, "temperature", "21");
        await UntilAsync(edge, "force=9 temperature=21");
        await edge.KubectlAsync(["patch", "device", "d", "--type=merge", "-p", """{"spec":{"nodeName":"edge-2"}}"""]);
        await ReportAsync(edge, 1, "temperature", "22");
        await UntilAsync(edge, "force=9 temperature=22");

        // Another model: what it lacks goes.
        await edge.KubectlAsync("apply -f -", Device("oven", "edge-2", "temperature", "door"));
        await ReportAsync(edge, 1, "door", "1");
        await UntilAsync(edge, "door=1 temperature=22");

        await edge.KubectlAsync("delete device d");
        await edge.KubectlAsync("apply -f -", Device("press", "edge-1", "temperature", "force"));
        await ReportAsync(edge, 0, "force", "3");
        await UntilAsync(edge, "force=3");
    }

    private static string Model(string name, params string[] properties) => $$"""
        apiVersion: devices.kubeedge.io/v1beta1
        kind: DeviceModel
        metadata: {name: {{name}}, namespace: default}
        spec:
          protocol: test
          properties: [{{string.Join(", ", properties.Select(property => $"{{name: {property}, type: INT, accessMode: ReadWrite}}"))}}]

        """;

    private static string Device(string model, string node, params string[] properties) => $$"""
        apiVersion: devices.kubeedge.io/v1beta1
        kind: Device
        metadata: {name: d, namespace: default}
        spec:
          deviceModelRef: {name: {{model}}}
          nodeName: {{node}}
          protocol: {protocolName: test}
          properties: [{{string.Join(", ", properties.Select(property => $"{{name: {property}, visitors: {{protocolName: test}}}}"))}}]

        """;

    // Said again until it is taken: the device is on its way to the node.
    private static async Task ReportAsync(TestEdge edge, int node, string property, string value)
    {
        var ports = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(edge.Local.Nodes[node].DataDirectory, "edgecore.ports.json")));
        var broker = (int)ports.Number(0, "mqtt");
        await using var results = await MosquittoSub.StartAsync(broker, "-t", "$hw/events/device/default/d/twin/update/result");
        await edge.WaitForAsync($"node {node + 1} takes {property}", async () =>
        {
            var before = results.Lines.Length;
            await Tool.RunAsync(
                "mosquitto_pub",
                ["-p", $"{broker}", "-q", "1", "-t", "$hw/events/device/default/d/twin/update", "-m", $$$"""{"event_id":"1","twin":{"{{{property}}}":{"actual":{"value":"{{{value}}}"} } } }"""],
                new ToolOptions(TimeProvider.System), CancellationToken.None);
            await edge.WaitForAsync("an answer", () => Task.FromResult(results.Lines.Length > before), s_long);
            return results.Lines.Skip(before).Any(line => line.Contains(property, StringComparison.Ordinal) && !line.Contains("\"code\":4", StringComparison.Ordinal));
        }, s_long);
    }

    private static Task UntilAsync(TestEdge edge, string twins)
        => edge.WaitForAsync($"kubectl shows {twins}", async () =>
        {
            var said = await edge.KubectlAsync("get devicestatus d --ignore-not-found -o json");
            var status = said.Length > 0 ? JsonNode.Parse(said) : null;
            return string.Join(' ', status.Items("status", "twins").Select(twin => $"{twin.Text("propertyName")}={twin.Text("reported", "value")}").Order(StringComparer.Ordinal)) == twins;
        }, s_long);
}
