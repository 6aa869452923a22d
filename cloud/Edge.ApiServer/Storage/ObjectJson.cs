using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Storage;

/// <summary>An object's UTF-8 JSON with a gap where the resourceVersion goes: the expensive part runs before the write's turn comes.</summary>
internal readonly struct ObjectJson
{
    private static readonly JsonWriterOptions s_writerOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };
    private static readonly JsonSerializerOptions s_nodeOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    // What a thread keeps for its next object; a large one's is let go.
    private const int BufferBytesMax = 64 * 1024;

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? s_buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? s_writer;

    private readonly byte[] _json;
    private readonly int _gap;

    private ObjectJson(byte[] json, int gap)
    {
        _json = json;
        _gap = gap;
    }

    public static ObjectJson Serialize(JsonObject obj)
    {
        // Both are used between here and the end of this call only, which waits for nothing.
        var buffer = s_buffer ??= new ArrayBufferWriter<byte>(4096);
        var writer = s_writer ??= new Utf8JsonWriter(buffer, s_writerOptions);
        var gap = 0;
        try
        {
            writer.WriteStartObject();
            foreach (var (key, value) in obj)
            {
                if (key != "metadata" || value is not JsonObject metadata)
                {
                    Write(writer, key, value);
                    continue;
                }

                writer.WriteStartObject("metadata"u8);
                foreach (var (metaKey, metaValue) in metadata)
                    if (metaKey != "resourceVersion")
                        Write(writer, metaKey, metaValue);
                writer.WriteString("resourceVersion"u8, ""u8);
                gap = (int)(writer.BytesCommitted + writer.BytesPending) - 1;
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
            writer.Flush();
            return gap > 0 ? new ObjectJson(buffer.WrittenSpan.ToArray(), gap) : throw new ArgumentException("the object has no metadata", nameof(obj));
        }
        finally
        {
            if (buffer.Capacity > BufferBytesMax)
            {
                s_buffer = null;
                s_writer = null;
            }
            else
            {
                buffer.ResetWrittenCount();
                writer.Reset(buffer);
            }
        }
    }

    /// <summary>False when this differs from what is stored in more than the order of members: it has not the same bytes. True says nothing.</summary>
    public bool MayBe(StoredObject stored)
    {
        Span<byte> digits = stackalloc byte[20];
        stored.Version.TryFormat(digits, out var length, default, CultureInfo.InvariantCulture);
        return _json.Length + length == stored.Json.Length && Sum(_json) + Sum(digits[..length]) == Sum(stored.Json);
    }

    /// <summary>The JSON with the version filled in.</summary>
    public byte[] At(long version)
    {
        Span<byte> digits = stackalloc byte[20];
        version.TryFormat(digits, out var length, default, CultureInfo.InvariantCulture);
        var json = new byte[_json.Length + length];
        _json.AsSpan(0, _gap).CopyTo(json);
        digits[..length].CopyTo(json.AsSpan(_gap));
        _json.AsSpan(_gap).CopyTo(json.AsSpan(_gap + length));
        return json;
    }

    /// <summary>Compact JSON of any node, as this server writes it.</summary>
    public static byte[] Bytes(JsonNode node) => Encoding.UTF8.GetBytes(node.ToJsonString(s_nodeOptions));

    // Of squares: two values that swap digits are rarer with the same one.
    private static long Sum(ReadOnlySpan<byte> bytes)
    {
        var sum = 0L;
        foreach (var one in bytes)
            sum += one * one;
        return sum;
    }

    private static void Write(Utf8JsonWriter writer, string key, JsonNode? value)
    {
        writer.WritePropertyName(key);
        if (value is null)
            writer.WriteNullValue();
        else
            value.WriteTo(writer);
    }
}
