using Edge.Benchmarks.Fuzz;

namespace Edge.Fleet.Tests;

/// <summary>A short run of what <c>./bench.sh fuzz</c> does at length.</summary>
[Trait("Category", "Unit")]
public sealed class FuzzTests
{
    private const long InputsEach = 2_500;

    public static TheoryData<string> Targets => [.. FuzzTargets.All.Select(target => target.Name)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Mutated_input_never_crashes_a_reader_and_never_takes_unbounded_memory(string name)
    {
        var target = FuzzTargets.All.Single(one => one.Name == name);
        var outcome = FuzzBench.RunTarget(target, seed: 7, InputsEach);
        Assert.True(outcome.Failure is null, $"{outcome.Failure}");
        Assert.True(outcome.Inputs >= InputsEach);
    }

    [Fact]
    public void A_reader_that_throws_or_takes_too_much_is_reported_with_the_number_of_the_input_that_does_it_again()
    {
        var throws = new FuzzTarget("throws", 1, random => random.Next(50) == 0 ? throw new InvalidOperationException("planted") : (1, 10));
        var failure = FuzzBench.RunTarget(throws, seed: 3, 10_000).Failure;
        Assert.NotNull(failure);
        Assert.Contains("planted", failure.Text, StringComparison.Ordinal);
        Assert.Equal(failure, FuzzBench.RunTarget(throws, seed: 3, 10_000).Failure);

        var hungry = new FuzzTarget("hungry", 1, random => (1, new byte[random.Next(20) == 0 ? 1_000_000 : 10].Length == 10 ? 10 : 11));
        Assert.Contains("bytes allocated", FuzzBench.RunTarget(hungry, seed: 3, 10_000).Failure!.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"header":{"msg_id":"a"},"route":{"operation":"update","resource":"a/b/c"},"content":"\ud800"}""")]
    [InlineData("""{"header":{"msg_id":"a"},"route":{"operation":"update","resource":"a/b/c"},"content":{"\udc00":1}}""")]
    public void A_message_with_half_a_surrogate_pair_is_refused_before_anything_reads_it(string json)
    {
        Assert.False(Protocol.Messages.MessageCodec.TryRead(System.Text.Encoding.UTF8.GetBytes(json), out _, out var error));
        Assert.Contains("Unicode", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"a":"\ud83d\ude00"}""")]
    [InlineData("""{"a":"\\ud800"}""")]
    [InlineData("""{"a":"\u00e9\n"}""")]
    public void Pairs_and_escaped_backslashes_are_valid_Unicode(string json) => Assert.True(Protocol.Messages.JsonText.IsUnicode(System.Text.Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void Bytes_that_are_no_UTF8_are_not_valid_Unicode() => Assert.False(Protocol.Messages.JsonText.IsUnicode([0x22, 0xc0, 0x80, 0x22]));
}
