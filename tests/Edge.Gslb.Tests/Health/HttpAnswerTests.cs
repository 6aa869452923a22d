using System.Text;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class HttpAnswerTests
{
    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true)]
    [InlineData("HTTP/1.1 200 OK\r\ncontent-length:2\r\nConnection: Keep-Alive\r\n\r\nok", true)]
    [InlineData("HTTP/1.1 204 None\r\n\r\n", true)]
    [InlineData("HTTP/1.1 304 Same\r\nContent-Length: 500\r\n\r\n", true)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", false)] // the rest has not come
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", false)] // more than it said
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", false)]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false)]
    [InlineData("HTTP/1.1 200 OK\r\n\r\nuntil the end", false)]
    [InlineData("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false)]
    [InlineData("HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok", false)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", false)]
    [InlineData("", false)]
    public void A_connection_is_kept_only_where_the_answer_is_whole_and_the_server_wants_it(string answer, bool isKept) => Assert.Equal(isKept, HttpAnswer.LeavesOpen(Encoding.ASCII.GetBytes(answer)));

    [Theory]
    [InlineData("", false, "Host: 192.0.2.7:8080\r\n", "Connection: keep-alive\r\n\r\n")]
    [InlineData("shop.example.com", true, "Host: shop.example.com\r\n", "Connection: close\r\n\r\n")]
    public void The_request_names_its_host_and_whether_it_is_the_last(string host, bool isLast, string hostLine, string end)
    {
        var buffer = new byte[HttpAnswer.BytesMax];
        var target = new HealthTarget("a", Network.Mapped(0xC000_0207), 8080, "", HealthCheckSpec.None with { Kind = CheckKind.Http, Path = "/healthz", Host = host });
        Assert.True(HttpAnswer.TryWriteRequest(buffer, target, isLast, out var length));
        var text = Encoding.ASCII.GetString(buffer, 0, length);
        Assert.StartsWith($"GET /healthz HTTP/1.1\r\n{hostLine}", text, StringComparison.Ordinal);
        Assert.EndsWith(end, text, StringComparison.Ordinal);
    }

    [Fact]
    public void An_IPv6_address_stands_in_brackets_and_a_request_that_is_too_long_is_refused()
    {
        var target = new HealthTarget("a", UInt128.One, 80, "", HealthCheckSpec.None with { Kind = CheckKind.Http });
        var buffer = new byte[HttpAnswer.BytesMax];
        Assert.True(HttpAnswer.TryWriteRequest(buffer, target, true, out var length));
        Assert.Contains("Host: [::1]:80\r\n", Encoding.ASCII.GetString(buffer, 0, length), StringComparison.Ordinal);
        foreach (var path in new[] { 8_000, 8_150, 9_000 })
            Assert.Equal(path == 8_000, HttpAnswer.TryWriteRequest(buffer, target with { Check = target.Check with { Path = "/" + new string('a', path) } }, true, out _));
    }
}
