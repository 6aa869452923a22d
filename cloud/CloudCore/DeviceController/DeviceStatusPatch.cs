using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.DeviceController;

/// <summary>The status of a DeviceStatus after a batch of reports, as a merge patch. Pure.</summary>
internal static class DeviceStatusPatch
{
    /// <summary>Of a Device: <c>PROPERTY[=SAMPLES],…</c>, how many samples of a property <c>status.extensions.history</c> keeps.</summary>
    public const string HistoryAnnotation = "devices.edge.io/history";

    /// <summary>Samples kept of a property whose annotation names no number.</summary>
    public const int SamplesDefault = 100;

    /// <summary>Most samples kept of a property, whatever the annotation says: an object of the API must stay small.</summary>
    public const int SamplesMax = 1000;

    /// <summary>In <c>status.extensions</c>: <c>{"twin": V, "state": V}</c>, the versions that the newest written reports have in their edge's queue. An older report, which another CloudCore
    /// took before the node moved, changes nothing.</summary>
    public const string VersionsExtension = "reportVersions";

    // How the node's own problems are told from CloudCore's in status.extensions.problems.
    private const string EdgePrefix = "edge: ";

    /// <param name="stored">The DeviceStatus as it is.</param>
    /// <param name="annotation">Its Device's <see cref="HistoryAnnotation"/>; empty without it.</param>
    /// <param name="batch">What is new.</param>
    /// <param name="isFull">True when there were more properties than a status holds; the rest is left out.</param>
    public static JsonObject Of(JsonObject stored, string annotation, DeviceBatch batch, out bool isFull)
    {
        var status = new JsonObject();
        isFull = false;
        var (extensions, versions) = (new JsonObject(), new JsonObject());
        if (IsOlder(stored, "twin", batch.TwinVersion))
            batch = batch with { Twins = [], EdgeProblems = null };
        else if (batch.TwinVersion > 0)
            versions["twin"] = batch.TwinVersion;
        if (IsOlder(stored, "state", batch.StateVersion))
            batch = batch with { State = "", LastOnlineTime = "" };
        else if (batch.StateVersion > 0)
            versions["state"] = batch.StateVersion;
        if (versions.Count > 0)
            extensions[VersionsExtension] = versions;
        if (batch.Twins.Count > 0)
            status["twins"] = Twins(stored, batch.Twins, out isFull);
        if (batch.State.Length > 0)
            status["state"] = batch.State;
        if (batch.LastOnlineTime.Length > 0)
            status["lastOnlineTime"] = batch.LastOnlineTime;
        if (batch.CloudProblems is not null || batch.EdgeProblems is not null)
            AddProblems(extensions, stored, batch);
        if (batch.History.Count > 0)
            extensions["history"] = History(stored, Wanted(annotation), batch.History);
        if (extensions.Count > 0)
            status["extensions"] = extensions;
        return status;
    }

    /// <summary>Lays the sides of a fresh entry over an older one.</summary>
    public static void Overlay(JsonObject entry, JsonObject fresh)
    {
        foreach (var (side, value) in fresh)
            entry[side] = value!.DeepClone();
    }

    // A report without a version is a stock edge's: its node has no other queue.
    private static bool IsOlder(JsonObject stored, string what, long version)
        => version > 0 && stored.Number(0, "status", "extensions", VersionsExtension, what) > version;

    private static JsonArray Twins(JsonObject stored, Dictionary<string, JsonObject> fresh, out bool isFull)
    {
        var twins = new JsonArray();
        var left = new Dictionary<string, JsonObject>(fresh);
        isFull = false;
        foreach (var old in stored.Items("status", "twins"))
        {
            var entry = old.DeepClone().AsObject();
            if (left.Remove(entry.Text("propertyName"), out var newer))
                Overlay(entry, newer);
            twins.Add((JsonNode)entry);
        }

        foreach (var (property, newer) in left)
        {
            isFull = twins.Count >= DeviceReport.TwinsMax;
            if (isFull)
                break;
            var entry = new JsonObject { ["propertyName"] = property };
            Overlay(entry, newer);
            twins.Add((JsonNode)entry);
        }

        return twins;
    }

    private static void AddProblems(JsonObject extensions, JsonObject stored, DeviceBatch batch)
    {
        var old = (stored.At("status", "extensions", "problems") as JsonArray ?? []).Select(one => one?.GetValueKind() == System.Text.Json.JsonValueKind.String ? one.GetValue<string>() : "").ToList();
        var cloud = batch.CloudProblems ?? old.Where(text => text.Length > 0 && !text.StartsWith(EdgePrefix, StringComparison.Ordinal));
        var edge = batch.EdgeProblems?.Select(text => EdgePrefix + text) ?? old.Where(text => text.StartsWith(EdgePrefix, StringComparison.Ordinal));
        var all = cloud.Concat(edge).ToList();
        if (all.Count > 0)
            extensions["problems"] = new JsonArray([.. all.Select(text => (JsonNode?)text)]);
        else if (old.Count > 0)
            extensions["problems"] = null; // removes it
    }

    // {PROPERTY: {"count": samples so far, "samples": [{"value", "timestamp"}, …]}}: the count shows what the list no longer holds. A merge patch leaves other properties.
    private static JsonObject History(JsonObject stored, Dictionary<string, int> wanted, Dictionary<string, List<DeviceSample>> fresh)
    {
        var history = new JsonObject();
        foreach (var (property, samples) in fresh)
        {
            var old = stored.At("status", "extensions", "history", property);
            var all = old.Items("samples").Select(one => new DeviceSample(one.Text("value"), long.TryParse(one.Text("timestamp"), CultureInfo.InvariantCulture, out var stamp) ? stamp : 0)).ToList();

            // A report that was written and not confirmed comes again.
            var known = all.ToHashSet();
            var added = samples.Where(known.Add).ToList();
            all.AddRange(added);
            var count = (long.TryParse(old.At("count")?.ToJsonString(), CultureInfo.InvariantCulture, out var before) ? before : 0) + added.Count;
            var keep = all.OrderBy(one => one.TimestampMs).TakeLast(wanted.GetValueOrDefault(property, SamplesDefault));
            history[property] = new JsonObject
            {
                ["count"] = count,
                ["samples"] = new JsonArray([.. keep.Select(one => (JsonNode?)new JsonObject { ["value"] = one.Value, ["timestamp"] = one.TimestampMs.ToString(CultureInfo.InvariantCulture) })]),
            };
        }

        return history;
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
