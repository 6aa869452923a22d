using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Edge.ApiServer.OpenApi;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Discovery;

/// <summary>GET of everything that is not a resource: discovery, OpenAPI, version.</summary>
/// <param name="registry">What is stored.</param>
/// <param name="computed">What is served besides.</param>
/// <param name="keySet">The keys that service account tokens are checked with.</param>
internal sealed class DiscoveryHandler(ResourceRegistry registry, IReadOnlyList<ServedResource> computed, Func<JsonObject>? keySet = null)
{
    /// <summary>The Kubernetes version that this server behaves like.</summary>
    public const string KubernetesVersion = "v1.32.0";

    /// <summary>OpenAPI documents are dear to make; they change only with the served resources.</summary>
    private volatile Documents _documents = new([]);

    public static JsonObject Version() => new()
    {
        ["major"] = "1",
        ["minor"] = "32",
        ["gitVersion"] = KubernetesVersion + "+edge",
        ["gitCommit"] = "",
        ["gitTreeState"] = "clean",
        ["buildDate"] = "1970-01-01T00:00:00Z",
        ["goVersion"] = "",
        ["compiler"] = RuntimeInformation.FrameworkDescription,
        ["platform"] = "linux/" + (RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "arm64" : "amd64"),
    };

    /// <summary>False when the path is none of these.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context)
    {
        var parts = context.Request.Path.Value!.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var accept = context.Request.Headers.Accept.ToString();
        var all = registry.All.AddRange(computed);
        JsonObject? document;
        switch (parts)
        {
            case []:
                document = new JsonObject { ["paths"] = Paths(all) };
                break;
            case ["api"] or ["apis"]:
                var core = parts[0] == "api";
                if (Negotiation.AggregatedDiscovery(accept) is { } version)
                {
                    await ApiResponse.WriteAsync(
                        context, 200, ObjectJson.Bytes(DiscoveryDocuments.Aggregated(all, core, version)), $"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
                    return true;
                }

                document = core ? DiscoveryDocuments.CoreVersions(context.Request.Host.Value ?? "") : DiscoveryDocuments.Groups(all);
                break;
            case ["api", var v]:
                document = DiscoveryDocuments.Resources(all, "", v);
                break;
            case ["apis", var group]:
                document = DiscoveryDocuments.Group(all, group);
                break;
            case ["apis", var group, var v]:
                document = DiscoveryDocuments.Resources(all, group, v);
                break;
            case ["openid", "v1", "jwks"] when keySet is not null:
                await ApiResponse.WriteAsync(context, 200, ObjectJson.Bytes(keySet()), "application/jwk-set+json");
                return true;
            case ["openapi", "v2"]:
                await OpenApiV2Async(context, accept, Current());
                return true;
            case ["openapi", "v3", ..]:
                await ApiResponse.WriteAsync(context, 200, Current().V3(parts[2..]) ?? throw ApiException.NoSuchResource());
                return true;
            default:
                return false;
        }

        await ApiResponse.WriteAsync(context, 200, document ?? throw ApiException.NoSuchResource());
        return true;
    }

    private static Task OpenApiV2Async(HttpContext context, string accept, Documents documents)
        => accept.Contains("com.github.proto-openapi.spec.v2", StringComparison.Ordinal)
            ? ApiResponse.WriteAsync(context, 200, documents.V2Protobuf, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
            : ApiResponse.WriteAsync(context, 200, documents.V2Json);

    private Documents Current()
    {
        var all = registry.All;
        var documents = _documents;
        if (documents.Made != all)
            _documents = documents = new Documents(all);
        return documents;
    }

    private static JsonArray Paths(IEnumerable<ServedResource> all)
    {
        var versions = all.Select(r => r.Kind).Select(k => k.Group.Length == 0 ? $"/api/{k.Version}" : $"/apis/{k.Group}/{k.Version}");
        string[] others = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"];
        return new JsonArray([.. others.Concat(versions).Distinct().Order(StringComparer.Ordinal).Select(p => JsonValue.Create(p))]);
    }

    private sealed class Documents(System.Collections.Immutable.ImmutableArray<ServedResource> made)
    {
        private readonly List<(ResourceKind Kind, StructuralSchema? Schema)> _kinds = [.. made.Select(r => (r.Kind, r.Custom?.Schema))];
        private readonly System.Collections.Concurrent.ConcurrentDictionary<string, byte[]?> _v3 = new();
        private byte[]? _v2Protobuf;
        private byte[]? _v2Json;

        public System.Collections.Immutable.ImmutableArray<ServedResource> Made => made;

        public byte[] V2Protobuf => _v2Protobuf ??= OpenApiV2.Protobuf(_kinds);

        public byte[] V2Json => _v2Json ??= ObjectJson.Bytes(OpenApiV2.Json(_kinds));

        public byte[]? V3(string[] path) => path switch
        {
            [] => _v3.GetOrAdd("", _ => ObjectJson.Bytes(OpenApiV3.Root(_kinds))),
            ["api", var version] => GroupVersion("", version),
            ["apis", var group, var version] => GroupVersion(group, version),
            _ => null,
        };

        private byte[]? GroupVersion(string group, string version)
            => _kinds.Exists(k => k.Kind.Group == group && k.Kind.Version == version)
                ? _v3.GetOrAdd($"{group}/{version}", _ => ObjectJson.Bytes(OpenApiV3.GroupVersion(group, version, _kinds)))
                : null;
    }
}
