using System.Net;
using System.Text.Json.Nodes;
using Edge.Devices.Tests.Modbus;
using Edge.Protocol.Dmi;
using Edge.Protocol.Modbus;

namespace Edge.Devices.Tests;

/// <summary>When a worker reads, writes and reports: its clock is the test's, the slave counts what it is asked.</summary>
[Trait("Category", "Devices")]
public sealed class WorkerTests
{
    [Fact]
    public async Task What_was_written_is_read_back_at_once_and_then_again_together_with_the_others()
    {
        var bank = new ModbusConnectionTests.CountingBank(10);
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        var time = new WorkerTime();
        await using var worker = Workers.Start(Device(server, "5"), Model(), ModbusConnectionTests.Driver(), new Reports(), time);
        await time.IdleAsync();
        time.Advance(TimeSpan.FromMilliseconds(350));
        bank.Reads.Clear();
        await worker.WriteAsync("a", "7", default);
        var idle = await time.IdleAsync();
        Assert.Equal(7, bank.Holding[0]);
        Assert.Equal(["registers 0+1"], bank.Reads);
        bank.Reads.Clear();
        await time.RunAsync(idle, TimeSpan.FromSeconds(5));
        Assert.Equal(Enumerable.Repeat("registers 0+2", 5), bank.Reads);
    }

    [Fact]
    public async Task A_changed_trace_or_timing_neither_opens_the_line_anew_nor_writes_again_what_was_written()
    {
        var bank = new ModbusConnectionTests.CountingBank(10);
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        var time = new WorkerTime();
        var driver = ModbusConnectionTests.Driver();
        await using var worker = Workers.Start(Device(server, "5"), Model(), driver, new Reports(), time);
        await time.IdleAsync();
        bank.Holding[0] = 6; // somebody at the device
        var traced = Device(server, "5");
        traced["spec"]!["protocol"]!["configData"]!["trace"] = true;
        traced["spec"]!["protocol"]!["configData"]!["timeout"] = 30_000;
        worker.Update(DmiConvert.ToDevice(traced, Model()), DmiConvert.ToModel(Model()));
        await time.IdleAsync();
        Assert.Equal(6, bank.Holding[0]);
        Assert.NotNull(Assert.Single(driver.Lines).Trace);
        Assert.Equal(1, driver.Lines[0].Counters.Opens);
        worker.Update(DmiConvert.ToDevice(Device(server, "5"), Model()), DmiConvert.ToModel(Model()));
        await time.IdleAsync();
        Assert.Null(driver.Lines[0].Trace);
        Assert.Equal(6, bank.Holding[0]);
    }

    [Fact]
    public async Task A_device_whose_line_others_use_in_another_way_is_served_once_they_do_not()
    {
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), new ModbusConnectionTests.CountingBank(10));
        var driver = ModbusConnectionTests.Driver();
        var other = driver.Create((JsonObject)JsonNode.Parse($$"""{"ip":"127.0.0.1","port":{{server.EndPoint.Port}},"communicateMode":"RTUOverTCP"}""")!);
        var (time, reports) = (new WorkerTime(), new Reports());
        await using var worker = Workers.Start(Device(server, "5"), Model(), driver, reports, time);
        var idle = await time.IdleAsync();
        var refused = await reports.TwinAsync("the reason", "one", "a", _ => true);
        Assert.Contains("give all of them the same settings", refused.Reported.Metadata["error"], StringComparison.Ordinal);
        await other.DisposeAsync();
        await time.RunAsync(idle, TimeSpan.FromSeconds(25));
        await reports.StateAsync("one", "online");
        await reports.TwinAsync("a value", "one", "a", twin => twin.Reported.Value == "5" && !twin.Reported.Metadata.ContainsKey("error"));
    }

    [Fact]
    public async Task Values_are_collected_at_the_collectCycle_and_reported_at_the_reportCycle()
    {
        var bank = new ModbusConnectionTests.CountingBank(10);
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        var (time, reports) = (new WorkerTime(), new Reports());
        await using var worker = Workers.Start(Device(server, "", collectCycle: 200, reportCycle: 1000), Model(), ModbusConnectionTests.Driver(), reports, time);
        var idle = await time.IdleAsync();
        bank.Reads.Clear();
        reports.Take();
        await time.RunAsync(idle, TimeSpan.FromSeconds(10));
        Assert.Equal(Enumerable.Repeat("registers 0+2", 50), bank.Reads);
        Assert.Equal(10, reports.Take().Count(one => one.Twin?.PropertyName == "b"));
    }

    [Fact]
    public async Task After_an_error_or_a_loss_a_value_within_the_deadband_is_reported_and_clears_it()
    {
        var bank = new ModbusConnectionTests.CountingBank(10);
        var isSilent = false;
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank, filter: (_, frame, _) => new(isSilent ? default : frame));
        var (time, reports) = (new WorkerTime(), new Reports());
        var device = Device(server, "", visitor: ",\"deadband\":5");
        device["spec"]!["protocol"]!["configData"]!["timeout"] = 50;
        device["spec"]!["protocol"]!["configData"]!["retries"] = 0;
        await using var worker = Workers.Start(device, Model(), ModbusConnectionTests.Driver(), reports, time);
        var idle = await time.IdleAsync();
        Assert.Equal("100", (await ReportAsync()).Value);

        bank.Holding[0] = 101;
        await time.RunAsync(idle, TimeSpan.FromSeconds(2));
        Assert.DoesNotContain(reports.Take(), one => one.Twin?.PropertyName == "a");

        bank.Fails = ModbusExceptionCode.SlaveDeviceBusy;
        idle = await time.RunAsync(idle, TimeSpan.FromSeconds(2));
        Assert.Contains("busy", (await ReportAsync()).Error, StringComparison.Ordinal);
        Assert.Equal(("101", ""), await ReportAsync());

        isSilent = true;
        idle = await time.RunAsync(idle, TimeSpan.FromSeconds(2));
        Assert.Contains("did not answer", (await ReportAsync()).Error, StringComparison.Ordinal);
        isSilent = false;
        await time.RunAsync(idle, TimeSpan.FromSeconds(20));
        Assert.Equal(("101", ""), await ReportAsync());

        async Task<(string Value, string Error)> ReportAsync()
        {
            var twin = await reports.TwinAsync("a", "one", "a", _ => true);
            return (twin.Reported.Value, twin.Reported.Metadata.GetValueOrDefault("error", ""));
        }
    }

    [Fact]
    public async Task A_write_that_was_not_done_is_the_propertys_error_beside_its_value_until_it_is()
    {
        var bank = new ModbusConnectionTests.CountingBank(10) { ForgetsWrites = true };
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        var (time, reports) = (new WorkerTime(), new Reports());
        await using var worker = Workers.Start(Device(server, "7", visitor: ",\"verify\":true"), Model(), ModbusConnectionTests.Driver(), reports, time);
        var idle = await time.IdleAsync();
        var refused = await reports.TwinAsync("the error", "one", "a", twin => twin.Reported.Metadata.ContainsKey("error"));
        Assert.Equal("100", refused.Reported.Value);
        Assert.Contains("the slave acknowledged it, but reads 100 afterwards", refused.Reported.Metadata["error"], StringComparison.Ordinal);
        Assert.Null(refused.ObservedDesired);
        bank.ForgetsWrites = false;
        await time.RunAsync(idle, TimeSpan.FromSeconds(12));
        var done = await reports.TwinAsync("the value", "one", "a", twin => twin.Reported.Value == "7" && !twin.Reported.Metadata.ContainsKey("error"));
        Assert.Equal("7", done.ObservedDesired.Value);
    }

    private static JsonObject Model() => (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"two","namespace":"default"},"spec":{"properties":[
         {"name":"a","type":"INT","accessMode":"ReadWrite"},{"name":"b","type":"INT","accessMode":"ReadWrite"}]}}
        """)!;

    private static JsonObject Device(ModbusTcpServer server, string desired, int collectCycle = 1000, int reportCycle = 1000, string visitor = "")
        => (JsonObject)JsonNode.Parse($$"""
            {"metadata":{"name":"one","namespace":"default"},"spec":{"deviceModelRef":{"name":"two"},"protocol":{"protocolName":"modbus","configData":{"ip":"127.0.0.1","port":{{server.EndPoint.Port}},"timeout":20000} },
             "properties":[
              {"name":"a","desired":{"value":"{{desired}}"},"collectCycle":{{collectCycle}},"reportCycle":{{reportCycle}},"reportToCloud":true,
               "visitors":{"protocolName":"modbus","configData":{"register":"HoldingRegister","offset":0,"limit":1{{visitor}} } } },
              {"name":"b","collectCycle":{{collectCycle}},"reportCycle":{{reportCycle}},"reportToCloud":true,
               "visitors":{"protocolName":"modbus","configData":{"register":"HoldingRegister","offset":1,"limit":1} } }] } }
            """)!;
}
