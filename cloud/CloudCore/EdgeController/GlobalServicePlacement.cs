using System.Text.Json.Nodes;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>GlobalServices as every node with EdgeDns should have them: the spec, and the hosts and endpoints with their health as the GSLB module wrote them on the status.</summary>
/// <remarks>What the status says of hosts and endpoints goes under <c>resolved</c>: for edges it is what they are to have, and an object's <c>status</c> is left out when the two
/// sides compare what they have (<see cref="Protocol.Sync.ObjectFingerprint"/>). Conditions and the rest of the metadata stay here.</remarks>
internal static class GlobalServicePlacement
{
    /// <summary>Where both kinds have what the edge is to have of the status.</summary>
    public const string ResolvedField = "resolved";

    public static SharedPlacement Create() => new(GslbKinds.GlobalService, ResourceTypes.GlobalService, Trim);

    private static JsonObject Trim(JsonObject service)
    {
        var trimmed = new JsonObject
        {
            ["apiVersion"] = GslbKinds.GlobalService.ApiVersion, ["kind"] = GslbKinds.GlobalService.Kind, ["metadata"] = ServiceTrim.Metadata(service), ["spec"] = service["spec"]?.DeepClone(),
        };
        if (service.At("status", "endpoints") is { } endpoints)
            trimmed[ResolvedField] = new JsonObject { ["hosts"] = service.At("status", "hosts")?.DeepClone(), ["endpoints"] = endpoints.DeepClone() };
        return trimmed;
    }
}
