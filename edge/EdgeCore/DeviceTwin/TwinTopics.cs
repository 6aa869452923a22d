using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Edge.Core.DeviceTwin;

/// <summary>Topics and payloads for applications at this edge (kubeedge-wire §4.6). Pure.</summary>
internal static class TwinTopics
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary><c>$hw/events/device/NAMESPACE/NAME/REST</c>.</summary>
    public static string Device(string @namespace, string name, string rest) => $"$hw/events/device/{@namespace}/{name}/{rest}";

    /// <summary>{event_id, timestamp, twin{PROPERTY: MsgTwin}}</summary>
    public static byte[] Twin(string id, long now, IEnumerable<KeyValuePair<string, PropertyTwin>> properties)
        => Write(id, now, json => WriteTwins(json, properties));

    /// <summary>{event_id, timestamp, twin{…}, delta{PROPERTY: desired value}}</summary>
    public static byte[] Delta(string id, long now, IReadOnlyList<KeyValuePair<string, PropertyTwin>> properties)
        => Write(id, now, json =>
        {
            WriteTwins(json, properties);
            json.WriteStartObject("delta"u8);
            foreach (var (name, property) in properties)
                json.WriteString(name, property.Desired);
            json.WriteEndObject();
        });

    /// <summary>{event_id, timestamp, twin{PROPERTY: {last: MsgTwin, current: MsgTwin}}}</summary>
    public static byte[] Document(string id, long now, IEnumerable<(string Name, PropertyTwin? Last, PropertyTwin Current)> changes)
        => Write(id, now, json =>
        {
            json.WriteStartObject("twin"u8);
            foreach (var (name, last, current) in changes)
            {
                json.WriteStartObject(name);
                if (last is null)
                    json.WriteNull("last"u8);
                else
                {
                    json.WritePropertyName("last"u8);
                    WriteTwin(json, last);
                }

                json.WritePropertyName("current"u8);
                WriteTwin(json, current);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        });

    /// <summary>{event_id, timestamp, code, reason}</summary>
    public static byte[] Failure(string id, long now, int code, string reason)
        => Write(id, now, json =>
        {
            json.WriteNumber("code"u8, code);
            json.WriteString("reason"u8, reason);
        });

    /// <summary>{event_id, timestamp, device{name, state, lastOnlineTime}}</summary>
    public static byte[] State(string id, long now, DeviceEntry device)
        => Write(id, now, json =>
        {
            json.WriteStartObject("device"u8);
            json.WriteString("name"u8, device.Name);
            json.WriteString("state"u8, device.Row.State);
            WriteTime(json, "lastOnlineTime", device.Row.LastOnlineMs);
            json.WriteEndObject();
        });

    /// <summary>{event_id, timestamp, devices[{id, name, description, state, last_online, attributes}]}</summary>
    public static byte[] Members(string id, long now, IEnumerable<DeviceEntry> devices)
        => Write(id, now, json => WriteDevices(json, "devices", devices));

    /// <summary>{event_id, timestamp, added_devices[], removed_devices[]}</summary>
    public static byte[] Membership(long now, IEnumerable<DeviceEntry> added, IEnumerable<DeviceEntry> removed)
        => Write("", now, json =>
        {
            WriteDevices(json, "added_devices", added);
            WriteDevices(json, "removed_devices", removed);
        });

    /// <summary>{event_id, timestamp, attributes{NAME: {value, optional, metadata{type}}}}</summary>
    public static byte[] Attributes(long now, DeviceEntry device) => Write("", now, json => WriteAttributes(json, device));

    private static byte[] Write(string id, long now, Action<Utf8JsonWriter> body)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer, s_options))
        {
            json.WriteStartObject();
            json.WriteString("event_id"u8, id);
            json.WriteNumber("timestamp"u8, now);
            body(json);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static void WriteTwins(Utf8JsonWriter json, IEnumerable<KeyValuePair<string, PropertyTwin>> properties)
    {
        json.WriteStartObject("twin"u8);
        foreach (var (name, property) in properties.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            json.WritePropertyName(name);
            WriteTwin(json, property);
        }

        json.WriteEndObject();
    }

    private static void WriteTwin(Utf8JsonWriter json, PropertyTwin property)
    {
        json.WriteStartObject();
        if (property.Desired is not null)
            WriteSide(json, "expected", property.Desired, property.DesiredTimestampMs);
        if (property.Value is not null)
            WriteSide(json, "actual", property.Value, property.TimestampMs);
        json.WriteBoolean("optional"u8, true);
        json.WriteStartObject("metadata"u8);
        json.WriteString("type"u8, property.Type);
        if (property.Error.Length > 0)
            json.WriteString("error"u8, property.Error);
        if (property.Conflict.Length > 0)
            json.WriteString("conflict"u8, property.Conflict);
        json.WriteEndObject();
        WriteVersion(json, "expected_version", property.DesiredCloudVersion, property.DesiredEdgeVersion);
        WriteVersion(json, "actual_version", 0, property.EdgeVersion);
        json.WriteEndObject();
    }

    private static void WriteSide(Utf8JsonWriter json, string side, string value, long timestampMs)
    {
        json.WriteStartObject(side);
        json.WriteString("value"u8, value);
        json.WriteStartObject("metadata"u8);
        json.WriteNumber("timestamp"u8, timestampMs);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteVersion(Utf8JsonWriter json, string name, long cloud, long edge)
    {
        json.WriteStartObject(name);
        json.WriteNumber("cloud"u8, cloud);
        json.WriteNumber("edge"u8, edge);
        json.WriteEndObject();
    }

    private static void WriteDevices(Utf8JsonWriter json, string name, IEnumerable<DeviceEntry> devices)
    {
        json.WriteStartArray(name);
        foreach (var device in devices)
        {
            json.WriteStartObject();
            json.WriteString("id"u8, device.Id);
            json.WriteString("name"u8, device.Name);
            json.WriteString("description"u8, "");
            json.WriteString("state"u8, device.Row.State);
            WriteTime(json, "last_online", device.Row.LastOnlineMs);
            WriteAttributes(json, device);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    // MsgAttr of KubeEdge. A Device of v1beta1 has no attributes of its own: its labels are.
    private static void WriteAttributes(Utf8JsonWriter json, DeviceEntry device)
    {
        json.WriteStartObject("attributes"u8);
        foreach (var (name, value) in device.Labels)
        {
            json.WriteStartObject(name);
            json.WriteString("value"u8, value);
            json.WriteBoolean("optional"u8, true);
            json.WriteStartObject("metadata"u8);
            json.WriteString("type"u8, "string"u8);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static void WriteTime(Utf8JsonWriter json, string name, long ms)
        => json.WriteString(name, ms > 0 ? DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture) : "");
}
