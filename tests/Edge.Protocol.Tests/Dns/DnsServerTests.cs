using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Dns;
using Edge.Protocol.Dns.Client;
using Edge.Protocol.Dns.Server;
using Edge.Testing.Dns;
using Xunit;

namespace Edge.Protocol.Tests.Dns;

/// <summary>The servers and the stub client on real sockets.</summary>
[Trait("Category", "Dns")]
public sealed class DnsServerTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private static readonly IPEndPoint s_loopback = new(IPAddress.Loopback, 0);
    private static readonly DnsStubOptions s_patient = new() { UdpTries = 10, UdpTryMs = 2000, TcpMs = 60_000, RandomizeCase = true };

    [Theory]
    [InlineData(true, 2)]
    [InlineData(true, 1)]
    [InlineData(false, 2)]
    public async Task Many_clients_each_get_their_own_answer_over_UDP(bool batching, int sockets)
    {
        await using var server = DnsServer.Start(s_loopback, new Echo(), new DnsServerOptions { UdpBatching = batching, UdpSockets = sockets, UdpBatch = 4 }, TimeProvider.System);
        var client = new DnsStubClient(s_patient, TimeProvider.System);
        await Parallel.ForEachAsync(Enumerable.Range(0, 300), new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (i, token) =>
        {
            var response = new byte[DnsLimits.Message];
            var query = DnsPackets.Query($"Name{i}.Example", RecordType.TXT, (ushort)i);
            var length = await client.ExchangeAsync(server.EndPoint, query, response, token);
            Assert.Equal(i, DnsPackets.Header(response).Id);
            Assert.Equal([$"Name{i}.Example. 1 TXT \"udp\""], DnsPackets.Records(response.AsSpan(0, length), Section.Answer));
        });
        Assert.True(server.Figures.Answers >= 300);
        Assert.Equal(0, server.Figures.Failures);
        Assert.True(server.Figures.Rcodes[0] >= 300);
    }

    [Fact]
    public async Task A_server_on_all_addresses_answers_from_the_one_that_was_asked()
    {
        await using var server = DnsServer.Start(new IPEndPoint(IPAddress.Any, 0), new Echo(), new DnsServerOptions(), TimeProvider.System);
        var client = new DnsStubClient(s_patient, TimeProvider.System);
        var response = new byte[DnsLimits.Message];
        // The client's socket is connected: an answer from 127.0.0.1 would not reach it.
        var length = await client.ExchangeAsync(new IPEndPoint(IPAddress.Parse("127.0.0.77"), server.EndPoint.Port), DnsPackets.Query("x", RecordType.TXT), response, default);
        Assert.Single(DnsPackets.Records(response.AsSpan(0, length), Section.Answer));
    }

    [SkippableFact]
    public async Task IPv6_is_served()
    {
        Skip.IfNot(Socket.OSSupportsIPv6 && HasIPv6Loopback(), "IPv6 on the loopback interface");
        foreach (var address in new[] { IPAddress.IPv6Loopback, IPAddress.IPv6Any })
        {
            await using var server = DnsServer.Start(new IPEndPoint(address, 0), new Echo(), new DnsServerOptions(), TimeProvider.System);
            var client = new DnsStubClient(s_patient, TimeProvider.System);
            var response = new byte[DnsLimits.Message];
            foreach (var asked in address.Equals(IPAddress.IPv6Any) ? new[] { IPAddress.IPv6Loopback, IPAddress.Loopback } : [address])
            {
                var length = await client.ExchangeAsync(new IPEndPoint(asked, server.EndPoint.Port), DnsPackets.Query("x", RecordType.TXT), response, default);
                Assert.Single(DnsPackets.Records(response.AsSpan(0, length), Section.Answer));
            }
        }
    }

    [Fact]
    public async Task A_port_in_use_is_an_error_and_not_shared()
    {
        await using var server = DnsServer.Start(s_loopback, new Echo(), new DnsServerOptions { UdpSockets = 2 }, TimeProvider.System);
        Assert.Throws<SocketException>(() => DnsUdpServer.Start(server.EndPoint, new Echo(), new DnsServerOptions { UdpSockets = 2 }, TimeProvider.System));
        Assert.Throws<SocketException>(() => DnsServer.Start(server.EndPoint, new Echo(), new DnsServerOptions(), TimeProvider.System));
    }

    [Fact]
    public async Task A_truncated_answer_is_asked_for_again_over_TCP()
    {
        await using var server = DnsServer.Start(s_loopback, new Echo(), new DnsServerOptions(), TimeProvider.System);
        var response = new byte[DnsLimits.Message];
        var length = await new DnsStubClient(s_patient, TimeProvider.System).ExchangeAsync(server.EndPoint, DnsPackets.Query("big.x", RecordType.TXT), response, default);
        Assert.Equal(200, DnsPackets.Records(response.AsSpan(0, length), Section.Answer).Length);
        Assert.Equal(1, server.TcpFigures.Answers);
        Assert.True(server.Figures.Truncated >= 1);
    }

    [Fact]
    public async Task A_fault_of_the_responder_costs_one_SERVFAIL()
    {
        var faults = 0;
        await using var server = DnsServer.Start(s_loopback, new Echo(), new DnsServerOptions(), TimeProvider.System, _ => Interlocked.Increment(ref faults));
        foreach (var tcpOnly in new[] { false, true })
        {
            var client = new DnsStubClient(new DnsStubOptions { UdpTries = 10, UdpTryMs = 2000, TcpMs = 60_000, TcpOnly = tcpOnly }, TimeProvider.System);
            var response = new byte[DnsLimits.Message];
            await client.ExchangeAsync(server.EndPoint, DnsPackets.Query("fault.x", RecordType.TXT), response, default);
            Assert.Equal(ResponseCode.ServerFailure, DnsPackets.Header(response).Rcode);
            await client.ExchangeAsync(server.EndPoint, DnsPackets.Query("x", RecordType.TXT), response, default);
            Assert.Equal(ResponseCode.NoError, DnsPackets.Header(response).Rcode);
        }

        Assert.True(faults >= 2);
        Assert.Equal(faults, server.Figures.Failures);
    }

    [Fact]
    public async Task Pipelined_queries_are_answered_however_they_are_cut()
    {
        await using var server = DnsServer.Start(s_loopback, new Echo(), new DnsServerOptions { TcpIdleMs = 600_000 }, TimeProvider.System);
        using var socket = await ConnectAsync(server);
        var all = new List<byte>();
        for (var i = 0; i < 500; i++)
            all.AddRange(Framed(DnsPackets.Query($"n{i}.x", RecordType.TXT, (ushort)i)));
        var random = new Random(1);
        var sending = Task.Run(async () =>
        {
            for (var at = 0; at < all.Count;)
            {
                var count = Math.Min(all.Count - at, 1 + random.Next(700));
                at += await socket.SendAsync(all.GetRange(at, count).ToArray());
            }
        });
        for (var i = 0; i < 500; i++)
        {
            var answer = await ReadAsync(socket);
            Assert.Equal(i, DnsPackets.Header(answer).Id); // in order, so none is lost and none doubled
            Assert.Equal([$"n{i}.x. 1 TXT \"tcp\""], DnsPackets.Records(answer, Section.Answer));
        }

        await sending;
        // A query as long as the frame allows, behind all that.
        var longest = new byte[65535];
        DnsPackets.Query("x", RecordType.TXT, 999).CopyTo(longest, 0);
        await SendAllAsync(socket, Framed(longest));
        Assert.Equal(999, DnsPackets.Header(await ReadAsync(socket)).Id);
    }

    [Fact]
    public async Task A_transfer_goes_out_between_other_answers()
    {
        await using var server = DnsServer.Start(s_loopback, new Echo(), new DnsServerOptions { TcpIdleMs = 600_000 }, TimeProvider.System);
        using var socket = await ConnectAsync(server);
        await SendAllAsync(socket, [.. Framed(DnsPackets.Query("x", RecordType.TXT, 1)), .. Framed(DnsPackets.Query("x", RecordType.AXFR, 2)), .. Framed(DnsPackets.Query("x", RecordType.TXT, 3))]);
        foreach (var id in new[] { 1, 2, 2, 2, 3 })
            Assert.Equal(id, DnsPackets.Header(await ReadAsync(socket)).Id);
    }

    [Fact]
    public async Task Connections_are_bounded_for_each_client_and_closed_when_idle_or_slow()
    {
        await using var server = DnsServer.Start(
            s_loopback, new Echo(), new DnsServerOptions { TcpConnectionsPerClientMax = 3, TcpIdleMs = 4000, TcpWriteMs = 2000 }, TimeProvider.System);
        // Three are served; the fourth is closed without an answer.
        using var idle = await ConnectAsync(server);
        using var drop = await ConnectAsync(server);
        using var slow = await ConnectAsync(server, receiveBuffer: 4096);
        await UntilAsync(() => server.TcpConnectionCount == 3, "three connections");
        using var fourth = await ConnectAsync(server);
        Assert.Equal(0, await ReceiveOrResetAsync(fourth));
        Assert.Equal(1, server.Figures.TcpRefused);

        // One sends a query's first byte and no more; one asks for more than it reads.
        await SendAllAsync(drop, [0]);
        var query = Framed(DnsPackets.Query("big.x", RecordType.TXT));
        var flood = Task.Run(async () =>
        {
            try
            {
                for (var i = 0; i < 20_000; i++)
                    await SendAllAsync(slow, query);
            }
            catch (SocketException)
            {
                // Closed by the server: what the test waits for.
            }
        });
        Assert.Equal(0, await ReceiveOrResetAsync(idle));
        Assert.Equal(0, await ReceiveOrResetAsync(drop));
        await flood.WaitAsync(s_patience);
        await UntilAsync(() => server.TcpConnectionCount == 0 && server.Figures.TcpTimedOut == 3, "all three closed");
        using var again = await ConnectAsync(server);
        await SendAllAsync(again, Framed(DnsPackets.Query("x", RecordType.TXT, 7)));
        Assert.Equal(7, DnsPackets.Header(await ReadAsync(again)).Id);
    }

    [Fact]
    public async Task A_stub_client_waits_past_forged_answers_and_says_when_nobody_answers()
    {
        using var fake = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        fake.Bind(s_loopback);
        var serving = Task.Run(async () =>
        {
            var buffer = new byte[512];
            var received = await fake.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0));
            var answer = new byte[512];
            var length = new Echo().Respond(buffer.AsSpan(0, received.ReceivedBytes), default, answer);
            var good = answer[..length];
            var wrongId = good.ToArray();
            wrongId[0] ^= 1;
            var wrongCase = good.ToArray();
            wrongCase[13] ^= 0x20;
            var wrongType = good.ToArray();
            wrongType[12 + 3 + 1] ^= 1;
            foreach (var packet in new[] { wrongId, wrongCase, wrongType, [1], buffer[..received.ReceivedBytes], good })
                await fake.SendToAsync(packet, received.RemoteEndPoint);
        });
        var response = new byte[512];
        var patient = new DnsStubClient(new DnsStubOptions { UdpTries = 1, UdpTryMs = 60_000, RandomizeCase = true }, TimeProvider.System);
        var length = await patient.ExchangeAsync((IPEndPoint)fake.LocalEndPoint!, DnsPackets.Query("x", RecordType.TXT, 5), response, default);
        await serving;
        Assert.Equal(["x. 1 TXT \"udp\""], DnsPackets.Records(response.AsSpan(0, length), Section.Answer));
        Assert.Equal(5, DnsPackets.Header(response).Id);

        var hasty = new DnsStubClient(new DnsStubOptions { UdpTries = 2, UdpTryMs = 50 }, TimeProvider.System);
        var silent = await Assert.ThrowsAsync<DnsExchangeException>(() => hasty.ExchangeAsync((IPEndPoint)fake.LocalEndPoint!, DnsPackets.Query("x", RecordType.TXT), response, default));
        Assert.Contains("2 tries of 50 ms", silent.Message, StringComparison.Ordinal);
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => hasty.ExchangeAsync((IPEndPoint)fake.LocalEndPoint!, DnsPackets.Query("x", RecordType.TXT), response, cancelled.Token));
    }

    private static bool HasIPv6Loopback()
    {
        try
        {
            using var probe = new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp);
            probe.Bind(new IPEndPoint(IPAddress.IPv6Loopback, 0));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static async Task<Socket> ConnectAsync(DnsServer server, int receiveBuffer = 0)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        if (receiveBuffer > 0)
            socket.ReceiveBufferSize = receiveBuffer;
        await socket.ConnectAsync(server.EndPoint);
        return socket;
    }

    private static byte[] Framed(byte[] message)
    {
        var framed = new byte[2 + message.Length];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)message.Length);
        message.CopyTo(framed, 2);
        return framed;
    }

    private static async Task SendAllAsync(Socket socket, byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
            sent += await socket.SendAsync(bytes.AsMemory(sent));
    }

    private static async Task<byte[]> ReadAsync(Socket socket)
    {
        var prefix = await FillAsync(socket, 2);
        return await FillAsync(socket, BinaryPrimitives.ReadUInt16BigEndian(prefix));
    }

    private static async Task<byte[]> FillAsync(Socket socket, int count)
    {
        using var deadline = new CancellationTokenSource(s_patience);
        var buffer = new byte[count];
        for (var filled = 0; filled < count;)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(filled), deadline.Token);
            Assert.True(read > 0, "the server closed the connection");
            filled += read;
        }

        return buffer;
    }

    private static async Task<int> ReceiveOrResetAsync(Socket socket)
    {
        using var deadline = new CancellationTokenSource(s_patience);
        try
        {
            return await socket.ReceiveAsync(new byte[1], deadline.Token);
        }
        catch (SocketException)
        {
            return 0; // reset: closed as well
        }
    }

    private static async Task UntilAsync(Func<bool> condition, string what)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed < s_patience, $"waited for {what}");
            await Task.Delay(20);
        }
    }

    /// <summary>Answers TXT with how it was asked; "big" with more than UDP takes, "fault" with an exception, AXFR with three messages.</summary>
    private sealed class Echo : IDnsResponder
    {
        public int Respond(ReadOnlySpan<byte> query, in DnsRequest request, Span<byte> response)
        {
            if (DnsQuery.TryRead(query, out var parsed) == QueryStatus.Ignore)
                return 0;
            var name = WireName.ToText(parsed.Name);
            if (name.StartsWith("fault", StringComparison.OrdinalIgnoreCase))
                throw new InvalidOperationException("a fault");
            if (parsed.Type == RecordType.AXFR)
                return IDnsResponder.Transfer;
            var writer = new DnsWriter(response, request.IsTcp ? DnsLimits.Message : 512, parsed.Id, DnsFlags.Response);
            writer.TryWriteQuestion(parsed.Question);
            for (var i = name.StartsWith("big", StringComparison.OrdinalIgnoreCase) ? 200 : 1; i > 0; i--)
            {
                if (!writer.TryWriteRecord(Section.Answer, parsed.Name, RecordType.TXT, RecordClass.IN, 1, request.IsTcp ? "\u0003tcp"u8 : "\u0003udp"u8))
                    writer.Flags |= DnsFlags.Truncated;
            }

            return writer.Finish();
        }

        public IDnsTransfer BeginTransfer(ReadOnlySpan<byte> query, in DnsRequest request)
        {
            DnsQuery.TryRead(query, out var parsed);
            return new Three(parsed.Id);
        }

        private sealed class Three(ushort id) : IDnsTransfer
        {
            private int _left = 3;

            public int Next(Span<byte> message) => _left-- > 0 ? new DnsWriter(message, 512, id, DnsFlags.Response).Finish() : 0;
        }
    }
}
