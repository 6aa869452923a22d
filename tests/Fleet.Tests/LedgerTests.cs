using Edge.Core.MetaManager;

namespace Edge.Fleet.Tests;

/// <summary>What the fleet's check must find although the rules of the store let it never happen.</summary>
[Trait("Category", "Unit")]
public sealed class LedgerTests
{
    private readonly FleetCounts _counts = new();

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 1)]
    public void A_version_that_goes_back_is_found_in_whatever_order_the_commits_are_seen(int first, int second)
    {
        var meta = Meta();
        // Commit 1 stored version 5, commit 2 version 3 of the same object.
        foreach (var sequence in (int[])[first, second])
            meta.Note(Pod("u", sequence == 1 ? 5 : 3), new Applied(MetaDecision.Stored, sequence));
        Assert.Contains("from version 5 back to version 3", Assert.Single(_counts.Violations), StringComparison.Ordinal);
    }

    [Fact]
    public void A_deleted_object_that_comes_back_is_found_and_a_new_one_of_its_name_is_not()
    {
        var meta = Meta();
        meta.Note(Pod("u", 5), new Applied(MetaDecision.Stored, 1));
        meta.Note(Pod("u", 6), new Applied(MetaDecision.Removed, 2));
        meta.Note(Pod("other", 1), new Applied(MetaDecision.Stored, 3));
        Assert.Empty(_counts.Violations);
        meta.Note(Pod("other", 2), new Applied(MetaDecision.Removed, 4));
        meta.Note(Pod("other", 7), new Applied(MetaDecision.Stored, 5));
        Assert.Contains("from deleted back to version 7", Assert.Single(_counts.Violations), StringComparison.Ordinal);
    }

    [Fact]
    public void Versions_that_grow_and_writes_that_changed_nothing_are_no_violation()
    {
        var meta = Meta();
        meta.Note(Pod("u", 5), new Applied(MetaDecision.Stored, 1));
        meta.Note(Pod("u", 3), new Applied(MetaDecision.Ignored, 2));
        meta.Note(Pod("u", 6), new Applied(MetaDecision.Stored, 3));
        Assert.Empty(_counts.Violations);
        Assert.Equal(6, meta.Find("default/pod/p")!.Value.Version);
    }

    [Fact]
    public void The_ledger_is_held_against_the_disk()
    {
        var meta = Meta();
        meta.Note(Pod("u", 5), new Applied(MetaDecision.Stored, 1));
        var problems = new List<string>();
        meta.Check("n", new Dictionary<(int, string), (string, long)> { [(0, "default/pod/p")] = ("u", 5) }, problems);
        Assert.Empty(problems);
        meta.Check("n", new Dictionary<(int, string), (string, long)> { [(0, "default/pod/p")] = ("u", 4) }, problems);
        meta.Check("n", new Dictionary<(int, string), (string, long)> { [(1, "default/pod/p")] = ("u", 5) }, problems);
        Assert.Equal(2, problems.Count);
    }

    private HollowMeta Meta() => new(0, null!, _counts, TimeProvider.System);

    private static MetaObject Pod(string uid, long version) => new("default/pod/p", "pod", "default", "p", uid, version, default);
}
