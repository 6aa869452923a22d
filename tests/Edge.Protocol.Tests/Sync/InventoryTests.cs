using System.Text;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Protocol.Tests.Sync;

[Trait("Category", "Sync")]
public sealed class InventoryTests
{
    private static readonly InventoryItem[] s_items =
        [.. Enumerable.Range(0, 300).Select(i => new InventoryItem($"default/configmap/c{i}", $"u{i}", i + 1, (ulong)(i * 7919L + 1)))];

    [Fact]
    public void Two_sides_with_the_same_objects_have_the_same_digest_in_any_order()
        => Assert.Empty(Digest(s_items, 32).Differences(Digest(s_items.Reverse(), 32)));

    [Fact]
    public void Exactly_the_bucket_of_a_changed_missing_or_additional_object_differs()
    {
        var whole = Digest(s_items, 32);
        var bucket = InventoryDigest.BucketOf(s_items[7].Key, 32);
        Assert.Equal([bucket], whole.Differences(Digest(s_items.Where((_, i) => i != 7), 32)));
        Assert.Equal([bucket], whole.Differences(Digest(s_items.Select((item, i) => i == 7 ? item with { Fingerprint = 1 } : item), 32)));
        Assert.Equal([bucket], whole.Differences(Digest(s_items.Select((item, i) => i == 7 ? item with { Uid = "other" } : item), 32)));
        Assert.Empty(whole.Differences(Digest(s_items.Select((item, i) => i == 7 ? item with { Version = 99 } : item), 32)));
    }

    [Fact]
    public void Fingerprints_of_two_objects_that_changed_places_differ()
    {
        var swapped = s_items.ToArray();
        (swapped[0], swapped[1]) = (s_items[0] with { Fingerprint = s_items[1].Fingerprint }, s_items[1] with { Fingerprint = s_items[0].Fingerprint });
        Assert.NotEmpty(Digest(s_items, 1).Differences(Digest(swapped, 1)));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(16, 1)]
    [InlineData(17, 2)]
    [InlineData(300, 32)]
    [InlineData(1_000_000, 256)]
    public void Buckets_grow_with_the_inventory_up_to_a_bound(int objects, int buckets) => Assert.Equal(buckets, InventoryDigest.BucketsFor(objects));

    [Theory]
    [InlineData(1)]
    [InlineData(32)]
    [InlineData(256)]
    public void A_digest_reads_back_the_same_and_stays_small(int buckets)
    {
        var digest = Digest(s_items, buckets);
        var content = InventoryMessages.WriteDigest(s_items.Length, digest);
        var read = InventoryMessages.ReadDigest(content, out var error);
        Assert.Equal("", error);
        Assert.Empty(digest.Differences(read!));
        Assert.True(content.Length <= (buckets * 11) + 48, $"{content.Length} bytes");
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("\"OK\"")]
    [InlineData("{}")]
    [InlineData("{\"digest\":1}")]
    [InlineData("{\"digest\":\"AAAA\"}")]
    [InlineData("{\"digest\":\"*\"}")]
    [InlineData("{\"digest\":\"\"}")]
    [InlineData("{\"digest\":\"AAAAAAAAAAA=\"")]
    [InlineData("{\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}")] // three buckets
    public void A_bad_digest_is_refused_with_the_reason(string json)
    {
        Assert.Null(InventoryMessages.ReadDigest(Encoding.UTF8.GetBytes(json), out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void A_digest_over_its_bound_is_refused_unread()
    {
        Assert.Null(InventoryMessages.ReadDigest(new byte[5000], out var error));
        Assert.Contains("limit", error, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new InventoryDigest(3));
        Assert.Throws<ArgumentException>(() => new InventoryDigest(2).Differences(new InventoryDigest(4)));
    }

    [Fact]
    public void The_answer_asks_for_buckets_or_for_nothing()
    {
        Assert.Equal([3, 9], InventoryMessages.ReadAsk(InventoryMessages.WriteAsk([3, 9]), 16, out _)!);
        Assert.Equal([], InventoryMessages.ReadAsk(MessageCodec.Ok, 16, out _)!);
    }

    [Theory]
    [InlineData("\"no\"")]
    [InlineData("{}")]
    [InlineData("{\"buckets\":3}")]
    [InlineData("{\"buckets\":[\"a\"]}")]
    [InlineData("{\"buckets\":[16]}")]
    [InlineData("{\"buckets\":[-1]}")]
    [InlineData("{\"buckets\":[3,3]}")]
    [InlineData("{\"buckets\":[4,3]}")]
    [InlineData("{\"buckets\":[1.5]}")]
    [InlineData("{\"buckets\":[1e99]}")]
    public void A_bad_answer_is_refused_with_the_reason(string json)
    {
        Assert.Null(InventoryMessages.ReadAsk(Encoding.UTF8.GetBytes(json), 16, out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void A_part_reads_back_the_same_and_speaks_for_its_buckets_alone()
    {
        var part = new InventoryPart(32, [1, 5], [.. s_items.Where(item => InventoryDigest.BucketOf(item.Key, 32) is 1 or 5)]);
        var read = InventoryMessages.ReadPart(InventoryMessages.WritePart(part), out var error)!;
        Assert.Equal("", error);
        Assert.Equal(part.Of, read.Of);
        Assert.Equal(part.Buckets, read.Buckets);
        Assert.Equal(part.Items, read.Items);
        Assert.NotEmpty(read.Items);
        Assert.All(s_items, item => Assert.Equal(InventoryDigest.BucketOf(item.Key, 32) is 1 or 5, read.Covers(item.Key)));
        Assert.True((part with { Buckets = [.. Enumerable.Range(0, 32)] }).Covers("any"));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{\"of\":3,\"buckets\":[],\"objects\":[]}")]
    [InlineData("{\"of\":512,\"buckets\":[],\"objects\":[]}")]
    [InlineData("{\"of\":4,\"objects\":[]}")]
    [InlineData("{\"of\":4,\"buckets\":[0]}")]
    [InlineData("{\"of\":4,\"buckets\":[4],\"objects\":[]}")]
    [InlineData("{\"of\":4,\"buckets\":[0],\"objects\":{}}")]
    [InlineData("{\"of\":4,\"buckets\":[0],\"objects\":[1]}")]
    [InlineData("{\"of\":4,\"buckets\":[0],\"objects\":[{\"key\":1}]}")]
    [InlineData("{\"of\":4,\"buckets\":[0],\"objects\":[{\"key\":\"a\"}]")]
    public void A_bad_part_is_refused_with_the_reason(string json)
    {
        Assert.Null(InventoryMessages.ReadPart(Encoding.UTF8.GetBytes(json), out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void A_version_that_is_no_number_reads_as_unknown_and_unknown_members_are_skipped()
    {
        var part = InventoryMessages.ReadPart("""{"of":1,"new":{"a":[1]},"buckets":[0],"objects":[{"key":"k","uid":"u","rv":"abc","fp":"ff","x":[]},{"key":"l","uid":"v","rv":"7","fp":"zz"}]}"""u8.ToArray(), out _)!;
        Assert.Equal([new InventoryItem("k", "u", 0, 255), new InventoryItem("l", "v", 7, 0)], part.Items);
    }

    [Theory]
    [InlineData("1", true)]
    [InlineData("2, 1", true)]
    [InlineData("", false)]
    [InlineData(null, false)]
    [InlineData("11", false)]
    [InlineData("2", false)]
    public void The_header_names_versions(string? header, bool includes) => Assert.Equal(includes, EdgeWire.Includes(header));

    private static InventoryDigest Digest(IEnumerable<InventoryItem> items, int buckets)
    {
        var digest = new InventoryDigest(buckets);
        foreach (var item in items)
            digest.Add(item.Key, item.Uid, item.Fingerprint);
        return digest;
    }
}
