using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>The Kubernetes REST API as CloudCore and the controllers see it; the embedded API server and a real cluster serve it alike.</summary>
/// <remarks>Safe for concurrent calls. Every call throws <see cref="KubeException"/> when the API answers with a failure status or cannot be reached.
/// The namespace is null for cluster-scoped kinds and, in list and watch, for all namespaces.</remarks>
public interface IKubeClient
{
    Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken);

    /// <summary>As <see cref="GetAsync"/>, with null for 404.</summary>
    Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken);

    /// <summary>The whole list, page by page where the server pages.</summary>
    Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken);

    /// <summary>Events after <paramref name="resourceVersion"/> until the server ends the watch; BOOKMARK events carry only a version.
    /// A version too old throws <see cref="KubeException"/> with code 410. The objects may be shared with other watches: never change one, <c>DeepClone()</c> first.</summary>
    IAsyncEnumerable<WatchEvent> WatchAsync(ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, CancellationToken cancellationToken);

    /// <summary>Creates the object; apiVersion and kind are sent by <paramref name="kind"/> where <paramref name="obj"/> has none.</summary>
    Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken);

    /// <summary>Replaces the object (or its <paramref name="subresource"/>, e.g. <c>status</c>); 409 when its resourceVersion is set and not the newest.</summary>
    Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken);

    Task<JsonObject> PatchAsync(ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken);

    /// <summary>As <see cref="PatchAsync"/>, for who keeps the answer as it is and needs no tree.</summary>
    async Task<ReadOnlyMemory<byte>> PatchForBytesAsync(
        ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
        => System.Text.Encoding.UTF8.GetBytes((await PatchAsync(kind, @namespace, name, patchKind, patch, subresource, cancellationToken)).ToJsonString());

    /// <summary>Deletes; returns the answer's object (the object that is going, or a Status). <paramref name="options"/> is a metav1.DeleteOptions or null.</summary>
    Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken);

    /// <summary>POST to a subresource that creates something else: <c>pods/binding</c>, <c>serviceaccounts/token</c>.</summary>
    Task<JsonObject> CreateSubresourceAsync(ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken);
}

public sealed record ListOptions(string LabelSelector = "", string FieldSelector = "")
{
    /// <summary>Only the metadata of the objects is wanted: they come as <c>meta.k8s.io/v1 PartialObjectMetadata</c>, for a fraction of the work on both sides. A hint: who serves no such
    /// shape answers the whole objects. A watch may leave out changes of the status alone, so a resourceVersion may be one of before.</summary>
    public bool IsMetadataOnly { get; init; }

    /// <summary>Called when the server has accepted a watch, before its first event: a watch may be quiet for long, and is well all the same.</summary>
    public Action? WatchOpened { get; init; }
}

/// <summary>A list and the resourceVersion to watch from.</summary>
public sealed record KubeList(IReadOnlyList<JsonObject> Items, string ResourceVersion);

public enum WatchEventType
{
    Added,
    Modified,
    Deleted,
    Bookmark,
}

/// <summary>One event of a watch.</summary>
public sealed record WatchEvent(WatchEventType Type, ObjectText Text)
{
    public WatchEvent(WatchEventType type, JsonObject obj)
        : this(type, new ObjectText(obj))
    {
    }

    public JsonObject Object => Text.Json;
}

/// <summary>How the bytes of a patch are meant.</summary>
public enum PatchKind
{
    /// <summary>RFC 6902, <c>application/json-patch+json</c>.</summary>
    Json,

    /// <summary>RFC 7386, <c>application/merge-patch+json</c>.</summary>
    Merge,

    /// <summary><c>application/strategic-merge-patch+json</c>; built-in kinds only.</summary>
    Strategic,
}

/// <summary>The API answered with a failure, or could not be reached (<see cref="Code"/> 0).</summary>
public sealed class KubeException : Exception
{
    public KubeException(int code, string reason, string message, JsonObject? status = null, Exception? inner = null)
        : base(message, inner)
    {
        Code = code;
        Reason = reason;
        Status = status;
    }

    /// <summary>The failure that a watch's ERROR event tells.</summary>
    public static KubeException Of(JsonObject status)
    {
        var code = (int)status.Number(500, "code");
        return new KubeException(code, status.Text("reason") is { Length: > 0 } reason ? reason : KubeJson.Reason(code), status.Text("message"), status);
    }

    /// <summary>The HTTP status code; 0 when there was no answer.</summary>
    public int Code { get; }

    /// <summary>The metav1.Status reason, e.g. <c>NotFound</c>, <c>AlreadyExists</c>, <c>Conflict</c>.</summary>
    public string Reason { get; }

    /// <summary>The whole metav1.Status where the server sent one.</summary>
    public JsonObject? Status { get; }

    public TimeSpan? RetryAfter { get; init; }
}

/// <summary>What happened to an object in an informer's cache.</summary>
public enum ChangeType
{
    Added,
    Updated,
    Deleted,
}

/// <summary>One change; <paramref name="Old"/> is the state before, null when added and where it is not kept (<see cref="Informer.CachesIdentities"/>).</summary>
public sealed record ObjectChange(ChangeType Type, ObjectText Text, JsonObject? Old)
{
    public ObjectChange(ChangeType type, JsonObject obj, JsonObject? old)
        : this(type, new ObjectText(obj), old)
    {
    }

    public JsonObject Object => Text.Json;
}
