using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of <c>metadata</c>, the same for every kind.</summary>
internal static class ObjectMeta
{
    /// <summary>All keys and values of an object's annotations together, in UTF-8 bytes.</summary>
    public const int AnnotationsBytesMax = 256 * 1024;

    /// <summary>All faults of <c>metadata</c>; with <paramref name="old"/>, also what an update may not change.</summary>
    public static List<FieldError> Validate(ResourceKind kind, JsonObject obj, JsonObject? old)
    {
        var errors = new List<FieldError>();
        if (obj["metadata"] is not JsonObject meta)
        {
            errors.Add(obj["metadata"] is { } other ? Errors.WrongType("metadata", "object", other) : Errors.Required("metadata"));
            return errors;
        }

        FieldTable.CheckTypes(FieldTable.ObjectMeta, meta, "metadata", errors);
        if (errors.Count > 0)
            return errors;
        CheckName(kind, meta, errors);
        if (kind.Namespaced)
        {
            if (meta.Text("namespace") is not { Length: > 0 } ns)
                errors.Add(Errors.Required("metadata.namespace"));
            else if (Names.DnsLabel(ns) is { } fault)
                errors.Add(Errors.Invalid("metadata.namespace", ns, fault));
        }
        else if (meta.Text("namespace").Length > 0)
        {
            errors.Add(Errors.Forbidden("metadata.namespace", "not allowed on this type"));
        }

        if (meta["labels"] is JsonObject labels)
            Names.Labels(labels, "metadata.labels", errors);
        CheckAnnotations(meta, errors);
        CheckFinalizers(meta, old, errors);
        CheckOwners(meta, errors);
        if (old?["metadata"] is JsonObject before)
            CheckImmutable(meta, before, errors);
        return errors;
    }

    private static void CheckName(ResourceKind kind, JsonObject meta, List<FieldError> errors)
    {
        Func<string, string?> rule = kind switch
        {
            { Group: "", Kind: "Namespace" } => Names.DnsLabel,
            { Group: "", Kind: "Service" } => Names.Dns1035Label,
            { Group: "rbac.authorization.k8s.io" } => Names.PathSegment,
            _ => Names.DnsSubdomain,
        };
        var generate = meta.Text("generateName");
        // A generated name gets a suffix, so a trailing hyphen is right here.
        if (generate.Length > 0 && rule(generate[^1] == '-' ? generate[..^1] + "a" : generate) is { } prefixFault)
            errors.Add(Errors.Invalid("metadata.generateName", generate, prefixFault));
        var name = meta.Text("name");
        if (name.Length == 0)
        {
            if (generate.Length == 0)
                errors.Add(Errors.Required("metadata.name", "name or generateName is required"));
        }
        else if (rule(name) is { } fault)
        {
            errors.Add(Errors.Invalid("metadata.name", name, fault));
        }
    }

    private static void CheckAnnotations(JsonObject meta, List<FieldError> errors)
    {
        var total = 0L;
        foreach (var (key, value) in meta.Map("annotations"))
        {
            // Upper case is tolerated in the prefix here, as Kubernetes does.
            if (Names.Qualified(key.ToLowerInvariant()) is { } fault)
                errors.Add(Errors.Invalid("metadata.annotations", key, fault));
            total += Encoding.UTF8.GetByteCount(key) + Encoding.UTF8.GetByteCount(value);
        }

        if (total > AnnotationsBytesMax)
            errors.Add(Errors.TooLong("metadata.annotations", AnnotationsBytesMax));
    }

    private static void CheckFinalizers(JsonObject meta, JsonObject? old, List<FieldError> errors)
    {
        if (meta["finalizers"] is null)
            return;
        var finalizers = meta.Texts("finalizers").ToList();
        for (var i = 0; i < finalizers.Count; i++)
        {
            if (Names.Qualified(finalizers[i]) is { } fault)
                errors.Add(Errors.Invalid($"metadata.finalizers[{i}]", finalizers[i], fault));
            else if (!finalizers[i].Contains('/', StringComparison.Ordinal) && finalizers[i] is not ("kubernetes" or "orphan" or "foregroundDeletion" or "customresourcecleanup.apiextensions.k8s.io"))
                errors.Add(Errors.Invalid($"metadata.finalizers[{i}]", finalizers[i], "name is neither a standard finalizer name nor is it fully qualified"));
        }

        if (finalizers.Contains("orphan") && finalizers.Contains("foregroundDeletion"))
            errors.Add(Errors.Invalid("metadata.finalizers", meta["finalizers"], "finalizers orphan and foregroundDeletion cannot be both set"));
        if (old is null || !old.IsDeleting())
            return;
        var added = finalizers.Except(old.Texts("metadata", "finalizers")).Select(Errors.Quote).ToList();
        if (added.Count > 0)
            errors.Add(Errors.Forbidden("metadata.finalizers", $"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{string.Join(", ", added)}}}"));
    }

    private static void CheckOwners(JsonObject meta, List<FieldError> errors)
    {
        var controller = "";
        var i = 0;
        foreach (var owner in meta.Items("ownerReferences"))
        {
            var at = $"metadata.ownerReferences[{i++}]";
            foreach (var key in (string[])["apiVersion", "kind", "name", "uid"])
            {
                if (owner.Text(key).Length == 0)
                    errors.Add(Errors.Invalid($"{at}.{key}", "", $"{key} must not be empty"));
            }

            if (!owner.Flag(false, "controller"))
                continue;
            if (controller.Length > 0)
                errors.Add(Errors.Invalid("metadata.ownerReferences", meta["ownerReferences"], $"Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {owner.Kind()}/{owner.Text("name")}"));
            controller = $"{owner.Kind()}/{owner.Text("name")}";
        }
    }

    /// <summary>A client may leave out what the server keeps; the server then fills it in from the stored object.</summary>
    private static void CheckImmutable(JsonObject meta, JsonObject before, List<FieldError> errors)
    {
        foreach (var key in (string[])["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"])
        {
            if (meta[key] is not null && !JsonNode.DeepEquals(meta[key], before[key]))
                errors.Add(Errors.Invalid($"metadata.{key}", meta[key], "field is immutable"));
        }
    }
}
