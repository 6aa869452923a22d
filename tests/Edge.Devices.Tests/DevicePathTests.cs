using System.Text.Json.Nodes;
using Xunit;

namespace Edge.Devices.Tests;

[Trait("Category", "Devices")]
public sealed class DevicePathTests
{
    [Fact]
    public async Task The_reported_value_follows_the_register_and_the_desired_value_reaches_it()
    {
        await using var house = await StartAsync("20");
        Assert.Equal(20, house.Simulator.Setpoint);

        var warm = house.Uplink.NextTwinAsync("temperature above 24", "temperature", twin => DeviceHouse.Actual(twin) > 24);
        var observed = house.Uplink.NextTwinAsync("observed setpoint 26.5", "setpoint", twin => (string?)twin["expected"]?["value"] == "26.5" && DeviceHouse.Actual(twin) == 26.5);
        house.PutDevice("26.5");
        await observed;
        Assert.Equal(26.5, house.Simulator.Setpoint);
        var content = JsonNode.Parse((await warm).Content.Span)!;
        Assert.Equal("float", (string?)content["twin"]!["temperature"]!["metadata"]!["type"]);
        Assert.True((long)content["twin"]!["temperature"]!["actual"]!["metadata"]!["timestamp"]! > 1_600_000_000_000);
        Assert.Equal("1.0", ((string)content["twin"]!["pressure"]!["actual"]!["value"]!)[..3]);
    }

    [Fact]
    public async Task A_desired_value_outside_the_model_is_not_written_and_the_reason_goes_up()
    {
        await using var house = await StartAsync("20");
        var refused = house.Uplink.NextTwinAsync("refusal", "setpoint", twin => twin["actual"]?["metadata"]?["error"] is not null);
        house.PutDevice("99");
        var twin = JsonNode.Parse((await refused).Content.Span)!["twin"]!["setpoint"]!;
        Assert.Contains("above the model's maximum 35", (string?)twin["actual"]!["metadata"]!["error"], StringComparison.Ordinal);
        Assert.Equal("20", (string?)twin["expected"]!["value"]);
        Assert.Equal(20, house.Simulator.Setpoint);
    }

    [Fact]
    public async Task An_impossible_visitor_is_refused_with_its_reason_and_the_others_go_on()
    {
        var broken = (JsonObject)JsonNode.Parse("""
            {"name":"broken","reportToCloud":true,"visitors":{"protocolName":"modbus","configData":{"register":"HoldingRegister","offset":-1}}}
            """)!;
        await using var house = new DeviceHouse();
        house.StartSimulator();
        house.PutModel();
        house.PutDevice("20", broken);
        var state = house.Uplink.NextStateAsync("unhealthy");
        var reason = house.Uplink.NextTwinAsync("reason", "broken", twin => ((string?)twin["actual"]?["metadata"]?["error"])?.Contains("offset is -1", StringComparison.Ordinal) == true);
        var others = house.Uplink.NextTwinAsync("temperature", "temperature", twin => DeviceHouse.Actual(twin) > 10);
        house.StartEdgeCore();
        house.StartMapper();
        await state;
        await reason;
        await others;
    }

    [Fact]
    public async Task A_slave_that_goes_away_makes_the_device_offline_with_the_reason_and_back_online_with_the_desired_value_written_again()
    {
        await using var house = await StartAsync("22.5");
        var offline = house.Uplink.NextStateAsync("offline");
        var reason = house.Uplink.NextTwinAsync("the reason", "setpoint", twin => twin["actual"]?["metadata"]?["error"] is not null);
        await house.StopSimulatorAsync();
        await offline;

        // What was read last stays, with its time, and the reason beside it.
        var lost = JsonNode.Parse((await reason).Content.Span)!["twin"]!["setpoint"]!["actual"]!;
        Assert.Equal("22.5", (string?)lost["value"]);
        Assert.Contains($"127.0.0.1:{house.Port}", (string?)lost["metadata"]!["error"], StringComparison.Ordinal);
        var good = house.Uplink.Entries.Where(entry => entry.Resource.EndsWith("/twin/edge_updated", StringComparison.Ordinal)).Select(entry => JsonNode.Parse(entry.Content.Span)?["twin"]?["setpoint"]?["actual"])
            .Last(actual => (string?)actual?["value"] == "22.5" && actual["metadata"]!["error"] is null);
        Assert.InRange((long)lost["metadata"]!["timestamp"]! - (long)good!["metadata"]!["timestamp"]!, 0, 5_000);
        var online = house.Uplink.NextStateAsync("online");
        var read = house.Uplink.NextTwinAsync("setpoint 25", "setpoint", twin => DeviceHouse.Actual(twin) == 25);
        house.StartSimulator();
        await online;
        house.PutDevice("25");
        Assert.Null(JsonNode.Parse((await read).Content.Span)!["twin"]!["setpoint"]!["actual"]!["metadata"]!["error"]);
        Assert.Equal(25, house.Simulator.Setpoint);
    }

    [Fact]
    public async Task A_mapper_that_restarts_gets_its_devices_again()
    {
        await using var house = await StartAsync("20");
        await house.StopMapperAsync();
        house.PutDevice("24");
        var read = house.Uplink.NextTwinAsync("setpoint 24", "setpoint", twin => DeviceHouse.Actual(twin) == 24);
        house.StartMapper();
        await read;
    }

    [Fact]
    public async Task An_EdgeCore_that_restarts_dials_its_mappers_and_keeps_the_versions()
    {
        await using var house = await StartAsync("20");
        var before = Version(house.Uplink.Entries.Last(entry => entry.Resource.EndsWith("edge_updated", StringComparison.Ordinal)).Content);
        await house.StopEdgeCoreAsync();
        house.PutDevice("27");
        var read = house.Uplink.NextTwinAsync("setpoint 27", "setpoint", twin => DeviceHouse.Actual(twin) == 27);
        house.StartEdgeCore();
        Assert.True(Version((await read).Content) > before);
        Assert.Equal(27, house.Simulator.Setpoint);

        static long Version(ReadOnlyMemory<byte> content) => (long)JsonNode.Parse(content.Span)!["twin"]!["setpoint"]!["actual_version"]!["edge"]!;
    }

    [Fact]
    public async Task A_device_added_and_removed_while_the_mapper_runs_is_served_and_dropped()
    {
        await using var house = new DeviceHouse();
        house.StartSimulator();
        house.StartEdgeCore();
        house.StartMapper();
        var read = house.Uplink.NextTwinAsync("setpoint", "setpoint", twin => DeviceHouse.Actual(twin) == 21);
        house.PutDevice("21");
        house.PutModel(); // the model may come after the device
        await read;
        house.Meta.Remove("device", "thermostat-1");
        house.PutModel();
        var again = house.Uplink.NextTwinAsync("setpoint", "setpoint", twin => DeviceHouse.Actual(twin) == 23);
        house.PutDevice("23");
        await again;
    }

    private static async Task<DeviceHouse> StartAsync(string setpoint)
    {
        var house = new DeviceHouse();
        house.StartSimulator();
        house.PutModel();
        house.PutDevice(setpoint);
        var online = house.Uplink.NextStateAsync("online");
        var first = house.Uplink.NextTwinAsync(
            "first setpoint", "setpoint", twin => DeviceHouse.Actual(twin) == double.Parse(setpoint, System.Globalization.CultureInfo.InvariantCulture));
        house.StartEdgeCore();
        house.StartMapper();
        await online;
        await first;
        return house;
    }
}
