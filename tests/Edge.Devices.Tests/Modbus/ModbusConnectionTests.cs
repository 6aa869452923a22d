using System.Net;
using System.Text.Json.Nodes;
using Edge.Devices.Modbus;
using Edge.Protocol.Modbus;
using Edge.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests.Modbus;

/// <summary>The driver against our slave: joined reads, what a slave refuses of them, bits, verification, shared lines.</summary>
[Trait("Category", "Devices")]
public sealed class ModbusConnectionTests
{
    [Fact]
    public async Task What_is_due_together_is_read_in_the_fewest_requests()
    {
        var bank = new CountingBank(50);
        await using var server = Start(bank);
        await using var device = Create(Driver(), server, "\"gap\":2");
        var readings = await ReadAsync(
            device, Holding("a", 0), Holding("b", 1, "\"dataType\":\"uint32\""), Holding("c", 5), Holding("d", 10), Property("e", "\"register\":\"CoilRegister\",\"offset\":3", "boolean"));
        Assert.Equal(["100", $"{(101 << 16) + 102}", "105", "110", "true"], readings.Select(reading => reading.Value));
        Assert.Equal(["bits 3+1", "registers 0+6", "registers 10+1"], bank.Reads.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_property_that_the_slave_refuses_is_read_alone_from_then_on_and_the_others_together()
    {
        var bank = new CountingBank(50) { Refused = 3 };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server);
        PropertyInfo[] properties = [Holding("a", 1), Holding("b", 2), Holding("c", 3), Holding("d", 4)];
        var bound = properties.Select(device.Bind).ToArray();
        for (var round = 0; round < 2; round++)
        {
            bank.Reads.Clear();
            var readings = new PropertyReading[4];
            await device.ReadAsync(bound, readings, default);
            Assert.Equal(["101", "102", null, "104"], readings.Select(reading => reading.Value));
            Assert.Contains("it has no such address", readings[2].Error, StringComparison.Ordinal);
        }

        Assert.Equal(["registers 3+1", "registers 1+2", "registers 4+1"], bank.Reads);
    }

    [Fact]
    public async Task A_gap_that_the_slave_refuses_is_read_over_no_longer()
    {
        var bank = new CountingBank(50) { Refused = 3 };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server, "\"gap\":5");
        IPropertyAccess[] bound = [device.Bind(Holding("a", 1)), device.Bind(Holding("b", 2)), device.Bind(Holding("c", 4))];
        for (var round = 0; round < 2; round++)
        {
            bank.Reads.Clear();
            var readings = new PropertyReading[3];
            await device.ReadAsync(bound, readings, default);
            Assert.Equal(["101", "102", "104"], readings.Select(reading => reading.Value));
        }

        Assert.Equal(["registers 1+2", "registers 4+1"], bank.Reads);
    }

    [Theory]
    [InlineData(ModbusExceptionCode.SlaveDeviceFailure)]
    [InlineData(ModbusExceptionCode.SlaveDeviceBusy)]
    [InlineData(ModbusExceptionCode.Acknowledge)]
    [InlineData(ModbusExceptionCode.MemoryParityError)]
    public async Task A_failure_of_the_moment_does_not_end_the_joining(ModbusExceptionCode code)
    {
        var bank = new CountingBank(50) { Fails = code };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server, "\"gap\":5");
        IPropertyAccess[] bound = [device.Bind(Holding("a", 1)), device.Bind(Holding("b", 2)), device.Bind(Holding("c", 4))];
        var readings = new PropertyReading[3];
        await device.ReadAsync(bound, readings, default);
        if (code is ModbusExceptionCode.SlaveDeviceBusy or ModbusExceptionCode.Acknowledge)
            Assert.All(readings, reading => Assert.Contains($"(exception {(int)code})", reading.Error, StringComparison.Ordinal));
        else
            Assert.Equal(["101", "102", "104"], readings.Select(reading => reading.Value)); // read apart, this once
        bank.Reads.Clear();
        await device.ReadAsync(bound, readings, default);
        Assert.Equal(["registers 1+4"], bank.Reads);
    }

    [Fact]
    public async Task What_a_slave_refused_to_join_is_tried_again_after_ten_minutes()
    {
        var bank = new CountingBank(50) { Refused = 3 };
        await using var server = Start(bank);
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddDays(1));
        await using var device = Create(new ModbusDriver(time, new Random(5), NullLoggerFactory.Instance), server, "\"gap\":5");
        IPropertyAccess[] bound = [device.Bind(Holding("a", 1)), device.Bind(Holding("b", 2)), device.Bind(Holding("c", 4))];
        var readings = new PropertyReading[3];
        await device.ReadAsync(bound, readings, default);
        bank.Refused = -1;
        time.Advance(TimeSpan.FromMinutes(9.9));
        bank.Reads.Clear();
        await device.ReadAsync(bound, readings, default);
        time.Advance(TimeSpan.FromMinutes(0.2));
        await device.ReadAsync(bound, readings, default);
        Assert.Equal(["registers 1+2", "registers 4+1", "registers 1+4"], bank.Reads);
    }

    [Fact]
    public async Task A_slave_that_was_silent_once_about_function_22_is_asked_with_it_again_later()
    {
        var bank = new CountingBank(50);
        var silent = true;
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank, filter: (unit, frame, _) => new(silent && frame.Span[7] == 22 ? default : frame));
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddDays(1));
        await using var device = Create(new ModbusDriver(time, new Random(5), NullLoggerFactory.Instance), server, "\"retries\":0");
        var bit = device.Bind(Property("a", "\"register\":\"HoldingRegister\",\"offset\":0,\"dataType\":\"bool\",\"bit\":4", "boolean", writable: true));
        await device.ConnectAsync(default);
        var write = bit.WriteAsync("true", default);
        await Eventually.HoldsAsync("silence", () =>
        {
            time.Advance(TimeSpan.FromSeconds(1));
            return write.IsCompleted;
        });
        await Assert.ThrowsAsync<DeviceUnreachableException>(() => write);
        silent = false;
        bank.Reads.Clear();
        await bit.WriteAsync("true", default);
        Assert.Equal(["registers 0+1"], bank.Reads); // read, and written without it
        time.Advance(TimeSpan.FromMinutes(10));
        await bit.WriteAsync("false", default);
        Assert.Single(bank.Reads);
        Assert.Equal(100 & ~16, bank.Holding[0]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_bit_of_a_register_is_written_and_the_others_stay(bool hasMaskWrite)
    {
        var bank = new CountingBank(50) { HasMaskWrite = hasMaskWrite };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server);
        var bit = device.Bind(Property("a", "\"register\":\"HoldingRegister\",\"offset\":0,\"dataType\":\"bool\",\"bit\":4", "boolean", writable: true));
        await bit.WriteAsync("true", default);
        Assert.Equal(100 | 16, bank.Holding[0]);
        Assert.Equal("true", await bit.ReadAsync(default));
        await bit.WriteAsync("false", default);
        Assert.Equal(100 & ~16, bank.Holding[0]);
    }

    [Fact]
    public async Task A_write_that_the_slave_acknowledges_and_does_not_do_is_found_when_it_is_verified()
    {
        var bank = new CountingBank(50) { ForgetsWrites = true };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server, "\"verify\":true");
        var careless = device.Bind(Holding("a", 0, "\"verify\":false"));
        await careless.WriteAsync("7", default);
        var careful = device.Bind(Holding("a", 0));
        var refused = await Assert.ThrowsAsync<DeviceRefusedException>(() => careful.WriteAsync("7", default));
        Assert.Contains("reads 100 afterwards", refused.Message, StringComparison.Ordinal);
        bank.ForgetsWrites = false;
        await careful.WriteAsync("7", default);
        Assert.Equal(7, bank.Holding[0]);
    }

    [Fact]
    public async Task The_slaves_identification_is_read_once_after_each_connect_and_an_object_that_it_lacks_is_named()
    {
        var bank = new CountingBank(10) { Identity = [new(0, "Edge"), new(1, "T\n1"), new(2, "1.0"), new(4, "Meter"), new(0x80, "own")] };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server);
        await device.ConnectAsync(default);
        PropertyInfo[] properties = [.. new[] { 0, 1, 4, 5, 0x80 }.Select(id => Property($"o{id}", $"\"register\":\"DeviceIdentification\",\"object\":{id}", "string")), Holding("a", 0)];
        for (var round = 0; round < 2; round++)
        {
            var readings = await ReadAsync(device, properties);
            Assert.Equal(["Edge", "T?1", "Meter", null, "own", "100"], readings.Select(reading => reading.Value));
            Assert.Contains("has no object 5, but 0, 1, 2, 4", readings[3].Error, StringComparison.Ordinal);
        }

        Assert.Equal(3, bank.Identifications); // basic, regular, extended
        await device.ConnectAsync(default);
        await ReadAsync(device, properties);
        Assert.Equal(6, bank.Identifications);
        bank.Identity = [];
        await device.ConnectAsync(default);
        Assert.Contains("it does not have this function", (await ReadAsync(device, properties))[0].Error, StringComparison.Ordinal);
        Assert.Throws<DeviceConfigException>(() => device.Bind(Property("x", "\"register\":\"DeviceIdentification\",\"object\":0", "int")));
        Assert.Throws<DeviceConfigException>(() => device.Bind(Property("x", "\"register\":\"DeviceIdentification\"", "string")));
    }

    [Theory]
    [InlineData(false, 5, 6)]
    [InlineData(true, 15, 16)]
    public async Task Single_values_are_written_by_the_function_that_the_slave_has(bool writeMultiple, int coil, int register)
    {
        var functions = new List<int>();
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), new CountingBank(10), filter: (unit, frame, _) =>
        {
            functions.Add(frame.Span[7]);
            return new(frame);
        });
        await using var device = Create(Driver(), server, $"\"writeMultiple\":{(writeMultiple ? "true" : "false")}");
        await device.Bind(Property("c", "\"register\":\"CoilRegister\",\"offset\":0", "boolean", writable: true)).WriteAsync("true", default);
        await device.Bind(Holding("r", 0)).WriteAsync("5", default);
        await device.Bind(Holding("d", 0, "\"dataType\":\"uint32\"")).WriteAsync("5", default);
        Assert.Equal([coil, register, 16], functions);
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, false)]
    [InlineData(4, false)]
    [InlineData(5, false)]
    [InlineData(6, false)]
    [InlineData(8, false)]
    [InlineData(10, true)]
    [InlineData(11, true)]
    public async Task An_exception_is_the_propertys_error_but_a_gateways_means_that_the_device_is_away(byte code, bool isAway)
    {
        var bank = new CountingBank(10) { Fails = (ModbusExceptionCode)code };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server);
        if (isAway)
            Assert.Contains($"(exception {code})", (await Assert.ThrowsAsync<DeviceUnreachableException>(() => ReadAsync(device, Holding("a", 0)))).Message, StringComparison.Ordinal);
        else
            Assert.Contains($"(exception {code})", (await ReadAsync(device, Holding("a", 0)))[0].Error, StringComparison.Ordinal);
        Assert.Equal("100", (await ReadAsync(device, Holding("a", 0)))[0].Value);
    }

    [Theory]
    [InlineData("\"register\":\"CoilRegister\",\"offset\":0", "boolean", "false", "reads true afterwards")]
    [InlineData("\"register\":\"HoldingRegister\",\"offset\":0,\"dataType\":\"bool\",\"bit\":0", "boolean", "true", "reads false afterwards")]
    [InlineData("\"register\":\"HoldingRegister\",\"offset\":0,\"dataType\":\"uint32\"", "int", "7", "reads 6553701 afterwards")]
    [InlineData("\"register\":\"HoldingRegister\",\"offset\":0,\"dataType\":\"float\",\"scale\":0.1", "float", "7", "afterwards")]
    public async Task Every_kind_of_value_is_verified(string visitor, string type, string value, string reason)
    {
        var bank = new CountingBank(10) { ForgetsWrites = true };
        await using var server = Start(bank);
        await using var device = Create(Driver(), server, "\"verify\":true");
        var property = device.Bind(Property("a", visitor, type, writable: true));
        Assert.Contains(reason, (await Assert.ThrowsAsync<DeviceRefusedException>(() => property.WriteAsync(value, default))).Message, StringComparison.Ordinal);
        bank.ForgetsWrites = false;
        if (type != "boolean" || value == "true")
            await property.WriteAsync(value, default);
    }

    [Fact]
    public async Task Devices_behind_one_address_share_its_connection_and_must_agree_on_it()
    {
        var driver = Driver();
        await using var server = Start(new CountingBank(10));
        await using var one = Create(driver, server, "\"slaveID\":1");
        await using (var two = Create(driver, server, "\"slaveID\":2"))
        {
            Assert.Equal("100", (await ReadAsync(one, Holding("a", 0)))[0].Value);
            Assert.Equal("100", (await ReadAsync(two, Holding("a", 0)))[0].Value);
            var line = Assert.Single(driver.Lines);
            Assert.Equal(1, line.Counters.Opens);
            var refused = Assert.Throws<DeviceConfigException>(() => Create(driver, server, "\"communicateMode\":\"RTUOverTCP\""));
            Assert.Contains("give all of them the same settings", refused.Message, StringComparison.Ordinal);
        }

        Assert.Single(driver.Lines);
    }

    [Fact]
    public async Task A_trace_that_is_asked_for_logs_every_frame_and_ends_with_the_device_that_asked()
    {
        var log = new Lines();
        using var loggers = LoggerFactory.Create(builder => builder.AddProvider(log));
        var driver = new ModbusDriver(TimeProvider.System, new Random(5), loggers);
        await using var server = Start(new CountingBank(10));
        await using var quiet = Create(driver, server);
        await using (var traced = Create(driver, server, "\"trace\":true"))
            await ReadAsync(traced, Holding("a", 0));
        await ReadAsync(quiet, Holding("a", 1));
        Assert.Collection(
            log.Texts,
            text => Assert.EndsWith("> 000100000006010300000001", text, StringComparison.Ordinal),
            text => Assert.EndsWith("< 0001000000050103020064", text, StringComparison.Ordinal));
        Assert.All(log.Texts, text => Assert.StartsWith($"127.0.0.1:{server.EndPoint.Port} ", text, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("{}", "ip is missing")]
    [InlineData("""{"communicateMode":"UDP"}""", "must be TCP, RTU or RTUOverTCP")]
    [InlineData("""{"communicateMode":"RTU","serialPort":"ttyS0"}""", "must be the path")]
    [InlineData("""{"communicateMode":"RTU","serialPort":"/dev/ttyS0","baudRate":12345}""", "must be one of 300, 600")]
    [InlineData("""{"communicateMode":"RTU","serialPort":"/dev/ttyS0","dataBits":7}""", "dataBits is 7, must be 8")]
    [InlineData("""{"communicateMode":"RTU","serialPort":"/dev/ttyS0","parity":"mark"}""", "even, odd or none")]
    [InlineData("""{"communicateMode":"RTU","serialPort":"/dev/ttyS0","slaveID":255}""", "from 1 to 247")]
    [InlineData("""{"ip":"10.0.0.1","retries":99}""", "from 0 to 10")]
    [InlineData("""{"ip":"10.0.0.1","gap":-1}""", "from 0 to 2000")]
    [InlineData("""{"ip":"10.0.0.1","verify":"perhaps"}""", "must be true or false")]
    public void An_impossible_endpoint_says_which_key_and_what_it_must_be(string config, string reason)
        => Assert.Contains(reason, Assert.Throws<DeviceConfigException>(() => Driver().Create((JsonObject)JsonNode.Parse(config)!)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("\"dataType\":\"string\"", "takes as many registers as it says")]
    [InlineData("\"dataType\":\"bcd\",\"limit\":3", "1, 2 or 4 registers")]
    [InlineData("\"dataType\":\"float\",\"wordOrder\":\"AABB\"", "each of ABCD once")]
    [InlineData("\"dataType\":\"int16\",\"valueOffset\":\"x\"", "must be a number")]
    [InlineData("\"dataType\":\"int16\",\"scale\":0", "another number")]
    public async Task An_impossible_visitor_says_which_key_and_what_it_must_be(string visitor, string reason)
    {
        await using var device = Driver().Create((JsonObject)JsonNode.Parse("""{"ip":"127.0.0.1"}""")!);
        Assert.Contains(reason, Assert.Throws<DeviceConfigException>(() => device.Bind(Holding("a", 0, visitor))).Message, StringComparison.Ordinal);
    }

    internal static ModbusDriver Driver() => new(TimeProvider.System, new Random(5), NullLoggerFactory.Instance);

    internal static PropertyInfo Property(string name, string visitor, string type = "int", bool writable = false)
        => new(name, type, writable, "", "", "modbus", (JsonObject)JsonNode.Parse($"{{{visitor}}}")!);

    private static PropertyInfo Holding(string name, int address, string more = "")
        => Property(name, $"\"register\":\"HoldingRegister\",\"offset\":{address}{(more.Length == 0 ? "" : ",")}{more}", writable: true);

    private static ModbusTcpServer Start(IRegisterBank bank) => ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);

    private static IDeviceConnection Create(ModbusDriver driver, ModbusTcpServer server, string more = "\"slaveID\":1")
        => driver.Create((JsonObject)JsonNode.Parse($"{{\"ip\":\"127.0.0.1\",\"port\":{server.EndPoint.Port},\"timeout\":20000,{more}}}")!);

    private static async Task<PropertyReading[]> ReadAsync(IDeviceConnection device, params PropertyInfo[] properties)
    {
        var readings = new PropertyReading[properties.Length];
        await device.ReadAsync([.. properties.Select(device.Bind)], readings, default);
        return readings;
    }

    /// <summary>Holding registers that hold 100 and their address; coils that are on.</summary>
    internal sealed class CountingBank : IRegisterBank
    {
        public CountingBank(int size)
        {
            Holding = [.. Enumerable.Range(0, size).Select(i => (ushort)(100 + i))];
        }

        public ushort[] Holding { get; }

        public List<string> Reads { get; } = [];

        public int Refused { get; set; } = -1;

        /// <summary>The next read fails so.</summary>
        public ModbusExceptionCode Fails { get; set; }

        public IReadOnlyList<ModbusIdentity> Identity { get; set; } = [];

        public int Identifications { get; private set; }

        public bool HasMaskWrite { get; init; } = true;

        public bool ForgetsWrites { get; set; }

        public ModbusExceptionCode ReadBits(byte unit, bool inputs, ushort address, Span<bool> bits)
        {
            Reads.Add($"bits {address}+{bits.Length}");
            bits.Fill(true);
            return ModbusExceptionCode.None;
        }

        public ModbusExceptionCode ReadRegisters(byte unit, bool inputs, ushort address, Span<ushort> registers)
        {
            Reads.Add($"registers {address}+{registers.Length}");
            if (Fails is not ModbusExceptionCode.None and var fails)
            {
                Fails = ModbusExceptionCode.None;
                return fails;
            }

            if (address + registers.Length > Holding.Length || (Refused >= address && Refused < address + registers.Length))
                return ModbusExceptionCode.IllegalDataAddress;
            Holding.AsSpan(address, registers.Length).CopyTo(registers);
            return ModbusExceptionCode.None;
        }

        public IReadOnlyList<ModbusIdentity> Identification(byte unit)
        {
            Identifications++;
            return Identity;
        }

        public ModbusExceptionCode WriteCoils(byte unit, ushort address, ReadOnlySpan<bool> bits) => ModbusExceptionCode.None;

        public ModbusExceptionCode WriteRegisters(byte unit, ushort address, ReadOnlySpan<ushort> registers)
        {
            if (!ForgetsWrites)
                registers.CopyTo(Holding.AsSpan(address));
            return ModbusExceptionCode.None;
        }

        public ModbusExceptionCode MaskWriteRegister(byte unit, ushort address, ushort and, ushort or)
        {
            if (!HasMaskWrite)
                return ModbusExceptionCode.IllegalFunction;
            if (!ForgetsWrites)
                Holding[address] = (ushort)((Holding[address] & and) | (or & ~and));
            return ModbusExceptionCode.None;
        }
    }

    private sealed class Lines : ILoggerProvider, ILogger
    {
        public List<string> Texts { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            => Texts.Add(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
