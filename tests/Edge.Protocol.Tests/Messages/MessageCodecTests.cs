using System.Text;
using System.Text.Json.Nodes;
using Edge.Protocol.Messages;

namespace Edge.Protocol.Tests.Messages;

[Trait("Category", "Unit")]
public sealed class MessageCodecTests
{
    private static readonly Message s_message = new()
    {
        Id = "65a2f41b-5548-4245-afdb-b8f78ba6f1cb",
        ParentId = "1bb8ba2f-165f-4e51-8ed5-6eb8b5a4ce19",
        TimestampMs = 1795237424640,
        ResourceVersion = "314",
        Source = "edgecontroller",
        Group = "resource",
        Operation = "update",
        Resource = "null/node/edge-node",
        Content = "{\"a\":[1,\"ü\"]}"u8.ToArray(),
    };

    [Fact]
    public void A_written_message_reads_back_the_same()
    {
        Assert.True(MessageCodec.TryRead(MessageCodec.Write(s_message), out var read, out _));
        Assert.Equal(s_message with { Content = default }, read with { Content = default });
        Assert.Equal(s_message.Content.ToArray(), read.Content.ToArray());
    }

    [Fact]
    public void Empty_optional_fields_are_left_out_and_an_empty_content_is_null()
    {
        var text = Encoding.UTF8.GetString(MessageCodec.Write(new Message { Id = "1", TimestampMs = 5, Source = "s", Group = "g", Operation = "o", Resource = "r" }));
        Assert.Equal("""{"header":{"msg_id":"1","timestamp":5},"route":{"source":"s","group":"g","operation":"o","resource":"r"},"content":null}""", text);
    }

    [Fact]
    public void Keys_are_read_in_any_case()
    {
        var text = """{"Header":{"MSG_ID":"1","Timestamp":5},"ROUTE":{"Source":"s","group":"g","operation":"o","resource":"r"},"CONTENT":"ping"}""";
        Assert.True(MessageCodec.TryRead(Encoding.UTF8.GetBytes(text), out var message, out _));
        Assert.Equal("1", message.Id);
        Assert.Equal("\"ping\"", Encoding.UTF8.GetString(message.Content.Span));
    }

    [Fact]
    public void Every_prefix_of_a_message_is_refused_with_a_reason()
    {
        var bytes = MessageCodec.Write(s_message);
        for (var length = 0; length < bytes.Length; length++)
        {
            Assert.False(MessageCodec.TryRead(bytes.AsMemory(0, length), out _, out var error), $"prefix of {length} bytes was taken");
            Assert.NotEmpty(error);
        }
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("1")]
    [InlineData("{}")]
    [InlineData("{\"header\":{\"msg_id\":1},\"route\":{\"operation\":\"o\"}}")]
    [InlineData("{\"header\":{\"timestamp\":\"x\"},\"route\":{\"operation\":\"o\"}}")]
    [InlineData("{\"route\":{\"operation\":\"o\"}} trailing")]
    [InlineData("{\"header\":{},\"route\":{\"source\":\"s\"}}")]
    public void Malformed_text_is_refused_without_an_exception(string text)
    {
        Assert.False(MessageCodec.TryRead(Encoding.UTF8.GetBytes(text), out _, out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void A_string_content_unwraps_to_the_document_inside()
    {
        Assert.Equal("{\"status\":{}}", Encoding.UTF8.GetString(MessageCodec.Unwrap("\"{\\\"status\\\":{}}\""u8.ToArray()).Span));
        Assert.Equal("{\"a\":1}", Encoding.UTF8.GetString(MessageCodec.Unwrap("{\"a\":1}"u8.ToArray()).Span));
    }

    [SkippableFact]
    public void Every_frame_of_the_recorded_stock_exchange_reads_and_writes_back_equal()
    {
        var path = Recording.Find();
        Skip.If(path is null, "the recorded exchange (../shared/facts/samples) is missing");
        var frames = 0;
        foreach (var line in File.ReadLines(path!))
        {
            if (JsonNode.Parse(line)!["message"] is not JsonObject recorded)
                continue;
            frames++;
            var bytes = Encoding.UTF8.GetBytes(recorded.ToJsonString());
            Assert.True(MessageCodec.TryRead(bytes, out var message, out var error), error);
            Assert.True(JsonNode.DeepEquals(recorded, JsonNode.Parse(MessageCodec.Write(message))), recorded.ToJsonString());
        }

        Assert.True(frames > 100, $"only {frames} frames");
    }

    [Theory]
    [InlineData("default/pod/web", "default", "pod", "web")]
    [InlineData("node/edge-1/default/pod/web", "default", "pod", "web")]
    [InlineData("null/node/edge-1", "null", "node", "edge-1")]
    [InlineData("default/podstatus", "default", "podstatus", "")]
    public void A_resource_path_reads_in_both_forms(string text, string ns, string type, string name)
    {
        Assert.True(ResourcePath.TryParse(text, out var path));
        Assert.Equal(new ResourcePath(ns, type, name), path);
    }

    [Theory]
    [InlineData("membership")]
    [InlineData("a/b/c/d")]
    [InlineData("/pod/web")]
    [InlineData("")]
    public void Other_forms_are_no_resource_path(string text) => Assert.False(ResourcePath.TryParse(text, out _));
}

internal static class Recording
{
    /// <summary>The recorded exchange of stock peers in the shared folder beside the checkout, or null.</summary>
    public static string? Find()
    {
        for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            var path = Path.Combine(directory.FullName, "shared", "facts", "samples", "kubeedge-1.23.1-websocket.jsonl");
            if (File.Exists(path))
                return path;
        }

        return null;
    }
}
