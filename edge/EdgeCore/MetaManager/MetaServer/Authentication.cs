using System.Security.Cryptography;
using System.Text;
using Edge.Core.Configuration;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Who asks.</summary>
/// <param name="Account">Null for the node's administrator.</param>
/// <param name="Token">The token to ask the cloud with; empty for the administrator, whose token is this node's own.</param>
internal sealed record Caller(AccountClaims? Account, string Token)
{
    public string Name => Account?.User ?? "the node's administrator";
}

/// <summary>Finds out who asks: a ServiceAccount by its token, whoever has the local API's token, or, by plain HTTP where that is served, anybody on the machine. Works without the cloud.</summary>
internal sealed class Authentication(MetaServerOptions options, IMetaStore meta, Func<string?> adminToken, Func<bool> isConnected, TimeProvider time)
{
    private static readonly LocalRows s_tokens = new("serviceaccounttoken");
    private readonly IReadOnlyList<string> _audiences = options.ApiAudiences.Count > 0 ? options.ApiAudiences : options.ServiceAccountIssuers;
    private volatile TokenKeys _keys = TokenKeys.None;

    /// <summary>The issuer's keys; set whole when others are known.</summary>
    public TokenKeys Keys
    {
        get => _keys;
        set => _keys = value;
    }

    /// <param name="isHttps">False for a request by plain HTTP, which may come without a token.</param>
    /// <exception cref="MetaServerException">401.</exception>
    public Caller Identify(string? authorization, bool isHttps)
    {
        const string scheme = "Bearer ";
        if (authorization is null && !isHttps)
            return OfHttp();
        if (authorization is null || !authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase))
            throw Refused("send 'Authorization: Bearer TOKEN' with the token of a ServiceAccount, or the node's own (localapi.token beside the database)");
        var token = authorization[scheme.Length..].Trim();
        if (adminToken() is { Length: > 0 } own && CryptographicOperations.FixedTimeEquals(Hash(own), Hash(token)))
            return new Caller(null, "");
        return Accept(token, IsKnown(token), out var problem) ?? throw Refused(problem);
    }

    // Null, with the reason, for a token that is not good here and now.
    private Caller? Accept(string token, bool isKnown, out string problem)
    {
        var check = AccountToken.Check(token, _keys, isKnown, options.ServiceAccountIssuers, _audiences, time.GetUtcNow());
        problem = check.Problem;
        if (check.Claims is not { } claims || !check.IsSigned)
            return null;
        if (claims.PodUid.Length > 0)
        {
            var pod = meta.Get(ResourceTypes.Pod, claims.Namespace, claims.PodName);
            if (pod is null || pod.Uid != claims.PodUid)
            {
                problem = $"the token is bound to pod {claims.Namespace}/{claims.PodName} with uid {claims.PodUid}, which is not on this node";
                return null;
            }
        }

        // A pod cannot have a new token while the cloud is away, and goes on with the one it has.
        return problem.Length == 0 || (isKnown && claims.Expires < time.GetUtcNow() && !isConnected()) ? new Caller(claims, token) : null;
    }

    // The account's rights are had by its token, which the cloud gave this node for a pod of it; without such a pod there is nobody to ask as.
    private Caller OfHttp()
    {
        Caller? newest = null;
        foreach (var row in s_tokens.Load(meta).Values)
        {
            if (Accept(row.Text("status", "token"), true, out _) is { Account: { } account } one && $"{account.Namespace}/{account.Account}" == options.HttpServiceAccount
                && (newest is null || newest.Account!.Expires < account.Expires))
                newest = one;
        }

        return newest ?? throw Refused($"by plain HTTP you ask as ServiceAccount {options.HttpServiceAccount} (modules.metaManager.metaServer.httpServiceAccount), and no pod of it with a token for the API is on this node; "
            + "or ask by HTTPS with a token of your own");
    }

    // The tokens that the cloud gave this node for its pods.
    private bool IsKnown(string token)
    {
        var hash = Hash(token);
        var found = false;
        foreach (var row in s_tokens.Load(meta).Values)
            found |= CryptographicOperations.FixedTimeEquals(hash, Hash(row.Text("status", "token")));
        return found;
    }

    private static MetaServerException Refused(string why) => new(401, "Unauthorized", $"Unauthorized: {why}");

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
