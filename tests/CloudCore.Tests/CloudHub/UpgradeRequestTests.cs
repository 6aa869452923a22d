using System.Text;
using Edge.Cloud.CloudHub;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class UpgradeRequestTests
{
    private const string Good =
        "GET /project/edge-1/events HTTP/1.1\r\nHost: cloud:10000\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nNode_id: edge-1\r\nConnectionUse: msg\r\nEdge-Wire: 1\r\n\r\n";

    [Fact]
    public void Handshake_of_the_rfc_is_read_and_accepted()
    {
        var (status, request, _) = Read(Good);
        Assert.Equal(UpgradeStatus.Complete, status);
        Assert.Equal(("edge-1", "msg", "1"), (request.NodeId, request.ConnectionUse, request.Wire));
        // RFC 6455 §1.3.
        Assert.Equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", request.Accept);
    }

    [Fact]
    public void Every_prefix_asks_for_more()
    {
        for (var length = 0; length < Good.Length; length++)
            Assert.Equal(UpgradeStatus.NeedMoreData, Read(Good[..length]).Status);
    }

    [Theory]
    [InlineData("Upgrade: websocket", "Upgrade: h2c")]
    [InlineData("Connection: keep-alive, Upgrade", "Connection: close")]
    [InlineData("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8")]
    [InlineData("dGhlIHNhbXBsZSBub25jZQ==", "short")]
    [InlineData("dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!!!")]
    [InlineData("GET /", "POST /")]
    [InlineData("HTTP/1.1", "HTTP/1.0")]
    public void Request_that_is_no_handshake_has_no_key(string part, string instead)
    {
        var (status, request, _) = Read(Good.Replace(part, instead, StringComparison.Ordinal));
        Assert.Equal((UpgradeStatus.Complete, ""), (status, request.Key));
    }

    [Fact]
    public void Header_that_is_said_again_says_nothing_new()
    {
        // As a stock edge's second try to connect: it adds its ConnectionUse to the headers of the first.
        var (status, request, error) = Read(Good.Replace("ConnectionUse: msg", "ConnectionUse: msg\r\nConnectionUse: msg", StringComparison.Ordinal));
        Assert.Equal((UpgradeStatus.Complete, ""), (status, error));
        Assert.NotEmpty(request.Key);
    }

    [Theory]
    [InlineData("GET /project/edge-1/events HTTP/1.1", "GET  HTTP/1.1", "first line")]
    [InlineData("GET /project/edge-1/events HTTP/1.1", "\u0016\u0003\u0001", "first line")]
    [InlineData("Host: cloud:10000", "no colon", "malformed")]
    [InlineData("Host: cloud:10000", "Ho st: x", "malformed")]
    [InlineData("Host: cloud:10000", "Host: a\nnode_id: b", "malformed")]
    [InlineData("Host: cloud:10000", "node_id: edge-2", "stands twice")]
    public void Malformed_head_says_what_is_wrong(string part, string instead, string expected)
    {
        var (status, _, error) = Read(Good.Replace(part, instead, StringComparison.Ordinal));
        Assert.Equal(UpgradeStatus.Malformed, status);
        Assert.Contains(expected, error, StringComparison.Ordinal);
    }

    [Fact]
    public void Endless_head_too_many_headers_and_early_bytes_are_refused()
    {
        Assert.Contains("over 8192 bytes", Read("GET / HTTP/1.1\r\nX: " + new string('x', UpgradeRequest.SizeMax)).Error, StringComparison.Ordinal);
        Assert.Contains("more than 64", Read("GET / HTTP/1.1\r\n" + string.Concat(Enumerable.Range(0, 80).Select(i => $"X{i}: y\r\n")) + "\r\n").Error, StringComparison.Ordinal);
        Assert.Contains("before the answer", Read(Good + "\u0081").Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Noise_never_throws()
    {
        var random = new Random(3);
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = Encoding.Latin1.GetBytes(Good);
            for (var i = random.Next(1, 6); i > 0; i--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            UpgradeRequest.TryRead(bytes, out _, out _);
        }
    }

    private static (UpgradeStatus Status, UpgradeRequest Request, string Error) Read(string text)
    {
        var status = UpgradeRequest.TryRead(Encoding.Latin1.GetBytes(text), out var request, out var error);
        return (status, request, error);
    }
}
