using System.Text.Json.Nodes;
using Edge.ApiServer.Patching;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>A merge patch of a custom resource's status on a state that its schema has judged: what is not status stays as it is stored, and is neither copied nor looked at again. Pure.</summary>
internal static class StatusMerge
{
    /// <summary>Where not, the patch takes the general way (<see cref="ObjectStrategy.PrepareUpdate"/>), which comes to the same.</summary>
    public static bool Serves(ServedResource resource, StoredObject current, JsonObject patch, WriteOptions options)
        => !options.DryRun && ObjectStrategy.IsStatusAlone(resource, current, "status") && !resource.Custom!.Schema.HasStatusRules && IsPlain(patch)
            && current.Json.AsSpan().IndexOf("\"managedFields\""u8) < 0;

    /// <summary>The next state, where this <see cref="Serves"/>; null for an object that is being deleted: this write may be what its end waits for.</summary>
    /// <exception cref="ApiException">The patched status is not valid.</exception>
    public static JsonObject? Apply(ServedResource resource, StoredObject current, JsonObject patch, WriteOptions options)
    {
        var next = current.Parse();
        if (next.IsDeleting())
            return null;
        if (patch.TryGetPropertyValue("status", out var status))
            MergePatch.MergeMember(next, "status", status);
        ObjectStrategy.ShapeStatus(resource, next, options);
        return resource.Custom!.Schema.ValidateStatus(next, null) is { Count: > 0 } errors ? throw ApiException.Invalid(resource, current.Name, errors) : next;
    }

    // Of the metadata only what says which state is meant.
    private static bool IsPlain(JsonObject patch)
        => !patch.TryGetPropertyValue("metadata", out var metadata)
            || (metadata is JsonObject said && said.All(one => one is { Key: "name" or "uid" or "resourceVersion", Value: JsonValue value } && value.TryGetValue<string>(out var text) && text.Length > 0));
}
