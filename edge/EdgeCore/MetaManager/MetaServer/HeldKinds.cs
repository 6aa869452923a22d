using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>A kind of which the node holds what concerns it.</summary>
/// <param name="Type">The word under which the store has it.</param>
internal sealed record HeldKind(ResourceKind Kind, string Type, params string[] ShortNames);

/// <summary>Which kinds are served from the node itself.</summary>
internal static class HeldKinds
{
    /// <param name="withServices">Whether the cloud sends Services and EndpointSlices here (modules.edgeDns).</param>
    public static IReadOnlyList<HeldKind> All(bool withServices)
    {
        List<HeldKind> kinds =
        [
            new(ResourceKind.Pod, ResourceTypes.Pod, "po"), new(ResourceKind.ConfigMap, ResourceTypes.ConfigMap, "cm"), new(ResourceKind.Secret, ResourceTypes.Secret),
            new(ResourceKind.Node, ResourceTypes.Node, "no"), new(ResourceKind.Device, ResourceTypes.Device), new(ResourceKind.DeviceModel, ResourceTypes.DeviceModel),
        ];
        if (withServices)
            kinds.AddRange([new HeldKind(ResourceKind.Service, ResourceTypes.Service, "svc"), new HeldKind(ResourceKind.EndpointSlice, ResourceTypes.EndpointSlice)]);
        return kinds;
    }
}
