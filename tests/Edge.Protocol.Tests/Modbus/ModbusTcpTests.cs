using System.Net;
using System.Net.Sockets;
using Edge.Local.Processes;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;
using Edge.Testing;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

[Trait("Category", "Devices")]
public sealed class ModbusTcpTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_master_reads_and_writes_every_table_of_the_slave_with_every_function(bool rtu)
    {
        var bank = new MemoryRegisterBank(20, 20, 200, 200) { Identity = [new(0, "Edge"), new(1, "T"), new(2, "1")] };
        bank.Access((coils, inputs, holding, input) => (inputs[2], input[3]) = (true, 4711));
        await using var server = Start(bank, rtu);
        using var master = Master(server, rtu);
        await ModbusExercise.RunAsync(Unit(master, 1), bank);
        var refused = await Assert.ThrowsAsync<ModbusPeerException>(() => Unit(master, 1).ReadRegistersAsync(false, 199, 2, default));
        Assert.Equal(ModbusExceptionCode.IllegalDataAddress, refused.Code);
        Assert.Equal(new[] { "Edge", "T", "1" }, (await Unit(master, 1).ReadIdentificationAsync(1, default)).Select(one => one.Value));
        Assert.Equal(1, master.Counters.Opens);
        Assert.Equal(master.Counters.Requests, master.Counters.Answers);
    }

    [Fact]
    public async Task Requests_from_many_tasks_on_one_connection_get_their_own_answers()
    {
        var bank = new MemoryRegisterBank(1, 1, 100, 1);
        bank.Access((coils, inputs, holding, input) =>
        {
            for (var i = 0; i < 100; i++)
                holding[i] = (ushort)(i * 3);
        });
        await using var server = Start(bank);
        using var master = Master(server);
        await Task.WhenAll(Enumerable.Range(0, 100).Select(async i =>
            Assert.Equal(new ushort[] { (ushort)(i * 3) }, await Unit(master, 1).ReadRegistersAsync(false, (ushort)i, 1, default))));
    }

    [Fact]
    public async Task A_hostile_frame_closes_its_connection_with_the_reason_and_the_others_go_on()
    {
        await using var server = Start(new MemoryRegisterBank(1, 1, 1, 1));
        var closed = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        server.ConnectionClosed += (_, reason) => closed.TrySetResult(reason);
        using var good = Master(server);
        Assert.Single(await Unit(good, 1).ReadRegistersAsync(false, 0, 1, default));
        using var hostile = new TcpClient();
        await hostile.ConnectAsync(server.EndPoint);
        await hostile.GetStream().WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());
        Assert.Contains("protocol identifier", await closed.Task.WaitAsync(s_timeout), StringComparison.Ordinal);
        Assert.Equal(0, await hostile.GetStream().ReadAsync(new byte[1]));
        Assert.Single(await Unit(good, 1).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(1, good.Counters.Opens);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task When_all_places_are_taken_the_connection_that_was_idle_for_longest_goes(bool rtu)
    {
        await using var server = Start(new MemoryRegisterBank(1, 1, 1, 1), rtu);
        var closed = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        server.ConnectionClosed += (_, reason) => closed.TrySetResult(reason);
        var masters = Enumerable.Range(0, ModbusTcpServer.ConnectionsMax + 1).Select(_ => Master(server, rtu)).ToList();
        try
        {
            foreach (var master in masters[..^1])
                await Unit(master, 1).ReadRegistersAsync(false, 0, 1, default);
            await Unit(masters[0], 1).ReadRegistersAsync(false, 0, 1, default);
            await Unit(masters[^1], 1).ReadRegistersAsync(false, 0, 1, default);
            Assert.Contains("asked nothing for the longest time", await closed.Task.WaitAsync(s_timeout), StringComparison.Ordinal);
            foreach (var master in masters.Where(one => one != masters[1]))
                await Unit(master, 1).ReadRegistersAsync(false, 0, 1, default);
            Assert.All(masters, master => Assert.Equal(1, master.Counters.Opens));

            // The request is lost to the closed connection, unless the pause was so long that the master looked before.
            var lost = await Record.ExceptionAsync(() => Unit(masters[1], 1).ReadRegistersAsync(false, 0, 1, default));
            if (lost is not null)
            {
                Assert.IsType<ModbusLinkException>(lost);
                await Unit(masters[1], 1).ReadRegistersAsync(false, 0, 1, default);
            }

            Assert.Equal(2, masters[1].Counters.Opens);
        }
        finally
        {
            masters.ForEach(master => master.Dispose());
        }
    }

    [Fact]
    public async Task Several_units_behind_one_gateway_have_their_own_tables_and_an_absent_one_is_named_by_the_gateway()
    {
        var (one, two) = (new MemoryRegisterBank(1, 1, 5, 1), new MemoryRegisterBank(1, 1, 5, 1));
        await using var server = Start(new ModbusUnits(new Dictionary<byte, IRegisterBank> { [1] = one, [2] = two }));
        using var master = Master(server);
        await Unit(master, 1).WriteRegistersAsync(0, [11], default);
        await Unit(master, 2).WriteRegistersAsync(0, [22], default);
        Assert.Equal(new ushort[] { 11 }, await Unit(master, 1).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(new ushort[] { 22 }, await Unit(master, 2).ReadRegistersAsync(false, 0, 1, default));
        var absent = await Assert.ThrowsAsync<ModbusPeerException>(() => Unit(master, 3).ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusExceptionCode.GatewayTargetFailedToRespond, absent.Code);
        Assert.Equal(1, master.Counters.Opens);
    }

    [Fact]
    public async Task A_silent_slave_ends_the_request_and_a_late_answer_is_never_taken_for_the_next_ones()
    {
        var bank = new MemoryRegisterBank(1, 1, 5, 1);
        bank.Access((coils, inputs, holding, input) => (holding[0], holding[1]) = (100, 101));
        ReadOnlyMemory<byte> kept = default;
        await using var server = Start(bank, filter: (unit, frame, cancellationToken) =>
        {
            // The first answer comes together with the second one.
            if (kept.IsEmpty)
            {
                kept = frame.ToArray();
                return new ValueTask<ReadOnlyMemory<byte>>(default(ReadOnlyMemory<byte>));
            }

            return new ValueTask<ReadOnlyMemory<byte>>(kept.ToArray().Concat(frame.ToArray()).ToArray());
        });
        using var master = Master(server);
        var quick = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(1000)));
        var error = await Assert.ThrowsAsync<ModbusLinkException>(() => quick.ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusLinkFault.Silence, error.Fault);
        Assert.Contains("did not answer within 1000 ms", error.Message, StringComparison.Ordinal);
        Assert.Equal(new ushort[] { 101 }, await Unit(master, 1).ReadRegistersAsync(false, 1, 1, default));
        Assert.Equal(1, master.Counters.Opens);
        Assert.Equal(1, master.Counters.Garbage);
    }

    [Theory]
    [InlineData("transaction", "answered transaction")]
    [InlineData("unit", "of unit 9")]
    [InlineData("length", "bytes of data")]
    [InlineData("function", "answer has function 4")]
    [InlineData("garbage", "sent no Modbus TCP")]
    [InlineData("none", "malformed exception")]
    public async Task A_wrong_answer_is_refused_with_its_reason_and_a_retry_gets_the_right_one(string fault, string reason)
    {
        var bank = new MemoryRegisterBank(1, 1, 5, 1);
        bank.Access((coils, inputs, holding, input) => holding[0] = 7);
        var wrong = 1;
        await using var server = Start(bank, filter: (unit, frame, cancellationToken) =>
        {
            var bytes = frame.ToArray();
            if (Interlocked.Decrement(ref wrong) < 0)
                return new ValueTask<ReadOnlyMemory<byte>>(bytes);
            switch (fault)
            {
                case "transaction": bytes[0] ^= 0x40; break;
                case "unit": bytes[6] = 9; break;
                case "length": bytes[8] = 4; break;
                case "function": bytes[7] = 4; break;
                case "none": bytes = [.. bytes[..4], 0, 3, 1, 0x83, 0]; break;
                default: bytes = "HTTP/1.1 400 Bad Request\r\n"u8.ToArray(); break;
            }

            return new ValueTask<ReadOnlyMemory<byte>>(bytes);
        });
        using var master = Master(server);
        var once = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(2000)));
        var error = await Assert.ThrowsAsync<ModbusLinkException>(() => once.ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusLinkFault.Garbage, error.Fault);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Volatile.Write(ref wrong, 1);
        var again = new ModbusUnit(master, 1, new ModbusTiming(TimeSpan.FromMilliseconds(2000), Retries: 5));
        Assert.Equal(new ushort[] { 7 }, await again.ReadRegistersAsync(false, 0, 1, default));
    }

    [Fact]
    public async Task A_silent_unit_rests_while_its_neighbours_are_served()
    {
        var bank = new MemoryRegisterBank(1, 1, 5, 1);
        var asked = 0;
        await using var server = Start(bank, filter: (unit, frame, cancellationToken) =>
        {
            if (unit == 2)
                Interlocked.Increment(ref asked);
            return new ValueTask<ReadOnlyMemory<byte>>(unit == 2 ? default : frame);
        });
        using var master = Master(server);
        var good = Unit(master, 1);
        await good.ReadRegistersAsync(false, 0, 1, default);
        var dead = new ModbusUnit(master, 2, new ModbusTiming(TimeSpan.FromMilliseconds(500), Retries: 1));
        var silence = await Assert.ThrowsAsync<ModbusLinkException>(() => dead.ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusLinkFault.Silence, silence.Fault);
        Assert.Equal(2, asked);
        var held = await Assert.ThrowsAsync<ModbusLinkException>(() => dead.ReadRegistersAsync(false, 0, 1, default));
        Assert.Equal(ModbusLinkFault.Held, held.Fault);
        Assert.Contains("asked again in", held.Message, StringComparison.Ordinal);
        await good.ReadRegistersAsync(false, 0, 1, default);
        Assert.Equal(2, asked);
    }

    [Fact]
    public async Task Between_two_tries_of_a_silent_unit_all_that_wait_are_served()
    {
        var order = new System.Collections.Concurrent.ConcurrentQueue<byte>();
        var firstTry = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = Start(new MemoryRegisterBank(1, 1, 5, 1), filter: (unit, frame, cancellationToken) =>
        {
            order.Enqueue(unit);
            firstTry.TrySetResult();
            return new ValueTask<ReadOnlyMemory<byte>>(unit == 9 ? default : frame);
        });
        using var master = Master(server);
        var dead = new ModbusUnit(master, 9, new ModbusTiming(TimeSpan.FromMilliseconds(2000), Retries: 1)).ReadRegistersAsync(false, 0, 1, default);
        await firstTry.Task.WaitAsync(s_timeout);

        // These come while the dead unit's first try runs; its second one comes behind them.
        await Task.WhenAll(Enumerable.Range(1, 5).Select(unit => Unit(master, (byte)unit).ReadRegistersAsync(false, 0, 1, default)));
        await Assert.ThrowsAsync<ModbusLinkException>(() => dead);
        Assert.Equal(new byte[] { 9, 1, 2, 3, 4, 5, 9 }, order);
    }

    [Fact]
    public async Task A_line_that_cannot_be_opened_is_tried_again_with_delays_and_serves_once_it_can()
    {
        using var lease = PortLease.Take();
        var port = lease.Port;
        using var master = new ModbusMaster(ModbusLineSettings.Tcp("127.0.0.1", port), TimeProvider.System, new Random(1));
        var error = await Assert.ThrowsAsync<ModbusLinkException>(() => Unit(master, 1).ReadRegistersAsync(false, 0, 1, default));
        Assert.Contains($"cannot connect to 127.0.0.1:{port}", error.Message, StringComparison.Ordinal);
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, port), new MemoryRegisterBank(1, 1, 1, 1));
        while (true)
        {
            try
            {
                Assert.Single(await Unit(master, 1).ReadRegistersAsync(false, 0, 1, default));
                break;
            }
            catch (ModbusLinkException e) when (e.Message.Contains("tried again in", StringComparison.Ordinal))
            {
                await Task.Delay(10);
            }
        }
    }

    [Fact]
    public async Task A_line_that_cannot_be_opened_is_tried_after_growing_delays_up_to_fifteen_seconds_and_at_once_again_when_it_could_be()
    {
        using var lease = PortLease.Take();
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddDays(1));
        using var master = new ModbusMaster(ModbusLineSettings.Tcp("127.0.0.1", lease.Port), time, new Random(1));
        var delay = 100.0;
        for (var i = 0; i < 10; i++, delay *= 2)
        {
            var tried = await Assert.ThrowsAsync<ModbusLinkException>(() => Unit(master, 1).ReadRegistersAsync(false, 0, 1, default));
            Assert.DoesNotContain("tried again in", tried.Message, StringComparison.Ordinal);
            var waits = await Assert.ThrowsAsync<ModbusLinkException>(() => Unit(master, 1).ReadRegistersAsync(false, 0, 1, default));
            Assert.Equal(tried.Message, waits.Reason);
            var left = double.Parse(System.Text.RegularExpressions.Regex.Match(waits.Message, "tried again in ([0-9]+) ms").Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);
            Assert.InRange(left, Math.Floor(Math.Min(delay, 15_000) / 2), Math.Min(delay, 15_000));
            time.Advance(TimeSpan.FromMilliseconds(left));
        }

        await using (var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, lease.Port), new MemoryRegisterBank(1, 1, 1, 1)))
            await Unit(master, 1).ReadRegistersAsync(false, 0, 1, default);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.DoesNotContain("tried again in", (await Assert.ThrowsAsync<ModbusLinkException>(() => Unit(master, 1).ReadRegistersAsync(false, 0, 1, default))).Message, StringComparison.Ordinal);
        Assert.Matches("tried again in ([0-9]|[0-9][0-9]|100) ms", (await Assert.ThrowsAsync<ModbusLinkException>(() => Unit(master, 1).ReadRegistersAsync(false, 0, 1, default))).Message);
    }

    [Fact]
    public async Task A_peer_that_closes_an_idle_connection_costs_no_request()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddDays(1));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var master = new ModbusMaster(ModbusLineSettings.Tcp("127.0.0.1", ((IPEndPoint)listener.LocalEndpoint).Port), time, new Random(1));
        for (ushort round = 1; round <= 3; round++)
        {
            var read = Unit(master, 1).ReadRegistersAsync(false, 0, 1, default);
            using var peer = await listener.AcceptTcpClientAsync();
            var request = new byte[12];
            await peer.GetStream().ReadExactlyAsync(request);
            await peer.GetStream().WriteAsync(MbapFrame.Write(round, 1, [3, 2, 0, (byte)round]));
            Assert.Equal(new ushort[] { round }, await read);
            peer.Client.Shutdown(SocketShutdown.Both);
            time.Advance(TimeSpan.FromSeconds(5));
        }

        Assert.Equal(0, master.Counters.Silences);
    }

    [Fact]
    public async Task A_device_that_wants_a_pause_before_its_requests_gets_it()
    {
        var stamps = new List<long>();
        await using var server = Start(new MemoryRegisterBank(1, 1, 5, 1), filter: (unit, frame, cancellationToken) =>
        {
            stamps.Add(TimeProvider.System.GetTimestamp());
            return new ValueTask<ReadOnlyMemory<byte>>(frame);
        });
        using var master = Master(server);
        var slow = new ModbusUnit(master, 1, new ModbusTiming(s_timeout, Delay: TimeSpan.FromMilliseconds(150)));
        for (var i = 0; i < 4; i++)
            await slow.ReadRegistersAsync(false, 0, 1, default);
        Assert.All(stamps.Zip(stamps.Skip(1)), pair => Assert.InRange(TimeProvider.System.GetElapsedTime(pair.First, pair.Second).TotalMilliseconds, 150, 20_000));
    }

    [Fact]
    public async Task A_silent_unit_delays_its_neighbour_by_its_timeout_and_no_longer()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch.AddDays(1));
        await using var server = Start(new MemoryRegisterBank(1, 1, 5, 1), filter: (unit, frame, _) => new ValueTask<ReadOnlyMemory<byte>>(unit == 9 ? default : frame));
        using var master = new ModbusMaster(ModbusLineSettings.Tcp("127.0.0.1", server.EndPoint.Port), time, new Random(1));
        await master.OpenAsync(s_timeout, default);
        var dead = new ModbusUnit(master, 9, new ModbusTiming(TimeSpan.FromSeconds(1), Retries: 1)).ReadRegistersAsync(false, 0, 1, default);
        var good = Unit(master, 1).ReadRegistersAsync(false, 0, 1, default);
        time.Advance(TimeSpan.FromMilliseconds(999));
        Assert.Equal((1L, 1), (master.Counters.Requests, master.Counters.Waiting));
        time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Single(await good.WaitAsync(s_timeout));
        Assert.False(dead.IsCompleted); // its second try, behind the neighbour
        await Eventually.HoldsAsync("the second try's end", () =>
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            return dead.IsCompleted;
        });
        Assert.Equal(ModbusLinkFault.Silence, (await Assert.ThrowsAsync<ModbusLinkException>(() => dead)).Fault);
    }

    [Fact]
    public async Task The_trace_keeps_the_last_frames_and_counts_what_it_dropped()
    {
        await using var server = Start(new MemoryRegisterBank(1, 1, 5, 1));
        using var master = Master(server);
        master.Trace = new ModbusTrace(4, TimeProvider.System);
        for (ushort i = 0; i < 3; i++)
            await Unit(master, 1).ReadRegistersAsync(false, i, 1, default);
        Assert.Equal(2, master.Trace.Dropped);
        Assert.Equal(
            [(true, "000200000006010300010001"), (false, "0002000000050103020000"), (true, "000300000006010300020001"), (false, "0003000000050103020000")],
            master.Trace.Entries.Select(entry => (entry.Sent, entry.Hex)));
    }

    private static ModbusTcpServer Start(IRegisterBank bank, bool rtu = false, ModbusAnswerFilter? filter = null)
        => ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank, rtu, filter);

    private static ModbusMaster Master(ModbusTcpServer server, bool rtu = false)
        => new(
            rtu ? ModbusLineSettings.RtuOverTcp("127.0.0.1", server.EndPoint.Port) : ModbusLineSettings.Tcp("127.0.0.1", server.EndPoint.Port),
            TimeProvider.System,
            new Random(1));

    private static ModbusUnit Unit(ModbusMaster master, byte unit) => new(master, unit, new ModbusTiming(s_timeout));
}
