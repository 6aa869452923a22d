using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Protocol.Sync;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows how the cloud learns what an edge has: the edge tells its inventory, as one bucket of <see cref="InventoryPart"/>. The digest that comes before it on the
/// wire only saves bytes: an equal one stands for an inventory in which every fingerprint is the same.</summary>
internal static class InventoryExchange
{
    /// <summary>What the edge tells.</summary>
    public static List<InventoryItem> Tell(ObjectStore store)
    {
        var items = new List<InventoryItem>(store.Count);
        foreach (var row in store.Rows)
            items.Add(new InventoryItem(row.Object.Key, row.Object.Uid, row.Object.ResourceVersion, row.State.Body.Fingerprint));
        return items;
    }

    /// <summary>What the cloud makes of it.</summary>
    public static InventoryDifference Compare(List<InventoryItem> told, List<DownObject> wanted)
        => Inventory.Compare(new InventoryPart(1, [0], told), wanted, _ => false);

    /// <summary>The delete of what the edge has.</summary>
    public static DownObject Gone(Doubt doubt, bool isFinal) => Inventory.GoneOf(doubt.Has, doubt.Path.Type, isFinal);
}
