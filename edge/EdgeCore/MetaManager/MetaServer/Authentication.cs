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

/// <summary>Finds out who asks: a ServiceAccount by its token, or whoever has the local API's token. Works without the cloud.</summary>
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

    /// <exception cref="MetaServerException">401.</exception>
    public Caller Identify(string? authorization)
    {
        const string scheme = "Bearer ";
        if (authorization is null || !authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase))
            throw Refused("send 'Authorization: Bearer TOKEN' with the token of a ServiceAccount, or the node's own (localapi.token beside the database)");
        var token = authorization[scheme.Length..].Trim();
        if (adminToken() is { Length: > 0 } own && CryptographicOperations.FixedTimeEquals(Hash(own), Hash(token)))
            return new Caller(null, "");
        var isKnown = IsKnown(token);
        var check = AccountToken.Check(token, _keys, isKnown, options.ServiceAccountIssuers, _audiences, time.GetUtcNow());
        if (check.Claims is not { } claims || !check.IsSigned)
            throw Refused(check.Problem);
        if (claims.PodUid.Length > 0)
        {
            var pod = meta.Get(ResourceTypes.Pod, claims.Namespace, claims.PodName);
            if (pod is null || pod.Uid != claims.PodUid)
                throw Refused($"the token is bound to pod {claims.Namespace}/{claims.PodName} with uid {claims.PodUid}, which is not on this node");
        }

        // A pod cannot have a new token while the cloud is away, and goes on with the one it has.
        if (check.Problem.Length > 0 && !(isKnown && claims.Expires < time.GetUtcNow() && !isConnected()))
            throw Refused(check.Problem);
        return new Caller(claims, token);
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
