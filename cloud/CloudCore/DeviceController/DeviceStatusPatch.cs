using System.Globalization;
using System.Text.Json;
using Edge.Common.Text;

namespace Edge.Cloud.DeviceController;

/// <summary>What a batch of reports makes of a DeviceStatus, as a merge patch. Pure; works on JSON text, of which most is copied as it is: a node's reports are most of what CloudCore writes.</summary>
internal static class DeviceStatusPatch
{
    /// <summary>Of a Device: <c>PROPERTY[=SAMPLES],…</c>, how many samples of a property <c>status.extensions.history</c> keeps.</summary>
    public const string HistoryAnnotation = "devices.edge.io/history";

    /// <summary>Samples kept of a property whose annotation names no number.</summary>
    public const int SamplesDefault = 100;

    /// <summary>Most samples kept of a property, whatever the annotation says: an object of the API must stay small.</summary>
    public const int SamplesMax = 1000;


    // How the node's own problems are told from CloudCore's in status.extensions.problems.
    private const string EdgePrefix = "edge: ";

    // As deep as the API lets an object be, and deeper.
    private static readonly JsonDocumentOptions s_deep = new() { MaxDepth = 512 };

    // In status.extensions: {"twin": V, "state": V}, the versions that the newest written reports have in their edge's queue. An older report, which another CloudCore took before the
    // node moved, changes nothing.
    private static ReadOnlySpan<byte> VersionsExtension => "reportVersions"u8;

    /// <param name="stored">The DeviceStatus as it is, in JSON.</param>
    /// <param name="annotation">Its Device's <see cref="HistoryAnnotation"/>; empty without it.</param>
    /// <param name="batch">What is new.</param>
    /// <param name="isFull">True when there were more properties than a status holds; the rest is left out.</param>
    /// <returns>The patch in JSON: the status, and the version of <paramref name="stored"/>, which makes a write of somebody else a conflict: the array of twins is replaced as a whole.</returns>
    public static byte[] Of(ReadOnlyMemory<byte> stored, string annotation, DeviceBatch batch, out bool isFull)
    {
        using var document = JsonDocument.Parse(stored, s_deep);
        var (old, versions) = (document.RootElement.Member("status"u8), document.RootElement.Member("status"u8).Member("extensions"u8).Member(VersionsExtension));
        if (IsOlder(versions.Member("twin"u8), batch.TwinVersion))
            batch = batch with { Twins = [], EdgeProblems = null, TwinVersion = 0 };
        if (IsOlder(versions.Member("state"u8), batch.StateVersion))
            batch = batch with { State = "", LastOnlineTime = "", StateVersion = 0 };
        var full = false;
        var patch = JsonBuffer.Bytes((document.RootElement, old, annotation, batch), (json, all) =>
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata"u8);
            json.WriteString("resourceVersion"u8, all.RootElement.Member("metadata"u8).Member("resourceVersion"u8).Text());
            json.WriteEndObject();
            json.WriteStartObject("status"u8);
            if (all.batch.Twins.Count > 0)
                WriteTwins(json, all.old, all.batch.Twins, out full);
            if (all.batch.State.Length > 0)
                json.WriteString("state"u8, all.batch.State);
            if (all.batch.LastOnlineTime.Length > 0)
                json.WriteString("lastOnlineTime"u8, all.batch.LastOnlineTime);
            WriteExtensions(json, all.old.Member("extensions"u8), all.annotation, all.batch);
            json.WriteEndObject();
            json.WriteEndObject();
        });
        isFull = full;
        return patch;
    }

    // A report without a version is a stock edge's: its node has no other queue.
    private static bool IsOlder(JsonElement stored, long version)
        => version > 0 && stored.ValueKind == JsonValueKind.Number && stored.TryGetInt64(out var newest) && newest > version;

    private static void WriteTwins(Utf8JsonWriter json, JsonElement old, Dictionary<string, TwinEntry> fresh, out bool isFull)
    {
        var left = new HashSet<string>(fresh.Keys);
        var count = 0;
        json.WriteStartArray("twins"u8);
        foreach (var entry in old.Member("twins"u8).Items())
        {
            if (entry.ValueKind != JsonValueKind.Object)
                continue;
            count++;
            if (entry.Member("propertyName"u8).Text() is var property && left.Remove(property))
                fresh[property].WriteTo(json, entry);
            else
                entry.CopyTo(json);
        }

        isFull = left.Count > 0 && count + left.Count > DeviceReport.TwinsMax;
        foreach (var property in left.Take(Math.Max(0, DeviceReport.TwinsMax - count)))
            fresh[property].WriteTo(json, property);
        json.WriteEndArray();
    }

    // A merge patch leaves those that are not named.
    private static void WriteExtensions(Utf8JsonWriter json, JsonElement old, string annotation, DeviceBatch batch)
    {
        var hasVersions = batch.TwinVersion > 0 || batch.StateVersion > 0;
        var problems = batch.CloudProblems is not null || batch.EdgeProblems is not null ? Problems(old.Member("problems"u8), batch) : null;
        var areGone = problems is { Count: 0 } && old.Member("problems"u8).ValueKind == JsonValueKind.Array && old.Member("problems"u8).GetArrayLength() > 0;
        if (!hasVersions && problems is not { Count: > 0 } && !areGone && batch.History.Count == 0)
            return;
        json.WriteStartObject("extensions"u8);
        if (hasVersions)
        {
            json.WriteStartObject(VersionsExtension);
            if (batch.TwinVersion > 0)
                json.WriteNumber("twin"u8, batch.TwinVersion);
            if (batch.StateVersion > 0)
                json.WriteNumber("state"u8, batch.StateVersion);
            json.WriteEndObject();
        }

        if (areGone)
            json.WriteNull("problems"u8); // removes it
        if (problems is { Count: > 0 })
        {
            json.WriteStartArray("problems"u8);
            foreach (var text in problems)
                json.WriteStringValue(text);
            json.WriteEndArray();
        }

        if (batch.History.Count > 0)
            WriteHistory(json, old.Member("history"u8), Wanted(annotation), batch.History);
        json.WriteEndObject();
    }

    private static List<string> Problems(JsonElement stored, DeviceBatch batch)
    {
        var old = new List<string>();
        foreach (var one in stored.Items())
            old.Add(one.Text());
        var cloud = batch.CloudProblems ?? old.Where(text => text.Length > 0 && !text.StartsWith(EdgePrefix, StringComparison.Ordinal));
        var edge = batch.EdgeProblems?.Select(text => EdgePrefix + text) ?? old.Where(text => text.StartsWith(EdgePrefix, StringComparison.Ordinal));
        return [.. cloud, .. edge];
    }

    // {PROPERTY: {"count": samples so far, "samples": [{"value", "timestamp"}, …]}}: the count shows what the list no longer holds. A merge patch leaves other properties.
    private static void WriteHistory(Utf8JsonWriter json, JsonElement stored, Dictionary<string, int> wanted, Dictionary<string, List<DeviceSample>> fresh)
    {
        json.WriteStartObject("history"u8);
        foreach (var (property, samples) in fresh)
        {
            var old = stored.ValueKind == JsonValueKind.Object && stored.TryGetProperty(property, out var found) ? found : default;
            var all = new List<DeviceSample>();
            foreach (var one in old.Member("samples"u8).Items())
            {
                if (one.ValueKind == JsonValueKind.Object)
                    all.Add(new DeviceSample(one.Member("value"u8).Text(), long.TryParse(one.Member("timestamp"u8).Text(), CultureInfo.InvariantCulture, out var stamp) ? stamp : 0));
            }

            // A report that was written and not confirmed comes again.
            var known = all.ToHashSet();
            var added = samples.Where(known.Add).ToList();
            all.AddRange(added);
            var count = old.Member("count"u8) is { ValueKind: JsonValueKind.Number } number && number.TryGetInt64(out var before) ? before : 0;
            json.WriteStartObject(property);
            json.WriteNumber("count"u8, count + added.Count);
            json.WriteStartArray("samples"u8);
            foreach (var one in all.OrderBy(one => one.TimestampMs).TakeLast(wanted.GetValueOrDefault(property, SamplesDefault)))
            {
                json.WriteStartObject();
                json.WriteString("value"u8, one.Value);
                json.WriteString("timestamp"u8, one.TimestampMs.ToString(CultureInfo.InvariantCulture));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static Dictionary<string, int> Wanted(string annotation)
    {
        var wanted = new Dictionary<string, int>();
        foreach (var part in annotation.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var pair = part.Split('=', 2);
            wanted[pair[0].Trim()] = pair.Length > 1 && int.TryParse(pair[1], NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? Math.Clamp(count, 1, SamplesMax) : SamplesDefault;
        }

        return wanted;
    }
}
