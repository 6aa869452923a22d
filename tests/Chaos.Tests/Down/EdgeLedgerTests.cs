namespace Edge.Chaos.Tests;

/// <summary>That the check of the edge's commits fails when it must.</summary>
[Trait("Category", "Chaos")]
public sealed class EdgeLedgerTests
{
    private readonly EdgeLedger _ledger = new();

    [Fact]
    public void Newer_versions_deletes_and_recreations_are_well()
    {
        Take(new StoredChange(1, "configmap/a", "u1", 5, 1), new StoredChange(2, "configmap/a", "u1", 5, 1), new StoredChange(3, "configmap/a", "u1", 9, 3));
        Take(new StoredChange(4, "configmap/a", "u1", 9, EdgeStore.Deleted), new StoredChange(5, "configmap/a", "u2", 12, 4));

        Assert.Empty(_ledger.Broken);
        Assert.Equal((5, 4, 1), (_ledger.At, _ledger.Stored, _ledger.Deletes));
    }

    [Theory]
    [InlineData("u1", 8, 4)]
    [InlineData("u1", 10, 2)]
    [InlineData("u2", 8, 2)]
    public void Version_or_counter_that_goes_back_is_told(string uid, long version, long count)
    {
        Take(new StoredChange(1, "configmap/a", "u1", 9, 3), new StoredChange(2, "configmap/a", uid, version, count));

        Assert.Contains("back to", Assert.Single(_ledger.Broken), StringComparison.Ordinal);
    }

    [Fact]
    public void Older_object_after_a_delete_is_told()
    {
        Take(new StoredChange(1, "pod/a", "u1", 9, 3), new StoredChange(2, "pod/a", "u1", 9, EdgeStore.Deleted), new StoredChange(3, "pod/a", "u0", 7, 2));

        Assert.Single(_ledger.Broken);
    }

    [Fact]
    public void Deleted_object_that_comes_back_is_told()
    {
        Take(new StoredChange(1, "pod/a", "u1", 9, 3), new StoredChange(2, "pod/a", "u1", 9, EdgeStore.Deleted), new StoredChange(3, "pod/a", "u1", 10, 4));

        Assert.Contains("after it was deleted", Assert.Single(_ledger.Broken), StringComparison.Ordinal);
    }

    private void Take(params StoredChange[] changes)
    {
        foreach (var change in changes)
            _ledger.Take(change);
    }
}
