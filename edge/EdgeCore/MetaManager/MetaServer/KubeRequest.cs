namespace Edge.Core.MetaManager.MetaServer;

/// <summary>What a request of the Kubernetes API asks: verb, resource and object. Pure.</summary>
/// <param name="Verb">Kubernetes' word for what is to be authorized: get, list, watch, create, update, patch, delete, deletecollection.</param>
/// <param name="Group">Empty for the core group.</param>
/// <param name="Namespace">Empty for cluster-scoped resources and all namespaces.</param>
/// <param name="Resource">The plural; empty for what is no resource (discovery, version).</param>
/// <param name="Path">The path as it came.</param>
internal sealed record KubeRequest(string Verb, string Group, string Version, string Namespace, string Resource, string Name, string Subresource, string Path)
{
    private const int PathMax = 4096;

    public bool IsResource => Resource.Length > 0;

    public bool IsRead => Verb is "get" or "list" or "watch";

    /// <summary>As in messages: <c>pods</c>, <c>deployments.apps</c>.</summary>
    public string Qualified => Group.Length == 0 ? Resource : $"{Resource}.{Group}";

    /// <summary>KubeEdge's key (kubeedge-wire §3.3).</summary>
    public string Key => IsResource ? $"/{(Group.Length == 0 ? "core" : Group)}/{Version}/{Resource}/{(Namespace.Length == 0 ? "null" : Namespace)}/{(Name.Length == 0 ? "null" : Name)}" : Path;

    /// <summary>Null when the path cannot be one of the API.</summary>
    /// <param name="path">Decoded, beginning with a slash.</param>
    public static KubeRequest? Read(string method, string path, bool isWatch)
    {
        if (path.Length > PathMax || !path.StartsWith('/'))
            return null;
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (parts.Any(part => part is "." or ".." || part.Any(char.IsControl)))
            return null;
        var (group, version, at) = parts switch
        {
            ["api", var v, _, ..] => ("", v, 2),
            ["apis", var g, var v, _, ..] => (g, v, 3),
            _ => ("", "", 0),
        };
        if (at == 0)
            return new KubeRequest(method is "GET" or "HEAD" ? "get" : method.ToLowerInvariant(), "", "", "", "", "", "", path);
        var rest = parts.AsSpan(at);
        var ns = "";
        // A namespace's own subresources are not resources in it.
        if (rest is ["namespaces", var inside, not ("status" or "finalize"), ..])
        {
            ns = inside;
            rest = rest[2..];
        }

        // Behind a subresource a path may follow (proxy).
        var (resource, name) = (rest[0], rest.Length > 1 ? rest[1] : "");
        var subresource = rest.Length > 2 ? rest[2] : "";
        var verb = method switch
        {
            "GET" or "HEAD" when name.Length == 0 => isWatch ? "watch" : "list",
            "GET" or "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => name.Length == 0 ? "deletecollection" : "delete",
            _ => "",
        };
        return verb.Length == 0 ? null : new KubeRequest(verb, group, version, ns, resource, name, subresource, path);
    }
}
