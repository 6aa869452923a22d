using System.Text;
using Edge.Core.EdgeStream;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>What of a stream's request goes on to the local API.</summary>
[Trait("Category", "Unit")]
public sealed class RequestHeadTests
{
    [Theory]
    [InlineData("GET /containerLogs/default/web/main?follow=true HTTP/1.1\r\nHost: edge-1\r\n\r\nrest", 74)]
    [InlineData("POST /exec/default/web/main?command=ls HTTP/1.1\r\n\r\n", 51)]
    [InlineData("GET /containerLogs/default/web/main HTTP/1.1\r\nHost: ", 0)]
    [InlineData("GET /stats/summary?only_cpu_and_memory=true HTTP/1.1\r\n\r\n", 56)]
    [InlineData("GET /configz HTTP/1.1\r\n\r\n", -1)]
    [InlineData("GET /pods HTTP/1.1\r\n\r\n", -1)]
    [InlineData("GET /exec/../configz HTTP/1.1\r\n\r\n", -1)]
    [InlineData("DELETE /exec/a/b/c HTTP/1.1\r\n\r\n", -1)]
    [InlineData("\r\n\r\n", -1)]
    public void Only_what_kubectl_needs_goes_on(string text, int expected)
    {
        Assert.Equal(expected, RequestHead.Read(Encoding.ASCII.GetBytes(text), out var problem));
        Assert.Equal(expected < 0, problem.Length > 0);
    }

    [Fact]
    public void A_head_without_an_end_is_refused_at_its_limit()
        => Assert.Equal(-1, RequestHead.Read(new byte[RequestHead.SizeMax], out _));

    [Fact]
    public void The_nodes_own_token_replaces_what_came()
    {
        var head = Encoding.Latin1.GetBytes("GET /exec/a/b/c HTTP/1.1\r\nauthorization: Bearer stolen\r\nUpgrade: SPDY/3.1\r\n\r\n");
        Assert.Equal("GET /exec/a/b/c HTTP/1.1\r\nAuthorization: Bearer own\r\nUpgrade: SPDY/3.1\r\n\r\n", Encoding.Latin1.GetString(RequestHead.WithToken(head, "own")));
    }
}
