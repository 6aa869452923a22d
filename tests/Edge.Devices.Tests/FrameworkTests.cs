using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Devices.Local;
using Edge.Devices.Push;
using Edge.Devices.Tests.Modbus;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Simulators.Modbus;
using Edge.Testing;
using FileMapper;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>What the framework gives every protocol: one class, the local API, device methods, metrics, push.</summary>
[Trait("Category", "Devices")]
public sealed class FrameworkTests
{
    [Fact]
    public void The_README_shows_the_code_that_is_tested_here()
    {
        var readme = File.ReadAllText(Path.Combine(Root(), "devices/README.md"));
        Assert.Contains(File.ReadAllText(Path.Combine(Root(), "tests/Edge.Devices.Tests/FileDevice.cs")), readme, StringComparison.Ordinal);
        Assert.InRange(readme.Split('\n').Length, 1, 101);
    }

    [Fact]
    public void The_metrics_page_lists_what_a_mapper_serves_and_nothing_else()
    {
        var served = MapperMetrics.Text(new Dictionary<string, DeviceWorker>(), [], ModbusConnectionTests.Driver());
        var names = served.Split('\n').Where(line => line.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]).Order(StringComparer.Ordinal);
        var page = File.ReadAllText(Path.Combine(Root(), "docs/metrics.md"));
        var listed = page[page.IndexOf("## mappers", StringComparison.Ordinal)..].Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('`')[1]);
        Assert.Equal(names, listed.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_time_is_counted_in_the_first_bucket_that_holds_it_and_in_all_above()
    {
        var counts = new LatencyCounts();
        foreach (var milliseconds in (int[])[1, 2, 5000, 9000])
            counts.Add(TimeSpan.FromMilliseconds(milliseconds));
        Assert.Equal([1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 4], counts.Cumulative());
        var text = new MetricsText();
        text.Histogram("x_seconds", counts, ("device", "a\"b"));
        Assert.StartsWith("x_seconds_bucket{device=\"a\\\"b\",le=\"0.001\"} 1\nx_seconds_bucket{device=\"a\\\"b\",le=\"0.005\"} 2\n", text.ToString(), StringComparison.Ordinal);
        Assert.EndsWith("le=\"+Inf\"} 4\nx_seconds_sum{device=\"a\\\"b\"} 14.003\nx_seconds_count{device=\"a\\\"b\"} 4\n", text.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_protocol_of_one_class_reads_writes_and_says_what_is_wrong()
    {
        using var directory = new TempDirectory();
        var path = Path.Combine(directory.Path, "device");
        Directory.CreateDirectory(path);
        await File.WriteAllTextAsync(Path.Combine(path, "temp"), "21.5\n");
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"files","namespace":"default"},"spec":{"protocol":{"protocolName":"file"},"properties":[
             {"name":"temperature","collectCycle":20,"reportCycle":20,"reportToCloud":true,"visitors":{"configData":{"file":"temp"}}},
             {"name":"setpoint","desired":{"value":"7"},"collectCycle":20,"reportCycle":20,"reportToCloud":true,"visitors":{"configData":{"file":"setpoint"}}},
             {"name":"broken","reportToCloud":true,"visitors":{"configData":{"file":"../x"}}}]}}
            """)!;
        device["spec"]!["protocol"]!["configData"] = new JsonObject { ["directory"] = path };
        var (reports, second) = (new Reports(), new Reports());
        await using var worker = Workers.Start(device, DeviceHouse.Model(), new SimpleDriver("file", config => new FileDevice(config)), reports);
        await reports.TwinAsync("temperature", "files", "temperature", twin => twin.Reported.Value == "21.5");
        await reports.TwinAsync("setpoint", "files", "setpoint", twin => twin.Reported.Value == "7");
        Assert.Equal("7", await File.ReadAllTextAsync(Path.Combine(path, "setpoint")));
        await using var again = Workers.Start(device, DeviceHouse.Model(), new SimpleDriver("file", config => new FileDevice(config)), second);
        await second.TwinAsync("broken", "files", "broken", twin => twin.Reported.Metadata["error"].Contains("name of a file", StringComparison.Ordinal));
        Directory.Move(path, path + "-gone");
        await reports.StateAsync("files", "offline");
        Directory.Move(path + "-gone", path);
        await reports.StateAsync("files", "unhealthy"); // back, and one property is still impossible
    }

    [Fact]
    public async Task The_local_API_reads_writes_and_calls_methods_and_says_what_is_wrong()
    {
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1));
        var device = DeviceHouse.Device(simulator.EndPoint.Port, "20");
        device["spec"]!["methods"] = JsonNode.Parse("""[{"name":"comfort","description":"sets what people feel","propertyNames":["setpoint"]}]""");
        var reports = new Reports();
        await using var house = new House(Workers.Start(device, DeviceHouse.Model(), ModbusConnectionTests.Driver(), reports));
        await using var api = await LocalApi.StartAsync(new IPEndPoint(IPAddress.Loopback, 0), house, TimeProvider.System, default);
        using var client = new HttpClient { BaseAddress = api.Address };
        await reports.StateAsync("thermostat-1", "online");
        await reports.TwinAsync("setpoint", "thermostat-1", "setpoint", twin => twin.Reported.Value == "20");

        // The names in the answers are those of KubeEdge's mapper-framework (pkg/httpserver/responsetype.go, pkg/common).
        Assert.Contains("running normally", (string?)(await GetAsync("/api/v1/ping", 200))["Message"], StringComparison.Ordinal);
        var read = (await GetAsync("/api/v1/device/default/thermostat-1/setpoint", 200))["Data"]!;
        Assert.Equal(
            ("thermostat-1", "setpoint", "default", "20", "float"),
            ((string?)read["DeviceName"], (string?)read["PropertyName"], (string?)read["Namespace"], (string?)read["Value"], (string?)read["Type"]));
        Assert.InRange((long)read["TimeStamp"]!, 1_600_000_000_000, long.MaxValue);
        Assert.Equal(4, (await GetAsync("/api/v1/device/default/thermostat-1", 200))["Data"]!.AsArray().Count);
        Assert.Equal(
            """{"Methods":[{"Name":"comfort","Path":"/api/v1/devicemethod/default/thermostat-1/comfort/{propertyName}/{data}","Parameters":[{"PropertyName":"setpoint","ValueType":"FLOAT"}],"Description":"sets what people feel"}]}""",
            (await GetAsync("/api/v1/devicemethod/default/thermostat-1", 200))["Data"]!.ToJsonString());
        var model = await GetAsync("/api/v1/meta/model/default/thermostat-1", 200);
        Assert.Equal(("thermostat", "default", 5), ((string?)model["name"], (string?)model["namespace"], model["properties"]!.AsArray().Count));
        Assert.Equal(("FLOAT", "ReadWrite", "35"), ((string?)model["properties"]![1]!["dataType"], (string?)model["properties"]![1]!["accessMode"], (string?)model["properties"]![1]!["maximum"]));
        await GetAsync("/api/v1/meta/model/default/thermostat", 404); // the model's name is none of a device
        Assert.Contains("database is not enabled", (string?)(await GetAsync("/api/v1/database/default/thermostat-1", 503))["Message"], StringComparison.Ordinal);
        using (var correlated = new HttpRequestMessage(HttpMethod.Get, "/api/v1/ping") { Headers = { { "X-Correlation-ID", "abc" } } })
        using (var answer = await client.SendAsync(correlated))
            Assert.Equal("abc", Assert.Single(answer.Headers.GetValues("X-Correlation-ID")));

        await SendAsync(HttpMethod.Put, "/api/v1/device/default/thermostat-1/setpoint", new JsonObject { ["value"] = 23.5 }, 200);
        Assert.Equal(23.5, simulator.Setpoint);
        await SendAsync(HttpMethod.Post, "/api/v1/devicemethod/default/thermostat-1/comfort/setpoint", new JsonObject { ["value"] = "24.5" }, 200);
        Assert.Equal(24.5, simulator.Setpoint);
        await SendAsync(HttpMethod.Post, "/api/v1/devicemethod/default/thermostat-1/comfort/setpoint/22", null, 200);
        Assert.Equal(22, simulator.Setpoint);

        Assert.Contains("above the model's maximum", await SendAsync(HttpMethod.Put, "/api/v1/device/default/thermostat-1/setpoint", new JsonObject { ["value"] = "99" }, 422), StringComparison.Ordinal);
        Assert.Contains("ReadOnly", await SendAsync(HttpMethod.Put, "/api/v1/device/default/thermostat-1/temperature", new JsonObject { ["value"] = "1" }, 422), StringComparison.Ordinal);
        Assert.Contains("object with a value", await SendAsync(HttpMethod.Put, "/api/v1/device/default/thermostat-1/setpoint", new JsonObject(), 400), StringComparison.Ordinal);
        Assert.Contains("no method 'other'", await SendAsync(HttpMethod.Post, "/api/v1/devicemethod/default/thermostat-1/other/setpoint/22", null, 404), StringComparison.Ordinal);
        Assert.Contains("does not have property 'fan'", await SendAsync(HttpMethod.Post, "/api/v1/devicemethod/default/thermostat-1/comfort/fan/1", null, 404), StringComparison.Ordinal);
        await GetAsync("/api/v1/devicemethod/default/thermostat-1/comfort/setpoint/30", 405);
        await GetAsync("/api/v1/device/default/other/setpoint", 404);
        await GetAsync("/nothing", 404);
        using (var form = new StringContent("value=30", Encoding.UTF8, "application/x-www-form-urlencoded"))
            Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await client.PostAsync("/api/v1/device/default/thermostat-1/setpoint", form)).StatusCode);
        using (var large = new ByteArrayContent(new byte[100_000]) { Headers = { ContentType = new("application/json") } })
            Assert.Contains((await client.PostAsync("/api/v1/device/default/thermostat-1/setpoint", large)).StatusCode, new[] { HttpStatusCode.BadRequest, HttpStatusCode.RequestEntityTooLarge });
        Assert.Equal(22, simulator.Setpoint);

        var metrics = await client.GetStringAsync("/metrics");
        Assert.Contains("mapper_devices{state=\"online\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Matches("mapper_values_total\\{device=\"default/thermostat-1\"\\} [1-9]", metrics);
        Assert.Contains("mapper_writes_total{device=\"default/thermostat-1\"} 4\n", metrics, StringComparison.Ordinal);
        Assert.Contains("mapper_losses_total{device=\"default/thermostat-1\"} 0\n", metrics, StringComparison.Ordinal);
        Assert.Contains("mapper_write_errors_total{device=\"default/thermostat-1\"} 0\n", metrics, StringComparison.Ordinal);
        Assert.Matches("mapper_reports_total\\{device=\"default/thermostat-1\"\\} [1-9]", metrics);
        Assert.Matches("mapper_poll_seconds_bucket\\{device=\"default/thermostat-1\",le=\"\\+Inf\"\\} [1-9]", metrics);
        Assert.Equal("ok\n", await client.GetStringAsync("/healthz"));

        simulator.Faults.Set(1, ModbusFault.Silence);
        await reports.StateAsync("thermostat-1", "offline");
        Assert.Matches("mapper_losses_total\\{device=\"default/thermostat-1\"\\} [1-9]", await client.GetStringAsync("/metrics"));
        Assert.Contains("did not answer", await SendAsync(HttpMethod.Put, "/api/v1/device/default/thermostat-1/setpoint", new JsonObject { ["value"] = "21" }, 503), StringComparison.Ordinal);

        async Task<JsonNode> GetAsync(string path, int status)
        {
            using var answer = await client.GetAsync(path);
            Assert.Equal(status, (int)answer.StatusCode);
            return JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
        }

        async Task<string> SendAsync(HttpMethod method, string path, JsonObject? body, int status)
        {
            using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : JsonContent.Create(body) };
            using var answer = await client.SendAsync(request);
            var text = await answer.Content.ReadAsStringAsync();
            Assert.True(status == (int)answer.StatusCode, $"{(int)answer.StatusCode}: {text}");
            return (string)JsonNode.Parse(text)!["Message"]!;
        }
    }

    /// <summary>The source tree.</summary>
    internal static string Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory!.FullName, "Edge.sln")))
            directory = directory.Parent;
        return directory.FullName;
    }

    private sealed class House(DeviceWorker worker) : ILocalHouse, IAsyncDisposable
    {
        public DeviceWorker? Find(string @namespace, string name) => (@namespace, name) == (worker.Device.Namespace, worker.Device.Name) ? worker : null;

        public DeviceModel? FindModel(string @namespace, string name) => name == "thermostat" ? DmiConvert.ToModel(DeviceHouse.Model()) : null;

        public string Metrics() => MapperMetrics.Text(new Dictionary<string, DeviceWorker> { ["default/thermostat-1"] = worker }, [], new SimpleDriver("x", _ => throw new DeviceConfigException("none")));

        public ValueTask DisposeAsync() => worker.DisposeAsync();
    }
}
