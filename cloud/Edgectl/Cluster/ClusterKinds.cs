using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Cluster;

/// <summary>The resources of the kinds that the chart has.</summary>
internal static class ClusterKinds
{
    private const string RbacGroup = "rbac.authorization.k8s.io";

    private static readonly ResourceKind[] s_all =
    [
        ResourceKind.Namespace, ResourceKind.ServiceAccount, ResourceKind.ConfigMap, ResourceKind.Service, ResourceKind.Deployment, ResourceKind.PodDisruptionBudget,
        ResourceKind.CustomResourceDefinition, new(RbacGroup, "v1", "clusterroles", "ClusterRole", false), new(RbacGroup, "v1", "clusterrolebindings", "ClusterRoleBinding", false),
        new(RbacGroup, "v1", "roles", "Role", true), new(RbacGroup, "v1", "rolebindings", "RoleBinding", true),
    ];

    /// <exception cref="ChartException">The chart has a kind that is not in the list.</exception>
    public static ResourceKind Of(JsonObject obj)
        => s_all.FirstOrDefault(kind => kind.ApiVersion == obj.ApiVersion() && kind.Kind == obj.Kind())
            ?? throw new ChartException($"the chart has a {obj.ApiVersion()} {obj.Kind()} '{obj.Name()}', which edgectl cannot apply");

    /// <summary>Some APIs serve no RBAC; there everybody with a credential may do everything.</summary>
    public static bool IsRbac(ResourceKind kind) => kind.Group == RbacGroup;
}
