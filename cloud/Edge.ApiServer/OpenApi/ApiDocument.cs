using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.OpenApi;

/// <summary>What the documents of both OpenAPI versions share: definitions and paths. <paramref name="prefix"/> is where references point,
/// <c>#/definitions/</c> or <c>#/components/schemas/</c>.</summary>
internal sealed class ApiDocument(string prefix, bool isV3)
{
    public const string KindExtension = "x-kubernetes-group-version-kind";
    private const string QuantityDefinition = "io.k8s.apimachinery.pkg.api.resource.Quantity";

    // What Swagger 2.0 has no word for; OpenAPI 3.0 keeps it.
    private static readonly HashSet<string> s_onlyV3 = ["nullable", "oneOf", "anyOf", "not", "x-kubernetes-validations"];

    /// <summary>Every type that the kinds use, by definition name.</summary>
    public JsonObject Definitions(IEnumerable<(ResourceKind Kind, StructuralSchema? Schema)> kinds)
    {
        var definitions = new SortedDictionary<string, JsonObject>(StringComparer.Ordinal);
        foreach (var (kind, schema) in kinds)
        {
            var definition = schema is null ? FieldTable.Of(kind) is { } type ? AddType(type, definitions) : null : AddCustom(kind, schema, definitions);
            if (definition is not null)
                definition[KindExtension] = new JsonArray(Gvk(kind));
        }

        return new JsonObject(definitions.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value)));
    }

    /// <summary>The paths of a kind's collection and of one object; subresources are not listed.</summary>
    public static IEnumerable<(string Path, bool One)> Paths(ResourceKind kind)
    {
        var root = kind.Group.Length == 0 ? $"/api/{kind.Version}" : $"/apis/{kind.Group}/{kind.Version}";
        var collection = kind.Namespaced ? $"{root}/namespaces/{{namespace}}/{kind.Plural}" : $"{root}/{kind.Plural}";
        return [(collection, false), ($"{collection}/{{name}}", true)];
    }

    public static JsonObject Gvk(ResourceKind kind) => new() { ["group"] = kind.Group, ["kind"] = kind.Kind, ["version"] = kind.Version };

    /// <summary>The definition's name: that of the built-in type, or the group reversed, e.g. <c>io.kubeedge.devices.v1beta1.Device</c>.</summary>
    public static string Name(ResourceKind kind)
        => FieldTable.Of(kind)?.Definition ?? $"{string.Join('.', kind.Group.Split('.').Reverse())}.{kind.Version}.{kind.Kind}";

    public JsonObject Reference(string name) => new() { ["$ref"] = prefix + name };

    private JsonObject AddType(FieldSet type, SortedDictionary<string, JsonObject> definitions)
    {
        if (definitions.TryGetValue(type.Definition, out var known))
            return known;
        var properties = new JsonObject();
        var definition = new JsonObject { ["type"] = "object", ["description"] = $"{type.Name} of {type.Package}.", ["properties"] = properties };
        definitions[type.Definition] = definition;
        foreach (var field in type.Fields.Values.OrderBy(field => field.Name, StringComparer.Ordinal))
        {
            var element = Element(field, definitions);
            properties[field.Name] = field.Shape switch
            {
                FieldShape.List => List(field, element),
                FieldShape.Map => new JsonObject { ["type"] = "object", ["additionalProperties"] = element },
                _ => element,
            };
        }

        var required = type.Fields.Values.Where(field => field.Required).Select(field => (JsonNode)field.Name).ToArray();
        if (required.Length > 0)
            definition["required"] = new JsonArray(required);
        return definition;
    }

    private static JsonObject List(Field field, JsonObject element)
    {
        var list = new JsonObject { ["type"] = "array", ["items"] = element };
        if (field.MergeKey is null)
            return list;
        list["x-kubernetes-patch-strategy"] = field.RetainKeys ? "merge,retainKeys" : "merge";
        if (field.MergeKey != "+")
            list["x-kubernetes-patch-merge-key"] = field.MergeKey;
        return list;
    }

    private JsonObject Element(Field field, SortedDictionary<string, JsonObject> definitions)
    {
        if (FieldTable.TypeOf(field) is { } inner)
        {
            AddType(inner, definitions);
            return Reference(inner.Definition);
        }

        if (field.Form == FieldForm.Quantity)
        {
            definitions.TryAdd(QuantityDefinition, new JsonObject { ["type"] = "string", ["description"] = "A number with a unit, e.g. 500m or 64Mi." });
            return Reference(QuantityDefinition);
        }

        return field.Form switch
        {
            FieldForm.Text => new JsonObject { ["type"] = "string" },
            FieldForm.Whole => new JsonObject { ["type"] = "integer", ["format"] = "int64" },
            FieldForm.Number => new JsonObject { ["type"] = "number", ["format"] = "double" },
            FieldForm.Flag => new JsonObject { ["type"] = "boolean" },
            FieldForm.Time => new JsonObject { ["type"] = "string", ["format"] = "date-time" },
            FieldForm.Bytes => new JsonObject { ["type"] = "string", ["format"] = "byte" },
            FieldForm.IntOrString => IntOrString(),
            _ => new JsonObject { ["description"] = "Any value." }, // kubectl explain --recursive takes an empty schema for a missing one
        };
    }

    private JsonObject IntOrString() => isV3
        ? new JsonObject { ["format"] = "int-or-string", ["oneOf"] = new JsonArray(new JsonObject { ["type"] = "integer" }, new JsonObject { ["type"] = "string" }) }
        : new JsonObject { ["type"] = "string", ["format"] = "int-or-string" };

    private JsonObject AddCustom(ResourceKind kind, StructuralSchema schema, SortedDictionary<string, JsonObject> definitions)
    {
        var definition = Convert(schema.Raw);
        var properties = definition["properties"] as JsonObject;
        if (properties is null)
            definition["properties"] = properties = [];
        properties["apiVersion"] = new JsonObject { ["type"] = "string" };
        properties["kind"] = new JsonObject { ["type"] = "string" };
        AddType(FieldTable.ObjectMeta, definitions);
        properties["metadata"] = Reference(FieldTable.ObjectMeta.Definition);
        definitions[Name(kind)] = definition;
        return definition;
    }

    /// <summary>A custom resource's schema as this version of OpenAPI can say it. What cannot be said is left out, never tightened:
    /// Swagger 2.0 loses fields' types where unknown fields are kept, because clients would refuse such fields.</summary>
    private JsonObject Convert(JsonObject schema)
    {
        if (isV3)
            return (JsonObject)schema.DeepClone();
        if (schema.Flag(false, "x-kubernetes-int-or-string"))
            return IntOrString();
        if (schema.Flag(false, "nullable"))
            return schema.Text("description") is { Length: > 0 } text ? new JsonObject { ["description"] = text } : [];
        var result = new JsonObject();
        var keepsUnknown = schema.Flag(false, "x-kubernetes-preserve-unknown-fields");
        foreach (var (key, value) in schema)
        {
            if (value is null || s_onlyV3.Contains(key) || (keepsUnknown && key is "type" or "properties" or "additionalProperties" or "items"))
                continue;
            result[key] = (key, value) switch
            {
                ("properties", JsonObject properties) => new JsonObject(properties.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)(pair.Value is JsonObject inner ? Convert(inner) : new JsonObject())))),
                ("items" or "additionalProperties", JsonObject inner) => Convert(inner),
                ("allOf", JsonArray parts) => new JsonArray([.. parts.OfType<JsonObject>().Select(part => (JsonNode)Convert(part))]),
                _ => value.DeepClone(),
            };
        }

        return result;
    }
}
