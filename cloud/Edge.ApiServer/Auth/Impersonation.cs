using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Rest;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Auth;

/// <summary><c>kubectl --as</c>: whoever may <c>impersonate</c> a user, group, uid, extra field or service account acts as that one. Headers and rules as in Kubernetes'
/// "User impersonation".</summary>
internal static class Impersonation
{
    private const string User = "Impersonate-User";
    private const string GroupHeader = "Impersonate-Group";
    private const string UidHeader = "Impersonate-Uid";
    private const string ExtraPrefix = "Impersonate-Extra-";
    private const string AuthenticationGroup = "authentication.k8s.io";

    /// <summary>The one who acts: the caller, or the one that the headers name.</summary>
    /// <exception cref="ApiException">403 where the caller may not, 400 for headers without a user.</exception>
    public static UserIdentity Resolve(HttpRequest request, UserIdentity caller, Authorizer authorizer)
    {
        var headers = request.Headers;
        var name = headers[User].ToString();
        var groups = headers[GroupHeader].OfType<string>().ToList();
        var uid = headers[UidHeader].ToString();
        var extra = headers.Where(header => header.Key.StartsWith(ExtraPrefix, StringComparison.OrdinalIgnoreCase))
            .ToDictionary(header => Uri.UnescapeDataString(header.Key[ExtraPrefix.Length..].ToLowerInvariant()), header => (IReadOnlyList<string>)[.. header.Value.OfType<string>()]);
        if (name.Length == 0)
        {
            return groups.Count == 0 && uid.Length == 0 && extra.Count == 0
                ? caller
                : throw ApiException.BadRequest($"requested groups {string.Join(", ", groups)} without impersonating a user: the header {User} is missing");
        }

        var account = name.StartsWith(UserIdentity.ServiceAccountPrefix, StringComparison.Ordinal) ? name[UserIdentity.ServiceAccountPrefix.Length..].Split(':') : null;
        if (account is [{ Length: > 0 } ns, { Length: > 0 } of])
        {
            Require(new AccessRequest(caller, "impersonate") { Resource = "serviceaccounts", Namespace = ns, Name = of });
            if (groups.Count == 0)
                groups.AddRange(UserIdentity.ServiceAccount(ns, of).Groups);
        }
        else
        {
            Require(new AccessRequest(caller, "impersonate") { Resource = "users", Name = name });
        }

        foreach (var group in headers[GroupHeader].OfType<string>())
            Require(new AccessRequest(caller, "impersonate") { Resource = "groups", Name = group });
        if (uid.Length > 0)
            Require(new AccessRequest(caller, "impersonate") { Group = AuthenticationGroup, Resource = "uids", Name = uid });
        foreach (var (key, values) in extra)
        {
            foreach (var value in values)
                Require(new AccessRequest(caller, "impersonate") { Group = AuthenticationGroup, Resource = "userextras", Subresource = key, Name = value });
        }

        if (!groups.Contains(UserIdentity.Authenticated) && name != "system:anonymous")
            groups.Add(UserIdentity.Authenticated);
        return new UserIdentity(name, groups) { Uid = uid, Extra = extra };

        void Require(AccessRequest needed) => RequestAccess.Require(authorizer, needed);
    }

    /// <summary>Whether the request wants it at all; most do not, and cost nothing more.</summary>
    public static bool IsAsked(HttpRequest request)
    {
        foreach (var header in request.Headers)
        {
            if (header.Key.StartsWith("Impersonate-", StringComparison.OrdinalIgnoreCase))
                return true;
        }

        return false;
    }
}
