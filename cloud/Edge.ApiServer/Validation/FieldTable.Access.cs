namespace Edge.ApiServer.Validation;

// The types of access and admission, written as in FieldTable.Types.cs.
internal static partial class FieldTable
{
    /// <summary>rbac.authorization.k8s.io/v1</summary>
    private const string RbacTypes = """
        Role metadata:ObjectMeta rules:[]PolicyRule
        ClusterRole metadata:ObjectMeta rules:[]PolicyRule aggregationRule:AggregationRule
        RoleBinding metadata:ObjectMeta subjects:[]Subject roleRef!:RoleRef
        ClusterRoleBinding metadata:ObjectMeta subjects:[]Subject roleRef!:RoleRef
        PolicyRule verbs!:[]s apiGroups:[]s resources:[]s resourceNames:[]s nonResourceURLs:[]s
        AggregationRule clusterRoleSelectors:[]LabelSelector
        Subject kind!:s apiGroup:s name!:s namespace:s
        RoleRef apiGroup!:s kind!:s name!:s
        """;

    /// <summary>certificates.k8s.io/v1</summary>
    private const string CertificateTypes = """
        CertificateSigningRequest metadata:ObjectMeta spec!:CertificateSigningRequestSpec
          status:CertificateSigningRequestStatus
        CertificateSigningRequestSpec request!:B signerName!:s expirationSeconds:i usages:[]s username:s uid:s groups:[]s
          extra:{}*
        CertificateSigningRequestStatus conditions:[type]CertificateSigningRequestCondition certificate:B
        CertificateSigningRequestCondition type!:s status!:s reason:s message:s lastUpdateTime:t lastTransitionTime:t
        """;

    /// <summary>core/v1: limits of namespaces</summary>
    private const string LimitTypes = """
        ResourceQuota metadata:ObjectMeta spec:ResourceQuotaSpec status:ResourceQuotaStatus
        ResourceQuotaSpec hard:{}q scopes:[]s scopeSelector:ScopeSelector
        ResourceQuotaStatus hard:{}q used:{}q
        ScopeSelector matchExpressions:[]ScopedResourceSelectorRequirement
        ScopedResourceSelectorRequirement scopeName!:s operator!:s values:[]s
        LimitRange metadata:ObjectMeta spec:LimitRangeSpec
        LimitRangeSpec limits!:[]LimitRangeItem
        LimitRangeItem type!:s max:{}q min:{}q default:{}q defaultRequest:{}q maxLimitRequestRatio:{}q
        """;
}
