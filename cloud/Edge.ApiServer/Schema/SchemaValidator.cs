using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using System.Text.RegularExpressions;
using Edge.ApiServer.Validation;

namespace Edge.ApiServer.Schema;

/// <summary>Checks a value against a schema and collects the faults. <paramref name="root"/> is the scope whose steps the rules share;
/// null makes one.</summary>
internal sealed class SchemaValidator(List<FieldError> errors, CelScope? root)
{
    /// <summary>More faults than this are not collected: a hostile object could otherwise have an answer larger than itself.</summary>
    private const int ErrorsMax = 200;

    /// <summary>False where only the number of faults is asked for: paths are not made then.</summary>
    public bool HasPaths { get; init; } = true;

    private readonly CelScope _budget = root ?? new CelScope(null, "", null);

    public void Check(SchemaNode schema, JsonNode? value, JsonNode? old, string at, bool runRules)
    {
        if (errors.Count >= ErrorsMax)
            return;
        if (value is null)
        {
            if (!schema.Nullable && schema.Type.Length > 0)
                errors.Add(Errors.WrongType(at, schema.Type, null));
            return;
        }

        if (!CheckType(schema, value, at))
            return;
        var before = errors.Count;
        CheckEnum(schema, value, at);
        switch (value)
        {
            case JsonObject obj:
                CheckObject(schema, obj, old as JsonObject, at, runRules);
                break;
            case JsonArray array:
                CheckArray(schema, array, old as JsonArray, at, runRules);
                break;
            case JsonValue scalar when scalar.GetValueKind() == JsonValueKind.String:
                if (schema.HasTextRules && scalar.TryGetValue<string>(out var text))
                    CheckText(schema, text, at);
                break;
            case JsonValue scalar when scalar.GetValueKind() == JsonValueKind.Number:
                CheckNumber(schema, scalar, at);
                break;
        }

        CheckJunctions(schema, value, at);
        // Rules assume that the value has its type.
        if (runRules && errors.Count == before)
            RunRules(schema, value, old, at);
    }

    private bool CheckType(SchemaNode schema, JsonNode value, string at)
    {
        var kind = value.GetValueKind();
        var (right, expected) = schema switch
        {
            { IntOrString: true } => (kind == JsonValueKind.String || value.TryWhole(out _), "integer or string"),
            { Type: "object" } => (value is JsonObject, "object"),
            { Type: "array" } => (value is JsonArray, "array"),
            { Type: "string" } => (kind == JsonValueKind.String, "string"),
            { Type: "boolean" } => (kind is JsonValueKind.True or JsonValueKind.False, "boolean"),
            { Type: "integer" } => (value.TryWhole(out _), "integer"),
            { Type: "number" } => (kind == JsonValueKind.Number, "number"),
            _ => (true, ""),
        };
        if (!right)
            errors.Add(Errors.WrongType(at, expected, value));
        return right;
    }

    private void CheckEnum(SchemaNode schema, JsonNode value, string at)
    {
        if (schema.Enum is null)
            return;
        foreach (var allowed in schema.Enum)
        {
            if (JsonNode.DeepEquals(allowed, value))
                return;
        }

        errors.Add(new FieldError("FieldValueNotSupported", at, $"Unsupported value: {Errors.Show(value)}: supported values: {string.Join(", ", schema.Enum.Select(Errors.Show))}"));
    }

    private void CheckObject(SchemaNode schema, JsonObject obj, JsonObject? old, string at, bool runRules)
    {
        foreach (var key in schema.Required)
        {
            if (!obj.ContainsKey(key))
                errors.Add(Errors.Required(Join(at, key)));
        }

        if (obj.Count < schema.MinProperties)
            errors.Add(Errors.Invalid(at, obj, $"{at} in body should have at least {schema.MinProperties} properties"));
        if (obj.Count > schema.MaxProperties)
            errors.Add(TooMany(at, obj.Count, schema.MaxProperties.Value, "properties"));
        for (var i = 0; i < obj.Count; i++)
        {
            var (key, child) = obj.GetAt(i);
            if (schema.Member(key) is not { } inner)
                continue;
            var childAt = !HasPaths ? "" : schema.Properties.ContainsKey(key) ? Join(at, key) : $"{at}.{key}";
            Check(inner, child, old?[key], childAt, runRules);
        }
    }

    private void CheckArray(SchemaNode schema, JsonArray array, JsonArray? old, string at, bool runRules)
    {
        if (array.Count < schema.MinItems)
            errors.Add(Errors.Invalid(at, JsonValue.Create(array.Count), $"{at} in body should have at least {schema.MinItems} items"));
        if (array.Count > schema.MaxItems)
        {
            errors.Add(TooMany(at, array.Count, schema.MaxItems.Value, "items"));
            return;
        }

        var identities = schema.ListType == "map" || schema.ListType == "set" || schema.UniqueItems ? new HashSet<string>() : null;
        Dictionary<string, JsonNode?>? previous = null;
        if (schema.ListType == "map" && old is not null)
        {
            previous = [];
            foreach (var item in old)
                previous.TryAdd(MapIdentity(schema, item), item);
        }

        for (var i = 0; i < array.Count; i++)
        {
            var itemAt = HasPaths ? $"{at}[{i}]" : "";
            JsonNode? before = null;
            if (identities is not null)
            {
                var identity = schema.ListType == "map" ? MapIdentity(schema, array[i]) : Canonical(array[i]);
                if (!identities.Add(identity))
                    errors.Add(new FieldError("FieldValueDuplicate", itemAt, $"Duplicate value: {identity}"));
                before = previous?.GetValueOrDefault(identity);
            }

            if (schema.Items is not null)
                Check(schema.Items, array[i], before, itemAt, runRules);
        }
    }

    private void CheckText(SchemaNode schema, string text, string at)
    {
        if (schema.MinLength is not null || schema.MaxLength is not null)
        {
            var length = text.EnumerateRunes().Count();
            if (length < schema.MinLength)
                errors.Add(Errors.Invalid(at, text, $"{at} in body should be at least {schema.MinLength} chars long"));
            if (length > schema.MaxLength)
                errors.Add(Errors.TooLong(at, schema.MaxLength.Value));
        }

        if (schema.Regex is not null && !Matches(schema.Regex, text, at))
            errors.Add(Errors.Invalid(at, text, $"{at} in body should match '{schema.Pattern}'"));
        if (schema.Format.Length > 0 && !SchemaFormats.IsValid(schema.Format, text))
            errors.Add(Errors.Invalid(at, text, $"{at} in body must be of type {schema.Format}: {Errors.Quote(text)}"));
    }

    private bool Matches(Regex regex, string text, string at)
    {
        try
        {
            return regex.IsMatch(text);
        }
        catch (RegexMatchTimeoutException)
        {
            errors.Add(Errors.Invalid(at, text.Length > 64 ? text[..64] + "..." : text, "the schema's pattern takes too long on this text"));
            return true;
        }
    }

    private void CheckNumber(SchemaNode schema, JsonValue value, string at)
    {
        if (schema.Format is "int32" && (!value.TryWhole(out var whole) || whole is < int.MinValue or > int.MaxValue))
            errors.Add(Errors.Invalid(at, value, $"{at} in body must be of type int32: {Errors.Quote(value.ToJsonString())}"));
        if (schema.Minimum is null && schema.Maximum is null && schema.MultipleOf is null)
            return;
        if (!decimal.TryParse(value.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
            number = value.GetDouble() > 0 ? decimal.MaxValue : decimal.MinValue;
        if (schema.Minimum is { } min && (schema.ExclusiveMinimum ? number <= min : number < min))
            errors.Add(Errors.Invalid(at, value, $"{at} in body should be greater than {(schema.ExclusiveMinimum ? "" : "or equal to ")}{Show(min)}"));
        if (schema.Maximum is { } max && (schema.ExclusiveMaximum ? number >= max : number > max))
            errors.Add(Errors.Invalid(at, value, $"{at} in body should be less than {(schema.ExclusiveMaximum ? "" : "or equal to ")}{Show(max)}"));
        if (schema.MultipleOf is { } unit and > 0 && number % unit != 0)
            errors.Add(Errors.Invalid(at, value, $"{at} in body should be a multiple of {Show(unit)}"));
    }

    private void CheckJunctions(SchemaNode schema, JsonNode value, string at)
    {
        if (schema.AllOf.Count > 0)
        {
            foreach (var part in schema.AllOf)
                Check(part, value, null, at, runRules: false);
        }

        if (schema.AnyOf.Count > 0 && Passed(schema.AnyOf, value, enough: 1) == 0)
            errors.Add(Errors.Invalid(at, value, $"\"{at}\" must validate at least one schema (anyOf)"));
        if (schema.OneOf.Count > 0 && Passed(schema.OneOf, value, enough: int.MaxValue) is not 1 and var passed)
            errors.Add(Errors.Invalid(at, value, $"\"{at}\" must validate one and only one schema (oneOf). Found {(passed == 0 ? "none" : passed)} valid"));
        if (schema.Not is not null && Passes(schema.Not, value))
            errors.Add(Errors.Invalid(at, value, $"\"{at}\" must not validate the schema (not)"));
    }

    private int Passed(IReadOnlyList<SchemaNode> schemas, JsonNode value, int enough)
    {
        var passed = 0;
        foreach (var part in schemas)
        {
            if (Passes(part, value) && ++passed == enough)
                break;
        }

        return passed;
    }

    private bool Passes(SchemaNode schema, JsonNode value)
    {
        var faults = new List<FieldError>();
        new SchemaValidator(faults, _budget) { HasPaths = false }.Check(schema, value, null, "", runRules: false);
        return faults.Count == 0;
    }

    private void RunRules(SchemaNode schema, JsonNode value, JsonNode? old, string at)
    {
        foreach (var rule in schema.Rules)
        {
            if (rule.Program.UsesOldSelf && old is null)
                continue;
            try
            {
                var scope = new CelScope(new CelScope(_budget, "oldSelf", CelNode.Wrap(old, schema)), "self", CelNode.Wrap(value, schema));
                scope.Step();
                if (!CelValues.Truth(rule.Program.Run(scope)))
                    errors.Add(new FieldError(rule.Reason.Length > 0 ? rule.Reason : "FieldValueInvalid", at + rule.FieldPath, Describe(rule, value, Message(rule, scope))));
            }
            catch (CelException e)
            {
                errors.Add(new FieldError("FieldValueInvalid", at, Describe(rule, value, $"rule evaluation error: {e.Message}: {rule.Text}")));
            }
        }
    }

    private static string Message(SchemaRule rule, CelScope scope)
    {
        if (rule.MessageProgram is not null)
        {
            try
            {
                if (rule.MessageProgram.Run(scope) is string { Length: > 0 } message)
                    return message;
            }
            catch (CelException)
            {
                // As in Kubernetes, the fixed message (or the rule) stands in for an expression that fails.
                return rule.Message.Length > 0 ? rule.Message : $"failed rule: {rule.Text}";
            }
        }

        return rule.Message.Length > 0 ? rule.Message : $"failed rule: {rule.Text}";
    }

    private static string Describe(SchemaRule rule, JsonNode value, string message) => rule.Reason switch
    {
        "FieldValueForbidden" => $"Forbidden: {message}",
        "FieldValueRequired" => $"Required value: {message}",
        "FieldValueDuplicate" => $"Duplicate value: {Summary(value)}",
        _ => $"Invalid value: {Summary(value)}: {message}",
    };

    private static string Summary(JsonNode value) => value is JsonValue ? Errors.Show(value) : Errors.Quote(Errors.TypeName(value));

    private static string MapIdentity(SchemaNode schema, JsonNode? item)
    {
        var key = new JsonObject();
        foreach (var name in schema.MapKeys)
            key[name] = (item as JsonObject)?[name]?.DeepClone();
        return key.ToJsonString();
    }

    /// <summary>The value as text with members in order, so that equal values have equal text.</summary>
    private static string Canonical(JsonNode? node) => node switch
    {
        JsonObject obj => "{" + string.Join(",", obj.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{Errors.Quote(pair.Key)}:{Canonical(pair.Value)}")) + "}",
        JsonArray array => "[" + string.Join(",", array.Select(Canonical)) + "]",
        _ => Errors.Show(node),
    };

    private static FieldError TooMany(string at, int actual, long max, string what)
        => new("FieldValueTooMany", at, $"Too many: {actual}: must have at most {max} {what}");

    private static string Show(decimal number) => number.ToString("0.############################", CultureInfo.InvariantCulture);

    private static string Join(string at, string key) => at.Length == 0 ? key : $"{at}.{key}";
}
