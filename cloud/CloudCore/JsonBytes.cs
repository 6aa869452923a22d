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
    // A larger buffer is not kept: one list of everything would hold it for good.
    private const int KeptMax = 16 * 1024;

    private static readonly JsonWriterOptions s_writer = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    // Of a thread that writes now and then: an object's bytes are written at each change, and buffer and writer are more garbage than they.
    [ThreadStatic]
    private static (ArrayBufferWriter<byte> Buffer, Utf8JsonWriter Json)? s_kept;

    public static byte[] Of(JsonNode node) => Of(node, static (json, node) => node.WriteTo(json));

    /// <summary>What <paramref name="write"/> writes.</summary>
    public static byte[] Of<T>(T state, Action<Utf8JsonWriter, T> write)
    {
        // Taken, not looked at: what throws in the middle of a value must not be used again.
        var (buffer, json) = s_kept ?? NewWriter();
        s_kept = null;
        write(json, state);
        json.Flush();
        var bytes = buffer.WrittenSpan.ToArray();
        if (buffer.Capacity <= KeptMax)
        {
            buffer.Clear(); // zeroes it, too: it may have been a Secret
            json.Reset();
            s_kept = (buffer, json);
        }

        return bytes;
    }

    private static (ArrayBufferWriter<byte> Buffer, Utf8JsonWriter Json) NewWriter()
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        return (buffer, new Utf8JsonWriter(buffer, s_writer));
    }

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
