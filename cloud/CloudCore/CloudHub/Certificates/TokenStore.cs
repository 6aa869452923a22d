using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>What is known of a join token that has an id; its text is not kept anywhere.</summary>
/// <param name="Node">The only node that may enrol with it; empty for any.</param>
/// <param name="Authority">The id of the CA that signed it.</param>
internal sealed record TokenRecord(string Id, string Node, DateTimeOffset Expires, string Description, string Authority);

/// <summary>Join tokens with an id, one Secret each in namespace <c>kubeedge</c>: the Secret is what makes the token good, and its deletion
/// revokes it.</summary>
internal sealed class TokenStore(IKubeClient kube, TimeProvider time)
{
    public const string Label = "kubeedge.io/join-token";
    public const int DescriptionMax = 256;

    private const string Prefix = "join-token-";
    private const string SecretType = "kubeedge.io/join-token";
    private const string IdLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
    private const int IdLength = 10;

    /// <summary>Makes a token and its Secret; returns both. The text is the caller's only chance to have it.</summary>
    public async Task<(string Token, TokenRecord Record)> CreateAsync(
        AuthoritySet authorities, string node, TimeSpan lifetime, string description, CancellationToken cancellationToken)
    {
        var active = authorities.Active;
        // Whole seconds, as the token's own claim has them.
        var expires = DateTimeOffset.FromUnixTimeSeconds((time.GetUtcNow() + lifetime).ToUnixTimeSeconds());
        var record = new TokenRecord(RandomNumberGenerator.GetString(IdLetters, IdLength), node, expires, description, JoinToken.AuthorityId(active.CertificateDer));
        var secret = CertificateStore.SecretOf(Prefix + record.Id, new()
        {
            ["id"] = Encoding.UTF8.GetBytes(record.Id),
            ["node"] = Encoding.UTF8.GetBytes(record.Node),
            ["expires"] = Encoding.UTF8.GetBytes(KubeObject.Time(record.Expires)),
            ["description"] = Encoding.UTF8.GetBytes(record.Description),
            ["ca"] = Encoding.UTF8.GetBytes(record.Authority),
        });
        secret["type"] = SecretType;
        secret.Child("metadata").Child("labels")[Label] = "true";
        await CertificateStore.EnsureNamespaceAsync(kube, CertificateStore.Namespace, cancellationToken);
        await kube.CreateAsync(ResourceKind.Secret, CertificateStore.Namespace, secret, cancellationToken);
        return (JoinToken.Create(active.CertificateDer, active.KeyDer, new TokenClaims(expires, record.Id, node)), record);
    }

    /// <summary>The tokens that are still good, by id; the Secrets of those that have expired are removed on the way.</summary>
    public async Task<IReadOnlyList<TokenRecord>> ListAsync(CancellationToken cancellationToken)
    {
        var (live, _) = await SweepAsync(cancellationToken);
        return live;
    }

    /// <summary>Removes the Secrets of expired tokens; returns how many.</summary>
    public async Task<int> RemoveExpiredAsync(CancellationToken cancellationToken)
    {
        var (_, removed) = await SweepAsync(cancellationToken);
        return removed;
    }

    /// <summary>Revokes a token; false when there is none of that id.</summary>
    public async Task<bool> RevokeAsync(string id, CancellationToken cancellationToken)
    {
        if (!IsId(id))
            return false;
        try
        {
            await kube.DeleteAsync(ResourceKind.Secret, CertificateStore.Namespace, Prefix + id, null, cancellationToken);
            return true;
        }
        catch (KubeException e) when (e.Code == 404)
        {
            return false;
        }
    }

    /// <summary>Whether the token of this id has not been revoked. Asks the API, so that a revocation holds at once.</summary>
    public async Task<bool> ExistsAsync(string id, CancellationToken cancellationToken)
        => IsId(id) && (await kube.TryGetAsync(ResourceKind.Secret, CertificateStore.Namespace, Prefix + id, cancellationToken))?.Label(Label) is not null;

    // Whatever comes from a token or a command line becomes part of a name.
    private static bool IsId(string id) => id.Length == IdLength && id.All(IdLetters.Contains);

    private async Task<(List<TokenRecord> Live, int Removed)> SweepAsync(CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var live = new List<TokenRecord>();
        var removed = 0;
        foreach (var secret in (await kube.ListAsync(ResourceKind.Secret, CertificateStore.Namespace, new ListOptions(LabelSelector: Label), cancellationToken)).Items)
        {
            if (TryRead(secret) is not { } record)
                continue;
            if (record.Expires > now)
            {
                live.Add(record);
                continue;
            }

            try
            {
                var same = new JsonObject
                {
                    ["apiVersion"] = "v1",
                    ["kind"] = "DeleteOptions",
                    ["preconditions"] = new JsonObject { ["uid"] = secret.Uid() },
                };
                await kube.DeleteAsync(ResourceKind.Secret, CertificateStore.Namespace, secret.Name(), same, cancellationToken);
                removed++;
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                // Another one cleans up too.
            }
        }

        live.Sort((a, b) => string.CompareOrdinal(a.Id, b.Id));
        return (live, removed);
    }

    // Null for a Secret that somebody else made with our label: it is left alone.
    private static TokenRecord? TryRead(JsonObject secret)
    {
        var data = CertificateStore.DataOf(secret);
        string Text(string key) => data.TryGetValue(key, out var bytes) ? Encoding.UTF8.GetString(bytes) : "";
        return secret.Name() == Prefix + Text("id") && IsId(Text("id"))
            && DateTimeOffset.TryParse(Text("expires"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var expires)
            ? new TokenRecord(Text("id"), Text("node"), expires, Text("description"), Text("ca")) : null;
    }
}
