using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.DeviceController;

/// <summary>What each report of a device asks about it. A parsed Device takes some 30 KB, and with thousands of them the garbage collector would walk all of that again and again.</summary>
/// <param name="Node">Of <c>spec.nodeName</c>; empty while it is bound to none.</param>
/// <param name="History">The annotation <see cref="DeviceStatusPatch.HistoryAnnotation"/>; empty without it.</param>
internal sealed record DeviceFacts(string Namespace, string Name, string Uid, string Node, string History)
{
    public static DeviceFacts Of(JsonObject device)
        => new(device.Namespace(), device.Name(), device.Uid(), device.Text("spec", "nodeName"), device.Annotation(DeviceStatusPatch.HistoryAnnotation) ?? "");
}
