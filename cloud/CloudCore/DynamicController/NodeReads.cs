using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.DynamicController;

/// <summary>What a node may ask of the API in its own name, without the token of one of its pods' ServiceAccounts. Pure.</summary>
/// <remarks>CloudCore's own rights stand behind these requests, so the list is short: what describes the API, who may what, and the shape of the cluster; nothing that holds secrets,
/// and no write.</remarks>
internal static class NodeReads
{
    private static readonly HashSet<(string Group, string Resource)> s_readable =
    [
        ("", "namespaces"), ("", "nodes"), ("", "services"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices"), ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("apps.kubeedge.io", "nodegroups"), ("gslb.edge.io", "globalservices"),
    ];

    /// <summary>Null when the node may ask; else why not.</summary>
    public static string? Refuse(string node, string method, string target, ReadOnlyMemory<byte> body)
    {
        var path = target.Split('?')[0];
        // Judged is what is sent: nothing that a URI's parser reads otherwise (it makes / of \, and goes up at ..) or that the API unescapes.
        if (!path.StartsWith('/') || path.Any(one => one is <= ' ' or >= '\x7f' or '\\' or '#' or '%'))
            return $"the path {path} is not allowed; it has plain ASCII without \\, # and %";
        var parts = path.Length == 1 ? [] : path[1..].Split('/');
        if (parts.Any(part => part is "" or "." or ".."))
            return $"the path {path} is not allowed; it has an empty part, . or ..";
        if (method == "POST" && path == "/apis/authorization.k8s.io/v1/subjectaccessreviews")
        {
            return JsonBytes.TryObject(body, out _) is { } review && review.Text("spec", "user").StartsWith("system:serviceaccount:", StringComparison.Ordinal)
                ? null : "a node may only ask what ServiceAccounts may";
        }

        if (method is not ("GET" or "HEAD"))
            return Forbidden(node, method, path);
        if (parts is [] or ["version" or "healthz" or "livez" or "readyz"] or ["openapi", ..] or ["openid", "v1", "jwks"] or [".well-known", "openid-configuration"]
            or ["api"] or ["api", _] or ["apis"] or ["apis", _] or ["apis", _, _])
            return null;
        var (group, at) = parts[0] == "api" ? ("", 2) : parts[0] == "apis" ? (parts[1], 3) : ("", parts.Length);
        var rest = parts.AsSpan(at);
        if (rest is ["namespaces", _, _, ..])
            rest = rest[2..];
        return rest.Length is 1 or 2 && s_readable.Contains((group, rest[0])) ? null : Forbidden(node, method, path);
    }

    private static string Forbidden(string node, string method, string path)
        => $"node '{node}' may not {method} {path} in its own name; it takes the token of a ServiceAccount that may";
}

/// <summary>A request of KubeEdge's MetaServer as HTTP: what Key, Verb, Option and Subresource mean (kubeedge-wire §3.3). Pure.</summary>
internal static class StockRequest
{
    /// <summary>Null, with the reason, for what cannot be read.</summary>
    public static ApplicationHttp? Read(ApplicationMessage application, out string error)
    {
        error = "";
        var parts = application.Key.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (application.Verb == "get" && (parts.Length < 5 || parts[0] is "api" or "apis" or "openapi"))
            return new ApplicationHttp { Method = "GET", Target = application.Key };
        if (parts.Length != 5)
        {
            error = $"the key '{application.Key}' is not /GROUP/VERSION/RESOURCE/NAMESPACE/NAME";
            return null;
        }

        var options = application.Option.IsEmpty ? null : JsonBytes.TryObject(application.Option, out error);
        if (error.Length > 0)
        {
            error = $"the options {error}";
            return null;
        }

        var (group, ns, name) = (parts[0] == "core" ? "" : parts[0], parts[3] == "null" ? "" : parts[3], parts[4] == "null" ? "" : parts[4]);
        var collection = $"{(group.Length == 0 ? $"/api/{parts[1]}" : $"/apis/{group}/{parts[1]}")}{(ns.Length > 0 ? $"/namespaces/{ns}" : "")}/{parts[2]}";
        var subresource = application.Subresource.Length > 0 ? "/" + application.Subresource.Trim('/') : "";
        switch (application.Verb)
        {
            case "get":
                return new ApplicationHttp { Method = "GET", Target = $"{collection}/{name}{subresource}" };
            case "list":
            case "watch":
                var query = new List<string>();
                foreach (var key in (ReadOnlySpan<string>)["labelSelector", "fieldSelector", "resourceVersion", "continue"])
                {
                    if (options.Text(key) is { Length: > 0 } value)
                        query.Add($"{key}={Uri.EscapeDataString(value)}");
                }

                if (options.Number(0, "limit") is > 0 and var limit)
                    query.Add($"limit={limit}");
                if (application.Verb == "watch")
                    query.Add("watch=true");
                return new ApplicationHttp { Method = "GET", Target = collection + (query.Count > 0 ? "?" + string.Join('&', query) : "") };
            case "create":
                return new ApplicationHttp { Method = "POST", Target = name.Length > 0 && subresource.Length > 0 ? $"{collection}/{name}{subresource}" : collection, ContentType = "application/json" };
            case "update":
                return new ApplicationHttp { Method = "PUT", Target = $"{collection}/{name}{subresource}", ContentType = "application/json" };
            case "updatestatus":
                return new ApplicationHttp { Method = "PUT", Target = $"{collection}/{name}/status", ContentType = "application/json" };
            case "delete":
                return new ApplicationHttp { Method = "DELETE", Target = $"{collection}/{name}", ContentType = "application/json" };
            case "patch":
                var more = string.Concat(options.Texts("Subresources").Where(one => one.Length > 0).Select(one => "/" + one));
                return new ApplicationHttp { Method = "PATCH", Target = $"{collection}/{options.Text("Name")}{more}", ContentType = options.Text("PatchType") };
            default:
                error = $"the verb '{application.Verb}' is not known";
                return null;
        }
    }
}
