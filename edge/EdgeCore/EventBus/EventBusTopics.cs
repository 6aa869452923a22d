using System.Text;

namespace Edge.Core.EventBus;

/// <summary>Where a message of an application at this edge goes.</summary>
internal enum EventBusRoute
{
    /// <summary>Nowhere: it is for other applications.</summary>
    None,

    /// <summary>To the device twin.</summary>
    Twin,

    /// <summary>Through the durable queue to the cloud.</summary>
    Cloud,
}

/// <summary>The topics that EdgeCore listens to (kubeedge-wire §4.6). Pure.</summary>
internal static class EventBusTopics
{
    /// <summary>The filters of all of them.</summary>
    public static IReadOnlyList<string> Filters { get; } =
    [
        "$hw/events/upload/#", "$hw/events/device/+/+/state/update", "$hw/events/device/+/+/twin/+", "$hw/events/node/+/membership/get", "SYS/dis/upload_records", "+/user/#",
    ];

    public static EventBusRoute RouteOf(string topic) => topic.Split('/') switch
    {
        ["$hw", "events", "upload", ..] or ["SYS", "dis", "upload_records"] => EventBusRoute.Cloud,
        ["$hw", "events", "device", _, _, "twin", "update" or "get"] or ["$hw", "events", "device", _, _, "state", "update"] or ["$hw", "events", "node", _, "membership", "get"] => EventBusRoute.Twin,
        [var first, "user", ..] when !first.StartsWith('$') => EventBusRoute.Cloud,
        _ => EventBusRoute.None,
    };

    /// <summary>Where this edge says that its link to the cloud stands, or stands no more. KubeEdge names the topics and gives them no payload; here it is {event_id, timestamp}.</summary>
    public static string Link(string node, bool isConnected) => $"$hw/events/{(isConnected ? "connected" : "disconnected")}/{node}";

    public static byte[] LinkPayload(long nowMs) => Encoding.UTF8.GetBytes($$"""{"event_id":"","timestamp":{{nowMs}}}""");
}
