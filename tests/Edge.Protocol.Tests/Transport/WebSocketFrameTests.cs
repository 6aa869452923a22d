using System.Buffers;
using Edge.Transport;

namespace Edge.Protocol.Tests.Transport;

/// <summary>Frames of RFC 6455: the RFC's own examples, every split, every prefix, and bytes that are nonsense.</summary>
[Trait("Category", "Unit")]
public sealed class WebSocketFrameTests
{
    // §5.7: "Hello", unmasked and masked.
    private static readonly byte[] s_hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    private static readonly byte[] s_masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

    [Fact]
    public void The_RFCs_examples_are_read_and_written()
    {
        Assert.Equal(s_hello, WebSocketFrame.Write(WebSocketOpcode.Text, "Hello"u8));
        Assert.Equal(s_masked, WebSocketFrame.Write(WebSocketOpcode.Text, "Hello"u8, [0x37, 0xfa, 0x21, 0x3d]));
        foreach (var (bytes, isMasked) in new[] { (s_hello, false), (s_masked, true) })
        {
            var buffer = new ReadOnlySequence<byte>(bytes);
            Assert.Equal(WebSocketFrameStatus.Complete, WebSocketFrame.TryRead(ref buffer, isMasked, 1000, out var opcode, out var isFinal, out var payload, out _));
            Assert.Equal((WebSocketOpcode.Text, true, 0L), (opcode, isFinal, buffer.Length));
            Assert.Equal("Hello"u8.ToArray(), payload);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(125)]
    [InlineData(126)]
    [InlineData(65_535)]
    [InlineData(65_536)]
    public void Every_form_of_length_comes_back_however_it_is_split(int length)
    {
        var payload = new byte[length];
        new Random(length).NextBytes(payload);
        var frame = WebSocketFrame.Write(WebSocketOpcode.Binary, payload, [1, 2, 3, 4]);
        foreach (var at in Enumerable.Range(0, Math.Min(frame.Length, 20)).Append(frame.Length - 1))
        {
            var prefix = new ReadOnlySequence<byte>(frame, 0, at);
            Assert.Equal(WebSocketFrameStatus.NeedMoreData, WebSocketFrame.TryRead(ref prefix, true, 1 << 20, out _, out _, out _, out _));
            Assert.Equal(at, prefix.Length);
            var split = Split(frame, at);
            Assert.Equal(WebSocketFrameStatus.Complete, WebSocketFrame.TryRead(ref split, true, 1 << 20, out _, out _, out var read, out _));
            Assert.Equal(payload, read);
        }
    }

    [Theory]
    [InlineData(new byte[] { 0xc1, 0x80 }, "reserved")]
    [InlineData(new byte[] { 0x83, 0x80 }, "no opcode 3")]
    [InlineData(new byte[] { 0x81, 0x05 }, "not masked")]
    [InlineData(new byte[] { 0x89, 0xfe }, "control frame")]
    [InlineData(new byte[] { 0x09, 0x80 }, "control frame")]
    [InlineData(new byte[] { 0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0 }, "over the limit")]
    [InlineData(new byte[] { 0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0 }, "over the limit")]
    public void What_breaks_the_grammar_is_told_before_the_payload_is_waited_for(byte[] bytes, string reason)
    {
        var buffer = new ReadOnlySequence<byte>(bytes);
        Assert.Equal(WebSocketFrameStatus.Malformed, WebSocketFrame.TryRead(ref buffer, true, 1 << 20, out _, out _, out _, out var error));
        Assert.Contains(reason, error, StringComparison.Ordinal);
        Assert.Equal(bytes.Length, buffer.Length);
    }

    [Fact]
    public void Nonsense_is_refused_or_waits_and_never_throws()
    {
        var random = new Random(1);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = random.Next(3) == 0 ? new byte[random.Next(40)] : WebSocketFrame.Write((WebSocketOpcode)random.Next(16), new byte[random.Next(300)], [9, 8, 7, 6]);
            for (var flips = random.Next(4); flips > 0 && bytes.Length > 0; flips--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            var buffer = new ReadOnlySequence<byte>(bytes);
            var status = WebSocketFrame.TryRead(ref buffer, random.Next(4) != 0, 1000, out _, out _, out var payload, out var error);
            Assert.Equal(status == WebSocketFrameStatus.Malformed, error.Length > 0);
            Assert.Equal(status == WebSocketFrameStatus.Complete, buffer.Length < bytes.Length);
            Assert.True(payload.Length <= 1000);
        }
    }

    private static ReadOnlySequence<byte> Split(byte[] bytes, int at)
    {
        var first = new Part(bytes.AsMemory(0, at), null);
        var last = new Part(bytes.AsMemory(at), first);
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private sealed class Part : ReadOnlySequenceSegment<byte>
    {
        public Part(ReadOnlyMemory<byte> memory, Part? before)
        {
            Memory = memory;
            if (before is null)
                return;
            RunningIndex = before.Memory.Length;
            before.Next = this;
        }
    }
}
