using System.Text.Json.Nodes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.SyncController;

/// <summary>The message <c>membership</c> of KubeEdge's device controller (kubeedge-wire §4.2).</summary>
internal static class MembershipMessage
{
    /// <summary>Tells which devices, by their paths, came to a node and which left it.</summary>
    public static Message Of(TimeProvider time, IReadOnlyList<string> added, IReadOnlyList<string> removed)
    {
        static JsonArray? List(IReadOnlyList<string> devices) => devices.Count == 0 ? null : new JsonArray([.. devices.Select(Member)]);

        var content = new JsonObject
        {
            ["event_id"] = Guid.NewGuid().ToString(),
            ["timestamp"] = time.GetUtcNow().ToUnixTimeMilliseconds(),
            ["added_devices"] = List(added),
            ["removed_devices"] = List(removed),
        };
        return Message.Create(time, Sources.DeviceController, Groups.Twin, Operations.Update, "membership", JsonBytes.Of(content));
    }

    private static JsonObject Member(string device)
        => ResourcePath.TryParse(device, out var path) ? new JsonObject { ["id"] = $"{path.Namespace}/{path.Name}", ["name"] = path.Name }
            : throw new ArgumentException($"'{device}' is no resource path", nameof(device));
}
