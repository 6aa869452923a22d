using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Protocol.Tests.Dns;

[Trait("Category", "Dns")]
public sealed class ResponseRateLimiterTests
{
    private const long Start = 1_700_000_000_000;

    [Fact]
    public void A_steady_flood_gets_its_rate_and_no_more()
    {
        var limiter = new ResponseRateLimiter(10, slip: 0, sizeLog2: 10, seed: 3);
        var sent = 0;
        for (var ms = 0; ms < 60_000; ms++) // a query a millisecond for a minute
            sent += limiter.Decide(DnsRequest.Map(0xc0000201), 1, Start + ms) == RateDecision.Send ? 1 : 0;
        Assert.InRange(sent, 590, 640); // 10 a second, and a burst of 40 at the start
        Assert.Equal(60_000 - sent, limiter.Dropped);
    }

    [Fact]
    public void A_client_below_the_rate_is_never_limited()
    {
        var limiter = new ResponseRateLimiter(10, slip: 1, sizeLog2: 10, seed: 3);
        for (var ms = 0; ms < 600_000; ms += 101)
            Assert.Equal(RateDecision.Send, limiter.Decide(DnsRequest.Map(0xc0000201), 1, Start + ms));
    }

    [Fact]
    public void A_network_shares_its_limit_and_others_have_their_own()
    {
        var limiter = new ResponseRateLimiter(1, slip: 0, sizeLog2: 16, seed: 3);
        Assert.Equal(4, Enumerable.Range(0, 256).Count(host => limiter.Decide(DnsRequest.Map(0xc0000200u + (uint)host), 1, Start) == RateDecision.Send));
        Assert.Equal(RateDecision.Send, limiter.Decide(DnsRequest.Map(0xc0000301), 1, Start));
        Assert.Equal(RateDecision.Send, limiter.Decide(DnsRequest.Map(0xc0000201), 2, Start));
        var ipv6 = new UInt128(0x20010db8_00000000, 0);
        Assert.Equal(4, Enumerable.Range(0, 256).Count(net => limiter.Decide(ipv6 + ((UInt128)(uint)net << 64), 1, Start) == RateDecision.Send)); // one /56
        Assert.Equal(RateDecision.Send, limiter.Decide(ipv6 + ((UInt128)0x100 << 64), 1, Start));
    }

    [Fact]
    public void Threads_together_do_not_get_more_than_the_burst()
    {
        var limiter = new ResponseRateLimiter(100, slip: 0, sizeLog2: 10, seed: 3);
        var sent = 0;
        Parallel.For(0, 100_000, i =>
        {
            if (limiter.Decide(DnsRequest.Map(0xc0000201), 1, Start) == RateDecision.Send)
                Interlocked.Increment(ref sent);
        });
        Assert.Equal(400, sent);
    }
}
