using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.NodeGroups;

/// <summary>Names of apps.kubeedge.io/v1alpha1 (kubeedge-wire §7), and the resources that a manifest of an EdgeApplication can name.</summary>
internal static class AppKinds
{
    public const string Finalizer = "apps.kubeedge.io/nodegroup-controller";

    /// <summary>On a node, and in the nodeSelector of what runs in the group alone: the group's name.</summary>
    public const string BelongingTo = "apps.kubeedge.io/belonging-to";

    public const string Zone = "topology.kubernetes.io/zone";
    public const string Topology = "apps.kubeedge.io/service-topology";
    public const string RangeNodeGroup = "range-nodegroup";

    /// <summary>On what an EdgeApplication made: the manifest it was last made of, as JSON.</summary>
    public const string LastApplied = "apps.kubeedge.io/last-applied-template";

    /// <summary>On an EdgeApplication: what it has made, as a JSON array.</summary>
    public const string LastContained = "apps.kubeedge.io/last-contained-resources";

    public static readonly ResourceKind NodeGroup = new("apps.kubeedge.io", "v1alpha1", "nodegroups", "NodeGroup", false);
    public static readonly ResourceKind EdgeApplication = new("apps.kubeedge.io", "v1alpha1", "edgeapplications", "EdgeApplication", true);
    public static readonly ResourceKind Deployment = new("apps", "v1", "deployments", "Deployment", true);

    // Kubernetes' own kinds have no definition to look their plural up in.
    private static readonly Dictionary<(string Group, string Kind), (string Plural, bool Namespaced)> s_builtIn = new()
    {
        [("", "ConfigMap")] = ("configmaps", true), [("", "Secret")] = ("secrets", true), [("", "Service")] = ("services", true), [("", "ServiceAccount")] = ("serviceaccounts", true),
        [("", "Pod")] = ("pods", true), [("", "PersistentVolumeClaim")] = ("persistentvolumeclaims", true), [("", "Endpoints")] = ("endpoints", true),
        [("", "LimitRange")] = ("limitranges", true), [("", "ResourceQuota")] = ("resourcequotas", true), [("", "ReplicationController")] = ("replicationcontrollers", true),
        [("", "Namespace")] = ("namespaces", false), [("", "PersistentVolume")] = ("persistentvolumes", false), [("", "Node")] = ("nodes", false),
        [("apps", "Deployment")] = ("deployments", true), [("apps", "DaemonSet")] = ("daemonsets", true), [("apps", "StatefulSet")] = ("statefulsets", true), [("apps", "ReplicaSet")] = ("replicasets", true),
        [("batch", "Job")] = ("jobs", true), [("batch", "CronJob")] = ("cronjobs", true), [("autoscaling", "HorizontalPodAutoscaler")] = ("horizontalpodautoscalers", true),
        [("policy", "PodDisruptionBudget")] = ("poddisruptionbudgets", true), [("discovery.k8s.io", "EndpointSlice")] = ("endpointslices", true),
        [("networking.k8s.io", "Ingress")] = ("ingresses", true), [("networking.k8s.io", "NetworkPolicy")] = ("networkpolicies", true),
        [("rbac.authorization.k8s.io", "Role")] = ("roles", true), [("rbac.authorization.k8s.io", "RoleBinding")] = ("rolebindings", true),
        [("rbac.authorization.k8s.io", "ClusterRole")] = ("clusterroles", false), [("rbac.authorization.k8s.io", "ClusterRoleBinding")] = ("clusterrolebindings", false),
        [("storage.k8s.io", "StorageClass")] = ("storageclasses", false), [("coordination.k8s.io", "Lease")] = ("leases", true),
    };

    /// <summary>The resource of an apiVersion and kind, by Kubernetes' own table, else by the CustomResourceDefinitions given. Null where neither knows it.</summary>
    public static ResourceKind? Find(string apiVersion, string kind, IEnumerable<JsonObject> definitions)
    {
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        var (group, version) = slash < 0 ? ("", apiVersion) : (apiVersion[..slash], apiVersion[(slash + 1)..]);
        if (s_builtIn.TryGetValue((group, kind), out var known))
            return new ResourceKind(group, version, known.Plural, kind, known.Namespaced);
        var definition = definitions.FirstOrDefault(one => one.Text("spec", "group") == group && one.Text("spec", "names", "kind") == kind
            && one.Items("spec", "versions").Any(served => served.Text("name") == version && served.Flag(false, "served")));
        return definition is null ? null : new ResourceKind(group, version, definition.Text("spec", "names", "plural"), kind, definition.Text("spec", "scope") == "Namespaced");
    }

    /// <summary>Whether <see cref="Find"/> needs the definitions for this one.</summary>
    public static bool IsBuiltIn(string apiVersion, string kind)
        => s_builtIn.ContainsKey((apiVersion.Contains('/', StringComparison.Ordinal) ? apiVersion[..apiVersion.IndexOf('/', StringComparison.Ordinal)] : "", kind));
}
