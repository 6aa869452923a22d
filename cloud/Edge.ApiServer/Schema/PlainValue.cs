using System.Text.Json;

namespace Edge.ApiServer.Schema;

/// <summary>A look at a value that says yes when its schema would prune, default and refuse nothing of it, and no when it is not sure. It costs no tree and no garbage, and most of what is written
/// passes it.</summary>
internal static class PlainValue
{
    /// <summary>Whether a merge of <paramref name="patch"/> (RFC 7386) into <paramref name="old"/> needs nothing from the schema.</summary>
    /// <param name="schema">Without defaults (<see cref="SchemaNode.HasDefaults"/>).</param>
    /// <param name="patch">What is said; null removes.</param>
    /// <param name="old">What is there and passed the schema; undefined where nothing is.</param>
    public static bool MayMerge(SchemaNode schema, JsonElement patch, JsonElement old)
    {
        if (patch.ValueKind != JsonValueKind.Object)
            return IsPlain(schema, patch);
        if (!IsPlainObject(schema))
            return false;
        foreach (var required in schema.Required)
        {
            var isThere = patch.TryGetProperty(required, out var said) ? said.ValueKind != JsonValueKind.Null : old.ValueKind == JsonValueKind.Object && old.TryGetProperty(required, out _);
            if (!isThere)
                return false;
        }

        foreach (var member in patch.EnumerateObject())
        {
            if (Member(schema, member) is not { } inner)
            {
                if (!schema.PreserveUnknown)
                    return false;
            }
            else if (member.Value.ValueKind != JsonValueKind.Null)
            {
                var before = old.ValueKind == JsonValueKind.Object && old.TryGetProperty(member.Name, out var found) ? found : default;
                if (!MayMerge(inner, member.Value, before))
                    return false;
            }
        }

        return true;
    }

    private static bool IsPlain(SchemaNode schema, JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                return IsPlainObject(schema) && HasRequired(schema, value) && ArePlainMembers(schema, value);
            case JsonValueKind.Array:
                if (schema is not { Type: "array", MinItems: null, MaxItems: null, UniqueItems: false, ListType: "atomic", Items: { } items } || IsJudged(schema))
                    return false;
                foreach (var item in value.EnumerateArray())
                {
                    if (!IsPlain(items, item))
                        return false;
                }

                return true;
            case JsonValueKind.String:
                return schema is { Type: "string", IntOrString: false, HasTextRules: false } && !IsJudged(schema);
            case JsonValueKind.True or JsonValueKind.False:
                return schema.Type == "boolean" && !IsJudged(schema);
            case JsonValueKind.Number:
                return schema is { Type: "integer", IntOrString: false, Format: "" or "int64", Minimum: null, Maximum: null, MultipleOf: null } && !IsJudged(schema) && value.TryGetInt64(out _);
            default:
                return false; // null, and what it may stand for
        }
    }

    private static bool IsPlainObject(SchemaNode schema) => schema is { Type: "object", Embedded: false, MinProperties: null, MaxProperties: null } && !IsJudged(schema);

    private static bool IsJudged(SchemaNode schema)
        => schema.Enum is not null || schema.Not is not null || schema.Rules.Count + schema.AllOf.Count + schema.AnyOf.Count + schema.OneOf.Count > 0;

    private static bool HasRequired(SchemaNode schema, JsonElement value)
    {
        foreach (var required in schema.Required)
        {
            if (!value.TryGetProperty(required, out _))
                return false;
        }

        return true;
    }

    private static bool ArePlainMembers(SchemaNode schema, JsonElement value)
    {
        foreach (var member in value.EnumerateObject())
        {
            if (Member(schema, member) is { } inner ? !IsPlain(inner, member.Value) : !schema.PreserveUnknown)
                return false;
        }

        return true;
    }

    // As SchemaNode.Member, without a string of the name.
    private static SchemaNode? Member(SchemaNode schema, JsonProperty member)
    {
        foreach (var (name, inner) in schema.Properties)
        {
            if (member.NameEquals(name))
                return inner;
        }

        return schema.Additional;
    }
}
