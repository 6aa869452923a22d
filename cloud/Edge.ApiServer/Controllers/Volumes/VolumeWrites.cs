using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>The states that binding brings about, one write each; null where the object has that state already. Pure: makes copies.</summary>
internal static class VolumeWrites
{
    /// <summary>The volume refers to the claim.</summary>
    public static JsonObject? Reserve(JsonObject volume, JsonObject claim)
    {
        var isReserved = VolumeMatch.IsReservedFor(volume, claim);
        if (isReserved && volume.Text("spec", "claimRef", "uid").Length > 0)
            return null;
        var next = (JsonObject)volume.DeepClone();
        next.Child("spec")["claimRef"] = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "PersistentVolumeClaim",
            ["name"] = claim.Name(),
            ["namespace"] = claim.Namespace(),
            ["resourceVersion"] = claim.ResourceVersion(),
            ["uid"] = claim.Uid(),
        };
        if (!isReserved)
            Annotate(next, StorageAnnotations.BoundByController);
        return next;
    }

    /// <summary>The volume refers to no claim; one that a user reserved stays reserved by name.</summary>
    public static JsonObject Unreserve(JsonObject volume)
    {
        var next = (JsonObject)volume.DeepClone();
        if (volume.Annotation(StorageAnnotations.BoundByController) is not null)
        {
            next.Child("spec").Remove("claimRef");
            next.Child("metadata").Child("annotations").Remove(StorageAnnotations.BoundByController);
        }
        else
        {
            next.Child("spec").Child("claimRef").Remove("uid");
            next.Child("spec").Child("claimRef").Remove("resourceVersion");
        }

        return next;
    }

    public static JsonObject? Phase(JsonObject volume, string phase, DateTimeOffset now, string message = "")
    {
        if (volume.Text("status", "phase") == phase)
            return null;
        var next = (JsonObject)volume.DeepClone();
        var status = next.Child("status");
        status["phase"] = phase;
        status["lastPhaseTransitionTime"] = KubeObject.Time(now);
        status.Remove("message");
        if (message.Length > 0)
            status["message"] = message;
        return next;
    }

    /// <summary>The claim refers to the volume, for good.</summary>
    public static JsonObject? Bind(JsonObject claim, JsonObject volume)
    {
        var hasVolume = claim.Text("spec", "volumeName") == volume.Name();
        if (hasVolume && VolumeMatch.IsBound(claim))
            return null;
        var next = (JsonObject)claim.DeepClone();
        next.Child("spec")["volumeName"] = volume.Name();
        if (!hasVolume)
            Annotate(next, StorageAnnotations.BoundByController);
        Annotate(next, StorageAnnotations.BindCompleted);
        return next;
    }

    /// <summary>The claim's status says what the volume is. Its capacity is told once: later changes are an expansion, which is others' to do.</summary>
    public static JsonObject? Bound(JsonObject claim, JsonObject volume)
    {
        var next = (JsonObject)claim.DeepClone();
        var status = next.Child("status");
        status["accessModes"] = volume.At("spec", "accessModes")?.DeepClone();
        if (claim.Text("status", "phase") != "Bound" && volume.At("spec", "capacity") is { } capacity)
            status["capacity"] = capacity.DeepClone();
        status["phase"] = "Bound";
        return JsonNode.DeepEquals(next["status"], claim["status"]) ? null : next;
    }

    /// <summary>Pending or Lost: the claim has no volume.</summary>
    public static JsonObject? Unbound(JsonObject claim, string phase)
    {
        if (claim.Text("status", "phase") == phase)
            return null;
        var next = (JsonObject)claim.DeepClone();
        var status = next.Child("status");
        status["phase"] = phase;
        status.Remove("accessModes");
        status.Remove("capacity");
        return next;
    }

    /// <summary>The object with or without the finalizer.</summary>
    public static JsonObject Finalizer(JsonObject obj, string finalizer, bool isWanted)
    {
        var next = (JsonObject)obj.DeepClone();
        var finalizers = new JsonArray();
        foreach (var other in obj.Texts("metadata", "finalizers").Where(other => other != finalizer))
            finalizers.Add((JsonNode)other);
        if (isWanted)
            finalizers.Add((JsonNode)finalizer);
        next.Child("metadata")["finalizers"] = finalizers;
        return next;
    }

    private static void Annotate(JsonObject obj, string annotation) => obj.Child("metadata").Child("annotations")[annotation] = "yes";
}
