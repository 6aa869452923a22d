using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using Edge.Protocol.Messages;

namespace Edge.Cloud;

/// <summary>JSON nodes to and from bytes.</summary>
internal static class JsonBytes
{
    private static readonly JsonWriterOptions s_writer = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static byte[] Of(JsonNode node)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer, s_writer))
            node.WriteTo(json);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>The object in <paramref name="utf8"/>, or null with the reason when it holds none.</summary>
    public static JsonObject? TryObject(ReadOnlyMemory<byte> utf8, out string error)
    {
        error = "";
        try
        {
            if (utf8.IsEmpty)
            {
                error = "is empty, must be a JSON object";
                return null;
            }

            if (!JsonText.IsUnicode(utf8.Span))
            {
                error = "is not valid Unicode";
                return null;
            }

            // Repeated keys would surface only later, as an exception at the first access.
            if (StrictJson.Parse(utf8.Span) is JsonObject obj)
                return obj;
            error = "is not a JSON object";
        }
        catch (JsonException e)
        {
            error = $"is not valid JSON: {e.Message}";
        }

        return null;
    }
}
