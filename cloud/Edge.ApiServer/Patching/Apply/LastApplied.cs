using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Common.Text;
using Edge.Kubernetes;

namespace Edge.ApiServer.Patching.Apply;

/// <summary>The configuration that <c>kubectl apply</c> (on the client's side) leaves in an annotation: the way from there to server-side apply and back, as
/// k8s.io/apimachinery/pkg/util/managedfields' lastAppliedManager and lastAppliedUpdater go it. Pure.</summary>
internal static class LastApplied
{
    /// <summary>The manager of kubectl apply --server-side: it alone takes over what the annotation names, and keeps it.</summary>
    public const string SyncedManager = "kubectl";

    /// <summary>The manager of kubectl apply without --server-side.</summary>
    public const string ClientSideManager = "kubectl-client-side-apply";

    /// <summary>The path of the annotation itself.</summary>
    public const string AnnotationPath = "f:metadata\nf:annotations\nf:" + Annotation;

    private const string Annotation = "kubectl.kubernetes.io/last-applied-configuration";

    // k8s.io/apimachinery's limit of all annotations: what is larger could not be stored.
    private const int BytesMax = 256 * 1024;

    /// <summary>The paths that were applied, with their values; null without the annotation, and when it is no object.</summary>
    public static Dictionary<string, JsonNode?>? Fields(ServedResource resource, JsonObject live)
    {
        try
        {
            return live.Annotation(Annotation) is { } text && StrictJson.Parse(System.Text.Encoding.UTF8.GetBytes(text), RequestBody.DepthMax) is JsonObject applied
                ? ManagedFields.Owned(resource, applied, null)
                : null;
        }
        catch (JsonException)
        {
            return null; // written by hand: it says nothing
        }
    }

    /// <summary>Has the annotation say what is applied now, where there is one: a later kubectl apply without --server-side goes by it.</summary>
    public static void Sync(JsonObject next, JsonObject live, JsonObject config)
    {
        if (live.Annotation(Annotation) is null)
            return;
        var applied = config.DeepClone().AsObject();
        applied.Child("metadata").Remove("managedFields");
        (applied.At("metadata", "annotations") as JsonObject)?.Remove(Annotation);
        var text = System.Text.Encoding.UTF8.GetString(ObjectJson.Bytes(applied)) + "\n";
        if (text.Length <= BytesMax)
            next.Child("metadata").Child("annotations")[Annotation] = text;
        else
            next.Child("metadata").Child("annotations").Remove(Annotation);
    }
}
