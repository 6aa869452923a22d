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
