using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.EdgeController;

/// <summary>What of a Service and of an EndpointSlice travels to edges: what a resolver or proxy there needs. Pure.</summary>
internal static class ServiceTrim
{
    private static readonly string[] s_spec = ["type", "clusterIP", "clusterIPs", "externalName", "internalTrafficPolicy", "publishNotReadyAddresses"];
    private static readonly string[] s_port = ["name", "protocol", "port", "targetPort"];
    private static readonly string[] s_endpoint = ["addresses", "conditions", "hostname", "nodeName", "zone"];

    public static JsonObject Service(JsonObject service)
    {
        var spec = new JsonObject();
        Copy(service["spec"], spec, s_spec);
        spec["ports"] = Each(service.Items("spec", "ports"), s_port);
        var metadata = Metadata(service);
        if (service.Annotation(ServicePlacement.TopologyAnnotation) is { } topology)
            metadata["annotations"] = new JsonObject { [ServicePlacement.TopologyAnnotation] = topology };
        return new JsonObject { ["apiVersion"] = ResourceKind.Service.ApiVersion, ["kind"] = ResourceKind.Service.Kind, ["metadata"] = metadata, ["spec"] = spec };
    }

    public static JsonObject Slice(JsonObject slice)
    {
        var metadata = Metadata(slice);
        metadata["labels"] = new JsonObject { [ServicePlacement.ServiceLabel] = slice.Label(ServicePlacement.ServiceLabel) };
        return new JsonObject
        {
            ["apiVersion"] = ResourceKind.EndpointSlice.ApiVersion,
            ["kind"] = ResourceKind.EndpointSlice.Kind,
            ["metadata"] = metadata,
            ["addressType"] = slice.Text("addressType"),
            ["endpoints"] = Each(slice.Items("endpoints"), s_endpoint),
            ["ports"] = Each(slice.Items("ports"), s_port),
        };
    }

    /// <summary>The identity of an object.</summary>
    public static JsonObject Metadata(JsonObject obj)
    {
        var metadata = new JsonObject();
        Copy(obj["metadata"], metadata, ["name", "namespace", "uid", "resourceVersion"]);
        return metadata;
    }

    /// <summary>Copies the fields that are there.</summary>
    public static void Copy(JsonNode? from, JsonObject to, string[] fields)
    {
        foreach (var field in fields)
        {
            if (from is JsonObject obj && obj[field] is { } value)
                to[field] = value.DeepClone();
        }
    }

    private static JsonArray Each(IEnumerable<JsonObject> from, string[] fields)
        => new([.. from.Select(one =>
        {
            var kept = new JsonObject();
            Copy(one, kept, fields);
            return (JsonNode)kept;
        })]);
}
