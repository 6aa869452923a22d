using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Testing;

namespace Edge.Devices.Tests;

/// <summary>EdgeCore and mappers of every manner over real sockets.</summary>
[Trait("Category", "Devices")]
public sealed class MapperPathTests
{
    [Fact]
    public async Task A_mapper_that_registers_without_data_is_told_models_and_devices_by_calls()
    {
        await using var house = new DeviceHouse();
        Put(house, "one", "mem", "7");
        house.StartEdgeCore();
        await using var mapper = new ScriptedMapper(house, "m", "mem");
        var answer = await mapper.StartAsync(withData: false);
        Assert.Equal((0, 0), (answer.ModelList.Count, answer.DeviceList.Count));
        await mapper.CalledAsync("RegisterDevice one [level=7]");
        Assert.Equal(["CreateDeviceModel mem", "RegisterDevice one [level=7]"], mapper.Calls);
    }

    [Fact]
    public async Task Every_mapper_of_a_protocol_is_told_and_any_of_them_reports()
    {
        await using var house = new DeviceHouse();
        Put(house, "one", "mem", "7");
        house.StartEdgeCore();
        await using var first = new ScriptedMapper(house, "first", "mem");
        await using var second = new ScriptedMapper(house, "second", "MEM");
        await using var other = new ScriptedMapper(house, "other", "opcua");
        Assert.Single((await first.StartAsync()).DeviceList);
        Assert.Single((await second.StartAsync()).DeviceList);
        Assert.Empty((await other.StartAsync()).DeviceList);
        Put(house, "one", "mem", "8");
        await first.CalledAsync("UpdateDevice one [level=8]");
        await second.CalledAsync("UpdateDevice one [level=8]");
        foreach (var (mapper, value) in new[] { (first, "8"), (second, "9") })
        {
            var arrived = house.Uplink.NextTwinAsync(value, "level", twin => (string?)twin["actual"]?["value"] == value);
            await mapper.ReportAsync("one", "level", value);
            await arrived;
        }

        Assert.Empty(other.Calls);
    }

    [Fact]
    public async Task A_report_without_the_fields_that_may_be_absent_is_taken_as_far_as_it_goes()
    {
        await using var house = new DeviceHouse();
        Put(house, "one", "mem", "7");
        house.StartEdgeCore();
        await using var mapper = new ScriptedMapper(house, "m", "mem");
        await mapper.StartAsync();
        ReportDeviceStatusRequest[] reports =
        [
            new() { DeviceName = "one" },
            new() { DeviceName = "one", ReportedDevice = new DeviceStatus() },
            new() { DeviceName = "one", ReportedDevice = new DeviceStatus { Twins = { new Twin(), new Twin { PropertyName = "level" }, new Twin { PropertyName = "level", Reported = new TwinProperty() } } } },
        ];
        foreach (var report in reports)
            await mapper.Edge.ReportDeviceStatusAsync(report, CancellationToken.None);
        foreach (var refused in (Func<Task>[])[() => mapper.Edge.ReportDeviceStatusAsync(new ReportDeviceStatusRequest(), CancellationToken.None), () => mapper.Edge.ReportDeviceStatesAsync(new ReportDeviceStatesRequest(), CancellationToken.None)])
            Assert.Equal(GrpcStatusCode.NotFound, (await Assert.ThrowsAsync<GrpcException>(refused)).Code);
        Assert.Equal(GrpcStatusCode.InvalidArgument, (await Assert.ThrowsAsync<GrpcException>(() => mapper.Edge.MapperRegisterAsync(new MapperRegisterRequest(), CancellationToken.None))).Code);
        var arrived = house.Uplink.NextTwinAsync("5", "level", twin => (string?)twin["actual"]?["value"] == "5");
        await mapper.ReportAsync("one", "level", "5");
        await arrived;
    }

    [Fact]
    public async Task A_value_of_64_KiB_goes_both_ways()
    {
        var longest = new string('ä', 32 * 1024);
        await using var house = new DeviceHouse();
        Put(house, "one", "mem", longest);
        house.StartEdgeCore();
        await using var mapper = new ScriptedMapper(house, "m", "mem");
        Assert.Equal(longest, (await mapper.StartAsync()).DeviceList.Single().Spec.Properties.Single().Desired.Value);
        var arrived = house.Uplink.NextTwinAsync("the long value", "level", twin => (string?)twin["actual"]?["value"] == longest);
        await mapper.ReportAsync("one", "level", longest);
        await arrived;
        var refused = house.Uplink.NextTwinAsync("why", "level", twin => ((string?)twin["actual"]?["metadata"]?["error"])?.Contains("over the limit of 65536", StringComparison.Ordinal) == true);
        await mapper.ReportAsync("one", "level", longest + "x");
        await refused;
    }

    [Fact]
    public async Task A_mapper_that_hangs_in_a_call_is_called_again_after_its_10_s_and_holds_up_no_other()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        await using var house = new DeviceHouse(time);
        Put(house, "one", "mem", "7");
        Put(house, "two", "opcua", "7");
        house.StartEdgeCore();
        await using var hanging = new ScriptedMapper(house, "hanging", "mem");
        await using var other = new ScriptedMapper(house, "other", "opcua");
        await hanging.StartAsync();
        await other.StartAsync();
        hanging.OnCall = (_, token) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, token);
        Put(house, "one", "mem", "8");
        await hanging.CalledAsync("UpdateDevice one [level=8]");
        Put(house, "two", "opcua", "8");
        await other.CalledAsync("UpdateDevice two [level=8]");
        time.Advance(TimeSpan.FromSeconds(9));
        Put(house, "two", "opcua", "9");
        await other.CalledAsync("UpdateDevice two [level=9]");
        Assert.Single(hanging.Calls);

        // The call ends, the pause after it too; the newest state of the device is what it is told then.
        hanging.OnCall = (_, _) => Task.CompletedTask;
        Put(house, "one", "mem", "10");
        time.Advance(TimeSpan.FromSeconds(1));
        await Eventually.HoldsAsync("the hanging mapper is called again", () =>
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            return hanging.Calls.Contains("UpdateDevice one [level=10]");
        });
    }

    [Fact]
    public async Task A_mapper_that_dies_in_a_call_holds_up_no_other_and_has_the_newest_when_it_is_back()
    {
        await using var house = new DeviceHouse();
        Put(house, "one", "mem", "7");
        Put(house, "two", "opcua", "7");
        house.StartEdgeCore();
        await using var dying = new ScriptedMapper(house, "dying", "mem");
        await using var other = new ScriptedMapper(house, "other", "opcua");
        await dying.StartAsync();
        await other.StartAsync();
        var death = new TaskCompletionSource();
        dying.OnCall = (_, _) => death.Task;
        Put(house, "one", "mem", "8");
        await dying.CalledAsync("UpdateDevice one [level=8]");
        var dies = dying.DieAsync();
        death.SetException(new InvalidOperationException("the end"));
        await dies;
        Put(house, "two", "opcua", "8");
        await other.CalledAsync("UpdateDevice two [level=8]");
        var arrived = house.Uplink.NextAsync("a value of the other", entry => entry.Resource.Contains("/two/twin/", StringComparison.Ordinal));
        await other.ReportAsync("two", "level", "8");
        await arrived;
        Put(house, "one", "mem", "9");
        await using var back = new ScriptedMapper(house, "dying", "mem");
        Assert.Equal("9", (await back.StartAsync()).DeviceList.Single().Spec.Properties.Single().Desired.Value);
        Put(house, "one", "mem", "10");
        await back.CalledAsync("UpdateDevice one [level=10]");
    }

    [Fact]
    public async Task What_a_mapper_refuses_is_on_the_devices_status_until_it_takes_it()
    {
        await using var house = new DeviceHouse();
        house.StartEdgeCore();
        await using var mapper = new ScriptedMapper(house, "m", "mem") { OnCall = (call, _) => call == "RegisterDevice one" ? throw new GrpcException(GrpcStatusCode.Internal, "no free port") : Task.CompletedTask };
        await mapper.StartAsync();
        var refused = Problems(house, problems => problems is ["mapper 'm' refused the device: no free port"]);
        Put(house, "one", "mem", "7");
        await refused;
        mapper.OnCall = (_, _) => Task.CompletedTask;
        var taken = Problems(house, problems => problems.Length == 0);
        Put(house, "one", "mem", "8");
        await taken;
    }

    [Fact]
    public async Task A_mapper_that_floods_holds_up_no_other_for_long_and_none_of_its_samples_is_lost()
    {
        const int Channels = 13;
        const int Each = 100;
        await using var house = new DeviceHouse();
        Put(house, "one", "mem", "7", history: true);
        Put(house, "two", "opcua", "7");
        house.StartEdgeCore();
        await using var other = new ScriptedMapper(house, "other", "opcua");
        await other.StartAsync();
        var flood = Enumerable.Range(0, Channels).Select(i => new ScriptedMapper(house, $"flood-{i}", "mem")).ToList();
        try
        {
            await flood[0].StartAsync();

            // The disk stands still: more reports wait than the inbox holds, each for its answer.
            var gate = new TaskCompletionSource();
            house.Uplink.Gate = gate.Task;
            var reports = Enumerable.Range(0, Channels * Each).Select(i => flood[i % Channels].ReportAsync("one", "level", $"{i}", 1_700_000_000_000 + i)).ToList();
            var arrived = house.Uplink.NextAsync("a value of the other", entry => entry.Resource.Contains("/two/twin/", StringComparison.Ordinal));
            await Eventually.HoldsAsync("the inbox is full", () => house.Twins.WaitingCount == TwinService.InboxCapacity);
            var single = other.ReportAsync("two", "level", "8");
            gate.SetResult();
            await arrived;
            await single;
            await Task.WhenAll(reports);
            var samples = house.Uplink.Entries.Where(entry => entry.Key.StartsWith("history/", StringComparison.Ordinal)).SelectMany(entry => JsonNode.Parse(entry.Content.Span)!["history"]!["level"]!.AsArray());
            Assert.Equal(Enumerable.Range(0, Channels * Each), samples.Select(sample => int.Parse((string)sample!["value"]!, System.Globalization.CultureInfo.InvariantCulture)).Order());
        }
        finally
        {
            foreach (var one in flood)
                await one.DisposeAsync();
        }
    }

    private static Task Problems(DeviceHouse house, Func<string[], bool> want)
        => house.Uplink.NextAsync("problems", entry => entry.Resource.EndsWith("/twin/edge_updated", StringComparison.Ordinal)
            && want([.. (JsonNode.Parse(entry.Content.Span)!["problems"] as JsonArray ?? []).Select(problem => (string)problem!)]));

    private static void Put(DeviceHouse house, string name, string protocol, string desired, bool history = false)
    {
        house.Meta.Put("devicemodel", (JsonObject)JsonNode.Parse($$"""
            {"kind":"DeviceModel","metadata":{"name":"{{protocol}}","namespace":"default"},"spec":{"properties":[{"name":"level","type":"STRING","accessMode":"ReadWrite"}]} }
            """)!);
        house.Meta.Put("device", (JsonObject)JsonNode.Parse($$"""
            {"kind":"Device","metadata":{"name":"{{name}}","namespace":"default","uid":"u-{{name}}","annotations":{"devices.edge.io/history":"{{(history ? "level" : "")}}"} },
             "spec":{"deviceModelRef":{"name":"{{protocol}}"},"nodeName":"edge-1","protocol":{"protocolName":"{{protocol}}"},"properties":[{"name":"level","desired":{"value":"{{desired}}"} }]} }
            """)!);
    }
}
