using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;

namespace Edge.Kubernetes;

internal static class KubeJson
{
    /// <summary>CRD schemas nest deeper than the 64 levels that .NET allows by default.</summary>
    public const int DepthMax = 512;

    /// <summary>Parses JSON; a key that stands twice is an error here rather than an exception at some later read.</summary>
    /// <exception cref="JsonException">It is no JSON, or has a key twice.</exception>
    public static JsonNode? Parse(ReadOnlySpan<byte> utf8) => StrictJson.Parse(utf8, DepthMax);

    /// <summary>The metav1.Status reason that goes with an HTTP status code when the server names none.</summary>
    public static string Reason(int code) => code switch
    {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        410 => "Expired",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };

    /// <summary>Items of typed lists come without their kind (Kubernetes leaves it out); readers want it.</summary>
    public static JsonObject WithKind(JsonObject obj, ResourceKind kind)
    {
        if (!obj.ContainsKey("kind"))
            obj["kind"] = kind.Kind;
        if (!obj.ContainsKey("apiVersion"))
            obj["apiVersion"] = kind.ApiVersion;
        return obj;
    }
}

/// <summary>Reads one page of a list. Each item gets memory of its own, so that a cached object does not hold its whole page.</summary>
internal static class ListPage
{
    /// <summary>Adds the page's items; answers the list's resourceVersion and continue token. Throws <see cref="JsonException"/> for what is no list.</summary>
    public static (string ResourceVersion, string Continue) Read(ReadOnlyMemory<byte> page, ResourceKind kind, List<JsonObject> items)
    {
        var span = page.Span;
        var reader = new Utf8JsonReader(span, new JsonReaderOptions { MaxDepth = KubeJson.DepthMax });
        JsonNode? metadata = null;
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("an object is expected");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isItems = reader.ValueTextEquals("items"u8);
            var isMetadata = reader.ValueTextEquals("metadata"u8);
            reader.Read();
            if (isItems && reader.TokenType == JsonTokenType.StartArray)
            {
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    var item = Value(span, ref reader) as JsonObject ?? throw new JsonException("items must be objects");
                    items.Add(KubeJson.WithKind(item, kind));
                }
            }
            else if (isMetadata)
            {
                metadata = Value(span, ref reader);
            }
            else
            {
                reader.Skip();
            }
        }

        return (metadata.Text("resourceVersion"), metadata.Text("continue"));
    }

    private static JsonNode? Value(ReadOnlySpan<byte> span, ref Utf8JsonReader reader)
    {
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        return KubeJson.Parse(span[start..(int)reader.BytesConsumed]);
    }
}

/// <summary>A watch's stream: one JSON object a line.</summary>
internal static class WatchLines
{
    /// <summary>Takes the next whole line off the front of <paramref name="buffer"/>, without its line feed.</summary>
    public static bool TryRead(ref ReadOnlySequence<byte> buffer, out ReadOnlySequence<byte> line)
    {
        var reader = new SequenceReader<byte>(buffer);
        if (!reader.TryReadTo(out line, (byte)'\n'))
            return false;
        buffer = buffer.Slice(reader.Position);
        return true;
    }

    /// <summary>Null for a blank line and for event types that are not known here. Throws <see cref="KubeException"/> for an ERROR event, with
    /// its code, and for what is no event.</summary>
    public static WatchEvent? Parse(ReadOnlySequence<byte> line, ResourceKind kind)
    {
        var bytes = line.IsSingleSegment ? line.FirstSpan : line.ToArray();
        if (bytes.Trim(" \r\t"u8).IsEmpty)
            return null;
        if (TryScan(bytes, kind) is { } scanned)
            return scanned;
        JsonNode? node;
        try
        {
            node = KubeJson.Parse(bytes);
        }
        catch (JsonException e)
        {
            throw new KubeException(0, "BadAnswer", $"watch {kind.Plural}: an event is not JSON: {e.Message}", inner: e);
        }

        if (node.At("object") is not JsonObject obj)
            throw new KubeException(0, "BadAnswer", $"watch {kind.Plural}: an event has no object");
        var type = node.Text("type");
        if (type == "ERROR")
            throw KubeException.Of(obj);

        // Off the event, so that it can be put elsewhere.
        node!.AsObject().Remove("object");
        KubeJson.WithKind(obj, kind);
        return type switch
        {
            "ADDED" => new WatchEvent(WatchEventType.Added, obj),
            "MODIFIED" => new WatchEvent(WatchEventType.Modified, obj),
            "DELETED" => new WatchEvent(WatchEventType.Deleted, obj),
            "BOOKMARK" => new WatchEvent(WatchEventType.Bookmark, obj),
            _ => null,
        };
    }

    // Whatever is not an ordinary change takes the long way, which has the errors.
    private static WatchEvent? TryScan(ReadOnlySpan<byte> bytes, ResourceKind kind)
    {
        if (!StrictJson.HasDistinctNames(bytes, KubeJson.DepthMax))
            return null;
        var reader = new Utf8JsonReader(bytes, new JsonReaderOptions { MaxDepth = KubeJson.DepthMax });
        WatchEventType? type = null;
        ObjectText? text = null;
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var (isType, isObject) = (reader.ValueTextEquals("type"u8), reader.ValueTextEquals("object"u8));
            reader.Read();
            var start = (int)reader.TokenStartIndex;
            if (isType && reader.TokenType == JsonTokenType.String)
            {
                type = reader.ValueTextEquals("ADDED"u8) ? WatchEventType.Added
                    : reader.ValueTextEquals("MODIFIED"u8) ? WatchEventType.Modified
                    : reader.ValueTextEquals("DELETED"u8) ? WatchEventType.Deleted
                    : null;
                if (type is null)
                    return null;
            }

            reader.Skip();
            if (isObject && !ObjectText.TryRead(bytes[start..(int)reader.BytesConsumed], kind, out text))
                return null;
        }

        return type is { } known && text is not null ? new WatchEvent(known, text) : null;
    }
}
