using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.DeviceController;

/// <summary>One sample of a property that keeps its history.</summary>
/// <param name="TimestampMs">When the mapper read it, ms since the epoch.</param>
internal sealed record DeviceSample(string Value, long TimestampMs);

/// <summary>One report of an edge about one device: twins, or state.</summary>
internal sealed record DeviceReport(string Namespace, string Name, IReadOnlyDictionary<string, JsonObject> Twins, string State, string LastOnlineTime)
{
    /// <summary>Samples that one report may carry.</summary>
    public const int SamplesMax = 10_000;

    private const int ProblemsMax = 32;
    private const int ProblemLengthMax = 1024;

    /// <summary>Of the Device that the edge speaks of; empty with stock edges.</summary>
    public string Uid { get; init; } = "";

    /// <summary>Of the report in its edge's queue, where later ones have higher versions; 0 with stock edges.</summary>
    public long Version { get; init; }

    /// <summary>Samples by property, oldest first.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<DeviceSample>> History { get; init; } = new Dictionary<string, IReadOnlyList<DeviceSample>>();

    /// <summary>What is wrong with the device at its edge; null when the report does not say.</summary>
    public IReadOnlyList<string>? Problems { get; init; }

    /// <summary>Properties that one report may carry, and that one DeviceStatus may hold.</summary>
    public const int TwinsMax = 1024;

    /// <summary>Reads <c>device/&lt;ns&gt;/&lt;name&gt;/twin/edge_updated</c> and <c>device/&lt;ns&gt;/&lt;name&gt;/state/update</c> (kubeedge-wire §4.3).
    /// Returns null with the reason when the message is neither.</summary>
    public static DeviceReport? TryRead(Message message, out string error)
    {
        var parts = message.Resource.Split('/');
        var isTwin = parts is ["device", _, _, "twin", "edge_updated"];
        if (!isTwin && parts is not ["device", _, _, "state", "update"])
        {
            error = $"resource '{message.Resource}' is no device report";
            return null;
        }

        if (JsonBytes.TryObject(MessageCodec.Unwrap(message.Content), out error) is not { } body)
            return null;
        if (!isTwin)
        {
            var device = body.Get("device");
            return new DeviceReport(parts[1], parts[2], new Dictionary<string, JsonObject>(), Scalar(device.Get("state")), Scalar(device.Get("lastOnlineTime"))) { Uid = Scalar(body.Get("uid")) };
        }

        var twins = new Dictionary<string, JsonObject>();
        if (body.Get("twin") is JsonObject all)
        {
            if (all.Count > TwinsMax)
            {
                error = $"{all.Count} properties, the limit is {TwinsMax}";
                return null;
            }

            foreach (var (property, value) in all)
            {
                if (value is JsonObject twin)
                    twins[property] = twin;
            }
        }

        var history = ReadHistory(body.Get("history") as JsonObject, out var samples);
        if (samples > SamplesMax)
        {
            error = $"{samples} samples, the limit is {SamplesMax}";
            return null;
        }

        // Our edges say what is wrong with each twin, and nothing when nothing is; a message of samples alone says nothing of it.
        var uid = Scalar(body.Get("uid"));
        return new DeviceReport(parts[1], parts[2], twins, "", "") { Uid = uid, History = history, Problems = uid.Length > 0 && history.Count == 0 ? ProblemsOf(body) : null };
    }

    private static List<string> ProblemsOf(JsonObject body)
        => [.. (body.Get("problems") as JsonArray ?? []).Take(ProblemsMax).Select(Scalar).Select(text => text.Length > ProblemLengthMax ? text[..ProblemLengthMax] : text)];

    private static Dictionary<string, IReadOnlyList<DeviceSample>> ReadHistory(JsonObject? history, out int samples)
    {
        var read = new Dictionary<string, IReadOnlyList<DeviceSample>>();
        samples = 0;
        foreach (var (property, list) in history ?? [])
        {
            if (list is not JsonArray array)
                continue;
            samples += array.Count;
            read[property] = [.. array.OfType<JsonObject>().Select(one => new DeviceSample(Scalar(one.Get("value")), long.TryParse(Scalar(one.Get("timestamp")), out var stamp) ? stamp : 0))];
        }

        return read;
    }

    /// <summary>Lays the reported parts of <paramref name="twin"/> (MsgTwin, kubeedge-wire §4.6) over <paramref name="entry"/> of status.twins[].</summary>
    public static void Merge(JsonObject entry, JsonObject twin)
    {
        var type = Scalar(twin.Get("metadata").Get("type"));
        Put("reported", twin.Get("actual"));
        Put("observedDesired", twin.Get("expected"));
        return;

        void Put(string key, JsonNode? side)
        {
            if (side.Get("value") is not { } value)
                return;
            var metadata = new JsonObject();
            if (Scalar(side.Get("metadata").Get("timestamp")) is { Length: > 0 } timestamp)
                metadata["timestamp"] = timestamp;
            if ((Scalar(side.Get("metadata").Get("type")) is { Length: > 0 } own ? own : type) is { Length: > 0 } kind)
                metadata["type"] = kind;
            // Why the mapper could not read the property, and which desired value replaced which; the next report without one clears it.
            foreach (var note in (string[])["error", "conflict"])
            {
                if (Scalar(side.Get("metadata").Get(note)) is { Length: > 0 } text)
                    metadata[note] = text;
            }

            entry[key] = new JsonObject { ["value"] = Scalar(value), ["metadata"] = metadata };
        }
    }

    // Values and metadata are strings in the CRD; an edge may send numbers.
    private static string Scalar(JsonNode? node)
        => node switch
        {
            null => "",
            JsonValue value when value.GetValueKind() == JsonValueKind.String => value.GetValue<string>(),
            _ => node.ToJsonString(),
        };
}

/// <summary>Reading as Go peers do: keys in any casing (kubeedge-wire §1.3).</summary>
internal static class AnyCase
{
    public static JsonNode? Get(this JsonNode? node, string key)
    {
        if (node is not JsonObject obj)
            return null;
        if (obj.TryGetPropertyValue(key, out var exact))
            return exact;
        foreach (var (name, value) in obj)
        {
            if (name.Equals(key, StringComparison.OrdinalIgnoreCase))
                return value;
        }

        return null;
    }
}
