using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.MetaManager;

namespace Edge.Core.Edged;

/// <summary>The status that each pod here said last, as local rows by uid. The cloud does not send a pod again for its status alone, so without these a restart of EdgeCore
/// would forget that a pod had ended, and since when its conditions hold.</summary>
internal static class PodStatusRows
{
    private const string Room = "podstatus";

    /// <summary>All rows; one that cannot be read is left out, as if the pod had said nothing yet.</summary>
    public static Dictionary<string, JsonObject> Load(IMetaStore meta)
    {
        var rows = new Dictionary<string, JsonObject>(StringComparer.Ordinal);
        foreach (var (uid, json) in meta.ListLocal(Room))
        {
            try
            {
                if (JsonNode.Parse(json.Span) is JsonObject status)
                    rows[uid] = status;
            }
            catch (JsonException)
            {
                // Written by nobody of this house.
            }
        }

        return rows;
    }

    public static ValueTask PutAsync(IMetaStore meta, string uid, JsonObject status, CancellationToken cancellationToken)
        => meta.PutLocalAsync(Room, uid, Encoding.UTF8.GetBytes(status.ToJsonString()), cancellationToken);

    public static ValueTask DeleteAsync(IMetaStore meta, string uid, CancellationToken cancellationToken) => meta.DeleteLocalAsync(Room, uid, cancellationToken);
}
