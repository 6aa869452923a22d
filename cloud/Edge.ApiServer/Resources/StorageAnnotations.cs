using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>The annotations and finalizers of volumes, claims and storage classes, and what they mean.</summary>
internal static class StorageAnnotations
{
    public const string BoundByController = "pv.kubernetes.io/bound-by-controller";
    public const string BindCompleted = "pv.kubernetes.io/bind-completed";
    public const string ProvisionedBy = "pv.kubernetes.io/provisioned-by";
    public const string VolumeFinalizer = "kubernetes.io/pv-protection";
    public const string ClaimFinalizer = "kubernetes.io/pvc-protection";
    private const string ClassName = "volume.beta.kubernetes.io/storage-class";
    private const string IsDefault = "storageclass.kubernetes.io/is-default-class";
    private const string IsDefaultBeta = "storageclass.beta.kubernetes.io/is-default-class";

    /// <summary>The class of a volume or claim; empty when it has none or an empty one.</summary>
    public static string ClassOf(JsonObject obj) => obj.Annotation(ClassName) ?? obj.Text("spec", "storageClassName");

    /// <summary>Whether a claim says nothing of a class, so that it takes the default one; an empty class is an answer.</summary>
    public static bool HasNoClass(JsonObject claim) => claim.Annotation(ClassName) is null && claim["spec"].At("storageClassName") is null;

    public static bool IsDefaultClass(JsonObject storageClass) => storageClass.Annotation(IsDefault) == "true" || storageClass.Annotation(IsDefaultBeta) == "true";

    /// <summary>The default class: the newest of those that say so, by name among those of one second; null when none does.</summary>
    public static JsonObject? DefaultClass(IEnumerable<JsonObject> classes)
        => classes.Where(IsDefaultClass)
            .OrderByDescending(storageClass => storageClass.Text("metadata", "creationTimestamp"), StringComparer.Ordinal)
            .ThenBy(storageClass => storageClass.Name(), StringComparer.Ordinal)
            .FirstOrDefault();
}
