using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>The API's word on what somebody may.</summary>
/// <param name="At">When it was said.</param>
internal sealed record AccessAnswer(bool IsAllowed, string Reason, DateTimeOffset At);

/// <summary>How old an answer may be. Pure.</summary>
internal static class AccessRules
{
    // As a kubelet's webhook keeps them (authorization.webhook.cacheAuthorizedTTL, cacheUnauthorizedTTL).
    public static readonly TimeSpan AllowedFor = TimeSpan.FromMinutes(5);
    public static readonly TimeSpan DeniedFor = TimeSpan.FromSeconds(30);

    /// <summary>Whether the answer needs not be asked for again.</summary>
    public static bool IsFresh(AccessAnswer answer, DateTimeOffset now)
        => now - answer.At is var age && age >= TimeSpan.Zero && age < (answer.IsAllowed ? AllowedFor : DeniedFor);

    /// <summary>Under which an answer is kept: who, what, where.</summary>
    public static string Key(string user, KubeRequest request)
        => request.IsResource
            ? string.Join('|', user, request.Verb, request.Group, Resource(request), request.Namespace, request.Name)
            : string.Join('|', user, request.Verb, request.Path);

    /// <summary>The question (authorization.k8s.io/v1 SubjectAccessReview).</summary>
    public static JsonObject Review(string user, IEnumerable<string> groups, KubeRequest request)
    {
        var spec = new JsonObject { ["user"] = user, ["groups"] = new JsonArray([.. groups.Select(one => (JsonNode)one)]) };
        if (!request.IsResource)
        {
            spec["nonResourceAttributes"] = new JsonObject { ["path"] = request.Path, ["verb"] = request.Verb };
        }
        else
        {
            var attributes = new JsonObject { ["verb"] = request.Verb, ["group"] = request.Group, ["version"] = request.Version, ["resource"] = request.Resource };
            foreach (var (key, value) in (ReadOnlySpan<(string, string)>)[("subresource", request.Subresource), ("namespace", request.Namespace), ("name", request.Name)])
            {
                if (value.Length > 0)
                    attributes[key] = value;
            }

            spec["resourceAttributes"] = attributes;
        }

        return new JsonObject { ["kind"] = "SubjectAccessReview", ["apiVersion"] = "authorization.k8s.io/v1", ["spec"] = spec };
    }

    /// <summary>The sentence of a refusal, in Kubernetes' words.</summary>
    public static string Denied(string user, KubeRequest request, string reason)
    {
        if (!request.IsResource)
            return $"forbidden: User \"{user}\" cannot {request.Verb} path \"{request.Path}\"{(reason.Length > 0 ? $": {reason}" : "")}";
        var subject = request.Name.Length > 0 ? $" \"{request.Name}\"" : "";
        var where = request.Namespace.Length == 0 ? "at the cluster scope" : $"in the namespace \"{request.Namespace}\"";
        return $"{request.Qualified}{subject} is forbidden: User \"{user}\" cannot {request.Verb} resource \"{Resource(request)}\" in API group \"{request.Group}\" {where}{(reason.Length > 0 ? $": {reason}" : "")}";
    }

    private static string Resource(KubeRequest request) => request.Subresource.Length == 0 ? request.Resource : $"{request.Resource}/{request.Subresource}";
}

/// <summary>Asks the API through cloudcore what a ServiceAccount may, and keeps the answers in the store for when the cloud is away.</summary>
/// <remarks>Safe for concurrent calls. At most <see cref="AnswersMax"/> answers are kept; the oldest go.</remarks>
internal sealed class AccessReviews(IMetaStore meta, CloudGate gate, TimeProvider time)
{
    public const int AnswersMax = 4096;
    private static readonly KubeRequest s_review = KubeRequest.Read("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", false)!;
    private static readonly LocalRows s_rows = new("metaserver-access");
    private readonly ConcurrentDictionary<string, AccessAnswer> _answers = Load(meta);

    public int Count => _answers.Count;

    /// <summary>Returns when the user may.</summary>
    /// <exception cref="MetaServerException">403: he may not, or nobody can say.</exception>
    public async Task RequireAsync(AccountClaims who, KubeRequest request, CancellationToken cancellationToken)
    {
        var key = AccessRules.Key(who.User, request);
        _answers.TryGetValue(key, out var known);
        if (known is null || !AccessRules.IsFresh(known, time.GetUtcNow()))
        {
            try
            {
                known = await AskAsync(who, request, cancellationToken);
                await KeepAsync(key, known, cancellationToken);
            }
            catch (UplinkException e)
            {
                // What was true when the cloud was last heard is true until it is heard again.
                known ??= OfList(who, request);
                if (known is null)
                    throw new MetaServerException(403, "Forbidden", AccessRules.Denied(who.User, request, $"the cloud was never asked about this while it was connected, and cannot be asked now ({e.Message})"));
            }
        }

        if (!known!.IsAllowed)
            throw new MetaServerException(403, "Forbidden", AccessRules.Denied(who.User, request, known.Reason));
    }

    /// <summary>The API itself let the user do this, or refused it, a moment ago.</summary>
    public Task NoteAsync(AccountClaims who, KubeRequest request, bool isAllowed, CancellationToken cancellationToken)
    {
        var key = AccessRules.Key(who.User, request);
        var now = time.GetUtcNow();
        return _answers.TryGetValue(key, out var known) && known.IsAllowed == isAllowed && now - known.At < TimeSpan.FromMinutes(1)
            ? Task.CompletedTask // each answer is a write
            : KeepAsync(key, new AccessAnswer(isAllowed, isAllowed ? "" : "as the API said last", now), cancellationToken);
    }

    /// <summary>Whether the user may, by what is known, without asking.</summary>
    /// <exception cref="MetaServerException">403: he may not, or it is not known.</exception>
    public void RequireKnown(AccountClaims who, KubeRequest request)
    {
        var known = _answers.GetValueOrDefault(AccessRules.Key(who.User, request)) ?? OfList(who, request);
        if (known is null)
            throw new MetaServerException(403, "Forbidden", AccessRules.Denied(who.User, request, "the cloud was never asked about this while it was connected, and is away now"));
        if (!known.IsAllowed)
            throw new MetaServerException(403, "Forbidden", AccessRules.Denied(who.User, request, known.Reason));
    }

    // Who may list objects may see each of them, and without the cloud a watch shows what a list does.
    private AccessAnswer? OfList(AccountClaims who, KubeRequest request)
        => request is { Verb: "get" or "watch", Subresource.Length: 0, IsResource: true } ? _answers.GetValueOrDefault(AccessRules.Key(who.User, request with { Verb = "list", Name = "" })) : null;

    private async Task<AccessAnswer> AskAsync(AccountClaims who, KubeRequest request, CancellationToken cancellationToken)
    {
        var body = Encoding.UTF8.GetBytes(AccessRules.Review(who.User, who.Groups, request).ToJsonString());
        var reply = await gate.SendAsync(new CloudRequest(s_review, "POST", s_review.Path, "application/json", "application/json", body, ""), cancellationToken);
        if (!reply.IsGood)
        {
            throw new UplinkException(reply.Code == 404
                ? "the API has no SubjectAccessReview; set modules.metaManager.metaServer.authorization.mode to AlwaysAllow to go without"
                : $"the SubjectAccessReview was answered with {reply.Code}: {JsonReading.Object(reply.Body).Text("message")}");
        }

        var answer = JsonReading.Object(reply.Body) ?? throw new UplinkException("the answer to the SubjectAccessReview is not JSON");
        return new AccessAnswer(answer.Flag(false, "status", "allowed") && !answer.Flag(false, "status", "denied"), answer.Text("status", "reason"), time.GetUtcNow());
    }

    private async Task KeepAsync(string key, AccessAnswer answer, CancellationToken cancellationToken)
    {
        _answers[key] = answer;
        try
        {
            while (_answers.Count > AnswersMax && _answers.MinBy(one => one.Value.At) is var oldest && _answers.TryRemove(oldest.Key, out _))
                await s_rows.DeleteAsync(meta, oldest.Key, cancellationToken);
            var row = new JsonObject { ["allowed"] = answer.IsAllowed, ["reason"] = answer.Reason, ["at"] = answer.At.ToUnixTimeSeconds() };
            await s_rows.PutAsync(meta, key, row, cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // It holds in memory until the next start, and is asked for again then.
        }
    }

    private static ConcurrentDictionary<string, AccessAnswer> Load(IMetaStore meta)
        => new(s_rows.Load(meta).Select(row => KeyValuePair.Create(
            row.Key, new AccessAnswer(row.Value.Flag(false, "allowed"), row.Value.Text("reason"), DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(row.Value.Number(0, "at"), 0, 1L << 36))))), StringComparer.Ordinal);
}
