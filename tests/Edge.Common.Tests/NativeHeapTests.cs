namespace Edge.Common.Tests;

[Trait("Category", "Unit")]
public sealed class NativeHeapTests
{
    [Fact]
    public void The_C_library_of_the_system_we_ship_for_takes_the_limit() => Assert.True(NativeHeap.LimitArenas(2));

    [Fact]
    public void No_arena_at_all_is_refused() => Assert.Throws<ArgumentOutOfRangeException>(() => NativeHeap.LimitArenas(0));
}
