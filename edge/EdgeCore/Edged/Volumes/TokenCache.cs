using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.MetaManager;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.Volumes;

/// <summary>What a volume gets for a token projection.</summary>
/// <param name="Token">The token; null when none was ever got.</param>
/// <param name="RefreshAt">When to ask again.</param>
/// <param name="Problem">Why a token that is due could not be had; empty when all is well.</param>
internal sealed record TokenAnswer(string? Token, DateTimeOffset RefreshAt, string Problem);

/// <summary>The tokens of this node's pods: asked from the cloud, kept as local rows (SQLite, mode 0600) so that a restart without the cloud has them, and never logged.</summary>
/// <remarks>Safe for concurrent calls; those for one pod must come one after the other.</remarks>
/// <param name="random">Spreads the refreshes of a node's pods over 10 s, as a kubelet does.</param>
internal sealed class TokenCache(IMetaStore meta, CloudQuery cloud, TimeProvider time, Random random, ILogger log)
{
    private static readonly LocalRows s_rows = new("serviceaccounttoken");
    private const double JitterSecondsMax = 10;

    // A refresh that failed is tried again as often as a kubelet looks at a pod's volumes.
    private static readonly TimeSpan s_retry = TimeSpan.FromMinutes(1);

    // A token that is due as it comes is asked for again after this, not at once.
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(10);

    private readonly Lazy<ConcurrentDictionary<string, Kept>> _kept = new(() => Load(meta));
    private readonly Lock _randomGate = new();

    /// <summary>The token for a <c>serviceAccountToken</c> projection of the pod: the kept one until it is due, else the cloud's. When the cloud gives none, the kept one goes on,
    /// even when it has expired: the pod runs on, and the API will refuse it until a new one comes.</summary>
    public async Task<TokenAnswer> GetAsync(PodDescription pod, JsonObject projection, CancellationToken cancellationToken)
    {
        var key = TokenRules.Key(pod, projection);
        var now = time.GetUtcNow();
        var kept = _kept.Value.GetValueOrDefault(key);
        if (kept is not null && now < kept.RefreshAt)
            return new TokenAnswer(kept.Token.Token, kept.RefreshAt, "");
        var account = TokenRules.Account(pod);
        var reply = await cloud.AskAsync($"{pod.Namespace}/{Protocol.Messages.ResourceTypes.ServiceAccountToken}/{account}", TokenRules.Request(pod, projection), cancellationToken);
        if (reply.Object is { } answer && TokenRules.Read(answer) is { } token)
        {
            kept = Keep(token);
            _kept.Value[key] = kept;
            await StoreAsync(pod, key, token, cancellationToken);
            return new TokenAnswer(token.Token, kept.RefreshAt, "");
        }

        var problem = reply.Problem.Length > 0 ? reply.Problem : "the cloud's answer carries no token";
        var again = time.GetUtcNow() + s_retry;
        if (kept is null)
            return new TokenAnswer(null, again, $"failed to fetch token: {problem}");
        EdgedLog.TokenNotRenewed(log, account, $"{pod.Namespace}/{pod.Name}", kept.Token.Expires, problem);
        return new TokenAnswer(kept.Token.Token, again, now < kept.Token.Expires ? "" : $"token expired and refresh failed: {problem}");
    }

    /// <summary>The pod is gone: its tokens go too.</summary>
    /// <exception cref="StoreException">A row could not be removed; <see cref="ForgetOthersAsync"/> does it at the next start.</exception>
    public async Task ForgetAsync(string uid, CancellationToken cancellationToken)
    {
        foreach (var key in _kept.Value.Keys.Where(key => key.StartsWith(uid + "/", StringComparison.Ordinal)).ToList())
        {
            await s_rows.DeleteAsync(meta, key, cancellationToken);
            _kept.Value.TryRemove(key, out _);
        }
    }

    /// <summary>Removes the tokens of pods that are not among these.</summary>
    /// <exception cref="StoreException">A row could not be removed.</exception>
    public async Task ForgetOthersAsync(IReadOnlySet<string> uids, CancellationToken cancellationToken)
    {
        foreach (var uid in _kept.Value.Keys.Select(key => key.Split('/')[0]).Where(uid => !uids.Contains(uid)).Distinct().ToList())
            await ForgetAsync(uid, cancellationToken);
    }

    private Kept Keep(AccountToken token)
    {
        DateTimeOffset due;
        lock (_randomGate)
            due = TokenRules.RefreshAt(token, TimeSpan.FromSeconds(random.NextDouble() * JitterSecondsMax));
        // Where this node's clock is ahead, each is.
        var soonest = time.GetUtcNow() + s_again;
        return new Kept(token, due > soonest ? due : soonest);
    }

    private async Task StoreAsync(PodDescription pod, string key, AccountToken token, CancellationToken cancellationToken)
    {
        try
        {
            await s_rows.PutAsync(meta, key, TokenRules.Row(token), cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            EdgedLog.NotKept(log, "a token", $"{pod.Namespace}/{pod.Name}", e.Message); // in memory it serves until the next start
        }
    }

    private static ConcurrentDictionary<string, Kept> Load(IMetaStore meta)
    {
        var rows = new ConcurrentDictionary<string, Kept>(StringComparer.Ordinal);
        foreach (var (key, row) in s_rows.Load(meta))
        {
            if (TokenRules.Read(row) is { } token)
                rows[key] = new Kept(token, TokenRules.RefreshAt(token, TimeSpan.Zero));
        }

        return rows;
    }

    private sealed record Kept(AccountToken Token, DateTimeOffset RefreshAt);
}
