using System.Text.Json.Nodes;
using Edge.Common.Tracing;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>One state of one object on its way to a node.</summary>
/// <param name="Resource">The edge's path, <c>&lt;namespace&gt;/&lt;type&gt;/&lt;name&gt;</c> (kubeedge-wire §1.5).</param>
/// <param name="Operation"><c>insert</c>, <c>update</c> or <c>delete</c>.</param>
/// <param name="Uid">The object's uid; never empty.</param>
/// <param name="Version">The resourceVersion as a number; a state with a lower one than a state before is stale. That of a final delete is above every state of the
/// object, so that an edge that remembers it takes no late copy of the last one for a return.</param>
/// <param name="Source">The controller that sends it, as the edge's routing wants it (kubeedge-wire §3.1, §4.2).</param>
/// <param name="Body">The whole object.</param>
/// <param name="IsFinal">For a delete: the object is gone for good, so its uid cannot come back. False when the node merely no longer
/// needs it (no pod uses the ConfigMap any more, the device moved).</param>
internal sealed record DownObject(
    string Resource, string Operation, string Uid, long Version, string Source, ObjectBody Body, bool IsFinal = false)
{
    /// <summary>True when the edge must take this state although the version that it has is not lower (the cluster was restored from an older backup).</summary>
    public bool IsRepair { get; init; }

    /// <summary>The path of an object that the edge must have before this one, or null: a device's model.</summary>
    public string? Needs { get; init; }

    /// <summary>The place in a trace of the change that this is, or null.</summary>
    public string? Trace { get; init; } = EdgeTrace.Current;

    public bool IsDelete => Operation == Operations.Delete;

    /// <summary>The state in <paramref name="body"/>.</summary>
    /// <param name="version">Taken where it is higher than the object's own.</param>
    public static DownObject Of(ResourceKind kind, string type, string operation, string source, ObjectBody body, bool isFinal = false, long version = 0)
    {
        var path = new ResourcePath(kind.Namespaced ? body.Namespace : ResourcePath.ClusterScope, type, body.Name);
        var last = Math.Max(version, body.Version);
        return new DownObject(path.ToString(), operation, body.Uid, isFinal && last > 0 ? last + 1 : last, source, body, isFinal);
    }

    /// <summary>The delete of an object of which only the identity is known.</summary>
    /// <param name="version">The version that the edge has.</param>
    /// <param name="isFinal">True only where the object is known to be gone from the cluster, not merely from what the node needs.</param>
    public static DownObject Gone(string resource, string uid, long version, string source, bool isFinal)
    {
        if (!ResourcePath.TryParse(resource, out var path))
            throw new ArgumentException($"'{resource}' is no resource path", nameof(resource));
        var metadata = new JsonObject { ["name"] = path.Name, ["uid"] = uid };
        if (path.Namespace != ResourcePath.ClusterScope)
            metadata["namespace"] = path.Namespace;
        if (version > 0)
            metadata["resourceVersion"] = version.ToString(System.Globalization.CultureInfo.InvariantCulture);
        var content = new JsonObject { ["metadata"] = metadata };
        if (ManagedTypes.KindOf(path.Type) is { } kind)
        {
            content["kind"] = kind.Kind;
            content["apiVersion"] = kind.ApiVersion;
        }

        return new DownObject(resource, Operations.Delete, uid, isFinal && version > 0 ? version + 1 : version, source, new ObjectBody(content), isFinal);
    }
}

/// <summary>The types of object that cloud keeps in step at the edge: delivered until acked. Everything else is sent once.</summary>
internal static class ManagedTypes
{
    /// <summary>The kind behind a resource type word, or null when the type is not kept in step. The whole word decides, never a part of
    /// a path: a ConfigMap may be called <c>membership</c>.</summary>
    public static ResourceKind? KindOf(string type) => type switch
    {
        ResourceTypes.Pod => ResourceKind.Pod,
        ResourceTypes.ConfigMap => ResourceKind.ConfigMap,
        ResourceTypes.Secret => ResourceKind.Secret,
        ResourceTypes.Node => ResourceKind.Node,
        ResourceTypes.Device => ResourceKind.Device,
        ResourceTypes.DeviceModel => ResourceKind.DeviceModel,
        ResourceTypes.Service => ResourceKind.Service,
        ResourceTypes.EndpointSlice => ResourceKind.EndpointSlice,
        ResourceTypes.GlobalService => GslbKinds.GlobalService,
        ResourceTypes.Zone => GslbKinds.Zone,
        ResourceTypes.RuntimeClass => ResourceKind.RuntimeClass,
        _ => null,
    };

    /// <summary>The resource type word of a kind, or null when the kind is not kept in step.</summary>
    public static string? TypeOf(string kind) => kind switch
    {
        "Pod" => ResourceTypes.Pod,
        "ConfigMap" => ResourceTypes.ConfigMap,
        "Secret" => ResourceTypes.Secret,
        "Node" => ResourceTypes.Node,
        "Device" => ResourceTypes.Device,
        "DeviceModel" => ResourceTypes.DeviceModel,
        "Service" => ResourceTypes.Service,
        "EndpointSlice" => ResourceTypes.EndpointSlice,
        "GlobalService" => ResourceTypes.GlobalService,
        "Zone" => ResourceTypes.Zone,
        "RuntimeClass" => ResourceTypes.RuntimeClass,
        _ => null,
    };

    /// <summary>The controller whose name goes in <c>route.source</c> for this type.</summary>
    public static string SourceOf(string type)
        => type is ResourceTypes.Device or ResourceTypes.DeviceModel ? Sources.DeviceController : Sources.EdgeController;
}
