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

    /// <summary>Bytes of JSON that the twins of one status have at most: etcd takes 1.5 MiB in one request, for all that a status holds.</summary>
    public const int TwinBytesMax = 800_000;

    /// <summary>Bytes of JSON that the samples of one status have at most, those of each property as many as of any other.</summary>
    public const int HistoryBytesMax = 450_000;

    // How the node's own problems are told from CloudCore's in status.extensions.problems.
    private const string EdgePrefix = "edge: ";

    // As deep as the API lets an object be, and deeper.
    private static readonly JsonDocumentOptions s_deep = new() { MaxDepth = 512 };

    // In status.extensions: {"node": NODE, "twin": V, "state": V}, the versions that the newest written reports have in their edge's queue. An older report, which another CloudCore took
    // before the node connected elsewhere, changes nothing. Each node counts for itself: one that gets a device from another begins anew.
    private static ReadOnlySpan<byte> VersionsExtension => "reportVersions"u8;

    /// <param name="stored">The DeviceStatus as it is, in JSON.</param>
    /// <param name="device">Whose history annotation and properties say what the status keeps.</param>
    /// <param name="batch">What is new.</param>
    /// <param name="isFull">True when there were more properties than a status holds; the rest is left out.</param>
    /// <returns>The patch in JSON: the status, and the version of <paramref name="stored"/>, which makes a write of somebody else a conflict: the array of twins is replaced as a whole.</returns>
    public static byte[] Of(ReadOnlyMemory<byte> stored, DeviceFacts device, DeviceBatch batch, out bool isFull)
    {
        using var document = JsonDocument.Parse(stored, s_deep);
        var (old, versions) = (document.RootElement.Member("status"u8), document.RootElement.Member("status"u8).Member("extensions"u8).Member(VersionsExtension));
        var node = versions.Member("node"u8).Text();
        var isSameNode = node.Length == 0 || node == batch.Node;
        if (isSameNode && IsOlder(versions.Member("twin"u8), batch.TwinVersion))
            batch = batch with { Twins = [], EdgeProblems = null, TwinVersion = 0 };
        if (isSameNode && IsOlder(versions.Member("state"u8), batch.StateVersion))
            batch = batch with { State = "", LastOnlineTime = "", StateVersion = 0 };
        var full = false;
        var patch = JsonBuffer.Bytes((document.RootElement, old, device, batch, isSameNode, size: stored.Length), (json, all) =>
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata"u8);
            json.WriteString("resourceVersion"u8, all.RootElement.Member("metadata"u8).Member("resourceVersion"u8).Text());
            json.WriteEndObject();
            json.WriteStartObject("status"u8);
            if (all.batch.Twins.Count > 0)
                WriteTwins(json, all.old, all.device, all.batch.Twins, all.size, out full);
            if (all.batch.State.Length > 0)
                json.WriteString("state"u8, all.batch.State);
            if (all.batch.LastOnlineTime.Length > 0)
                json.WriteString("lastOnlineTime"u8, all.batch.LastOnlineTime);
            WriteExtensions(json, all.old.Member("extensions"u8), all.device, all.batch, all.isSameNode);
            json.WriteEndObject();
            json.WriteEndObject();
        });
        isFull = full;
        return patch;
    }

    // A report without a version is a stock edge's: its node has no other queue.
    private static bool IsOlder(JsonElement stored, long version)
        => version > 0 && stored.ValueKind == JsonValueKind.Number && stored.TryGetInt64(out var newest) && newest > version;

    // Twins of properties that the Device no longer has go.
    private static void WriteTwins(Utf8JsonWriter json, JsonElement old, DeviceFacts device, Dictionary<string, TwinEntry> fresh, int size, out bool isFull)
    {
        var room = new StatusRoom(TwinBytesMax, size, fresh.Values);
        var left = fresh.Keys.Where(device.Has).ToHashSet();
        var kept = new List<(JsonElement Entry, string Property)>();
        foreach (var entry in old.Member("twins"u8).Items())
        {
            if (entry.ValueKind == JsonValueKind.Object && entry.Member("propertyName"u8).Text() is var property && device.Has(property))
                kept.Add((entry, property));
        }

        // What is there and stays comes first.
        foreach (var (entry, property) in kept)
        {
            if (!left.Contains(property))
                room.Take(entry);
        }

        json.WriteStartArray("twins"u8);
        foreach (var (entry, property) in kept)
        {
            if (left.Remove(property))
                room.Fit(fresh[property]).WriteTo(json, entry);
            else
                entry.CopyTo(json);
        }

        isFull = left.Count > 0 && kept.Count + left.Count > DeviceReport.TwinsMax;
        foreach (var property in left.Take(Math.Max(0, DeviceReport.TwinsMax - kept.Count)))
            room.Fit(fresh[property]).WriteTo(json, property);
        json.WriteEndArray();
    }

    // A merge patch leaves those that are not named.
    private static void WriteExtensions(Utf8JsonWriter json, JsonElement old, DeviceFacts device, DeviceBatch batch, bool isSameNode)
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
            json.WriteString("node"u8, batch.Node);
            WriteVersion(json, "twin"u8, batch.TwinVersion, isSameNode);
            WriteVersion(json, "state"u8, batch.StateVersion, isSameNode);
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
            WriteHistory(json, old.Member("history"u8), device, batch.History);
        json.WriteEndObject();
    }

    private static void WriteVersion(Utf8JsonWriter json, ReadOnlySpan<byte> name, long version, bool isSameNode)
    {
        if (version > 0)
            json.WriteNumber(name, version);
        else if (!isSameNode)
            json.WriteNull(name); // the former node's
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
    private static void WriteHistory(Utf8JsonWriter json, JsonElement stored, DeviceFacts device, Dictionary<string, List<DeviceSample>> fresh)
    {
        var wanted = Wanted(device.History);
        string[] old = stored.ValueKind == JsonValueKind.Object ? [.. stored.EnumerateObject().Select(property => property.Name)] : [];
        var share = HistoryBytesMax / Math.Max(1, fresh.Keys.Union(old).Count(device.Has));
        json.WriteStartObject("history"u8);
        foreach (var gone in old.Where(property => !device.Has(property)))
            json.WriteNull(gone);
        foreach (var (property, samples) in fresh.Where(one => device.Has(one.Key)))
        {
            var before = stored.ValueKind == JsonValueKind.Object && stored.TryGetProperty(property, out var found) ? found : default;
            var all = new List<DeviceSample>();
            foreach (var one in before.Member("samples"u8).Items())
            {
                if (one.ValueKind == JsonValueKind.Object)
                    all.Add(new DeviceSample(one.Member("value"u8).Text(), long.TryParse(one.Member("timestamp"u8).Text(), CultureInfo.InvariantCulture, out var stamp) ? stamp : 0));
            }

            // A report that was written and not confirmed comes again.
            var known = all.ToHashSet();
            var added = samples.Where(known.Add).ToList();
            all.AddRange(added);
            var count = before.Member("count"u8) is { ValueKind: JsonValueKind.Number } number && number.TryGetInt64(out var counted) ? counted : 0;
            json.WriteStartObject(property);
            json.WriteNumber("count"u8, count + added.Count);
            json.WriteStartArray("samples"u8);
            foreach (var one in Newest([.. all.OrderBy(one => one.TimestampMs)], wanted.GetValueOrDefault(property, SamplesDefault), share))
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

    // As many as are wanted and have room, oldest first.
    private static IEnumerable<DeviceSample> Newest(List<DeviceSample> samples, int count, int bytes)
    {
        var first = samples.Count;
        while (first > 0 && samples.Count - first < count && (bytes -= StatusRoom.SizeOf(samples[first - 1].Value)) >= 0)
            first--;
        return samples.Skip(first);
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
