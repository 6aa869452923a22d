using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;
using Edge.Testing;
using Edge.Testing.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

/// <summary>Answers of RTU that come in pieces, behind noise, or too late; and the pauses that a serial line wants.</summary>
[Trait("Category", "Devices")]
public sealed class RtuTimingTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(200);

    [Fact]
    public async Task An_answer_long_after_a_stray_byte_is_awaited_until_the_timeout()
    {
        await using var peer = new RawPeer(async (request, stream) =>
        {
            await stream.WriteAsync(new byte[] { 0xFF });
            await Task.Delay(s_pause);
            await stream.WriteAsync(Answer(1, 4711));
        });
        using var master = peer.Master();
        Assert.Equal(new ushort[] { 4711 }, await new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(1, master.Counters.Garbage);
    }

    [Fact]
    public async Task An_answer_in_pieces_with_pauses_between_them_is_put_together()
    {
        await using var peer = new RawPeer(async (request, stream) =>
        {
            foreach (var piece in Answer(1, 4711).Chunk(3))
            {
                await stream.WriteAsync(piece);
                await Task.Delay(s_pause);
            }
        });
        using var master = peer.Master();
        Assert.Equal(new ushort[] { 4711 }, await new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(0, master.Counters.Garbage);
    }

    [Fact]
    public async Task An_answer_that_comes_after_the_timeout_is_never_taken_for_the_next_ones()
    {
        // The first request is answered with 1 when the second one has come; all others with 2.
        NetworkStream? first = null;
        await using var peer = new RawPeer(async (request, stream) =>
        {
            if (first is null)
            {
                first = stream;
                return;
            }

            try
            {
                await first.WriteAsync(Answer(1, 1));
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // Closed by the master: then it cannot mistake it.
            }

            await stream.WriteAsync(Answer(1, 2));
        });
        using var master = peer.Master();
        var late = await Assert.ThrowsAsync<ModbusLinkException>(
            () => new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(300))).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusLinkFault.Silence, late.Fault);
        Assert.Equal(new ushort[] { 2 }, await new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(2, master.Counters.Opens);
    }

    [Fact]
    public async Task What_came_and_was_no_answer_is_in_the_trace()
    {
        await using var peer = new RawPeer((request, stream) => stream.WriteAsync(new byte[] { 1, 3, 2 }).AsTask());
        using var master = peer.Master();
        master.Trace = new ModbusTrace(10, TimeProvider.System);
        var error = await Assert.ThrowsAsync<ModbusLinkException>(
            () => new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(500))).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusLinkFault.Garbage, error.Fault);
        Assert.Contains("3 bytes that are no frame", error.Message, StringComparison.Ordinal);
        Assert.Equal("010302", master.Trace.Entries[^1].Hex);
    }

    [Fact]
    public async Task After_a_broadcast_on_a_serial_line_slaves_get_time_to_obey()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var pty = new PtyPair();
        var heard = Channel.CreateUnbounded<byte>();
        await using var slave = ModbusSerialServer.Start(ModbusSerialTests.Line(pty.PathB), new MemoryRegisterBank(1, 1, 10, 1), TimeProvider.System, (unit, frame, _) =>
        {
            heard.Writer.TryWrite(unit);
            return new(frame);
        });
        using var master = new ModbusMaster(ModbusLineSettings.Serial(ModbusSerialTests.Line(pty.PathA)), time, new Random(1));
        await new ModbusUnit(master, 0, new ModbusTiming(s_timeout)).WriteRegistersAsync(5, [77], default);
        var next = new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 5, 1, default);
        time.Advance(TimeSpan.FromMilliseconds(99));
        Assert.False(next.IsCompleted);
        Assert.Equal(1, master.Counters.Requests);
        time.Advance(TimeSpan.FromMilliseconds(10));
        Assert.Equal(new ushort[] { 77 }, await next.WaitAsync(s_timeout));
        Assert.Equal(1, await heard.Reader.ReadAsync());
    }

    [Fact]
    public async Task Between_two_frames_on_a_serial_line_are_three_and_a_half_characters()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var pty = new PtyPair();
        var slow = ModbusSerialTests.Line(pty.PathA) with { BaudRate = 300 };
        await using var slave = ModbusSerialServer.Start(slow with { Path = pty.PathB }, new MemoryRegisterBank(1, 1, 10, 1), TimeProvider.System);
        using var master = new ModbusMaster(ModbusLineSettings.Serial(slow), time, new Random(1));
        var unit = new ModbusUnit(master, 1, new ModbusTiming(s_timeout));
        await unit.ReadRegistersAsync(false, 5, 1, default);
        var next = unit.ReadRegistersAsync(false, 5, 1, default);
        time.Advance(TimeSpan.FromMilliseconds(116)); // 3.5 characters of ten bits at 300 baud: 116.7 ms
        Assert.Equal(1, master.Counters.Requests);
        time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Single(await next.WaitAsync(s_timeout));
    }

    [Fact]
    public async Task A_serial_line_that_vanishes_and_returns_is_used_again()
    {
        using var directory = new TempDirectory();
        var path = Path.Combine(directory.Path, "by-id");
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        ModbusMaster? master = null;
        try
        {
            using (var pty = new PtyPair())
            {
                File.CreateSymbolicLink(path, pty.PathA);
                master = new ModbusMaster(ModbusLineSettings.Serial(ModbusSerialTests.Line(path)), time, new Random(1));
                await using var slave = ModbusSerialServer.Start(ModbusSerialTests.Line(pty.PathB), new MemoryRegisterBank(1, 1, 10, 1), TimeProvider.System);
                await new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 5, 1, default);
            }

            File.Delete(path);
            await Eventually.HoldsAsync("the line is known to be gone", async () =>
            {
                time.Advance(TimeSpan.FromSeconds(20));
                var gone = await Assert.ThrowsAsync<ModbusLinkException>(() => new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 5, 1, default));
                Assert.Equal(ModbusLinkFault.Line, gone.Fault);
                return gone.Message.Contains("cannot open", StringComparison.Ordinal);
            });
            using var again = new PtyPair();
            File.CreateSymbolicLink(path, again.PathA);
            await using var back = ModbusSerialServer.Start(ModbusSerialTests.Line(again.PathB), new MemoryRegisterBank(1, 1, 10, 1), TimeProvider.System);
            time.Advance(TimeSpan.FromSeconds(20));
            Assert.Single(await new ModbusUnit(master, 1, new ModbusTiming(s_timeout)).ReadRegistersAsync(false, 5, 1, default));
        }
        finally
        {
            master?.Dispose();
        }
    }

    [Fact]
    public async Task The_timeout_begins_when_the_requests_bytes_are_through()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var pty = new PtyPair();
        var slow = ModbusSerialTests.Line(pty.PathA) with { BaudRate = 300 };
        using var master = new ModbusMaster(ModbusLineSettings.Serial(slow), time, new Random(1));
        var read = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(100))).ReadRegistersAsync(false, 5, 1, default);

        // Eight characters of ten bits at 300 baud take 267 ms.
        time.Advance(TimeSpan.FromMilliseconds(360));
        using var slave = SerialLine.Open(slow with { Path = pty.PathB });
        await slave.WriteAsync(Answer(1, 5), default);
        Assert.Equal(new ushort[] { 5 }, await read.WaitAsync(s_timeout));
        var silent = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(100))).ReadRegistersAsync(false, 5, 1, default);
        time.Advance(TimeSpan.FromMilliseconds(500)); // the pause after the answer
        await Eventually.HoldsAsync(() => master.Counters.Requests == 2);
        await Eventually.HoldsAsync("the time-out", () =>
        {
            time.Advance(TimeSpan.FromMilliseconds(10));
            return silent.IsCompleted;
        });
        Assert.Equal(ModbusLinkFault.Silence, (await Assert.ThrowsAsync<ModbusLinkException>(() => silent)).Fault);
    }

    private static byte[] Answer(byte unit, ushort value) => RtuFrame.Write(unit, [3, 2, (byte)(value >> 8), (byte)value]);

    /// <summary>Gives each request's 8 bytes to a script that answers as it likes.</summary>
    private sealed class RawPeer : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly List<Task> _connections = [];
        private readonly Task _accept;

        public RawPeer(Func<byte[], NetworkStream, Task> script)
        {
            _listener.Start();
            _accept = AcceptAsync(script);
        }

        public ModbusMaster Master() => new(ModbusLineSettings.RtuOverTcp("127.0.0.1", ((IPEndPoint)_listener.LocalEndpoint).Port), TimeProvider.System, new Random(1));

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _accept;
            await Task.WhenAll(_connections);
            _listener.Dispose();
            _stop.Dispose();
        }

        private async Task AcceptAsync(Func<byte[], NetworkStream, Task> script)
        {
            try
            {
                while (true)
                    _connections.Add(ServeAsync(await _listener.AcceptTcpClientAsync(_stop.Token), script));
            }
            catch (OperationCanceledException)
            {
                // Disposed.
            }
        }

        private async Task ServeAsync(TcpClient client, Func<byte[], NetworkStream, Task> script)
        {
            using (client)
            {
                try
                {
                    var request = new byte[8];
                    while (true)
                    {
                        await client.GetStream().ReadExactlyAsync(request, _stop.Token);
                        await script(request, client.GetStream());
                    }
                }
                catch (Exception e) when (e is IOException or OperationCanceledException)
                {
                    // The master closed, or the test is over.
                }
            }
        }
    }
}
