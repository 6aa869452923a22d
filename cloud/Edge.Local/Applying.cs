using System.Text;
using System.Text.Json.Nodes;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;

namespace Edge.Local;

/// <summary>What <c>kubectl apply</c> does to objects of the kinds a local Edge needs, for machines without kubectl.</summary>
internal static class Applying
{
    private static readonly ResourceKind[] s_kinds =
    [
        ResourceKind.Namespace, ResourceKind.Pod, ResourceKind.ConfigMap, ResourceKind.Secret, ResourceKind.Service,
        ResourceKind.ServiceAccount, ResourceKind.CustomResourceDefinition, ResourceKind.Device, ResourceKind.DeviceModel,
        GslbKinds.Zone, GslbKinds.LocationMap, GslbKinds.GlobalService,
    ];

    /// <summary>Creates the object or, where it is there already, merges it into what is there.</summary>
    public static async Task ApplyAsync(IKubeClient client, JsonObject obj, CancellationToken cancellationToken)
    {
        var kind = s_kinds.FirstOrDefault(one => one.Kind == obj.Kind() && one.ApiVersion == obj.ApiVersion())
            ?? throw new LocalEdgeException($"{obj.ApiVersion()} {obj.Kind()} {obj.Name()}: is not of a kind that can be applied here; use kubectl apply");
        var @namespace = kind.Namespaced ? obj.Namespace() is { Length: > 0 } given ? given : "default" : null;
        var current = await client.TryGetAsync(kind, @namespace, obj.Name(), cancellationToken);
        if (current is null)
            await client.CreateAsync(kind, @namespace, obj, cancellationToken);
        else
            await client.PatchAsync(kind, @namespace, obj.Name(), PatchKind.Merge, Encoding.UTF8.GetBytes(obj.ToJsonString()), null, cancellationToken);
    }
}
