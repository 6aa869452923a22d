using System.Text;
using System.Text.Json.Nodes;
using Edge.Protocol.Tunnel;

namespace Edge.Protocol.Tests.Tunnel;

/// <summary>Messages of KubeEdge's tunnel: the bytes that Go's uvarint makes, the connect message as a stock edge reads it, and nonsense.</summary>
[Trait("Category", "Unit")]
public sealed class TunnelMessageTests
{
    [Theory]
    [InlineData(1ul, TunnelMessageType.Data, new byte[] { 0x01, 0x03, 0x68, 0x69 })]
    [InlineData(300ul, TunnelMessageType.Data, new byte[] { 0xac, 0x02, 0x03, 0x68, 0x69 })]
    [InlineData(ulong.MaxValue, TunnelMessageType.AttachConnect, new byte[] { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x06, 0x68, 0x69 })]
    public void A_message_is_two_varints_and_the_rest(ulong id, TunnelMessageType type, byte[] bytes)
    {
        Assert.Equal(bytes, new TunnelMessage(id, type, "hi"u8.ToArray()).ToBytes());
        Assert.True(TunnelMessage.TryRead(bytes, out var read, out _));
        Assert.Equal((id, type, "hi"), (read.Id, read.Type, Encoding.ASCII.GetString(read.Data.Span)));
    }

    [Theory]
    [InlineData(new byte[0])]
    [InlineData(new byte[] { 1 })]
    [InlineData(new byte[] { 0x80, 0x80 })]
    [InlineData(new byte[] { 1, 7 })]
    [InlineData(new byte[] { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x03 })]
    public void What_is_no_message_is_refused(byte[] bytes)
    {
        Assert.False(TunnelMessage.TryRead(bytes, out _, out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void Whatever_is_read_reads_the_same_when_it_is_written_again()
    {
        var random = new Random(1);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = new byte[random.Next(30)];
            random.NextBytes(bytes);
            if (!TunnelMessage.TryRead(bytes, out var message, out _))
                continue;
            Assert.True(TunnelMessage.TryRead(message.ToBytes(), out var again, out _));
            Assert.Equal((message.Id, message.Type), (again.Id, again.Type));
            Assert.True(message.Data.Span.SequenceEqual(again.Data.Span));
            Assert.Null(TunnelConnect.Read(message, out var problem));
            Assert.NotEmpty(problem);
        }
    }

    [Fact]
    public void A_connect_message_is_what_a_stock_edge_unmarshals()
    {
        var connect = TunnelConnect.Read(
            7, "POST /exec/default/a%2Fb/c?command=sh&input=1 HTTP/1.1\r\nHost: edge-1\r\nupgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: channel.k8s.io\r\nAuthorization: Bearer x\r\n\r\n"u8,
            out var problem);
        Assert.True(connect is not null, problem);
        var message = connect.ToMessage();
        Assert.Equal((7ul, TunnelMessageType.ExecConnect), (message.Id, message.Type));
        Assert.True(
            JsonNode.DeepEquals(
                JsonNode.Parse("""
                    {"MessID":7,"url":{"Scheme":"http","Opaque":"","User":null,"Host":"127.0.0.1:10350","Path":"/exec/default/a/b/c","RawPath":"/exec/default/a%2Fb/c","ForceQuery":false,"RawQuery":"command=sh&input=1","Fragment":"","RawFragment":""},
                     "header":{"Upgrade":["SPDY/3.1"],"X-Stream-Protocol-Version":["v4.channel.k8s.io","channel.k8s.io"]},"method":"POST"}
                    """),
                JsonNode.Parse(message.Data.Span)),
            Encoding.UTF8.GetString(message.Data.Span));
        var read = TunnelConnect.Read(message, out problem);
        Assert.True(read is not null, problem);
        Assert.Equal((connect.Method, connect.Path, connect.RawPath, connect.RawQuery), (read.Method, read.Path, read.RawPath, read.RawQuery));
    }

    [Theory]
    [InlineData("GET /containerLogs/ns/p/c?follow=true HTTP/1.1\r\n\r\n", TunnelMessageType.LogsConnect, false, true)]
    [InlineData("GET /containerLogs/ns/p/c HTTP/1.1\r\n\r\n", TunnelMessageType.LogsConnect, false, false)]
    [InlineData("GET /attach/ns/p/c HTTP/1.1\r\n\r\n", TunnelMessageType.AttachConnect, true, false)]
    [InlineData("GET /stats/summary? HTTP/1.1\r\n\r\n", TunnelMessageType.MetricsConnect, false, false)]
    [InlineData("GET /metrics/cadvisor HTTP/1.1\r\n\r\n", TunnelMessageType.MetricsConnect, false, false)]
    public void The_path_says_what_is_connected(string head, TunnelMessageType type, bool isRaw, bool isFollowed)
    {
        var connect = TunnelConnect.Read(1, Encoding.ASCII.GetBytes(head), out var problem);
        Assert.True(connect is not null, problem);
        Assert.Equal((type, isRaw, isFollowed), (connect.Type, connect.IsRaw, connect.IsFollowed));
    }

    [Theory]
    [InlineData("POST /portForward/ns/p HTTP/1.1\r\n\r\n", "port-forward")]
    [InlineData("DELETE /exec/ns/p/c HTTP/1.1\r\n\r\n", "first line")]
    [InlineData("GET relative HTTP/1.1\r\n\r\n", "first line")]
    [InlineData("\r\n\r\n", "first line")]
    public void What_a_tunnel_has_no_way_for_is_refused(string head, string reason)
    {
        Assert.Null(TunnelConnect.Read(1, Encoding.ASCII.GetBytes(head), out var problem));
        Assert.Contains(reason, problem, StringComparison.Ordinal);
    }
}
