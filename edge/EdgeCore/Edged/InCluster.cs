using System.Globalization;
using Edge.Core.MetaManager.MetaServer;

namespace Edge.Core.Edged;

/// <summary>What a pod needs so that an in-cluster client finds the Kubernetes API of its node and trusts it. Pure.</summary>
internal static class InCluster
{
    /// <summary>The ConfigMap in each namespace that token volumes take the cluster's CA from.</summary>
    public const string AuthorityMap = "kube-root-ca.crt";

    public const string AuthorityKey = "ca.crt";

    /// <summary>The variables of every container; none where the pod cannot reach MetaServer.</summary>
    public static IEnumerable<KeyValuePair<string, string>> Environment(PodDescription pod, InClusterAccess? access)
    {
        if ((pod.HostNetwork ? access?.ForHost : access?.ForPods) is not { } at)
            return [];
        var port = at.Port.ToString(CultureInfo.InvariantCulture);
        return [new("KUBERNETES_SERVICE_HOST", at.Address.ToString()), new("KUBERNETES_SERVICE_PORT", port), new("KUBERNETES_SERVICE_PORT_HTTPS", port)];
    }
}
