using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Devices;
using Edge.Devices.Modbus;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;
using Edge.Testing.Modbus;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Benchmarks.Modbus;

/// <summary>Polling of input registers. One slave as fast as it goes, in turns with libmodbus as the master; then 100 slaves at 100,000 values a second,
/// through the mapper's workers to values as text, without and with one of them dead. Those slaves are libmodbus, in another process. Then ten units behind one gateway of
/// ours, one of them dead.</summary>
internal static class ModbusBench
{
    private const int Registers = 125;
    private const int Slaves = 100;
    private const int CycleMs = 125;
    private const int Runs = 3;
    private const int Units = 10;
    private const int TimeoutMs = 1000;
    private const string Peer = "libmodbus 3.1 as master by P/Invoke, same slaves, values left as registers";

    public static async Task<int> RunAsync(TimeSpan each, CancellationToken cancellationToken)
    {
        if (!LibModbus.Exists)
            throw new BenchException("libmodbus.so.5 cannot be loaded (Debian: libmodbus5)");
        var report = new Report("modbus");
        using (var slave = await ModbusSlaves.StartAsync(1, cancellationToken))
            await OneAsync(report, slave.Ports[0], each, cancellationToken);
        using (var slaves = await ModbusSlaves.StartAsync(Slaves, cancellationToken))
            await ManyAsync(report, slaves.Ports, each, cancellationToken);
        await GatewayAsync(report, 2 * each, cancellationToken);
        report.Write();
        return 0;
    }

    private static async Task OneAsync(Report report, int port, TimeSpan each, CancellationToken cancellationToken)
    {
        var (ours, peers, polled) = (new List<Sample>(), new List<Sample>(), new List<Sample>());

        // Ours, the mapper's and libmodbus in turns; the first turn of each warms up and does not count.
        for (var run = -1; run < Runs; run++)
        {
            var time = run < 0 ? TimeSpan.FromSeconds(2) : each;
            var our = await RoundTripsAsync(port, time, cancellationToken);
            var driver = await DriverAsync(port, time, cancellationToken);
            var peer = LibModbusRoundTrips(port, time);
            if (run < 0)
                continue;
            ours.Add(our);
            polled.Add(driver);
            peers.Add(peer);
            Console.Error.WriteLine($"run {run + 1}: ours {our.PerSecond:0}, as properties {driver.PerSecond:0}, libmodbus {peer.PerSecond:0} round trips/s");
        }

        double Of(List<Sample> samples, Func<Sample, double> figure) => Machine.Median(samples.Select(figure));
        report.AtLeast(
            "round trips of 125 registers on one connection", "1/s", Of(ours, one => one.PerSecond), 0.9 * Of(peers, one => one.PerSecond), Of(peers, one => one.PerSecond), Peer);
        report.AtLeast("values polled from one slave, as text of 125 properties", "values/s", Registers * Of(polled, one => one.PerSecond), null, Registers * Of(peers, one => one.PerSecond), Peer);
        report.AtMost("processor time per 10,000 values, registers", "ms", Of(ours, one => one.CpuMsPer10K), null, Of(peers, one => one.CpuMsPer10K), Peer);
        report.AtMost("processor time per 10,000 values, text", "ms", Of(polled, one => one.CpuMsPer10K), null, Of(peers, one => one.CpuMsPer10K), Peer);
    }

    private static async Task ManyAsync(Report report, IReadOnlyList<int> ports, TimeSpan each, CancellationToken cancellationToken)
    {
        var ours = await PollAsync(ports, dead: false, 2 * each, cancellationToken);
        var peer = await LibModbusPollAsync(ports, 2 * each);
        var withDead = await PollAsync(ports, dead: true, 2 * each, cancellationToken);
        const double Wanted = Slaves * Registers * 1000.0 / CycleMs;
        report.AtLeast($"values a second from {Slaves} slaves, asked for {Wanted:0}", "values/s", ours.ValuesPerSecond, 0.98 * Wanted, peer.ValuesPerSecond, Peer);
        report.AtMost("cores for that", "cores", ours.Cores, 0.5, peer.Cores, Peer);
        report.AtMost("processor time per 10,000 values/s", "cores", ours.Cores * 10_000 / ours.ValuesPerSecond, null, peer.Cores * 10_000 / peer.ValuesPerSecond, Peer);
        report.Plain("cycles of the slowest slave, all alive, of those asked for", "%", ours.SlowestShare * 100);
        report.AtLeast("cycles of the slowest living slave with one dead, by without", "times", withDead.SlowestShare / ours.SlowestShare, 0.98);
    }

    // On a shared connection the dead unit's neighbours wait out its time-out: how long is the longest time that one of them was not read?
    private static async Task GatewayAsync(Report report, TimeSpan each, CancellationToken cancellationToken)
    {
        var lastMs = new double[Units + 1];
        var longestMs = new double[Units + 1];
        var clock = Stopwatch.StartNew();
        await using var gateway = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), new MemoryRegisterBank(1, 1, 1, Registers), filter: (unit, frame, _) =>
        {
            var now = clock.Elapsed.TotalMilliseconds;
            if (lastMs[unit] > 0)
                longestMs[unit] = Math.Max(longestMs[unit], now - lastMs[unit]);
            lastMs[unit] = now;
            return new ValueTask<ReadOnlyMemory<byte>>(unit == Units ? default : frame);
        });
        var driver = new ModbusDriver(TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        var workers = Enumerable.Range(1, Units).Select(unit => new DeviceWorker(
            DmiConvert.ToDevice(Device(unit, gateway.EndPoint.Port, unit), null), Model(), driver, new NoReporter(), TimeProvider.System, new Random(unit), NullLogger.Instance)).ToList();
        await Task.Delay(each, cancellationToken);
        foreach (var worker in workers)
            await worker.DisposeAsync();
        if (lastMs[1..Units].Min() <= 0 || lastMs[Units] <= 0)
            throw new BenchException("a unit behind the gateway was never asked");

        // Its cycle, the time-out, and what the others' reads and a busy machine take.
        report.AtMost($"longest time between two reads of a living unit, {Units} behind one gateway, one dead (time-out {TimeoutMs} ms, cycle {CycleMs} ms)", "ms", longestMs[1..Units].Max(), TimeoutMs + (2 * CycleMs));
    }

    private static async Task<Sample> RoundTripsAsync(int port, TimeSpan each, CancellationToken cancellationToken)
    {
        using var master = new ModbusMaster(ModbusLineSettings.Tcp("127.0.0.1", port), TimeProvider.System, new Random(1));
        var unit = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromSeconds(5)));
        return await MeasureAsync(each, async () =>
        {
            if ((await unit.ReadRegistersAsync(true, 0, Registers, cancellationToken))[1] != 7)
                throw new BenchException("a wrong value was read");
        });
    }

    private static async Task<Sample> DriverAsync(int port, TimeSpan each, CancellationToken cancellationToken)
    {
        var driver = new ModbusDriver(TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        await using var device = driver.Create((JsonObject)JsonNode.Parse($$"""{"ip":"127.0.0.1","port":{{port}}}""")!);
        var properties = Enumerable.Range(0, Registers).Select(i => device.Bind(new PropertyInfo(
            $"p{i}", "int", false, "", "", "modbus", (JsonObject)JsonNode.Parse($$"""{"register":"InputRegister","offset":{{i}},"scale":0.1}""")!))).ToArray();
        var readings = new PropertyReading[Registers];
        return await MeasureAsync(each, async () =>
        {
            await device.ReadAsync(properties, readings, cancellationToken);
            if (readings[1].Value != "0.7")
                throw new BenchException("a wrong value was read");
        });
    }

    private static Sample LibModbusRoundTrips(int port, TimeSpan each)
    {
        using var master = LibModbusMaster.Tcp(port, 1);
        var values = new ushort[Registers];
        var cpu = Cpu();
        var clock = Stopwatch.StartNew();
        var count = 0L;
        while (clock.Elapsed < each)
        {
            master.Read(true, 0, values);
            if (values[1] != 7)
                throw new BenchException("libmodbus read a wrong value");
            count++;
        }

        return new Sample(count, clock.Elapsed, Cpu() - cpu);
    }

    private static async Task<Sample> MeasureAsync(TimeSpan each, Func<Task> once)
    {
        var cpu = Cpu();
        var clock = Stopwatch.StartNew();
        var count = 0L;
        while (clock.Elapsed < each)
        {
            await once();
            count++;
        }

        return new Sample(count, clock.Elapsed, Cpu() - cpu);
    }

    // The mapper's own workers, with a reporter that takes everything; values are polled and made into text, not sent anywhere.
    private static async Task<Polled> PollAsync(IReadOnlyList<int> ports, bool dead, TimeSpan each, CancellationToken cancellationToken)
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var all = dead ? [.. ports.Skip(1), ((IPEndPoint)silent.LocalEndpoint).Port] : ports;
        var driver = new ModbusDriver(TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        var workers = all.Select((port, i) => new DeviceWorker(
            DmiConvert.ToDevice(Device(i, port), null), Model(), driver, new NoReporter(), TimeProvider.System, new Random(i), NullLogger.Instance)).ToList();
        try
        {
            await Task.Delay(TimeSpan.FromSeconds(3), cancellationToken);
            var before = driver.Lines.ToDictionary(line => line.Settings.Port, line => line.Counters.Answers);
            var cpu = Cpu();
            var clock = Stopwatch.StartNew();
            await Task.Delay(each, cancellationToken);
            var seconds = clock.Elapsed.TotalSeconds;
            var cores = (Cpu() - cpu).TotalSeconds / seconds;
            var answers = driver.Lines.Where(line => ports.Contains(line.Settings.Port)).Select(line => line.Counters.Answers - before[line.Settings.Port]).ToList();
            return new Polled(answers.Sum() * Registers / seconds, cores, answers.Min() / (seconds * 1000 / CycleMs));
        }
        finally
        {
            foreach (var worker in workers)
                await worker.DisposeAsync();
        }
    }

    private static async Task<Polled> LibModbusPollAsync(IReadOnlyList<int> ports, TimeSpan each)
    {
        var masters = ports.Select(port => LibModbusMaster.Tcp(port, 1)).ToList();
        var values = new ushort[Registers];
        var cpu = Cpu();
        var clock = Stopwatch.StartNew();
        var cycles = 0L;
        using var cycle = new PeriodicTimer(TimeSpan.FromMilliseconds(CycleMs));
        while (clock.Elapsed < each)
        {
            foreach (var master in masters)
                master.Read(true, 0, values);
            cycles++;
            await cycle.WaitForNextTickAsync();
        }

        var seconds = clock.Elapsed.TotalSeconds;
        var cores = (Cpu() - cpu).TotalSeconds / seconds;
        foreach (var master in masters)
            master.Dispose();
        return new Polled(cycles * Registers * ports.Count / seconds, cores, 1);
    }

    private static JsonObject Device(int number, int port, int unit = 1)
    {
        var properties = new JsonArray();
        for (var i = 0; i < Registers; i++)
        {
            properties.Add(JsonNode.Parse($$"""
                {"name":"p{{i}}","collectCycle":{{CycleMs}},"reportCycle":{{CycleMs}},
                 "visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":{{i}},"scale":0.1} } }
                """));
        }

        return new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = string.Create(CultureInfo.InvariantCulture, $"device-{number}"), ["namespace"] = "default" },
            ["spec"] = new JsonObject
            {
                ["protocol"] = new JsonObject { ["protocolName"] = "modbus", ["configData"] = new JsonObject { ["ip"] = "127.0.0.1", ["port"] = port, ["slaveID"] = unit, ["timeout"] = TimeoutMs } },
                ["properties"] = properties,
            },
        };
    }

    private static DeviceModel Model()
    {
        var model = new DeviceModel { Name = "model", Namespace = "default", Spec = new DeviceModelSpec() };
        for (var i = 0; i < Registers; i++)
            model.Spec.Properties.Add(new ModelProperty { Name = $"p{i}", Type = "INT", AccessMode = "ReadOnly" });
        return model;
    }

    private static TimeSpan Cpu()
    {
        using var self = Process.GetCurrentProcess();
        return self.TotalProcessorTime;
    }

    private sealed record Sample(long RoundTrips, TimeSpan Elapsed, TimeSpan Processor)
    {
        public double PerSecond => RoundTrips / Elapsed.TotalSeconds;

        public double CpuMsPer10K => Processor.TotalMilliseconds * 10_000 / (RoundTrips * Registers);
    }

    private sealed record Polled(double ValuesPerSecond, double Cores, double SlowestShare);

    private sealed class NoReporter : IDeviceReporter
    {
        public Task<bool> ReportStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken) => Task.FromResult(true);

        public Task<bool> ReportStateAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken) => Task.FromResult(true);
    }
}
