using System.Net;
using System.Text.Json.Nodes;
using Edge.Devices.Modbus;
using Edge.Devices.Push;
using Edge.Protocol.Modbus.Lines;
using Edge.Simulators.Modbus;
using Edge.Testing;
using Edge.Testing.Modbus;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests.Modbus;

/// <summary>Slaves that misbehave, seen at the device: a clear reason, and the others go on.</summary>
[Trait("Category", "Devices")]
public sealed class BadSlaveTests
{
    [Theory]
    [InlineData(ModbusFault.Silence, "unit 2 did not answer within 300 ms")]
    [InlineData(ModbusFault.Crc, "CRC is ")]
    [InlineData(ModbusFault.Unit, "unit 66 answered")]
    [InlineData(ModbusFault.Length, "of a wrong length")]
    [InlineData(ModbusFault.Garbage, "no frame")]
    public async Task A_bad_slave_on_a_serial_line_is_offline_with_the_reason_until_it_mends_and_its_neighbour_is_served(ModbusFault fault, string reason)
    {
        using var pty = new PtyPair();
        await using var simulator = ModbusSimulator.Start(new SerialSettings(pty.PathB), "thermostat", TimeProvider.System, new Random(1), units: 2);
        simulator.Faults.Set(2, fault);
        var driver = ModbusConnectionTests.Driver();
        var line = $"\"communicateMode\":\"RTU\",\"serialPort\":\"{pty.PathA}\"";
        var (good, bad) = (new Reports(), new Reports());
        await using var one = Workers.Start(Device("one", 1, line), DeviceHouse.Model(), driver, good);
        await good.StateAsync("one", "online");
        await using var two = Workers.Start(Device("two", 2, line), DeviceHouse.Model(), driver, bad);
        await bad.StateAsync("two", "offline");
        await ReasonAsync(bad, "two", reason);
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await good.TwinAsync("a newer temperature", "one", "temperature", twin => long.Parse(twin.Reported.Metadata["timestamp"]) > now);
        simulator.Faults.Set(2, ModbusFault.None);
        await bad.StateAsync("two", "online");
        await GoodAsync(bad, "two");
        Assert.Equal(1, Assert.Single(driver.Lines).Counters.Opens);
    }

    [Theory]
    [InlineData(ModbusFault.Silence, "unit 1 did not answer within 300 ms")]
    [InlineData(ModbusFault.Transaction, "it answered transaction")]
    [InlineData(ModbusFault.Length, "does not repeat the request")]
    [InlineData(ModbusFault.Garbage, "sent no Modbus TCP")]
    public async Task A_bad_slave_over_TCP_is_offline_with_the_reason_until_it_mends(ModbusFault fault, string reason)
    {
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1));
        simulator.Faults.Set(1, fault);
        var reports = new Reports();
        await using var worker = Workers.Start(
            Device("one", 1, $"\"ip\":\"127.0.0.1\",\"port\":{simulator.EndPoint.Port}"), DeviceHouse.Model(), ModbusConnectionTests.Driver(), reports);
        await reports.StateAsync("one", "offline");
        await ReasonAsync(reports, "one", reason);
        simulator.Faults.Set(1, ModbusFault.None);
        await reports.StateAsync("one", "online");
        await GoodAsync(reports, "one");
    }

    [Theory]
    [InlineData(ModbusFault.Silence, "unit 2 did not answer within 300 ms")]
    [InlineData(ModbusFault.Crc, "CRC is ")]
    [InlineData(ModbusFault.Unit, "unit 66 answered")]
    [InlineData(ModbusFault.Length, "of a wrong length")]
    [InlineData(ModbusFault.Garbage, "no frame")]
    public async Task A_bad_slave_behind_a_gateway_of_RTU_frames_is_offline_with_the_reason_until_it_mends_and_its_neighbour_is_served(ModbusFault fault, string reason)
    {
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1), units: 2, rtu: true);
        simulator.Faults.Set(2, fault);
        var driver = ModbusConnectionTests.Driver();
        var line = $"\"communicateMode\":\"RTUOverTCP\",\"ip\":\"127.0.0.1\",\"port\":{simulator.EndPoint.Port}";
        var (good, bad) = (new Reports(), new Reports());
        await using var one = Workers.Start(Device("one", 1, line), DeviceHouse.Model(), driver, good);
        await good.StateAsync("one", "online");
        await using var two = Workers.Start(Device("two", 2, line), DeviceHouse.Model(), driver, bad);
        await bad.StateAsync("two", "offline");
        await ReasonAsync(bad, "two", reason);
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await good.TwinAsync("a newer temperature", "one", "temperature", twin => long.Parse(twin.Reported.Metadata["timestamp"]) > now && twin.Reported.Value.Length > 0);
        simulator.Faults.Set(2, ModbusFault.None);
        await bad.StateAsync("two", "online");
        await GoodAsync(bad, "two");
        Assert.Single(driver.Lines);
    }

    [Fact]
    public async Task A_slave_that_falls_silent_keeps_its_last_value_and_its_time_and_the_reason_is_said_once()
    {
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1));
        var reports = new Reports();
        await using var worker = Workers.Start(
            Device("one", 1, $"\"ip\":\"127.0.0.1\",\"port\":{simulator.EndPoint.Port}"), DeviceHouse.Model(), ModbusConnectionTests.Driver(), reports);
        await GoodAsync(reports, "one");
        simulator.Faults.Set(1, ModbusFault.Silence);
        await reports.StateAsync("one", "offline");
        var lost = await ReasonAsync(reports, "one", "did not answer");
        var kept = worker.Twins.Single(twin => twin.PropertyName == "temperature").Reported;
        Assert.Equal(kept.Metadata["timestamp"], lost.Reported.Metadata["timestamp"]);
        Assert.NotEqual("", kept.Value);
        Assert.Equal(lost.Reported.Metadata["error"], kept.Metadata["error"]);

        // Each further try loses it again and says no more.
        var losses = worker.Figures.Losses;
        await Eventually.HoldsAsync("two further tries", () => worker.Figures.Losses > losses + 2);
        Assert.DoesNotContain(reports.Take(), one => one.Twin?.PropertyName == "temperature");
        simulator.Faults.Set(1, ModbusFault.None);
        await GoodAsync(reports, "one");
    }

    [Fact]
    public async Task An_exception_is_the_propertys_error_and_the_device_stays_online()
    {
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1));
        var device = Device("one", 1, $"\"ip\":\"127.0.0.1\",\"port\":{simulator.EndPoint.Port}");
        device["spec"]!["properties"]!.AsArray().Add(JsonNode.Parse("""
            {"name":"broken","collectCycle":50,"reportCycle":50,"reportToCloud":true,"visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":9999,"limit":1}}}
            """));
        device["spec"]!["properties"]!.AsArray().Add(JsonNode.Parse("""{"name":"unknown","reportToCloud":true,"visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":1}}}"""));
        var reports = new Reports();
        await using var worker = Workers.Start(device, DeviceHouse.Model(), ModbusConnectionTests.Driver(), reports);

        // A property that the model lacks makes the device unhealthy; all that can be served is.
        await reports.StateAsync("one", "unhealthy");
        await Assert.AllAsync(new[] { ("broken", "it has no such address (exception 2)"), ("unknown", "the model has no property 'unknown'") }, async pair =>
        {
            var own = new Reports();
            await using var again = Workers.Start(device, DeviceHouse.Model(), ModbusConnectionTests.Driver(), own);
            var twin = await own.TwinAsync(pair.Item1, "one", pair.Item1, twin => twin.Reported is not null);
            Assert.Contains(pair.Item2, twin.Reported.Metadata["error"], StringComparison.Ordinal);
        });
        await reports.TwinAsync("temperature", "one", "temperature", twin => twin.Reported.Value.Length > 0);
    }

    [Fact]
    public async Task A_value_within_its_deadband_is_not_reported_again()
    {
        var bank = new Edge.Protocol.Modbus.MemoryRegisterBank(1, 1, 10, 10);
        void Set(int value) => bank.Access((coils, inputs, holding, input) => input[0] = (ushort)value);
        Set(100);
        await using var server = Edge.Protocol.Modbus.ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        var device = Device("one", 1, $"\"ip\":\"127.0.0.1\",\"port\":{server.EndPoint.Port}");
        device["spec"]!["properties"] = new JsonArray(JsonNode.Parse("""
            {"name":"temperature","collectCycle":20,"reportCycle":20,"reportToCloud":true,
             "visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":0,"dataType":"int16","deadband":5}}}
            """));
        var reports = new Reports();
        await using var worker = Workers.Start(device, DeviceHouse.Model(), ModbusConnectionTests.Driver(), reports);
        var seen = new List<string>();
        async Task NextAsync() => seen.Add((await reports.TwinAsync("temperature", "one", "temperature", _ => true)).Reported.Value);
        await NextAsync();
        foreach (var value in (int[])[105, 95, 106, 104])
        {
            Set(value);

            // Until the worker has read it; only then the next one.
            while (worker.Twins.Single().Reported.Value != $"{value}")
                await Task.Delay(5);
        }

        Set(200);
        while (seen[^1] != "200")
            await NextAsync();
        Assert.Equal(["100", "106", "200"], seen);
    }

    [Fact]
    public void The_example_can_be_bound()
    {
        var count = Examples.Bind("modbus", ModbusConnectionTests.Driver(), property =>
        {
            if (property.Name == "temperature")
                Assert.Equal((0.1m, -273.15m), (ModbusVisitor.Read(property).Format.Scale, ModbusVisitor.Read(property).Format.Offset));
        });
        Assert.Equal(9, count);
    }

    [Fact]
    public async Task The_example_of_two_units_behind_one_gateway_can_be_bound_and_pushed()
    {
        var (devices, model) = Examples.ReadAll("modbus", "gateway.yaml");
        var driver = ModbusConnectionTests.Driver();
        Assert.Equal([2, 1], devices.Select(device => Examples.Bind(device, model, driver, _ => { })));
        var line = Assert.Single(driver.Lines);
        Assert.Equal((ModbusTransport.RtuOverTcp, "10.0.0.20:4001"), (line.Settings.Transport, line.Settings.Key));
        Assert.NotNull(line.Trace);
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance);
        Assert.Equal("influxdb2 http://10.0.0.9:8086 energy meters", Assert.Single(hub.Open(devices[0].Spec.Properties[0].PushMethod)).Name);
    }

    private static Task<Edge.Protocol.Dmi.V1Beta1.Twin> ReasonAsync(Reports reports, string device, string reason)
        => reports.TwinAsync($"the reason '{reason}'", device, "temperature", twin => twin.Reported.Metadata.GetValueOrDefault("error", "").Contains(reason, StringComparison.Ordinal));

    private static Task<Edge.Protocol.Dmi.V1Beta1.Twin> GoodAsync(Reports reports, string device)
        => reports.TwinAsync("a good temperature", device, "temperature", twin => twin.Reported.Value.Length > 0 && !twin.Reported.Metadata.ContainsKey("error"));

    private static JsonObject Device(string name, int unit, string line)
    {
        var device = DeviceHouse.Device(1, "20");
        device["metadata"]!["name"] = name;
        device["spec"]!["protocol"]!["configData"] = JsonNode.Parse($"{{{line},\"slaveID\":{unit},\"timeout\":300,\"retries\":0}}");
        return device;
    }
}
