using Edge.Cloud.CloudHub.Sessions;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.SyncController;

/// <summary>Compares what an edge has with what it should have; pure.</summary>
internal static class Inventory
{
    /// <summary>The digest of what a node should have, in as many buckets as its edge told.</summary>
    public static InventoryDigest DigestOf(IEnumerable<DownObject> wanted, int buckets)
    {
        var digest = new InventoryDigest(buckets);
        foreach (var obj in wanted)
            digest.Add(obj.Resource, obj.Uid, obj.Body.Fingerprint);
        return digest;
    }

    /// <summary>What to tell the session so that the edge ends up with <paramref name="wanted"/>.</summary>
    /// <param name="has">What the edge has. Rows of types that are not kept in step are the edge's own business, and so is its node object.</param>
    /// <param name="wanted">What it should have, in the order in which it wants it.</param>
    /// <param name="isOwed">True for a path that must be told now even though <paramref name="has"/> does not speak for it.</param>
    /// <param name="trustsVersions">True for what a stock edge has acked: a version that is not lower is the same or newer. False for an edge that tells fingerprints: there a
    /// higher version with other content may also be one that a restored cluster has forgotten; and to which an insert and an update are the same.</param>
    public static InventoryDifference Compare(InventoryPart has, IEnumerable<DownObject> wanted, Func<string, bool> isOwed, bool trustsVersions = false)
    {
        var stored = new Dictionary<string, InventoryItem>(has.Items.Count);
        foreach (var item in has.Items)
            stored[item.Key] = item;
        var result = new InventoryDifference([], [], [], []);
        foreach (var obj in wanted)
        {
            if (!has.Covers(obj.Resource))
            {
                if (isOwed(obj.Resource))
                    result.Send.Add(obj);
            }
            else if (stored.Remove(obj.Resource, out var item))
            {
                Judge(item, obj, trustsVersions, result);
            }
            else
            {
                result.Send.Add(obj);
            }
        }

        foreach (var item in stored.Values)
        {
            if (!has.Covers(item.Key) || item.Uid.Length == 0 || !ResourcePath.TryParse(item.Key, out var path) || path.Name.Length == 0
                || path.Type == ResourceTypes.Node || ManagedTypes.KindOf(path.Type) is null)
                continue;
            if (NeedsAsking(path.Type))
                result.Doubts.Add(new Doubt(item, path));
            else
                result.Remove.Add(GoneOf(item, path.Type, isFinal: false));
        }

        return result;
    }

    /// <summary>The delete of what the edge has.</summary>
    /// <param name="isFinal">True only where the object is known to be gone from the cluster.</param>
    public static DownObject GoneOf(InventoryItem item, string type, bool isFinal) => DownObject.Gone(item.Key, item.Uid, item.Version, ManagedTypes.SourceOf(type), isFinal);

    private static void Judge(InventoryItem item, DownObject obj, bool trustsVersions, InventoryDifference result)
    {
        if (!ResourcePath.TryParse(obj.Resource, out var path))
            return;
        if (item.Uid != obj.Uid)
        {
            // Another object of the same name. A higher version may be one that our watch has not shown yet.
            if (item.Version > obj.Version && NeedsAsking(path.Type))
            {
                result.Doubts.Add(new Doubt(item, path));
                return;
            }

            if (item.Uid.Length > 0 && path.Type != ResourceTypes.Node)
                result.Remove.Add(GoneOf(item with { Version = Math.Max(item.Version, obj.Version) }, path.Type, isFinal: true)); // a name has one object at a time
            result.Send.Add(obj);
        }
        else if (item.Fingerprint != 0 && item.Fingerprint == obj.Body.Fingerprint)
        {
            result.Same.Add(obj);
        }
        else if (item.Version < obj.Version)
        {
            // As an update: a stock edge's insert of a device goes to its mapper as a registration, and that changes nothing of a device that it has.
            result.Send.Add(trustsVersions && item.Version > 0 && obj.Operation == Operations.Insert ? obj with { Operation = Operations.Update } : obj);
        }
        else if (trustsVersions || item.Fingerprint == 0)
        {
            result.Same.Add(obj);
        }
        else if (item.Version == obj.Version)
        {
            result.Send.Add(obj with { IsRepair = true });
        }
        else
        {
            result.Doubts.Add(new Doubt(item, path));
        }
    }

    // Taking these away stops something that runs.
    private static bool NeedsAsking(string type) => type is ResourceTypes.Pod or ResourceTypes.Device;
}

/// <summary>Something that our watch cannot judge: the API must be asked whether the watch is behind.</summary>
/// <param name="Has">What the edge has; where <paramref name="IsMissing"/>, what it lacks although it was sent.</param>
internal sealed record Doubt(InventoryItem Has, ResourcePath Path, bool IsMissing = false);

/// <summary>The outcome of <see cref="Inventory.Compare"/>: first <paramref name="Remove"/>, then <paramref name="Send"/>.</summary>
/// <param name="Same">What the edge has already.</param>
/// <param name="Remove">What goes, as deletes.</param>
/// <param name="Send">What is missing or differs.</param>
/// <param name="Doubts">What needs a look at the API first.</param>
internal sealed record InventoryDifference(List<DownObject> Same, List<DownObject> Remove, List<DownObject> Send, List<Doubt> Doubts);
