using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using Edge.Protocol.Messages;

namespace Edge.Cloud;

/// <summary>JSON nodes to and from bytes.</summary>
internal static class JsonBytes
{
    public static byte[] Of(JsonNode node) => JsonBuffer.Bytes(node, static (json, node) => node.WriteTo(json));

    /// <summary>The object in <paramref name="utf8"/>, or null with the reason when it holds none.</summary>
    public static JsonObject? TryObject(ReadOnlyMemory<byte> utf8, out string error)
        => Try(utf8, static utf8 => StrictJson.Parse(utf8.Span) as JsonObject, out error);

    /// <summary>As <see cref="TryObject"/>, as a document over these very bytes, to be disposed before they change.</summary>
    public static JsonDocument? TryDocument(ReadOnlyMemory<byte> utf8, out string error)
        => Try(utf8, static utf8 =>
        {
            var document = StrictJson.ParseDocument(utf8);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
                return document;
            document.Dispose();
            return null;
        }, out error);

    private static T? Try<T>(ReadOnlyMemory<byte> utf8, Func<ReadOnlyMemory<byte>, T?> parse, out string error)
        where T : class
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
            if (parse(utf8) is { } read)
                return read;
            error = "is not a JSON object";
        }
        catch (JsonException e)
        {
            error = $"is not valid JSON: {e.Message}";
        }

        return null;
    }
}
