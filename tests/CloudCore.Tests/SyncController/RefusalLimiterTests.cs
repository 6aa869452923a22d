using Edge.Cloud.SyncController;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class RefusalLimiterTests
{
    private readonly RefusalLimiter _limiter = new();

    [Fact]
    public void Object_is_told_again_after_a_while()
    {
        var now = DateTimeOffset.UnixEpoch;
        Assert.True(_limiter.Allows("n1", "u", now));
        Assert.False(_limiter.Allows("n1", "u", now + RefusalLimiter.RepeatAfter - TimeSpan.FromSeconds(1)));
        Assert.True(_limiter.Allows("n2", "u", now));
        Assert.True(_limiter.Allows("n1", "u", now + RefusalLimiter.RepeatAfter));
    }

    [Fact]
    public void Node_that_refuses_everything_tells_of_a_few_and_silences_no_other_node()
    {
        var now = DateTimeOffset.UnixEpoch;
        Assert.Equal(RefusalLimiter.PerNodeMax, Enumerable.Range(0, 100).Count(i => _limiter.Allows("n1", $"u{i}", now)));
        Assert.True(_limiter.Allows("n2", "u0", now));
        Assert.True(_limiter.Allows("n1", "u99", now + RefusalLimiter.RepeatAfter));
    }
}
