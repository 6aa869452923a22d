using System.Diagnostics;
using System.Net;
using Edge.Local.Processes;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;
using Edge.Testing;
using Edge.Testing.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

/// <summary>mbpoll and libmodbus on either end, over TCP and RTU on a pty.</summary>
[Trait("Category", "Devices")]
public sealed class ModbusInteropTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [SkippableTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Mbpoll_reads_and_writes_our_slave(bool serial)
    {
        Requires.Mbpoll();
        var bank = Bank();
        using var pty = serial ? new PtyPair() : null;
        await using var server = Serve(bank, pty, out var port);
        var how = serial ? "-m rtu -b 115200 -P none" : $"-m tcp -p {port}";
        var where = serial ? pty!.PathA : "127.0.0.1";
        var holding = await MbpollAsync($"{how} -a 1 -t 4 -r 1 -c 2 -1 {where}");
        Assert.Contains("[1]: \t215", holding, StringComparison.Ordinal);
        Assert.Contains("[2]: \t42", holding, StringComparison.Ordinal);
        Assert.Contains("[1]: \t198", await MbpollAsync($"{how} -a 1 -t 3 -r 1 -1 {where}"), StringComparison.Ordinal);
        Assert.Contains("[2]: \t1", await MbpollAsync($"{how} -a 1 -t 0 -r 1 -c 3 -1 {where}"), StringComparison.Ordinal);
        Assert.Contains("[1]: \t1", await MbpollAsync($"{how} -a 1 -t 1 -r 1 -1 {where}"), StringComparison.Ordinal);
        await MbpollAsync($"{how} -a 1 -t 4 -r 1 {where} 235");
        await MbpollAsync($"{how} -a 1 -t 4 -r 3 {where} 7 8");
        await MbpollAsync($"{how} -a 1 -t 0 -r 1 {where} 1");
        bank.Access((coils, inputs, registers, input) =>
        {
            Assert.Equal<ushort>([235, 42, 7, 8], registers[..4]);
            Assert.True(coils[0]);
        });
    }

    [SkippableTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Libmodbus_as_master_uses_every_function_of_our_slave(bool serial)
    {
        Requires.LibModbus();
        var bank = Bank();
        using var pty = serial ? new PtyPair() : null;
        await using var server = Serve(bank, pty, out var port);
        await Task.Run(() =>
        {
            using var master = serial ? LibModbusMaster.Rtu(pty!.PathA, 1) : LibModbusMaster.Tcp(port, 1);
            Assert.Equal(new ushort[] { 215, 42 }, master.ReadRegisters(false, 0, 2));
            Assert.Equal(new ushort[] { 198 }, master.ReadRegisters(true, 0, 1));
            Assert.Equal(new[] { false, true, false }, master.ReadBits(false, 0, 3));
            Assert.Equal(new[] { true, false }, master.ReadBits(true, 0, 2));
            master.WriteBit(5, true);
            master.WriteRegister(5, 12345);
            master.WriteBits(6, [true, false, true, true, false, true, false, false, true]);
            master.WriteRegisters(6, [1, 2, 3]);
            master.MaskWrite(5, 0xFF00, 0x00FF);
            Assert.Equal(new ushort[] { 0x30FF, 1, 9 }, master.ReadWrite(5, 3, 7, [9]));
            Assert.Equal(125, master.ReadRegisters(false, 0, 125).Length);
            var refused = Assert.Throws<IOException>(() => master.ReadRegisters(false, 199, 2));
            Assert.Contains("Illegal data address", refused.Message, StringComparison.Ordinal);
        });
        bank.Access((coils, inputs, registers, input) =>
        {
            Assert.Equal(new[] { true, true, false, true, true, false, true, false, false, true }, coils[5..15]);
            Assert.Equal<ushort>([0x30FF, 1, 9, 3], registers[5..9]);
        });
    }

    [SkippableTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Our_master_uses_every_function_of_libmodbus_as_slave(bool serial)
    {
        Requires.LibModbus();
        using var pty = serial ? new PtyPair() : null;
        using var slave = serial ? LibModbusSlave.Rtu(pty!.PathB, 1) : LibModbusSlave.Tcp(1);
        slave.SetInputRegister(3, 4711);
        slave.SetInputBit(1, true);
        using var master = new ModbusMaster(
            serial ? ModbusLineSettings.Serial(ModbusSerialTests.Line(pty!.PathA)) : ModbusLineSettings.Tcp("127.0.0.1", slave.Port), TimeProvider.System, new Random(1));
        var unit = new ModbusUnit(master, 1, new ModbusTiming(s_timeout));
        await unit.WriteCoilsAsync(3, [true], default);
        await unit.WriteCoilsAsync(4, [true, false, true], default);
        Assert.Equal(new[] { true, true, false, true }, await unit.ReadBitsAsync(false, 3, 4, default));
        Assert.Equal(new[] { false, true }, await unit.ReadBitsAsync(true, 0, 2, default));
        Assert.True(slave.Bit(3));
        await unit.WriteRegistersAsync(0, [0x1215], default);
        await unit.WriteRegistersAsync(1, [1, 2, 3], default);
        Assert.Equal(new ushort[] { 0x1215, 1, 2, 3 }, await unit.ReadRegistersAsync(false, 0, 4, default));
        Assert.Equal(new ushort[] { 4711 }, await unit.ReadRegistersAsync(true, 3, 1, default));
        await unit.MaskWriteAsync(0, 0xFF00, 0x0081, default);
        Assert.Equal(new ushort[] { 0x1281, 9 }, await unit.ReadWriteRegistersAsync(0, 2, 1, [9], default));
        Assert.Equal(9, slave.Register(1));
        Assert.Equal(125, (await unit.ReadRegistersAsync(false, 0, 125, default)).Length);
        var refused = await Assert.ThrowsAsync<ModbusPeerException>(() => unit.ReadRegistersAsync(false, 199, 2, default));
        Assert.Equal(ModbusExceptionCode.IllegalDataAddress, refused.Code);

        // libmodbus does not have function 43: over TCP it says so, on a serial line it cannot tell where such a request ends.
        if (!serial)
            Assert.Equal(ModbusExceptionCode.IllegalFunction, (await Assert.ThrowsAsync<ModbusPeerException>(() => unit.ReadIdentificationAsync(1, default))).Code);
    }

    [SkippableFact]
    public async Task Our_master_talks_through_a_terminal_server_to_libmodbus_on_a_serial_line()
    {
        Requires.LibModbus();
        Skip.IfNot(File.Exists("/usr/bin/socat"), "socat is not installed");
        using var pty = new PtyPair();
        using var slave = LibModbusSlave.Rtu(pty.PathB, 1);
        slave.SetInputRegister(3, 4711);
        using var lease = PortLease.Take();
        using var socat = Process.Start(new ProcessStartInfo("/usr/bin/socat", $"TCP-LISTEN:{lease.Port},bind=127.0.0.1,reuseaddr {pty.PathA},raw,echo=0,b115200"))!;
        try
        {
            using var master = new ModbusMaster(ModbusLineSettings.RtuOverTcp("127.0.0.1", lease.Port), TimeProvider.System, new Random(1));
            var unit = new ModbusUnit(master, 1, new ModbusTiming(s_timeout));
            await Eventually.HoldsAsync("socat listens", async () =>
            {
                try
                {
                    await master.OpenAsync(s_timeout, default);
                    return true;
                }
                catch (ModbusLinkException)
                {
                    return false;
                }
            });
            Assert.Equal(new ushort[] { 4711 }, await unit.ReadRegistersAsync(true, 3, 1, default));
            await unit.WriteRegistersAsync(1, [1, 2, 3], default);
            await unit.WriteCoilsAsync(4, [true, false, true], default);
            Assert.Equal(new ushort[] { 1, 2, 3 }, await unit.ReadRegistersAsync(false, 1, 3, default));
            Assert.Equal(new[] { true, false, true }, await unit.ReadBitsAsync(false, 4, 3, default));
            Assert.Equal(125, (await unit.ReadRegistersAsync(false, 0, 125, default)).Length);
            Assert.Equal(ModbusExceptionCode.IllegalDataAddress, (await Assert.ThrowsAsync<ModbusPeerException>(() => unit.ReadRegistersAsync(false, 199, 2, default))).Code);
            Assert.Equal(0, master.Counters.Garbage);
        }
        finally
        {
            socat.Kill();
            await socat.WaitForExitAsync();
        }
    }

    private static MemoryRegisterBank Bank()
    {
        var bank = new MemoryRegisterBank(200, 200, 200, 200);
        bank.Access((coils, inputs, holding, input) => (coils[1], inputs[0], holding[0], holding[1], input[0]) = (true, true, 215, 42, 198));
        return bank;
    }

    private static IAsyncDisposable Serve(MemoryRegisterBank bank, PtyPair? pty, out int port)
    {
        port = 0;
        if (pty is not null)
            return ModbusSerialServer.Start(ModbusSerialTests.Line(pty.PathB), bank, TimeProvider.System);
        var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        port = server.EndPoint.Port;
        return server;
    }

    private static async Task<string> MbpollAsync(string arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("mbpoll", $"-o 5 {arguments}") { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = await process.StandardOutput.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(60));
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, output + error);
        return output;
    }
}
