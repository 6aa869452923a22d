using Edge.ApiServer.Schema;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>The kinds that are served without a definition.</summary>
internal static class BuiltinResources
{
    public static readonly ServedResource Namespaces = new(ResourceKind.Namespace, "namespace") { ShortNames = ["ns"], HasStatus = true, SelectableFields = ["status.phase"] };
    public static readonly ServedResource Pods = new(ResourceKind.Pod, "pod")
    {
        ShortNames = ["po"],
        Categories = ["all"],
        HasStatus = true,
        HasGeneration = true,
        SelectableFields = ["spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"],
    };

    public static readonly ServedResource ServiceAccounts = new(ResourceKind.ServiceAccount, "serviceaccount") { ShortNames = ["sa"] };
    public static readonly ServedResource Definitions = new(ResourceKind.CustomResourceDefinition, "customresourcedefinition")
    {
        ShortNames = ["crd", "crds"],
        Categories = ["api-extensions"],
        HasStatus = true,
        HasGeneration = true,
        UnconditionalUpdate = false,
    };

    public static readonly ServedResource StorageClasses = new(ResourceKind.StorageClass, "storageclass") { ShortNames = ["sc"] };

    public static readonly ServedResource DisruptionBudgets = new(ResourceKind.PodDisruptionBudget, "poddisruptionbudget") { ShortNames = ["pdb"], HasStatus = true, HasGeneration = true };

    public static readonly ServedResource PriorityClasses = new(ResourceKind.PriorityClass, "priorityclass") { ShortNames = ["pc"] };
    public static readonly ServedResource RuntimeClasses = new(ResourceKind.RuntimeClass, "runtimeclass");
    public static readonly ServedResource Roles = new(ResourceKind.Role, "role");
    public static readonly ServedResource ClusterRoles = new(ResourceKind.ClusterRole, "clusterrole");
    public static readonly ServedResource RoleBindings = new(ResourceKind.RoleBinding, "rolebinding");
    public static readonly ServedResource ClusterRoleBindings = new(ResourceKind.ClusterRoleBinding, "clusterrolebinding");
    public static readonly ServedResource SigningRequests = new(ResourceKind.CertificateSigningRequest, "certificatesigningrequest") { ShortNames = ["csr"], HasStatus = true, SelectableFields = ["spec.signerName"] };
    public static readonly ServedResource Quotas = new(ResourceKind.ResourceQuota, "resourcequota") { ShortNames = ["quota"], HasStatus = true };
    public static readonly ServedResource LimitRanges = new(ResourceKind.LimitRange, "limitrange") { ShortNames = ["limits"] };

    private static readonly ScalePaths s_scale = new(".spec.replicas", ".status.replicas", ".spec.selector");

    public static readonly IReadOnlyList<ServedResource> All =
    [
        Namespaces,
        new(ResourceKind.Node, "node") { ShortNames = ["no"], HasStatus = true, SelectableFields = ["spec.unschedulable"] },
        Pods,
        new(ResourceKind.ConfigMap, "configmap") { ShortNames = ["cm"] },
        new(ResourceKind.Secret, "secret") { SelectableFields = ["type"] },
        new(ResourceKind.Service, "service") { ShortNames = ["svc"], Categories = ["all"], HasStatus = true, SelectableFields = ["spec.clusterIP", "spec.type"] },
        new(ResourceKind.Endpoints, "endpoints") { ListKind = "EndpointsList", ShortNames = ["ep"], CreateOnUpdate = true },
        new(ResourceKind.EndpointSlice, "endpointslice"),
        new(ResourceKind.Event, "event")
        {
            ShortNames = ["ev"],
            CreateOnUpdate = true,
            SelectableFields =
            [
                "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion",
                "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type",
            ],
        },
        ServiceAccounts,
        new(ResourceKind.PersistentVolume, "persistentvolume") { ShortNames = ["pv"], HasStatus = true },
        new(ResourceKind.PersistentVolumeClaim, "persistentvolumeclaim") { ShortNames = ["pvc"], HasStatus = true },
        StorageClasses,
        new(ResourceKind.Lease, "lease") { CreateOnUpdate = true, UnconditionalUpdate = false },
        new(ResourceKind.Deployment, "deployment") { ShortNames = ["deploy"], Categories = ["all"], HasStatus = true, HasGeneration = true, Scale = s_scale },
        new(ResourceKind.ReplicaSet, "replicaset") { ShortNames = ["rs"], Categories = ["all"], HasStatus = true, HasGeneration = true, Scale = s_scale, SelectableFields = ["status.replicas"] },
        new(ResourceKind.DaemonSet, "daemonset") { ShortNames = ["ds"], Categories = ["all"], HasStatus = true, HasGeneration = true },
        new(ResourceKind.StatefulSet, "statefulset") { ShortNames = ["sts"], Categories = ["all"], HasStatus = true, HasGeneration = true, Scale = s_scale },
        new(ResourceKind.ControllerRevision, "controllerrevision"),
        new(ResourceKind.Job, "job") { Categories = ["all"], HasStatus = true, HasGeneration = true },
        new(ResourceKind.CronJob, "cronjob") { ShortNames = ["cj"], Categories = ["all"], HasStatus = true, HasGeneration = true },
        DisruptionBudgets,
        PriorityClasses,
        RuntimeClasses,
        Roles,
        ClusterRoles,
        RoleBindings,
        ClusterRoleBindings,
        SigningRequests,
        Quotas,
        LimitRanges,
        Definitions,
    ];
}
