using System.Text.Json.Nodes;
using Edge.ApiServer.Patching;
using Edge.ApiServer.Resources;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>Turns the body of a PATCH into a change of a tree.</summary>
internal static class PatchReader
{
    /// <summary>Server-side apply; its body is YAML, and so may be JSON.</summary>
    public const string ApplyType = "application/apply-patch+yaml";

    public static async Task<ObjectPatch> ReadAsync(HttpRequest request, ServedResource resource, CancellationToken cancellationToken)
    {
        var type = RequestBody.MediaType(request);
        var strategicServed = resource.Custom is null;
        if (type is ApplyType or "application/apply-patch+cbor")
            throw ApiException.UnsupportedMediaType("application/json-patch+json, application/merge-patch+json"); // an apply of the object itself does not come here
        if (type is not ("application/json-patch+json" or "application/merge-patch+json") && !(strategicServed && type == "application/strategic-merge-patch+json"))
            throw ApiException.UnsupportedMediaType("application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml" + (strategicServed ? ", application/strategic-merge-patch+json" : ""));
        var body = UnicodeText.Of(await RequestBody.ReadAsync(request, cancellationToken));
        return type switch
        {
            "application/json-patch+json" => Guard(RequestBody.ParseJson(body) as JsonArray ?? throw ApiException.BadRequest("a JSON patch must be an array of operations"),
                static (tree, operations) => JsonPatch.Apply(tree, operations)),
            "application/merge-patch+json" => Merge(body),
            _ => Guard(AsObject(RequestBody.ParseJson(body)), (tree, strategic) => StrategicMergePatch.Apply(resource.Kind, tree, strategic)),
        };
    }

    // Its tree is made when it is asked for. The merge takes nothing out of it, and the other tree is the change's own: nothing to clone for another try.
    private static ObjectPatch Merge(byte[] body)
    {
        JsonObject? patch = null;
        return new ObjectPatch(tree => MergePatch.ApplyTo(tree, patch ??= AsObject(RequestBody.ParseJson(body))), body);
    }

    private static JsonObject AsObject(JsonNode? patch) => patch as JsonObject ?? throw ApiException.BadRequest("a merge patch of an object must be an object");

    /// <summary>The patch is cloned for every try, since applying it may move its nodes into the tree.</summary>
    private static ObjectPatch Guard<T>(T patch, Func<JsonObject, T, JsonNode?> apply)
        where T : JsonNode => new(tree =>
        {
            try
            {
                return apply(tree, (T)patch.DeepClone()) as JsonObject ?? throw ApiException.BadRequest("the patched document is not an object");
            }
            catch (PatchException e)
            {
                throw new ApiException(422, "Invalid", e.Message);
            }
        });
}
