using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Edge.Protocol.Messages;

/// <summary>JSON form of <see cref="Message"/> (kubeedge-wire §1.3). Keys are read case-insensitively, as Go peers expect.</summary>
public static class MessageCodec
{
    private static readonly JsonWriterOptions s_writer = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };
    private static readonly JsonReaderOptions s_reader = new() { MaxDepth = 64 };

    /// <summary>UTF-8 of the JSON string <c>"OK"</c>, the content of a positive answer.</summary>
    public static ReadOnlyMemory<byte> Ok { get; } = "\"OK\""u8.ToArray();

    /// <summary>Writes <paramref name="message"/> as one compact JSON document.</summary>
    public static byte[] Write(Message message)
    {
        var buffer = new ArrayBufferWriter<byte>(256 + message.Content.Length);
        Write(message, buffer);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Writes <paramref name="message"/> as one compact JSON document to <paramref name="output"/>.</summary>
    public static void Write(Message message, IBufferWriter<byte> output)
    {
        using var json = new Utf8JsonWriter(output, s_writer);
        json.WriteStartObject();
        json.WriteStartObject("header"u8);
        json.WriteString("msg_id"u8, message.Id);
        WriteUnlessEmpty(json, "parent_msg_id"u8, message.ParentId);
        json.WriteNumber("timestamp"u8, message.TimestampMs);
        WriteUnlessEmpty(json, "resourceversion"u8, message.ResourceVersion);
        if (message.Sync)
            json.WriteBoolean("sync"u8, true);
        json.WriteEndObject();
        json.WriteStartObject("route"u8);
        json.WriteString("source"u8, message.Source);
        WriteUnlessEmpty(json, "destination"u8, message.Destination);
        json.WriteString("group"u8, message.Group);
        json.WriteString("operation"u8, message.Operation);
        json.WriteString("resource"u8, message.Resource);
        json.WriteEndObject();
        json.WritePropertyName("content"u8);
        if (message.Content.IsEmpty)
            json.WriteNullValue();
        else
            json.WriteRawValue(message.Content.Span, skipInputValidation: true);
        json.WriteEndObject();
    }

    /// <summary>Reads one document. Returns false with the reason in <paramref name="error"/>; never throws for bad input.</summary>
    public static bool TryRead(ReadOnlyMemory<byte> utf8, out Message message, out string error)
    {
        message = new Message { Id = "" };
        if (utf8.Length > MessageLimits.MessageSizeMax)
        {
            error = $"message of {utf8.Length} bytes is over the limit of {MessageLimits.MessageSizeMax}";
            return false;
        }

        // RFC 6455 §8.1 asks for UTF-8 in text frames; and what reads the content must not meet a broken string then.
        if (!JsonText.IsUnicode(utf8.Span))
        {
            error = "malformed message: it is not valid Unicode";
            return false;
        }

        try
        {
            var reader = new Utf8JsonReader(utf8.Span, s_reader);
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            {
                error = "message is not a JSON object";
                return false;
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString()!;
                reader.Read();
                if (Is(name, "header") && reader.TokenType == JsonTokenType.StartObject)
                    message = ReadHeader(ref reader, message);
                else if (Is(name, "route") && reader.TokenType == JsonTokenType.StartObject)
                    message = ReadRoute(ref reader, message);
                else if (Is(name, "content"))
                {
                    var start = (int)reader.TokenStartIndex;
                    var isNull = reader.TokenType == JsonTokenType.Null;
                    reader.Skip();
                    if (!isNull)
                        message = message with { Content = utf8[start..(int)reader.BytesConsumed] };
                }
                else
                    reader.Skip();
            }

            if (reader.TokenType != JsonTokenType.EndObject)
            {
                error = "message ends early";
                return false;
            }

            if (reader.Read())
            {
                error = "text after the message";
                return false;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            error = $"malformed message: {e.Message}";
            return false;
        }

        if (message.Operation.Length == 0)
        {
            error = "message has no route.operation";
            return false;
        }

        error = "";
        return true;
    }

    /// <summary>The JSON string of <paramref name="text"/>, as content.</summary>
    public static ReadOnlyMemory<byte> JsonString(string text)
    {
        var buffer = new ArrayBufferWriter<byte>(text.Length + 2);
        using (var json = new Utf8JsonWriter(buffer, s_writer))
            json.WriteStringValue(text);
        return buffer.WrittenMemory;
    }

    /// <summary>The document in <paramref name="content"/>: a JSON string is unwrapped to the bytes of its text, as Go readers do,
    /// anything else, and what is no whole string, is returned as it stands. Patches and device states travel as JSON inside a string (kubeedge-wire §1.3).</summary>
    public static ReadOnlyMemory<byte> Unwrap(ReadOnlyMemory<byte> content)
    {
        if (content.IsEmpty || content.Span[0] != (byte)'"')
            return content;
        try
        {
            var reader = new Utf8JsonReader(content.Span);
            reader.Read();
            return Encoding.UTF8.GetBytes(reader.GetString()!);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return content;
        }
    }

    private static Message ReadHeader(ref Utf8JsonReader reader, Message message)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (Is(name, "msg_id"))
                message = message with { Id = Text(ref reader) };
            else if (Is(name, "parent_msg_id"))
                message = message with { ParentId = Text(ref reader) };
            else if (Is(name, "timestamp"))
                message = message with { TimestampMs = reader.GetInt64() };
            else if (Is(name, "resourceversion"))
                message = message with { ResourceVersion = Text(ref reader) };
            else if (Is(name, "sync"))
                message = message with { Sync = reader.GetBoolean() };
            else
                reader.Skip();
        }

        return message;
    }

    private static Message ReadRoute(ref Utf8JsonReader reader, Message message)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (Is(name, "source"))
                message = message with { Source = Text(ref reader) };
            else if (Is(name, "destination"))
                message = message with { Destination = Text(ref reader) };
            else if (Is(name, "group"))
                message = message with { Group = Text(ref reader) };
            else if (Is(name, "operation"))
                message = message with { Operation = Text(ref reader) };
            else if (Is(name, "resource"))
                message = message with { Resource = Text(ref reader) };
            else
                reader.Skip();
        }

        return message;
    }

    private static bool Is(string name, string known) => name.Equals(known, StringComparison.OrdinalIgnoreCase);

    private static string Text(ref Utf8JsonReader reader) => reader.GetString() ?? "";

    private static void WriteUnlessEmpty(Utf8JsonWriter json, ReadOnlySpan<byte> name, string value)
    {
        if (value.Length > 0)
            json.WriteString(name, value);
    }
}
