using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.Kubernetes.Selectors;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>What a request asks for in the terms of roles, and the refusal where they do not allow it.</summary>
internal static class RequestAccess
{
    /// <param name="path">Null for a path that names no resource.</param>
    public static AccessRequest Of(UserIdentity user, HttpRequest request, RequestPath? path)
    {
        if (path is null)
            return new AccessRequest(user, request.Method.ToLowerInvariant()) { Path = request.Path.Value! };
        var verb = Verb(request, path);
        // A namespace is in itself, as in Kubernetes: a RoleBinding in it reaches it.
        var ns = path is { Group: "", Plural: "namespaces" } ? path.Name : path.Namespace;
        var (name, node) = (path.Name, "");
        if (name.Length == 0 && verb is "list" or "watch" && request.Query["fieldSelector"].ToString() is { Length: > 0 } text && TryParse(text) is { } fields)
            (name, node) = (fields.Exact("metadata.name") ?? "", fields.Exact("spec.nodeName") ?? "");
        return new AccessRequest(user, verb) { Group = path.Group, Resource = path.Plural, Subresource = path.Subresource, Namespace = ns, Name = name, NodeSelected = node };
    }

    /// <exception cref="ApiException">403.</exception>
    public static void Require(Authorizer authorizer, in AccessRequest request)
    {
        var decision = authorizer.Decide(request);
        if (!decision.IsAllowed)
            throw Refused(request, decision.Reason);
    }

    public static ApiException Refused(in AccessRequest request, string reason)
    {
        var details = new JsonObject();
        if (request.Name.Length > 0)
            details["name"] = request.Name;
        if (request.Group.Length > 0)
            details["group"] = request.Group;
        if (request.Resource.Length > 0)
            details["kind"] = request.Resource;
        return new ApiException(403, "Forbidden", request.Refusal(reason), details);
    }

    public static string Verb(HttpRequest request, RequestPath path)
    {
        var isCollection = path.Name.Length == 0;
        return request.Method switch
        {
            "GET" or "HEAD" when isCollection => request.Query["watch"].ToString() is "true" or "1" or "True" ? "watch" : "list",
            "GET" or "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => isCollection ? "deletecollection" : "delete",
            var other => other.ToLowerInvariant(),
        };
    }

    /// <summary>A selector that cannot be read is refused later, with its own message.</summary>
    private static FieldSelector? TryParse(string text)
    {
        try
        {
            return FieldSelector.Parse(text);
        }
        catch (SelectorException)
        {
            return null;
        }
    }
}
