using System.Threading.Channels;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;
using Edge.Testing;
using Edge.Testing.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

[Trait("Category", "Devices")]
public sealed class ModbusSerialTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task The_master_reads_and_writes_a_slave_on_a_serial_line()
    {
        var bank = Bank();
        using var pty = new PtyPair();
        await using var slave = ModbusSerialServer.Start(Line(pty.PathB), new ModbusUnits(new Dictionary<byte, IRegisterBank> { [7] = bank }), TimeProvider.System);
        using var master = Master(pty);
        await ModbusExercise.RunAsync(new ModbusUnit(master, 7, new ModbusTiming(s_timeout)), bank);
        Assert.Equal(new[] { "Edge" }, (await new ModbusUnit(master, 7, new ModbusTiming(s_timeout)).ReadIdentificationAsync(3, default)).Select(one => one.Value));
        Assert.Equal(1, master.Counters.Opens);
    }

    [Fact]
    public async Task A_broadcast_is_obeyed_by_all_units_and_answered_by_none()
    {
        var (one, two) = (Bank(), Bank());
        using var pty = new PtyPair();
        await using var slave = ModbusSerialServer.Start(
            Line(pty.PathB), new ModbusUnits(new Dictionary<byte, IRegisterBank> { [1] = one, [2] = two }), TimeProvider.System);
        using var master = Master(pty);
        await new ModbusUnit(master, 0, new ModbusTiming(s_timeout)).WriteRegistersAsync(5, [77], default);
        Assert.Equal(new ushort[] { 77 }, await new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 5, 1, default));
        Assert.Equal(new ushort[] { 77 }, await new ModbusUnit(master, 2, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 5, 1, default));
    }

    [Fact]
    public async Task An_answer_behind_noise_is_found()
    {
        using var pty = new PtyPair();
        await using var slave = ModbusSerialServer.Start(Line(pty.PathB), Bank(), TimeProvider.System);
        using var master = Master(pty);
        pty.NoiseToA([0, 0xFF, 1, 3, 0x7E]);
        var unit = new ModbusUnit(master, 1, new ModbusTiming(s_timeout));
        Assert.Equal(new ushort[] { 4711 }, await unit.ReadRegistersAsync(true, 3, 1, default));
        Assert.Equal(1, master.Counters.Garbage);
    }

    [Theory]
    [InlineData("crc", "CRC is")]
    [InlineData("short", "frame")]
    [InlineData("unit", "unit 4 answered")]
    [InlineData("garbage", "no frame")]
    [InlineData("silence", "did not answer within")]
    public async Task A_damaged_answer_is_refused_with_its_reason_and_a_retry_gets_the_right_one(string fault, string reason)
    {
        using var pty = new PtyPair();
        var wrong = 1;
        await using var slave = ModbusSerialServer.Start(Line(pty.PathB), Bank(), TimeProvider.System, (unit, frame, cancellationToken) =>
        {
            var bytes = frame.ToArray();
            if (Interlocked.Decrement(ref wrong) >= 0)
            {
                switch (fault)
                {
                    case "crc": bytes[^1] ^= 1; break;
                    case "short": bytes = bytes[..^3]; break;
                    case "unit": bytes = RtuFrame.Write(4, bytes.AsSpan(1, bytes.Length - 3)); break;
                    case "silence": bytes = []; break;
                    default: new Random(3).NextBytes(bytes = new byte[200]); break;
                }
            }

            return new ValueTask<ReadOnlyMemory<byte>>(bytes);
        });
        using var master = Master(pty);
        var once = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(2000)));
        var error = await Assert.ThrowsAsync<ModbusLinkException>(() => once.ReadRegistersAsync(true, 3, 1, default));
        Assert.Equal(fault == "silence" ? ModbusLinkFault.Silence : ModbusLinkFault.Garbage, error.Fault);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Volatile.Write(ref wrong, 1);
        var again = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(2000), Retries: 5));
        Assert.Equal(new ushort[] { 4711 }, await again.ReadRegistersAsync(true, 3, 1, default));
        Assert.Equal(1, master.Counters.Opens);
    }

    [Fact]
    public async Task A_request_of_an_unknown_function_gets_its_exception_and_damaged_ones_get_silence()
    {
        using var pty = new PtyPair();
        using var limit = new CancellationTokenSource(s_timeout);
        using var heard = new HeardLine(SerialLine.Open(Line(pty.PathB)));
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(limit.Token);
        var slave = RtuSlave.ServeAsync(heard, Bank(), null, time, stop.Token);
        using var line = SerialLine.Open(Line(pty.PathA));
        var damaged = RtuFrame.Write(1, [3, 0, 0, 0, 1]);
        damaged[3] ^= 1;
        var unknown = RtuFrame.Write(1, [0x64, 1, 2]);
        foreach (var frame in (byte[][])[damaged, unknown])
        {
            await line.WriteAsync(frame, limit.Token);
            await heard.WaitAsync(frame.Length, limit.Token);
            time.Advance(TimeSpan.FromMilliseconds(150)); // the silence that ends a frame
            await heard.WaitAsync(0, limit.Token);
        }

        var buffer = new byte[64];
        var filled = 0;
        while (filled < 5)
            filled += await line.ReadAsync(buffer.AsMemory(filled), limit.Token);
        Assert.Equal(Convert.ToHexString(RtuFrame.Write(1, [0xE4, 1])), Convert.ToHexString(buffer.AsSpan(0, filled)));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => slave);
    }

    [Fact]
    public void A_line_that_is_none_is_refused_with_a_reason()
    {
        Assert.Contains("/dev/edge-none", Assert.Throws<IOException>(() => SerialLine.Open(Line("/dev/edge-none"))).Message, StringComparison.Ordinal);
        Assert.Contains("no serial line", Assert.Throws<IOException>(() => SerialLine.Open(Line("/dev/null"))).Message, StringComparison.Ordinal);
        Assert.Contains("12345 baud", Assert.Throws<IOException>(() => SerialLine.Open(Line("/dev/null") with { BaudRate = 12345 })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_line_has_one_key_whatever_it_is_called_and_one_user()
    {
        using var directory = new TempDirectory();
        using var pty = new PtyPair();
        var link = Path.Combine(directory.Path, "by-id");
        File.CreateSymbolicLink(link, pty.PathA);
        var (one, other) = (ModbusLineSettings.Serial(Line(pty.PathA)), ModbusLineSettings.Serial(Line(link)));
        Assert.Equal(one.Key, other.Key);
        Assert.True(one.IsSameLine(other));
        Assert.False(one.IsSameLine(ModbusLineSettings.Serial(Line(link) with { BaudRate = 9600 })));
        Assert.Equal(ModbusLineSettings.Tcp("127.0.0.1", 502).Key, ModbusLineSettings.Tcp("LocalHost", 502).Key);
        Assert.Equal(ModbusLineSettings.Tcp("fe80::1", 502).Key, ModbusLineSettings.Tcp("FE80:0::1", 502).Key);
        using (SerialLine.Open(Line(pty.PathA)))
            Assert.Contains("in use by another program", Assert.Throws<IOException>(() => SerialLine.Open(Line(link))).Message, StringComparison.Ordinal);
        SerialLine.Open(Line(link)).Dispose();
    }

    [Theory]
    [InlineData(9600, 4.01)]
    [InlineData(19200, 2.0)]
    [InlineData(115200, 1.75)]
    public void The_silence_between_frames_is_that_of_the_specification(int baud, double milliseconds)
        => Assert.Equal(milliseconds, new SerialSettings("x", baud).FrameSilence.TotalMilliseconds, 1);

    internal static SerialSettings Line(string path) => new(path, 115200, SerialParity.None);

    private static ModbusMaster Master(PtyPair pty) => new(ModbusLineSettings.Serial(Line(pty.PathA)), TimeProvider.System, new Random(1));

    private static MemoryRegisterBank Bank()
    {
        var bank = new MemoryRegisterBank(20, 20, 200, 200) { Identity = [new(0, "Edge")] };
        bank.Access((coils, inputs, holding, input) => (inputs[2], input[3]) = (true, 4711));
        return bank;
    }

    /// <summary>Tells what its reader has when it comes for more.</summary>
    private sealed class HeardLine(IModbusLine line) : IModbusLine
    {
        private readonly Channel<int> _comings = Channel.CreateUnbounded<int>();
        private int _has;

        public string Name => line.Name;

        /// <summary>Until the reader comes for more with so many bytes since the last silence.</summary>
        public async Task WaitAsync(int bytes, CancellationToken cancellationToken)
        {
            while (await _comings.Reader.ReadAsync(cancellationToken) != bytes)
            {
                // It came in pieces.
            }
        }

        public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
        {
            _comings.Writer.TryWrite(_has);
            try
            {
                var read = await line.ReadAsync(buffer, cancellationToken);
                _has += read;
                return read;
            }
            catch (OperationCanceledException)
            {
                _has = 0;
                throw;
            }
        }

        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => line.WriteAsync(bytes, cancellationToken);

        public int ExchangeBriefly(ReadOnlySpan<byte> bytes, Span<byte> buffer, TimeSpan most) => line.ExchangeBriefly(bytes, buffer, most);

        public int DiscardInput(ModbusTrace? trace) => line.DiscardInput(trace);

        public void Dispose() => line.Dispose();
    }
}
