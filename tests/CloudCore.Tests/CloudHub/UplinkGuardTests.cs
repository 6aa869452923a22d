using Edge.Cloud.CloudHub;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class UplinkGuardTests
{
    private UplinkGuard _guard = new();

    [Fact]
    public void A_value_is_applied_once_whether_its_id_or_its_version_comes_again()
    {
        Apply("podstatus/default/web", "m1", 5);
        Assert.Equal(UplinkVerdict.AlreadyApplied, Begin("podstatus/default/web", "m1", 5));
        Assert.Equal(UplinkVerdict.AlreadyApplied, Begin("podstatus/default/web", "m2", 5));
    }

    [Fact]
    public void An_older_value_of_a_key_is_dropped_and_a_newer_one_applied()
    {
        Apply("twin/d", "m1", 5);
        Assert.Equal(UplinkVerdict.Superseded, Begin("twin/d", "m2", 4));
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m3", 6));
    }

    [Fact]
    public void Keys_do_not_touch_each_other()
    {
        Apply("twin/d", "m1", 5);
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/e", "m2", 4));
    }

    [Fact]
    public void What_failed_is_applied_when_it_comes_again()
    {
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m1", 5));
        _guard.End("twin/d", "m1", 5, isSingle: false, isDone: false);
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m1", 5));
    }

    [Fact]
    public void An_older_value_is_dropped_once_a_newer_one_was_tried_since_its_failure_may_be_a_lost_answer()
    {
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m2", 6));
        _guard.End("twin/d", "m2", 6, isSingle: false, isDone: false);
        Assert.Equal(UplinkVerdict.Superseded, Begin("twin/d", "m1", 5));
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m3", 6));
    }

    [Fact]
    public void Two_values_of_one_key_are_never_applied_at_the_same_time()
    {
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m1", 5));
        Assert.Equal(UplinkVerdict.Busy, Begin("twin/d", "m2", 6));
        Assert.Equal(UplinkVerdict.Busy, Begin("twin/d", "m1", 5));
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/e", "m3", 7));
        _guard.End("twin/d", "m1", 5, isSingle: false, isDone: true);
        Assert.Equal(UplinkVerdict.Apply, Begin("twin/d", "m2", 6));
        Assert.Equal(2, _guard.UnderWay);
    }

    [Fact]
    public void Of_a_key_whose_every_entry_counts_an_earlier_one_may_come_later_and_each_is_applied_once()
    {
        Apply("event/default", "m2", 6, isSingle: true);
        Apply("event/default", "m1", 5, isSingle: true);
        Assert.Equal(UplinkVerdict.AlreadyApplied, Begin("event/default", "m3", 5, isSingle: true));
        Assert.Equal(UplinkVerdict.AlreadyApplied, Begin("event/default", "m4", 6, isSingle: true));
    }

    [Fact]
    public void Without_a_version_only_the_id_counts()
    {
        Apply("podstatus/default/web", "m1", 0);
        Assert.Equal(UplinkVerdict.AlreadyApplied, Begin("podstatus/default/web", "m1", 0));
        Apply("podstatus/default/web", "m2", 0);
        Apply("podstatus/default/web", "m3", 5);
        Apply("podstatus/default/web", "m4", 0);
    }

    [Fact]
    public void Memory_is_bounded_and_what_was_used_longest_ago_goes_first()
    {
        _guard = new UplinkGuard(keysMax: 3);
        foreach (var key in (string[])["a", "b", "c"])
            Apply(key, $"m-{key}", 5);
        Assert.Equal(UplinkVerdict.Superseded, Begin("a", "late", 4));
        Apply("d", "m-d", 5);
        Apply("e", "m-e", 5, isSingle: true);
        Assert.Equal(UplinkVerdict.Superseded, Begin("a", "late", 4));
        Assert.Equal(UplinkVerdict.Apply, Begin("b", "late", 4));
        for (var i = 0; i < 100; i++)
            Apply($"k{i}", $"n{i}", 1, isSingle: i % 2 == 0);
        Assert.Equal(9, _guard.Count);
    }

    private UplinkVerdict Begin(string key, string id, long version, bool isSingle = false) => _guard.Begin(key, id, version, isSingle);

    private void Apply(string key, string id, long version, bool isSingle = false)
    {
        Assert.Equal(UplinkVerdict.Apply, Begin(key, id, version, isSingle));
        _guard.End(key, id, version, isSingle, isDone: true);
    }
}
