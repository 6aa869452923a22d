using System.Globalization;
using System.Text.Json;
using Edge.Protocol.Messages;

namespace Edge.Cloud.DeviceController;

/// <summary>One sample of a property that keeps its history.</summary>
/// <param name="TimestampMs">When the mapper read it, ms since the epoch.</param>
internal sealed record DeviceSample(string Value, long TimestampMs);

/// <summary>One report of an edge about one device: twins, or state.</summary>
/// <param name="Twins">One for each property that it names.</param>
internal sealed record DeviceReport(string Namespace, string Name, IReadOnlyList<(string Property, TwinEntry Entry)> Twins, string State, string LastOnlineTime)
{
    /// <summary>Samples that one report may carry.</summary>
    public const int SamplesMax = 10_000;

    private const int ProblemsMax = 32;
    private static readonly string[] s_types = ["INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM", "int", "float", "double", "string", "boolean", "bytes"];
    private static readonly Dictionary<string, IReadOnlyList<DeviceSample>> s_noHistory = [];

    /// <summary>Of the Device that the edge speaks of; empty with stock edges.</summary>
    public string Uid { get; init; } = "";

    /// <summary>Where it was made.</summary>
    public string Node { get; init; } = "";

    /// <summary>Of the report in its edge's queue, where later ones have higher versions; 0 with stock edges.</summary>
    public long Version { get; init; }

    /// <summary>Samples by property, oldest first.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<DeviceSample>> History { get; init; } = s_noHistory;

    /// <summary>What is wrong with the device at its edge; null when the report does not say.</summary>
    public IReadOnlyList<string>? Problems { get; init; }

    /// <summary>Most characters of a problem's text.</summary>
    public const int ProblemLengthMax = 1024;

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

        using var document = JsonBytes.TryDocument(MessageCodec.Unwrap(message.Content), out error);
        if (document is null)
            return null;
        var body = document.RootElement;
        if (!isTwin)
        {
            var device = body.AnyCase("device"u8);
            return new DeviceReport(parts[1], parts[2], [], device.AnyCase("state"u8).Scalar(), device.AnyCase("lastOnlineTime"u8).Scalar()) { Uid = body.AnyCase("uid"u8).Scalar() };
        }

        var all = body.AnyCase("twin"u8);
        var twins = new List<(string, TwinEntry)>();
        if (all.ValueKind == JsonValueKind.Object)
        {
            var count = all.GetPropertyCount();
            if (count > TwinsMax)
            {
                error = $"{count} properties, the limit is {TwinsMax}";
                return null;
            }

            twins.Capacity = count;
            foreach (var twin in all.EnumerateObject())
            {
                if (twin.Value.ValueKind == JsonValueKind.Object)
                    twins.Add((twin.Name, EntryOf(twin.Value)));
            }
        }

        var history = ReadHistory(body.AnyCase("history"u8), out var samples);
        if (samples > SamplesMax)
        {
            error = $"{samples} samples, the limit is {SamplesMax}";
            return null;
        }

        // Our edges say what is wrong with each twin, and nothing when nothing is; a message of samples alone says nothing of it.
        var uid = body.AnyCase("uid"u8).Scalar();
        return new DeviceReport(parts[1], parts[2], twins, "", "") { Uid = uid, History = history, Problems = uid.Length > 0 && history.Count == 0 ? ProblemsOf(body) : null };
    }

    private static List<string> ProblemsOf(JsonElement body)
    {
        var problems = new List<string>();
        foreach (var one in body.AnyCase("problems"u8).Items())
        {
            if (problems.Count == ProblemsMax)
                break;
            var text = one.Scalar();
            problems.Add(text.Length > ProblemLengthMax ? text[..ProblemLengthMax] : text);
        }

        return problems;
    }

    private static Dictionary<string, IReadOnlyList<DeviceSample>> ReadHistory(JsonElement history, out int samples)
    {
        samples = 0;
        if (history.ValueKind != JsonValueKind.Object)
            return s_noHistory;
        var read = new Dictionary<string, IReadOnlyList<DeviceSample>>();
        foreach (var property in history.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.Array)
                continue;
            samples += property.Value.GetArrayLength();
            var list = new List<DeviceSample>();
            foreach (var one in property.Value.EnumerateArray())
            {
                if (one.ValueKind == JsonValueKind.Object)
                    list.Add(new DeviceSample(one.AnyCase("value"u8).Scalar(), long.TryParse(one.AnyCase("timestamp"u8).Scalar(), CultureInfo.InvariantCulture, out var stamp) ? stamp : 0));
            }

            read[property.Name] = list;
        }

        return read;
    }

    // The reported parts of a MsgTwin (kubeedge-wire §4.6). Values and metadata are strings in the CRD; an edge may send numbers.
    private static TwinEntry EntryOf(JsonElement twin)
    {
        var type = TypeOf(twin.AnyCase("metadata"u8));
        return new TwinEntry(SideOf(twin.AnyCase("actual"u8), type), SideOf(twin.AnyCase("expected"u8), type));
    }

    private static TwinSide? SideOf(JsonElement side, string type)
    {
        var value = side.AnyCase("value"u8);
        if (value.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null)
            return null;
        var metadata = side.AnyCase("metadata"u8);
        return new TwinSide(
            value.Scalar(), metadata.AnyCase("timestamp"u8).Scalar(), TypeOf(metadata) is { Length: > 0 } own ? own : type, metadata.AnyCase("error"u8).Scalar(), metadata.AnyCase("conflict"u8).Scalar());
    }

    private static string TypeOf(JsonElement metadata)
    {
        // One string for all twins of a type.
        var type = metadata.AnyCase("type"u8);
        if (type.ValueKind == JsonValueKind.String)
        {
            foreach (var known in s_types)
            {
                if (type.ValueEquals(known))
                    return known;
            }
        }

        return type.Scalar();
    }
}
