using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers;

/// <summary>The kinds whose objects the controllers look after.</summary>
internal static class CrdKinds
{
    /// <summary>Built-in kinds that own or are owned. Events are left out, as in Kubernetes: they go by age.</summary>
    public static IReadOnlyList<ResourceKind> BuiltIn { get; } =
    [
        ResourceKind.Namespace, ResourceKind.Node, ResourceKind.Pod, ResourceKind.ConfigMap, ResourceKind.Secret, ResourceKind.Service,
        ResourceKind.Endpoints, ResourceKind.EndpointSlice, ResourceKind.Lease, ResourceKind.ServiceAccount, ResourceKind.CustomResourceDefinition,
        ResourceKind.PersistentVolume, ResourceKind.PersistentVolumeClaim, ResourceKind.StorageClass,
        ResourceKind.Deployment, ResourceKind.ReplicaSet, ResourceKind.DaemonSet, ResourceKind.StatefulSet, ResourceKind.ControllerRevision,
        ResourceKind.Job, ResourceKind.CronJob, ResourceKind.PodDisruptionBudget, ResourceKind.PriorityClass, ResourceKind.RuntimeClass,
        ResourceKind.Role, ResourceKind.ClusterRole, ResourceKind.RoleBinding, ResourceKind.ClusterRoleBinding, ResourceKind.CertificateSigningRequest,
        ResourceKind.ResourceQuota, ResourceKind.LimitRange,
    ];

    /// <summary>The kind that a CustomResourceDefinition defines, in its stored version where that is served; null when it serves none.</summary>
    public static ResourceKind? Read(JsonObject crd)
    {
        var served = crd.Items("spec", "versions").Where(version => version.Flag(false, "served")).ToList();
        var chosen = served.Find(version => version.Flag(false, "storage")) ?? served.FirstOrDefault();
        return chosen is null
            ? null
            : new ResourceKind(
                crd.Text("spec", "group"),
                chosen.Text("name"),
                crd.Text("spec", "names", "plural"),
                crd.Text("spec", "names", "kind"),
                crd.Text("spec", "scope") != "Cluster");
    }
}
