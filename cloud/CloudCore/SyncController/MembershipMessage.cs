using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.SyncController;

/// <summary>The message <c>membership</c> of KubeEdge's device controller (kubeedge-wire §4.2).</summary>
internal static class MembershipMessage
{
    /// <summary>Tells which devices came to a node and which left it.</summary>
    public static Message Of(TimeProvider time, IReadOnlyList<JsonObject> added, IReadOnlyList<JsonObject> removed)
    {
        static JsonArray? List(IReadOnlyList<JsonObject> devices)
            => devices.Count == 0 ? null
                : new JsonArray([.. devices.Select(device => new JsonObject { ["id"] = $"{device.Namespace()}/{device.Name()}", ["name"] = device.Name() })]);

        var content = new JsonObject
        {
            ["event_id"] = Guid.NewGuid().ToString(),
            ["timestamp"] = time.GetUtcNow().ToUnixTimeMilliseconds(),
            ["added_devices"] = List(added),
            ["removed_devices"] = List(removed),
        };
        return Message.Create(time, Sources.DeviceController, Groups.Twin, Operations.Update, "membership", JsonBytes.Of(content));
    }
}
