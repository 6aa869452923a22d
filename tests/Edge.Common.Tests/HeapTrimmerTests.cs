using System.Runtime.CompilerServices;
using Edge.Testing;

namespace Edge.Common.Tests;

[Trait("Category", "Unit")]
public sealed class HeapTrimmerTests
{
    [Fact]
    public async Task What_nobody_holds_is_collected_once_the_program_has_come_to_rest()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var stop = new CancellationTokenSource();
        var trimming = HeapTrimmer.RunAsync(() => long.MaxValue, time, stop.Token);
        var garbage = Garbage();
        Assert.False(trimming.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(10));
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (garbage.IsAlive && !patience.IsCancellationRequested)
            await Task.Yield();
        Assert.False(garbage.IsAlive);
        await stop.CancelAsync();
        await trimming.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public void A_program_has_come_to_rest_once_after_each_busy_time()
    {
        var rest = new RestCore();
        Assert.Equal(
            [false, true, false, false, false, true, false],
            ((long[])[1_000, 1_100, 1_100, 1_300, 5_000, 5_050, 5_051]).Select(allocated => rest.HasComeToRest(allocated, quietBytes: 100)));
    }

    [Fact]
    public void A_program_that_stays_at_rest_is_looked_after_once_more_and_then_left_alone()
    {
        var rest = new RestCore();
        Assert.Equal([1, 4], Enumerable.Range(1, 1000).Where(look => rest.HasComeToRest(look * 100, quietBytes: 100)));
    }

    [Fact]
    public void What_counts_as_rest_may_grow_with_what_the_program_serves()
    {
        var rest = new RestCore();
        Assert.False(rest.HasComeToRest(1_000, quietBytes: 100));
        Assert.False(rest.HasComeToRest(2_000, quietBytes: 100));
        Assert.True(rest.HasComeToRest(3_000, quietBytes: 1_000));
    }

    // Old enough that only a whole collection finds it.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference Garbage()
    {
        var block = new object();
        GC.Collect();
        GC.Collect();
        return new WeakReference(block);
    }
}
