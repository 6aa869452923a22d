namespace Edge.Kubernetes;

/// <summary>A served resource: group, version, plural name, kind and scope.</summary>
public sealed record ResourceKind(string Group, string Version, string Plural, string Kind, bool Namespaced)
{
    public static readonly ResourceKind Namespace = new("", "v1", "namespaces", "Namespace", false);
    public static readonly ResourceKind Node = new("", "v1", "nodes", "Node", false);
    public static readonly ResourceKind Pod = new("", "v1", "pods", "Pod", true);
    public static readonly ResourceKind ConfigMap = new("", "v1", "configmaps", "ConfigMap", true);
    public static readonly ResourceKind Secret = new("", "v1", "secrets", "Secret", true);
    public static readonly ResourceKind Service = new("", "v1", "services", "Service", true);
    public static readonly ResourceKind Endpoints = new("", "v1", "endpoints", "Endpoints", true);
    public static readonly ResourceKind EndpointSlice = new("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
    public static readonly ResourceKind Event = new("", "v1", "events", "Event", true);
    public static readonly ResourceKind ServiceAccount = new("", "v1", "serviceaccounts", "ServiceAccount", true);
    public static readonly ResourceKind PersistentVolume = new("", "v1", "persistentvolumes", "PersistentVolume", false);
    public static readonly ResourceKind PersistentVolumeClaim = new("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true);
    public static readonly ResourceKind StorageClass = new("storage.k8s.io", "v1", "storageclasses", "StorageClass", false);
    public static readonly ResourceKind Lease = new("coordination.k8s.io", "v1", "leases", "Lease", true);
    public static readonly ResourceKind Deployment = new("apps", "v1", "deployments", "Deployment", true);
    public static readonly ResourceKind ReplicaSet = new("apps", "v1", "replicasets", "ReplicaSet", true);
    public static readonly ResourceKind DaemonSet = new("apps", "v1", "daemonsets", "DaemonSet", true);
    public static readonly ResourceKind StatefulSet = new("apps", "v1", "statefulsets", "StatefulSet", true);
    public static readonly ResourceKind ControllerRevision = new("apps", "v1", "controllerrevisions", "ControllerRevision", true);
    public static readonly ResourceKind Job = new("batch", "v1", "jobs", "Job", true);
    public static readonly ResourceKind CronJob = new("batch", "v1", "cronjobs", "CronJob", true);
    public static readonly ResourceKind PodDisruptionBudget = new("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true);
    public static readonly ResourceKind PriorityClass = new("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false);
    public static readonly ResourceKind RuntimeClass = new("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false);
    public static readonly ResourceKind Role = new("rbac.authorization.k8s.io", "v1", "roles", "Role", true);
    public static readonly ResourceKind ClusterRole = new("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false);
    public static readonly ResourceKind RoleBinding = new("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true);
    public static readonly ResourceKind ClusterRoleBinding = new("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false);
    public static readonly ResourceKind CertificateSigningRequest = new("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false);
    public static readonly ResourceKind ResourceQuota = new("", "v1", "resourcequotas", "ResourceQuota", true);
    public static readonly ResourceKind LimitRange = new("", "v1", "limitranges", "LimitRange", true);
    public static readonly ResourceKind CustomResourceDefinition = new("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false);
    public static readonly ResourceKind Device = new("devices.kubeedge.io", "v1beta1", "devices", "Device", true);
    public static readonly ResourceKind DeviceModel = new("devices.kubeedge.io", "v1beta1", "devicemodels", "DeviceModel", true);
    public static readonly ResourceKind DeviceStatus = new("devices.kubeedge.io", "v1beta1", "devicestatuses", "DeviceStatus", true);
    public static readonly ResourceKind ObjectSync = new("reliablesyncs.kubeedge.io", "v1alpha1", "objectsyncs", "ObjectSync", true);
    public static readonly ResourceKind ClusterObjectSync = new("reliablesyncs.kubeedge.io", "v1alpha1", "clusterobjectsyncs", "ClusterObjectSync", false);

    /// <summary><c>v1</c>, or <c>group/version</c>.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>The request path, e.g. <c>/api/v1/namespaces/default/pods/web/status</c>; without a name, the collection's.</summary>
    public string Path(string? @namespace, string? name = null, string? subresource = null)
        => (Group.Length == 0 ? $"/api/{Version}" : $"/apis/{Group}/{Version}")
            + (Namespaced && !string.IsNullOrEmpty(@namespace) ? $"/namespaces/{Uri.EscapeDataString(@namespace)}" : "")
            + $"/{Plural}"
            + (name is null ? "" : $"/{Uri.EscapeDataString(name)}")
            + (subresource is null ? "" : $"/{subresource}");
}
