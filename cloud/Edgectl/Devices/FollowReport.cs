using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>Says why a value has not arrived, from what the API knows. No I/O.</summary>
internal static class FollowReport
{
    private const int EventsMax = 3;

    /// <summary>One line a property: how far it has come.</summary>
    public static IEnumerable<string> Missing(FollowCore core)
        => core.Stages.Where(one => one.Stage != FollowStage.Reported)
            .Select(one => $"{one.Property}={one.Value} {(one.Stage == FollowStage.Observed ? "was written, but the device has not reported it back" : "has not been written by the mapper")}");

    /// <summary>What is known of the reasons, the most telling first; never empty.</summary>
    /// <param name="device">As it is now.</param>
    /// <param name="model">Its model.</param>
    /// <param name="status">Its status; null when there is none.</param>
    /// <param name="node">Its node; null when there is none.</param>
    /// <param name="events">Events about it.</param>
    /// <param name="properties">The properties that were set.</param>
    /// <param name="since">When they were; older events are left out.</param>
    /// <param name="now">For ages.</param>
    public static IReadOnlyList<string> Known(
        JsonObject device, JsonObject model, JsonObject? status, JsonObject? node, IEnumerable<JsonObject> events, IReadOnlyCollection<string> properties, DateTimeOffset since, DateTimeOffset now)
    {
        var nodes = DeviceRows.ByName(node is null ? [] : [node]);
        var lines = new List<string>(DeviceRows.ProblemsOf(device, model, status, nodes).Select(problem => $"device: {problem}"));
        var state = status.Text("status", "state");
        if (state is not ("" or "online" or "ok"))
        {
            var online = DateTimeOffset.TryParse(status.Text("status", "lastOnlineTime"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var then)
                ? $", last online {Ages.Short(now - then)} ago" : "";
            lines.Add($"the device is {state}{online}: check its power, cable and address");
        }

        foreach (var property in properties)
        {
            var reported = status.Items("status", "twins").FirstOrDefault(one => one.Text("propertyName") == property).At("reported");
            if (reported.Text("metadata", "error") is { Length: > 0 } error)
                lines.Add($"{property}: {error}");
            else if (reported.Text("value") is { Length: > 0 } value)
                lines.Add($"{property}: {value} was reported{(DeviceValue.Stamp(reported) is { } at ? $" {Ages.Short(now - at)} ago" : "")}");
        }

        lines.AddRange(events.Where(one => one.Text("type") == "Warning").Select(one => (At: TimeOf(one), Event: one)).Where(one => one.At >= since).OrderByDescending(one => one.At)
            .Take(EventsMax).Select(one => $"event {one.Event.Text("reason")}: {one.Event.Text("message")}"));
        if (lines.Count == 0 || lines.All(line => line.EndsWith(" ago", StringComparison.Ordinal)))
            lines.Add($"the node is ready and tells of no problem: does a mapper for protocol '{device.Text("spec", "protocol", "protocolName")}' run on it? Its log says more");
        return [.. lines.Select(FittedTable.Clean)];
    }

    private static DateTimeOffset TimeOf(JsonObject one)
        => DateTimeOffset.TryParse(
            one.Text("lastTimestamp") is { Length: > 0 } last ? last : one.Text("eventTime"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time : DateTimeOffset.MinValue;
}
