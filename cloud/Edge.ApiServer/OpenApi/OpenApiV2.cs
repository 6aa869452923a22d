using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.Kubernetes;

namespace Edge.ApiServer.OpenApi;

/// <summary>The Swagger 2.0 document at <c>/openapi/v2</c>. <c>Schema</c> is null for built-in kinds.</summary>
internal static class OpenApiV2
{
    public static JsonObject Json(IReadOnlyList<(ResourceKind Kind, StructuralSchema? Schema)> kinds)
    {
        var document = new ApiDocument("#/definitions/", isV3: false);
        var paths = new JsonObject();
        foreach (var (kind, _) in kinds)
        {
            foreach (var (path, one) in ApiDocument.Paths(kind))
                paths[path] = PathItem(document, kind, path, one);
        }

        return new JsonObject
        {
            ["swagger"] = "2.0",
            ["info"] = new JsonObject { ["title"] = "Kubernetes", ["version"] = "unversioned" },
            ["paths"] = paths,
            ["definitions"] = document.Definitions(kinds),
        };
    }

    /// <summary>The same document as gnostic's <c>openapi.v2.Document</c> (<c>application/com.github.proto-openapi.spec.v2@v1.0+protobuf</c>).</summary>
    public static byte[] Protobuf(IReadOnlyList<(ResourceKind Kind, StructuralSchema? Schema)> kinds) => GnosticEncoder.Document(Json(kinds));

    private static JsonObject PathItem(ApiDocument document, ResourceKind kind, string path, bool one)
    {
        var item = new JsonObject
        {
            ["parameters"] = new JsonArray([.. ((string[])["namespace", "name"]).Where(name => path.Contains($"{{{name}}}", StringComparison.Ordinal)).Select(name => (JsonNode)new JsonObject
            {
                ["name"] = name, ["in"] = "path", ["required"] = true, ["type"] = "string",
            })]),
        };
        foreach (var verb in one ? (string[])["get", "put", "patch", "delete"] : ["get", "post"])
        {
            var parameters = new JsonArray([.. ApiParameters.Query(verb).Select(parameter => (JsonNode)new JsonObject
            {
                ["name"] = parameter.Name, ["in"] = "query", ["type"] = parameter.Type, ["description"] = parameter.Description,
            })]);
            if (verb is "put" or "post" or "patch")
            {
                parameters.Add((JsonNode)new JsonObject
                {
                    ["name"] = "body", ["in"] = "body", ["required"] = true,
                    ["schema"] = verb == "patch" ? new JsonObject { ["type"] = "object" } : document.Reference(ApiDocument.Name(kind)),
                });
            }

            item[verb] = new JsonObject
            {
                ["operationId"] = $"{verb}{kind.Kind}{(one ? "" : "Collection")}{kind.Version}",
                ["parameters"] = parameters,
                ["responses"] = new JsonObject { ["200"] = new JsonObject { ["description"] = "OK", ["schema"] = document.Reference(ApiDocument.Name(kind)) } },
                ["x-kubernetes-action"] = verb == "get" && !one ? "list" : verb,
                [ApiDocument.KindExtension] = ApiDocument.Gvk(kind),
            };
        }

        return item;
    }
}
