using System.Text;
using Edge.Protocol.Sync;

namespace Edge.Protocol.Tests.Sync;

[Trait("Category", "Sync")]
public sealed class ObjectFingerprintTests
{
    private const string Pod = """{"metadata":{"name":"web","uid":"u1","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1}}""";

    [Theory]
    [InlineData("""{"spec":{"n":1,"containers":[{"name":"x"},{"name":"y"}]},"metadata":{"labels":{"b":"2","a":"1"},"uid":"u1","name":"web"}}""")] // order of keys
    [InlineData("""{ "metadata" : {"name":"w\u0065b","uid":"u1","l\u0061bels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1}}""")] // escapes and blanks
    [InlineData("""{"kind":"Pod","apiVersion":"v1","status":{"phase":"Running"},"metadata":{"name":"web","uid":"u1","resourceVersion":"9","generation":3,"managedFields":[{"a":1}],"selfLink":"/x","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1}}""")] // bookkeeping
    public void What_does_not_matter_to_an_edge_does_not_count(string same) => Assert.Equal(Of(Pod), Of(same));

    [Theory]
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"y"},{"name":"x"}],"n":1}}""")] // order of list items
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"2","b":"1"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1}}""")] // values exchanged
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":"1"}}""")] // text for a number
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"1"},"b":"2"},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1}}""")] // a member elsewhere
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1,"status":{}}}""")] // a status inside the spec
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1},"data":null}""")] // one more member
    [InlineData("""{"metadata":{"name":"web","uid":"u1","labels":{"a":"1","b":"2"},"deletionTimestamp":"2026-11-21T00:00:00Z"},"spec":{"containers":[{"name":"x"},{"name":"y"}],"n":1}}""")]
    public void What_matters_counts(string other) => Assert.NotEqual(Of(Pod), Of(other));

    [Fact]
    public void Of_the_status_only_the_conditions_that_readiness_gates_name_count()
    {
        const string open = """{"metadata":{"name":"web"},"spec":{"readinessGates":[{"conditionType":"example.com/lb"}]},"status":{"conditions":[{"type":"Ready","status":"False"},{"type":"example.com/lb","status":"True","lastTransitionTime":"a"}]}}""";
        var closed = open.Replace("\"status\":\"True\"", "\"status\":\"False\"", StringComparison.Ordinal);
        var later = open.Replace("\"a\"", "\"b\"", StringComparison.Ordinal).Replace("\"type\":\"Ready\",\"status\":\"False\"", "\"type\":\"Ready\",\"status\":\"Unknown\"", StringComparison.Ordinal);

        Assert.NotEqual(Of(open), Of(closed));
        Assert.NotEqual(Of(open), Of(open.Replace("example.com/lb\",\"status", "example.com/other\",\"status", StringComparison.Ordinal)));
        Assert.Equal(Of(open), Of(later));
        Assert.True(ObjectFingerprint.TryOf("""{"spec":{"readinessGates":7},"status":{"conditions":[1,{}]}}"""u8, out _));
        Assert.True(ObjectFingerprint.TryOf("""{"spec":{"readinessGates":[1,{"conditionType":2}]},"status":{"conditions":[{"type":[]}]}}"""u8, out _));
    }

    [Fact]
    public void Every_single_letter_of_the_spec_counts()
    {
        var seen = new HashSet<ulong> { Of(Pod) };
        for (var i = Pod.IndexOf("containers", StringComparison.Ordinal); i < Pod.Length; i++)
        {
            if (char.IsAsciiLetterOrDigit(Pod[i]))
                Assert.True(seen.Add(Of(Pod[..i] + (Pod[i] == '9' ? '8' : (char)(Pod[i] + 1)) + Pod[(i + 1)..])), $"letter {i}");
        }
    }

    [Fact]
    public void It_is_the_same_in_every_process_and_release()
        => Assert.Equal(0x38AD0CD701F95F6CUL, Of("""{"metadata":{"name":"a","uid":"u"},"data":{"k":"a value of more than eight bytes"}}"""));

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("\"x\"")]
    [InlineData("{")]
    [InlineData("{\"a\":}")]
    [InlineData("{\"a\":1}x")]
    [InlineData("{\"a\":1}{}")]
    public void What_is_not_one_whole_object_has_none(string json) => Assert.False(ObjectFingerprint.TryOf(Encoding.UTF8.GetBytes(json), out _));

    [Fact]
    public void Depth_is_bounded_and_bad_bytes_do_not_throw()
    {
        Assert.False(ObjectFingerprint.TryOf(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"a\":", 100_000))), out _));
        var random = new Random(3);
        var bytes = Encoding.UTF8.GetBytes(Pod);
        for (var i = 0; i < 50_000; i++)
        {
            var mutated = bytes.ToArray();
            for (var change = random.Next(4); change >= 0; change--)
                mutated[random.Next(mutated.Length)] = (byte)random.Next(256);
            ObjectFingerprint.TryOf(mutated, out _);
        }
    }

    [Fact]
    public void It_allocates_nothing()
    {
        var bytes = Encoding.UTF8.GetBytes(Pod.Replace("web", "w\\u0065b", StringComparison.Ordinal));
        Assert.True(ObjectFingerprint.TryOf(bytes, out _));
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
            ObjectFingerprint.TryOf(bytes, out _);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static ulong Of(string json)
    {
        Assert.True(ObjectFingerprint.TryOf(Encoding.UTF8.GetBytes(json), out var fingerprint));
        return fingerprint;
    }
}
