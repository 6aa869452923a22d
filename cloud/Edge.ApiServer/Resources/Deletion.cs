using System.Text.Json.Nodes;
using Edge.ApiServer.Crd;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>The rules of DELETE. Pure.</summary>
internal static class Deletion
{
    private const string OrphanFinalizer = "orphan";
    private const string ForegroundFinalizer = "foregroundDeletion";
    private const long PodGraceDefault = 30;

    /// <summary>Marks the object as being deleted, with grace and finalizers as asked; false when it is being deleted already and
    /// this request hastens nothing.</summary>
    public static bool Step(ServedResource resource, JsonObject obj, DeleteOptions options, DateTimeOffset now)
    {
        var grace = Grace(resource, obj, options);
        var changed = SetPropagation(obj.Child("metadata"), options.PropagationPolicy);
        if (!obj.IsDeleting())
        {
            ObjectStrategy.MarkDeleting(resource, obj, grace, now);
            if (resource.Kind == ResourceKind.CustomResourceDefinition)
                CrdStatus.SetTerminating(obj, now);
            return true;
        }

        if (grace < obj.Number(0, "metadata", "deletionGracePeriodSeconds"))
        {
            var metadata = obj.Child("metadata");
            metadata["deletionTimestamp"] = KubeObject.Time(now.AddSeconds(grace));
            metadata["deletionGracePeriodSeconds"] = grace;
            return true;
        }

        return changed || ObjectStrategy.MayGo(resource, obj);
    }

    /// <summary>Only a pod that runs on a node is given time; others go at once, or when their finalizers are done.</summary>
    private static long Grace(ServedResource resource, JsonObject obj, DeleteOptions options)
    {
        if (resource.Kind != ResourceKind.Pod || obj.Text("spec", "nodeName").Length == 0 || obj.Text("status", "phase") is "Succeeded" or "Failed")
            return 0;
        var asked = options.GracePeriodSeconds ?? obj.Number(PodGraceDefault, "spec", "terminationGracePeriodSeconds");
        return asked < 0 ? 1 : asked;
    }

    private static bool SetPropagation(JsonObject metadata, string policy)
    {
        var finalizer = policy switch
        {
            "Orphan" => OrphanFinalizer,
            "Foreground" => ForegroundFinalizer,
            _ => null,
        };
        if (policy.Length == 0)
            return false;
        var finalizers = ObjectStrategy.Finalizers(metadata);
        var changed = false;
        for (var i = finalizers.Count - 1; i >= 0; i--)
        {
            if (finalizers[i] is JsonValue value && value.TryGetValue<string>(out var text) && text is OrphanFinalizer or ForegroundFinalizer && text != finalizer)
            {
                finalizers.RemoveAt(i);
                changed = true;
            }
        }

        if (finalizer is not null && !metadata.Texts("finalizers").Contains(finalizer, StringComparer.Ordinal))
        {
            finalizers.Add((JsonNode)finalizer);
            changed = true;
        }

        if (finalizers.Count == 0)
            metadata.Remove("finalizers");
        return changed;
    }
}
