using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.DeviceController;

/// <summary>What each report of a device asks about it. A parsed Device takes some 30 KB, and with thousands of them the garbage collector would walk all of that again and again.</summary>
/// <param name="Node">Of <c>spec.nodeName</c>; empty while it is bound to none.</param>
/// <param name="History">The annotation <see cref="DeviceStatusPatch.HistoryAnnotation"/>; empty without it.</param>
/// <param name="Properties">Names of <c>spec.properties</c>, whose twins the status keeps; null keeps all.</param>
internal sealed record DeviceFacts(string Namespace, string Name, string Uid, string Node, string History, IReadOnlySet<string>? Properties = null)
{
    /// <summary>Whether the status keeps what is reported of <paramref name="property"/>.</summary>
    public bool Has(string property) => Properties?.Contains(property) != false;

    /// <param name="device">The Device of the API.</param>
    /// <param name="alike">What was said of a device that may have the same properties: its set is taken then, since the devices of a model mostly have the same.</param>
    public static DeviceFacts Of(JsonObject device, DeviceFacts? alike = null)
    {
        var properties = device.Items("spec", "properties").Select(property => property.Text("name")).ToHashSet();
        return new(
            device.Namespace(), device.Name(), device.Uid(), device.Text("spec", "nodeName"), device.Annotation(DeviceStatusPatch.HistoryAnnotation) ?? "",
            alike?.Properties is { } same && properties.SetEquals(same) ? same : properties);
    }
}
