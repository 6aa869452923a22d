using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Writes through the cloud. A resourceVersion of this node's own is put back into the cluster's.</summary>
internal sealed class Writes(CloudGate gate, HeldObjects held, IReadOnlyList<HeldKind> kinds)
{
    /// <summary>Passes the write on.</summary>
    /// <exception cref="MetaServerException">503 without the cloud; 409 where the object is another than the client saw.</exception>
    public async Task<CloudReply> SendAsync(CloudRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await gate.SendAsync(await TranslateAsync(request, cancellationToken), cancellationToken);
        }
        catch (UplinkException e)
        {
            throw MetaServerException.Offline(request.Request, e.Message);
        }
    }

    private async Task<CloudRequest> TranslateAsync(CloudRequest request, CancellationToken cancellationToken)
    {
        var kube = request.Request;
        var kind = kinds.FirstOrDefault(one => one.Kind.Group == kube.Group && one.Kind.Plural == kube.Resource);
        if (kind is null || JsonReading.Object(request.Body) is not { } body)
            return request;
        // DeleteOptions carry it as a precondition.
        var owner = (kube.Verb == "delete" ? body.At("preconditions") : body.At("metadata")) as JsonObject;
        if (!long.TryParse(owner.Text("resourceVersion"), NumberStyles.None, CultureInfo.InvariantCulture, out var version) || !HeldObjects.IsLocal(version))
            return request;
        var seen = held.Get(kind.Type, kube.Namespace, kube.Name);
        if (seen is null || seen.Version != version)
            throw Changed(kube);
        owner!["resourceVersion"] = kind.Type == ResourceTypes.Pod ? await PodVersionAsync(request, seen, cancellationToken) : seen.CloudVersion;
        return request with { Body = JsonReading.Bytes(body) };
    }

    // The cloud does not send a pod again for its status alone, which is this node's own word: where all else is the same, its newest version is meant.
    private async Task<string> PodVersionAsync(CloudRequest request, HeldObject seen, CancellationToken cancellationToken)
    {
        var kube = request.Request with { Verb = "get", Subresource = "" };
        var path = $"/api/v1/namespaces/{kube.Namespace}/pods/{kube.Name}";
        var reply = await gate.SendAsync(request with { Request = kube, Method = "GET", Target = path, Accept = "application/json", ContentType = "", Body = default }, cancellationToken);
        if (!reply.IsGood || JsonReading.Object(reply.Body) is not { } newest)
            return seen.CloudVersion; // the API decides
        var same = newest.Uid() == seen.Uid && JsonNode.DeepEquals(newest["spec"], seen.Json["spec"])
            && JsonNode.DeepEquals(newest.At("metadata", "labels"), seen.Json.At("metadata", "labels")) && JsonNode.DeepEquals(newest.At("metadata", "annotations"), seen.Json.At("metadata", "annotations"));
        return same ? newest.ResourceVersion() : throw Changed(kube);
    }

    private static MetaServerException Changed(KubeRequest request)
        => new(409, "Conflict", $"Operation cannot be fulfilled on {request.Qualified} \"{request.Name}\": the object has been modified; please apply your changes to the latest version and try again");
}
