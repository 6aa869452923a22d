using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows what an edge tells of what it has: the digest, and the buckets that the cloud asks for, as the bytes that travel.</summary>
internal static class InventoryExchange
{
    /// <summary>How many buckets the digest of this store has.</summary>
    public static int BucketsOf(ObjectStore store) => InventoryDigest.BucketsFor(store.Count);

    public static ReadOnlyMemory<byte> Digest(ObjectStore store, PlantedBug bug)
    {
        var digest = new InventoryDigest(BucketsOf(store));
        foreach (var row in store.Rows)
        {
            if (IsTold(row, bug))
                digest.Add(row.Object.Key, row.Object.Uid, row.Object.Fingerprint);
        }

        return InventoryMessages.WriteDigest(store.Count, digest);
    }

    /// <summary>The edge's next message after the answer to its digest; null when the cloud asks for nothing.</summary>
    /// <param name="of">How many buckets the digest had.</param>
    public static ReadOnlyMemory<byte>? Part(ObjectStore store, int of, ReadOnlyMemory<byte> answer, PlantedBug bug)
    {
        var buckets = InventoryMessages.ReadAsk(answer, of, out var error) ?? throw new InvalidOperationException(error);
        if (buckets.Count == 0)
            return null;
        var part = new InventoryPart(of, buckets, []);
        return InventoryMessages.WritePart(part with { Items = [.. store.Rows.Where(row => IsTold(row, bug)).Select(row => ItemOf(row.Object)).Where(item => part.Covers(item.Key))] });
    }

    public static bool IsSecret(string resource) => ResourcePath.TryParse(resource, out var path) && path.Type == ResourceTypes.Secret;

    private static bool IsTold(StoredRow row, PlantedBug bug) => bug != PlantedBug.InventorySkipsSecrets || !IsSecret(row.Object.Key);

    private static InventoryItem ItemOf(MetaObject held) => new(held.Key, held.Uid, held.ResourceVersion, held.Fingerprint);
}
