using System.Buffers;
using System.Net;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>What a handler works with.</summary>
internal sealed record MetaServerParts(
    Authentication Authentication, AccessReviews Reviews, HeldObjects Held, IReadOnlyList<HeldKind> Kinds, HeldReads HeldReads, CloudReads CloudReads, Writes Writes, CloudGate Gate, MetaServerMetrics Metrics, PodStreams Streams);

/// <summary>Answers MetaServer's requests: who asks, whether he may, and from where the answer comes. Any number at once.</summary>
/// <param name="asksAccess">False lets every good token read what the node holds.</param>
/// <param name="filled">Completes once what the store holds is shown.</param>
/// <param name="stopping">Ends what would go on for ever.</param>
internal sealed class MetaServerHandler(MetaServerParts parts, bool asksAccess, Task filled, ILogger log, CancellationToken stopping)
{
    private const int BodyMax = 3 * 1024 * 1024;

    public async Task HandleAsync(HttpContext context)
    {
        var verb = "other";
        try
        {
            var isWatch = KubeResponse.Flag(context.Request, "watch");
            var request = KubeRequest.Read(context.Request.Method, context.Request.Path.Value ?? "/", isWatch) ?? throw MetaServerException.BadRequest("the path or the method is none of the Kubernetes API");
            verb = request.IsResource ? request.Verb : "discovery";
            if (request.Path is "/healthz" or "/livez" or "/readyz")
            {
                await KubeResponse.WriteAsync(context, 200, "ok"u8.ToArray(), "text/plain; charset=utf-8");
                return;
            }

            if (!context.Request.IsHttps)
                RefuseBrowser(context.Request);
            var caller = parts.Authentication.Identify(context.Request.Headers.Authorization, context.Request.IsHttps);
            await filled.WaitAsync(context.RequestAborted);
            await RouteAsync(context, request, caller);
        }
        catch (MetaServerException e)
        {
            await RefuseAsync(context, e);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested || stopping.IsCancellationRequested)
        {
            context.Abort();
        }
        catch (Exception e) when (e is IOException or Microsoft.AspNetCore.Connections.ConnectionResetException && context.RequestAborted.IsCancellationRequested)
        {
            // The client has gone.
        }
        catch (BadHttpRequestException e)
        {
            await RefuseAsync(context, new MetaServerException(e.StatusCode, "BadRequest", e.Message));
        }
        catch (Exception e) when (e is not OutOfMemoryException) // the outermost frame of a request
        {
            MetaServerLog.Defect(log, context.Request.Method, context.Request.Path, e);
            await RefuseAsync(context, new MetaServerException(500, "InternalError", "this request met a defect, which EdgeCore's log describes (event 2053)"));
        }
        finally
        {
            parts.Metrics.Count(verb, context.Response.StatusCode);
        }
    }

    // Where no token is asked for, a page in a browser on the machine must not ask either: not by its own origin, nor by a name that leads here (DNS rebinding).
    private static void RefuseBrowser(HttpRequest request)
    {
        var host = request.Host.Host;
        if (request.Headers.ContainsKey("Origin") || !(host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || IPAddress.TryParse(host.Trim('[', ']'), out _)))
            throw new MetaServerException(403, "Forbidden", "plain HTTP is for programs on this machine, which name MetaServer by its IP address or localhost and send no Origin");
    }

    private static async Task RefuseAsync(HttpContext context, MetaServerException error)
    {
        if (context.Response.HasStarted)
        {
            context.Abort();
            return;
        }

        if (error.Code == 401)
            context.Response.Headers.WWWAuthenticate = "Bearer";
        if (error.Code is 429 or 503)
            context.Response.Headers.RetryAfter = "5";
        await KubeResponse.WriteAsync(context, error.Code, error.ToStatus());
    }

    private async Task RouteAsync(HttpContext context, KubeRequest request, Caller caller)
    {
        if (!request.IsResource)
        {
            await DiscoverAsync(context, request);
            return;
        }

        if (PodStreams.Serves(request) && await TryStreamAsync(context, request, caller))
            return;
        if (request.Subresource is "exec" or "attach" or "portforward" or "proxy" || (request.Subresource == "log" && KubeResponse.Flag(context.Request, "follow")))
        {
            throw PodStreams.Serves(request)
                ? new MetaServerException(404, "NotFound", $"pods \"{request.Name}\" is not on this node; for other nodes' pods use kubectl at the cloud")
                : new MetaServerException(501, "NotImplemented", $"{request.Subresource} is not served here: use kubectl at the cloud");
        }

        if (!request.IsRead)
        {
            await WriteAsync(context, request, caller);
            return;
        }

        var kind = parts.Kinds.FirstOrDefault(one => one.Kind.Group == request.Group && one.Kind.Version == request.Version && one.Kind.Plural == request.Resource);
        if (kind is not null && request.Subresource.Length == 0 && await TryHeldAsync(context, request, kind, caller))
            return;
        await CloudAsync(context, request, caller);
    }

    // False for a pod that the node does not hold.
    private async Task<bool> TryStreamAsync(HttpContext context, KubeRequest request, Caller caller)
    {
        if (parts.Held.Get("pod", request.Namespace, request.Name) is not { } pod)
            return false;
        // Without authorization every good token reads; to run something in a container is more than that.
        if (caller.Account is { } account && (asksAccess || request.Subresource != "log"))
            await parts.Reviews.RequireAsync(account, PodStreams.Right(request), context.RequestAborted);
        await parts.Streams.AnswerAsync(context, request, pod.Json, stopping);
        return true;
    }

    // False for a single object that the node does not hold.
    private async Task<bool> TryHeldAsync(HttpContext context, KubeRequest request, HeldKind kind, Caller caller)
    {
        var name = request.Name;
        if (request.Verb != "get")
        {
            // A list or watch of one object is about that object.
            name = ObjectSelection.Read(request.Namespace, context.Request.Query["labelSelector"].ToString(), context.Request.Query["fieldSelector"].ToString()).Name ?? "";
        }

        var obj = name.Length > 0 ? parts.Held.Get(kind.Type, request.Namespace, name) : null;
        var isKept = long.TryParse(context.Request.Query["resourceVersion"], out var version) && HeldObjects.IsLocal(version);
        if (name.Length > 0 && obj is null && (request.Verb == "get" || (request.Namespace.Length > 0 && !isKept)))
            return false;
        await RequireAsync(request, caller, context.RequestAborted);
        if (request.Verb == "get")
            await parts.HeldReads.GetAsync(context, kind, obj!);
        else if (request.Verb == "list")
            await parts.HeldReads.ListAsync(context, kind, request.Namespace);
        else
        {
            using var place = parts.Metrics.OpenWatch();
            await parts.HeldReads.WatchAsync(context, kind, request.Namespace, stopping);
        }

        return true;
    }

    private Task RequireAsync(KubeRequest request, Caller caller, CancellationToken cancellationToken)
        => caller.Account is { } account && asksAccess ? parts.Reviews.RequireAsync(account, request, cancellationToken) : Task.CompletedTask;

    private async Task CloudAsync(HttpContext context, KubeRequest request, Caller caller)
    {
        var cloud = Cloud(context, request, caller, default);
        void Known()
        {
            if (caller.Account is { } account && asksAccess)
                parts.Reviews.RequireKnown(account, request);
        }

        if (request.Verb == "watch")
        {
            using var place = parts.Metrics.OpenWatch();
            await parts.CloudReads.WatchAsync(context, cloud, reply => NoteAsync(reply, request, caller, context.RequestAborted), Known, stopping);
            return;
        }

        await parts.CloudReads.AnswerAsync(context, cloud, reply => NoteAsync(reply, request, caller, context.RequestAborted), Known);
    }

    // The API's own word, for when it cannot be asked.
    private Task NoteAsync(CloudReply reply, KubeRequest request, Caller caller, CancellationToken cancellationToken)
        => caller.Account is { } account && (reply.IsGood || reply.Code is 403 or 404) ? parts.Reviews.NoteAsync(account, request, reply.Code != 403, cancellationToken) : Task.CompletedTask;

    private async Task WriteAsync(HttpContext context, KubeRequest request, Caller caller)
    {
        if (caller.Account is null)
            throw new MetaServerException(403, "Forbidden", $"the node's own token reads only; to {request.Verb} {request.Qualified} use the token of a ServiceAccount that may, or kubectl at the cloud");
        var reply = await parts.Writes.SendAsync(Cloud(context, request, caller, await BodyAsync(context)), context.RequestAborted);
        context.Response.Headers[KubeResponse.SourceHeader] = "cloud";
        await KubeResponse.WriteAsync(context, reply.Code, reply.Body, reply.ContentType);
    }

    // The node asks in its own name, so that what was read is every caller's; everybody may read these (Kubernetes' system:discovery).
    private async Task DiscoverAsync(HttpContext context, KubeRequest request)
    {
        if (request.Verb != "get")
            throw new MetaServerException(405, "MethodNotAllowed", $"{context.Request.Method} is not possible here");
        var cloud = Cloud(context, request, new Caller(null, ""), default);
        try
        {
            await parts.CloudReads.AnswerAsync(context, cloud, _ => Task.CompletedTask, () => { });
        }
        catch (MetaServerException e) when (e.Code == 503 && OwnDiscovery.Of(request.Path, parts.Kinds) is { } own)
        {
            context.Response.Headers[KubeResponse.SourceHeader] = "node";
            await KubeResponse.WriteAsync(context, 200, own);
        }
    }

    private static CloudRequest Cloud(HttpContext context, KubeRequest request, Caller caller, ReadOnlyMemory<byte> body)
    {
        var http = context.Request;
        // JSON is what is kept and followed here; of what clients accept it is always one.
        var accept = request.Path.StartsWith("/openapi/", StringComparison.Ordinal) ? http.Headers.Accept.ToString()
            : string.Join(',', http.Headers.Accept.ToString().Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Where(one => !one.Contains("protobuf", StringComparison.Ordinal)));
        return new CloudRequest(
            request, http.Method, http.Path.ToUriComponent() + http.QueryString.ToUriComponent(), accept.Length > 0 ? accept : "application/json", http.ContentType ?? "", body, caller.Token);
    }

    private static async Task<ReadOnlyMemory<byte>> BodyAsync(HttpContext context)
    {
        if (context.Request.ContentLength > BodyMax)
            throw TooLarge();
        var body = new ArrayBufferWriter<byte>();
        while (await context.Request.Body.ReadAsync(body.GetMemory(16 * 1024), context.RequestAborted) is > 0 and var read)
        {
            body.Advance(read);
            if (body.WrittenCount > BodyMax)
                throw TooLarge();
        }

        return body.WrittenMemory;

        static MetaServerException TooLarge() => new(413, "RequestEntityTooLarge", $"Request entity too large: limit is {BodyMax}");
    }
}

/// <summary>Discovery of what the node itself serves, for a node that never saw the cloud's. Pure.</summary>
internal static class OwnDiscovery
{
    /// <summary>Null for another path.</summary>
    public static JsonObject? Of(string path, IReadOnlyList<HeldKind> kinds)
    {
        var groups = kinds.Where(kind => kind.Kind.Group.Length > 0).GroupBy(kind => (kind.Kind.Group, kind.Kind.Version)).ToList();
        switch (path.TrimEnd('/'))
        {
            case "/version":
                return new JsonObject { ["major"] = "1", ["minor"] = "32", ["gitVersion"] = "v1.32.0+edge", ["platform"] = "linux" };
            case "/api":
                return new JsonObject { ["kind"] = "APIVersions", ["versions"] = new JsonArray("v1"), ["serverAddressByClientCIDRs"] = new JsonArray() };
            case "/apis":
                return new JsonObject { ["kind"] = "APIGroupList", ["apiVersion"] = "v1", ["groups"] = new JsonArray([.. groups.Select(group => Group(group.Key.Group, group.Key.Version))]) };
            case "/api/v1":
                return Resources("v1", kinds.Where(kind => kind.Kind.Group.Length == 0));
            default:
                return groups.Find(group => path.TrimEnd('/') == $"/apis/{group.Key.Group}/{group.Key.Version}") is { } found ? Resources($"{found.Key.Group}/{found.Key.Version}", found)
                    : groups.Find(group => path.TrimEnd('/') == $"/apis/{group.Key.Group}") is { } group ? Group(group.Key.Group, group.Key.Version) : null;
        }
    }

    private static JsonObject Group(string group, string version)
    {
        JsonObject Version() => new() { ["groupVersion"] = $"{group}/{version}", ["version"] = version };
        return new JsonObject { ["kind"] = "APIGroup", ["apiVersion"] = "v1", ["name"] = group, ["versions"] = new JsonArray(Version()), ["preferredVersion"] = Version() };
    }

    private static JsonObject Resources(string groupVersion, IEnumerable<HeldKind> kinds) => new()
    {
        ["kind"] = "APIResourceList",
        ["apiVersion"] = "v1",
        ["groupVersion"] = groupVersion,
        ["resources"] = new JsonArray([.. kinds.Select(kind => (JsonNode)new JsonObject
        {
            ["name"] = kind.Kind.Plural, ["singularName"] = kind.Kind.Kind.ToLowerInvariant(), ["namespaced"] = kind.Kind.Namespaced, ["kind"] = kind.Kind.Kind,
            ["verbs"] = new JsonArray("get", "list", "watch"), ["shortNames"] = new JsonArray([.. kind.ShortNames.Select(name => (JsonNode)name)]),
        })]),
    };
}
