using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Schema;

/// <summary>Compiles <c>openAPIV3Schema</c> and reports everything that keeps it from being a structural schema.</summary>
internal sealed class SchemaParser(List<FieldError> errors)
{
    private const int DepthMax = 60;

    private static readonly string[] s_types = ["array", "boolean", "integer", "number", "object", "string"];

    /// <summary>OpenAPI's keywords that a structural schema must not use. Unknown ones say nothing, as in Kubernetes.</summary>
    private static readonly HashSet<string> s_forbidden = ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "discriminator"];

    private static readonly SchemaNode s_objectMeta = new() { Type = "object", Properties = { ["name"] = new() { Type = "string" }, ["generateName"] = new() { Type = "string" } } };

    public SchemaNode Root(JsonObject schema, string at)
    {
        var node = Parse(schema, at, 0, valueOnly: false);
        if (node.Type.Length > 0 && node.Type != "object")
            errors.Add(Errors.Invalid($"{at}.type", node.Type, "must be object at the root"));
        if (node.Nullable)
            errors.Add(Errors.Forbidden($"{at}.nullable", "nullable cannot be true at the root"));
        CompileRules(node, schema, at, isRoot: true);
        return node;
    }

    private SchemaNode Parse(JsonObject schema, string at, int depth, bool valueOnly)
    {
        var node = new SchemaNode();
        if (depth > DepthMax)
        {
            errors.Add(Errors.Forbidden(at, $"the schema is nested deeper than {DepthMax}"));
            return node;
        }

        foreach (var key in schema.Select(pair => pair.Key).Where(key => s_forbidden.Contains(key)))
            errors.Add(Errors.Forbidden($"{at}.{key}", "not supported in a structural schema"));
        node.Type = Text(schema, "type", at);
        node.Format = Text(schema, "format", at);
        node.Nullable = Flag(schema, "nullable", at);
        node.PreserveUnknown = Flag(schema, "x-kubernetes-preserve-unknown-fields", at);
        node.Embedded = Flag(schema, "x-kubernetes-embedded-resource", at);
        node.IntOrString = Flag(schema, "x-kubernetes-int-or-string", at);
        CheckType(node, at, valueOnly);
        ParseValueRules(node, schema, at);
        ParseList(node, schema, at);
        foreach (var (name, child) in Object(schema, "properties", at) ?? [])
        {
            if (child is JsonObject inner)
                node.Properties[name] = Parse(inner, $"{at}.properties[{name}]", depth + 1, valueOnly);
            else
                errors.Add(Errors.WrongType($"{at}.properties[{name}]", "object", child));
        }

        ParseAdditional(node, schema, at, depth, valueOnly);
        if (schema["items"] is JsonObject items)
            node.Items = Parse(items, $"{at}.items", depth + 1, valueOnly);
        else if (schema["items"] is { } wrong)
            errors.Add(Errors.Forbidden($"{at}.items", wrong is JsonArray ? "items must be a schema object and not an array" : "items must be a schema object"));
        else if (node.Type == "array" && !valueOnly)
            errors.Add(Errors.Required($"{at}.items", "must be specified"));
        node.AllOf = Junction(schema, "allOf", at, depth);
        node.AnyOf = Junction(schema, "anyOf", at, depth);
        node.OneOf = Junction(schema, "oneOf", at, depth);
        node.Not = Object(schema, "not", at) is { } not ? Parse(not, $"{at}.not", depth + 1, valueOnly: true) : null;
        if (schema.ContainsKey("default"))
            ParseDefault(node, schema["default"], at, valueOnly);
        if (valueOnly && schema.ContainsKey("x-kubernetes-validations"))
            errors.Add(Errors.Forbidden($"{at}.x-kubernetes-validations", "must be empty inside allOf, anyOf, oneOf and not"));
        // Children are complete now, so rules can be checked against their types; the root's come last, with its metadata.
        if (!valueOnly && depth > 0)
            CompileRules(node, schema, at, isRoot: false);
        return node;
    }

    private void CheckType(SchemaNode node, string at, bool valueOnly)
    {
        if (node.Type.Length > 0 && !s_types.Contains(node.Type))
            errors.Add(Errors.NotSupported($"{at}.type", node.Type, s_types));
        if (valueOnly)
            return;
        if (node.IntOrString && node.Type.Length > 0)
            errors.Add(Errors.Invalid($"{at}.type", node.Type, "must be empty if x-kubernetes-int-or-string is true"));
        else if (node.Type.Length == 0 && !node.IntOrString && !node.PreserveUnknown)
            errors.Add(Errors.Required($"{at}.type", "must not be empty for specified object fields"));
        if (node.Embedded && node.Type != "object")
            errors.Add(Errors.Invalid($"{at}.type", node.Type, "must be object if x-kubernetes-embedded-resource is true"));
    }

    private void ParseValueRules(SchemaNode node, JsonObject schema, string at)
    {
        node.Required = Texts(schema, "required", at);
        node.Minimum = Number(schema, "minimum", at);
        node.Maximum = Number(schema, "maximum", at);
        node.MultipleOf = Number(schema, "multipleOf", at);
        if (node.MultipleOf <= 0)
            errors.Add(Errors.Invalid($"{at}.multipleOf", schema["multipleOf"], "must be greater than 0"));
        node.ExclusiveMinimum = Flag(schema, "exclusiveMinimum", at);
        node.ExclusiveMaximum = Flag(schema, "exclusiveMaximum", at);
        node.MinLength = Count(schema, "minLength", at);
        node.MaxLength = Count(schema, "maxLength", at);
        node.MinItems = Count(schema, "minItems", at);
        node.MaxItems = Count(schema, "maxItems", at);
        node.MinProperties = Count(schema, "minProperties", at);
        node.MaxProperties = Count(schema, "maxProperties", at);
        node.UniqueItems = Flag(schema, "uniqueItems", at);
        node.Pattern = Text(schema, "pattern", at);
        if (node.Pattern.Length > 0 && (node.Regex = SchemaPattern.Compile(node.Pattern, out var fault)) is null)
            errors.Add(Errors.Invalid($"{at}.pattern", node.Pattern, fault));
        if (schema["enum"] is JsonArray values)
            node.Enum = [.. values];
        else if (schema["enum"] is { } wrong)
            errors.Add(Errors.WrongType($"{at}.enum", "array", wrong));
    }

    private void ParseList(SchemaNode node, JsonObject schema, string at)
    {
        node.ListType = Text(schema, "x-kubernetes-list-type", at) is { Length: > 0 } type ? type : "atomic";
        node.MapKeys = Texts(schema, "x-kubernetes-list-map-keys", at);
        if (node.ListType is not ("atomic" or "set" or "map"))
            errors.Add(Errors.NotSupported($"{at}.x-kubernetes-list-type", node.ListType, "atomic", "map", "set"));
        if (node.ListType != "atomic" && node.Type != "array")
            errors.Add(Errors.Invalid($"{at}.type", node.Type, "must be array if x-kubernetes-list-type is specified"));
        if (node.ListType == "map" && node.MapKeys.Count == 0)
            errors.Add(Errors.Required($"{at}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map"));
        if (node.ListType != "map" && node.MapKeys.Count > 0)
            errors.Add(Errors.Invalid($"{at}.x-kubernetes-list-type", node.ListType, "must be map if x-kubernetes-list-map-keys is non-empty"));
        foreach (var key in node.MapKeys.Where(key => schema.At("items", "properties", key) is null))
            errors.Add(Errors.Invalid($"{at}.x-kubernetes-list-map-keys", key, "entries must all be names of item properties"));
    }

    private void ParseAdditional(SchemaNode node, JsonObject schema, string at, int depth, bool valueOnly)
    {
        var additional = schema["additionalProperties"];
        if (additional is null)
            return;
        if (node.Properties.Count > 0)
            errors.Add(Errors.Forbidden($"{at}.additionalProperties", "additionalProperties and properties are mutual exclusive"));
        if (additional is JsonObject inner)
            node.Additional = Parse(inner, $"{at}.additionalProperties", depth + 1, valueOnly);
        else if (additional.GetValueKind() == JsonValueKind.True)
            node.Additional = new SchemaNode { PreserveUnknown = true, Nullable = true };
        else if (additional.GetValueKind() == JsonValueKind.False)
            errors.Add(Errors.Forbidden($"{at}.additionalProperties", "must not be false: unknown fields are pruned anyway"));
        else
            errors.Add(Errors.WrongType($"{at}.additionalProperties", "object", additional));
    }

    private List<SchemaNode> Junction(JsonObject schema, string key, string at, int depth)
    {
        var parts = new List<SchemaNode>();
        if (schema[key] is null)
            return parts;
        if (schema[key] is not JsonArray array)
        {
            errors.Add(Errors.WrongType($"{at}.{key}", "array", schema[key]));
            return parts;
        }

        for (var i = 0; i < array.Count; i++)
        {
            if (array[i] is JsonObject part)
                parts.Add(Parse(part, $"{at}.{key}[{i}]", depth + 1, valueOnly: true));
            else
                errors.Add(Errors.WrongType($"{at}.{key}[{i}]", "object", array[i]));
        }

        return parts;
    }

    private void ParseDefault(SchemaNode node, JsonNode? value, string at, bool valueOnly)
    {
        if (valueOnly)
        {
            errors.Add(Errors.Forbidden($"{at}.default", "must be undefined inside allOf, anyOf, oneOf and not"));
            return;
        }

        if (value is null)
        {
            if (!node.Nullable)
                errors.Add(Errors.Invalid($"{at}.default", value, "must not be null where nullable is not true"));
            return;
        }

        node.Default = value;
        var faults = new List<FieldError>();
        new SchemaValidator(faults, null).Check(node, value, null, $"{at}.default", runRules: false);
        errors.AddRange(faults);
    }

    private void CompileRules(SchemaNode node, JsonObject schema, string at, bool isRoot)
    {
        if (schema["x-kubernetes-validations"] is null)
            return;
        if (schema["x-kubernetes-validations"] is not JsonArray array)
        {
            errors.Add(Errors.WrongType($"{at}.x-kubernetes-validations", "array", schema["x-kubernetes-validations"]));
            return;
        }

        var self = isRoot || node.Embedded ? WithIdentity(node) : node;
        var rules = new List<SchemaRule>();
        for (var i = 0; i < array.Count; i++)
        {
            var ruleAt = $"{at}.x-kubernetes-validations[{i}]";
            var text = array[i].Text("rule");
            if (text.Length == 0)
            {
                errors.Add(Errors.Required($"{ruleAt}.rule", "rule is not specified"));
                continue;
            }

            if (Compile(text, self, $"{ruleAt}.rule", CelKind.Bool) is not { } program)
                continue;
            var messageText = array[i].Text("messageExpression");
            var message = messageText.Length == 0 ? null : Compile(messageText, self, $"{ruleAt}.messageExpression", CelKind.String);
            if (array[i].Text("reason") is { Length: > 0 } reason && reason is not ("FieldValueInvalid" or "FieldValueForbidden" or "FieldValueRequired" or "FieldValueDuplicate"))
                errors.Add(Errors.NotSupported($"{ruleAt}.reason", reason, "FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"));
            rules.Add(new SchemaRule(text, program, array[i].Text("message"), message, array[i].Text("reason"), array[i].Text("fieldPath"), array[i].Flag(false, "optionalOldSelf")));
        }

        node.Rules = rules;
    }

    private CelProgram? Compile(string text, SchemaNode self, string at, CelKind wanted)
    {
        try
        {
            var program = CelParser.Compile(text, self);
            if (program.Type.Kind == wanted || program.Type.Kind == CelKind.Dyn)
                return program;
            errors.Add(Errors.Invalid(at, text, $"compilation failed: must evaluate to {(wanted == CelKind.Bool ? "a bool" : "a string")}, not {program.Type.Name}"));
        }
        catch (CelException e)
        {
            errors.Add(Errors.Invalid(at, text, $"compilation failed: {e.Message}"));
        }

        return null;
    }

    /// <summary>A rule at the root may read apiVersion, kind and the names of metadata whether the schema names them or not.</summary>
    private static SchemaNode WithIdentity(SchemaNode node)
    {
        var self = new SchemaNode { Type = "object", Additional = node.Additional };
        foreach (var (key, child) in node.Properties)
            self.Properties[key] = child;
        self.Properties.TryAdd("apiVersion", new SchemaNode { Type = "string" });
        self.Properties.TryAdd("kind", new SchemaNode { Type = "string" });
        self.Properties["metadata"] = s_objectMeta;
        return self;
    }

    private string Text(JsonObject schema, string key, string at)
    {
        if (schema[key] is null)
            return "";
        if (schema[key] is JsonValue value && value.TryGetValue<string>(out var text))
            return text;
        errors.Add(Errors.WrongType($"{at}.{key}", "string", schema[key]));
        return "";
    }

    private bool Flag(JsonObject schema, string key, string at)
    {
        if (schema[key] is null)
            return false;
        if (schema[key]!.GetValueKind() is JsonValueKind.True or JsonValueKind.False)
            return schema[key]!.GetValueKind() == JsonValueKind.True;
        errors.Add(Errors.WrongType($"{at}.{key}", "boolean", schema[key]));
        return false;
    }

    private decimal? Number(JsonObject schema, string key, string at)
    {
        if (schema[key] is null)
            return null;
        if (schema[key]!.GetValueKind() == JsonValueKind.Number && decimal.TryParse(schema[key]!.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
            return number;
        errors.Add(Errors.WrongType($"{at}.{key}", "number", schema[key]));
        return null;
    }

    private long? Count(JsonObject schema, string key, string at)
    {
        if (schema[key] is null)
            return null;
        if (schema[key].TryWhole(out var count) && count >= 0)
            return count;
        errors.Add(Errors.Invalid($"{at}.{key}", schema[key], "must be a whole number that is not negative"));
        return null;
    }

    private JsonObject? Object(JsonObject schema, string key, string at)
    {
        if (schema[key] is null or JsonObject)
            return schema[key] as JsonObject;
        errors.Add(Errors.WrongType($"{at}.{key}", "object", schema[key]));
        return null;
    }

    private List<string> Texts(JsonObject schema, string key, string at)
    {
        if (schema[key] is null)
            return [];
        if (schema[key] is JsonArray array && array.All(item => item is JsonValue value && value.TryGetValue<string>(out _)))
            return [.. array.Select(item => item!.GetValue<string>())];
        errors.Add(Errors.WrongType($"{at}.{key}", "array", schema[key]));
        return [];
    }
}
