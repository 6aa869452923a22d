using System.Globalization;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.SyncController;

/// <summary>One object that an edge says it has.</summary>
/// <param name="Key"><c>&lt;namespace&gt;/&lt;type&gt;/&lt;name&gt;</c>.</param>
internal sealed record InventoryItem(string Key, string Uid, long Version);

/// <summary>What an edge has stored, told right after it connected: content <c>{"objects":[{"key","uid","rv"}]}</c>.</summary>
internal static class Inventory
{
    /// <summary>Operation <c>get</c> on this resource, from source <c>metamanager</c>, carries an inventory.</summary>
    public const string Resource = "node/inventory";

    /// <summary>Largest accepted content, bytes: about 40,000 objects.</summary>
    public const int SizeMax = 4 * 1024 * 1024;

    /// <summary>Reads the content. Returns null with the reason when it cannot be used as a whole.</summary>
    public static List<InventoryItem>? TryRead(ReadOnlyMemory<byte> content, out string error)
    {
        if (content.Length > SizeMax)
        {
            error = $"{content.Length} bytes, the limit is {SizeMax}";
            return null;
        }

        if (JsonBytes.TryObject(MessageCodec.Unwrap(content), out error) is not { } body)
            return null;
        var items = new List<InventoryItem>();
        foreach (var entry in body.Items("objects"))
        {
            var version = entry.Text("rv");
            items.Add(new InventoryItem(
                entry.Text("key"), entry.Text("uid"),
                long.TryParse(version, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : entry.Number(0, "rv")));
        }

        return items;
    }

    /// <summary>What to tell the session so that the edge ends up with <paramref name="wanted"/>: versions it has already, states to
    /// send, and what it has beyond that. Rows of types that are not kept in step are the edge's own business, and so is its node object.</summary>
    public static InventoryDifference Compare(IReadOnlyCollection<InventoryItem> has, IEnumerable<DownObject> wanted)
    {
        var stored = new Dictionary<string, InventoryItem>(has.Count);
        foreach (var item in has)
            stored[item.Key] = item;
        var known = new List<InventoryItem>();
        var missing = new List<DownObject>();
        var surplus = new List<DownObject>();
        var keep = new HashSet<string>();
        foreach (var obj in wanted)
        {
            keep.Add(obj.Resource);
            if (stored.TryGetValue(obj.Resource, out var item))
            {
                if (item.Uid == obj.Uid && item.Version >= obj.Version)
                {
                    known.Add(item);
                    continue;
                }

                if (item.Uid != obj.Uid && item.Uid.Length > 0 && !IsNode(obj.Resource))
                    surplus.Add(DownObject.Gone(item.Key, item.Uid, item.Version, obj.Source));
            }

            missing.Add(obj);
        }

        foreach (var item in stored.Values)
        {
            if (!keep.Contains(item.Key) && item.Uid.Length > 0 && ResourcePath.TryParse(item.Key, out var path) && path.Name.Length > 0
                && path.Type != ResourceTypes.Node && ManagedTypes.KindOf(path.Type) is not null)
                surplus.Add(DownObject.Gone(item.Key, item.Uid, item.Version, ManagedTypes.SourceOf(path.Type)));
        }

        return new InventoryDifference(known, missing, surplus);
    }

    private static bool IsNode(string resource) => ResourcePath.TryParse(resource, out var path) && path.Type == ResourceTypes.Node;
}

/// <summary>The outcome of <see cref="Inventory.Compare"/>.</summary>
internal sealed record InventoryDifference(List<InventoryItem> Known, List<DownObject> Missing, List<DownObject> Surplus);
