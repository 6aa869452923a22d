using System.Globalization;
using System.Text;
using System.Text.Json;
using Edge.Common.Text;
using Edge.Protocol.Messages;

namespace Edge.Core.DeviceTwin;

/// <summary>Contents of the messages to the cloud (kubeedge-wire §4.3, and the recorded exchange of stock peers).</summary>
internal static class TwinPayload
{
    /// <summary>Most bytes that the properties of one message have. Above, a DeviceStatus could not hold them: an API takes bodies of 3 MiB, in which problems and history must fit too.</summary>
    public const int TwinBytesMax = 2 * 1024 * 1024;

    /// <summary>Most properties of one message, and of a DeviceStatus.</summary>
    public const int TwinPropertiesMax = 1024;

    /// <summary>About the most bytes that the samples of one message have; CloudCore merges several messages into one write.</summary>
    public const int HistoryBytesMax = 512 * 1024;

    /// <summary>Most samples of one message; CloudCore takes 10,000.</summary>
    public const int HistorySamplesMax = 1000;

    // Of names, braces and numbers round one value.
    private const int FrameBytes = 256;

    /// <summary>Takes off what a message cannot hold, and returns its names; the first ones in order stay.</summary>
    public static List<string> Fit(SortedList<string, PropertyTwin> properties)
    {
        long bytesMax = 0;
        for (var i = 0; i < properties.Count; i++)
        {
            var one = properties.GetValueAtIndex(i);
            bytesMax += FrameBytes + BytesMaxOf(properties.GetKeyAtIndex(i)) + BytesMaxOf(one.Value) + BytesMaxOf(one.Expected ?? one.Desired) + BytesMaxOf(one.Error) + BytesMaxOf(one.Refused) + BytesMaxOf(one.Conflict) + BytesMaxOf(one.Type);
        }

        if (bytesMax <= TwinBytesMax && properties.Count <= TwinPropertiesMax)
            return [];
        var left = new List<string>();
        long bytes = 0;
        var count = 0;
        foreach (var (name, property) in properties.ToList())
        {
            var size = JsonBuffer.Bytes((name, property), static (json, one) =>
            {
                json.WriteStartObject();
                WriteProperty(json, one.name, one.property);
                json.WriteEndObject();
            }).Length;
            if (count == TwinPropertiesMax || bytes + size > TwinBytesMax)
            {
                left.Add(name);
                properties.Remove(name);
                continue;
            }

            bytes += size;
            count++;
        }

        return left;
    }

    /// <summary>Cuts a device's samples into as few messages as the limits allow, in order.</summary>
    public static List<List<TwinOutput.SendSample>> Parts(IReadOnlyList<TwinOutput.SendSample> samples)
    {
        var parts = new List<List<TwinOutput.SendSample>>();
        long bytes = 0;
        foreach (var sample in samples)
        {
            var size = FrameBytes + BytesMaxOf(sample.Property) + BytesMaxOf(sample.Value);
            if (parts.Count == 0 || parts[^1].Count == HistorySamplesMax || bytes + size > HistoryBytesMax)
            {
                parts.Add([]);
                bytes = 0;
            }

            parts[^1].Add(sample);
            bytes += size;
        }

        return parts;
    }

    // An upper bound in JSON: a letter beyond ASCII has at most three bytes, or is escaped as \uXXXX.
    private static long BytesMaxOf(string? text)
    {
        long bytes = 0;
        foreach (var letter in text ?? "")
            bytes += letter is '"' or '\\' ? 2 : char.IsBetween(letter, ' ', '~') ? 1 : 6;
        return bytes;
    }

    /// <summary>Content of <c>device/&lt;ns&gt;/&lt;name&gt;/twin/edge_updated</c>: a JSON object.</summary>
    /// <remarks>Stock readers ignore what is ours: <c>uid</c> (of the Device it is about), <c>problems</c>, <c>actual.metadata.error</c> of a property that cannot be read,
    /// <c>expected.metadata.conflict</c>.</remarks>
    public static byte[] Twin(string eventId, long nowMs, TwinOutput.SendTwin twin) => JsonBuffer.Bytes((eventId, nowMs, twin), static (json, content) =>
    {
        var (eventId, nowMs, twin) = content;
        WriteHead(json, eventId, nowMs);
        json.WriteStartObject("twin"u8);
        for (var i = 0; i < twin.Properties.Count; i++)
            WriteProperty(json, twin.Properties.GetKeyAtIndex(i), twin.Properties.GetValueAtIndex(i));
        json.WriteEndObject();
        WriteOwn(json, twin.Uid, twin.Problems);
        json.WriteEndObject();
    });

    /// <summary>Content of <c>device/&lt;ns&gt;/&lt;name&gt;/twin/edge_updated</c> with every sample of properties that keep their history:
    /// {event_id, timestamp, twin{}, history{PROPERTY: [{value, timestamp}]}, uid}. A stock reader finds an empty twin.</summary>
    public static byte[] History(string eventId, long nowMs, string uid, IReadOnlyList<TwinOutput.SendSample> samples) => JsonBuffer.Bytes(
        (eventId, nowMs, uid, samples), static (json, content) =>
    {
        WriteHead(json, content.eventId, content.nowMs);
        json.WriteStartObject("twin"u8);
        json.WriteEndObject();
        json.WriteStartObject("history"u8);
        foreach (var property in content.samples.GroupBy(sample => sample.Property, StringComparer.Ordinal))
        {
            json.WriteStartArray(property.Key);
            foreach (var sample in property)
            {
                json.WriteStartObject();
                json.WriteString("value"u8, sample.Value);
                json.WriteNumber("timestamp"u8, sample.TimestampMs);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        json.WriteEndObject();
        WriteOwn(json, content.uid, []);
        json.WriteEndObject();
    });

    /// <summary>Content of <c>device/&lt;ns&gt;/&lt;name&gt;/state/update</c>: the JSON document inside a JSON string, as stock peers send it.</summary>
    public static ReadOnlyMemory<byte> State(string eventId, long nowMs, TwinOutput.SendState device)
    {
        var document = JsonBuffer.Bytes((eventId, nowMs, device), static (json, content) =>
        {
            var (eventId, nowMs, device) = content;
            WriteHead(json, eventId, nowMs);
            json.WriteStartObject("device"u8);
            json.WriteString("name"u8, device.Name);
            json.WriteString("state"u8, device.State);
            if (device.LastOnlineMs > 0)
            {
                json.WriteString(
                    "lastOnlineTime"u8,
                    DateTimeOffset.FromUnixTimeMilliseconds(device.LastOnlineMs).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));
            }

            json.WriteEndObject();
            WriteOwn(json, device.Uid, []);
            json.WriteEndObject();
        });
        return MessageCodec.JsonString(Encoding.UTF8.GetString(document));
    }

    private static void WriteHead(Utf8JsonWriter json, string eventId, long nowMs)
    {
        json.WriteStartObject();
        json.WriteString("event_id"u8, eventId);
        json.WriteNumber("timestamp"u8, nowMs);
    }

    // Nothing, where nothing was said of it yet.
    private static void WriteProperty(Utf8JsonWriter json, string name, PropertyTwin property)
    {
        // Where this edge desired something there may be a conflict at the cloud, which the next word of it without one clears.
        var hasExpected = property.Expected is not null || property.Conflict.Length > 0 || property.DesiredEdgeVersion > 0;
        if (!hasExpected && property.Value is null && property.Error.Length == 0)
            return;
        json.WriteStartObject(name);
        if (hasExpected)
            WriteSide(json, "expected"u8, property.Expected ?? property.Desired ?? "", property.ExpectedTimestampMs, "conflict"u8, property.Conflict);
        if (property.Value is not null || property.Error.Length > 0)
            WriteSide(json, "actual"u8, property.Value ?? "", property.TimestampMs, "error"u8, property.Error.Length > 0 ? property.Error : property.Refused);
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

    private static void WriteOwn(Utf8JsonWriter json, string uid, IReadOnlyList<string> problems)
    {
        if (uid.Length > 0)
            json.WriteString("uid"u8, uid);
        if (problems.Count == 0)
            return;
        json.WriteStartArray("problems"u8);
        foreach (var problem in problems)
            json.WriteStringValue(problem);
        json.WriteEndArray();
    }

    private static void WriteSide(Utf8JsonWriter json, ReadOnlySpan<byte> side, string value, long timestampMs, ReadOnlySpan<byte> noteKey, string note)
    {
        json.WriteStartObject(side);
        json.WriteString("value"u8, value);
        json.WriteStartObject("metadata"u8);
        json.WriteNumber("timestamp"u8, timestampMs);
        if (note.Length > 0)
            json.WriteString(noteKey, note);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
