using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;

namespace Edge.ApiServer.Schema;

/// <summary>A compiled structural OpenAPI v3 schema of a custom resource's version. Immutable and safe for concurrent use.</summary>
internal sealed class StructuralSchema
{
    private static readonly string[] s_identity = ["apiVersion", "kind", "metadata"];
    private readonly SchemaNode _root;

    private StructuralSchema(SchemaNode root, JsonObject raw)
    {
        _root = root;
        Raw = raw;
        IsStatusApart = IsApart(root);
        HasStatusRules = root.Member("status") is { } status && AnyRules(status);
    }

    /// <summary>The topmost level.</summary>
    public SchemaNode Root => _root;

    /// <summary>The schema as it was written, for the OpenAPI documents; not to be changed.</summary>
    public JsonObject Raw { get; }

    /// <summary>True when nothing outside the status is judged by what the status holds, nor by the state before: of an object that this schema has shaped and judged, a write of the
    /// status needs only the status looked at.</summary>
    public bool IsStatusApart { get; }

    /// <summary>True when a rule judges the status, perhaps by what it was before.</summary>
    public bool HasStatusRules { get; }

    /// <summary>Compiles <c>openAPIV3Schema</c>; adds what is wrong with it to <paramref name="errors"/>, with <paramref name="at"/> as the path.</summary>
    public static StructuralSchema Parse(JsonObject schema, string at, List<FieldError> errors)
    {
        var raw = (JsonObject)schema.DeepClone();
        return new StructuralSchema(new SchemaParser(errors).Root(raw, at), raw);
    }

    /// <summary>Fills in the schema's defaults, inside defaults and lists too; changes <paramref name="obj"/>. A null where the schema
    /// has a default and does not allow null counts as absent.</summary>
    public void Default(JsonObject obj) => Default(_root, obj);

    /// <summary>As <see cref="Default(JsonObject)"/>, of the status alone.</summary>
    public void DefaultStatus(JsonObject obj)
    {
        if (!_root.Properties.TryGetValue("status", out var status))
            return;
        DefaultMember(status, obj, "status");
    }

    /// <summary>Removes fields that the schema does not have; returns their paths, e.g. <c>spec.containers[0].imagee</c>.</summary>
    public List<string> Prune(JsonObject obj)
    {
        var paths = new List<string>();
        if (HasUnknown(_root, obj, isResource: true))
            PruneObject(_root, obj, "", isResource: true, paths);
        return paths;
    }

    /// <summary>As <see cref="Prune"/>, of the status alone.</summary>
    public List<string> PruneStatus(JsonObject obj)
    {
        var paths = new List<string>();
        var status = obj["status"];
        if (_root.Member("status") is { } inner)
        {
            if (HasUnknown(inner, status))
                PruneValue(inner, status, "status", paths);
        }
        else if (!_root.PreserveUnknown && obj.Remove("status"))
        {
            paths.Add("status");
        }

        return paths;
    }

    /// <summary>All faults, at most a few hundred; <paramref name="old"/> is the stored object on update, for transition rules.</summary>
    public List<FieldError> Validate(JsonObject obj, JsonObject? old) => Validate(_root, obj, old, "");

    /// <summary>As <see cref="Validate(JsonObject, JsonObject?)"/>, of the status alone.</summary>
    public List<FieldError> ValidateStatus(JsonObject obj, JsonObject? old)
        => obj.TryGetPropertyValue("status", out var status) && _root.Member("status") is { } schema ? Validate(schema, status, old?["status"], "status") : [];

    private static List<FieldError> Validate(SchemaNode schema, JsonNode? value, JsonNode? old, string at)
    {
        // Nearly all objects are right, and then nobody asks for the path of a fault: it is made in a second look.
        var errors = new List<FieldError>();
        new SchemaValidator(errors, null) { HasPaths = false }.Check(schema, value, old, at, runRules: true);
        if (errors.Count == 0)
            return errors;
        errors.Clear();
        new SchemaValidator(errors, null).Check(schema, value, old, at, runRules: true);
        return errors;
    }

    private static bool IsApart(SchemaNode root)
        => !HasJunctionsOrRules(root) && root.MinProperties is null && root.MaxProperties is null && !root.Required.Contains("status")
            && !root.Properties.Any(pair => pair.Key != "status" && AnyRules(pair.Value)) && (root.Additional is null || !AnyRules(root.Additional));

    private static bool HasJunctionsOrRules(SchemaNode schema) => schema.Rules.Count + schema.AllOf.Count + schema.AnyOf.Count + schema.OneOf.Count > 0 || schema.Not is not null;

    private static bool AnyRules(SchemaNode schema)
        => schema.Rules.Count > 0 || schema.Properties.Values.Any(AnyRules) || (schema.Items is { } items && AnyRules(items)) || (schema.Additional is { } more && AnyRules(more));

    private static void Default(SchemaNode schema, JsonNode? value)
    {
        if (!schema.HasDefaults)
            return;
        if (value is JsonArray array && schema.Items is not null)
        {
            foreach (var item in array)
                Default(schema.Items, item);
        }

        if (value is not JsonObject obj)
            return;
        foreach (var (key, child) in schema.Properties)
            DefaultMember(child, obj, key);
        if (schema.Additional is null)
            return;
        foreach (var (key, child) in obj.ToList())
        {
            if (child is null && !schema.Additional.Nullable && schema.Additional.Default is not null)
                obj[key] = schema.Additional.Default.DeepClone();
            Default(schema.Additional, obj[key]);
        }
    }

    private static void DefaultMember(SchemaNode child, JsonObject obj, string key)
    {
        if (!child.HasDefaults)
            return;
        var absent = !obj.TryGetPropertyValue(key, out var current) || (current is null && !child.Nullable);
        if (absent && child.Default is not null)
            obj[key] = child.Default.DeepClone();
        Default(child, obj[key]);
    }

    /// <summary>Whether pruning would remove anything. As nothing mostly is, this look costs no paths and no copies.</summary>
    private static bool HasUnknown(SchemaNode schema, JsonNode? value, bool isResource = false)
    {
        if (value is JsonObject obj)
        {
            for (var i = 0; i < obj.Count; i++)
            {
                var (key, child) = obj.GetAt(i);
                if ((isResource || schema.Embedded) && s_identity.Contains(key))
                    continue;
                if (schema.Member(key) is { } inner ? HasUnknown(inner, child) : !schema.PreserveUnknown)
                    return true;
            }
        }
        else if (value is JsonArray array && schema.Items is not null)
        {
            foreach (var item in array)
            {
                if (HasUnknown(schema.Items, item))
                    return true;
            }
        }

        return false;
    }

    private static void PruneObject(SchemaNode schema, JsonObject obj, string at, bool isResource, List<string> paths)
    {
        foreach (var (key, child) in obj.ToList())
        {
            // An embedded resource's identity stays, and is not looked into.
            if ((isResource || schema.Embedded) && s_identity.Contains(key))
                continue;
            var path = at.Length == 0 ? key : $"{at}.{key}";
            if (schema.Member(key) is { } inner)
            {
                PruneValue(inner, child, path, paths);
            }
            else if (!schema.PreserveUnknown)
            {
                obj.Remove(key);
                paths.Add(path);
            }
        }
    }

    private static void PruneValue(SchemaNode schema, JsonNode? value, string at, List<string> paths)
    {
        if (value is JsonObject obj)
        {
            PruneObject(schema, obj, at, isResource: false, paths);
        }
        else if (value is JsonArray array && schema.Items is not null)
        {
            for (var i = 0; i < array.Count; i++)
                PruneValue(schema.Items, array[i], $"{at}[{i}]", paths);
        }
    }
}
