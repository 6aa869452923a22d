using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using Edge.Protocol.Messages;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>JSON of clients and of the API to nodes and back.</summary>
internal static class JsonReading
{
    // Deep enough for CRDs with their schemas; a key that stands twice would surface only at a later access.
    private const int DepthMax = 256;

    /// <summary>Null where it is no JSON object.</summary>
    public static JsonObject? Object(ReadOnlyMemory<byte> utf8)
    {
        try
        {
            return utf8.IsEmpty || !JsonText.IsUnicode(utf8.Span) ? null : StrictJson.Parse(utf8.Span, DepthMax) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    public static byte[] Bytes(JsonNode node) => JsonBuffer.Bytes(node, static (json, node) => node.WriteTo(json));
}
