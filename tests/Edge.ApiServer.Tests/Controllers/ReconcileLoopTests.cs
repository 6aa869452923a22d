using Edge.ApiServer.Controllers;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Controllers;

[Trait("Category", "Unit")]
public sealed class ReconcileLoopTests
{
    [Fact]
    public async Task A_pass_that_is_due_in_years_does_not_end_the_loop()
    {
        var passed = new SemaphoreSlim(0);
        await using var loop = new ReconcileLoop(
            "test",
            _ =>
            {
                passed.Release();
                return Task.FromResult<TimeSpan?>(TimeSpan.FromDays(4000));
            },
            TimeProvider.System, new Random(1), NullLogger.Instance);
        loop.Start();
        Assert.True(await passed.WaitAsync(TimeSpan.FromSeconds(30)), "the first pass");
        loop.Wake();
        Assert.True(await passed.WaitAsync(TimeSpan.FromSeconds(30)), "the pass after the wake");
    }
}
