using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Edge.ApiServer.InProcess;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>GET with <c>watch=true</c>: one JSON event a line until the client goes, the timeout passes or the client falls behind.</summary>
internal sealed class WatchHandler(ObjectStore store, TimeProvider time, Random random)
{
    private const int FlushBytes = 64 * 1024;
    private const int TimeoutSecondsMin = 1800; // Kubernetes': a random time between this and its double
    private static readonly TimeSpan s_bookmarkPeriod = TimeSpan.FromMinutes(1);

    public async Task HandleAsync(HttpContext context, ServedResource resource, string @namespace, ObjectShape shape)
    {
        var request = context.Request;
        var filter = ObjectFilter.Read(request, resource, @namespace);
        var bookmarks = Flag(request, "allowWatchBookmarks");
        var sendInitial = Flag(request, "sendInitialEvents");
        var versionText = request.Query["resourceVersion"].ToString();
        if (!long.TryParse(versionText.Length == 0 ? "0" : versionText, NumberStyles.None, CultureInfo.InvariantCulture, out var version))
            throw ApiException.BadRequest($"resourceVersion: Invalid value: \"{versionText}\": must be a whole number");
        var timeout = Timeout(request);

        if (shape != ObjectShape.Table && context.Features.Get<IObjectWatchFeature>() is { } objects)
        {
            await ServeAsync(objects, context, resource, filter, new Begin(version, sendInitial, bookmarks, timeout, shape));
            return;
        }

        context.Response.StatusCode = 200;
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-cache, private";
        await context.Response.StartAsync(context.RequestAborted);
        var output = new WatchOutput(context.Response.BodyWriter, resource, filter, shape, ApiResponse.IncludeObject(request), time);

        var initial = new Initial();
        ObjectWatcher? watcher;
        if (version == 0 || sendInitial)
        {
            watcher = store.WatchFromNow(resource.Id, filter.Namespace, filter.Name, out var items);
            initial.Items = items;
        }
        else
        {
            watcher = store.Watch(resource.Id, filter.Namespace, filter.Name, version);
        }

        if (watcher is null)
        {
            output.Error(Unreachable(version).ToStatus());
            await output.FlushAsync(context.RequestAborted);
            return;
        }

        using (watcher)
        using (var deadline = new CancellationTokenSource(timeout, time))
        using (var ended = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted))
        using (watcher.Overflow.Register(context.Abort)) // the client takes nothing: no orderly end reaches it
        {
            try
            {
                for (var i = 0; i < initial.Items.Count; i++)
                {
                    if (!filter.Matches(initial.Items[i]))
                        continue;
                    output.Object(WatchEventType.Added, initial.Items[i]);
                    await output.FlushIfLargeAsync(ended.Token);
                }

                initial.Items = [];
                if (sendInitial)
                    output.Bookmark(watcher.Start, initialEventsEnd: true);
                for (var i = 0; i < watcher.Replay.Count; i++)
                {
                    output.Change(watcher.Replay[i]);
                    await output.FlushIfLargeAsync(ended.Token);
                }

                watcher.ForgetReplay();
                await output.FlushAsync(ended.Token);
                await FollowAsync(watcher, output, bookmarks, ended.Token);
            }
            catch (OperationCanceledException) when (ended.IsCancellationRequested)
            {
                // The asked time has passed, or the client has gone: both end a watch in order.
            }
        }
    }

    /// <summary>For who watches from within the process: the objects, which all of them share, in place of lines.</summary>
    private async Task ServeAsync(IObjectWatchFeature objects, HttpContext context, ServedResource resource, ObjectFilter filter, Begin begin)
    {
        var initial = new Initial();
        ObjectWatcher? watcher;
        // Metadata does not change with the status; a selection by status does.
        var skipsStatus = begin.Shape == ObjectShape.Metadata && !filter.HasSelectors;
        if (begin.Version == 0 || begin.SendInitial)
        {
            watcher = store.WatchFromNow(resource.Id, filter.Namespace, filter.Name, out var items, skipsStatus);
            initial.Items = items;
        }
        else
        {
            watcher = store.Watch(resource.Id, filter.Namespace, filter.Name, begin.Version, skipsStatus);
        }

        using (watcher)
        using (var deadline = new CancellationTokenSource(begin.Timeout, time))
        using (var ended = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted))
            await objects.ServeAsync(EventsAsync(watcher, initial, resource, filter, begin, ended.Token));
    }

    private async IAsyncEnumerable<WatchEvent> EventsAsync(
        ObjectWatcher? watcher, Initial initial, ServedResource resource, ObjectFilter filter, Begin begin, CancellationToken ended, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        if (watcher is null)
            throw KubeException.Of(Unreachable(begin.Version).ToStatus());
        for (var i = 0; i < initial.Items.Count; i++)
        {
            if (filter.Matches(initial.Items[i]))
                yield return new WatchEvent(WatchEventType.Added, Tree(resource, begin.Shape, initial.Items[i], null));
        }

        initial.Items = [];
        if (begin.SendInitial)
            yield return new WatchEvent(WatchEventType.Bookmark, BookmarkObject(resource, watcher.Start, initialEventsEnd: true, begin.Shape));
        for (var i = 0; i < watcher.Replay.Count; i++)
        {
            if (Seen(filter, watcher.Replay[i]) is var (type, obj))
                yield return new WatchEvent(type, Tree(resource, begin.Shape, obj, null));
        }

        watcher.ForgetReplay();

        using var end = CancellationTokenSource.CreateLinkedTokenSource(ended, cancellationToken);
        await using var timer = begin.Bookmarks ? time.CreateTimer(_ => watcher.RequestProgress(), null, s_bookmarkPeriod, s_bookmarkPeriod) : null;
        while (await MayReadAsync(watcher, end.Token, cancellationToken))
        {
            while (watcher.TryRead(out var item))
            {
                if (item.Change is not { } change)
                    yield return new WatchEvent(WatchEventType.Bookmark, BookmarkObject(resource, item.Version, initialEventsEnd: false, begin.Shape));
                else if (Seen(filter, change) is var (type, obj))
                    yield return new WatchEvent(type, Tree(resource, begin.Shape, obj, obj == change.Object ? item.Tree : null));
            }
        }
    }

    /// <summary>False when the watch is at its end: closed by the store, or its time has passed.</summary>
    private static async ValueTask<bool> MayReadAsync(ObjectWatcher watcher, CancellationToken end, CancellationToken cancellationToken)
    {
        try
        {
            return await watcher.Queue.WaitToReadAsync(end);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private static JsonObject Tree(ServedResource resource, ObjectShape shape, StoredObject obj, SharedTree? shared)
    {
        if (shape == ObjectShape.Metadata)
            return obj.ParseMetadata();
        if (resource.Custom is not null && !obj.IsOf(resource.Kind.ApiVersion))
            return obj.ParseAs(resource.Kind.ApiVersion);
        return shared?.Read() ?? obj.Parse();
    }

    private async Task FollowAsync(ObjectWatcher watcher, WatchOutput output, bool bookmarks, CancellationToken cancellationToken)
    {
        await using var timer = bookmarks ? time.CreateTimer(_ => watcher.RequestProgress(), null, s_bookmarkPeriod, s_bookmarkPeriod) : null;
        var written = time.GetTimestamp();
        while (await watcher.Queue.WaitToReadAsync(cancellationToken))
        {
            var early = WatchPace.Gather(store.Watchers(watcher.Resource)) - time.GetElapsedTime(written);
            if (early > TimeSpan.Zero)
                await Task.Delay(early, time, cancellationToken);
            while (watcher.TryRead(out var item))
            {
                if (item.Change is { } change)
                    output.Change(change);
                else
                    output.Bookmark(item.Version, initialEventsEnd: false);
                await output.FlushIfLargeAsync(cancellationToken);
            }

            await output.FlushAsync(cancellationToken);
            written = time.GetTimestamp();
        }
    }

    /// <summary>With selectors, a change that brings the object into the selection is an addition, one that takes it out a deletion. Null is not seen at all.</summary>
    private static (WatchEventType Type, StoredObject Object)? Seen(ObjectFilter filter, StoredEvent change)
    {
        if (!filter.HasSelectors)
            return (change.Type, change.Object);
        var before = change.Previous is { } previous ? filter.Matches(previous) : change.PreviousUnknown;
        var now = change.Type != WatchEventType.Deleted && filter.Matches(change.Object);
        if (now)
            return (before ? WatchEventType.Modified : WatchEventType.Added, change.Object);
        if (!before)
            return null;
        return (WatchEventType.Deleted, change.Type == WatchEventType.Deleted ? change.Object : AsOf(change.Previous ?? change.Object, change.Version));
    }

    private static StoredObject AsOf(StoredObject obj, long version)
        => new(obj.Resource, obj.Namespace, obj.Name, obj.Uid, version, ObjectJson.Serialize(obj.Parse()).At(version));

    private static JsonObject BookmarkObject(ServedResource resource, long version, bool initialEventsEnd, ObjectShape shape)
    {
        var metadata = new JsonObject { ["resourceVersion"] = version.ToString(CultureInfo.InvariantCulture), ["creationTimestamp"] = null };
        if (initialEventsEnd)
            metadata["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" };
        return shape switch
        {
            ObjectShape.Table => new JsonObject { ["kind"] = "Table", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = metadata, ["columnDefinitions"] = new JsonArray(), ["rows"] = new JsonArray() },
            ObjectShape.Metadata => new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = metadata },
            _ => new JsonObject { ["kind"] = resource.Kind.Kind, ["apiVersion"] = resource.Kind.ApiVersion, ["metadata"] = metadata },
        };
    }

    // Also for one that is ahead, as after a restored backup: clients list anew at a 410, where Kubernetes' 504 has them wait for a version that may not come.
    private ApiException Unreachable(long version)
        => ApiException.Expired(store.Version is var newest && version > newest ? $"resource version {version} is ahead of the newest, {newest}" : $"too old resource version: {version} ({newest})");

    private TimeSpan Timeout(HttpRequest request)
    {
        var text = request.Query["timeoutSeconds"].ToString();
        if (text.Length > 0)
            return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds < 86_400 * 24
                ? TimeSpan.FromSeconds(Math.Max(1, seconds))
                : throw ApiException.BadRequest($"timeoutSeconds: Invalid value: \"{text}\": must be a whole number of seconds, less than 24 days");
        lock (random)
            return TimeSpan.FromSeconds(TimeoutSecondsMin + random.Next(TimeoutSecondsMin));
    }

    private static bool Flag(HttpRequest request, string name) => request.Query[name].ToString() is "true" or "1" or "True";

    /// <summary>The objects that a watch begins with. They are let go once they have been told: a watch lasts for an hour, and would keep every state of its beginning.</summary>
    private sealed class Initial
    {
        public ImmutableList<StoredObject> Items { get; set; } = [];
    }

    /// <summary>How a watch begins and goes on.</summary>
    private sealed record Begin(long Version, bool SendInitial, bool Bookmarks, TimeSpan Timeout, ObjectShape Shape);

    /// <summary>Writes events; for whole objects the bytes of the store are copied, nothing is serialised.</summary>
    private sealed class WatchOutput(PipeWriter writer, ServedResource resource, ObjectFilter filter, ObjectShape shape, string includeObject, TimeProvider time)
    {
        public async ValueTask FlushIfLargeAsync(CancellationToken cancellationToken)
        {
            if (writer.UnflushedBytes >= FlushBytes)
                await writer.FlushAsync(cancellationToken);
        }

        public async ValueTask FlushAsync(CancellationToken cancellationToken) => await writer.FlushAsync(cancellationToken);

        public void Change(StoredEvent change)
        {
            if (Seen(filter, change) is var (type, obj))
                Object(type, obj);
        }

        public void Object(WatchEventType type, StoredObject obj)
        {
            writer.Write(type switch
            {
                WatchEventType.Added => """{"type":"ADDED","object":"""u8,
                WatchEventType.Modified => """{"type":"MODIFIED","object":"""u8,
                _ => """{"type":"DELETED","object":"""u8,
            });
            writer.Write(shape != ObjectShape.Full ? ObjectJson.Bytes(ApiResponse.Shaped(resource, obj, shape, includeObject, time.GetUtcNow()))
                : resource.Custom is null ? obj.Json : obj.JsonAs(resource.Kind.ApiVersion));
            writer.Write("}\n"u8);
        }

        public void Bookmark(long version, bool initialEventsEnd) => Line("BOOKMARK", BookmarkObject(resource, version, initialEventsEnd, shape));

        public void Error(JsonObject status) => Line("ERROR", status);

        private void Line(string type, JsonObject obj)
        {
            writer.Write(ObjectJson.Bytes(new JsonObject { ["type"] = type, ["object"] = obj }));
            writer.Write("\n"u8);
        }
    }
}
