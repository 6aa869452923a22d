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
    }

    /// <summary>The topmost level.</summary>
    public SchemaNode Root => _root;

    /// <summary>The schema as it was written, for the OpenAPI documents; not to be changed.</summary>
    public JsonObject Raw { get; }

    /// <summary>Compiles <c>openAPIV3Schema</c>; adds what is wrong with it to <paramref name="errors"/>, with <paramref name="at"/> as the path.</summary>
    public static StructuralSchema Parse(JsonObject schema, string at, List<FieldError> errors)
    {
        var raw = (JsonObject)schema.DeepClone();
        return new StructuralSchema(new SchemaParser(errors).Root(raw, at), raw);
    }

    /// <summary>Fills in the schema's defaults, inside defaults and lists too; changes <paramref name="obj"/>. A null where the schema
    /// has a default and does not allow null counts as absent.</summary>
    public void Default(JsonObject obj) => Default(_root, obj);

    /// <summary>Removes fields that the schema does not have; returns their paths, e.g. <c>spec.containers[0].imagee</c>.</summary>
    public List<string> Prune(JsonObject obj)
    {
        var paths = new List<string>();
        PruneObject(_root, obj, "", isResource: true, paths);
        return paths;
    }

    /// <summary>All faults, at most a few hundred; <paramref name="old"/> is the stored object on update, for transition rules.</summary>
    public List<FieldError> Validate(JsonObject obj, JsonObject? old)
    {
        var errors = new List<FieldError>();
        new SchemaValidator(errors, null).Check(_root, obj, old, "", runRules: true);
        return errors;
    }

    private static void Default(SchemaNode schema, JsonNode? value)
    {
        if (value is JsonArray array && schema.Items is not null)
        {
            foreach (var item in array)
                Default(schema.Items, item);
        }

        if (value is not JsonObject obj)
            return;
        foreach (var (key, child) in schema.Properties)
        {
            var absent = !obj.TryGetPropertyValue(key, out var current) || (current is null && !child.Nullable);
            if (absent && child.Default is not null)
                obj[key] = child.Default.DeepClone();
            Default(child, obj[key]);
        }

        if (schema.Additional is null)
            return;
        foreach (var (key, child) in obj.ToList())
        {
            if (child is null && !schema.Additional.Nullable && schema.Additional.Default is not null)
                obj[key] = schema.Additional.Default.DeepClone();
            Default(schema.Additional, obj[key]);
        }
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
