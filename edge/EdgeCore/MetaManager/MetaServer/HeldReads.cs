using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Get, list and watch of what the node holds; the same with and without the cloud.</summary>
internal sealed class HeldReads(HeldObjects held, string node, Func<bool> isConnected, TimeProvider time, Random random)
{
    private static readonly TimeSpan s_bookmarkPeriod = TimeSpan.FromMinutes(1);

    public Task GetAsync(HttpContext context, HeldKind kind, HeldObject obj)
    {
        Source(context);
        return KubeResponse.IsTable(context.Request)
            ? KubeResponse.WriteAsync(context, 200, Table(context.Request, kind, [obj.Json], obj.Json.ResourceVersion()))
            : KubeResponse.WriteAsync(context, 200, obj.Json);
    }

    public Task ListAsync(HttpContext context, HeldKind kind, string @namespace)
    {
        var request = context.Request;
        var selection = Selection(request, @namespace);
        if (request.Query["continue"].ToString().Length > 0)
            throw MetaServerException.Expired("The provided continue parameter is not of this node, whose lists come whole. You can start a new list without the continue parameter.");
        var (items, version) = held.List(kind.Type);
        var asked = KubeResponse.Number(request, "resourceVersion");
        if (HeldObjects.IsLocal(asked) && asked > version)
            throw new MetaServerException(504, "Timeout", $"Too large resource version: {asked}, current: {version}");
        if (asked > 0 && asked != version && request.Query["resourceVersionMatch"].ToString() == "Exact")
            throw MetaServerException.Expired($"The resourceVersion for the provided list is too old: {asked} ({version})");
        Source(context);
        var text = version.ToString(CultureInfo.InvariantCulture);
        var selected = items.Where(selection.Matches).Select(item => item.Json);
        return KubeResponse.WriteAsync(context, 200, KubeResponse.IsTable(request)
            ? Table(request, kind, selected, text)
            : new JsonObject
            {
                ["kind"] = kind.Kind.Kind + "List",
                ["apiVersion"] = kind.Kind.ApiVersion,
                ["metadata"] = new JsonObject { ["resourceVersion"] = text },
                ["items"] = new JsonArray([.. selected.Select(item => item.DeepClone())]),
            });
    }

    /// <summary>Runs until the client goes, the asked time passes, the server stops, or the client is too slow.</summary>
    public async Task WatchAsync(HttpContext context, HeldKind kind, string @namespace, CancellationToken stopping)
    {
        var request = context.Request;
        var selection = Selection(request, @namespace);
        var version = KubeResponse.Number(request, "resourceVersion");
        var sendInitial = KubeResponse.Flag(request, "sendInitialEvents");
        IReadOnlyList<HeldObject> initial = [];
        var watcher = version == 0 || sendInitial ? held.WatchFromNow(kind.Type, out initial) : held.Watch(kind.Type, version);
        Source(context);
        var lines = new WatchLines(context);
        using (watcher)
        using (var deadline = new CancellationTokenSource(KubeResponse.WatchTime(request, random), time))
        using (var ended = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted, stopping))
        {
            try
            {
                await lines.BeginAsync();
                if (watcher is null)
                {
                    await lines.WriteAsync("ERROR", MetaServerException.Expired($"too old resource version: {version} ({held.Version})").ToStatus(), ended.Token);
                    return;
                }

                foreach (var item in initial.Where(selection.Matches))
                    await lines.WriteAsync("ADDED", Shaped(request, kind, item.Json), ended.Token);
                if (sendInitial)
                    await lines.WriteAsync("BOOKMARK", Bookmark(request, kind, watcher.Start, initialEventsEnd: true), ended.Token);
                foreach (var change in watcher.Replay)
                    await ChangeAsync(change, ended.Token);
                await lines.FlushAsync(ended.Token);
                await FollowAsync(watcher, ended.Token);
            }
            catch (OperationCanceledException) when (ended.IsCancellationRequested)
            {
                // Each ends a watch in order.
            }
        }

        async Task ChangeAsync(HeldEvent change, CancellationToken token)
        {
            if (selection.Seen(change) is var (type, obj))
                await lines.WriteAsync(type switch { WatchEventType.Added => "ADDED", WatchEventType.Deleted => "DELETED", _ => "MODIFIED" }, Shaped(request, kind, obj), token);
        }

        async Task FollowAsync(HeldWatcher open, CancellationToken token)
        {
            var bookmarks = KubeResponse.Flag(request, "allowWatchBookmarks");
            var waiting = open.Queue.WaitToReadAsync(token).AsTask();
            while (true)
            {
                using var period = CancellationTokenSource.CreateLinkedTokenSource(token);
                var tick = Task.Delay(bookmarks ? s_bookmarkPeriod : Timeout.InfiniteTimeSpan, time, period.Token);
                await Task.WhenAny(waiting, tick);
                await period.CancelAsync();
                if (!waiting.IsCompleted)
                {
                    token.ThrowIfCancellationRequested();
                    // What was published until now is in the queue already; so the version is asked first.
                    var newest = held.Version;
                    if (open.Queue.Count == 0)
                        await lines.WriteAsync("BOOKMARK", Bookmark(request, kind, newest, initialEventsEnd: false), token);
                    await lines.FlushAsync(token);
                    continue;
                }

                if (!await waiting)
                {
                    await lines.WriteAsync("ERROR", MetaServerException.Expired($"more than {HeldObjects.WaitingMax} changes waited for this watch").ToStatus(), token);
                    return;
                }

                while (open.Queue.TryRead(out var change))
                    await ChangeAsync(change, token);
                await lines.FlushAsync(token);
                waiting = open.Queue.WaitToReadAsync(token).AsTask();
            }
        }
    }

    private void Source(HttpContext context)
    {
        context.Response.Headers[KubeResponse.SourceHeader] = "node";
        if (!isConnected())
            KubeResponse.Warn(context, null, node);
    }

    private static ObjectSelection Selection(HttpRequest request, string @namespace)
        => ObjectSelection.Read(@namespace, request.Query["labelSelector"].ToString(), request.Query["fieldSelector"].ToString());

    private JsonObject Table(HttpRequest request, HeldKind kind, IEnumerable<JsonObject> objects, string version)
        => NodeTables.Build(kind.Kind, objects, version, request.Query["includeObject"].ToString(), time.GetUtcNow());

    private JsonObject Shaped(HttpRequest request, HeldKind kind, JsonObject obj) => KubeResponse.IsTable(request) ? Table(request, kind, [obj], obj.ResourceVersion()) : obj;

    private static JsonObject Bookmark(HttpRequest request, HeldKind kind, long version, bool initialEventsEnd)
    {
        var metadata = new JsonObject { ["resourceVersion"] = version.ToString(CultureInfo.InvariantCulture), ["creationTimestamp"] = null };
        if (initialEventsEnd)
            metadata["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" };
        return KubeResponse.IsTable(request)
            ? new JsonObject { ["kind"] = "Table", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = metadata, ["columnDefinitions"] = new JsonArray(), ["rows"] = new JsonArray() }
            : new JsonObject { ["kind"] = kind.Kind.Kind, ["apiVersion"] = kind.Kind.ApiVersion, ["metadata"] = metadata };
    }
}
