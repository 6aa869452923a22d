using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Crd;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>What the server sets, keeps and refuses when an object is created or updated. Pure: changes only the given tree.</summary>
internal static class ObjectStrategy
{
    /// <summary>The subresource of pods that kubectl debug writes.</summary>
    public const string EphemeralContainers = "ephemeralcontainers";

    /// <summary>Metadata that only the server writes.</summary>
    private static readonly string[] s_serverOwned = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

    /// <summary>Makes a request's body into a new object of the resource.</summary>
    public static void PrepareCreate(ServedResource resource, JsonObject obj, string @namespace, string uid, DateTimeOffset now, WriteOptions options)
    {
        var metadata = obj.Child("metadata");
        if (metadata.Text("resourceVersion") is not ("" or "0"))
            throw ApiException.BadRequest("resourceVersion should not be set on objects to be created");
        foreach (var field in s_serverOwned)
            metadata.Remove(field);
        Tidy(resource, metadata, @namespace);
        metadata["uid"] = uid;
        metadata["creationTimestamp"] = KubeObject.Time(now);
        if (resource.HasGeneration)
            metadata["generation"] = 1;
        if (resource.HasStatus && resource.Kind != ResourceKind.Node)
            obj.Remove("status"); // a node registers itself together with its status
        if (resource.Kind == ResourceKind.Namespace)
        {
            obj.Child("spec")["finalizers"] = new JsonArray("kubernetes");
            obj["status"] = new JsonObject { ["phase"] = "Active" };
            metadata.Child("labels")["kubernetes.io/metadata.name"] = metadata.Text("name");
        }

        Shape(resource, obj, options);
        if (resource.Kind == ResourceKind.CustomResourceDefinition)
            Finalizers(metadata).Add((JsonNode)CrdStatus.Finalizer);
    }

    /// <summary>True for a write of the status of a state whose rest has been shaped and judged by the very schema that would do it now: only the status needs to be looked at.</summary>
    public static bool IsStatusAlone(ServedResource resource, StoredObject current, string subresource)
        => subresource == "status" && resource.Custom is { } custom && custom.Schema.IsStatusApart && ReferenceEquals(current.JudgedBy, custom.Schema);

    /// <summary>As <see cref="PrepareUpdate"/> where <see cref="IsStatusAlone"/>: the old state with the wanted status.</summary>
    /// <param name="wanted">Its status is taken out of it.</param>
    public static JsonObject PrepareStatus(ServedResource resource, JsonObject wanted, StoredObject current, WriteOptions options)
    {
        var next = current.Parse();
        Move(wanted, next, "status");
        var schema = resource.Custom!.Schema;
        var unknown = schema.PruneStatus(next);
        schema.DefaultStatus(next);
        Warn(resource, unknown, options);
        return next;
    }

    /// <summary>Makes the wanted state into the next state of <paramref name="old"/>: what the (sub)resource may not change is taken from there.</summary>
    public static JsonObject PrepareUpdate(ServedResource resource, JsonObject wanted, JsonObject old, string subresource, WriteOptions options)
    {
        var next = subresource switch
        {
            "status" or "approval" => StatusOnly(resource, wanted, old),
            EphemeralContainers => EphemeralOnly(wanted, old),
            _ => wanted,
        };
        var (metadata, before) = (next.Child("metadata"), old.Child("metadata"));
        foreach (var field in s_serverOwned)
            Copy(before, metadata, field);
        metadata["name"] = before.Text("name");
        Tidy(resource, metadata, before.Text("namespace"));
        if (subresource.Length == 0 && resource.HasStatus)
            Copy(old, next, "status");
        if (resource.Kind == ResourceKind.Namespace)
        {
            metadata.Child("labels")["kubernetes.io/metadata.name"] = metadata.Text("name");
            if (subresource.Length == 0)
                Copy(old, next, "spec"); // the only field is finalizers, which has its own subresource
        }

        if (resource.Kind == ResourceKind.CertificateSigningRequest)
            Copy(old, next, "spec"); // what was asked for stays
        Shape(resource, next, options);
        if (resource.HasGeneration && subresource != "status" && DesiredStateDiffers(resource, next, old))
            metadata["generation"] = before.Number(0, "generation") + 1;
        return next;
    }

    /// <summary>The faults of the next state; empty when it may be stored.</summary>
    public static List<FieldError> Validate(ServedResource resource, JsonObject obj, JsonObject? old, string subresource = "")
    {
        if (subresource == EphemeralContainers && old is not null)
        {
            var faults = ObjectMeta.Validate(resource.Kind, obj, old);
            faults.AddRange(BuiltinObjects.Validate(resource.Kind, obj, obj));
            EphemeralRules.CheckUpdate(obj, old, faults);
            return faults;
        }

        var errors = ObjectMeta.Validate(resource.Kind, obj, old);
        errors.AddRange(resource.Custom is { } custom ? custom.Schema.Validate(obj, old) : BuiltinObjects.Validate(resource.Kind, obj, old));
        return errors;
    }

    public static JsonArray Finalizers(JsonObject metadata)
    {
        if (metadata["finalizers"] is not JsonArray finalizers)
            metadata["finalizers"] = finalizers = [];
        return finalizers;
    }

    /// <summary>Sets the times of a deletion that something (grace or finalizers) holds up.</summary>
    public static void MarkDeleting(ServedResource resource, JsonObject obj, long graceSeconds, DateTimeOffset now)
    {
        var metadata = obj.Child("metadata");
        metadata["deletionTimestamp"] = KubeObject.Time(now.AddSeconds(graceSeconds));
        metadata["deletionGracePeriodSeconds"] = graceSeconds;
        if (metadata.Number(0, "generation") is > 0 and var generation)
            metadata["generation"] = generation + 1;
        if (resource.Kind == ResourceKind.Namespace)
            obj.Child("status")["phase"] = "Terminating";
    }

    /// <summary>True when nothing holds up the removal of an object that is being deleted.</summary>
    public static bool MayGo(ServedResource resource, JsonObject obj)
        => obj.IsDeleting() && obj.Number(0, "metadata", "deletionGracePeriodSeconds") == 0 && !obj.Texts("metadata", "finalizers").Any()
            && (resource.Kind != ResourceKind.Namespace || !obj.Texts("spec", "finalizers").Any());

    private static JsonObject EphemeralOnly(JsonObject wanted, JsonObject old)
    {
        var next = old.DeepClone().AsObject();
        if (wanted.At("spec", "ephemeralContainers") is { } containers)
            next.Child("spec")["ephemeralContainers"] = containers.DeepClone();
        else
            next.Child("spec").Remove("ephemeralContainers");
        return next;
    }

    private static void Tidy(ServedResource resource, JsonObject metadata, string @namespace)
    {
        metadata.Remove("selfLink");
        if (resource.Kind.Namespaced)
            metadata["namespace"] = @namespace;
        else
            metadata.Remove("namespace");
        foreach (var field in (string[])["labels", "annotations", "finalizers", "ownerReferences"])
            if (metadata.TryGetPropertyValue(field, out var value) && value is null or JsonObject { Count: 0 } or JsonArray { Count: 0 })
                metadata.Remove(field);
    }

    /// <summary>Defaults, and for custom resources pruning; brings the object to the version that is stored.</summary>
    private static void Shape(ServedResource resource, JsonObject obj, WriteOptions options)
    {
        List<string> unknown;
        obj["kind"] = resource.Kind.Kind; // clients may leave both out, and defaults go by the kind
        obj["apiVersion"] = resource.StorageApiVersion;
        if (resource.Custom is { } custom)
        {
            unknown = custom.Schema.Prune(obj);
            custom.Schema.Default(obj);
        }
        else
        {
            unknown = BuiltinObjects.DropUnknownFields(resource.Kind, obj);
            BuiltinObjects.Default(resource.Kind, obj);
            if (resource.Kind == ResourceKind.Secret)
                EncodeStringData(obj);
        }

        Warn(resource, unknown, options);
    }

    private static void Warn(ServedResource resource, List<string> unknown, WriteOptions options)
    {
        if (unknown.Count == 0 || options.FieldValidation == FieldValidation.Ignore)
            return;
        var texts = unknown.Select(field => $"unknown field \"{field}\"").ToList();
        if (options.FieldValidation == FieldValidation.Strict)
            throw ApiException.BadRequest($"{resource.Kind.Kind} in version \"{resource.Kind.Version}\" cannot be handled as a {resource.Kind.Kind}: strict decoding error: {string.Join(", ", texts)}");
        foreach (var text in texts.Where(text => !options.Warnings.Contains(text, StringComparer.Ordinal)))
            options.Warnings.Add(text);
    }

    /// <summary>stringData is write-only: it goes into data, as base64.</summary>
    private static void EncodeStringData(JsonObject secret)
    {
        foreach (var (key, text) in secret.Map("stringData").ToList())
            secret.Child("data")[key] = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(text));
        secret.Remove("stringData");
    }

    /// <summary>A status write changes the status; for built-in kinds labels, annotations and finalizers too, as in Kubernetes.</summary>
    private static JsonObject StatusOnly(ServedResource resource, JsonObject wanted, JsonObject old)
    {
        var next = old.DeepClone().AsObject();
        Copy(wanted, next, "status");
        if (resource.Custom is null)
            foreach (var field in (string[])["labels", "annotations", "finalizers"])
                Copy(wanted.Child("metadata"), next.Child("metadata"), field);
        return next;
    }

    private static bool DesiredStateDiffers(ServedResource resource, JsonObject next, JsonObject old)
    {
        if (resource.Custom is null)
            return !JsonNode.DeepEquals(next["spec"], old["spec"]);
        var ignored = resource.HasStatus ? (string[])["metadata", "apiVersion", "status"] : ["metadata", "apiVersion"];
        return next.Select(p => p.Key).Union(old.Select(p => p.Key)).Except(ignored).Any(key => !JsonNode.DeepEquals(next[key], old[key]));
    }

    private static void Move(JsonObject from, JsonObject to, string field)
    {
        if (!from.TryGetPropertyValue(field, out var value))
        {
            to.Remove(field);
            return;
        }

        from.Remove(field); // a node has one parent
        to[field] = value;
    }

    private static void Copy(JsonObject from, JsonObject to, string field)
    {
        if (from.TryGetPropertyValue(field, out var value))
            to[field] = value?.DeepClone();
        else
            to.Remove(field);
    }

    /// <summary>The text after which a generateName prefix is cut, so that five letters still fit a DNS label.</summary>
    public static string GenerateName(string prefix, Random random)
    {
        const string letters = "bcdfghjklmnpqrstvwxz2456789"; // Kubernetes' own: no vowels, no look-alikes
        const int prefixMax = 58;
        return string.Create(CultureInfo.InvariantCulture, $"{prefix[..Math.Min(prefix.Length, prefixMax)]}{new string(random.GetItems<char>(letters, 5))}");
    }
}
