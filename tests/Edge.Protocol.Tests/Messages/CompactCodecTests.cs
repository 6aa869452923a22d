using System.Buffers;
using System.IO.Compression;
using System.Text;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Protocol.Tests.Messages;

[Trait("Category", "Sync")]
public sealed class CompactCodecTests
{
    private static readonly Message s_small = new()
    {
        Id = "65a2f41b-5548-4245-afdb-b8f78ba6f1cb",
        ParentId = "1bb8ba2f-165f-4e51-8ed5-6eb8b5a4ce19",
        TimestampMs = 1795237424640,
        ResourceVersion = "314",
        Source = Sources.EdgeController,
        Group = Groups.Resource,
        Operation = Operations.Update,
        Resource = "default/configmap/ü",
        Content = "{\"a\":[1,\"ü\"]}"u8.ToArray(),
    };

    public static TheoryData<string> Shapes => new(AllShapes().Keys);

    [Fact]
    public void A_place_in_a_trace_travels_where_older_peers_ignore_it_and_never_on_KubeEdges_wire()
    {
        var traced = s_small with { Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
        ReadOnlySpan<byte> bytes = Write(traced);
        Assert.True(CompactCodec.TryRead(ref bytes, out var read, out var error), error);
        Assert.Equal((traced.Trace, ""), (read.Trace, read.Destination));
        Assert.Equal(MessageCodec.Write(s_small), MessageCodec.Write(traced));
        // A destination is worth more: it decides what the edge does.
        bytes = Write(traced with { Destination = "repair" });
        Assert.True(CompactCodec.TryRead(ref bytes, out read, out error), error);
        Assert.Equal((null, "repair"), (read.Trace, read.Destination));
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void A_message_of_any_shape_reads_back_the_same_and_takes_its_record_off(string shape)
    {
        var message = AllShapes()[shape];
        var bytes = Write(message, s_small);
        ReadOnlySpan<byte> rest = bytes;
        Assert.True(CompactCodec.TryRead(ref rest, out var read, out var error), error);
        AssertSame(message, read);
        Assert.True(CompactCodec.TryRead(ref rest, out read, out error), error);
        AssertSame(s_small, read);
        Assert.True(rest.IsEmpty);
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Every_prefix_is_refused_with_a_reason_and_takes_nothing_off(string shape)
    {
        var bytes = Write(AllShapes()[shape]);
        for (var length = 0; length < bytes.Length; length++)
        {
            ReadOnlySpan<byte> prefix = bytes.AsSpan(0, length);
            Assert.False(CompactCodec.TryRead(ref prefix, out _, out var error), $"prefix of {length} of {bytes.Length} bytes was taken");
            Assert.NotEmpty(error);
            Assert.Equal(length, prefix.Length);
        }
    }

    [Fact]
    public void A_keepalive_is_one_byte()
    {
        var keepalive = Message.Create(TimeProvider.System, Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node", MessageCodec.JsonString("ping"));
        var bytes = Write(keepalive);
        Assert.Equal([1], bytes);
        ReadOnlySpan<byte> rest = bytes;
        Assert.True(CompactCodec.TryRead(ref rest, out var read, out _));
        Assert.Equal((Operations.Keepalive, "node", Groups.Resource), (read.Operation, read.Resource, read.Group));
    }

    [Fact]
    public void An_acknowledgement_is_a_fifth_of_its_JSON()
    {
        var ack = s_small.Response(TimeProvider.System, MessageCodec.Ok);
        Assert.True(Write(ack).Length * 4 < MessageCodec.Write(ack).Length, $"{Write(ack).Length} of {MessageCodec.Write(ack).Length} bytes");
    }

    [Fact]
    public void Only_a_canonical_uuid_travels_as_sixteen_bytes()
    {
        foreach (var id in (string[])["65A2F41B-5548-4245-AFDB-B8F78BA6F1CB", "{65a2f41b-5548-4245-afdb-b8f78ba6f1cb}", "65a2f41b55484245afdbb8f78ba6f1cb", "", "x"])
        {
            ReadOnlySpan<byte> rest = Write(s_small with { Id = id, ParentId = id });
            Assert.True(CompactCodec.TryRead(ref rest, out var read, out var error), error);
            Assert.Equal((id, id), (read.Id, read.ParentId));
        }
    }

    [Fact]
    public void Large_contents_are_compressed_where_that_helps_and_only_there()
    {
        var text = s_small with { Content = MessageCodec.JsonString(new string('a', 100_000)) };
        Assert.InRange(Write(text).Length, 50, 2000);
        var noise = new byte[10_000];
        new Random(5).NextBytes(noise);
        Assert.InRange(Write(s_small with { Content = noise }).Length, noise.Length, noise.Length + 100);
        ReadOnlySpan<byte> rest = Write(s_small with { Content = noise });
        Assert.True(CompactCodec.TryRead(ref rest, out var read, out _));
        Assert.Equal(noise, read.Content.ToArray());
    }

    [Fact]
    public void A_shared_content_that_is_asked_for_again_is_compressed_once_for_all_the_others()
    {
        var shared = new SharedContent(MessageCodec.JsonString(new string('a', 100_000)));
        Assert.Equal(shared.Compressed, shared.Compressed.ToArray());
        var kept = shared.Compressed;
        Assert.True(kept.Span == shared.Compressed.Span);
        var message = s_small with { Content = shared.Utf8, Shared = shared };
        ReadOnlySpan<byte> rest = Write(message);
        Assert.True(CompactCodec.TryRead(ref rest, out var read, out _));
        Assert.Equal(shared.Utf8.ToArray(), read.Content.ToArray());
        Assert.True(new SharedContent("{}"u8.ToArray()).Compressed.IsEmpty);
    }

    [Theory]
    [InlineData("00", "not known")]
    [InlineData("03", "not known")]
    [InlineData("ff", "not known")]
    [InlineData("02 40 ffffffff7f", "ends early")] // an id of 34 GB
    [InlineData("02 40 ffffffffffffffffffff", "ends early")] // a varint without end
    [InlineData("02 40 00 00 ff 00 00 00", "ends early")] // a word that is not in the table
    [InlineData("02 40 00 00 00 00 00 00 00 00 00 00", "no operation")]
    [InlineData("02 10 00 00 01 0a 0f 00 8180808008 05 0102030405", "over the limit")] // a content that is to become 2 GB
    [InlineData("02 10 00 00 01 0a 0f 00 808040 05 0102030405", "cannot hold")] // 5 bytes that are to become 1 MB
    [InlineData("02 10 00 00 01 0a 0f 00 8001 05 0102030405", "malformed")] // no zlib
    [InlineData("02 10 00 00 01 0a 0f 00 8001 08 7820000000010300", "malformed")] // zlib that asks for a preset dictionary
    public void Hostile_bytes_are_refused_with_the_reason(string hex, string reason)
    {
        var bytes = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        ReadOnlySpan<byte> rest = bytes;
        Assert.False(CompactCodec.TryRead(ref rest, out _, out var error));
        Assert.Contains(reason, error, StringComparison.Ordinal);
        Assert.Equal(bytes.Length, rest.Length);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public void A_compressed_content_of_another_length_than_it_names_is_refused(int off)
    {
        var content = Encoding.UTF8.GetBytes(new string('a', 600));
        ReadOnlySpan<byte> rest = Compressed(content, content.Length + off);
        Assert.False(CompactCodec.TryRead(ref rest, out _, out var error));
        Assert.Contains($"does not have the {content.Length + off} bytes", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_zlib_bomb_takes_no_more_memory_than_the_length_it_names()
    {
        var bomb = Compressed(new byte[64 * 1024 * 1024], 1000);
        var before = GC.GetAllocatedBytesForCurrentThread();
        ReadOnlySpan<byte> rest = bomb;
        Assert.False(CompactCodec.TryRead(ref rest, out _, out _));
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 200_000, "the whole bomb was inflated");
    }

    [Fact]
    public void Refusing_a_huge_length_takes_no_memory_for_it()
    {
        byte[] bytes = [2, 0x40, 0xff, 0xff, 0xff, 0x3f, 1, 2, 3];
        ReadOnlySpan<byte> first = bytes;
        CompactCodec.TryRead(ref first, out _, out _);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
        {
            ReadOnlySpan<byte> rest = bytes;
            Assert.False(CompactCodec.TryRead(ref rest, out _, out _));
        }

        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 100 * 1000);
    }

    [Fact]
    public void Writing_a_small_message_or_a_shared_one_allocates_nothing()
    {
        var shared = new SharedContent(MessageCodec.JsonString(new string('a', 5000)));
        Message[] messages = [s_small, s_small.Response(TimeProvider.System, MessageCodec.Ok), s_small with { Content = shared.Utf8, Shared = shared }];
        var output = new ArrayBufferWriter<byte>(64 * 1024);
        void All()
        {
            output.ResetWrittenCount();
            foreach (var message in messages)
                CompactCodec.Write(message, output);
        }

        Assert.Equal(0, Allocation.Of(All));
        Assert.NotEqual(0, output.WrittenCount);
    }

    [Fact]
    public void Mutated_records_never_throw_and_never_give_more_than_they_hold()
    {
        var random = new Random(20);
        var seeds = AllShapes().Values.Select(message => Write(message)).ToArray();
        for (var i = 0; i < 100_000; i++)
        {
            var seed = seeds[random.Next(seeds.Length)];
            var bytes = seed[..random.Next(Math.Min(seed.Length, 2000) + 1)];
            for (var change = random.Next(4); change >= 0 && bytes.Length > 0; change--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            ReadOnlySpan<byte> rest = bytes;
            while (CompactCodec.TryRead(ref rest, out var message, out _))
                Assert.True(message.Content.Length <= MessageLimits.MessageSizeMax && message.Operation.Length > 0);
        }
    }

    // Every way a record can be laid out, by name, since theory data must be plain.
    private static Dictionary<string, Message> AllShapes() => new()
    {
        ["small"] = s_small,
        ["ack"] = s_small with { Content = MessageCodec.Ok, Operation = Operations.Response },
        ["no content"] = s_small with { Content = default, ResourceVersion = "", ParentId = "" },
        ["large"] = s_small with { Content = MessageCodec.JsonString(new string('x', 5000)) },
        ["noise"] = s_small with { Content = Enumerable.Range(0, 700).Select(i => (byte)(i * 7919 >> 3)).ToArray() },
        ["own words"] = s_small with { Source = "someone", Group = "func", Operation = "start", Id = "id-1", ParentId = "id-0" },
        ["rare"] = s_small with { Destination = "repair", Sync = true },
        ["before the epoch"] = s_small with { TimestampMs = long.MinValue },
        ["after all time"] = s_small with { TimestampMs = long.MaxValue },
        ["answered keepalive"] = s_small with { Operation = Operations.Keepalive },
        ["empty"] = new Message { Id = "", Operation = "x" },
    };

    private static byte[] Compressed(byte[] content, int named)
    {
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Optimal, leaveOpen: true))
            zlib.Write(content);
        var bytes = new List<byte> { 2, 0x10, 0, 0, 1, 10, 15, 0 };
        Number(named);
        Number((int)packed.Length);
        bytes.AddRange(packed.ToArray());
        return [.. bytes];

        void Number(int value)
        {
            for (; value >= 0x80; value >>= 7)
                bytes.Add((byte)(value | 0x80));
            bytes.Add((byte)value);
        }
    }

    private static byte[] Write(params Message[] messages)
    {
        var output = new ArrayBufferWriter<byte>();
        foreach (var message in messages)
            CompactCodec.Write(message, output);
        return output.WrittenSpan.ToArray();
    }

    private static void AssertSame(Message expected, Message read)
    {
        Assert.Equal(expected with { Content = default, Shared = null }, read with { Content = default });
        Assert.Equal(expected.Content.ToArray(), read.Content.ToArray());
    }
}
