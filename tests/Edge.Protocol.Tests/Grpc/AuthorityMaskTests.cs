using System.Buffers;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using Edge.Protocol.Grpc;
using Edge.Testing;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Protocol.Tests.Grpc;

/// <summary>Clients that send a socket's path as <c>:authority</c>, as grpc-go does.</summary>
[Trait("Category", "Devices")]
public sealed class AuthorityMaskTests
{
    private static readonly byte[] s_hello = [0, 0, 0, 0, 7, .. new StringValue { Value = "hello" }.ToByteArray()];
    private static readonly byte[] s_preface = Encoding.ASCII.GetBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    [Theory]
    // RFC 7541 C.3.1 to C.3.3 (plain) and C.4.1 to C.4.3 (Huffman): www.example.com is fifteen characters.
    [InlineData("828684410f7777772e6578616d706c652e636f6d", "828684410f616161616161616161616161616161")]
    [InlineData("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684410f616161616161616161616161616161")]
    [InlineData("828684be58086e6f2d6361636865", "828684be58086e6f2d6361636865")]
    [InlineData("828684be5886a8eb10649cbf", "828684be5886a8eb10649cbf")]
    [InlineData("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")]
    [InlineData("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")]
    // Without indexing, never indexed, and with the name spelt out.
    [InlineData("01022f61", "01026161")]
    [InlineData("11022f61", "11026161")]
    [InlineData("400a3a617574686f72697479022f61", "400a3a617574686f72697479026161")]
    // A table size update goes through.
    [InlineData("3fe11f41022f61", "3fe11f41026161")]
    public void The_authority_becomes_as_many_letters_and_all_else_stays(string block, string masked)
        => Assert.Equal(masked, Convert.ToHexStringLower(AuthorityMask.Mask(Convert.FromHexString(block))!));

    [Theory]
    [InlineData("41")]
    [InlineData("41052f61")]
    [InlineData("4182ff")]
    [InlineData("41ffffffffffff7f")]
    [InlineData("4181f0")] // Huffman padding that is none
    public void A_block_that_cannot_be_read_is_left_to_the_server(string block) => Assert.Null(AuthorityMask.Mask(Convert.FromHexString(block)));

    [Fact]
    public void A_long_authority_keeps_its_length()
    {
        var path = "/" + new string('x', 300);
        var block = new List<byte> { 0x41, 127, 0xae, 0x01 };
        block.AddRange(Encoding.ASCII.GetBytes(path));
        var masked = AuthorityMask.Mask([.. block])!;
        Assert.Equal(block[..4], masked[..4]);
        Assert.Equal(new string('a', 301), Encoding.ASCII.GetString(masked[4..]));
    }

    [Fact]
    public void Frames_go_through_in_any_pieces()
    {
        // Padding and priority go, a block in two frames becomes one, data are copied.
        byte[] input =
        [
            .. s_preface,
            .. Frame(4, 0, 0, [0, 3, 0, 0, 0, 100]),
            .. Frame(1, 0x8 | 0x20, 1, [2, 0, 0, 0, 0, 15, 0x82, 0x41, 0x02, 0, 0]),
            .. Frame(9, 0x4, 1, [0x2f, 0x62, 0x84]),
            .. Frame(0, 1, 1, [1, 2, 3]),
            .. Frame(1, 0x5, 3, [0xbe]),
        ];
        byte[] expected =
        [
            .. s_preface, .. Frame(4, 0, 0, [0, 3, 0, 0, 0, 100]), .. Frame(1, 0x4, 1, [0x82, 0x41, 0x02, 0x61, 0x61, 0x84]), .. Frame(0, 1, 1, [1, 2, 3]), .. Frame(1, 0x5, 3, [0xbe]),
        ];
        for (var size = 1; size <= input.Length; size++)
        {
            var mask = new AuthorityMask();
            var output = new ArrayBufferWriter<byte>();
            var waiting = Array.Empty<byte>();
            foreach (var piece in input.Chunk(size))
            {
                waiting = [.. waiting, .. piece];
                var sequence = new ReadOnlySequence<byte>(waiting);
                waiting = sequence.Slice(mask.Feed(sequence, output)).ToArray();
            }

            Assert.Empty(waiting);
            Assert.Equal(expected, output.WrittenSpan.ToArray());
        }
    }

    [Theory]
    [InlineData(1, 0x4, 20_000, "over the limit")]
    [InlineData(9, 0x4, 3, "outside a header block")]
    [InlineData(1, 0xc, 0, "shorter than its padding")]
    public void Frames_against_the_rules_are_refused(byte type, byte flags, int length, string reason)
    {
        byte[] input = [.. s_preface, .. Frame(type, flags, 1, new byte[length])];
        var mask = new AuthorityMask();
        var output = new ArrayBufferWriter<byte>();
        var e = Assert.Throws<InvalidDataException>(() => mask.Feed(new ReadOnlySequence<byte>(input), output));
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_names_the_sockets_absolute_path_is_served()
    {
        using var directory = new TempDirectory();
        await using var server = await StartAsync(directory);
        var body = directory.File("body");
        await File.WriteAllBytesAsync(body, s_hello);
        var answer = directory.File("answer");
        var start = new ProcessStartInfo("curl") { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var argument in (string[])["-sS", "--http2-prior-knowledge", "--unix-socket", directory.File("dmi.sock"), "-H", $"Host: {directory.File("dmi.sock")}",
            "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", $"@{body}", "-D", "-", "-o", answer, "http://x/test.Service/Echo"])
            start.ArgumentList.Add(argument);
        using var curl = Process.Start(start)!;
        var said = curl.StandardError.ReadToEndAsync();
        var head = await curl.StandardOutput.ReadToEndAsync();
        await curl.WaitForExitAsync();

        Assert.True(curl.ExitCode == 0, await said);
        Assert.StartsWith("HTTP/2 200", head, StringComparison.Ordinal);
        Assert.Equal("hello!", StringValue.Parser.ParseFrom((await File.ReadAllBytesAsync(answer))[5..]).Value);
    }

    [Fact]
    public async Task A_later_call_may_name_the_authority_by_its_index()
    {
        using var directory = new TempDirectory();
        await using var server = await StartAsync(directory);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(directory.File("dmi.sock")));
        await using var stream = new NetworkStream(socket);
        byte[] method = [0x83, 0x86, 0x04, 18, .. Encoding.ASCII.GetBytes("/test.Service/Echo")];
        byte[] type = [0x0f, 0x10, 16, .. Encoding.ASCII.GetBytes("application/grpc")];
        await stream.WriteAsync((byte[])
        [
            .. s_preface, .. Frame(4, 0, 0, []),
            .. Frame(1, 0x4, 1, [.. method, 0x41, 10, .. Encoding.ASCII.GetBytes("/run/x.soc"), .. type]), .. Frame(0, 1, 1, s_hello),
            .. Frame(1, 0x4, 3, [.. method, 0xbe, .. type]), .. Frame(0, 1, 3, s_hello),
        ]);

        var head = new byte[9];
        var answers = new List<string>();
        for (var ended = 0; ended < 2;)
        {
            await stream.ReadExactlyAsync(head, deadline.Token);
            var payload = new byte[head[0] << 16 | head[1] << 8 | head[2]];
            await stream.ReadExactlyAsync(payload, deadline.Token);
            Assert.False(head[3] is 3 or 7, $"the server broke off: frame of type {head[3]}, {Convert.ToHexString(payload)}");
            if (head[3] == 0 && payload.Length > 5)
                answers.Add(StringValue.Parser.ParseFrom(payload[5..]).Value);
            ended += head[3] is 0 or 1 && (head[4] & 1) != 0 ? 1 : 0;
        }

        Assert.Equal(["hello!", "hello!"], answers);
    }

    private static Task<GrpcServer> StartAsync(TempDirectory directory)
        => GrpcServer.StartAsync(
            directory.File("dmi.sock"),
            new GrpcMethods().MapUnary("/test.Service/Echo", StringValue.Parser, (StringValue request, CancellationToken _) => Task.FromResult(new StringValue { Value = request.Value + "!" })),
            NullLoggerFactory.Instance, CancellationToken.None);

    private static byte[] Frame(byte type, byte flags, byte stream, byte[] payload)
        => [(byte)(payload.Length >> 16), (byte)(payload.Length >> 8), (byte)payload.Length, type, flags, 0, 0, 0, stream, .. payload];
}
