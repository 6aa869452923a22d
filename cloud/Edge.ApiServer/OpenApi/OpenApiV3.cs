using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.Kubernetes;

namespace Edge.ApiServer.OpenApi;

/// <summary>The OpenAPI 3.0 documents below <c>/openapi/v3</c>.</summary>
internal static class OpenApiV3
{
    /// <summary>kubectl apply goes by these: strategic merge patches are for the built-in kinds alone.</summary>
    private static readonly string[] s_customPatchTypes = ["application/json-patch+json", "application/merge-patch+json"];
    private static readonly string[] s_patchTypes = [.. s_customPatchTypes, "application/strategic-merge-patch+json"];

    /// <summary>The index: one path per group and version (<c>api/v1</c>, <c>apis/GROUP/VERSION</c>) with its <c>serverRelativeURL</c>,
    /// whose hash changes with the document so that clients may cache it.</summary>
    public static JsonObject Root(IReadOnlyList<(ResourceKind Kind, StructuralSchema? Schema)> kinds)
    {
        var paths = new JsonObject();
        foreach (var (group, version) in kinds.Select(entry => (entry.Kind.Group, entry.Kind.Version)).Distinct())
        {
            var path = group.Length == 0 ? $"api/{version}" : $"apis/{group}/{version}";
            var hash = System.Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(GroupVersion(group, version, kinds).ToJsonString())));
            paths[path] = new JsonObject { ["serverRelativeURL"] = $"/openapi/v3/{path}?hash={hash[..32]}" };
        }

        return new JsonObject { ["paths"] = paths };
    }

    /// <summary>The document of one group and version; kinds of others are left out.</summary>
    public static JsonObject GroupVersion(string group, string version, IReadOnlyList<(ResourceKind Kind, StructuralSchema? Schema)> kinds)
    {
        var mine = kinds.Where(entry => entry.Kind.Group == group && entry.Kind.Version == version).ToList();
        var document = new ApiDocument("#/components/schemas/", isV3: true);
        var paths = new JsonObject();
        foreach (var (kind, schema) in mine)
        {
            foreach (var (path, one) in ApiDocument.Paths(kind))
                paths[path] = PathItem(document, kind, path, one, schema is null ? s_patchTypes : s_customPatchTypes);
        }

        return new JsonObject
        {
            ["openapi"] = "3.0.0",
            ["info"] = new JsonObject { ["title"] = "Kubernetes", ["version"] = "unversioned" },
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = document.Definitions(mine) },
        };
    }

    private static JsonObject PathItem(ApiDocument document, ResourceKind kind, string path, bool one, string[] patchTypes)
    {
        var item = new JsonObject { ["parameters"] = new JsonArray([.. PathParameters(path)]) };
        foreach (var verb in one ? (string[])["get", "put", "patch", "delete"] : ["get", "post"])
        {
            var operation = new JsonObject
            {
                ["operationId"] = $"{verb}{kind.Kind}{(one ? "" : "Collection")}{kind.Version}",
                ["parameters"] = new JsonArray([.. QueryParameters(verb)]),
                ["responses"] = new JsonObject
                {
                    ["200"] = new JsonObject
                    {
                        ["description"] = "OK",
                        ["content"] = new JsonObject { ["application/json"] = new JsonObject { ["schema"] = document.Reference(ApiDocument.Name(kind)) } },
                    },
                },
                ["x-kubernetes-action"] = verb == "get" && !one ? "list" : verb,
                [ApiDocument.KindExtension] = ApiDocument.Gvk(kind),
            };
            if (verb == "patch")
                operation["requestBody"] = Body(patchTypes, new JsonObject { ["type"] = "object" });
            else if (verb is "put" or "post")
                operation["requestBody"] = Body(["application/json"], document.Reference(ApiDocument.Name(kind)));
            item[verb] = operation;
        }

        return item;
    }

    private static JsonObject Body(string[] types, JsonObject schema)
    {
        var content = new JsonObject();
        foreach (var type in types)
            content[type] = new JsonObject { ["schema"] = schema.DeepClone() };
        return new JsonObject { ["required"] = true, ["content"] = content };
    }

    private static IEnumerable<JsonNode> PathParameters(string path)
        => ((string[])["namespace", "name"]).Where(name => path.Contains($"{{{name}}}", StringComparison.Ordinal)).Select(name => (JsonNode)new JsonObject
        {
            ["name"] = name, ["in"] = "path", ["required"] = true, ["schema"] = new JsonObject { ["type"] = "string" },
        });

    private static IEnumerable<JsonNode> QueryParameters(string verb)
        => ApiParameters.Query(verb).Select(parameter => (JsonNode)new JsonObject
        {
            ["name"] = parameter.Name, ["in"] = "query", ["description"] = parameter.Description, ["schema"] = new JsonObject { ["type"] = parameter.Type },
        });
}
