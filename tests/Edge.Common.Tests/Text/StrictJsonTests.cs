using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;

namespace Edge.Common.Tests.Text;

[Trait("Category", "Unit")]
public sealed class StrictJsonTests
{
    private const string Pod = """{"kind":"Pod","metadata":{"name":"a","uid":"b"},"spec":{"containers":[{"name":"x","image":"y"},{"name":"z","image":"y"}],"name":null},"status":{}}""";

    [Theory]
    [InlineData(Pod)]
    [InlineData("""{}""")]
    [InlineData("""[{"a":1},{"a":1}]""")]
    [InlineData("""{"a":{"a":{"a":1}},"b":{"a":1}}""")]
    [InlineData("""{"":1,"a":2}""")]
    [InlineData("""{"abcdefgh":1,"abcdefgi":2,"abcdefghi":3}""")]
    [InlineData("null")]
    public void Distinct_names_are_told_without_the_slow_option_and_the_value_is_the_same(string json)
    {
        var utf8 = Encoding.UTF8.GetBytes(json);
        Assert.True(StrictJson.HasDistinctNames(utf8, 64));
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(json), StrictJson.Parse(utf8)));
    }

    [Theory]
    [InlineData("""{"a":1,"a":2}""")]
    [InlineData("""{"x":[{"a":1,"b":{},"a":2}]}""")]
    [InlineData("""{"a":{"b":1},"a":{"b":1}}""")]
    [InlineData("""{"a":1,"\u0061":2}""")]
    [InlineData("""{"metadata":{"labels":{}},"spec":{},"metadata":{}}""")]
    [InlineData("""{"a":1""")]
    [InlineData("""{"a":1} {"b":1}""")]
    [InlineData("")]
    [InlineData("""{"a\ud800":1,"b":2}}""")]
    public void A_name_that_stands_twice_and_what_is_no_JSON_is_refused(string json)
        => Assert.ThrowsAny<JsonException>(() => StrictJson.Parse(Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void Nesting_beyond_the_limit_is_refused()
    {
        var deep = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("""{"a":""", 20)) + "1" + new string('}', 20));
        Assert.NotNull(StrictJson.Parse(deep, 20));
        Assert.ThrowsAny<JsonException>(() => StrictJson.Parse(deep, 19));
    }

    [Theory]
    [InlineData(511)]
    [InlineData(5_000)]
    public void An_object_of_many_names_is_parsed_and_a_double_among_them_is_found(int names)
    {
        var members = Enumerable.Range(0, names).Select(i => $"\"name-{i}\":{i}").ToList();
        Assert.Equal(names, StrictJson.Parse(Encoding.UTF8.GetBytes($"{{{string.Join(',', members)}}}"))!.AsObject().Count);
        members.Add("\"name-7\":0");
        Assert.ThrowsAny<JsonException>(() => StrictJson.Parse(Encoding.UTF8.GetBytes($"{{{string.Join(',', members)}}}")));
    }

    [Fact]
    public void It_takes_and_refuses_what_the_option_does()
    {
        var option = new JsonDocumentOptions { AllowDuplicateProperties = false };
        var random = new Random(1);
        var (taken, refused) = (0, 0);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = Encoding.UTF8.GetBytes(Pod);
            for (var left = random.Next(3); left > 0; left--)
                bytes[random.Next(bytes.Length)] = bytes[random.Next(bytes.Length)];
            var (isTaken, isTakenByOption) = (IsTaken(() => StrictJson.Parse(bytes)), IsTaken(() => JsonNode.Parse(bytes, documentOptions: option)));
            Assert.True(isTaken == isTakenByOption, $"input {i}: {Encoding.UTF8.GetString(bytes)}");
            _ = isTaken ? taken++ : refused++;
        }

        Assert.InRange(taken, 1_000, 19_000);
        Assert.InRange(refused, 1_000, 19_000);
    }

    private static bool IsTaken(Func<JsonNode?> parse)
    {
        try
        {
            parse();
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
