using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Images;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Local;

/// <summary>docs/examples/pods/mqtt-mapper.yaml and docs/examples/mqtt on a real containerd: the mapper in a container, EdgeCore's own broker, mosquitto's clients as the oven.</summary>
[Trait("Category", "Devices")]
[Collection(nameof(EdgeCollection))]
public sealed class MqttMapperPodTests
{
    private const string Image = "edge.local/mqtt-mapper:1";
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(2);

    [SkippableFact]
    public async Task The_mapper_in_a_container_maps_an_oven_both_ways_and_the_devices_state_tells_when_the_mapper_is_gone()
    {
        Requires.Containerd();
        Requires.Kubectl();
        Mosquitto.RequireClients();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true, EdgeCoreSettings = ["modules.eventBus.enable=true", "modules.eventBus.mqttMode=0", "modules.eventBus.mqttServerInternal=tcp://127.0.0.1:0"] });
        var node = edge.Local.Nodes[0];
        await ImportMapperAsync(edge, node);
        var ports = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(node.DataDirectory, "edgecore.ports.json")));
        var broker = (int)ports.Number(0, "mqtt");
        await using var commands = await MosquittoSub.StartAsync(broker, "-t", "plant/oven1/set");
        await PublishAsync(broker, "status", "online");
        await PublishAsync(broker, "state", """{"sensors":[{"t":21.5}],"setpoint":180}""");

        var pod = Example("pods/mqtt-mapper.yaml").Replace("${DMI_DIR}", node.DmiDirectory, StringComparison.Ordinal);
        await edge.KubectlAsync("apply -f -", pod);
        await edge.KubectlAsync("apply -f -", Example("mqtt/devicemodel.yaml"));
        await edge.KubectlAsync("apply -f -", Example("mqtt/device.yaml").Replace("127.0.0.1:1884", $"127.0.0.1:{broker}", StringComparison.Ordinal));
        await edge.WaitForAsync("the temperature is reported", async () => await ReportedAsync(edge, "temperature") == "21.5", s_long);
        await edge.WaitForAsync("the oven is online", async () => await StateAsync(edge) == "online", s_long);
        Assert.Equal("Running", await edge.KubectlAsync("get pod mqtt-mapper -o jsonpath={.status.phase}"));

        // The desired value of the example is what the oven says it has; another one becomes a command.
        await edge.KubectlAsync(["patch", "device", "oven-1", "--type=json", "-p", """[{"op":"replace","path":"/spec/properties/2/desired/value","value":"200"}]"""]);
        await edge.WaitForAsync("the command", () => Task.FromResult(commands.Lines.Contains("""{"setpoint":200}""")), s_long);
        await PublishAsync(broker, "state", """{"sensors":[{"t":22}],"setpoint":200}""");
        await edge.WaitForAsync("the setpoint is reported", async () => await ReportedAsync(edge, "setpoint") == "200", s_long);

        // Without the mapper nobody knows of the oven; with it again, also what was said meanwhile.
        await edge.KubectlAsync("delete pod mqtt-mapper --timeout=60s");
        await edge.WaitForAsync("the oven is no longer online", async () => await StateAsync(edge) != "online", s_long);
        await PublishAsync(broker, "state", """{"sensors":[{"t":23.25}],"setpoint":200}""");
        await edge.KubectlAsync("apply -f -", pod);
        await edge.WaitForAsync("what was said meanwhile", async () => await ReportedAsync(edge, "temperature") == "23.25", s_long);
        await edge.WaitForAsync("the oven is online again", async () => await StateAsync(edge) == "online", s_long);
    }

    // The program as it was built, on the runtime that this machine has: what an image on a .NET base image holds.
    private static async Task ImportMapperAsync(TestEdge edge, LocalNode node)
    {
        var core = Path.GetDirectoryName(typeof(object).Assembly.Location)!; // DOTNET/shared/Microsoft.NETCore.App/VERSION
        var root = Path.GetFullPath(Path.Combine(core, "../../.."));
        var image = OciImage.Create(Image).Add(Path.GetDirectoryName(Executables.Find("mqtt-mapper"))!, "/app").Add(Path.Combine(root, "dotnet"), "/dotnet/dotnet").Add(Path.Combine(root, "host"), "/dotnet/host");
        foreach (var shared in (string[])["Microsoft.NETCore.App", "Microsoft.AspNetCore.App"])
            image.Add(Path.Combine(root, "shared", shared, Path.GetFileName(core)), $"/dotnet/shared/{shared}/{Path.GetFileName(core)}");
        image.AddLibrariesOf(core).AddLibrariesOf(Path.Combine(root, "dotnet"));
        image.Entrypoint = ["/dotnet/dotnet", "/app/mqtt-mapper.dll"];
        var file = Path.Combine(edge.Local.Directory, "mqtt-mapper.tar");
        await using (var stream = File.Create(file))
            image.Write(stream);
        await Tool.RunAsync("ctr", ["-a", node.Containerd!.Socket, "-n", "k8s.io", "images", "import", file], new ToolOptions(TimeProvider.System), CancellationToken.None);
    }

    private static string Example(string file) => File.ReadAllText(Path.Combine(Executables.SourceTree!, "docs/examples", file));

    private static Task PublishAsync(int broker, string topic, string payload)
        => Tool.RunAsync("mosquitto_pub", ["-p", $"{broker}", "-q", "1", "-r", "-t", $"plant/oven1/{topic}", "-m", payload], new ToolOptions(TimeProvider.System), CancellationToken.None);

    private static Task<string> ReportedAsync(TestEdge edge, string property)
        => edge.KubectlAsync(["get", "devicestatus", "oven-1", "--ignore-not-found", "-o", $"jsonpath={{.status.twins[?(@.propertyName==\"{property}\")].reported.value}}"]);

    private static Task<string> StateAsync(TestEdge edge) => edge.KubectlAsync("get devicestatus oven-1 --ignore-not-found -o jsonpath={.status.state}");
}
