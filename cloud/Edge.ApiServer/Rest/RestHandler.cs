using System.Text.Json.Nodes;
using Edge.ApiServer.Audit;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Discovery;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Common.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Rest;

/// <summary>Every request: who asks, what is asked, the answer. A failure is answered as metav1.Status.</summary>
internal sealed class RestHandler(
    Authenticator authenticator, Authorizer authorizer, Reviews reviews, ResourceRegistry registry, ObjectApi api, DiscoveryHandler discovery, ListHandler lists, WatchHandler watches,
    Subresources subresources, NodeProxy nodes, NodeMetrics metrics, TimeProvider time, ILogger<RestHandler> log)
{
    /// <summary>Null writes no audit log.</summary>
    public AuditLog? Audit { get; init; }

    public async Task HandleAsync(HttpContext context)
    {
        var isOpen = context.Request.Path.Value is "/healthz" or "/livez" or "/readyz" or "/version" or "/version/";
        var audit = Audit is null || isOpen ? null : new AuditScope(Audit, context, time);
        var error = await TryRouteAsync(context, audit);
        audit?.Complete(error);
        if (error is not null)
            await FailAsync(context, error);
    }

    /// <summary>What the request failed with; null when it is answered, or nobody is left to be answered.</summary>
    private async Task<ApiException?> TryRouteAsync(HttpContext context, AuditScope? audit)
    {
        try
        {
            await RouteAsync(context, audit);
            return null;
        }
        catch (ApiException e)
        {
            return e;
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            return null; // the client has gone; nobody reads an answer
        }
        catch (BadHttpRequestException e)
        {
            return new ApiException(e.StatusCode, "BadRequest", e.Message);
        }
        catch (StoreException e)
        {
            RestLog.StoreFailed(log, context.Request.Method, context.Request.Path, e);
            return new ApiException(500, "InternalError", $"Internal error occurred: {e.Message}");
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The outermost frame of a request: one broken request must not end the connection's others.
            RestLog.RequestFailed(log, context.Request.Method, context.Request.Path, e);
            return new ApiException(500, "InternalError", $"Internal error occurred: {e.Message}");
        }
    }

    private static async Task FailAsync(HttpContext context, ApiException error)
    {
        if (context.Response.HasStarted)
        {
            context.Abort();
            return;
        }

        context.Response.Headers.Clear();
        await ApiResponse.WriteAsync(context, error.Code, error.ToStatus());
    }

    private async Task RouteAsync(HttpContext context, AuditScope? audit)
    {
        switch (context.Request.Path.Value)
        {
            case "/healthz" or "/livez" or "/readyz":
                await ApiResponse.WriteAsync(context, 200, "ok"u8.ToArray(), "text/plain; charset=utf-8");
                return;
            case "/version" or "/version/":
                await ApiResponse.WriteAsync(context, 200, DiscoveryHandler.Version());
                return;
        }

        var path = RequestPath.Parse(context.Request.Path.Value!);
        if (audit is not null)
            audit.Path = path;
        var caller = authenticator.Identify(context) ?? throw new ApiException(401, "Unauthorized", "Unauthorized");
        if (audit is not null)
            audit.Caller = caller;
        var user = Impersonation.IsAsked(context.Request) ? Impersonation.Resolve(context.Request, caller, authorizer) : caller;
        context.Features.Set(user);
        var decision = user.IsPrivileged ? new AccessDecision(true, "") : authorizer.Decide(RequestAccess.Of(user, context.Request, path));
        if (audit is not null)
            (audit.User, audit.IsAllowed, audit.Reason) = (user, decision.IsAllowed, decision.Reason);
        if (!decision.IsAllowed)
            throw RequestAccess.Refused(RequestAccess.Of(user, context.Request, path), decision.Reason);
        if (audit is not null && path is not null && IsLong(context.Request, path))
            audit.Started();
        if (path is null)
        {
            if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method))
                throw ApiException.MethodNotAllowed();
            if (!await discovery.TryHandleAsync(context))
                throw ApiException.NoSuchResource();
            return;
        }

        var resource = registry.Find(path.Group, path.Version, path.Plural);
        if (resource is null && (await metrics.TryHandleAsync(context, path) || await reviews.TryHandleAsync(context, path, user)))
            return;
        if (resource is null || (path.Namespace.Length > 0 && !resource.Kind.Namespaced) || (path.Name.Length > 0 && resource.Kind.Namespaced && path.Namespace.Length == 0))
            throw ApiException.NoSuchResource();
        await ResourceAsync(context, resource, path);
    }

    private static bool IsLong(HttpRequest request, RequestPath path)
        => path.Subresource is "exec" or "attach" or "portforward" || (path.Subresource == "log" && request.Query["follow"].ToString() is "true" or "1") || RequestAccess.Verb(request, path) == "watch";

    private Task ResourceAsync(HttpContext context, ServedResource resource, RequestPath path)
    {
        if (path.Subresource.Length > 0)
            return SubresourceAsync(context, resource, path);
        if (path.Name.Length > 0)
            return ObjectAsync(context, resource, path, "");
        var shape = Negotiation.Choose(context.Request.Headers.Accept.ToString());
        return context.Request.Method switch
        {
            "GET" when context.Request.Query["watch"].ToString() is "true" or "1" or "True" => watches.HandleAsync(context, resource, path.Namespace, shape),
            "GET" => lists.HandleAsync(context, resource, path.Namespace, shape),
            "POST" => CreateAsync(context, resource, path, shape),
            "DELETE" => DeleteCollectionAsync(context, resource, path),
            _ => throw ApiException.MethodNotAllowed(),
        };
    }

    private async Task SubresourceAsync(HttpContext context, ServedResource resource, RequestPath path)
    {
        if (path.Subresource == "status" && resource.HasStatus)
        {
            await ObjectAsync(context, resource, path, "status");
            return;
        }

        if (path.Subresource == ObjectStrategy.EphemeralContainers && resource.Kind == ResourceKind.Pod)
        {
            await ObjectAsync(context, resource, path, ObjectStrategy.EphemeralContainers);
            return;
        }

        if (path.Subresource == "approval" && resource.Kind == ResourceKind.CertificateSigningRequest)
        {
            await ObjectAsync(context, resource, path, "approval");
            return;
        }

        if (resource.Kind == ResourceKind.Pod && await nodes.TryHandleAsync(context, resource, path))
            return;
        var options = Options(context.Request);
        if (path.Subresource == "scale" && resource.Scale is not null)
        {
            await subresources.ScaleAsync(context, resource, path, options);
            return;
        }

        if (!await subresources.TryHandleAsync(context, resource, path, options))
            throw ApiException.NoSuchResource();
    }

    private async Task ObjectAsync(HttpContext context, ServedResource resource, RequestPath path, string subresource)
    {
        var request = context.Request;
        var shape = Negotiation.Choose(request.Headers.Accept.ToString());
        switch (request.Method)
        {
            case "GET" or "HEAD":
                await ApiResponse.WriteObjectAsync(context, 200, resource, api.Get(resource, path.Namespace, path.Name), shape, time.GetUtcNow());
                return;
            case "PUT":
                var put = await BodyAsync(context);
                var options = Options(request);
                var (updated, created) = await api.UpdateAsync(resource, path.Namespace, path.Name, subresource, put, options, context.RequestAborted);
                await AnswerAsync(context, created ? 201 : 200, resource, updated, shape, options);
                return;
            case "PATCH":
                var patchOptions = Options(request);
                if (RequestBody.MediaType(request) == PatchReader.ApplyType)
                {
                    await ApplyAsync(context, resource, path, subresource, shape, patchOptions with { IsApply = true });
                    return;
                }

                var patch = await PatchReader.ReadAsync(request, resource, context.RequestAborted);
                var patched = await api.PatchAsync(resource, path.Namespace, path.Name, subresource, patch, patchOptions, context.RequestAborted);
                await AnswerAsync(context, 200, resource, patched, shape, patchOptions);
                return;
            case "DELETE" when subresource.Length == 0:
                await DeleteAsync(context, resource, path, shape);
                return;
            default:
                throw ApiException.MethodNotAllowed();
        }
    }

    private async Task ApplyAsync(HttpContext context, ServedResource resource, RequestPath path, string subresource, ObjectShape shape, WriteOptions options)
    {
        var request = context.Request;
        if (request.Query["fieldManager"].ToString().Length == 0)
            throw new ApiException(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
        var force = request.Query["force"].ToString() switch
        {
            "" or "false" or "0" => false,
            "true" or "1" => true,
            var other => throw ApiException.BadRequest($"force: Invalid value: \"{other}\": must be true or false"),
        };
        var config = RequestBody.ParseYaml(await RequestBody.ReadAsync(request, context.RequestAborted)) as JsonObject ?? throw ApiException.BadRequest("an applied configuration must be an object");
        var (obj, created) = await api.ApplyAsync(resource, path.Namespace, path.Name, subresource, config, force, options, context.RequestAborted);
        await AnswerAsync(context, created ? 201 : 200, resource, obj, shape, options);
    }

    private async Task CreateAsync(HttpContext context, ServedResource resource, RequestPath path, ObjectShape shape)
    {
        if (resource.Kind.Namespaced && path.Namespace.Length == 0)
            throw ApiException.MethodNotAllowed();
        var options = Options(context.Request);
        var created = await api.CreateAsync(resource, path.Namespace, await BodyAsync(context), options, context.RequestAborted);
        await AnswerAsync(context, 201, resource, created, shape, options);
    }

    private async Task DeleteAsync(HttpContext context, ServedResource resource, RequestPath path, ObjectShape shape)
    {
        var (obj, gone) = await api.DeleteAsync(resource, path.Namespace, path.Name, await DeleteOptionsAsync(context), context.RequestAborted);
        if (!gone || resource.Kind == ResourceKind.Pod)
        {
            await ApiResponse.WriteObjectAsync(context, 200, resource, obj, shape, time.GetUtcNow());
            return;
        }

        var details = new JsonObject { ["name"] = obj.Name };
        if (resource.Kind.Group.Length > 0)
            details["group"] = resource.Kind.Group;
        details["kind"] = resource.Kind.Plural;
        details["uid"] = obj.Uid;
        await ApiResponse.WriteAsync(context, 200, new JsonObject { ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success", ["details"] = details });
    }

    private async Task DeleteCollectionAsync(HttpContext context, ServedResource resource, RequestPath path)
    {
        if (resource.Kind.Namespaced && path.Namespace.Length == 0)
            throw ApiException.MethodNotAllowed();
        var filter = ObjectFilter.Read(context.Request, resource, path.Namespace);
        var options = await DeleteOptionsAsync(context);
        foreach (var obj in api.Store.Snapshot(resource.Id).Items.Where(filter.Matches))
        {
            try
            {
                await api.DeleteAsync(resource, obj.Namespace, obj.Name, options, context.RequestAborted);
            }
            catch (ApiException e) when (e.Code == 404)
            {
                // gone in the meantime, which is what was asked for
            }
        }

        await ApiResponse.WriteAsync(context, 200, new JsonObject
        {
            ["kind"] = "Status",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject(),
            ["status"] = "Success",
            ["details"] = new JsonObject { ["kind"] = resource.Kind.Plural },
        });
    }

    private Task AnswerAsync(HttpContext context, int code, ServedResource resource, StoredObject obj, ObjectShape shape, WriteOptions options)
    {
        foreach (var warning in options.Warnings)
            context.Response.Headers.Append("Warning", $"299 - \"{HeaderText(warning)}\"");
        return ApiResponse.WriteObjectAsync(context, code, resource, obj, shape, time.GetUtcNow());
    }

    /// <summary>As the inside of a quoted string; what a header cannot carry becomes a question mark.</summary>
    private static string HeaderText(string text)
    {
        var escaped = text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
        return string.Concat(escaped.Select(c => char.IsBetween(c, ' ', '~') ? c : '?'));
    }

    private static async Task<JsonObject> BodyAsync(HttpContext context)
        => await RequestBody.ReadObjectAsync(context.Request, context.RequestAborted) ?? throw ApiException.BadRequest("the request has no body");

    private static WriteOptions Options(HttpRequest request)
    {
        var dryRun = request.Query["dryRun"];
        if (dryRun.Count > 0 && dryRun.Any(d => d != "All"))
            throw ApiException.BadRequest($"dryRun: Unsupported value: \"{dryRun}\": supported values: \"All\"");
        var validation = request.Query["fieldValidation"].ToString() switch
        {
            "" or "Warn" => FieldValidation.Warn,
            "Ignore" => FieldValidation.Ignore,
            "Strict" => FieldValidation.Strict,
            var other => throw ApiException.BadRequest($"fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Warn\", \"Strict\""),
        };
        return new WriteOptions(dryRun.Count > 0, validation) { FieldManager = FieldManager(request), User = request.HttpContext.Features.Get<UserIdentity>() };
    }

    /// <summary>As the client names itself, or the first word of its User-Agent.</summary>
    private static string FieldManager(HttpRequest request)
    {
        const int lengthMax = 128;
        var named = request.Query["fieldManager"].ToString();
        if (named.Length > lengthMax)
            throw ApiException.BadRequest($"fieldManager: Too long: may not be more than {lengthMax} bytes");
        var agent = request.Headers.UserAgent.ToString().Split('/')[0];
        return named.Length > 0 ? named : agent.Length is > 0 and <= lengthMax ? agent : "unknown";
    }

    /// <summary>From the body where there is one, with the query's parameters on top.</summary>
    private static async Task<DeleteOptions> DeleteOptionsAsync(HttpContext context)
    {
        var request = context.Request;
        var options = DeleteOptions.FromJson(await RequestBody.ReadObjectAsync(request, context.RequestAborted));
        if (request.Query["gracePeriodSeconds"].ToString() is { Length: > 0 } grace)
            options = options with { GracePeriodSeconds = long.TryParse(grace, out var seconds) ? seconds : throw ApiException.BadRequest($"gracePeriodSeconds: Invalid value: \"{grace}\": must be a whole number") };
        if (request.Query["propagationPolicy"].ToString() is { Length: > 0 } policy)
            options = options with { PropagationPolicy = policy };
        if (options.PropagationPolicy is not ("" or "Background" or "Foreground" or "Orphan"))
            throw ApiException.BadRequest($"propagationPolicy: Unsupported value: \"{options.PropagationPolicy}\": supported values: \"Foreground\", \"Background\", \"Orphan\"");
        return Options(request).DryRun ? options with { DryRun = true } : options;
    }
}
