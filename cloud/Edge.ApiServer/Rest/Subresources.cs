using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>Subresources that are more than a part of their object: binding, eviction, finalize, token.</summary>
internal sealed class Subresources(ObjectApi api, ServiceAccountTokens tokens, TimeProvider time)
{
    private const long TokenSecondsDefault = 3600;
    private const long TokenSecondsMin = 600;
    private const long TokenSecondsMax = 365 * 86_400;

    /// <summary>Answers the request, or returns false when there is no such subresource.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context, ServedResource resource, RequestPath path, WriteOptions options)
    {
        var method = context.Request.Method;
        switch (resource.Kind.Plural, path.Subresource)
        {
            case ("pods", "binding") when resource.Kind == ResourceKind.Pod:
                Require(method, "POST");
                await BindAsync(context, resource, path, options);
                return true;
            case ("pods", "eviction") when resource.Kind == ResourceKind.Pod:
                Require(method, "POST");
                await EvictAsync(context, resource, path, options);
                return true;
            case ("namespaces", "finalize") when resource.Kind == ResourceKind.Namespace:
                Require(method, "PUT");
                await FinalizeAsync(context, resource, path, options);
                return true;
            case ("serviceaccounts", "token") when resource.Kind == ResourceKind.ServiceAccount:
                Require(method, "POST");
                await TokenAsync(context, resource, path, options);
                return true;
            default:
                return false;
        }
    }

    private async Task BindAsync(HttpContext context, ServedResource resource, RequestPath path, WriteOptions options)
    {
        var binding = await BodyAsync(context);
        var node = binding.Text("target", "name");
        if (node.Length == 0)
            throw ApiException.Invalid(resource, path.Name, [new("FieldValueRequired", "target.name", "Required value")]);
        if (binding.Text("target", "kind") is not ("" or "Node"))
            throw ApiException.Invalid(resource, path.Name, [new("FieldValueNotSupported", "target.kind", $"Unsupported value: \"{binding.Text("target", "kind")}\": supported values: \"Node\"")]);
        await api.ChangeAsServerAsync(
            resource, path.Namespace, path.Name,
            pod =>
            {
                if (binding.Text("metadata", "uid") is { Length: > 0 } uid && uid != pod.Uid())
                    throw ApiException.Conflict(resource, path.Name, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod.Uid()}");
                if (pod.IsDeleting())
                    throw ApiException.Conflict(resource, path.Name, $"pod {path.Name} is being deleted, cannot be assigned to a host");
                if (pod.Text("spec", "nodeName") is { Length: > 0 } assigned)
                    throw ApiException.Conflict(resource, path.Name, $"pod {path.Name} is already assigned to node \"{assigned}\"");
                pod.Child("spec")["nodeName"] = node;
                foreach (var (key, value) in binding.Map("metadata", "annotations"))
                    pod.Child("metadata").Child("annotations")[key] = value;
                SetScheduled(pod.Child("status"));
                return pod;
            },
            options.DryRun, context.RequestAborted);
        await ApiResponse.WriteAsync(context, 201, Success());
    }

    private void SetScheduled(JsonObject status)
    {
        if (status["conditions"] is not JsonArray conditions)
            status["conditions"] = conditions = [];
        var condition = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == "PodScheduled");
        if (condition is null)
            conditions.Add((JsonNode)(condition = new JsonObject { ["type"] = "PodScheduled" }));
        condition.Remove("reason");
        condition.Remove("message");
        condition["status"] = "True";
        condition["lastProbeTime"] = null;
        condition["lastTransitionTime"] = KubeObject.Time(time.GetUtcNow());
    }

    private async Task EvictAsync(HttpContext context, ServedResource resource, RequestPath path, WriteOptions options)
    {
        var eviction = await BodyAsync(context);
        var delete = DeleteOptions.FromJson(eviction["deleteOptions"] as JsonObject);
        await new EvictionBudget(api, time).TakeAsync(api.Get(resource, path.Namespace, path.Name).Parse(), options.DryRun || delete.DryRun, context.RequestAborted);
        await api.DeleteAsync(resource, path.Namespace, path.Name, delete with { DryRun = options.DryRun || delete.DryRun }, context.RequestAborted);
        await ApiResponse.WriteAsync(context, 201, Success());
    }

    private async Task FinalizeAsync(HttpContext context, ServedResource resource, RequestPath path, WriteOptions options)
    {
        var wanted = await BodyAsync(context);
        var version = wanted.ResourceVersion();
        var stored = await api.ChangeAsServerAsync(
            resource, "", path.Name,
            current =>
            {
                if (version is not ("" or "0") && version != current.ResourceVersion())
                    throw ApiException.Modified(resource, path.Name);
                current.Child("spec")["finalizers"] = new JsonArray([.. wanted.Texts("spec", "finalizers").Select(f => JsonValue.Create(f))]);
                return current;
            },
            options.DryRun, context.RequestAborted);
        await ApiResponse.WriteAsync(context, 200, stored.Json);
    }

    private async Task TokenAsync(HttpContext context, ServedResource resource, RequestPath path, WriteOptions options)
    {
        var request = await BodyAsync(context);
        var account = api.Get(resource, path.Namespace, path.Name);
        var seconds = request["spec"]?["expirationSeconds"] is null ? TokenSecondsDefault : request.Number(0, "spec", "expirationSeconds");
        if (seconds is < TokenSecondsMin or > TokenSecondsMax)
            throw ApiException.Invalid(resource, path.Name, [new("FieldValueInvalid", "spec.expirationSeconds",
                string.Create(CultureInfo.InvariantCulture, $"Invalid value: {seconds}: may not specify a duration less than 10 minutes or more than a year"))]);
        var audiences = request.Texts("spec", "audiences").ToList();
        if (audiences.Count == 0)
            audiences.Add(ServiceAccountTokens.Issuer);
        CheckBound(resource, path, request["spec"] as JsonObject ?? []);
        var expires = time.GetUtcNow().AddSeconds(seconds);
        request["kind"] = "TokenRequest";
        request["apiVersion"] = "authentication.k8s.io/v1";
        request["metadata"] = new JsonObject { ["name"] = account.Name, ["namespace"] = account.Namespace, ["creationTimestamp"] = KubeObject.Time(time.GetUtcNow()) };
        var spec = request.Child("spec");
        spec["audiences"] = new JsonArray([.. audiences.Select(a => JsonValue.Create(a))]);
        spec["expirationSeconds"] = seconds;
        request["status"] = new JsonObject
        {
            ["token"] = options.DryRun ? "" : tokens.Create(account, audiences, expires, spec["boundObjectRef"] as JsonObject),
            ["expirationTimestamp"] = KubeObject.Time(expires),
        };
        await ApiResponse.WriteAsync(context, 201, request);
    }

    /// <summary>A token may be bound to a pod of the account, a Secret of the namespace or a Node: it ends with that.</summary>
    private void CheckBound(ServedResource resource, RequestPath path, JsonObject spec)
    {
        if (spec["boundObjectRef"] is not JsonObject bound)
            return;
        var (kind, name, uid) = (bound.Text("kind"), bound.Text("name"), bound.Text("uid"));
        if (bound.Text("apiVersion") is not ("" or "v1") || kind is not ("Pod" or "Secret" or "Node"))
            throw ApiException.BadRequest($"cannot bind token for serviceaccount \"{path.Name}\" to an object of kind {bound.Text("apiVersion")}/{kind}: supported kinds: Pod, Secret, Node");
        var plural = kind.ToLowerInvariant() + "s";
        if (api.Store.Get(new ResourceId("", plural), kind == "Node" ? "" : path.Namespace, name) is not { } stored)
            throw new ApiException(404, "NotFound", $"{plural} \"{name}\" not found", new JsonObject { ["name"] = name, ["kind"] = plural });
        if (uid.Length > 0 && uid != stored.Uid)
            throw ApiException.Conflict(resource, path.Name, $"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated");
        if (kind == "Pod" && stored.Field("spec.serviceAccountName") is { Length: > 0 } account && account != path.Name)
            throw ApiException.BadRequest($"cannot bind token for serviceaccount \"{path.Name}\" to pod running with different serviceaccount name");
        bound["uid"] = stored.Uid;
    }

    /// <summary>The autoscaling/v1 Scale of an object whose definition names the paths.</summary>
    public static JsonObject ScaleOf(ServedResource resource, StoredObject stored)
    {
        var obj = stored.Parse();
        var paths = resource.Scale!;
        var scale = new JsonObject
        {
            ["kind"] = "Scale",
            ["apiVersion"] = "autoscaling/v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = stored.Name,
                ["namespace"] = stored.Namespace,
                ["uid"] = stored.Uid,
                ["resourceVersion"] = stored.Version.ToString(CultureInfo.InvariantCulture),
                ["creationTimestamp"] = obj.Text("metadata", "creationTimestamp"),
            },
            ["spec"] = new JsonObject { ["replicas"] = obj.Number(0, Split(paths.SpecReplicasPath)) },
            ["status"] = new JsonObject { ["replicas"] = obj.Number(0, Split(paths.StatusReplicasPath)) },
        };
        if (stored.Namespace.Length == 0)
            scale.Child("metadata").Remove("namespace");
        if (paths.LabelSelectorPath is { Length: > 0 } selector)
        {
            // A custom resource has the selector as text, a built-in kind as a metav1.LabelSelector.
            var text = obj.At(Split(selector)) is JsonObject labels ? Tables.WorkloadTables.Selector(labels) : obj.Text(Split(selector));
            if (text.Length > 0)
                scale.Child("status")["selector"] = text;
        }

        return scale;
    }

    /// <summary>GET, PUT and PATCH of the scale: the only thing that can change is the number of replicas.</summary>
    public async Task ScaleAsync(HttpContext context, ServedResource resource, RequestPath path, WriteOptions options)
    {
        var stored = api.Get(resource, path.Namespace, path.Name);
        switch (context.Request.Method)
        {
            case "GET":
                break;
            case "PUT":
                var put = await BodyAsync(context);
                stored = await SetReplicasAsync(context, resource, path, _ => put, options);
                break;
            case "PATCH":
                var patch = await PatchReader.ReadAsync(context.Request, resource, context.RequestAborted);
                stored = await SetReplicasAsync(context, resource, path, patch.Apply, options);
                break;
            default:
                throw ApiException.MethodNotAllowed();
        }

        await ApiResponse.WriteAsync(context, 200, ScaleOf(resource, stored));
    }

    private Task<StoredObject> SetReplicasAsync(HttpContext context, ServedResource resource, RequestPath path, Func<JsonObject, JsonObject> change, WriteOptions options)
        => api.PatchAsync(
            resource, path.Namespace, path.Name, "",
            tree =>
            {
                // Of a state newer than the tree the write fails and is tried again: a version that nobody asked for is no conflict.
                var scale = ScaleOf(resource, api.Get(resource, path.Namespace, path.Name));
                scale.Child("metadata")["resourceVersion"] = tree.ResourceVersion();
                var wanted = change(scale);
                if (wanted.ResourceVersion() is { Length: > 0 } version && version != tree.ResourceVersion())
                    throw ApiException.Modified(resource, path.Name);
                var replicas = wanted.Number(0, "spec", "replicas");
                if (replicas is < 0 or > int.MaxValue)
                    throw ApiException.Invalid(resource, path.Name, [new("FieldValueInvalid", "spec.replicas",
                        string.Create(CultureInfo.InvariantCulture, $"Invalid value: {replicas}: must be greater than or equal to 0"))]);
                var parts = Split(resource.Scale!.SpecReplicasPath);
                var parent = tree;
                foreach (var part in parts[..^1])
                    parent = parent.Child(part);
                parent[parts[^1]] = replicas;
                return tree;
            },
            options, context.RequestAborted);

    public static JsonObject Success() => new() { ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success", ["code"] = 201 };

    private static string[] Split(string path) => path.Split('.', StringSplitOptions.RemoveEmptyEntries);

    private static void Require(string method, string allowed)
    {
        if (method != allowed)
            throw ApiException.MethodNotAllowed();
    }

    private static async Task<JsonObject> BodyAsync(HttpContext context)
        => await RequestBody.ReadObjectAsync(context.Request, context.RequestAborted) ?? throw ApiException.BadRequest("the request has no body");
}
