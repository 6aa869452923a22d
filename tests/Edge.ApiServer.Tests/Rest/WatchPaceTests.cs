using Edge.ApiServer.Rest;

namespace Edge.ApiServer.Tests.Rest;

[Trait("Category", "Unit")]
public sealed class WatchPaceTests
{
    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 0)]
    [InlineData(39, 0)]
    [InlineData(40, 2)]
    [InlineData(1000, 50)]
    [InlineData(2000, 100)]
    [InlineData(1_000_000, 100)]
    public void A_watch_gathers_the_longer_the_more_watch_the_same_and_few_never_wait(int watchers, double milliseconds)
        => Assert.Equal(milliseconds, WatchPace.Gather(watchers).TotalMilliseconds, 6);
}
