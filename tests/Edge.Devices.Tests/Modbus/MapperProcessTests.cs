using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Local.Processes;
using Edge.Protocol.Modbus.Lines;
using Edge.Simulators.Modbus;
using Edge.Testing;
using Edge.Testing.Modbus;

namespace Edge.Devices.Tests.Modbus;

/// <summary>The executable as it is shipped, between EdgeCore's DMI server and a slave on a serial line.</summary>
[Trait("Category", "Devices")]
public sealed class MapperProcessTests
{
    [Fact]
    public async Task The_mapper_serves_a_slave_on_a_serial_line_with_its_settings_and_answers_for_itself()
    {
        using var pty = new PtyPair();
        var line = new SerialSettings(pty.PathB, 9600, SerialParity.Odd, StopBits: 2);
        await using var simulator = ModbusSimulator.Start(line, "thermostat", TimeProvider.System, new Random(1), units: 2);
        using var directory = new TempDirectory();
        await using var house = new DeviceHouse();
        using var lease = PortLease.Take();
        house.PutModel();
        house.Meta.Put("device", Device(pty.PathA, "25"));
        var warm = house.Uplink.NextTwinAsync("temperature above 24", "temperature", twin => DeviceHouse.Actual(twin) > 24);
        house.StartEdgeCore();
        var config = Path.Combine(directory.Path, "mapper.yaml");
        await File.WriteAllTextAsync(config, $"""
            grpc_server:
              socket_path: {house.MapperSocket}
            common:
              edgecore_sock: {house.DmiSocket}
              http_port: {lease.Port}
            """);
        using var mapper = Process.Start(new ProcessStartInfo(Executables.Find("modbus-mapper"), ["--config", config]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        try
        {
            var output = mapper.StandardOutput.ReadToEndAsync();
            await warm.WaitAsync(Patience.Of(TimeSpan.FromSeconds(60)));
            Assert.Equal(25, simulator.SetpointOf(2));

            // A pseudo-terminal keeps all but the flag that turns parity on; that received parity is looked at (inpck) stands for it. The mapper has the line for
            // itself: none but root may look.
            var words = Environment.IsPrivilegedProcess ? (await SttyAsync(pty.PathA)).Split([' ', '\n', ';'], StringSplitOptions.RemoveEmptyEntries) : [];
            if (words.Length > 0)
                Assert.Superset(new HashSet<string> { "9600", "parodd", "cstopb", "inpck", "cs8", "-icanon", "-echo", "-opost", "-ixon", "-crtscts" }, words.ToHashSet());

            using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{lease.Port}") };
            Assert.Equal("ok\n", await client.GetStringAsync("/healthz"));
            Assert.Equal("25", (string?)JsonNode.Parse(await client.GetStringAsync("/api/v1/device/default/thermostat-1/setpoint"))!["Data"]!["Value"]);
            using (var body = new StringContent("""{"value":"30"}""", System.Text.Encoding.UTF8, "application/json"))
                Assert.True((await client.PutAsync("/api/v1/device/default/thermostat-1/setpoint", body)).IsSuccessStatusCode);
            Assert.Equal(30, simulator.SetpointOf(2));
            var metrics = await client.GetStringAsync("/metrics");
            Assert.Contains("mapper_devices{state=\"online\"} 1\n", metrics, StringComparison.Ordinal);
            Assert.Matches($"modbus_answers_total\\{{line=\"{pty.PathA}\"\\}} [1-9]", metrics);

            using (var stop = Process.Start("kill", $"-TERM {mapper.Id}"))
                await stop.WaitForExitAsync();
            await mapper.WaitForExitAsync().WaitAsync(Patience.Of(TimeSpan.FromSeconds(30)));
            Assert.True(mapper.ExitCode == 0, await output + await mapper.StandardError.ReadToEndAsync());
        }
        finally
        {
            if (!mapper.HasExited)
                mapper.Kill();
        }
    }

    private static JsonObject Device(string path, string setpoint)
    {
        var device = DeviceHouse.Device(0, setpoint);
        device["spec"]!["protocol"]!["configData"] = JsonSerializer.SerializeToNode(new
        {
            communicateMode = "RTU", serialPort = path, baudRate = 9600, parity = "odd", stopBits = 2, slaveID = 2, timeout = 2000,
        });
        return device;
    }

    private static async Task<string> SttyAsync(string path)
    {
        using var stty = Process.Start(new ProcessStartInfo("stty", ["-F", path, "-a"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var text = await stty.StandardOutput.ReadToEndAsync();
        await stty.WaitForExitAsync();
        Assert.True(stty.ExitCode == 0, await stty.StandardError.ReadToEndAsync());
        return text;
    }
}
