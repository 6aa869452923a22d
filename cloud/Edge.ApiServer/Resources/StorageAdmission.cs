using System.Text.Json.Nodes;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Kubernetes' admission plug-ins StorageObjectInUseProtection, DefaultStorageClass and PersistentVolumeClaimResize.</summary>
internal static class StorageAdmission
{
    /// <summary>Gives a new volume or claim its finalizer, and a claim that names no class the default one.</summary>
    public static void OnCreate(ServedResource resource, JsonObject obj, ObjectStore store)
    {
        if (resource.Kind == ResourceKind.PersistentVolume)
        {
            AddFinalizer(obj, StorageAnnotations.VolumeFinalizer);
        }
        else if (resource.Kind == ResourceKind.PersistentVolumeClaim)
        {
            AddFinalizer(obj, StorageAnnotations.ClaimFinalizer);
            if (StorageAnnotations.HasNoClass(obj) && obj["spec"] is JsonObject spec && StorageAnnotations.DefaultClass(Classes(store)) is { } chosen)
                spec["storageClassName"] = chosen.Name();
        }
    }

    /// <summary>Refuses a larger claim where its class does not allow that.</summary>
    /// <exception cref="ApiException">403, in Kubernetes' words.</exception>
    public static void OnUpdate(ServedResource resource, JsonObject obj, JsonObject old, string subresource, ObjectStore store)
    {
        if (resource.Kind != ResourceKind.PersistentVolumeClaim || subresource.Length > 0 || Requested(obj) <= Requested(old))
            return;
        if (old.Text("status", "phase") != "Bound")
            throw ApiException.Forbidden(resource, obj.Name(), "Only bound persistent volume claims can be expanded");
        var name = StorageAnnotations.ClassOf(obj);
        if (name.Length == 0 || store.Get(BuiltinResources.StorageClasses.Id, "", name)?.Parse().Flag(false, "allowVolumeExpansion") != true)
            throw ApiException.Forbidden(resource, obj.Name(), "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
    }

    private static IEnumerable<JsonObject> Classes(ObjectStore store) => store.Snapshot(BuiltinResources.StorageClasses.Id).Items.Select(stored => stored.Parse());

    private static decimal Requested(JsonObject claim) => Validation.Quantity.TryParse(claim.At("spec", "resources", "requests", "storage"), out var value) ? value : 0;

    private static void AddFinalizer(JsonObject obj, string finalizer)
    {
        var metadata = obj.Child("metadata");
        if (!metadata.Texts("finalizers").Contains(finalizer, StringComparer.Ordinal))
            ObjectStrategy.Finalizers(metadata).Add((JsonNode)finalizer);
    }
}
