using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Auth;

/// <summary>Finds who asks: a client certificate of the own CA (CN is the user, O the groups), the administrator's token, or a service account's token.</summary>
internal sealed class Authenticator(ServerPki pki, string adminToken, ServiceAccountTokens tokens, ObjectStore store, TimeProvider time)
{
    private readonly ConditionalWeakTable<X509Certificate2, StrongBox<UserIdentity?>> _judged = [];
    private readonly byte[] _adminToken = Encoding.UTF8.GetBytes(adminToken);

    private static readonly UserIdentity s_admin = new("admin", [UserIdentity.Masters, UserIdentity.Authenticated]);

    /// <summary>Null when nothing valid was presented.</summary>
    public UserIdentity? Identify(HttpContext context)
    {
        if (context.Connection.ClientCertificate is { } certificate && ByCertificate(certificate) is { } user)
            return user;
        var header = context.Request.Headers.Authorization.ToString();
        return header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? Judge(header[7..].Trim(), [])?.User : null;
    }

    private UserIdentity? ByCertificate(X509Certificate2 certificate)
    {
        // One handshake, one judgement: the chain is built once a connection, whose requests all carry the same certificate instance.
        var judged = _judged.GetValue(certificate, c => new StrongBox<UserIdentity?>(Judge(c)));
        return certificate.NotAfter.ToUniversalTime() > time.GetUtcNow().UtcDateTime ? judged.Value : null;
    }

    private UserIdentity? Judge(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(pki.Authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck; // the CA issues no revocation lists
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.2")); // client authentication
        chain.ChainPolicy.VerificationTime = time.GetUtcNow().LocalDateTime;
        if (!chain.Build(certificate))
            return null;
        var (name, groups) = ("", new List<string>());
        foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames().Where(part => !part.HasMultipleElements))
        {
            switch (part.GetSingleElementType().Value)
            {
                case "2.5.4.3":
                    name = part.GetSingleElementValue() ?? "";
                    break;
                case "2.5.4.10":
                    groups.Add(part.GetSingleElementValue() ?? "");
                    break;
            }
        }

        return name.Length == 0 ? null : new UserIdentity(name, [.. groups, UserIdentity.Authenticated]);
    }

    /// <summary>Whose token it is, and for which of the audiences; null when it is none of this server's, or what it is bound to is gone.</summary>
    /// <param name="audiences">Empty for this server itself.</param>
    public (UserIdentity User, IReadOnlyList<string> Audiences)? Judge(string token, IReadOnlyList<string> audiences)
    {
        if (audiences.Count == 0)
            audiences = [ServiceAccountTokens.Issuer];
        if (CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(token), _adminToken))
            return audiences.Contains(ServiceAccountTokens.Issuer) ? (s_admin, [ServiceAccountTokens.Issuer]) : null;
        if (tokens.Check(token, audiences) is not { } claims)
            return null;
        var own = claims["kubernetes.io"];
        var (ns, name) = (own.Text("namespace"), own.Text("serviceaccount", "name"));
        var account = store.Get(BuiltinResources.ServiceAccounts.Id, ns, name);
        if (account is null || account.Uid != own.Text("serviceaccount", "uid"))
            return null; // deleted, or deleted and made anew
        var extra = new Dictionary<string, IReadOnlyList<string>> { ["authentication.kubernetes.io/credential-id"] = ["JTI=" + claims.Text("jti")] };
        foreach (var (kind, plural) in (ReadOnlySpan<(string, string)>)[("pod", "pods"), ("secret", "secrets"), ("node", "nodes")])
        {
            if (own.At(kind) is not { } bound)
                continue;
            if (store.Get(new ResourceId("", plural), kind == "node" ? "" : ns, bound.Text("name")) is not { } there || there.Uid != bound.Text("uid"))
                return null;
            if (kind == "secret")
                continue;
            extra[$"authentication.kubernetes.io/{kind}-name"] = [there.Name];
            extra[$"authentication.kubernetes.io/{kind}-uid"] = [there.Uid];
        }

        return (UserIdentity.ServiceAccount(ns, name) with { Uid = account.Uid, Extra = extra }, [.. claims.Texts("aud").Intersect(audiences)]);
    }
}
