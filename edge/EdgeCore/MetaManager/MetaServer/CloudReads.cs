using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Reads of what the node does not hold: from the API through cloudcore while that is connected, else as they were read before.</summary>
internal sealed class CloudReads(CloudGate gate, AnswerCache cache, IUplink uplink, string node, TimeProvider time, Random random)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_keepPeriod = TimeSpan.FromSeconds(2);

    /// <summary>The answer; from the cache where the cloud does not answer.</summary>
    /// <param name="answered">Told what the API said itself.</param>
    /// <param name="fromCache">Called before an answer of before is given; throws where the user may not have it.</param>
    /// <exception cref="MetaServerException">503, neither has it.</exception>
    public async Task AnswerAsync(HttpContext context, CloudRequest request, Func<CloudReply, Task> answered, Action fromCache)
    {
        var key = CacheKey(request);
        try
        {
            var reply = await gate.SendAsync(request, context.RequestAborted);
            await answered(reply);
            if (reply.IsGood && key is not null && reply.ContentType.Contains("json", StringComparison.Ordinal) && !IsPage(reply))
                await cache.PutAsync(key, new CachedAnswer(reply.ContentType, reply.Body.ToArray(), time.GetUtcNow()), context.RequestAborted);
            context.Response.Headers[KubeResponse.SourceHeader] = "cloud";
            await KubeResponse.WriteAsync(context, reply.Code, reply.Body, reply.ContentType);
        }
        catch (UplinkException e)
        {
            if ((key is null ? null : cache.Get(key) ?? OfList(request)) is not { } before)
                throw MetaServerException.Offline(request.Request, e.Message);
            fromCache();
            context.Response.Headers[KubeResponse.SourceHeader] = "cache";
            KubeResponse.Warn(context, before.At, node);
            await KubeResponse.WriteAsync(context, 200, before.Body, before.ContentType);
        }
    }

    /// <summary>Watches through the cloud. Where the link goes, the watch stays open and goes on from where it was once the link is back; without the cloud it begins with what was read
    /// before.</summary>
    /// <param name="answered">Told once whether the API let the watch begin, where it said so.</param>
    /// <param name="fromCache">As of <see cref="AnswerAsync"/>.</param>
    public async Task WatchAsync(HttpContext context, CloudRequest request, Func<CloudReply, Task> answered, Action fromCache, CancellationToken stopping)
    {
        var wantsBookmarks = KubeResponse.Flag(context.Request, "allowWatchBookmarks");
        var version = context.Request.Query["resourceVersion"].ToString();
        var isNew = version is "" or "0" || KubeResponse.Flag(context.Request, "sendInitialEvents");
        if (long.TryParse(version, out var number) && HeldObjects.IsLocal(number))
            throw MetaServerException.Expired($"the resourceVersion {version} is of objects that node {node} holds, not of {request.Request.Qualified}");
        var lines = new WatchLines(context);
        var key = CacheKey(request);
        var known = isNew ? FollowedList.Empty() : (key is null || cache.Get(key) is not { } before ? null : FollowedList.Read(before.Body));
        using var deadline = new CancellationTokenSource(KubeResponse.WatchTime(context.Request, random), time);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted, stopping);
        var state = new WatchState(version, known, key);
        var isTold = false;
        try
        {
            while (true)
            {
                var (reply, watch) = await TryBeginAsync(request, state, isNew, ended.Token);
                if (reply is not null && !isTold)
                {
                    isTold = true;
                    await answered(reply);
                }

                if (reply is null)
                {
                    if (!context.Response.HasStarted)
                    {
                        await BeginOfflineAsync(context, request, lines, state, isNew, fromCache, ended.Token);
                        isNew = false;
                    }

                    await Task.Delay(s_retry, time, ended.Token);
                    continue;
                }

                if (watch is null)
                {
                    if (!context.Response.HasStarted)
                    {
                        context.Response.Headers[KubeResponse.SourceHeader] = "cloud";
                        await KubeResponse.WriteAsync(context, reply.Code, reply.Body, reply.ContentType);
                        return;
                    }

                    await lines.WriteAsync("ERROR", JsonReading.Object(reply.Body) ?? new MetaServerException(reply.Code, "InternalError", "the API refused the watch").ToStatus(), ended.Token);
                    return;
                }

                await using (watch)
                {
                    if (!context.Response.HasStarted)
                    {
                        context.Response.Headers[KubeResponse.SourceHeader] = "cloud";
                        await lines.BeginAsync();
                    }

                    isNew = false;
                    if (await PassAsync(watch, lines, state, wantsBookmarks, ended.Token))
                        return;
                }
            }
        }
        catch (OperationCanceledException) when (ended.IsCancellationRequested)
        {
            // Each ends a watch in order.
        }
        finally
        {
            await KeepAsync(state);
        }
    }

    // Null when the cloud does not answer.
    private async Task<(CloudReply? Reply, CloudWatch? Watch)> TryBeginAsync(CloudRequest request, WatchState state, bool isNew, CancellationToken cancellationToken)
    {
        try
        {
            var (reply, watch) = await gate.WatchAsync(request with { Target = Target(request.Target, state.Version, isNew) }, cancellationToken);
            return (reply, watch);
        }
        catch (UplinkException)
        {
            return (null, null);
        }
    }

    private async Task BeginOfflineAsync(HttpContext context, CloudRequest request, WatchLines lines, WatchState state, bool isNew, Action fromCache, CancellationToken cancellationToken)
    {
        var before = state.Key is null ? null : cache.Get(state.Key);
        var list = before is null ? null : FollowedList.Read(before.Body);
        if (isNew && list is null)
            throw MetaServerException.Offline(request.Request, uplink.IsConnected ? "it passes no watches on" : "not connected to the cloud");
        fromCache();
        context.Response.Headers[KubeResponse.SourceHeader] = "cache";
        KubeResponse.Warn(context, before?.At, node);
        await lines.BeginAsync();
        if (isNew && list is not null)
        {
            foreach (var item in list.Items)
                await lines.WriteAsync("ADDED", item, cancellationToken);
            (state.Version, state.List) = (list.Version, list);
            if (KubeResponse.Flag(context.Request, "sendInitialEvents"))
            {
                var metadata = new JsonObject { ["resourceVersion"] = list.Version, ["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" } };
                await lines.WriteAsync("BOOKMARK", new JsonObject { ["kind"] = "List", ["apiVersion"] = "v1", ["metadata"] = metadata }, cancellationToken);
            }
        }

        await lines.FlushAsync(cancellationToken);
    }

    // True when the watch is over for its client as well.
    private async Task<bool> PassAsync(CloudWatch watch, WatchLines lines, WatchState state, bool wantsBookmarks, CancellationToken cancellationToken)
    {
        while (await ReadAsync(watch, state, cancellationToken) is { } part)
        {
            var rest = part;
            while (!rest.IsEmpty)
            {
                var end = rest.Span.IndexOf((byte)'\n');
                var line = end < 0 ? rest : rest[..(end + 1)];
                rest = rest[line.Length..];
                if (JsonReading.Object(line) is not { } change || change["object"] is not JsonObject obj)
                    continue;
                var type = change.Text("type");
                if (type == "ERROR")
                {
                    await lines.WriteAsync(line, cancellationToken);
                    await lines.FlushAsync(cancellationToken);
                    state.List = null; // nobody knows what is missing
                    return true;
                }

                if (obj.ResourceVersion() is { Length: > 0 } version)
                    state.Version = version;
                if (state.List?.Apply(type, obj) == true)
                    state.IsChanged = true;
                // Bookmarks are always asked for, since the watch goes on from them; the end of the initial events is always wanted.
                if (type != "BOOKMARK" || wantsBookmarks || obj.Annotation("k8s.io/initial-events-end") is not null)
                    await lines.WriteAsync(line, cancellationToken);
            }

            await lines.FlushAsync(cancellationToken);
            if (time.GetElapsedTime(state.KeptAt) >= s_keepPeriod)
                await KeepAsync(state);
        }

        // The link is gone, and others ask the cache now.
        await KeepAsync(state);
        return false;
    }

    // The next part; what a quiet watch brought last is kept meanwhile.
    private async Task<ReadOnlyMemory<byte>?> ReadAsync(CloudWatch watch, WatchState state, CancellationToken cancellationToken)
    {
        var reading = watch.ReadAsync(cancellationToken).AsTask();
        if (state.IsChanged && await Task.WhenAny(reading, Task.Delay(s_keepPeriod, time, cancellationToken)) != reading)
            await KeepAsync(state);
        return await reading;
    }

    private async Task KeepAsync(WatchState state)
    {
        if (!state.IsChanged || state.List is not { } list || state.Key is not { } key)
            return;
        (state.IsChanged, state.KeptAt) = (false, time.GetTimestamp());
        await cache.PutAsync(key, new CachedAnswer("application/json", list.Write(), time.GetUtcNow()), CancellationToken.None);
    }

    // Of a get: the object in a list of its collection.
    private CachedAnswer? OfList(CloudRequest request)
    {
        var kube = request.Request;
        if (kube.Verb != "get" || kube.Name.Length == 0 || kube.Subresource.Length > 0)
            return null;
        var collection = request.Target.Split('?')[0];
        collection = collection[..collection.LastIndexOf('/')];
        var root = kube.Group.Length == 0 ? $"/api/{kube.Version}" : $"/apis/{kube.Group}/{kube.Version}";
        foreach (var path in (ReadOnlySpan<string>)[collection, $"{root}/{kube.Resource}"])
        {
            if (AnswerCache.KeyOf(path, "application/json") is { } key && cache.Get(key) is { } list && FollowedList.Read(list.Body)?.Find(kube.Namespace, kube.Name) is { } found)
                return list with { Body = JsonReading.Bytes(found) };
        }

        return null;
    }

    // One that the client reads in pages has more than this.
    private static bool IsPage(CloudReply reply) => reply.Body.Span.IndexOf("\"continue\":\""u8) >= 0 && JsonReading.Object(reply.Body).Text("metadata", "continue").Length > 0;

    private static string? CacheKey(CloudRequest request) => request.Request.IsRead ? AnswerCache.KeyOf(request.Target, request.Accept) : null;

    // As the client asked, from where it is now, with bookmarks.
    private static string Target(string target, string version, bool isNew)
    {
        var at = target.IndexOf('?', StringComparison.Ordinal);
        var pairs = (at < 0 ? [] : target[(at + 1)..].Split('&', StringSplitOptions.RemoveEmptyEntries)).ToList();
        pairs.RemoveAll(pair => pair.Split('=')[0] is "resourceVersion" or "allowWatchBookmarks" or "watch" or "timeoutSeconds" || (!isNew && pair.Split('=')[0] is "sendInitialEvents" or "resourceVersionMatch"));
        pairs.AddRange(["watch=true", "allowWatchBookmarks=true"]);
        if (version.Length > 0)
            pairs.Add($"resourceVersion={Uri.EscapeDataString(version)}");
        return $"{(at < 0 ? target : target[..at])}?{string.Join('&', pairs)}";
    }

    private sealed class WatchState(string version, FollowedList? list, string? key)
    {
        public string Version { get; set; } = version;

        /// <summary>What the client has, as far as it is known.</summary>
        public FollowedList? List { get; set; } = list;

        public string? Key { get; } = key;

        public bool IsChanged { get; set; }

        public long KeptAt { get; set; }
    }
}
