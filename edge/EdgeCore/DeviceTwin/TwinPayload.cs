using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Edge.Protocol.Messages;

namespace Edge.Core.DeviceTwin;

/// <summary>Contents of the messages to the cloud (kubeedge-wire §4.3, and the recorded exchange of stock peers).</summary>
internal static class TwinPayload
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Content of <c>device/&lt;ns&gt;/&lt;name&gt;/twin/edge_updated</c>: a JSON object.</summary>
    /// <remarks>A property that cannot be read carries <c>actual.metadata.error</c>, which stock readers ignore.</remarks>
    public static byte[] Twin(string eventId, long nowMs, IReadOnlyDictionary<string, PropertyTwin> properties)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer, s_options))
        {
            json.WriteStartObject();
            json.WriteString("event_id"u8, eventId);
            json.WriteNumber("timestamp"u8, nowMs);
            json.WriteStartObject("twin"u8);
            foreach (var (name, property) in properties.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            {
                json.WriteStartObject(name);
                if (property.Expected is not null)
                    WriteSide(json, "expected"u8, property.Expected, property.ExpectedTimestampMs, "");
                if (property.Value is not null || property.Error.Length > 0)
                    WriteSide(json, "actual"u8, property.Value ?? "", property.TimestampMs, property.Error);
                json.WriteBoolean("optional"u8, true);
                json.WriteStartObject("metadata"u8);
                json.WriteString("type"u8, property.Type);
                json.WriteEndObject();
                json.WriteStartObject("actual_version"u8);
                json.WriteNumber("cloud"u8, 0);
                json.WriteNumber("edge"u8, property.EdgeVersion);
                json.WriteEndObject();
                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Content of <c>device/&lt;ns&gt;/&lt;name&gt;/state/update</c>: the JSON document inside a JSON string, as stock peers send it.</summary>
    public static ReadOnlyMemory<byte> State(string eventId, long nowMs, string name, string state, long lastOnlineMs)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer, s_options))
        {
            json.WriteStartObject();
            json.WriteString("event_id"u8, eventId);
            json.WriteNumber("timestamp"u8, nowMs);
            json.WriteStartObject("device"u8);
            json.WriteString("name"u8, name);
            json.WriteString("state"u8, state);
            if (lastOnlineMs > 0)
            {
                json.WriteString(
                    "lastOnlineTime"u8,
                    DateTimeOffset.FromUnixTimeMilliseconds(lastOnlineMs).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return MessageCodec.JsonString(Encoding.UTF8.GetString(buffer.WrittenSpan));
    }

    private static void WriteSide(Utf8JsonWriter json, ReadOnlySpan<byte> side, string value, long timestampMs, string error)
    {
        json.WriteStartObject(side);
        json.WriteString("value"u8, value);
        json.WriteStartObject("metadata"u8);
        json.WriteNumber("timestamp"u8, timestampMs);
        if (error.Length > 0)
            json.WriteString("error"u8, error);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
