using Edge.Core.EdgeDns;
using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Dns")]
public sealed class AnswerCacheTests
{
    private static readonly DnsQuestion s_question = new(DnsName.Parse("www.example.com"), RecordType.A);

    [Fact]
    public void An_answer_lives_as_long_as_its_shortest_record_and_ages()
    {
        var cache = new AnswerCache(10, staleMs: 0);
        cache.Put(s_question, Positive(60, 20), 1000);
        Assert.Equal(CacheState.Fresh, cache.Get(s_question with { Name = DnsName.Parse("WWW.example.COM") }, 11_500, out var answer));
        Assert.Equal([50u, 10u], answer.Answers.Select(row => row.Ttl));
        Assert.Equal(CacheState.Missing, cache.Get(s_question, 21_000, out _));
        Assert.Equal(0, cache.Count);
    }

    [Theory]
    [InlineData(ResponseCode.NameError, 300u, 60u, 60u)] // the smaller of the SOA's ttl and minimum, RFC 2308 §5
    [InlineData(ResponseCode.NoError, 30u, 60u, 30u)]
    [InlineData(ResponseCode.NameError, 100_000u, 100_000u, 3600u)]
    [InlineData(ResponseCode.ServerFailure, 300u, 60u, 0u)]
    [InlineData(ResponseCode.Refused, 300u, 60u, 0u)]
    public void Absence_lives_as_its_soa_says(ResponseCode code, uint ttl, uint minimum, uint expected)
        => Assert.Equal(expected, AnswerCache.TtlOf(new DnsAnswer(code, [], [Soa(ttl, minimum)])));

    [Fact]
    public void Absence_without_a_soa_is_not_kept() => Assert.Equal(0u, AnswerCache.TtlOf(new DnsAnswer(ResponseCode.NameError, [], [])));

    [Fact]
    public void What_is_over_is_kept_for_the_time_when_nobody_answers()
    {
        var cache = new AnswerCache(10, staleMs: 3_600_000);
        cache.Put(s_question, Positive(60), 0);
        Assert.Equal(CacheState.Stale, cache.Get(s_question, 60_000, out var answer));
        Assert.Equal([AnswerCache.StaleTtl], answer.Answers.Select(row => row.Ttl));
        Assert.Equal(CacheState.Missing, cache.Get(s_question, 60_000 + 3_600_000, out _));
    }

    [Fact]
    public void What_is_asked_for_again_and_soon_over_is_due_once()
    {
        var cache = new AnswerCache(10, staleMs: 0);
        cache.Put(s_question, Positive(100), 0);
        Assert.Equal(CacheState.Fresh, cache.Get(s_question, 95_000, out _)); // the first time says nothing
        Assert.Equal(CacheState.Due, cache.Get(s_question, 95_000, out _));
        Assert.Equal(CacheState.Fresh, cache.Get(s_question, 96_000, out _));
    }

    [Fact]
    public void When_it_is_full_the_one_not_asked_for_longest_goes()
    {
        var cache = new AnswerCache(2, staleMs: 0);
        var (a, b, c) = (Question("a"), Question("b"), Question("c"));
        cache.Put(a, Positive(60), 0);
        cache.Put(b, Positive(60), 0);
        Assert.Equal(CacheState.Fresh, cache.Get(a, 1, out _));
        cache.Put(c, Positive(60), 2);
        Assert.Equal((CacheState.Fresh, CacheState.Missing, CacheState.Fresh), (cache.Get(a, 3, out _), cache.Get(b, 3, out _), cache.Get(c, 3, out _)));
        Assert.Equal((2, 1), (cache.Count, (int)cache.Evicted));
    }

    internal static DnsQuestion Question(string name) => new(DnsName.Parse($"{name}.example.com"), RecordType.A);

    internal static DnsAnswer Positive(params uint[] ttls)
        => new(ResponseCode.NoError, [.. ttls.Select(ttl => DnsRow.Address(s_question.Name, ttl, System.Net.IPAddress.Parse("192.0.2.1")))], []);

    internal static DnsRow Soa(uint ttl, uint minimum)
    {
        Assert.True(RecordData.TryParse(RecordType.SOA, $"ns.example.com. a.example.com. 1 2 3 4 {minimum}", DnsName.Root, out var data, out _));
        return new DnsRow(DnsName.Parse("example.com"), RecordType.SOA, ttl, data);
    }
}
