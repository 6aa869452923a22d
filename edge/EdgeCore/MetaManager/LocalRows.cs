using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Core.MetaManager;

/// <summary>JSON objects that a part of EdgeCore keeps on the disk as local rows of one room.</summary>
/// <param name="room">Keeps these rows apart from others'.</param>
internal sealed class LocalRows(string room)
{
    /// <summary>The room whose rows these are.</summary>
    public string Room { get; } = room;

    /// <summary>All rows; one that cannot be read, which nobody of this house wrote, is left out as if it were not there.</summary>
    public Dictionary<string, JsonObject> Load(IMetaStore meta)
    {
        var rows = new Dictionary<string, JsonObject>(StringComparer.Ordinal);
        foreach (var (key, json) in meta.ListLocal(Room))
        {
            if (Read(json) is { } row)
                rows[key] = row;
        }

        return rows;
    }

    /// <summary>One row; null when it is not there or cannot be read.</summary>
    public JsonObject? Get(IMetaStore meta, string key) => meta.ListLocal(Room).TryGetValue(key, out var json) ? Read(json) : null;

    /// <summary>The keys of all rows, readable or not.</summary>
    public IEnumerable<string> Keys(IMetaStore meta) => meta.ListLocal(Room).Keys;

    /// <exception cref="Common.Storage.StoreException">The row could not be stored.</exception>
    public ValueTask PutAsync(IMetaStore meta, string key, JsonObject row, CancellationToken cancellationToken)
        => meta.PutLocalAsync(Room, key, Encoding.UTF8.GetBytes(row.ToJsonString()), cancellationToken);

    /// <exception cref="Common.Storage.StoreException">The row could not be removed.</exception>
    public ValueTask DeleteAsync(IMetaStore meta, string key, CancellationToken cancellationToken) => meta.DeleteLocalAsync(Room, key, cancellationToken);

    private static JsonObject? Read(ReadOnlyMemory<byte> json)
    {
        try
        {
            return JsonNode.Parse(json.Span) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
