using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

[Trait("Category", "Devices")]
public sealed class ModbusTcpTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(5);

    [Fact]
    public async Task The_master_reads_and_writes_every_table_of_the_slave()
    {
        var bank = new MemoryRegisterBank(20, 20, 200, 200);
        bank.Access((coils, inputs, holding, input) => (inputs[2], input[3]) = (true, 4711));
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        using var client = await ConnectAsync(server);
        await client.WriteCoilsAsync(1, 3, [true], default);
        await client.WriteCoilsAsync(1, 4, [true, false, true], default);
        Assert.Equal(new[] { true, true, false, true }, await client.ReadBitsAsync(1, false, 3, 4, default));
        Assert.Equal(new[] { false, true }, await client.ReadBitsAsync(1, true, 1, 2, default));
        await client.WriteRegistersAsync(1, 0, [215], default);
        await client.WriteRegistersAsync(1, 1, [1, 2, 3], default);
        Assert.Equal(new ushort[] { 215, 1, 2, 3 }, await client.ReadRegistersAsync(1, false, 0, 4, default));
        Assert.Equal(new ushort[] { 4711 }, await client.ReadRegistersAsync(1, true, 3, 1, default));
        var refused = await Assert.ThrowsAsync<ModbusPeerException>(() => client.ReadRegistersAsync(1, false, 199, 2, default));
        Assert.Equal(ModbusExceptionCode.IllegalDataAddress, refused.Code);
        Assert.True(client.IsOpen);
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
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        using var client = await ConnectAsync(server);
        await Task.WhenAll(Enumerable.Range(0, 100).Select(async i =>
            Assert.Equal(new ushort[] { (ushort)(i * 3) }, await client.ReadRegistersAsync(1, false, (ushort)i, 1, default))));
    }

    [Fact]
    public async Task A_hostile_frame_closes_its_connection_with_the_reason_and_the_others_go_on()
    {
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), new MemoryRegisterBank(1, 1, 1, 1));
        var closed = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        server.ConnectionClosed += (_, reason) => closed.TrySetResult(reason);
        using var good = await ConnectAsync(server);
        using var hostile = new TcpClient();
        await hostile.ConnectAsync(server.EndPoint);
        await hostile.GetStream().WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());
        Assert.Contains("protocol identifier", await closed.Task.WaitAsync(s_timeout), StringComparison.Ordinal);
        Assert.Equal(0, await hostile.GetStream().ReadAsync(new byte[1]));
        Assert.Single(await good.ReadRegistersAsync(1, false, 0, 1, default));
    }

    [Fact]
    public async Task A_silent_slave_ends_the_request_with_a_link_error()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        using var client = await ModbusTcpClient.ConnectAsync(
            "127.0.0.1", ((IPEndPoint)silent.LocalEndpoint).Port, TimeSpan.FromMilliseconds(100), TimeProvider.System, default);
        var error = await Assert.ThrowsAsync<ModbusLinkException>(() => client.ReadRegistersAsync(1, false, 0, 1, default));
        Assert.Contains("did not answer within 100 ms", error.Message, StringComparison.Ordinal);
        Assert.False(client.IsOpen);
    }

    [SkippableFact]
    public async Task Mbpoll_reads_and_writes_our_slave()
    {
        Skip.IfNot(File.Exists("/usr/bin/mbpoll"), "mbpoll is not installed");
        var bank = new MemoryRegisterBank(16, 16, 16, 16);
        bank.Access((coils, inputs, holding, input) => (coils[1], inputs[0], holding[0], holding[1], input[0]) = (true, true, 215, 42, 198));
        await using var server = ModbusTcpServer.Start(new IPEndPoint(IPAddress.Loopback, 0), bank);
        var port = server.EndPoint.Port;
        var holding = await MbpollAsync($"-m tcp -a 1 -t 4 -r 1 -c 2 -1 -p {port} 127.0.0.1");
        Assert.Contains("[1]: \t215", holding, StringComparison.Ordinal);
        Assert.Contains("[2]: \t42", holding, StringComparison.Ordinal);
        Assert.Contains("[1]: \t198", await MbpollAsync($"-m tcp -a 1 -t 3 -r 1 -1 -p {port} 127.0.0.1"), StringComparison.Ordinal);
        Assert.Contains("[2]: \t1", await MbpollAsync($"-m tcp -a 1 -t 0 -r 1 -c 3 -1 -p {port} 127.0.0.1"), StringComparison.Ordinal);
        Assert.Contains("[1]: \t1", await MbpollAsync($"-m tcp -a 1 -t 1 -r 1 -1 -p {port} 127.0.0.1"), StringComparison.Ordinal);
        await MbpollAsync($"-m tcp -a 1 -t 4 -r 1 -p {port} 127.0.0.1 235");
        await MbpollAsync($"-m tcp -a 1 -t 4 -r 3 -p {port} 127.0.0.1 7 8");
        await MbpollAsync($"-m tcp -a 1 -t 0 -r 1 -p {port} 127.0.0.1 1");
        bank.Access((coils, inputs, registers, input) =>
        {
            Assert.Equal<ushort>([235, 42, 7, 8], registers[..4]);
            Assert.True(coils[0]);
        });
    }

    private static Task<ModbusTcpClient> ConnectAsync(ModbusTcpServer server)
        => ModbusTcpClient.ConnectAsync("127.0.0.1", server.EndPoint.Port, s_timeout, TimeProvider.System, default);

    private static async Task<string> MbpollAsync(string arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("/usr/bin/mbpoll", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = await process.StandardOutput.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(10));
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, output + error);
        return output;
    }
}
