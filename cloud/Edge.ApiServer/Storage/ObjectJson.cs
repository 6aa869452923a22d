using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Patching;

namespace Edge.ApiServer.Storage;

/// <summary>An object's UTF-8 JSON with a gap where the resourceVersion goes: the expensive part runs before the write's turn comes.</summary>
internal readonly struct ObjectJson
{
    /// <summary>Levels of nesting that are read and written, here and by every reader of what is stored (<c>KubeJson</c>). What is stored has fewer, see <c>ObjectApi</c>, so that it can
    /// stand in a list or an event.</summary>
    public const int DepthMax = 512;

    private static readonly JsonWriterOptions s_writerOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true, MaxDepth = DepthMax };
    private static readonly JsonSerializerOptions s_nodeOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = DepthMax };
    private static readonly JsonDocumentOptions s_deep = new() { MaxDepth = DepthMax };

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
            Keep(buffer, writer);
        }
    }

    /// <summary>The status that an object has, over its very bytes; null when it has none.</summary>
    public static JsonDocument? StatusOf(StoredObject stored)
    {
        var (_, status) = Places(stored.Json);
        return status.Length == 0 ? null : JsonDocument.Parse(stored.Json.AsMemory(status.Start, status.Length), s_deep);
    }

    /// <summary>An object as it is stored, with a status into which a patch is merged; null when its status stands before its metadata, as a client may have sent it.</summary>
    /// <param name="old">Its <see cref="StatusOf"/>; undefined when it has none.</param>
    /// <param name="patch">Not null.</param>
    public static ObjectJson? WithStatus(StoredObject stored, JsonElement old, JsonElement patch)
    {
        var json = stored.Json.AsSpan();
        var (version, status) = Places(json);
        if (status.Length > 0 && status.Start < version.Start)
            return null;
        var buffer = s_buffer ??= new ArrayBufferWriter<byte>(4096);
        var writer = s_writer ??= new Utf8JsonWriter(buffer, s_writerOptions);
        try
        {
            // All but the version's digits, which At puts back.
            buffer.Write(json[..version.Start]);
            var afterVersion = version.Start + version.Length;
            buffer.Write(status.Length > 0 ? json[afterVersion..status.Start] : json[afterVersion..^1]);
            if (status.Length == 0)
                buffer.Write(",\"status\":"u8);
            MergeText.Write(writer, old, patch);
            writer.Flush();
            buffer.Write(status.Length > 0 ? json[(status.Start + status.Length)..] : "}"u8);
            return new ObjectJson(buffer.WrittenSpan.ToArray(), version.Start);
        }
        finally
        {
            Keep(buffer, writer);
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

    // Where the digits of the resourceVersion are, and the status; a length of 0 for one without.
    private static ((int Start, int Length) Version, (int Start, int Length) Status) Places(ReadOnlySpan<byte> json)
    {
        (int, int) version = default, status = default;
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = s_deep.MaxDepth });
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isMetadata = reader.ValueTextEquals("metadata"u8);
            var isStatus = reader.ValueTextEquals("status"u8);
            reader.Read();
            var start = (int)reader.TokenStartIndex;
            if (isMetadata)
                version = VersionPlace(ref reader);
            else
                reader.Skip();
            if (isStatus)
                status = (start, (int)reader.BytesConsumed - start);
        }

        return (version, status);
    }

    private static (int, int) VersionPlace(ref Utf8JsonReader reader)
    {
        (int, int) place = default;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isVersion = reader.ValueTextEquals("resourceVersion"u8);
            reader.Read();
            if (isVersion)
                place = ((int)reader.TokenStartIndex + 1, reader.ValueSpan.Length);
            reader.Skip();
        }

        return place;
    }

    private static void Keep(ArrayBufferWriter<byte> buffer, Utf8JsonWriter writer)
    {
        if (buffer.Capacity > BufferBytesMax)
        {
            s_buffer = null;
            s_writer = null;
            return;
        }

        buffer.ResetWrittenCount();
        writer.Reset(buffer);
    }

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
