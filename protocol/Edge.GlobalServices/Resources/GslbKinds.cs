using Edge.Kubernetes;

namespace Edge.GlobalServices.Resources;

/// <summary>The resources of the group <c>gslb.edge.io</c>.</summary>
public static class GslbKinds
{
    public const string Group = "gslb.edge.io";

    public static readonly ResourceKind Zone = new(Group, "v1alpha1", "zones", "Zone", false);
    public static readonly ResourceKind GlobalService = new(Group, "v1alpha1", "globalservices", "GlobalService", true);
    public static readonly ResourceKind LocationMap = new(Group, "v1alpha1", "locationmaps", "LocationMap", false);
}
