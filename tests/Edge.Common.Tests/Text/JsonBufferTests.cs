using System.Text;
using System.Text.Json;
using Edge.Common.Text;

namespace Edge.Common.Tests.Text;

[Trait("Category", "Unit")]
public sealed class JsonBufferTests
{
    [Fact]
    public void Each_text_is_its_own_whatever_was_written_before()
    {
        Assert.Equal("""{"text":"ä€ 'x'"}""", Write("ä€ 'x'"));
        var large = new string('y', 100_000);
        Assert.Equal($$"""{"text":"{{large}}"}""", Write(large));
        Assert.Equal("""{"text":""}""", Write(""));
    }

    [Fact]
    public void What_throws_in_the_middle_of_a_value_leaves_nothing_to_the_next()
    {
        Assert.Throws<FormatException>(() => JsonBuffer.Bytes(0, static (json, _) =>
        {
            json.WriteStartObject();
            json.WriteString("half", "of it");
            throw new FormatException();
        }));
        Assert.Equal("""{"text":"next"}""", Write("next"));
    }

    [Fact]
    public void What_is_written_may_itself_need_bytes_of_JSON()
    {
        var bytes = JsonBuffer.Bytes("inner", static (json, text) =>
        {
            json.WriteStartArray();
            json.WriteStringValue("before");
            json.WriteStringValue(Write(text));
            json.WriteEndArray();
        });
        Assert.Equal("""["before","{\"text\":\"inner\"}"]""", Encoding.UTF8.GetString(bytes));
    }

    private static string Write(string text)
        => Encoding.UTF8.GetString(JsonBuffer.Bytes(text, static (json, text) =>
        {
            json.WriteStartObject();
            json.WriteString("text", text);
            json.WriteEndObject();
        }));
}
