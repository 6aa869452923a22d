using Edge.Core.MetaManager;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Sync")]
public sealed class MetaRulesTests
{
    [Theory]
    [InlineData("pod", 9, 5, true)] // a pod never comes back
    [InlineData("node", 9, 5, true)]
    [InlineData("configmap", 4, 5, true)]
    [InlineData("configmap", 5, 5, false)] // it was only not needed for a while
    [InlineData("device", 6, 5, false)]
    [InlineData("device", 6, 0, true)] // 0: no version comes back
    public void A_tombstone_holds_back_what_was_deleted_and_nothing_else(string type, long version, long deleted, bool isHeldBack)
        => Assert.Equal(isHeldBack, MetaRules.IsHeldBack(new MetaObject($"default/{type}/a", type, "default", "a", "u1", version, default), deleted));

    [Theory]
    [InlineData("pod", true)]
    [InlineData("node", true)]
    [InlineData("configmap", true)]
    [InlineData("secret", true)]
    [InlineData("device", true)]
    [InlineData("devicemodel", true)]
    [InlineData("service", true)]
    [InlineData("endpointslice", true)]
    [InlineData("globalservice", true)]
    [InlineData("zone", true)]
    [InlineData("runtimeclass", true)]
    [InlineData("podlist", false)] // no digest tells of it
    public void What_is_held_back_makes_the_sides_compare_where_they_keep_it_in_step(string type, bool isDoubtful)
        => Assert.Equal(isDoubtful ? MetaDecision.Doubtful : MetaDecision.Ignored, MetaRules.OfHeldBack(new MetaObject($"default/{type}/a", type, "default", "a", "u1", 4, default)));

    [Theory]
    [InlineData(null, 5, 5)]
    [InlineData(5L, 7, 7)]
    [InlineData(7L, 5, 7)] // a late copy of an older delete
    [InlineData(0L, 5, 0)]
    [InlineData(5L, 0, 0)]
    public void A_late_older_delete_never_lowers_a_tombstone(long? before, long deleted, long after)
        => Assert.Equal(after, MetaRules.Tombstone(before, deleted));
}
